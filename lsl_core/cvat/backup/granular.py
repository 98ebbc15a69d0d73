"""Bringing single jobs or frames of a backup back into the live task, as a push with a way back."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Collection
from typing import Any

from lsl_core.cvat.annotations import TaskState, read_task
from lsl_core.cvat.backup.saved import Relabel, SavedTask
from lsl_core.cvat.content import content_key, state_key
from lsl_core.cvat.plan import FrameRow, LabelRow, PushPlan, RestoreMode, SkippedFrame
from lsl_core.cvat.session import CvatSession
from lsl_core.cvat.tasks import JobKind, job_of
from lsl_core.errors import RestoreRefused, UserInput

Json = dict[str, Any]


def plan_restore(
    session: CvatSession,
    saved: SavedTask,
    *,
    frames: Collection[int] | None = None,
    job: int | None = None,
    task_id: int | None = None,
    keep_newer: bool = False,
) -> PushPlan:
    """Work out what makes frames of the live task what they were in a backup. Writes nothing.

    Shapes that are there as they were stay, with their ids; what is missing is added, what came
    later is taken away. `apply_push` does it, `undo_push` takes it back.

    Args:
        session: who asks.
        saved: the task as the backup holds it.
        frames: which ones; all when None.
        job: only the frames of this job, by its id in the backup.
        task_id: the live task; the one that was backed up when None.
        keep_newer: whether what came later stays, so that nothing is taken away.

    Raises:
        CvatNotFound: the task is gone; restore it as a new one.
        RestoreRefused: the live task has other frames than the backup's.
        UserInput: no such job or frame in the backup.
    """
    state = read_task(session, saved.id if task_id is None else task_id)
    _require_same_frames(saved, state)
    chosen = _frames(saved, state, frames, job)
    relabel = Relabel(saved.labels, _live_labels(state))
    wanted = _saved_shapes(saved, relabel, chosen)
    live: dict[str, list[Json]] = defaultdict(list)
    for shape in state.annotations["shapes"]:
        if int(shape["frame"]) in chosen:
            live[content_key(shape)].append(shape)
    create = []
    for shape in wanted:
        same = live[content_key(shape)]
        if same:
            same.pop()
        else:
            create.append(shape)
    remove = [] if keep_newer else [shape for left in live.values() for shape in left]
    return _plan(session, state, create, remove, _warnings(saved, state, relabel, chosen))


def _require_same_frames(saved: SavedTask, state: TaskState) -> None:
    """See that frame numbers mean the same images in the backup and in the live task.

    Raises:
        RestoreRefused: when they do not.
    """
    frames = list((saved.document("data") or {}).get("frames") or ())
    before = [(frame["name"], frame["width"], frame["height"]) for frame in frames]
    now = [(frame.name, frame.width, frame.height) for frame in state.frames]
    is_video = len(before) == 1 and len(now) > 1
    if not is_video and before != now:
        raise RestoreRefused(
            f'Task {state.task.id} "{state.task.name}" has other images than the backup.',
            hint="Restore the backup as a new task instead.",
        )


def _frames(
    saved: SavedTask, state: TaskState, frames: Collection[int] | None, job: int | None
) -> frozenset[int]:
    everything = {frame.frame for frame in state.frames}
    if job is not None:
        found = next((entry for entry in saved.jobs if int(entry["id"]) == job), None)
        if found is None:
            ids = ", ".join(str(entry["id"]) for entry in saved.jobs)
            raise UserInput(f"The backup has no job {job}.", hint=f"It has: {ids}")
        everything &= set(range(int(found["start_frame"]), int(found["stop_frame"]) + 1))
    if frames is None:
        return frozenset(everything)
    unknown = sorted(set(frames) - everything)
    if unknown:
        raise UserInput(
            f"There is no frame {unknown[0]} to bring back.",
            hint=f"Frames go from {min(everything)} to {max(everything)}.",
        )
    return frozenset(frames)


def _live_labels(state: TaskState) -> list[Json]:
    return [
        {
            "id": label.id,
            "name": label.name,
            "attributes": [{"id": a.id, "name": a.name} for a in label.attributes],
        }
        for label in state.labels
    ]


def _saved_shapes(saved: SavedTask, relabel: Relabel, frames: frozenset[int]) -> list[Json]:
    """Return the shapes of ordinary jobs on these frames, in the live task's labels."""
    seen: set[int] = set()
    shapes: list[Json] = []
    for entry in saved.jobs:
        if (entry.get("type") or "annotation") != JobKind.ANNOTATION:
            continue
        annotations = saved.annotations(int(entry["id"]))
        if annotations is None:
            raise RestoreRefused(
                f"The backup lacks the annotations of job {entry['id']}.",
                hint="Choose another snapshot: lsl backup list",
            )
        for shape in annotations["shapes"]:
            if int(shape["frame"]) in frames and int(shape["id"]) not in seen:
                seen.add(int(shape["id"]))
                shapes += relabel([shape])
    return shapes


