"""One binary message for the browser: image and objects of one view.

    uint32 length of the head | head, JSON in UTF-8, padded with spaces to 4 bytes
    columns of the objects    | columns of the existing objects
    run lengths of the objects, uint32 | run lengths of the existing objects, uint32 | JPEG

Columns of N objects: ids, class_ids, levels, num_runs (int32, N each), crops (int32, N x 4: x, y,
width, height in image pixels), grids (int32, N x 2: width, height of the sent mask, which covers
its crop), boxes (float32, N x 4), scores (float32, N). Everything is little endian.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from lsl_core.types import CropMasks, Instances, LabelMap, SoftMasks
from lsl_core.types.palette import label_style
from lsl_core.types.view import STEPS
from lsl_core.ui.viewer.state import levels

#: Longer side of the sent image, pixels; larger images are reduced.
MAX_SIDE_PX = 4096
#: Pixels of all sent masks together; beyond it masks are reduced, so that the browser stays fast.
MAX_MASK_PX = 24_000_000
JPEG_QUALITY = 85

Ids = NDArray[np.integer[Any]]
#: What a person may do with the objects; each holds what stands before it.
May = Literal["look", "cut", "judge"]


def pack(
    pixels: NDArray[np.uint8],
    instances: Instances,
    labels: LabelMap,
    *,
    image_id: str,
    name: str = "",
    floor_score: float = 0.05,
    existing: Instances | None = None,
    ids: Ids | None = None,
    max_side_px: int = MAX_SIDE_PX,
    may: May = "judge",
) -> bytes:
    """Return the message that `viewer` shows.

    It depends on the prediction only, never on thresholds or decisions: keep it while the image
    is on the screen, and moving a slider sends nothing.

    Args:
        pixels: (h, w, 3) RGB, the whole image.
        instances: objects in image pixels with `CropMasks` (see `Instances.binary`) or boxes.
        labels: names; class ids of both kinds of instances are positions in it.
        image_id: tells images apart; zoom and decisions are remembered under it.
        name: file name, for people and screen readers.
        floor_score: lowest score that the run kept; the slider starts there.
        existing: what is in CVAT already, drawn with a dashed outline; its scores are not read.
        ids: (N,) names of the objects in `ViewerState`; default: their positions.
        max_side_px: longer side of the sent view.
        may: "look" at objects, also "cut" them at a score, or "judge" them: keep and reject too.
    """
    if pixels.shape[:2] != tuple(instances.image_hw):
        raise ValueError(f"image {pixels.shape[:2]}, instances for {instances.image_hw}")
    scale = min(1.0, max_side_px / max(pixels.shape[:2]))
    found, found_runs = _columns(instances, scale, ids)
    there = existing if existing is not None else Instances.empty(instances.image_hw)
    old, old_runs = _columns(there, scale, None)
    body = b"".join([found, old, found_runs.tobytes(), old_runs.tobytes(), jpeg(pixels, scale)])
    head = {
        "image": image_id,
        "name": name,
        "height": instances.image_hw[0],
        "width": instances.image_hw[1],
        "floor": math.floor(round(floor_score * STEPS, 6)),
        "labels": [_label(i, text) for i, text in enumerate(labels.names)],
        "objects": [len(instances), len(found_runs)],
        "existing": None if existing is None else [len(there), len(old_runs)],
        "may": may,
        "reduced": scale < 1,
    }
    # names the whole view: two frames of a task may hold the same pixels
    version = hashlib.blake2b(framed(head) + body, digest_size=8).hexdigest()
    return framed({**head, "version": version}) + body


def framed(value: dict[str, Any]) -> bytes:
    """Return JSON with its length in front, padded so that what follows is aligned."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 4)
    return len(text).to_bytes(4, "little") + text


def read_head(message: bytes) -> dict[str, Any]:
    """Return the head of a packed message."""
    length = int.from_bytes(message[:4], "little")
    head: dict[str, Any] = json.loads(message[4 : 4 + length])
    return head


def _label(class_id: int, name: str) -> dict[str, Any]:
    style = label_style(class_id)
    return {"name": name, "colour": style.css, "pattern": style.pattern, "number": style.number}


def jpeg(pixels: NDArray[np.uint8], scale: float = 1.0) -> bytes:
    """Return pixels, RGB, as a JPEG file, reduced where the scale is below 1."""
    if scale < 1:
        height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)  # type: ignore[assignment]
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return encoded.tobytes()


def _columns(
    instances: Instances, scale: float, ids: Ids | None
) -> tuple[bytes, NDArray[np.uint32]]:
    """Return the columns as bytes, and the run lengths."""
    n = len(instances)
    if ids is not None and ids.shape != (n,):
        raise ValueError(f"{n} objects but ids {ids.shape}")
    crops, grids = np.zeros((n, 4), "<i4"), np.zeros((n, 2), "<i4")
    num_runs, runs = np.zeros(n, "<i4"), np.zeros(0, np.uint32)
    if isinstance(instances.masks, SoftMasks):
        raise TypeError("soft masks have no outline: pack instances.binary(mask_threshold)")
    if instances.masks is not None:
        masks = instances.masks
        small = _reduced(masks, scale)
        crops, grids = masks.crops, small.crops[:, 2:]
        num_runs, runs = np.diff(small.starts), small.runs
    ints = [
        np.arange(n) if ids is None else ids,
        instances.class_ids,
        levels(instances.scores),
        num_runs,
        crops,
        grids,
    ]
    floats = [instances.boxes, instances.scores]
    columns = [np.asarray(c, "<i4").tobytes() for c in ints]
    columns += [np.asarray(c, "<f4").tobytes() for c in floats]
    return b"".join(columns), runs.astype("<u4", copy=False)


def _reduced(masks: CropMasks, scale: float) -> CropMasks:
    """Return the masks on coarser grids over the same crops; only the grid sizes matter.

    Holes and thin parts survive as long as they cover half a coarse pixel; a mask never vanishes.
    """
    area = int((masks.crops[:, 2].astype(np.int64) * masks.crops[:, 3]).sum())
    scale = min(scale, math.sqrt(MAX_MASK_PX / max(area, 1)))
    if scale >= 1:
        return masks
    sizes = np.maximum(np.rint(masks.crops[:, 2:] * scale).astype(int), 1).tolist()
    grids = []
    for crop, size in zip(masks.filled(255), sizes, strict=True):
        shares = cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
        # half of a coarse pixel, or what is most where no pixel has that much
        grids.append(shares >= min(128.0, cv2.minMaxLoc(shares)[1]))
    return CropMasks.from_crops(grids, [(0, 0)] * len(grids))
