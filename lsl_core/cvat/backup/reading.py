"""Reading a unit and the whole instance as documents; what cannot be read is noted, and passed."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Any

from lsl_core.cvat.backup.bodies import Bodies, as_bytes, job_body, spool
from lsl_core.cvat.backup.inventory import Unit, UnitKind
from lsl_core.cvat.backup.saved import SavedUnit, saved_units
from lsl_core.cvat.connection.session import CvatSession
from lsl_core.errors import CvatAuth, CvatDenied, CvatError, CvatNotFound, CvatUnreachable

Json = dict[str, Any]

#: What CVAT's own archives do not hold; all but the last is kept in documents beside them.
ARCHIVE_LEAVES_OUT = (
    "assignees, stages and states of jobs",
    "owners and assignees of projects and tasks",
    "issues and their comments",
    "settings of the quality check",
    "who drew an object, and earlier versions of it",
)
#: Fields of webhooks and cloud storages that may hold a secret.
_SECRETS = frozenset({"secret", "key", "secret_key", "session_token", "key_file", "credentials"})


@dataclass(frozen=True, slots=True)
class Document:
    """One JSON file of a backup. path: as the package's docstring lists them.

    body: its bytes, the same for the same value, so that they are stored once; read by one at a
    time. counts: how many objects of each kind annotations have.
    """

    path: str
    body: IO[bytes]
    counts: Mapping[str, int] = field(default_factory=dict)

    @property
    def data(self) -> bytes:
        """The bytes to store."""
        self.body.seek(0)
        return self.body.read()

    @property
    def value(self) -> Any:  # noqa: ANN401 - any JSON value
        """What the bytes say."""
        return json.loads(self.data)


def document(path: str, value: Any) -> Document:  # noqa: ANN401 - any JSON value
    """Return a value as a document."""
    return Document(path, spool(as_bytes(value)))


@dataclass(frozen=True, slots=True)
class Lack:
    """Something that a backup does not hold, and why. path: of the document it would be."""

    path: str
    reason: str


#: What reading yields: documents, and what is missing, in no particular order.
Piece = Document | Lack


def read_unit(session: CvatSession, unit: Unit) -> Iterator[Piece]:
    """Yield the documents of a project or loose task.

    Raises:
        CvatAuth: the sign-in is not valid any more: nothing else can be read, either.
        CvatUnreachable: the server went away.
        CvatNotFound: the unit was deleted meanwhile.
    """
    at, known = unit.key, _Known()
    if unit.kind is UnitKind.PROJECT:
        query = {"project_id": unit.id}
        project = _object(session, f"/api/projects/{unit.id}")
        yield document(f"{at}/project.json", project)
        labels = list(_list(session, f"{at}/labels.json", "/api/labels", query))
        yield from labels
        yield from _guide(session, f"{at}/guide.json", project)
        yield from _list(session, f"{at}/quality.json", "/api/quality/settings", query)
        known = _ask_once(session, query, labels)
    for task in unit.task_entries:
        yield from _task(session, f"{at}/tasks/{task['id']}", task, known)


@dataclass(frozen=True, slots=True)
class _Known:
    """What one question each told about all tasks of a project; the rest is asked task by task.

    tasks: by id, as when one is asked for. jobs: by task. labels: of the project, and so of each.
    """

    tasks: Mapping[int, Json] = field(default_factory=dict)
    jobs: Mapping[int, list[Json]] = field(default_factory=dict)
    labels: list[Json] | None = None


def _ask_once(session: CvatSession, query: Json, labels: list[Piece]) -> _Known:
    listed = [piece.value for piece in labels if isinstance(piece, Document)]
    tasks: dict[int, Json] = {}
    jobs: dict[int, list[Json]] = defaultdict(list)
    try:
        pages = partial(session.transport.pages, doing="listing a project", query=query)
        tasks |= {int(task["id"]): task for task in pages("/api/tasks")}
        for job in pages("/api/jobs"):
            jobs[int(job["task_id"])].append(job)
    except (CvatAuth, CvatUnreachable):
        raise
    except CvatError:
        jobs = {}  # some of them may be missing
    return _Known(tasks, jobs, listed[0] if listed else None)


def read_live(session: CvatSession, unit: Unit) -> SavedUnit:
    """Return a unit as it is now, to be compared with a backup; what cannot be read is not there.

    Raises:
        CvatError: as `read_unit`.
    """
    bodies = Bodies()
    for piece in read_unit(session, unit):
        if isinstance(piece, Document):
            bodies.add(piece.path, piece.body)
    (found,) = saved_units(bodies.paths, bodies.open)
    return found


def _task(session: CvatSession, at: str, entry: Json, known: _Known) -> Iterator[Piece]:
    """Yield the documents of one task; a failure of one leaves the others."""
    task_id = int(entry["id"])
    query = {"task_id": task_id}
    told = known.tasks.get(task_id)
    yield from _one(f"{at}/task.json", lambda: told or _object(session, f"/api/tasks/{task_id}"))
    yield from _list(session, f"{at}/labels.json", "/api/labels", query, known=known.labels)
    if not entry.get("size"):
        return  # it holds no images yet, and so no jobs
    yield from _one(f"{at}/data.json", lambda: _object(session, f"/api/tasks/{task_id}/data/meta"))
    yield from _guide(session, f"{at}/guide.json", entry)
    yield from _list(session, f"{at}/quality.json", "/api/quality/settings", query)
    listed = known.jobs.get(task_id)
    jobs = list(_list(session, f"{at}/jobs.json", "/api/jobs", query, known=listed))
    yield from jobs
    for job in _entries(jobs):
        path = f"{at}/annotations/{job['id']}.json"
        yield from _one(path, partial(_job, session, path, int(job["id"])))
    yield from _issues(session, f"{at}/issues.json", _entries(jobs))


def _job(session: CvatSession, path: str, job_id: int) -> Document:
    """Return the annotations of a job, in an order that does not depend on the server's."""
    return Document(path, *job_body(session.transport, job_id))


