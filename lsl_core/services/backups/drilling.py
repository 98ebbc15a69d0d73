"""The restore drill: a snapshot is brought back for real, compared, and removed again."""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from lsl_core.backups import Repository, Snapshot, Verdict
from lsl_core.backups.locking import reading
from lsl_core.cvat import CvatSession
from lsl_core.cvat.backup import (
    SavedUnit,
    UnitKind,
    differences,
    export_archive,
    list_units,
    read_live,
)
from lsl_core.errors import BackupError, CvatError, Damaged, LslError, RestoreRefused
from lsl_core.progress import NULL, Progress
from lsl_core.services.backups.restoring import RestoredUnit, remove_unit, restore_unit, units_of

__all__ = ["SCRATCH", "drill", "newest", "require_good"]

#: What a scratch project is called, so that people know what it is, and a later drill finds it.
SCRATCH = "LSL restore drill"


def drill(
    repository: Repository,
    session: CvatSession,
    snapshot: Snapshot,
    *,
    progress: Progress = NULL,
) -> Snapshot:
    """Restore a snapshot into a scratch project or task, compare it, remove it, note the verdict.

    Compared are tasks, frames, jobs with stage and state, every object by content, and every
    image by hash. An instance snapshot is drilled unit by unit.

    Returns:
        The snapshot with its verdict.

    Raises:
        RestoreRefused: a snapshot without documents.
        CvatError: the server does not let us restore anything: that says nothing about the
            snapshot, and no verdict is noted.
    """
    remove_leftovers(session)
    problems: list[str] = []
    units = [unit for unit in units_of(repository, snapshot) if _has_frames(unit)]
    if not units:
        raise RestoreRefused(
            f"Snapshot {snapshot.short_id} holds no images, so there is nothing to try.",
        )
    progress.start("Restore drill", total=len(units), unit="projects and tasks")
    with reading(repository.store, "drill"):
        for unit in units:
            progress.check()
            problems += [
                f"{unit.key}: {text}" for text in _drill_unit(repository, session, snapshot, unit)
            ]
            progress.advance()
    for text in problems:
        progress.note(text)
    verdict = Verdict(at=datetime.now(UTC), good=not problems, problems=tuple(problems[:50]))
    with repository.lock("drill"):
        return repository.mark(snapshot, drill=verdict)


def newest(repository: Repository) -> Snapshot:
    """Return the newest snapshot that holds images.

    Raises:
        RestoreRefused: when there is none.
    """
    for one in repository.snapshots():
        if one.is_usable and any(file.kind == "archive" for file in one.files):
            return one
    raise RestoreRefused("No snapshot holds images yet.", hint="Make one: lsl backup now")


def require_good(snapshot: Snapshot) -> None:
    """Return when the last drill of a snapshot went well.

    Raises:
        Damaged: when it did not; says in what.
    """
    verdict = snapshot.marks.drill
    if verdict is None or not verdict.good:
        problems = verdict.problems if verdict else ("it was never tried",)
        raise Damaged(
            f"Snapshot {snapshot.short_id} does not come back as it was saved: {problems[0]}",
            hint=f"See all of it: lsl backup show {snapshot.short_id}",
        )


def remove_leftovers(session: CvatSession) -> int:
    """Remove scratch projects and tasks of ours that a killed drill left behind; return how many.

    Only what bears the drill's name and belongs to the signed-in user.
    """
    count = 0
    for unit in list_units(session).units:
        owner = (unit.entry.get("owner") or {}).get("id")
        if unit.name.startswith(f"{SCRATCH} ") and owner == session.user_id:
            remove_unit(session, unit.kind, unit.id)
            count += 1
    return count


def _drill_unit(
    repository: Repository, session: CvatSession, snapshot: Snapshot, unit: SavedUnit
) -> list[str]:
    """Restore one unit and return in words what is wrong with it."""
    name = f"{SCRATCH} {snapshot.short_id} {unit.key}"
    try:
        made = restore_unit(repository, session, snapshot, unit, name=name)
    except (BackupError, CvatError) as error:
        if isinstance(error, RestoreRefused | CvatError) and not _is_verdict(error):
            raise
        return [f"it cannot be restored: {error.message}"]
    try:
        return _compare(repository, session, snapshot, unit, made)
    finally:
        remove_unit(session, unit.kind, made.id)


def _is_verdict(error: LslError) -> bool:
    """Tell whether a failure speaks of the snapshot: CVAT read it and could not use it."""
    return "CVAT failed while restoring" in error.message


def _compare(
    repository: Repository,
    session: CvatSession,
    snapshot: Snapshot,
    unit: SavedUnit,
    made: RestoredUnit,
) -> list[str]:
    live = list_units(session).find(f"{unit.kind}-{made.id}")
    if live is None:
        return ["it is not there after the restore"]
    problems = differences(unit, read_live(session, live), made.tasks)
    source = repository.snapshot(made.images_from) if made.images_from else snapshot
    saved = Counter(
        _image(member.name, member.content.sha256)
        for member in repository.members(source, f"{unit.key}/archive.zip")
        if _is_image(member.name)
    )
    there = _images_on_server(session, unit.kind, made.id)
    lost = saved - there
    if lost:
        problems.append(f"{sum(lost.values())} of {sum(saved.values())} images differ or are gone")
    return problems


def _images_on_server(session: CvatSession, kind: UnitKind, unit_id: int) -> Counter[str]:
    """Return name and hash of every image of a unit, from CVAT's own archive of it."""
    with tempfile.TemporaryDirectory(prefix="lsl-drill-") as folder:
        path = Path(folder) / "archive.zip"
        export_archive(session, kind, unit_id, path)
        with zipfile.ZipFile(path) as archive:
            found: Counter[str] = Counter()
            for name in filter(_is_image, archive.namelist()):
                with archive.open(name) as file:
                    found[_image(name, hashlib.file_digest(file, "sha256").hexdigest())] += 1  # type: ignore[arg-type] # a zip member reads like a file
    return found


def _is_image(name: str) -> bool:
    """Tell images from the descriptions that lie beside them."""
    return "data/" in name and not name.endswith((".jsonl", ".json", "/"))


def _image(name: str, sha256: str) -> str:
    """Name an image without the folder of its task, whose number may be another one."""
    return f"{name.partition('data/')[2]} {sha256}"


def _has_frames(unit: SavedUnit) -> bool:
    return any(task.entry.get("size") for task in unit.tasks())
