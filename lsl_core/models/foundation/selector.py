"""One object from clicks or a box, by a pretrained segmenter that knows no labels."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Self

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from lsl_core.errors import TooLate, WeightsDamaged
from lsl_core.models.devices import choose_device
from lsl_core.models.foundation import store
from lsl_core.models.foundation.catalogue import Role
from lsl_core.models.foundation.embeddings import Embeddings, Pixels
from lsl_core.models.foundation.segmenter import STRIDE, Segmenter, open_segmenter
from lsl_core.models.soft import F32, FAINT, Frame, enlarged


class Selector:
    """Draws what a person points at; safe for several threads, which take turns.

    A window is encoded once, seconds on a processor; every further click on it costs the decoder.

    Args:
        name: of the weights, for people.
        segmenter: on its device; its published decoder draws.
        embeddings: where answers of the encoder are looked up and kept; in memory when None.
    """

    def __init__(
        self, name: str, segmenter: Segmenter, embeddings: Embeddings | None = None
    ) -> None:
        self.name = name
        self._segmenter, self._embeddings = segmenter, embeddings or Embeddings()
        self._turn = threading.Lock()

    @classmethod
    def open(cls, folder: Path, *, device: str = "auto") -> Self:
        """Check and load the weights of a folder.

        Raises:
            WeightsMissing, WeightsDamaged: when they are not there, changed, or no segmenter.
        """
        lock = store.check(folder)
        if lock.role is not Role.SEGMENTER:
            raise WeightsDamaged(
                f"The weights {lock.name} are a {lock.role}, which answers no clicks.",
                hint="Choose a segmenter: lsl models list --pretrained",
            )
        place = choose_device(device)
        return cls(lock.name, open_segmenter(folder, lock).to(place))

    def select(
        self,
        pixels: Pixels,
        points: F32,
        is_positive: NDArray[np.bool_],
        box: F32 | None,
        *,
        timeout_s: float,
    ) -> tuple[NDArray[np.bool_], tuple[int, int]]:
        """Return the mask of what was pointed at as a crop (h, w), and its left and top.

        Args:
            pixels: (h, w, 3) uint8 RGB of the window.
            points: (N, 2) x, y in its pixels.
            is_positive: (N,) whether each lies on the object.
            box: (4,) xyxy around it.
            timeout_s: how long others may keep the segmenter busy.

        Raises:
            TooLate: when they do so longer.
        """
        if not self._turn.acquire(timeout=timeout_s):
            raise TooLate(f"No answer within {timeout_s:.0f} s.", hint="Click again.")
        try:
            chances = self._chances(pixels, points, is_positive, box)
        finally:
            self._turn.release()
        window_hw = (pixels.shape[0], pixels.shape[1])
        frame = Frame.of(window_hw, self._segmenter.size_of(window_hw), stride=STRIDE)
        rows, columns = frame.grid_hw
        chances = chances[:rows, :columns]
        x, y, w, h = cv2.boundingRect((chances >= FAINT).astype(np.uint8))
        if not w:
            return np.zeros((1, 1), bool), (0, 0)
        crop, place = enlarged(chances[y : y + h, x : x + w], x, y, frame)
        return crop >= 128, place

    def _chances(
        self, pixels: Pixels, points: F32, is_positive: NDArray[np.bool_], box: F32 | None
    ) -> F32:
        """Return the probability of each pixel of the grid, (grid, grid)."""
        segmenter = self._segmenter
        device = segmenter.device
        window_hw = (pixels.shape[0], pixels.shape[1])
        (features,) = self._embeddings.embed(segmenter, [pixels])
        features = [level.to(device).float() for level in features]
        with torch.inference_mode():
            prompt = segmenter.pointed(
                torch.tensor(points, device=device),
                torch.tensor(is_positive, device=device),
                None if box is None else torch.tensor(box, device=device),
                window_hw,
            )
            # one click may mean a part or the whole; more of them, or a box, say which
            if len(points) == 1 and box is None:
                logits = segmenter.decode_best(features, prompt)
            else:
                logits = segmenter.decode(segmenter.decoder, features, prompt)[0]
            chances: F32 = logits.sigmoid().cpu().numpy()
        return chances
