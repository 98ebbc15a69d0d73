"""Taking snapshots: one project or task, everything that is due, or the whole server."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from lsl_core.backups import Draft, Repository, Snapshot, State, Subject, Tier
from lsl_core.backups.checking import verify
from lsl_core.cvat import CvatSession
from lsl_core.cvat.backup import (
    ARCHIVE_LEAVES_OUT,
    Document,
    Lack,
    Unit,
    UnitKind,
    export_archive,
    list_units,
    read_instance,
    read_unit,
)
from lsl_core.errors import (
    BackupError,
    CvatAuth,
    CvatNotFound,
    Damaged,
    DiskFull,
    Locked,
    LslError,
    PartlyDone,
    RunCancelled,
    UserInput,
)
from lsl_core.progress import NULL, Progress

__all__ = [
    "BackupReport",
    "back_up",
    "back_up_instance",
    "back_up_now",
    "back_up_unit",
    "find_unit",
    "secure",
    "subject_of",
]

#: What ends a whole run, since nothing that follows could fare better.
_FATAL = (CvatAuth, DiskFull, Locked, RunCancelled)


@dataclass(slots=True)
class BackupReport:
    """What a backup of several units came to.

    taken: the snapshots that were written. failed: (what, why) where there is none, or a failed
    one.
    """

    taken: list[Snapshot] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)

    @property
    def partial(self) -> list[Snapshot]:
        """Snapshots that lack something."""
        return [one for one in self.taken if one.state is State.PARTIAL]

    def require_whole(self) -> None:
        """Return when everything was saved.

        Raises:
            PartlyDone: when something is missing; names it.
            BackupError: when nothing at all was saved.
        """
        if not self.failed and not self.partial:
            return
        done = [f"{one.subject.name} ({one.short_id})" for one in self.taken]
        if not done:
            raise BackupError(
                f"Nothing was backed up: {self.failed[0][0]}: {self.failed[0][1]}",
                hint="Older snapshots are whole. See lsl backup list",
            )
        lacks = [
            (f"{one.subject.name}: {lack.what}", lack.why)
            for one in self.partial
            for lack in one.missing
        ]
        raise PartlyDone(
            f"{len(self.taken) - len(self.partial)} backed up, {len(self.partial)} in part, "
            f"{len(self.failed)} failed.",
            done=done,
            failed=[*self.failed, *lacks],
            hint="Run it again when the cause is mended; what is saved is not sent again.",
        )


def subject_of(session: CvatSession, unit: Unit) -> Subject:
    """Return what a unit is called in the repository."""
    return Subject(
        url=session.url,
        kind=unit.kind.value,
        id=unit.id,
        name=unit.name,
        organisation=unit.organisation or None,
    )


def back_up(
    repository: Repository,
    session: CvatSession,
    units: Iterable[tuple[Unit, Tier]],
    *,
    reason: str,
    progress: Progress = NULL,
) -> BackupReport:
    """Take a snapshot of each unit; one that fails never stops the others.

    Raises:
        Locked: somebody else writes to the repository.
        CvatAuth, DiskFull, RunCancelled: what ends it for all; snapshots taken until then stay.
    """
    todo, report = list(units), BackupReport()
    with repository.lock(f"backup: {reason}"):
        progress.start("Backing up", total=len(todo), unit="projects and tasks")
        for unit, tier in todo:
            progress.check()
            try:
                one = back_up_unit(
                    repository, session, unit, tier, reason=reason, progress=_Quiet(progress)
                )
                report.taken.append(one)
                progress.note(f"{unit.key} {unit.name}: {tier}, {one.state}, {one.short_id}")
            except _FATAL:
                raise
            except LslError as error:
                report.failed.append((f"{unit.key} {unit.name}", error.message))
                progress.note(f"{unit.key} {unit.name}: {error.message}")
            progress.advance()
    return report


def back_up_now(
    repository: Repository,
    session: CvatSession,
    tier: Tier,
    *,
    project: int | None = None,
    task: int | None = None,
    reason: str,
    progress: Progress = NULL,
) -> BackupReport:
    """Take a snapshot of one project or task, or of each that the account can see.

    Raises:
        UserInput: no such project or task.
        Locked: somebody else writes to the repository.
    """
    if project is not None or task is not None:
        units = [find_unit(session, project=project, task=task)]
    else:
        units = list(list_units(session).units)
    return back_up(
        repository, session, [(unit, tier) for unit in units], reason=reason, progress=progress
    )


def secure(repository: Repository, one: Snapshot, *, progress: Progress = NULL) -> Snapshot:
    """Verify a snapshot and protect it: it is what is left when its server is gone.

    Raises:
        Damaged: what was just written does not read back.
    """
    with repository.lock("secure"):
        report = verify(repository, [one], progress=progress)
        if one.id in report.damaged:
            raise Damaged(
                f"Snapshot {one.short_id} does not read back: {report.damaged[one.id][0]}",
                hint="Look at the disk it lies on, and take it again. Delete nothing yet.",
            )
        return repository.protect(repository.snapshot(one.id), note=one.reason)


def back_up_unit(
    repository: Repository,
    session: CvatSession,
    unit: Unit,
    tier: Tier,
    *,
    reason: str,
    progress: Progress = NULL,
) -> Snapshot:
    """Take one snapshot of a project or loose task; the caller holds the repository's lock.

    Raises:
        LslError: when nothing can be relied on; a snapshot marked as failed says why.
    """
    with repository.record(
        subject_of(session, unit), tier, server_version=session.server.version, reason=reason
    ) as draft:
        _save_unit(
            draft, session, unit, with_images=tier is not Tier.ANNOTATIONS, progress=progress
        )
    return _finished(draft)


def back_up_instance(
    repository: Repository, session: CvatSession, *, reason: str, progress: Progress = NULL
) -> Snapshot:
    """Take one snapshot of everything that the account can see, images included.

    A unit that fails is listed as missing, and the rest is saved.

    Raises:
        Locked: somebody else writes to the repository.
        LslError: when nothing could be saved.
    """
    subject = Subject(url=session.url, kind="instance", id=0, name=session.url)
    with (
        repository.lock(f"backup: {reason}"),
        repository.record(
            subject, Tier.INSTANCE, server_version=session.server.version, reason=reason
        ) as draft,
    ):
        inventory = list_units(session)
        _add(draft, read_instance(session))
        progress.start("Backing up", total=len(inventory.units), unit="projects and tasks")
        for unit in inventory.units:
            progress.check()
            try:
                _save_unit(draft, session, unit, with_images=True, progress=_Quiet(progress))
                draft.counts["units"] = draft.counts.get("units", 0) + 1
            except _FATAL:
                raise
            except LslError as error:
                draft.lack(f"{unit.key} {unit.name}", error.message)
                progress.note(f"{unit.key} {unit.name}: {error.message}")
            progress.advance()
        if inventory.units and not draft.counts.get("units"):
            raise BackupError("No project and no task could be saved.")
    return _finished(draft)


def find_unit(session: CvatSession, *, project: int | None = None, task: int | None = None) -> Unit:
    """Return a project, or a task: on its own when loose, else its whole project.

    Raises:
        UserInput: no such project or task that the account can see.
    """
    key = f"project-{project}" if project is not None else f"task-{task}"
    unit = list_units(session).find(key)
    if unit is None:
        raise UserInput(
            f"There is no {key.replace('-', ' ')} that {session.user} can see.",
            hint="Check the number on the Tasks page; it may lie in another organisation.",
        )
    return unit


def _save_unit(
    draft: Draft, session: CvatSession, unit: Unit, *, with_images: bool, progress: Progress
) -> None:
    _add(draft, read_unit(session, unit))
    # CVAT packs a project without images, but no such task
    if with_images and (unit.frames or unit.kind is UnitKind.PROJECT):
        _add_archive(draft, session, unit, progress)


def _add_archive(draft: Draft, session: CvatSession, unit: Unit, progress: Progress) -> None:
    """Add CVAT's own archive; when CVAT cannot make it, the documents stay, and that is said."""
    name = f"{unit.key}/archive.zip"
    with tempfile.TemporaryDirectory(prefix="lsl-backup-") as folder:
        path = Path(folder) / "archive.zip"
        try:
            export_archive(session, unit.kind, unit.id, path, progress=progress)
            draft.add_archive(name, path)
        except _FATAL:
            raise
        except CvatNotFound:
            raise
        except LslError as error:
            draft.lack(name, f"images and CVAT's own archive: {error.message}")
            return
    draft.add_json(f"{unit.key}/left_out.json", list(ARCHIVE_LEAVES_OUT))


