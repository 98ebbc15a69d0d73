"""One object from clicks or a box, by the same weights that find all objects.

The model looks at the image once; each further click on it only chooses and refines. What the
model does not know is cut out by its colours (Rother et al. 2004, "GrabCut").
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lsl_core.errors import UserInput
from lsl_core.geometry.drawable import rings
from lsl_core.geometry.runs import trim
from lsl_core.inference.batches import Pixels
from lsl_core.serve.detector import TIMEOUT_S, Detector
from lsl_core.types import CropMasks, Hw, Instances, SlideWindows, SoftMasks

Bools = NDArray[np.bool_]
Probabilities = NDArray[np.uint8]
Point = tuple[float, float]
Rect = tuple[int, int, int, int]

#: A pixel is part of an object from this probability on (255 is certain).
_LIKELY = 128
#: IoU from which on an object is the one that a box was drawn around.
_MEANT = 0.3
#: Pixels around an object or its clicks that are looked at.
_MARGIN = 24
#: Half the side of what is cut out by colour around clicks alone.
_REACH = 96
#: Longest side of what is cut out by colour; larger parts are reduced.
_GRABCUT_PX = 512
#: A click counts with the pixels this near to it.
_CLICK_PX = 2


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a person pointed at, in image pixels (x, y).

    positive: points on the object. negative: points that are not on it. box: around it, xyxy.
    """

    positive: tuple[Point, ...] = ()
    negative: tuple[Point, ...] = ()
    box: tuple[float, float, float, float] | None = None

    def within(self, image_hw: Hw) -> Prompt:
        """Return the same, with points moved into the image.

        Raises:
            UserInput: when nothing was pointed at.
        """
        if not self.positive and self.box is None:
            raise UserInput("Nothing was pointed at.", hint="Click on an object, or draw a box.")
        h, w = image_hw

        def inside(point: Point) -> Point:
            return min(max(point[0], 0), w - 1), min(max(point[1], 0), h - 1)

        box = self.box
        if box is not None:
            (x1, x2), (y1, y2) = sorted((box[0], box[2])), sorted((box[1], box[3]))
            (x1, y1), (x2, y2) = inside((x1, y1)), inside((x2, y2))
            box = (x1, y1, max(x2, x1 + 1), max(y2, y1 + 1))
        return Prompt(tuple(map(inside, self.positive)), tuple(map(inside, self.negative)), box)


def select(
    detector: Detector,
    image: bytes | Pixels,
    prompt: Prompt,
    *,
    slide: SlideWindows | None = None,
    timeout_s: float = TIMEOUT_S,
) -> CropMasks:
    """Return the mask of the one object that a person pointed at.

    Positive points are in the mask and negative ones are not, wherever both can be true.

    Raises:
        UserInput: when the bytes are no image, or nothing was pointed at; and see
            `Detector.predict`.
    """
    found = detector.predict(image, slide=slide, timeout_s=timeout_s)
    prompt = prompt.within(found.image_hw)
    with detector.decoded(image, timeout_s=timeout_s) as pixels:
        return pointed_at(found, pixels, prompt)


def pointed_at(found: Instances, pixels: Pixels, prompt: Prompt) -> CropMasks:
    """Choose among found objects, or cut out by colour, and obey every click."""
    chosen = _chosen(found, prompt)
    region = _region(found, chosen, prompt)
    local = moved(prompt, region)
    part = pixels[region[1] : region[3], region[0] : region[2]]
    if chosen:
        probability = _probability(found, chosen, region)
        mask = _grown(probability, local)
        mask = _without(mask, part, local)
    else:
        mask = _by_colour(part, local)
    mask = obeyed(mask, local)
    return trim(CropMasks.from_crops([mask], [(region[0], region[1])]))


def _chosen(found: Instances, prompt: Prompt) -> list[int]:
    """Return the object of the box, and for each positive point the surest object under it."""
    if not isinstance(found.masks, SoftMasks):
        return []
    chosen: list[int] = []
    banned = {i for point in prompt.negative for i in _under(found, point)}
    if prompt.box is not None and len(found):
        overlaps = _ious(found.boxes, prompt.box)
        best = int(overlaps.argmax())
        if overlaps[best] >= _MEANT:
            chosen.append(best)
    for point in prompt.positive:
        under = _under(found, point)
        # an object with a negative click in it may be meant in part, if no other is there
        free = [i for i in under if i not in banned] or under
        if free and not any(i in chosen for i in under):
            chosen.append(free[0])
    return chosen


