"""Our stitching behind the plug-in signature of the merge benchmark.

    merge(width, height, windows, fragments) -> box, score, label, masks

`windows` are x1, y1, x2, y2, ends exclusive; `fragments` are columns: window, box (image pixels),
score, label, and masks as tight uint8 0/1 crops. The crops are used as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsl_core.windows.doubles import double_pairs, losers, mask_ious
from lsl_core.windows.fragments import Fragments, meets_another_view
from lsl_core.windows.join import join
from lsl_core.windows.rims import rims


@dataclass
class Merged:
    """M objects: box (M, 4), score (M,), label (M,), masks: M crops that fill the boxes."""

    box: NDArray[np.int32]
    score: NDArray[np.float32]
    label: NDArray[np.int32]
    masks: list[NDArray[np.uint8]]


def merge(width: int, height: int, windows: NDArray[np.int32], fragments: Any) -> Merged:
    """Join what windows found into what the image holds."""
    views, seen_in = windows.astype(np.int64), fragments.window.astype(np.int64)
    boxes = fragments.box.astype(np.float64)
    pairs = double_pairs(boxes, seen_in, fragments.label, views, (height, width), has_masks=True)
    ious = mask_ious(fragments.masks, fragments.box, pairs.both)
    stays = np.ones(len(boxes), bool)
    stays[losers(pairs, ious, fragments.score)] = False
    near = meets_another_view(boxes, seen_in, views)
    alone, close = np.flatnonzero(~near & stays), np.flatnonzero(near & stays)
    crops = [fragments.masks[i] for i in close.tolist()]
    box = fragments.box[close]
    joined = join(
        Fragments(
            views,
            seen_in[close],
            boxes[close],
            fragments.score[close],
            fragments.label[close],
            crops,
            crops,
            box.astype(np.int64),
            (height, width),
        )
    )
    masks = [fragments.masks[i] for i in alone.tolist()]
    masks += [crops[i] for i in joined.kept.tolist()] + [one.pixels for one in joined.composed]
    made = np.array([one.box for one in joined.composed], np.int32).reshape(-1, 4)
    around = np.concatenate([fragments.box[alone], box[joined.kept], made])
    places = around.astype(np.float64)
    for rim in rims(places, places, lambda i: masks[i]):
        kept = masks[rim.large].copy()
        kept[rim.in_large] &= 1 - masks[rim.small][rim.in_small]
        masks[rim.large] = kept
    return Merged(
        around,
        np.concatenate([fragments.score[alone], joined.scores]),
        np.concatenate([fragments.label[alone], joined.class_ids]),
        masks,
    )
