import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsl_core.types import SlideWindows
from lsl_core.windows import plan, stitch

from .scenes import drawn, exact_parts, instances_of, random_scene

seeds = st.integers(0, 10**9)


@settings(max_examples=150)
@given(seeds, st.sampled_from([8, 9, 13, 20, 31]), st.booleans(), st.booleans())
def test_exact_window_results_give_exactly_the_truth(seed, overlap, soft, whole_image):
    rng = random.Random(seed)
    image_hw = (rng.randint(20, 190), rng.randint(20, 190))
    slide = SlideWindows(rng.randint(40, 70), rng.randint(40, 70), overlap, whole_image)
    ids = random_scene(rng, image_hw, rng.randint(0, 12))
    n = int(ids.max()) + 1
    labels = np.array([rng.randrange(3) for _ in range(n)])
    scores = np.array([rng.uniform(0.1, 1) for _ in range(n)])
    parts = exact_parts(ids, plan(image_hw, slide), labels, scores, soft=soft)
    stitched = stitch(parts, image_hw=image_hw)
    truth = instances_of(ids, labels, scores, soft=soft)
    assert drawn(stitched) == drawn(truth)
    assert (np.diff(stitched.scores) <= 0).all()
    assert sorted(stitched.boxes.tolist()) == sorted(truth.boxes.tolist())
    assert sorted(stitched.scores.tolist()) == pytest.approx(sorted(truth.scores.tolist()))
