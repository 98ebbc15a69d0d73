"""Tracks as the single shapes that they stand for.

A track stores keyframes; between two of them CVAT interpolates rectangles and ellipses in a
straight line. It shows the last keyframe until the next one that says "outside", or until its job
ends. Polygons are held here, not morphed: an invented outline is no label to learn from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lsl_core.cvat.tasks.entities import JobInfo, JobKind

Json = dict[str, Any]

_STRAIGHT = frozenset({"rectangle", "ellipse"})


def expand(track: Json, jobs: Sequence[JobInfo]) -> list[Json]:
    """Return one plain shape per frame that a track covers.

    Args:
        track: as CVAT sends it.
        jobs: of the task; a track ends with the job of its last keyframe.
    """
    keys = sorted(track.get("shapes") or (), key=lambda shape: shape["frame"])
    shapes: list[Json] = []
    for here, after in zip(keys, [*keys[1:], None], strict=True):
        if here.get("outside"):
            continue
        stop = after["frame"] if after else _end_of_job(here["frame"], jobs) + 1
        shapes += [_at(track, here, after, frame) for frame in range(here["frame"], stop)]
    return shapes


def _end_of_job(frame: int, jobs: Sequence[JobInfo]) -> int:
    """Return the last frame of the job around `frame`.

    Where jobs overlap, the later one counts: a track of the earlier job alone is closed by CVAT.
    """
    ends = [j.stop_frame for j in jobs if j.kind is JobKind.ANNOTATION and j.covers(frame)]
    return max(ends, default=frame)


def _at(track: Json, here: Json, after: Json | None, frame: int) -> Json:
    shape = {
        "id": None,
        "track_id": track.get("id"),
        "type": here["type"],
        "frame": frame,
        "label_id": track["label_id"],
        "group": track.get("group"),
        "source": track.get("source") or "manual",
        "points": here["points"],
        "rotation": here.get("rotation") or 0.0,
    }
    if after and frame != here["frame"] and here["type"] == after["type"] in _STRAIGHT:
        share = (frame - here["frame"]) / (after["frame"] - here["frame"])
        pairs = zip(here["points"], after["points"], strict=True)
        shape["points"] = [a + (b - a) * share for a, b in pairs]
        turn = ((after.get("rotation") or 0.0) - shape["rotation"] + 180.0) % 360.0 - 180.0
        shape["rotation"] = (shape["rotation"] + turn * share) % 360.0
    return shape
