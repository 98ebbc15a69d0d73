import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsl_core.errors import UserInput
from lsl_core.types import SlideWindows, Window
from lsl_core.windows import cut, plan


@st.composite
def slides(draw):
    width, height = draw(st.integers(32, 200)), draw(st.integers(32, 200))
    overlap = draw(st.integers(0, min(width, height) - 1))
    # many windows are slow to draw and tell nothing more
    overlap = min(overlap, min(width, height) - 8)
    return SlideWindows(width, height, overlap, draw(st.booleans()))


sides = st.integers(1, 400)


@given(sides, sides, slides())
def test_every_pixel_is_seen_and_no_window_leaves_the_image(height, width, slide):
    seen = np.zeros((height, width), bool)
    windows = plan((height, width), slide)
    for window in windows[: -1 if slide.whole_image and len(windows) > 1 else None]:
        assert window.x >= 0
        assert window.y >= 0
        assert window.width == min(slide.width, width)
        assert window.height == min(slide.height, height)
        cut(seen, window)[...] = True  # raises when the window leaves the image
    assert seen.all()


@given(sides, sides, slides())
def test_windows_come_row_by_row_once_each_and_always_the_same(height, width, slide):
    windows = plan((height, width), slide)
    grid = windows[:-1] if slide.whole_image and len(windows) > 1 else windows
    assert list(grid) == sorted(set(grid), key=lambda w: (w.y, w.x))
    assert windows == plan((height, width), slide)


@given(sides, sides, slides())
def test_neighbours_share_at_least_the_overlap(height, width, slide):
    xs = sorted({w.x for w in plan((height, width), slide) if w.width != width})
    for a, b in itertools.pairwise(xs):
        assert a + slide.width - b >= slide.overlap


def test_an_image_smaller_than_the_window_is_seen_whole():
    assert plan((600, 800), SlideWindows()) == (Window(0, 0, 800, 600),)


def test_the_whole_image_comes_last_and_only_beside_other_windows():
    slide = SlideWindows(100, 100, 10, whole_image=True)
    assert plan((100, 190), slide)[-1] == Window(0, 0, 190, 100)
    assert len(plan((100, 190), slide)) == 3
    assert plan((80, 90), slide) == (Window(0, 0, 90, 80),)


def test_without_windows_the_image_is_one():
    assert plan((3000, 4000), None) == (Window(0, 0, 4000, 3000),)


@pytest.mark.parametrize(
    ("slide", "named"),
    [
        (SlideWindows(512, 640, 512), ("512", "512×640")),
        (SlideWindows(100, 100, 300), ("300", "100×100")),
        (SlideWindows(31, 64, 0), ("31×64", "32")),
        (SlideWindows(64, 64, -1), ("-1", "64×64")),
    ],
)
def test_windows_of_no_use_are_refused_with_both_numbers_and_a_way_out(slide, named):
    with pytest.raises(UserInput) as refused:
        plan((1000, 1000), slide)
    assert all(number in refused.value.message for number in named)
    assert refused.value.hint


def test_a_cut_is_a_view():
    image = np.zeros((40, 50, 3), np.uint8)
    cut(image, Window(10, 20, 5, 6))[...] = 9
    assert image[20:26, 10:15].min() == 9
    assert image.sum() == 5 * 6 * 3 * 9


def test_a_window_outside_the_image_is_our_bug():
    with pytest.raises(ValueError, match="leaves"):
        cut(np.zeros((40, 50, 3), np.uint8), Window(46, 0, 5, 6))
