"""Versions of models: which there are, which one is in use, and the way back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from lsl_core.errors import ModelError, UserInput
from lsl_core.models import Choice, CurrentVersions, read_card, write_card
from lsl_core.types import MODES, Geometry, ModelCard, Verdict
from lsl_core.workspace import Workspace
from lsl_core.workspace.files import check_name

__all__ = [
    "Discarded",
    "admit",
    "bring_back",
    "choices",
    "claim",
    "current_ids",
    "discarded",
    "draws_masks",
    "get_model",
    "in_use",
    "is_decided",
    "keep",
    "lineage",
    "list_models",
    "make_current",
    "remove_model",
    "rename_model",
    "slug",
]


#: Why a version is in use, where a person and no rule put it there.
_BY_PEOPLE = ("chosen", "kept", "named")
_STAMP = "%Y%m%dT%H%M%S%f"


@dataclass(frozen=True, slots=True)
class Discarded:
    """A version in the trash. folder: where it lies. at: when it went there, ISO 8601, UTC."""

    card: ModelCard
    folder: Path
    at: str


def list_models(workspace: Workspace) -> list[ModelCard]:
    """Return every model, newest first."""
    cards = [read_card(path.parent) for path in workspace.models.glob("*/card.json")]
    return sorted(cards, key=lambda card: (card.created, card.id), reverse=True)


def get_model(workspace: Workspace, name: str) -> ModelCard:
    """Return a model by its id, or the version of that name that is in use.

    Raises:
        UserInput: when there is none; names those that there are.
    """
    cards = list_models(workspace)
    for card in cards:
        if card.id == name:
            return card
    versions = [card for card in cards if card.name == name]
    if versions:
        return _in_use(versions, CurrentVersions(workspace.database).all().get(name, []))
    known = ", ".join(dict.fromkeys(card.name for card in cards)) or "none yet"
    raise UserInput(
        f'There is no model "{name}".',
        hint=f"Models here: {known}. Train one: lsl auto-label --train SOURCE",
    )


def in_use(workspace: Workspace, name: str) -> ModelCard | None:
    """Return the version in use of a name, None where there is none yet."""
    known = any(card.name == name for card in list_models(workspace))
    return get_model(workspace, name) if known else None


def draws_masks(workspace: Workspace, name: str) -> bool:
    """Return whether a model gives masks; one that was removed since counts as one that does."""
    try:
        return MODES[get_model(workspace, name).mode].gives is Geometry.MASKS
    except UserInput:
        return True


def current_ids(workspace: Workspace) -> set[str]:
    """Return the ids of the versions in use, one a name."""
    chosen = CurrentVersions(workspace.database).all()
    versions: dict[str, list[ModelCard]] = {}
    for card in list_models(workspace):
        versions.setdefault(card.name, []).append(card)
    return {_in_use(cards, chosen.get(name, [])).id for name, cards in versions.items()}


def _in_use(versions: Sequence[ModelCard], chosen: Sequence[str]) -> ModelCard:
    """Return the version that was chosen last and is still there.

    Where none was ever chosen, each version takes the place of the one before unless it is worse.

    Args:
        versions: of one name, newest first, at least one.
        chosen: ids, the newest choice first.
    """
    by_id = {card.id: card for card in versions}
    for model_id in chosen:
        if model_id in by_id:
            return by_id[model_id]
    best = versions[-1]
    for card in reversed(versions):
        old, new = best.metrics, card.metrics
        if old is None or (new is not None and new.ap >= old.ap):
            best = card
    return best


def make_current(workspace: Workspace, model_id: str, *, why: str = "chosen") -> ModelCard:
    """Put a version in use under its name; the one before stays and can be put back.

    Raises:
        UserInput: when there is none.
    """
    card = get_model(workspace, model_id)
    CurrentVersions(workspace.database).choose(card.name, card.id, why=why)
    return card


def admit(workspace: Workspace, card: ModelCard, *, keep_anyway: bool) -> None:
    """Put a new version in use, unless it is worse than its parent.

    A first pass takes the place of a trained version only where it is known to be better.
    """
    verdict = card.comparison.verdict if card.comparison else Verdict.UNKNOWN
    worse = verdict is Verdict.WORSE
    why = "a first pass" if card.is_first_pass else "trained"
    if card.is_first_pass and card.parent and verdict is not Verdict.BETTER:
        worse = worse or not get_model(workspace, card.parent).is_first_pass
    if not worse or keep_anyway:
        make_current(workspace, card.id, why="worse, kept anyway" if worse else why)
    elif not choices(workspace, card.name):
        make_current(workspace, str(card.parent), why=f"{card.id} was no better")


def choices(workspace: Workspace, name: str) -> list[Choice]:
    """Return which versions of a name were put in use, the newest choice first."""
    return CurrentVersions(workspace.database).choices(name)


def lineage(workspace: Workspace, model_id: str) -> list[ModelCard]:
    """Return a version, its parent, its parent's parent …, as far as they are still there."""
    by_id = {card.id: card for card in list_models(workspace)}
    line = [get_model(workspace, model_id)]
    while (parent := by_id.get(line[-1].parent or "")) and parent not in line:
        line.append(parent)
    return line


