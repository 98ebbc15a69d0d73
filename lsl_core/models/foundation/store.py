"""Pretrained weights on disk: get them, know them by their hashes, refuse those that changed.

`SHELF/NAME/` holds config.json, weights as safetensors, and `lsl-lock.json`, which is written last:
a folder without it is no checkpoint. Format: docs/formats/pretrained.md. No torch.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsl_core.errors import FormatTooNew, UserInput, WeightsDamaged, WeightsMissing, WorkspaceError
from lsl_core.models.foundation import hub
from lsl_core.models.foundation.catalogue import ARCHITECTURES, CHECKPOINTS, Role
from lsl_core.progress import NULL, Progress
from lsl_core.workspace.files import check_name, link_or_copy, read_json, sha256_file, write_json

#: Folder of checkpoints: in a workspace's `.lsl`, and inside of a model that carries its own.
SHELF_NAME = "pretrained"
LOCK_NAME = "lsl-lock.json"
LOCK_FORMAT = 1
#: What a checkpoint is made of; anything else of a repository stays there, pickles above all.
CONFIG_NAME, PIXELS_NAME = "config.json", "preprocessor_config.json"
_WEIGHTS = ".safetensors"


@dataclass(frozen=True, slots=True)
class Lock:
    """What is known about a checkpoint that is here.

    architecture: `model_type` of its configuration. origin: "hub" or "folder". repo, revision:
    where on the hub it came from, "" for a folder. files: SHA-256 of each file. num_bytes: of all.
    """

    name: str
    architecture: str
    licence: str
    origin: str
    repo: str
    revision: str
    files: dict[str, str]
    num_bytes: int
    format_version: int = LOCK_FORMAT

    @property
    def role(self) -> Role:
        """What it does."""
        return ARCHITECTURES[self.architecture]

    @property
    def sha256(self) -> str:
        """One hash for all of its files, hex; what a tuned model refers to."""
        lines = [f"{name} {digest}\n" for name, digest in sorted(self.files.items())]
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def is_file_of_checkpoint(name: str) -> bool:
    """Whether a file of a repository or folder is part of a checkpoint."""
    return name in (CONFIG_NAME, PIXELS_NAME) or ("/" not in name and name.endswith(_WEIGHTS))


def read_lock(folder: Path) -> Lock:
    """Read what is known about a checkpoint, without looking at its weights.

    Raises:
        WeightsMissing: when it is not there.
        WeightsDamaged: when that cannot be read.
        FormatTooNew: when a newer LSL wrote it.
    """
    if not (folder / LOCK_NAME).is_file():
        raise missing(folder.name)
    try:
        fields: dict[str, Any] = read_json(folder / LOCK_NAME)
        lock = Lock(**fields)
        known = lock.format_version <= LOCK_FORMAT and lock.architecture in ARCHITECTURES
    except (WorkspaceError, TypeError) as error:
        raise WeightsDamaged(
            f"What is known about the weights {folder.name} cannot be read.",
            hint=_pull_again(folder.name),
            detail=repr(error),
        ) from error
    if not known:
        raise FormatTooNew(
            f"The weights {folder.name} were put here by a newer version of LSL.",
            hint="Update LSL.",
        )
    return lock


def here(shelf: Path) -> list[Lock]:
    """Return every checkpoint of a shelf, by name; their files are not looked at."""
    return [read_lock(path.parent) for path in sorted(shelf.glob(f"*/{LOCK_NAME}"))]


def find(name: str, shelves: Sequence[Path]) -> Path:
    """Return the folder of a checkpoint on the first shelf that has it.

    Raises:
        WeightsMissing: when none has; says how to get it.
    """
    for shelf in shelves:
        if (shelf / name / LOCK_NAME).is_file():
            return shelf / name
    raise missing(name)


def missing(name: str) -> WeightsMissing:
    """Return the error for a checkpoint that is not here, with the command that gets it."""
    return WeightsMissing(
        f'The pretrained weights "{name}" are not here.',
        hint=f"Get them: lsl models pull {name}"
        if name in CHECKPOINTS
        else f"Get them: lsl models pull {name} --from FOLDER",
    )


def check(folder: Path) -> Lock:
    """Hash every file of a checkpoint and compare with its lock; must precede every load.

    Raises:
        WeightsMissing: when it is not there, or not whole.
        WeightsDamaged: when a file changed, or is not what is published under that name.
    """
    lock = read_lock(folder)
    for name, digest in lock.files.items():
        if not (folder / name).is_file():
            raise WeightsMissing(
                f"{name} of the weights {lock.name} is missing.", hint=_pull_again(lock.name)
            )
        if sha256_file(folder / name) != digest:
            raise WeightsDamaged(
                f"{name} of the weights {lock.name} changed since it was put here.",
                hint=_pull_again(lock.name),
            )
    _check_published(lock.name, lock.files)
    return lock


def pull(
    name: str,
    shelf: Path,
    *,
    source: Path | None = None,
    licence: str = "",
    endpoint: str | None = None,
    progress: Progress = NULL,
) -> Lock:
    """Put a checkpoint on a shelf; one that is there stays until the new one is whole.

    Args:
        name: one of the catalogue, or any name for weights of one's own from a folder.
        shelf: folder of checkpoints.
        source: a folder as the hub or `save_pretrained` makes it; None asks the hub.
        licence: of weights of one's own.
        endpoint: address of the hub; None for the usual one.
        progress: told megabytes.

    Raises:
        UserInput: when there is no such checkpoint, or the folder holds none.
        HubUnreachable: when the hub cannot be asked.
        WeightsDamaged: when what came is not what is published.
    """
    check_name(name, what="checkpoint")
    known = CHECKPOINTS.get(name)
    if source is None and known is None:
        raise UserInput(
            f'No pretrained weights are known as "{name}".',
            hint=f"Known: {', '.join(CHECKPOINTS)}. Weights of your own: add --from FOLDER.",
        )
    shelf.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=shelf))
    try:
        if source is not None:
            _copy(source, part)
            origin, repo, revision = "folder", "", ""
        else:
            assert known is not None
            revision = known.revision or _locked_revision(shelf / name)
            revision = hub.download(known.repo, revision, part, is_file_of_checkpoint, name=name,
                                    endpoint=endpoint, progress=progress)  # fmt: skip
            origin, repo = "hub", known.repo
        words = known.licence if known else licence or "not stated: ask whom you have it from"
        lock = _described(name, part, licence=words, origin=origin, repo=repo, revision=revision)
        _check_published(name, lock.files)
        write_json(part / LOCK_NAME, dataclasses.asdict(lock))
        _swap(part, shelf / name)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return lock


def _copy(source: Path, part: Path) -> None:
    """Take the files of a checkpoint from a folder; large ones as links where that is possible."""
    if not (source / CONFIG_NAME).is_file():
        raise UserInput(
            f"{source} holds no checkpoint: there is no {CONFIG_NAME}.",
            hint="Name the folder that holds config.json and model.safetensors.",
        )
    for path in source.iterdir():
        if path.is_file() and is_file_of_checkpoint(path.name):
            link_or_copy(path.resolve(), part / path.name)


def _locked_revision(folder: Path) -> str:
    """Return the revision that an earlier pull took, "" where there was none."""
    try:
        return read_lock(folder).revision
    except (WeightsMissing, WeightsDamaged):
        return ""


def _described(
    name: str, folder: Path, *, licence: str, origin: str, repo: str, revision: str
) -> Lock:
    """Return the lock of files that just came.

    Raises:
        UserInput: when they are no checkpoint that LSL can use.
    """
    paths = sorted(path for path in folder.iterdir() if is_file_of_checkpoint(path.name))
    if not any(path.suffix == _WEIGHTS for path in paths):
        raise UserInput(
            f"There are no weights as safetensors for {name}.",
            hint="Weights as pickles (.bin, .pt) can run code and are never loaded. Convert them.",
        )
    config = read_json(folder / CONFIG_NAME)
    architecture = config.get("model_type") if isinstance(config, dict) else None
    if architecture not in ARCHITECTURES:
        raise UserInput(
            f'LSL cannot use weights of the kind "{architecture}".',
            hint=f"It can use: {', '.join(ARCHITECTURES)}.",
        )
    files = {path.name: sha256_file(path) for path in paths}
    size = sum(path.stat().st_size for path in paths)
    return Lock(
        name, architecture, licence, origin, repo=repo, revision=revision, files=files,
        num_bytes=size,
    )  # fmt: skip


def _check_published(name: str, files: Mapping[str, str]) -> None:
    published = CHECKPOINTS[name].sha256 if name in CHECKPOINTS else {}
    for file_name, digest in published.items():
        if files.get(file_name) != digest:
            raise WeightsDamaged(
                f"{file_name} is not what is published as {name}.",
                hint="Pull it again. For weights of your own choose another name.",
                detail=f"expected {digest}, found {files.get(file_name)}",
            )


def _swap(part: Path, folder: Path) -> None:
    """Put a whole new folder in the place of an old one."""
    part.chmod(0o755)
    if folder.exists():
        old = Path(tempfile.mkdtemp(prefix=".part-", dir=folder.parent))
        folder.rename(old / folder.name)
        part.rename(folder)
        shutil.rmtree(old)
    else:
        part.rename(folder)


def _pull_again(name: str) -> str:
    return f"Get it again: lsl models pull {name}"
