"""What encoders made of windows, found by what it was made from.

The encoder is by far the costliest part. Its answer depends on its weights, the pixels and how
they are prepared, and on nothing else: thresholds, prompts, the labels that are tuned and the
second look at the same window cost no other pass.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lsl_core.errors import DiskFull
from lsl_core.models.devices import has_bfloat16
from lsl_core.models.foundation import TRANSFORM_VERSION
from lsl_core.workspace.files import atomic_path

Pixels = NDArray[np.uint8]
#: Of one window: the feature maps of each level, (C, h, w).
Features = list[Tensor]

#: Of all windows together, in memory and on disk.
MEMORY_BYTES = 1 << 30
DISK_BYTES = 10 << 30


class Encoder(Protocol):
    """The frozen part of pretrained weights.

    sha256: of all their files.
    """

    sha256: str

    @property
    def device(self) -> torch.device:
        """Where it runs."""

    def encode(self, windows: Sequence[Pixels]) -> list[Tensor]:
        """Return the feature maps of windows, per level (B, C, h, w)."""


class Embeddings:
    """A bounded number of bytes in memory, and on disk where there is a folder.

    Args:
        folder: where they outlast this process; None for memory only.
        memory_bytes: in memory; the least recently used goes first.
        disk_bytes: on disk, likewise.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        memory_bytes: int = MEMORY_BYTES,
        disk_bytes: int = DISK_BYTES,
    ) -> None:
        self._folder, self._memory_bytes, self._disk_bytes = folder, memory_bytes, disk_bytes
        self._kept: OrderedDict[str, Features] = OrderedDict()
        self._bytes = 0

    def embed(self, encoder: Encoder, windows: Sequence[Pixels]) -> list[Features]:
        """Return the features of each window, on the CPU; only new windows are encoded.

        Raises:
            torch.cuda.OutOfMemoryError: when the new ones do not fit on the device together.
        """
        keys = [_key(encoder, window) for window in windows]
        found = {key: self._get(key) for key in keys}
        new = {k: w for k, w in zip(keys, windows, strict=True) if found[k] is None}
        if new:
            half = has_bfloat16(encoder.device)
            with (
                torch.no_grad(),  # what training sees of it must not be an inference tensor
                torch.autocast(encoder.device.type, torch.bfloat16, enabled=half),
            ):
                levels = encoder.encode(list(new.values()))
            kind = torch.bfloat16 if half else torch.float32
            levels = [level.to("cpu", kind) for level in levels]
            for row, key in enumerate(new):
                found[key] = [level[row].clone() for level in levels]
                self._put(key, found[key] or [])
        return [found[key] or [] for key in keys]

    def _get(self, key: str) -> Features | None:
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        if self._folder is None:
            return None
        path = self._path(key)
        try:
            stored = load_file(path)
        except (OSError, SafetensorError):
            return None  # never written, or damaged: encoding again costs seconds
        with contextlib.suppress(OSError):
            path.touch()  # reading is using
        features = [stored[name] for name in sorted(stored)]
        self._remember(key, features)
        return features

    def _put(self, key: str, features: Features) -> None:
        self._remember(key, features)
        if self._folder is None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        named = {str(level): value.contiguous() for level, value in enumerate(features)}
        with contextlib.suppress(DiskFull, OSError), atomic_path(self._path(key)) as part:
            save_file(named, part)
        self._make_room()

    def _remember(self, key: str, features: Features) -> None:
        self._kept[key] = features
        self._bytes += _size(features)
        while self._bytes > self._memory_bytes and len(self._kept) > 1:
            self._bytes -= _size(self._kept.popitem(last=False)[1])

    def _make_room(self) -> None:
        assert self._folder is not None
        files = []
        for path in self._folder.glob("*.safetensors"):
            with contextlib.suppress(OSError):  # another process makes room as well
                status = path.stat()
                files.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= self._disk_bytes:
                break
            path.unlink(missing_ok=True)
            total -= size

    def _path(self, key: str) -> Path:
        assert self._folder is not None
        return self._folder / f"{key}.safetensors"


def _key(encoder: Encoder, window: Pixels) -> str:
    kind = "bf16" if has_bfloat16(encoder.device) else "f32"
    digest = hashlib.sha256(f"{encoder.sha256} {TRANSFORM_VERSION} {kind} {window.shape}".encode())
    digest.update(np.ascontiguousarray(window).tobytes())
    return digest.hexdigest()


def _size(features: Features) -> int:
    return sum(level.nbytes for level in features)
