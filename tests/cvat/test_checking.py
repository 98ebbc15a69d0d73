from __future__ import annotations

import pytest

from lsl_core.cvat.push.checking import fault, require_sound

HW = (60, 80)


@pytest.mark.parametrize(
    ("kind", "points", "words"),
    [
        ("mask", [0, 4, 1, 1, 2, 2], ""),
        ("mask", [1, 3, 78, 58, 79, 59], ""),
        ("mask", [1, 2, 1, 1, 2, 2], "add up"),
        ("mask", [4, 1, 1, 2, 2], "empty"),
        ("mask", [0, 4, 79, 1, 80, 2], "outside"),
        ("mask", [0, 5, -1, 1, 1, 2, 2], "run"),
        ("mask", [0, float("nan"), 1, 1, 2, 2], "number"),
        ("rectangle", [0, 0, 80, 60], ""),
        ("rectangle", [5, 5, 4, 9], "no box"),
        ("rectangle", [-1, 0, 4, 9], "outside"),
        ("polygon", [0, 0, 9, 0, 9, 9], ""),
        ("polygon", [0, 0, 9, 0], "corners"),
        ("polygon", [0, 0, 9, 0, 9, 9, 1], "corners"),
        ("polygon", [0, 0, 9, 0, 9, 61], "outside"),
    ],
)
def test_what_would_break_an_export_is_seen_before_it_is_sent(kind, points, words):
    shape = {"type": kind, "points": points, "frame": 0}
    assert bool(fault(shape, HW)) == bool(words)
    if words:
        with pytest.raises(ValueError, match=words):
            require_sound([shape], [HW])
