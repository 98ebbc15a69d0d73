"""Scenes with a known truth, and what a perfect model would see of them in windows."""

import os

import cv2
import numpy as np

from lsl_core.types import CropMasks, Instances, SoftMasks
from lsl_core.windows import cut


def tries(usual):
    """Return on how many random scenes to try a property: `LSL_SCENES=20` is 20 times as many."""
    return usual * int(os.environ.get("LSL_SCENES", "1"))


def connected(ids):
    """Keep the largest connected part of every object; number objects 1 … N again."""
    result = np.zeros_like(ids)
    for count, i in enumerate(np.unique(ids[ids > 0]), 1):
        _, parts, stats, _ = cv2.connectedComponentsWithStats((ids == i).astype(np.uint8))
        result[parts == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())] = count
    return result


def random_scene(random, image_hw, num_objects):
    """Paint rings, bars, discs and blocks over each other: touching, nested, thin, with holes."""
    ids = np.zeros(image_hw, np.int32)
    height, width = image_hw
    for i in range(1, num_objects + 1):
        centre = (random.randrange(width), random.randrange(height))
        size = random.choice([2, 4, 9, 20, 45])
        kind = random.choice(["ring", "bar", "disc", "block", "inside"])
        if kind == "ring":
            cv2.circle(ids, centre, size, i, random.choice([1, 3, 7]))
        elif kind == "bar":
            end = (random.randrange(width), random.randrange(height))
            cv2.line(ids, centre, end, i, random.choice([1, 2, 5]))
        elif kind == "disc":
            cv2.circle(ids, centre, size, i, -1)
        elif kind == "block":
            cv2.rectangle(ids, centre, (centre[0] + size, centre[1] + size // 2), i, -1)
        else:
            cv2.circle(ids, centre, size + 6, i, 4)
            cv2.circle(ids, centre, max(1, size // 3), num_objects + i, -1)
    return connected(ids)


def instances_of(ids, labels, scores, *, soft):
    """Return every object of a numbered image, with the label and score of its number."""
    pixels, places, boxes, present = [], [], [], np.unique(ids[ids > 0])
    for i in present:
        rows, columns = np.flatnonzero((ids == i).any(1)), np.flatnonzero((ids == i).any(0))
        y0, y1, x0, x1 = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
        pixels.append((ids[y0:y1, x0:x1] == i).astype(np.uint8))
        places.append((int(x0), int(y0)))
        boxes.append((x0, y0, x1, y1))
    if soft is None:
        masks = None
    elif soft:
        masks = SoftMasks.from_crops([p * np.uint8(255) for p in pixels], places)
    else:
        masks = CropMasks.from_crops(pixels, places)
    return Instances(
        np.array(boxes, np.float32).reshape(-1, 4),
        scores[present].astype(np.float32),
        labels[present].astype(np.int32),
        masks,
        ids.shape,
    )


def exact_parts(ids, windows, labels, scores, *, soft):
    """Return what a perfect model sees in each window."""
    return [(w, instances_of(cut(ids, w), labels, scores, soft=soft)) for w in windows]


def drawn(found):
    """Return the objects as a sorted list of (label, set pixels of the whole image)."""
    masks = found.binary().masks
    rows = []
    for i in range(len(found)):
        x, y, w, h = masks.crops[i].tolist()
        image = np.zeros(found.image_hw, bool)
        image[y : y + h, x : x + w] = masks.crop(i)
        rows.append((int(found.class_ids[i]), np.packbits(image).tobytes()))
    return sorted(rows)