def _issues(session: CvatSession, path: str, jobs: list[Json]) -> Iterator[Piece]:
    """Yield the issues of all jobs, each with its comments."""
    found = []
    for job in jobs:
        if job.get("issues", {}).get("count") == 0:
            continue
        pieces = list(_list(session, path, "/api/issues", {"job_id": job["id"]}))
        if any(isinstance(piece, Lack) for piece in pieces):
            yield from pieces
            return
        for issue in _entries(pieces):
            query = {"issue_id": issue["id"]}
            comments = list(_list(session, path, "/api/comments", query))
            if any(isinstance(piece, Lack) for piece in comments):
                yield from comments
            found.append({**issue, "comments": _entries(comments)})
    yield document(path, found)


def _guide(session: CvatSession, path: str, owner: Json) -> Iterator[Piece]:
    if owner.get("guide_id"):
        yield from _one(path, lambda: _object(session, f"/api/guides/{owner['guide_id']}"))


def read_instance(session: CvatSession) -> Iterator[Piece]:
    """Yield what belongs to no unit: users, organisations, members, webhooks, cloud storages."""
    about = session.server
    yield document(
        "instance/about.json",
        {"url": session.url, "version": about.version, "name": about.name, "read_by": session.user},
    )
    yield from _list(session, "instance/organisations.json", "/api/organizations", {}, org=None)
    yield from _list(session, "instance/users.json", "/api/users", {}, org=None)
    yield from _members(session)
    for path, address in (
        ("instance/webhooks.json", "/api/webhooks"),
        ("instance/clouds.json", "/api/cloudstorages"),
        ("instance/invitations.json", "/api/invitations"),
    ):
        yield from _list(session, path, address, {}, clean=_without_secrets)


def _members(session: CvatSession) -> Iterator[Piece]:
    """Yield the members of every organisation, each with the organisation's short name."""
    found = []
    for organisation in session.organisations():
        pieces = list(
            _list(session, "instance/members.json", "/api/memberships", {}, org=organisation.slug)
        )
        yield from (
            Lack(piece.path, f"organisation {organisation.slug}: {piece.reason}")
            for piece in pieces
            if isinstance(piece, Lack)
        )
        found += [{**entry, "organisation": organisation.slug} for entry in _entries(pieces)]
    yield document("instance/members.json", found)


def _without_secrets(entry: Json) -> Json:
    return {key: value for key, value in entry.items() if key not in _SECRETS}


def _entries(pieces: list[Piece]) -> list[Json]:
    return [entry for piece in pieces if isinstance(piece, Document) for entry in piece.value]


def _object(session: CvatSession, path: str) -> Json:
    answer: Json = session.transport.json("GET", path, doing=f"reading {path}")
    return answer


def _list(
    session: CvatSession,
    path: str,
    address: str,
    query: Json,
    *,
    org: str | None = "",
    clean: Callable[[Json], Json] = lambda entry: entry,
    known: list[Json] | None = None,
) -> Iterator[Piece]:
    """Yield a whole list as one document, sorted by id.

    Args:
        session: who asks.
        path: of the document.
        address: of the list.
        query: what it is narrowed by.
        org: "" asks as the session does, None in no organisation, a short name in that one.
        clean: what is kept of an entry.
        known: the entries, when they need not be asked for.
    """
    headers = {} if org == "" else {"X-Organization": org}

    def read() -> list[Json]:
        found = known or session.transport.pages(
            address, doing=f"reading {address}", query=query, headers=headers
        )
        return sorted(map(clean, found), key=lambda entry: str(entry.get("id", "")).zfill(12))

    yield from _one(path, read)


def _one(path: str, read: Callable[[], Any]) -> Iterator[Piece]:
    """Yield what `read` returns, a document or the value of one, or why there is none."""
    try:
        found = read()
        yield found if isinstance(found, Document) else document(path, found)
    except (CvatAuth, CvatUnreachable):
        raise  # nothing that follows would fare better
    except CvatDenied:
        yield Lack(path, "this account may not read it")
    except CvatNotFound:
        yield Lack(path, "this CVAT does not offer it, or it was deleted meanwhile")
    except CvatError as error:
        yield Lack(path, error.message)