def rename_model(workspace: Workspace, model_id: str, name: str) -> ModelCard:
    """Give a version another name, under which it is in use from then on; its id stays.

    Raises:
        UserInput: when there is no such version, or the name is no use.
    """
    card = replace(get_model(workspace, model_id), name=check_name(name, what="model"))
    write_card(workspace.models / card.id, card)
    return make_current(workspace, card.id, why="named")


def remove_model(workspace: Workspace, name: str) -> Path:
    """Move a model to the trash and return where it lies now.

    Where it was in use, the version that was in use before it is again.

    Raises:
        UserInput: when there is none.
    """
    card = get_model(workspace, name)
    target = _trash(workspace) / f"{datetime.now(UTC).strftime(_STAMP)} {card.id}"
    target.parent.mkdir(parents=True, exist_ok=True)
    (workspace.models / card.id).rename(target)
    return target


def discarded(workspace: Workspace) -> list[Discarded]:
    """Return the versions that lie in the trash, the last one first."""
    found = []
    for folder in _trash(workspace).glob("* *"):
        stamp, _, _ = folder.name.partition(" ")
        try:
            at = datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)
            found.append(Discarded(read_card(folder), folder, at.isoformat()))
        except (ValueError, ModelError):  # not put there by us, or damaged: nothing to bring back
            continue
    return sorted(found, key=lambda one: one.at, reverse=True)


def bring_back(workspace: Workspace, model_id: str) -> ModelCard:
    """Take a version out of the trash; where it was in use, it is again.

    Raises:
        UserInput: when it is not in the trash, or another one has its id now.
    """
    one = next((one for one in discarded(workspace) if one.card.id == model_id), None)
    if one is None:
        known = ", ".join(one.card.id for one in discarded(workspace)) or "none"
        raise UserInput(
            f'There is no discarded version "{model_id}".', hint=f"In the trash: {known}."
        )
    if (workspace.models / model_id).exists():
        raise UserInput(f'There is a version "{model_id}" already.', hint="Discard that one first.")
    one.folder.rename(workspace.models / model_id)
    return one.card


def keep(workspace: Workspace, model_id: str, name: str) -> ModelCard:
    """Put a version in use under a name, its own or a new one.

    Raises:
        UserInput: when there is no such version, or the name is no use.
    """
    card = get_model(workspace, model_id)
    if name != card.name:
        return rename_model(workspace, card.id, name)
    return make_current(workspace, card.id, why="kept")


def is_decided(workspace: Workspace, card: ModelCard) -> bool:
    """Return whether a person put this version in use, under the name that it has."""
    mine = (choice for choice in choices(workspace, card.name) if choice.model == card.id)
    return any(choice.why in _BY_PEOPLE for choice in mine)


def claim(workspace: Workspace, name: str, *, first_pass: bool = False) -> str:
    """Make the folder of the next version of a name; return its id.

    First passes have numbers of their own, and an id that tells them: bolts-first1, bolts-v1.
    An id is not given twice: previews know a version by it, and a discarded one may come back.
    """
    alike = [card for card in list_models(workspace) if card.is_first_pass == first_pass]
    number, kind = sum(card.name == name for card in alike) + 1, "first" if first_pass else "v"
    gone = {folder.name.partition(" ")[2] for folder in _trash(workspace).glob("* *")}
    while True:
        model_id = f"{slug(name)}-{kind}{number}"
        number += 1
        if model_id in gone:
            continue
        try:
            (workspace.models / model_id).mkdir(parents=True)
        except FileExistsError:  # it was renamed, or two trainings end at once
            continue
        return model_id


def _trash(workspace: Workspace) -> Path:
    return workspace.trash / "models"


def slug(name: str) -> str:
    """Return a name as files have it."""
    return re.sub(r"[^\w.\-]+", "-", name)
