"""CVAT's shapes become instances.

Every object gets a mask, also one that was drawn as a rectangle: its mask is the whole box, and
`has_mask` says that nobody drew it. So one column holds both kinds, as sources keep them.
"""

from __future__ import annotations

import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, groupby
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from lsl_core.cvat.annotations.mask_points import from_points
from lsl_core.cvat.annotations.spool import Spool
from lsl_core.cvat.annotations.tracks import expand
from lsl_core.cvat.tasks.entities import CvatLabel, FrameInfo, JobInfo
from lsl_core.errors import UserInput
from lsl_core.geometry.coco import from_coco_segmentation
from lsl_core.geometry.masks import clip, corners
from lsl_core.geometry.polygons import Ring
from lsl_core.geometry.runs import trim
from lsl_core.types import CropMasks, Hw, Instances

Json = dict[str, Any]

#: Shapes that are read together: frame by frame, those with a few take five times as long.
_TOGETHER = 1000


@dataclass(frozen=True, slots=True, eq=False)
class FrameAnnotations:
    """What CVAT holds for one frame, as objects.

    instances: masks are `CropMasks`; class_ids index the labels that were given. has_mask: (N,)
    bool, False where a rectangle was drawn. shape_ids: CVAT's ids of each object's shapes, several
    for polygons of one group, none for a track. sources: manual, auto, file … of each object.
    """

    frame: int
    instances: Instances
    has_mask: NDArray[np.bool_]
    shape_ids: tuple[tuple[int, ...], ...]
    sources: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.instances)

    def take(self, chosen: NDArray[np.bool_]) -> FrameAnnotations:
        """Return some of the objects; `chosen` is (N,)."""
        return FrameAnnotations(
            self.frame,
            self.instances.take(chosen),
            self.has_mask[chosen],
            tuple(compress(self.shape_ids, chosen)),
            tuple(compress(self.sources, chosen)),
        )


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Shapes that did not become objects: how many, on which frames, and why."""

    reason: str
    count: int
    frames: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Converted:
    """The objects of each frame that is not deleted, and what was left out."""

    frames: dict[int, FrameAnnotations]
    left_out: tuple[LeftOut, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Object:
    """One object before its frame is put together; drawn masks are read later, many together."""

    shape: Json
    class_id: int
    ids: tuple[int, ...]
    has_mask: bool
    masks: CropMasks | None
    box: tuple[float, float, float, float] | None = None


class _Unusable(Exception):
    """A shape that cannot become an object; the text is the reason."""


def to_instances(
    annotations: Json,
    frames: Sequence[FrameInfo],
    labels: Sequence[CvatLabel],
    *,
    jobs: Sequence[JobInfo] = (),
    left_out_frames: Mapping[int, str] | None = None,
) -> Converted:
    """Read the annotations of a task or job.

    Args:
        annotations: as CVAT sends them: tags, shapes, tracks.
        frames: of the whole task; deleted ones are left out.
        labels: of the task; their order gives the class ids.
        jobs: of the task; needed where there are tracks.
        left_out_frames: frames to leave out, with the reason.
    """
    left: dict[str, list[int]] = defaultdict(list)
    found = each_frame(
        annotations, frames, labels, jobs=jobs, left_out_frames=left_out_frames, left=left
    )
    return Converted(
        {one.frame: one for one in found},
        tuple(
            LeftOut(reason, len(numbers), tuple(sorted(set(numbers))))
            for reason, numbers in left.items()
            if numbers
        ),
    )


def each_frame(
    annotations: Json,
    frames: Sequence[FrameInfo],
    labels: Sequence[CvatLabel],
    *,
    jobs: Sequence[JobInfo] = (),
    left_out_frames: Mapping[int, str] | None = None,
    left: dict[str, list[int]] | None = None,
) -> Iterator[FrameAnnotations]:
    """Yield the objects of each frame that is not left out, in the order of the frames.

    A few frames are read at once, so a large task takes no memory.

    Args:
        annotations: as those of `to_instances`.
        frames: likewise.
        labels: likewise.
        jobs: likewise.
        left_out_frames: likewise.
        left: gets, by reason, the frame of each shape that becomes no object.
    """
    left = defaultdict(list) if left is None else left
    class_ids = {label.id: i for i, label in enumerate(labels)}
    reasons = {f.frame: "on a deleted frame" for f in frames if f.deleted}
    reasons.update(left_out_frames or {})
    lying = _Lying(annotations, jobs)
    left["a tag, which marks no place"] += [t["frame"] for t in annotations.get("tags") or ()]
    known = {f.frame for f in frames}
    for frame, count in lying.counts.items():
        reason = reasons.get(frame, "" if frame in known else "on a frame outside the task")
        if reason:
            left[reason] += [frame] * count
    for group in _groups((f for f in frames if f.frame not in reasons), lying.counts):
        yield from _read_group(group, lying, class_ids, left)


class _Lying:
    """The shapes of annotations, and the keyframes of their tracks, frame by frame.

    counts: how many lie on each frame.
    """

    def __init__(self, annotations: Json, jobs: Sequence[JobInfo]) -> None:
        shapes = annotations.get("shapes") or ()
        self._tracked = _grouped(
            shape for track in annotations.get("tracks") or () for shape in expand(track, jobs)
        )
        if isinstance(shapes, Spool):
            self._shapes, self.counts = shapes.groups, Counter(shapes.counts)
        else:
            self._shapes = _grouped(shapes)
            self.counts = Counter({frame: len(lie) for frame, lie in self._shapes.items()})
        self.counts.update({frame: len(lie) for frame, lie in self._tracked.items()})

    def on(self, frame: int) -> list[Json]:
        """Return what lies on a frame."""
        # CVAT's order changes from read to read; ids grow
        shapes = sorted(self._shapes.get(frame, ()), key=lambda shape: shape.get("id") or 0)
        return [*shapes, *self._tracked.get(frame, ())]


def _grouped(shapes: Iterable[Json]) -> Mapping[int, Collection[Json]]:
    groups: dict[int, list[Json]] = defaultdict(list)
    for shape in shapes:
        groups[shape["frame"]].append(shape)
    return groups


def _groups(frames: Iterable[FrameInfo], counts: Mapping[int, int]) -> Iterator[list[FrameInfo]]:
    """Yield frames of one size that hold `_TOGETHER` shapes, or a few more, between them."""
    for _, same in groupby(frames, lambda frame: frame.image_hw):
        group: list[FrameInfo] = []
        count = 0
        for frame in same:
            group.append(frame)
            count += 1 + counts.get(frame.frame, 0)
            if count >= _TOGETHER:
                yield group
                group, count = [], 0
        if group:
            yield group


def _read_group(
    frames: Sequence[FrameInfo],
    lying: _Lying,
    class_ids: Mapping[int, int],
    left: dict[str, list[int]],
) -> Iterator[FrameAnnotations]:
    """Yield the objects of each of these frames, which are of one size."""
    hw = frames[0].image_hw
    objects = []
    for frame in frames:
        for members in _objects(lying.on(frame.frame)):
            try:
                objects.append(_object(members, class_ids, hw))
            except _Unusable as reason:
                left[str(reason)] += [frame.frame] * len(members)
    objects, masks = _with_masks(objects, hw, left)
    boxes = corners(masks.crops).astype(np.float32)
    for i, o in enumerate(objects):
        if o.box is not None:
            boxes[i] = o.box
    scores = [min(1.0, max(0.0, float(o.shape.get("score", 1.0)))) for o in objects]
    ids = np.array([o.class_id for o in objects], np.int32)
    instances = Instances(boxes, np.array(scores, np.float32), ids, masks, hw)
    has_mask = np.array([o.has_mask for o in objects], bool)
    count = Counter(int(o.shape["frame"]) for o in objects)
    end = 0
    for frame in frames:
        begin, end = end, end + count[frame.frame]
        yield FrameAnnotations(
            frame.frame,
            instances.take(slice(begin, end)),
            has_mask[begin:end],
            tuple(o.ids for o in objects[begin:end]),
            tuple(str(o.shape.get("source") or "manual") for o in objects[begin:end]),
        )


def _with_masks(
    objects: list[_Object], hw: Hw, left: dict[str, list[int]]
) -> tuple[list[_Object], CropMasks]:
    """Return the objects that have a pixel, and their masks in the smallest crops."""
    drawn = [i for i, o in enumerate(objects) if o.masks is None]
    masks, faults = from_points([objects[i].shape["points"] for i in drawn])
    for k, reason in faults.items():
        left[reason].append(objects[drawn[k]].shape["frame"])
    others = {i: o.masks for i, o in enumerate(objects) if o.masks is not None}
    at = [i for k, i in enumerate(drawn) if k not in faults] + list(others)
    if others:
        masks = CropMasks.concat([masks, *others.values()]).take(np.argsort(at))
    objects = [objects[i] for i in sorted(at)]
    masks = trim(clip(masks, hw))
    has_pixels = masks.areas() > 0
    if has_pixels.all():
        return objects, masks
    lost = compress(objects, ~has_pixels)
    left["outside the image, or without a pixel"] += [o.shape["frame"] for o in lost]
    return list(compress(objects, has_pixels)), masks.take(has_pixels)


def _objects(shapes: Iterable[Json]) -> list[list[Json]]:
    """Put polygons of one label and group together: they are one object, as COCO has it.

    Masks hold several parts by themselves, and people group rectangles that belong together
    without being one; both stay single.
    """
    objects: dict[object, list[Json]] = {}
    for i, shape in enumerate(shapes):
        group = shape.get("group") or 0
        is_part = group and shape["type"] == "polygon"
        key = (group, shape["label_id"], shape.get("track_id")) if is_part else i
        objects.setdefault(key, []).append(shape)
    return list(objects.values())


def _object(members: Sequence[Json], class_ids: Mapping[int, int], hw: Hw) -> _Object:
    first = members[0]
    class_id = class_ids.get(first["label_id"])
    kind = first["type"]
    if class_id is None:
        raise _Unusable("a label that the task does not list")
    ids = tuple(int(s["id"]) for s in members if s.get("id") is not None)
    rotation = float(first.get("rotation") or 0.0)
    box = None
    masks = None
    if kind == "polygon":
        masks = _polygons([_numbers(s["points"]) for s in members], hw)
    elif kind == "rectangle" and not rotation % 360.0:
        box, masks = _rectangle(first["points"], hw)
    elif kind == "rectangle":
        masks = _polygons([_rotated(first["points"], rotation).ravel().tolist()], hw)
    elif kind == "ellipse":
        masks = _polygons([_ellipse(first["points"], rotation).ravel().tolist()], hw)
    elif kind != "mask":
        raise _Unusable(f"a {kind}, which has no area")
    return _Object(first, class_id, ids, kind != "rectangle", masks, box)


def _numbers(points: object) -> list[float]:
    try:
        return array("d", cast("Iterable[float]", points)).tolist()
    except (TypeError, ValueError, OverflowError) as error:
        raise _Unusable("damaged: its points are no numbers") from error


def _four(points: object) -> tuple[float, float, float, float]:
    values = _numbers(points)
    if len(values) != 4 or not all(math.isfinite(v) for v in values):
        raise _Unusable("damaged: it needs four numbers")
    return values[0], values[1], values[2], values[3]


def _polygons(polygons: Sequence[Sequence[float]], hw: Hw) -> CropMasks:
    try:
        pixels, place = from_coco_segmentation([list(p) for p in polygons], hw)
    except UserInput as error:
        reason = "a polygon outside the image, too thin for a pixel, or damaged"
        raise _Unusable(reason) from error
    return CropMasks.from_crops([pixels], [place])


def _rectangle(points: object, hw: Hw) -> tuple[tuple[float, float, float, float], CropMasks]:
    x1, y1, x2, y2 = _four(points)
    x1, x2 = sorted((min(max(x1, 0.0), hw[1]), min(max(x2, 0.0), hw[1])))
    y1, y2 = sorted((min(max(y1, 0.0), hw[0]), min(max(y2, 0.0), hw[0])))
    if x1 == x2 or y1 == y2:
        raise _Unusable("outside the image, or without a pixel")
    left, width = _pixels(x1, x2, hw[1])
    top, height = _pixels(y1, y2, hw[0])
    crop = np.array([[left, top, width, height]], np.int32)
    whole = CropMasks(np.array([0, width * height], np.uint32), np.array([0, 2]), crop)
    return (x1, y1, x2, y2), whole


def _pixels(low: float, high: float, limit: int) -> tuple[int, int]:
    """Return the first pixel whose centre lies between, and how many do; at least one."""
    first = min(math.ceil(low - 0.5), limit - 1)
    return first, max(1, math.ceil(high - 0.5) - first)


def _turned(offsets: Ring, centre: tuple[float, float], rotation: float) -> Ring:
    """Turn offsets from a centre by degrees, clockwise as one sees the image."""
    angle = math.radians(rotation)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    ring: Ring = offsets @ turn + centre
    return ring


def _rotated(points: object, rotation: float) -> Ring:
    x1, y1, x2, y2 = _four(points)
    half = np.array([(x2 - x1) / 2, (y2 - y1) / 2])
    corners = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]) * half
    return _turned(corners, ((x1 + x2) / 2, (y1 + y2) / 2), rotation)


def _ellipse(points: object, rotation: float) -> Ring:
    # CVAT stores the centre, then the x of the rightmost and the y of the topmost point
    cx, cy, right, top = _four(points)
    radii = np.array([abs(right - cx), abs(cy - top)])
    corners = max(16, math.ceil(2 * math.pi * float(radii.max())))
    angle = np.linspace(0.0, 2 * math.pi, corners, endpoint=False)
    return _turned(np.stack([np.cos(angle), np.sin(angle)], axis=1) * radii, (cx, cy), rotation)