def _under(found: Instances, point: Point) -> list[int]:
    """Return the objects that likely cover a point, the best first."""
    masks = found.masks
    assert isinstance(masks, SoftMasks)
    x, y = int(point[0]), int(point[1])
    left, top = masks.crops[:, 0], masks.crops[:, 1]
    covers = (left <= x) & (x < left + masks.crops[:, 2])
    covers &= (top <= y) & (y < top + masks.crops[:, 3])
    ranked = []
    for i in np.flatnonzero(covers).tolist():
        value = int(masks.crop(i)[y - top[i], x - left[i]])
        if value >= _LIKELY:
            ranked.append((value * float(found.scores[i]), i))
    return [i for _, i in sorted(ranked, reverse=True)]


def _ious(boxes: NDArray[np.float32], box: tuple[float, ...]) -> NDArray[np.float64]:
    low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=1)
    sizes = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    ious: NDArray[np.float64] = shared / (
        sizes + (box[2] - box[0]) * (box[3] - box[1]) - shared + 1e-9
    )
    return ious


def _region(found: Instances, chosen: list[int], prompt: Prompt) -> Rect:
    """Return the part of the image to work in, x1, y1, x2, y2."""
    margin = _MARGIN if chosen or prompt.box else _REACH
    points = [(x, y, x + 1, y + 1) for x, y in prompt.positive]
    rects = [*points, *([prompt.box] if prompt.box else [])]
    if chosen:
        masks = found.masks
        assert isinstance(masks, SoftMasks)
        crops = masks.crops[chosen]
        rects += [(x, y, x + w, y + h) for x, y, w, h in crops.tolist()]
    h, w = found.image_hw
    lows = np.floor(np.min([r[:2] for r in rects], axis=0)).astype(int) - margin
    highs = np.ceil(np.max([r[2:] for r in rects], axis=0)).astype(int) + margin
    return max(0, int(lows[0])), max(0, int(lows[1])), min(w, int(highs[0])), min(h, int(highs[1]))


def moved(prompt: Prompt, region: Rect) -> Prompt:
    """Return a prompt in the pixels of a region; negative points outside it are gone."""
    x0, y0, x1, y1 = region
    box = prompt.box
    return Prompt(
        tuple((x - x0, y - y0) for x, y in prompt.positive),
        tuple((x - x0, y - y0) for x, y in prompt.negative if x0 <= x < x1 and y0 <= y < y1),
        None if box is None else (box[0] - x0, box[1] - y0, box[2] - x0, box[3] - y0),
    )


def _probability(found: Instances, chosen: list[int], region: Rect) -> Probabilities:
    """Return the highest probability of the chosen objects in a region."""
    masks = found.masks
    assert isinstance(masks, SoftMasks)
    x0, y0, x1, y1 = region
    probability = np.zeros((y1 - y0, x1 - x0), np.uint8)
    for i in chosen:
        x, y, w, h = masks.crops[i].tolist()
        place = probability[y - y0 : y - y0 + h, x - x0 : x - x0 + w]
        np.maximum(place, masks.crop(i), out=place)
    return probability


def _grown(probability: Probabilities, prompt: Prompt) -> Bools:
    """Return the likely pixels, and around positive points those as likely as the point."""
    mask = probability >= _LIKELY
    for x, y in prompt.positive:
        value = int(probability[int(y), int(x)])
        if 0 < value < _LIKELY:
            mask |= _component(probability >= value, (x, y))
    return mask


def _component(mask: Bools, point: Point) -> Bools:
    _, ids = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4)
    own = ids[int(point[1]), int(point[0])]
    return np.asarray(ids == own) if own else np.zeros_like(mask)


def _without(mask: Bools, part: Pixels, prompt: Prompt) -> Bools:
    """Give the pixels of a mask to the nearest click along the image, and keep the positive."""
    inside = [(x, y) for x, y in prompt.negative if mask[int(y), int(x)]]
    if not inside:
        return mask
    seeds = np.zeros(mask.shape, np.int32)
    seeds[~mask] = 3
    for x, y in inside:
        cv2.circle(seeds, (int(x), int(y)), _CLICK_PX, 2, -1)
    positive = prompt.positive or _deepest(mask, inside)
    for x, y in positive:
        cv2.circle(seeds, (int(x), int(y)), _CLICK_PX, 1, -1)
    cv2.watershed(np.ascontiguousarray(part[:, :, ::-1]), seeds)
    # watershed leaves a line between basins, which belongs to the object
    kept = mask & (seeds != 2) & (seeds != 3)
    return np.asarray(kept)


