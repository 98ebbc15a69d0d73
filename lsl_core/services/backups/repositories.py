"""The care of the backup repository: where it is, what it holds, what is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from lsl_core.backups import (
    Holder,
    Repository,
    Snapshot,
    State,
    Tier,
    Verdict,
    checking,
    key_from_keyring,
    make_key_file,
    pruning,
    read_key_file,
)
from lsl_core.backups.checking import Report
from lsl_core.backups.pruning import PrunePlan
from lsl_core.backups.sealing import Key
from lsl_core.errors import Damaged, UserInput
from lsl_core.progress import NULL, Progress
from lsl_core.workspace import Workspace
from lsl_core.workspace.settings import BackupSettings

__all__ = [
    "BackupSettings",
    "PrunePlan",
    "Report",
    "Repository",
    "RepositoryState",
    "Snapshot",
    "State",
    "Tier",
    "Verdict",
    "change_settings",
    "check",
    "create_repository",
    "find_snapshots",
    "forget",
    "get_snapshot",
    "has_repository",
    "location_of",
    "open_repository",
    "plan_prune",
    "protect",
    "prune",
    "require_good",
    "searchable",
    "state",
    "undelete",
    "unlock",
    "verify",
]


@dataclass(frozen=True, slots=True)
class RepositoryState:
    """How the repository stands.

    free_bytes: what its disk has left, None where nobody says. stored_bytes: what it takes.
    last_verified: seconds since the epoch of the newest good verification, or None.
    holders: who writes to it now. damaged: names of snapshots that cannot be read.
    """

    location: str
    is_encrypted: bool
    free_bytes: int | None
    stored_bytes: int
    snapshots: tuple[Snapshot, ...]
    damaged: tuple[str, ...]
    last_verified: float | None
    holders: tuple[Holder, ...]


def location_of(workspace: Workspace) -> str:
    """Return the folder or URL of the workspace's backups."""
    return workspace.settings().backups.location or str(workspace.backups)


def has_repository(workspace: Workspace) -> bool:
    """Tell whether backups can be read and written.

    Raises:
        BackupError: when something is there and cannot be used.
    """
    if not workspace.settings().backups.location and not workspace.backups.exists():
        return False
    open_repository(workspace)
    return True


def open_repository(workspace: Workspace, *, make: bool = False) -> Repository:
    """Open the repository of a workspace.

    Args:
        workspace: whose.
        make: make the workspace's own folder one, when nobody chose another place.

    Raises:
        BackupError: when there is none, or its key is missing.
    """
    settings = workspace.settings().backups
    if make and not settings.location and not workspace.backups.exists():
        return Repository.create(workspace.backups)
    return Repository.open(location_of(workspace), key=_key(settings, location_of(workspace)))


def create_repository(
    workspace: Workspace, location: str = "", *, key_file: str = "", keyring: bool = False
) -> Repository:
    """Make a repository, or take up one that is there, and remember it in the settings.

    Args:
        workspace: whose.
        location: a folder or an fsspec URL; "" is the workspace's own folder.
        key_file: encrypt with the key in this file, which is made for a new repository when it is
            not there.
        keyring: encrypt with a key in the system's keyring.

    Raises:
        UserInput: both a key file and the keyring.
        BackupError: when the place cannot be used.
    """
    if key_file and keyring:
        raise UserInput("Choose a key file or the keyring, not both.")
    where = location or str(workspace.backups)
    if "://" not in where:
        where = str(Path(where).expanduser().resolve())
    is_new = not Repository.is_at(where)
    key: Key | None = None
    if key_file:
        path = Path(key_file).expanduser().resolve()
        key_file = str(path)
        key = make_key_file(path) if is_new and not path.exists() else read_key_file(path)
    elif keyring:
        key = key_from_keyring(where, make=is_new)
    repository = (Repository.create if is_new else Repository.open)(where, key=key)
    settings = workspace.settings()
    settings.backups = settings.backups.model_copy(
        update={"location": where if location else "", "key_file": key_file, "keyring": keyring}
    )
    workspace.save(settings)
    return repository


def change_settings(workspace: Workspace, **changes: object) -> BackupSettings:
    """Write how often backups are made and what is kept; names are those of `BackupSettings`.

    Raises:
        UserInput: when a value cannot be.
    """
    settings = workspace.settings()
    try:
        new = BackupSettings.model_validate({**settings.backups.model_dump(), **changes})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).replace("_", " ")
        raise UserInput(f"{name}: {first['msg']}.", hint="Choose another value.") from error
    settings.backups = new
    workspace.save(settings)
    return new


def state(repository: Repository) -> RepositoryState:
    """Return how the repository stands now; forgotten snapshots are among its list."""
    found, damaged = repository.read_snapshots()
    verified = [
        one.marks.verified.at.timestamp() for one in found if one.marks.verified and one.is_verified
    ]
    return RepositoryState(
        location=repository.location,
        is_encrypted=repository.is_encrypted,
        free_bytes=repository.store.free_bytes(),
        stored_bytes=sum(repository.store.list("").values()),
        snapshots=tuple(found),
        damaged=tuple(damaged),
        last_verified=max(verified, default=None),
        holders=tuple(repository.lock_holders()),
    )