def _add(draft: Draft, pieces: Iterable[Document | Lack]) -> None:
    counts: Counter[str] = Counter(draft.counts)
    for piece in pieces:
        if isinstance(piece, Lack):
            draft.lack(piece.path, piece.reason)
            continue
        piece.body.seek(0)
        draft.add(piece.path, piece.body)
        counts.update(_count(piece))
    draft.counts = dict(counts)


def _count(piece: Document) -> dict[str, int]:
    name = piece.path.rpartition("/")[2].removesuffix(".json")
    if "/annotations/" in piece.path:
        return dict(piece.counts)
    if name in ("jobs", "issues", "users", "organisations", "members", "webhooks"):
        return {name: len(piece.value)}
    if name == "data":
        return {"frames": int(piece.value.get("size") or 0)}
    return {"tasks": 1} if name == "task" else {}


def _finished(draft: Draft) -> Snapshot:
    if draft.snapshot is None:
        raise ValueError("the record ended without a snapshot")
    return draft.snapshot


class _Quiet:
    """The progress of a part: its steps would hide how many units are done."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def start(self, step: str, *, total: int, unit: str) -> None:
        """Ignore the step."""

    def advance(self, count: int = 1) -> None:
        """Ignore the advance."""

    def metric(self, name: str, value: float, *, at: int) -> None:
        """Ignore the figure."""

    def note(self, text: str) -> None:
        """Pass the line on."""
        self._progress.note(text)

    def check(self) -> None:
        """Pass the question on."""
        self._progress.check()