def _deepest(mask: Bools, away_from: list[Point]) -> tuple[Point, ...]:
    """Return the pixel of a mask that is farthest from its rim and from some points."""
    solid = mask.astype(np.uint8)
    for x, y in away_from:
        solid[int(y), int(x)] = 0
    depth = cv2.distanceTransform(np.pad(solid, 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    row, column = divmod(int(depth.argmax()), depth.shape[1])
    return ((float(column), float(row)),)


def _by_colour(part: Pixels, prompt: Prompt) -> Bools:
    """Cut out what the model does not know: inside the box, or around the positive points."""
    h, w = part.shape[:2]
    factor = min(1.0, _GRABCUT_PX / max(h, w))
    size = (max(8, round(w * factor)), max(8, round(h * factor)))
    small = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    fx, fy = size[0] / w, size[1] / h
    marks = np.full(small.shape[:2], cv2.GC_BGD, np.uint8)
    box = prompt.box or (0.05 * w, 0.05 * h, 0.95 * w, 0.95 * h)
    x1, y1 = int(box[0] * fx), int(box[1] * fy)
    x2, y2 = max(x1 + 2, int(box[2] * fx)), max(y1 + 2, int(box[3] * fy))
    marks[y1:y2, x1:x2] = cv2.GC_PR_FGD if prompt.box else cv2.GC_PR_BGD
    for points, mark in ((prompt.positive, cv2.GC_FGD), (prompt.negative, cv2.GC_BGD)):
        for x, y in points:
            cv2.circle(marks, (int(x * fx), int(y * fy)), _CLICK_PX, int(mark), -1)
    sure, maybe = marks == cv2.GC_FGD, marks == cv2.GC_PR_FGD
    if not (sure | maybe).any() or (sure | maybe).all():
        return np.asarray(cv2.resize(maybe.astype(np.uint8), (w, h)) > 0)
    cv2.setRNGSeed(0)  # the same clicks give the same mask
    ground, front = np.zeros((1, 65)), np.zeros((1, 65))
    with contextlib.suppress(cv2.error):  # too few pixels of one kind: the marks are the answer
        cv2.grabCut(
            np.ascontiguousarray(small[:, :, ::-1]), marks, (0, 0, 1, 1), ground, front, 4,
            cv2.GC_INIT_WITH_MASK,
        )  # fmt: skip
    kept = np.isin(marks, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    return np.asarray(cv2.resize(kept, (w, h), interpolation=cv2.INTER_NEAREST) > 0)


def obeyed(mask: Bools, prompt: Prompt) -> Bools:
    """Return a mask with every positive click in it, no negative one, and no loose parts."""
    mask = mask.copy()
    for points, value in ((prompt.negative, False), (prompt.positive, True)):
        for x, y in points:
            disc = np.zeros(mask.shape, np.uint8)
            cv2.circle(disc, (int(x), int(y)), _CLICK_PX, 1, -1)
            mask[disc > 0] = value
    for x, y in prompt.negative:
        mask[int(y), int(x)] = False
    if prompt.positive:
        parts = [_component(mask, point) for point in prompt.positive]
        mask = np.logical_or.reduce(parts)
    elif mask.any():
        mask = _component(mask, _deepest(mask, [])[0])
    if not mask.any():
        raise UserInput("Nothing was found there.", hint="Click inside an object, or draw a box.")
    return mask


def interactor_answer(mask: CropMasks) -> bytes:
    """Return the JSON text that CVAT expects of an interactor: rows of the crop, and its place.

    CVAT draws `points` for those who work with polygons, and keeps the mask for all others.
    """
    x, y, w, h = mask.crops[0].tolist()
    pixels = mask.crop(0)
    box = np.zeros((1, 4), np.float32)
    one = Instances(box, np.ones(1, np.float32), np.zeros(1, np.int32), mask, (y + h, x + w))
    ring = max(rings(one, 0), key=len)
    return json.dumps(
        {
            "mask": pixels.astype(np.uint8).tolist(),
            "bounds": [x, y, x + w - 1, y + h - 1],
            "points": [[ring[i], ring[i + 1]] for i in range(0, len(ring), 2)],
        },
        separators=(",", ":"),
    ).encode()
