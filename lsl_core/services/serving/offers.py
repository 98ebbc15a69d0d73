"""Offers: which models a workspace serves to others, in which version, and how it was before.

The file `.lsl/serve/offers.json` says what shall be; the service reads it every few seconds and
follows. So deploying, rolling back and stopping need no connection to the service.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from lsl_core.errors import BadThreshold, UserInput, WorkspaceError
from lsl_core.geometry.drawable import Drawing
from lsl_core.services.models import pretrained, versions
from lsl_core.types import MODES, Geometry, ModelCard, SlideWindows
from lsl_core.windows import check
from lsl_core.workspace import Workspace
from lsl_core.workspace.files import known_fields, read_json, write_json

__all__ = [
    "Drawing",
    "Offer",
    "check_look",
    "deploy",
    "function_name",
    "list_offers",
    "previous",
    "roll_back",
    "withdraw",
]

#: Versions that an offer remembers, to roll back to.
_REMEMBERED = 20


@dataclass(frozen=True, slots=True)
class Offer:
    """One model that is offered to others.

    model: its name. version: id of the version that is pinned, or None to follow the best one.
    drawing: how objects are drawn, None as the model gives them. threshold: lowest score, None
    takes the model's own; a caller's own wins. mask_threshold: of masks. slide: windows, None
    shows images whole. clicks: name of pretrained weights that answer clicks, None for the
    model's own masks. deployed: versions that were offered, oldest first, with the time (seconds
    since the epoch) from which on; the last one is offered now.
    """

    model: str
    version: str | None = None
    drawing: Drawing | None = None
    threshold: float | None = None
    mask_threshold: float = 0.5
    slide: SlideWindows | None = None
    clicks: str | None = None
    deployed: tuple[tuple[str, float], ...] = ()

    @property
    def name(self) -> str:
        """Name of the function that others call."""
        return function_name(self.model)


def function_name(name: str) -> str:
    """Return a name as Nuclio and Kubernetes take it: a DNS label (RFC 1123), up to 50 signs."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:50].strip("-")
    return slug or "model"


def list_offers(workspace: Workspace) -> list[Offer]:
    """Return what is offered, in the order in which it was deployed first.

    Raises:
        WorkspaceError: when the file of offers cannot be read.
    """
    path = _path(workspace)
    if not path.exists():
        return []
    try:
        return [_offer(row) for row in read_json(path)]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise WorkspaceError(
            f"What is offered cannot be read: {path}",
            hint="A newer LSL may have written it: update, or remove the file and deploy again.",
            detail=repr(error),
        ) from error


def deploy(workspace: Workspace, offer: Offer) -> Offer:
    """Offer a model, in place of an earlier offer of it; the service follows within seconds.

    Raises:
        UserInput: when there is no such model or version, another model has the same function
            name, or the drawing, the thresholds, the windows or the segmenter are no use.
        WeightsMissing: when the segmenter is not here; says how to get it.
    """
    card = versions.get_model(workspace, offer.version or offer.model)
    if offer.version is None and card.name != offer.model:
        offer = replace(offer, model=card.name, version=card.id)  # a version was named
    if card.name != offer.model:
        raise UserInput(
            f'"{offer.version}" is no version of "{offer.model}".', hint="Leave the version out."
        )
    check_look(
        card,
        drawing=offer.drawing,
        threshold=offer.threshold,
        mask_threshold=offer.mask_threshold,
        slide=offer.slide,
    )
    if offer.clicks is not None:
        pretrained.segmenter(workspace, offer.clicks)

    def changed(offers: list[Offer]) -> list[Offer]:
        before = next((o for o in offers if o.model == offer.model), None)
        same = next((o for o in offers if o.name == offer.name and o.model != offer.model), None)
        if same is not None:
            raise UserInput(
                f'"{offer.model}" and "{same.model}" would both be called "{offer.name}" in CVAT.',
                hint="Offer one of them, or train under another name.",
            )
        kept = replace(offer, deployed=before.deployed if before else ())
        if before is None:
            return [*offers, kept]
        return [kept if o.model == offer.model else o for o in offers]

    _change(workspace, changed)
    return next(o for o in list_offers(workspace) if o.model == offer.model)


