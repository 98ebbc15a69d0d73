import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lsl_core.geometry.boxes import meeting_pairs, shared
from lsl_core.geometry.masks import areas_inside, shared_areas
from lsl_core.windows.agree import Agreement, agreement
from lsl_core.windows.fragments import Fragments
from lsl_core.windows.match import match

from .scenes import tries

HW = (150, 150)
VIEWS = np.array([(x, y, x + 90, y + 90) for y in (0, 60) for x in (0, 60)])


def random_fragments(seed, count):
    """Blobs, bars and rings, each seen by the windows it reaches into, not quite alike."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        h, w = rng.integers(2, 60, 2)
        mask = rng.random((h, w)) < rng.choice([0.1, 0.6, 1.0])
        mask[h // 4 : h // 2, w // 4 : w // 2] &= rng.random() < 0.6
        top, left = rng.integers(0, HW[0] - h), rng.integers(0, HW[1] - w)
        label = rng.integers(2)
        for k, (x0, y0, x1, y1) in enumerate(VIEWS):
            full = np.zeros(HW, np.uint8)
            dy, dx = rng.integers(-2, 3, 2) * (rng.random() < 0.5)
            full[max(0, top + dy) :, max(0, left + dx) :][:h, :w] = mask[: HW[0], : HW[1]][
                : HW[0] - max(0, top + dy), : HW[1] - max(0, left + dx)
            ]
            seen = np.zeros(HW, np.uint8)
            seen[y0:y1, x0:x1] = full[y0:y1, x0:x1]
            if rng.random() < 0.9 and seen.any():
                ys, xs = np.nonzero(seen)
                box = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
                crop = np.ascontiguousarray(seen[box[1] : box[3], box[0] : box[2]])
                flipped = label if rng.random() < 0.9 else 1 - label
                rows.append((k, box, crop, flipped, rng.random()))
    boxes = np.array([row[1] for row in rows], np.int64).reshape(-1, 4)
    crops = [row[2] for row in rows]
    return Fragments(
        VIEWS,
        np.array([row[0] for row in rows], np.int64),
        boxes.astype(np.float64),
        np.array([row[4] for row in rows], np.float32),
        np.array([row[3] for row in rows], np.int32),
        crops,
        crops,
        boxes,
        HW,
    )


def all_counted(fragments):
    left, right = meeting_pairs(fragments.boxes)
    apart = fragments.seen_in[left] != fragments.seen_in[right]
    swapped = fragments.seen_in[left] > fragments.seen_in[right]
    left, right = np.where(swapped, right, left)[apart], np.where(swapped, left, right)[apart]
    whole = fragments.boxes.astype(np.int64)
    inter = shared_areas(fragments.solid, whole, left, right)
    left, right, inter = left[inter > 0], right[inter > 0], inter[inter > 0]
    views = fragments.views[fragments.seen_in]
    strips = shared(views[left], views[right])
    inside = (areas_inside(fragments.solid, whole, side, strips) for side in (left, right))
    counts = [column.astype(np.float64) for column in (inter, *inside)]
    ious = inter / (counts[1] + counts[2] - inter)
    return Agreement(left, right, *counts, ious, strips)


@settings(max_examples=tries(60), deadline=None)
@given(st.integers(0, 10**9), st.integers(0, 14))
def test_what_is_not_counted_would_have_changed_nothing(seed, count):
    fragments = random_fragments(seed, count)
    bounded = match(fragments, agreement(fragments, fragments.areas()))
    counted = match(fragments, all_counted(fragments))
    assert sorted(map(tuple, bounded.links.tolist())) == sorted(map(tuple, counted.links.tolist()))
    assert bounded.rims.tolist() == counted.rims.tolist()
