"""From the outputs of the network to instances in window pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from lsl_core.geometry.boxes import nms
from lsl_core.models.compact.network import UNIT
from lsl_core.models.compact.sizes import Sizes, told_by_size
from lsl_core.models.soft import FAINT, Frame, assembled, enlarged, semantic_parts
from lsl_core.types import Instances, Mode, SoftMasks

F32 = NDArray[np.float32]
Ints = NDArray[np.int64]

#: A peak is the highest of a square of this side, in output pixels.
PEAK_PX = 3
#: Two peaks whose boxes overlap more are one object.
SAME_OBJECT = 0.6
#: Peaks above this share the foreground among themselves; weaker ones take nothing from them,
#: so that hiding the weak with the slider leaves no bite in the strong.
STRONG = 0.3
#: Objects a window; more are noise of a network that has learnt nothing yet.
MOST = 2000


def decode(
    mode: Mode, maps: dict[str, F32], frame: Frame, floor_score: float, sizes: Sizes = ()
) -> Instances:
    """Read one window's outputs.

    Args:
        mode: what the network was trained for.
        maps: per head (channels, h, w), as probabilities but for `ltrb` and `offset`.
        frame: how they lie in the window.
        floor_score: lowest score kept.
        sizes: of each label, as in the card; nothing but boxes is told by them.

    Returns:
        Instances in window pixels, highest score first.
    """
    h, w = frame.grid_hw
    maps = {name: value[:, :h, :w] for name, value in maps.items()}
    if mode is Mode.FSOD:
        return _decode_boxes(maps, frame, floor_score, sizes)
    return _DECODERS[mode](maps, frame, floor_score)


@dataclass(frozen=True, slots=True)
class _Peaks:
    """Candidates, highest first. x, y: (N,) output pixels. boxes: (N, 4) output pixels, xyxy."""

    x: Ints
    y: Ints
    boxes: F32
    scores: F32

    def take(self, index: Ints) -> _Peaks:
        """Return the chosen ones."""
        return _Peaks(self.x[index], self.y[index], self.boxes[index], self.scores[index])


def _peaks(heat: F32, ltrb: F32, floor_score: float) -> _Peaks:
    """Find the peaks and their boxes; duplicates go."""
    heat = np.ascontiguousarray(heat[0])
    highest = cv2.dilate(heat, np.ones((PEAK_PX, PEAK_PX), np.uint8))
    y, x = np.nonzero((heat >= highest) & (heat >= floor_score))
    scores = heat[y, x]
    order = np.argsort(-scores, kind="stable")[:MOST]
    y, x, scores = y[order], x[order], scores[order]
    sides = ltrb[:, y, x] * UNIT
    corners = [x + 0.5 - sides[0], y + 0.5 - sides[1], x + 0.5 + sides[2], y + 0.5 + sides[3]]
    boxes = np.stack(corners, axis=1).astype(np.float32)
    alike = np.zeros(len(x), np.int32)
    return _Peaks(x, y, boxes, scores).take(nms(boxes, scores, alike, iou_limit=SAME_OBJECT))


def _decode_boxes(
    maps: dict[str, F32], frame: Frame, floor_score: float, sizes: Sizes
) -> Instances:
    peaks = _peaks(maps["heat"], maps["ltrb"], floor_score)
    boxes = _in_window(peaks.boxes, frame)
    chances = told_by_size(maps["label"][:, peaks.y, peaks.x], boxes, sizes, frame.image_hw)
    scores = peaks.scores * chances.max(axis=0)
    class_ids = chances.argmax(axis=0).astype(np.int32)
    kept = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]) & (scores >= floor_score)
    order = np.flatnonzero(kept)[np.argsort(-scores[kept], kind="stable")]
    return Instances(boxes, scores, class_ids, None, frame.image_hw).take(order)


def _in_window(boxes: F32, frame: Frame) -> F32:
    h, w = frame.image_hw
    wide = boxes * np.array(frame.zoom * 2, np.float32)
    return np.clip(wide, 0, np.array([w, h, w, h], np.float32))


def _decode_masks(maps: dict[str, F32], frame: Frame, floor_score: float) -> Instances:
    """Let every foreground pixel vote for the centre of its object; the nearest peak gets it."""
    peaks = _peaks(maps["heat"], maps["ltrb"], floor_score)
    foreground = maps["foreground"][0]
    y, x = np.nonzero(foreground >= FAINT)
    if not len(peaks.x) or not len(y):
        return Instances.empty(frame.image_hw, masks=SoftMasks.empty())
    votes = np.stack([x, y], axis=1) + maps["offset"][:, y, x].T * UNIT  # (pixels, 2)
    strong = int(np.count_nonzero(peaks.scores >= STRONG))
    owners = [
        _owned(peaks, slice(0, strong), votes, x, y, foreground.shape),
        _owned(peaks, slice(strong, None), votes, x, y, foreground.shape, rivals=strong),
    ]
    crops, places, class_ids, scores = [], [], [], []
    for owner, first in zip(owners, (0, strong), strict=True):
        for i, where in enumerate(ndimage.find_objects(owner)):
            if where is None:
                continue
            soft = np.where(owner[where] == i + 1, foreground[where], 0)
            sure = soft[soft >= 0.5]
            chances = (maps["label"][:, *where] * soft).sum(axis=(1, 2)) / soft.sum()  # (K,)
            score = float(peaks.scores[first + i] * (sure.mean() if sure.size else soft.max()))
            score *= float(chances.max())
            if score < floor_score:
                continue
            crop, place = enlarged(soft, where[1].start, where[0].start, frame)
            if not crop.size:
                continue
            crops.append(crop)
            places.append(place)
            class_ids.append(chances.argmax())
            scores.append(score)
    return assembled(
        crops, places, np.array(scores, np.float32), np.array(class_ids, np.int32), frame
    )


def _owned(
    peaks: _Peaks,
    chosen: slice,
    votes: F32,
    x: Ints,
    y: Ints,
    grid_hw: tuple[int, ...],
    *,
    rivals: int = 0,
) -> NDArray[np.int32]:
    """Return which of the chosen peaks owns each pixel, 1 + its place among them, 0 for none.

    Args:
        peaks: all candidates, strong ones first.
        chosen: those that this map is of.
        votes: (pixels, 2) where each foreground pixel sees its centre.
        x: (pixels,) where it lies.
        y: (pixels,) where it lies.
        grid_hw: size of the map.
        rivals: how many candidates before `chosen` also take pixels.
    """
    owner = np.zeros(grid_hw, np.int32)
    if not len(peaks.x[chosen]):
        return owner
    first = 0 if rivals else (chosen.start or 0)
    centres = np.stack([peaks.x, peaks.y], axis=1)[first : chosen.stop]
    away, nearest = cKDTree(centres).query(votes, workers=1)
    boxes = peaks.boxes[first : chosen.stop][nearest]
    size = np.sqrt(np.maximum((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]), 1))
    slack = 1.5 + 0.15 * size
    inside = (x >= boxes[:, 0] - slack) & (x < boxes[:, 2] + slack)
    inside &= (y >= boxes[:, 1] - slack) & (y < boxes[:, 3] + slack)
    inside &= (away <= 2 + 0.4 * size) & (nearest >= rivals)
    owner[y[inside], x[inside]] = nearest[inside] - rivals + 1
    return owner


def _decode_semantic(maps: dict[str, F32], frame: Frame, floor_score: float) -> Instances:
    return semantic_parts(maps["semantic"][:-1], frame, floor_score)


_DECODERS: dict[Mode, Callable[[dict[str, F32], Frame, float], Instances]] = {
    Mode.WSIS: _decode_masks,
    Mode.FSIS: _decode_masks,
    Mode.FSIS_SEGONLY: _decode_semantic,
}
