"""Predictions on disk, found by what they were made from.

Format: docs/formats/prediction-cache.md. Several processes may share a folder: entries are
written whole under their final name, and whoever finds one gone computes it again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsl_core.types import CropMasks, ImageRef, Instances, Prediction, SlideWindows, SoftMasks
from lsl_core.windows import STITCH_VERSION
from lsl_core.workspace.files import write_atomic

try:
    from isal import isal_zlib as deflate
except ImportError:  # a machine that it has no wheel for; streams are the same
    import zlib as deflate  # type: ignore[no-redef]

_LOG = logging.getLogger(__name__)

#: Part of every key and of the folder: a newer version never reads an older one's entries.
FORMAT_VERSION = 1
_MAGIC = b"LSLPRED1"
_DIGEST_BYTES = 32
#: When the folder is too large, it shrinks to this share of its limit: less often, more at once.
_AFTER_EVICTION = 0.9
#: After so much of the free room is written the folder is measured again, which takes seconds
#: where it holds 100,000 entries; other processes write into it as well.
_MEASURED_AFTER = 0.25
#: A temporary file this old belongs to a process that died.
_ABANDONED_S = 3600.0

_DTYPES: dict[str, np.dtype[Any]] = {
    "boxes": np.dtype("<f4"),
    "scores": np.dtype("<f4"),
    "class_ids": np.dtype("<i4"),
    "crops": np.dtype("<i4"),
    "starts": np.dtype("<i8"),
    "values": np.dtype("u1"),
    "runs": np.dtype("<u4"),
}


class DamagedEntry(ValueError):
    """A stored prediction is not what was written."""


def cache_key(
    *,
    weights_sha256: str,
    image_sha256: str,
    slide: SlideWindows | None,
    transform_version: str,
    floor_score: float,
) -> str:
    """Return the SHA-256, hex, of everything that a prediction depends on.

    Thresholds are not in it: they are views of what is stored.
    """
    parts = {
        "weights": weights_sha256,
        "image": image_sha256,
        "slide": None if slide is None else asdict(slide),
        "transform": transform_version,
        "floor": float(floor_score),
        "stitch": STITCH_VERSION,
        "format": FORMAT_VERSION,
    }
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class PredictionCache:
    """Predictions by key, at most `max_bytes` of them; the least recently used goes first.

    Safe for several threads and processes. A damaged entry counts as missing.

    Args:
        folder: made when the first prediction is stored.
        max_bytes: a single larger prediction is not stored.
    """

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        self._folder = folder / f"v{FORMAT_VERSION}"
        self._max_bytes = max_bytes
        self._until_measured = 0  # bytes

    def get(self, key: str) -> Prediction | None:
        """Return the prediction, or None; a damaged one is logged and counts as missing."""
        try:
            return self.read(key)
        except DamagedEntry as error:
            _LOG.warning("%s", error)
            return None

    def read(self, key: str) -> Prediction | None:
        """Return the prediction, or None when there is none.

        Raises:
            DamagedEntry: when it is there but not as it was written.
        """
        path = self._path(key)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DamagedEntry(f"{path.name} cannot be read: {error.strerror}") from error
        try:
            prediction = unpack(data)
        except (ValueError, KeyError, TypeError, deflate.error) as error:  # type: ignore[misc]
            raise DamagedEntry(f"the stored prediction {path.name} is damaged") from error
        # reading is using, whatever the file system thinks of access times
        with contextlib.suppress(OSError):
            os.utime(path)
        return prediction

    def put(self, key: str, prediction: Prediction) -> bool:
        """Store a prediction; return False when it is larger than the whole cache may be.

        Raises:
            DiskFull: when there is no space left.
        """
        data = pack(prediction)
        if len(data) > self._max_bytes:
            return False
        # an entry that a power cut damages counts as missing: no need to wait for the disk
        write_atomic(self._path(key), data, is_durable=False)
        self._until_measured -= len(data)
        if self._until_measured <= 0:
            self._make_room(spared=key)
        return True

    def _path(self, key: str) -> Path:
        return self._folder / key[:2] / f"{key}.pred"

    def _make_room(self, *, spared: str) -> None:
        """Measure the folder; remove the least recently used entries if it is too large."""
        self._until_measured = self._max_bytes  # one thread is enough
        entries: list[tuple[float, int, str]] = []
        for folder in _entries(self._folder):
            for file in _entries(folder.path):
                with contextlib.suppress(OSError):
                    status = file.stat()
                    if file.name.endswith(".pred"):
                        entries.append((status.st_mtime, status.st_size, file.path))
                    elif time.time() - status.st_mtime > _ABANDONED_S:
                        Path(file.path).unlink()
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries) if total > self._max_bytes else ():
            if total <= self._max_bytes * _AFTER_EVICTION:
                break
            if Path(path).stem == spared:
                continue
            with contextlib.suppress(FileNotFoundError):  # another process made room as well
                Path(path).unlink()
            total -= size
        self._until_measured = int(_MEASURED_AFTER * (self._max_bytes - total))


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return list(found)
    except (FileNotFoundError, NotADirectoryError):
        return []


@dataclass(frozen=True, slots=True)
class _Header:
    image: dict[str, Any]
    model_id: str
    floor_score: float
    image_hw: list[int]
    masks: str
    columns: dict[str, list[int]]


def pack(prediction: Prediction) -> bytes:
    """Return a prediction as bytes: magic, header, compressed columns, checksum."""
    found = prediction.instances
    columns: dict[str, NDArray[Any]] = {
        "boxes": found.boxes,
        "scores": found.scores,
        "class_ids": found.class_ids,
    }
    masks = "none"
    if isinstance(found.masks, SoftMasks):
        masks = "soft"
        columns |= {"crops": found.masks.crops, "values": found.masks.values}
    elif isinstance(found.masks, CropMasks):
        masks = "binary"
        columns |= {
            "crops": found.masks.crops,
            "starts": found.masks.starts,
            "runs": found.masks.runs,
        }
    header = _Header(
        asdict(prediction.image),
        prediction.model_id,
        prediction.floor_score,
        list(found.image_hw),
        masks,
        {name: list(column.shape) for name, column in columns.items()},
    )
    head = json.dumps(asdict(header), separators=(",", ":")).encode()
    packer = deflate.compressobj(1)
    body = [packer.compress(np.ascontiguousarray(c, _DTYPES[n]).data) for n, c in columns.items()]
    data = b"".join([_MAGIC, len(head).to_bytes(4, "little"), head, *body, packer.flush()])
    return data + hashlib.sha256(data).digest()


def unpack(data: bytes) -> Prediction:
    """Return the prediction that `pack` made bytes of.

    Raises:
        ValueError: when the bytes are not as they were written.
    """
    body, digest = memoryview(data)[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if data[: len(_MAGIC)] != _MAGIC or hashlib.sha256(body).digest() != digest:
        raise ValueError("checksum differs")
    begin = len(_MAGIC) + 4
    end = begin + int.from_bytes(data[len(_MAGIC) : begin], "little")
    header = _Header(**json.loads(data[begin:end]))
    raw = deflate.decompress(body[end:])
    columns: dict[str, NDArray[Any]] = {}
    at = 0
    for name, shape in header.columns.items():
        count = int(np.prod(shape, dtype=np.int64))
        column = np.frombuffer(raw, _DTYPES[name], count, at).reshape(shape)
        columns[name] = column.astype(column.dtype.newbyteorder("="), copy=False)
        at += column.nbytes
    height, width = header.image_hw
    found = Instances(
        columns["boxes"], columns["scores"], columns["class_ids"], None, (height, width)
    )
    image = ImageRef(**{**header.image, "image_hw": tuple(header.image["image_hw"])})
    found = replace(found, masks=_masks(header.masks, columns))
    return Prediction(image, header.model_id, found, header.floor_score)


def _masks(kind: str, columns: dict[str, NDArray[Any]]) -> SoftMasks | CropMasks | None:
    if kind == "soft":
        crops = columns["crops"]
        sizes = crops[:, 2].astype(np.int64) * crops[:, 3]
        starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        return SoftMasks(columns["values"], starts, crops)
    if kind == "binary":
        return CropMasks(columns["runs"], columns["starts"], columns["crops"])
    return None
