"""Pretrained weights: which there are, which are here, getting and checking them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lsl_core.errors import ModelError, UserInput
from lsl_core.models.foundation import store
from lsl_core.models.foundation.catalogue import CHECKPOINTS, DEFAULTS, ROLES, Role
from lsl_core.progress import NULL, Progress
from lsl_core.types import Mode, ModelCard
from lsl_core.workspace import Workspace

__all__ = [
    "Offered",
    "Role",
    "check",
    "copy_to",
    "folders",
    "needed",
    "offered",
    "pull",
    "run_pull",
    "segmenter",
    "tuned_from",
]


@dataclass(frozen=True, slots=True)
class Offered:
    """Pretrained weights that can be tuned, or could be once they are here.

    title: for people. licence: of the weights. megabytes: to download, or here. revision: the
    commit that they are, or will be, of; "" when the first pull decides, or for weights from a
    folder. origin: "hub", "folder", or "" when they are not here.
    """

    name: str
    title: str
    role: Role
    licence: str
    megabytes: int
    revision: str
    origin: str

    @property
    def is_here(self) -> bool:
        """Whether a training can start from them now."""
        return bool(self.origin)


def offered(workspace: Workspace) -> list[Offered]:
    """Return what is known and what is here, detectors first, the default of each kind first."""
    locks = {lock.name: lock for lock in store.here(workspace.pretrained)}
    found = []
    for name in [*CHECKPOINTS, *(name for name in locks if name not in CHECKPOINTS)]:
        known, lock = CHECKPOINTS.get(name), locks.get(name)
        found.append(
            Offered(
                name,
                known.title if known else f"{name}: weights of your own",
                known.role if known else locks[name].role,
                lock.licence if lock else CHECKPOINTS[name].licence,
                round(lock.num_bytes / 1e6) if lock else CHECKPOINTS[name].megabytes,
                (lock.revision if lock else CHECKPOINTS[name].revision) or "",
                lock.origin if lock else "",
            )
        )
    return sorted(found, key=lambda one: (one.role, one.name != DEFAULTS[one.role]))


def needed(mode: Mode) -> tuple[Role, ...]:
    """Return the kinds of pretrained weights that a mode is made of."""
    return ROLES[mode]


def folders(workspace: Workspace, mode: Mode, names: Sequence[str]) -> tuple[Path, ...]:
    """Return the folder of each kind of weights that a mode needs.

    Args:
        workspace: where they are.
        mode: what will be learnt.
        names: chosen ones; of a kind that nobody chose, the default is taken.

    Raises:
        UserInput: when a chosen one is of no use for the mode, or two are of the same kind.
        WeightsMissing: when one is not here; says how to get it.
    """
    chosen = dict(DEFAULTS)
    roles = [_role_of(workspace, name) for name in names]
    for role, name in zip(roles, names, strict=True):
        if role not in ROLES[mode] or roles.count(role) > 1:
            kinds = " and ".join(f"one {kind}" for kind in ROLES[mode])
            raise UserInput(
                f'"{name}" is a {role}; the mode "{mode}" is made of {kinds}.',
                hint="Choose others: lsl models list --pretrained",
            )
        chosen[role] = name
    return tuple(store.find(chosen[role], (workspace.pretrained,)) for role in ROLES[mode])


def segmenter(workspace: Workspace, name: str) -> Path:
    """Return the folder of weights that draw what a person points at.

    Raises:
        UserInput: when they do something else.
        WeightsMissing: when they are not here; says how to get them.
    """
    folder = store.find(name, (workspace.pretrained,))
    role = store.read_lock(folder).role
    if role is not Role.SEGMENTER:
        raise UserInput(
            f'"{name}" is a {role}, which answers no clicks.',
            hint="Choose a segmenter: lsl models list --pretrained",
        )
    return folder


def _role_of(workspace: Workspace, name: str) -> Role:
    if name in CHECKPOINTS:
        return CHECKPOINTS[name].role
    return store.read_lock(store.find(name, (workspace.pretrained,))).role


def pull(
    workspace: Workspace,
    name: str,
    *,
    source: Path | None = None,
    licence: str = "",
    endpoint: str | None = None,
    progress: Progress = NULL,
) -> Offered:
    """Put pretrained weights into the workspace; see `store.pull`."""
    store.pull(
        name, workspace.pretrained, source=source, licence=licence, endpoint=endpoint,
        progress=progress,
    )  # fmt: skip
    return next(one for one in offered(workspace) if one.name == name)


def run_pull(workspace: Workspace, *, progress: Progress, name: str) -> dict[str, Any]:
    """Get pretrained weights in the worker; see `pull`."""
    got = pull(workspace, name, progress=progress)
    return {"name": got.name, "revision": got.revision}


def check(workspace: Workspace, name: str | None = None) -> list[tuple[str, str]]:
    """Hash what is here and compare; return names with what is wrong, "" where nothing is.

    Raises:
        WeightsMissing: when `name` is not here.
    """
    names = [name] if name else [lock.name for lock in store.here(workspace.pretrained)]
    found = []
    for one in names:
        folder = store.find(one, (workspace.pretrained,))
        try:
            store.check(folder)
        except ModelError as error:
            found.append((one, str(error)))
        else:
            found.append((one, ""))
    return found


def copy_to(workspace: Workspace, name: str, model: Path) -> None:
    """Put pretrained weights inside of a model's folder, so that it can leave the workspace.

    Raises:
        WeightsMissing: when they are not here.
    """
    source = store.find(name, (workspace.pretrained,))
    shutil.copytree(source, model / store.SHELF_NAME / name)


def tuned_from(card: ModelCard) -> tuple[str, ...]:
    """Return the names of the pretrained weights that a model stands on; none for compact ones."""
    if card.family != "foundation":
        return ()
    return tuple(str(card.settings[role]) for role in ROLES[card.mode])
