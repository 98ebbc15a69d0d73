"""The models that are offered now: loaded, replaced while they answer, never two half ones."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lsl_core.errors import LslError, UserInput
from lsl_core.geometry.drawable import Drawing
from lsl_core.inference.cache import PredictionCache
from lsl_core.models import FAMILIES
from lsl_core.models.weights import WEIGHTS_NAME
from lsl_core.serve.answers import drawing_of
from lsl_core.serve.detector import Detector
from lsl_core.serve.looking import DetectSettings
from lsl_core.services.models import pretrained, versions
from lsl_core.services.serving import offers
from lsl_core.services.serving.offers import Offer
from lsl_core.types import MODES, Geometry, ModelCard
from lsl_core.workspace import Workspace

if TYPE_CHECKING:
    from lsl_core.models.foundation.selector import Selector

_LOG = logging.getLogger(__name__)

#: Copies of a model on a processor; Python itself keeps more from helping.
_MOST_COPIES = 8
#: Weights larger than this are loaded once only.
_LARGE_BYTES = 200_000_000


@dataclass(slots=True, eq=False)
class Live:
    """An offer with its loaded version.

    selector: draws what is clicked on, None leaves that to the detector's masks. users: callers
    that are being answered; a retired one is closed when the last has left.
    """

    offer: Offer
    detector: Detector
    since: float
    selector: Selector | None = None
    users: int = 0
    is_retired: bool = False

    @property
    def card(self) -> ModelCard:
        """The version that answers."""
        return self.detector.card

    @property
    def has_masks(self) -> bool:
        """Whether its objects have masks."""
        return MODES[self.card.mode].gives is Geometry.MASKS

    @property
    def answers_clicks(self) -> bool:
        """Whether it can draw what a person points at."""
        return self.has_masks or self.selector is not None

    @property
    def settings(self) -> DetectSettings:
        """What a caller sees who asks for nothing else."""
        offer = self.offer
        return DetectSettings(offer.threshold, offer.mask_threshold, offer.slide)

    @property
    def drawing(self) -> Drawing:
        """How its objects are drawn when nobody asks for something else."""
        return self.offer.drawing or drawing_of(self.card)


@dataclass(slots=True, eq=False)
class Shelf:
    """Follows the offers of a workspace.

    A new version is loaded beside the old one, takes its place at once, and the old one is closed
    when those it answers have left. What cannot be loaded changes nothing but `problems`.

    Args:
        workspace: whose offers.
        max_pixels: of an image.
        wanted: what shall be offered now; the offers of the workspace when None.
    """

    workspace: Workspace
    max_pixels: int
    wanted: Callable[[], list[Offer]] | None = None
    problems: dict[str, str] = field(default_factory=dict)
    _live: dict[str, Live] = field(default_factory=dict)
    _selectors: dict[str, Selector] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def follow(self) -> bool:
        """Do what the offers say now; return whether anything changed. One thread at a time."""
        listed = self.wanted() if self.wanted else offers.list_offers(self.workspace)
        wanted = {offer.name: offer for offer in listed}
        changed = False
        for name in [name for name in self._live if name not in wanted]:
            self._retire(self._swap(name, None))
            changed = True
        for name, offer in wanted.items():
            try:
                changed |= self._follow_one(name, offer)
                self.problems.pop(name, None)
            except (LslError, OSError) as error:
                if self.problems.get(name) != str(error):
                    _LOG.error("%s cannot be offered: %s", offer.model, error)
                self.problems[name] = str(error)
        in_use = {live.offer.clicks for live in self.all()}
        for unused in self._selectors.keys() - in_use:
            del self._selectors[unused]
        return changed

    def _follow_one(self, name: str, offer: Offer) -> bool:
        card = self._version(offer)
        live = self._live.get(name)
        selector = self._selector(offer.clicks)
        if live is not None and live.card == card:
            live.offer, live.selector = offer, selector
            return False
        settings = self.workspace.settings().inference
        cache = PredictionCache(self.workspace.predictions, max_bytes=int(settings.cache_gb * 1e9))
        detector = Detector.open(
            self.workspace.models / card.id,
            device=settings.device,
            cache=cache,
            floor_score=settings.floor_score,
            batch_size=settings.batch_size,
            max_pixels=self.max_pixels,
            at_once=_copies(self.workspace.models / card.id, card),
        )
        since = offers.note_deployed(self.workspace, offer.model, card.id)
        self._retire(self._swap(name, Live(offer, detector, since, selector)))
        _LOG.info("%s is offered in version %s", offer.model, card.id)
        return True

    def _selector(self, name: str | None) -> Selector | None:
        """Return the segmenter of that name; offers share one, and it stays while versions go."""
        if name is None:
            return None
        if name not in self._selectors:
            # loads transformers, seconds: only on use
            from lsl_core.models.foundation.selector import Selector

            folder = pretrained.segmenter(self.workspace, name)
            device = self.workspace.settings().inference.device
            self._selectors[name] = Selector.open(folder, device=device)
        return self._selectors[name]

    def _version(self, offer: Offer) -> ModelCard:
        return versions.get_model(self.workspace, offer.version or offer.model)

    def names(self) -> list[str]:
        """Return the functions that can be called."""
        with self._lock:
            return list(self._live)

    def all(self) -> list[Live]:
        """Return what is offered."""
        with self._lock:
            return list(self._live.values())

    @contextmanager
    def borrowed(self, name: str) -> Iterator[Live]:
        """Give an offer for one answer; it is not closed meanwhile.

        Raises:
            UserInput: when nothing of that name is offered.
        """
        with self._lock:
            live = self._live.get(name)
            if live is not None:
                live.users += 1
        if live is None:
            raise UserInput(f'No model is offered as "{name}".', hint="See /api/functions.")
        try:
            yield live
        finally:
            with self._lock:
                live.users -= 1
                is_last = live.is_retired and not live.users
            if is_last:
                live.detector.close()

    def close(self) -> None:
        """Close every model, those that answer when they are done."""
        for name in self.names():
            self._retire(self._swap(name, None))

    def _swap(self, name: str, new: Live | None) -> Live | None:
        with self._lock:
            old = self._live.pop(name, None)
            if new is not None:
                self._live[name] = new
            return old

    def _retire(self, old: Live | None) -> None:
        if old is None:
            return
        with self._lock:
            old.is_retired = True
            is_idle = not old.users
        if is_idle:
            old.detector.close()


def _copies(folder: Path, card: ModelCard) -> int:
    """Return how many copies of a model work beside each other: on a processor, one a core."""
    if not FAMILIES[card.family].copies or (folder / WEIGHTS_NAME).stat().st_size > _LARGE_BYTES:
        return 1
    return min(_MOST_COPIES, os.cpu_count() or 1)