def get_snapshot(repository: Repository, id_: str) -> Snapshot:
    """Return a snapshot by the first digits of its name, or "latest".

    Raises:
        SnapshotMissing: when there is none, or several begin so.
    """
    return repository.snapshot(id_)


def find_snapshots(
    repository: Repository,
    *,
    search: str = "",
    tier: Tier | None = None,
    project: int | None = None,
    task: int | None = None,
    forgotten: bool = False,
) -> list[Snapshot]:
    """Return snapshots, newest first, that fit all that is given.

    Args:
        repository: where to look.
        search: words that all are in the name, number, reason, note, person or state.
        tier: only of this one.
        project: only of this project.
        task: those that hold this task, alone or with its project.
        forgotten: also those that the next prune removes.
    """
    words = search.lower().split()
    return [
        one
        for one in repository.snapshots(tier=tier, forgotten=forgotten)
        if all(word in searchable(one) for word in words)
        and (project is None or (one.subject.kind, one.subject.id) == ("project", project))
        and (task is None or _holds_task(one, task))
    ]


def protect(repository: Repository, id_: str, *, on: bool = True, note: str = "") -> Snapshot:
    """Keep a snapshot whatever the retention says, or stop doing so."""
    with repository.lock("protect"):
        return repository.protect(repository.snapshot(id_), on, note=note)


def forget(repository: Repository, ids: list[str]) -> list[Snapshot]:
    """Let the next prune remove these snapshots; until then `undelete` brings them back.

    Raises:
        BackupError: when one of them is protected; then none is forgotten.
    """
    with repository.lock("forget"):
        found = [repository.snapshot(id_) for id_ in ids]
        repository.forget(found)
    return found


def undelete(repository: Repository, ids: list[str]) -> list[Snapshot]:
    """Bring forgotten snapshots back, as long as no prune has run."""
    with repository.lock("undelete"):
        found = [repository.snapshot(id_) for id_ in ids]
        repository.undelete(found)
    return found


def unlock(repository: Repository) -> int:
    """Remove every lock, for somebody who knows that nothing runs; return how many there were."""
    return repository.unlock()


def verify(
    repository: Repository, ids: list[str] | None = None, *, progress: Progress = NULL
) -> Report:
    """Read and hash what snapshots hold, all of them when none is named, and mark the verdict."""
    with repository.lock("verify"):
        chosen = [repository.snapshot(id_) for id_ in ids] if ids else None
        return checking.verify(repository, chosen, progress=progress)


def require_good(report: Report) -> None:
    """Return when nothing is wrong.

    Raises:
        Damaged: says how much, and what first.
    """
    found = [f"{name[:10]}: {text}" for name, texts in report.damaged.items() for text in texts]
    problems = [*report.problems, *found]
    if problems:
        raise Damaged(
            f"{len(report.damaged)} snapshots are damaged, {len(report.whole)} are whole. "
            f"{problems[0]}",
            hint="Back up again: what is damaged and still there in CVAT is stored anew.",
        )


def check(repository: Repository) -> Report:
    """Look at the structure of the repository; reads no images, changes nothing."""
    return checking.check(repository)


def plan_prune(repository: Repository, *, give_up: Sequence[str] = ()) -> PrunePlan:
    """Say what `prune` would remove for good; changes nothing.

    Args:
        repository: what is looked after.
        give_up: first digits of the names of snapshots that cannot be read and may go.
    """
    return pruning.plan_prune(repository, give_up=_unreadable(repository, give_up))


def prune(
    repository: Repository, *, seen: PrunePlan | None = None, progress: Progress = NULL
) -> PrunePlan:
    """Remove forgotten snapshots for good, and what only they needed.

    Args:
        repository: what is looked after.
        seen: the plan that somebody agreed to; when more would go by now, nothing goes.
        progress: counts packs.
    """
    give_up = () if seen is None else seen.give_up
    with repository.lock("prune"):
        return pruning.prune(repository, give_up=give_up, seen=seen, progress=progress)


def _unreadable(repository: Repository, beginnings: Sequence[str]) -> list[str]:
    """Return the full names of damaged records; refuse a name that is none."""
    damaged = repository.read_snapshots()[1] if beginnings else []
    found = []
    for text in beginnings:
        names = [name for name in damaged if text and name.startswith(text.lower())]
        if len(names) != 1:
            raise UserInput(
                f'"{text}" is not the name of one snapshot that cannot be read.',
                hint="See them: lsl backup check. What can be read goes by: lsl backup forget",
            )
        found += names
    return found


def _key(settings: BackupSettings, location: str) -> Key | None:
    if settings.key_file:
        return read_key_file(Path(settings.key_file).expanduser())
    return key_from_keyring(location) if settings.keyring else None


def searchable(one: Snapshot) -> str:
    """Return the text that a search looks into, in small letters."""
    parts = [one.id, one.subject.name, one.subject.kind, str(one.subject.id), one.tier, one.state]
    return " ".join([*parts, one.reason, one.taken_by, one.marks.note]).lower()


def _holds_task(one: Snapshot, task: int) -> bool:
    if one.subject.kind == "task":
        return one.subject.id == task
    return any(f"/tasks/{task}/" in file.name for file in one.files)
