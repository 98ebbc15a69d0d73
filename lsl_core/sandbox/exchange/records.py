"""Tasks as plain records, between the database and the file formats."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lsl_core.sandbox.annotations import annotating, keeping
from lsl_core.sandbox.annotations.checking import Thing
from lsl_core.sandbox.base.context import Context
from lsl_core.sandbox.base.store import Row
from lsl_core.sandbox.tasks import jobs, labels


@dataclass(frozen=True, slots=True)
class LabelInfo:
    """A label with its attributes: name, default and input type by attribute id."""

    id: int
    name: str
    color: str
    type: str
    attributes: dict[int, dict[str, Any]]

    def attribute_id(self, name: str) -> int | None:
        """Find an attribute's id by its name."""
        for spec_id, spec in self.attributes.items():
            if spec["name"] == name:
                return spec_id
        return None


@dataclass(slots=True)
class FrameRecord:
    """One frame with its annotations."""

    number: int
    name: str
    width: int
    height: int
    path: Path
    shapes: list[Thing] = field(default_factory=list)
    tags: list[Thing] = field(default_factory=list)


@dataclass(slots=True)
class TaskRecord:
    """A task, or the part of it that one job is: its frames and labels."""

    task: Row
    labels: list[LabelInfo]
    frames: list[FrameRecord]
    jobs: list[Row]

    @property
    def subset(self) -> str:
        """The subset's name as files call it."""
        return str(self.task["subset"] or "default")

    def label(self, label_id: int) -> LabelInfo:
        """Find a label by its id."""
        return next(label for label in self.labels if label.id == label_id)


def labels_of(context: Context, task: Row) -> list[LabelInfo]:
    """Read the labels that a task uses."""
    found: list[LabelInfo] = []
    for row in labels.of_task(context.db, task):
        specs = {
            spec["id"]: {
                "name": spec["name"],
                "mutable": bool(spec["mutable"]),
                "input_type": spec["input_type"],
                "default_value": spec["default_value"],
                "values": json.loads(spec["choices"]),
            }
            for spec in labels.specs_of(context.db, row["id"])
        }
        found.append(LabelInfo(row["id"], row["name"], row["color"], row["type"], specs))
    return found


def load(context: Context, task: Row, *, job: Row | None = None) -> TaskRecord:
    """Read a task's frames and annotations, or a job's.

    Tracks are spread over the frames they cover.
    """
    folder = context.task_folder(task["id"])
    rows = context.db.rows("SELECT * FROM frames WHERE task_id = ? ORDER BY number", (task["id"],))
    kept = range(len(rows)) if job is None else jobs.frames_of(job)
    deleted = set(json.loads(task["deleted_frames"]))
    frames = {
        row["number"]: FrameRecord(
            row["number"], row["name"], row["width"], row["height"], folder / row["file"]
        )
        for row in rows
        if row["number"] in kept and row["number"] not in deleted
    }
    job_rows = annotating.annotation_jobs(context.db, task["id"]) if job is None else [job]
    if job is None:
        text = annotating.task_text(context.db, task["id"], has_scores=True)
    else:
        text = keeping.as_text(context.db, [job["id"]], has_scores=True)
    _spread(json.loads(text), frames, len(rows))
    return TaskRecord(task, labels_of(context, task), list(frames.values()), job_rows)


def _spread(body: dict[str, list[Thing]], frames: dict[int, FrameRecord], size: int) -> None:
    for shape in body["shapes"]:
        if shape["frame"] in frames:
            frames[shape["frame"]].shapes.append(shape)
    for tag in body["tags"]:
        if tag["frame"] in frames:
            frames[tag["frame"]].tags.append(tag)
    for track in body["tracks"]:
        for shape in track_shapes(track, size):
            if shape["frame"] in frames:
                frames[shape["frame"]].shapes.append(shape)


def track_shapes(track: Thing, size: int) -> list[Thing]:
    """Write a track as one shape a frame: between key frames, points move in a straight line."""
    keys = sorted(track["shapes"], key=lambda shape: int(shape["frame"]))
    found: list[Thing] = []
    for place, key in enumerate(keys):
        after = keys[place + 1] if place + 1 < len(keys) else None
        stop = size if after is None else after["frame"]
        if key["outside"]:
            continue
        for frame in range(key["frame"], stop):
            points = key["points"]
            is_moving = after is not None and not after["outside"] and key["type"] != "mask"
            if is_moving and after is not None and len(after["points"]) == len(points):
                share = (frame - key["frame"]) / (stop - key["frame"])
                points = [a + share * (b - a) for a, b in zip(points, after["points"], strict=True)]
            common = {name: track[name] for name in ("label_id", "group", "source", "attributes")}
            found.append({**key, **common, "frame": frame, "points": points})
    return found