def previous(workspace: Workspace, model: str) -> str | None:
    """Return the version that `roll_back` would offer, None when there is none.

    Raises:
        UserInput: when the model is not offered.
    """
    offer = _find(workspace, model)
    now = offer.version or (offer.deployed[-1][0] if offer.deployed else None)
    there = {card.id for card in versions.list_models(workspace)}
    before = [v for v, _ in offer.deployed if v != now and v in there]
    return before[-1] if before else None


def roll_back(workspace: Workspace, model: str) -> str:
    """Offer the version again that was offered before, and stay with it; return its id.

    Raises:
        UserInput: when the model is not offered, or no other version was before.
    """
    offer, before = _find(workspace, model), previous(workspace, model)
    if before is None:
        raise UserInput(
            f'No other version of "{model}" was offered before.',
            hint="Choose a version to deploy instead.",
        )
    deploy(workspace, replace(offer, version=before))
    return before


def withdraw(workspace: Workspace, model: str) -> None:
    """Offer a model no longer.

    Raises:
        UserInput: when it is not offered.
    """
    _find(workspace, model)
    _change(workspace, lambda offers: [o for o in offers if o.model != model])


def note_deployed(workspace: Workspace, model: str, version: str) -> float:
    """Remember which version is offered from now on; return since when it is."""
    since = time.time()

    def changed(offers: list[Offer]) -> list[Offer]:
        return [
            replace(o, deployed=(*o.deployed, (version, since))[-_REMEMBERED:])
            if o.model == model and (not o.deployed or o.deployed[-1][0] != version)
            else o
            for o in offers
        ]

    _change(workspace, changed)
    found = [o.deployed[-1][1] for o in list_offers(workspace) if o.model == model]
    return found[0] if found else since


def _find(workspace: Workspace, model: str) -> Offer:
    offers = list_offers(workspace)
    for offer in offers:
        if model in (offer.model, offer.name):
            return offer
    names = ", ".join(offer.model for offer in offers) or "none yet"
    raise UserInput(f'"{model}" is not offered.', hint=f"Offered: {names}.")


def check_look(
    card: ModelCard,
    *,
    drawing: Drawing | None,
    threshold: float | None,
    mask_threshold: float,
    slide: SlideWindows | None,
) -> None:
    """Refuse a way to show objects that is no use, or that a model cannot do.

    Raises:
        UserInput: naming what to choose instead.
    """
    if drawing not in (None, Drawing.RECTANGLE) and MODES[card.mode].gives is Geometry.BOXES:
        raise UserInput(
            f'"{card.name}" finds boxes only and cannot draw a {drawing}.',
            hint="Leave the drawing out, or train a model that learns masks.",
        )
    if threshold is not None and not 0 <= threshold <= 1:
        raise BadThreshold(f"A threshold of {threshold} is not between 0 and 1.", hint="Try 0.5.")
    if not 1 / 255 <= mask_threshold <= 1:
        raise BadThreshold(
            f"A mask threshold of {mask_threshold} is not above 0 and at most 1.", hint="Try 0.5."
        )
    if slide is not None:
        check(slide)


def _change(workspace: Workspace, change: Callable[[list[Offer]], Sequence[Offer]]) -> None:
    path = _path(workspace)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        before = list_offers(workspace)
        after = list(change(before))
        if after != before or not path.exists():
            write_json(path, [asdict(offer) for offer in after])


def _offer(row: dict[str, Any]) -> Offer:
    return Offer(
        **known_fields(Offer, row)
        | {
            "drawing": Drawing(row["drawing"]) if row["drawing"] else None,
            "slide": SlideWindows(**row["slide"]) if row["slide"] else None,
            "deployed": tuple((version, since) for version, since in row["deployed"]),
        }
    )


def _path(workspace: Workspace) -> Path:
    return workspace.serve / "offers.json"
