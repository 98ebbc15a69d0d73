"""Putting back what CVAT's own archives lose: people, stages, issues, settings."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from lsl_core.cvat.annotations.changing import Action, change_job, named_in
from lsl_core.cvat.annotations.content import KINDS, Kind, kind_of
from lsl_core.cvat.backup.bodies import job_body
from lsl_core.cvat.backup.inventory import UnitKind
from lsl_core.cvat.backup.people import People
from lsl_core.cvat.backup.saved import Relabel, SavedTask, SavedUnit
from lsl_core.cvat.connection.session import CvatSession
from lsl_core.cvat.push.sending import in_groups
from lsl_core.errors import CvatAuth, CvatError, CvatRequestFailed, CvatUnreachable
from lsl_core.progress import NULL, Progress

Json = dict[str, Any]

_READ_ONLY = frozenset({"id", "task_id", "project_id", "created_date", "updated_date"})


@dataclass(slots=True)
class Reapplied:
    """What was put back onto a restored unit.

    tasks: id in the backup to new id. jobs: likewise. not_restored: (what, why) for people.
    """

    tasks: dict[int, int] = field(default_factory=dict)
    jobs: dict[int, int] = field(default_factory=dict)
    not_restored: list[tuple[str, str]] = field(default_factory=list)


def reapply(
    session: CvatSession,
    saved: SavedUnit,
    new_id: int,
    people: People,
    *,
    progress: Progress = NULL,
    annotations: bool = False,
) -> Reapplied:
    """Put back people, stages, issues and settings onto a unit that an archive was restored to.

    Args:
        session: in the organisation of the new unit.
        saved: documents of the backup.
        new_id: of the project or task that CVAT made of the archive.
        people: who is who on this server.
        progress: counts tasks.
        annotations: whether the annotations of the documents replace those of the archive, which
            are older then. Only for a unit that was just made.

    Returns:
        Where everything went, and what could not be put back. Never raises for a single thing
        that CVAT refuses.
    """
    done = Reapplied()
    tasks = saved.tasks()
    if saved.kind is UnitKind.PROJECT:
        _project(session, saved, new_id, people, done)
        pairs = _match_tasks(session, tasks, new_id, done)
    else:
        pairs = [(task, new_id) for task in tasks]
    progress.start("Putting back people, stages and issues", total=len(pairs), unit="tasks")
    for task, new_task in pairs:
        progress.check()
        done.tasks[task.id] = new_task
        _task(session, task, new_task, people, done, annotations=annotations)
        progress.advance()
    for name in sorted(people.missing):
        done.not_restored.append((f'user "{name}"', "there is no such user on this server"))
    return done


def make_empty_task(session: CvatSession, name: str, labels: list[Json]) -> int:
    """Make a task without images, with the labels of a saved one; return its id."""
    body = {
        "name": name,
        "labels": [
            {
                **{key: label[key] for key in ("name", "color", "type") if label.get(key)},
                "attributes": [
                    {key: value for key, value in spec.items() if key != "id"}
                    for spec in label.get("attributes") or ()
                ],
            }
            for label in labels
            if not label.get("has_parent")
        ],
    }
    made = session.transport.json("POST", "/api/tasks", doing="making a task", body=body)
    return int(made["id"])


def _project(
    session: CvatSession, saved: SavedUnit, new_id: int, people: People, done: Reapplied
) -> None:
    entry = saved.document("project") or {}
    what = f'project "{entry.get("name", saved.id)}"'
    path = f"/api/projects/{new_id}"
    _people_of(session, path, entry, people, done, what=what)
    query = {"project_id": new_id}
    _quality(session, query, list(saved.document("quality") or ()), done, what=what)
    _guide(session, path, {"project_id": new_id}, saved.document("guide"), done, what=what)


def _task(
    session: CvatSession,
    task: SavedTask,
    new_id: int,
    people: People,
    done: Reapplied,
    *,
    annotations: bool,
) -> None:
    entry = task.entry
    what = f'task "{entry["name"]}"'
    path = f"/api/tasks/{new_id}"
    _people_of(session, path, entry, people, done, what=what)
    _quality(session, {"task_id": new_id}, list(task.document("quality") or ()), done, what=what)
    _guide(session, path, {"task_id": new_id}, task.document("guide"), done, what=what)
    with_jobs = {"task_id": new_id}
    new_jobs = list(session.transport.pages("/api/jobs", doing="reading jobs", query=with_jobs))
    for job, new in match_jobs(task.jobs, new_jobs):
        if new is None:
            done.not_restored.append((f"{what}, job {job['id']}", "CVAT made no such job"))
            continue
        done.jobs[int(job["id"])] = int(new["id"])
        _job(session, job, new, people, done, what=what)
    if annotations:
        _annotations(session, task, done, what=what)
    _issues(session, task, people, done, what=what)


def match_jobs(before: list[Json], after: list[Json]) -> list[tuple[Json, Json | None]]:
    """Pair jobs of a backup with those of the restored task: same kind, same frames, in order."""
    free: dict[tuple[Any, ...], list[Json]] = defaultdict(list)
    for job in sorted(after, key=lambda job: int(job["id"])):
        free[_place(job)].append(job)
    pairs: list[tuple[Json, Json | None]] = []
    for job in sorted(before, key=lambda job: int(job["id"])):
        fitting = free[_place(job)]
        pairs.append((job, fitting.pop(0) if fitting else None))
    return pairs


def _place(job: Json) -> tuple[Any, ...]:
    return job.get("type") or "annotation", job["start_frame"], job["stop_frame"]


def _match_tasks(
    session: CvatSession, tasks: list[SavedTask], project_id: int, done: Reapplied
) -> list[tuple[SavedTask, int]]:
    """Pair the tasks of a backup with those that CVAT made: by name, subset and size, in order."""
    free: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    listed = session.transport.pages(
        "/api/tasks", doing="listing tasks", query={"project_id": project_id}
    )
    for entry in sorted(listed, key=lambda entry: int(entry["id"])):
        free[_looks(entry)].append(int(entry["id"]))
    pairs = []
    for task in tasks:
        fitting = free[_looks(task.entry)]
        if fitting:
            pairs.append((task, fitting.pop(0)))
        else:
            reason = "it held no images" if not task.entry.get("size") else "CVAT did not make it"
            done.not_restored.append((f'task "{task.entry["name"]}"', reason))
    return pairs


def _looks(entry: Json) -> tuple[Any, ...]:
    return entry["name"], entry.get("subset") or "", entry.get("size")


def _people_of(
    session: CvatSession, path: str, entry: Json, people: People, done: Reapplied, *, what: str
) -> None:
    for role in ("assignee", "owner"):
        user = people.id_of(entry.get(role))
        if user is None or (role == "owner" and user == session.user_id):
            continue
        with _Noted(done, f"{role} of {what}"):
            session.transport.json(
                "PATCH", path, doing=f"setting the {role} of {what}", body={f"{role}_id": user}
            )


def _job(
    session: CvatSession, job: Json, new: Json, people: People, done: Reapplied, *, what: str
) -> None:
    wanted: Json = {key: job[key] for key in ("stage", "state") if job.get(key)}
    changes = {key: value for key, value in wanted.items() if new.get(key) != value}
    assignee = people.id_of(job.get("assignee"))
    if assignee is not None:
        changes["assignee"] = assignee
    # CVAT sets the state anew when the stage changes, so the state goes last and alone
    for part in ("assignee", "stage", "state"):
        if part not in changes and not (part == "state" and "stage" in changes):
            continue
        value = changes.get(part, wanted.get(part))
        with _Noted(done, f"{part} of a job of {what}"):
            session.transport.json(
                "PATCH", f"/api/jobs/{new['id']}", doing=f"setting the {part}", body={part: value}
            )


def _annotations(session: CvatSession, task: SavedTask, done: Reapplied, *, what: str) -> None:
    """Write the annotations of the documents over those that came with an older archive."""
    new_task = done.tasks[task.id]
    labels = session.transport.pages(
        "/api/labels", doing="reading labels", query={"task_id": new_task}
    )
    relabel = Relabel(task.labels, labels)
    for job in task.jobs:
        new_job = done.jobs.get(int(job["id"]))
        if new_job is None or not task.has_annotations(int(job["id"])):
            continue
        with _Noted(done, f"annotations of a job of {what}"):
            saved = (entry for _, entry in task.annotations(int(job["id"])))
            _write_over(session, new_job, relabel(saved), done, what=what)
    for name in sorted(relabel.missing):
        done.not_restored.append((f'label "{name}" of {what}', "the new task has no such label"))


def _write_over(
    session: CvatSession, job_id: int, entries: Iterable[Json], done: Reapplied, *, what: str
) -> None:
    """Replace what a job holds, a group of entries at a time; note what is not there then."""
    path = f"/api/jobs/{job_id}/annotations/"
    nothing: Json = {"version": 0, **{kind: [] for kind in KINDS}}
    session.transport.json("PUT", path, doing="writing annotations", body=nothing)
    wanted: Counter[Kind] = Counter()
    for group in in_groups(entries):
        wanted.update(map(kind_of, group))
        with _Noted(done, f"annotations of a job of {what}"):
            _create(session, job_id, group, done, what=what)
    _, there = job_body(session.transport, job_id)
    for kind, count in wanted.items():
        if count > there[kind]:
            lost = f"{count - there[kind]} {kind} of {what}"
            done.not_restored.append((lost, "CVAT did not keep them"))


def _create(
    session: CvatSession, job_id: int, group: Sequence[Json], done: Reapplied, *, what: str
) -> None:
    """Create a group of annotations; note those that CVAT refuses by name, and create the rest."""
    try:
        change_job(session, job_id, Action.CREATE, group)
    except CvatRequestFailed as error:
        named = named_in(error, group)
        if not 0 < len(named) < len(group):
            raise
        done.not_restored.append((f"{len(named)} annotations of a job of {what}", error.message))
        rest = [entry for i, entry in enumerate(group) if i not in named]
        change_job(session, job_id, Action.CREATE, rest)


def _issues(
    session: CvatSession, task: SavedTask, people: People, done: Reapplied, *, what: str
) -> None:
    for issue in task.document("issues") or ():
        job = done.jobs.get(int(issue["job"]))
        if job is None:
            done.not_restored.append((f"an issue of {what}", "its job was not restored"))
            continue
        comments = sorted(issue.get("comments") or (), key=lambda comment: int(comment["id"]))
        with _Noted(done, f"an issue of {what}"):
            _issue(session, job, issue, comments, people)


def _issue(
    session: CvatSession, job: int, issue: Json, comments: list[Json], people: People
) -> None:
    """Write an issue and its comments; CVAT knows one author only, so each text names its own."""
    doing = "writing an issue"
    body: Json = {
        "job": job,
        "frame": issue["frame"],
        "position": issue["position"],
        "message": _signed(comments[0]) if comments else "(no text)",
    }
    assignee = people.id_of(issue.get("assignee"))
    if assignee is not None:
        body["assignee"] = assignee
    made = session.transport.json("POST", "/api/issues", doing=doing, body=body)
    for comment in comments[1:]:
        said = {"issue": made["id"], "message": _signed(comment)}
        session.transport.json("POST", "/api/comments", doing=doing, body=said)
    if issue.get("resolved"):
        path = f"/api/issues/{made['id']}"
        session.transport.json("PATCH", path, doing=doing, body={"resolved": True})


def _signed(comment: Json) -> str:
    who = (comment.get("owner") or {}).get("username") or "somebody"
    return f"{comment.get('message', '')}\n({who}, {str(comment.get('created_date', ''))[:16]})"


def _quality(
    session: CvatSession, query: Json, saved: list[Json], done: Reapplied, *, what: str
) -> None:
    if not saved:
        return
    with _Noted(done, f"quality settings of {what}"):
        doing = "reading quality settings"
        there = list(session.transport.pages("/api/quality/settings", doing=doing, query=query))
        if not there:
            done.not_restored.append((f"quality settings of {what}", "CVAT offers none here"))
            return
        body = {key: value for key, value in saved[0].items() if key not in _READ_ONLY}
        path = f"/api/quality/settings/{there[0]['id']}"
        session.transport.json("PATCH", path, doing="writing quality settings", body=body)


def _guide(
    session: CvatSession,
    path: str,
    owner: Json,
    guide: Json | None,
    done: Reapplied,
    *,
    what: str,
) -> None:
    if not guide:
        return
    with _Noted(done, f"guide of {what}"):
        if session.transport.json("GET", path, doing="looking for a guide").get("guide_id"):
            return  # newer archives bring it along
        body = {**owner, "markdown": guide.get("markdown", "")}
        session.transport.json("POST", "/api/guides", doing="writing a guide", body=body)


class _Noted:
    """A block whose refusal by CVAT becomes a line of the report."""

    def __init__(self, done: Reapplied, what: str) -> None:
        self._done, self._what = done, what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if not isinstance(error, CvatError) or isinstance(error, CvatAuth | CvatUnreachable):
            return False
        self._done.not_restored.append((self._what, error.message))
        return True