def _warnings(
    saved: SavedTask, state: TaskState, relabel: Relabel, frames: frozenset[int]
) -> list[str]:
    said = [
        f'Objects of the label "{name}" stay away: the task has no such label any more.'
        for name in sorted(relabel.missing)
    ]
    for kind in ("tags", "tracks"):
        before = Counter(
            int(entry["frame"])
            for job in saved.jobs
            for entry in (saved.annotations(int(job["id"])) or {}).get(kind) or ()
        )
        now = Counter(int(entry["frame"]) for entry in state.annotations.get(kind) or ())
        if any(before[frame] != now[frame] for frame in frames):
            said.append(
                f"The {kind} differ from the backup's and stay as they are now: only shapes can "
                "be brought back into a live task. A new task brings back everything."
            )
    touched = [job for job in state.jobs if any(job.covers(frame) for frame in frames)]
    if done := sum(job.state == "completed" for job in touched):
        said.append(f"{done} of the jobs that change are marked as completed in CVAT.")
    return said


def _plan(
    session: CvatSession,
    state: TaskState,
    create: list[Json],
    remove: list[Json],
    warnings: list[str],
) -> PushPlan:
    names = {label.id: label.name for label in state.labels}
    deleted = {frame.frame for frame in state.frames if frame.deleted}
    skipped = Counter(int(s["frame"]) for s in create if int(s["frame"]) in deleted)
    create = [shape for shape in create if int(shape["frame"]) not in deleted]
    added, gone = (Counter(names[s["label_id"]] for s in part) for part in (create, remove))
    now = Counter(names.get(s["label_id"], "?") for s in state.annotations["shapes"])
    plus, minus = (Counter(int(s["frame"]) for s in part) for part in (create, remove))
    frames = sorted(plus.keys() | minus.keys())
    state_of_task = state_key(state.annotations)
    ingredients = [state_of_task, sorted(map(content_key, create)), sorted(s["id"] for s in remove)]
    token = hashlib.sha256(json.dumps(ingredients).encode()).hexdigest()[:16]
    return PushPlan(
        token=token,
        task=state.task,
        url=session.url,
        mode=RestoreMode.RESTORE,
        run_id="",
        state=state_of_task,
        num_shapes=len(state.annotations["shapes"]),
        matches=(),
        labels=tuple(
            LabelRow(label.name, now[label.name], added[label.name], 0, 0, gone[label.name])
            for label in state.labels
            if now[label.name] or added[label.name]
        ),
        frames=tuple(
            FrameRow(frame, state.frames[frame].name, plus[frame], 0, 0, minus[frame])
            for frame in frames
        ),
        skipped=tuple(
            SkippedFrame(frame, count, "was deleted in CVAT")
            for frame, count in sorted(skipped.items())
        ),
        warnings=tuple(warnings),
        create=tuple(create),
        remove=tuple(remove),
        jobs={frame: job_of(state.jobs, frame).id for frame in frames},
    )
