"""Images of a task: from uploaded files to frames, and frames back to clients."""

from __future__ import annotations

import mimetypes
import os
import random
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lsl_core.sandbox.calls.work import WorkFailed
from lsl_core.sandbox.files.uploads import safe_name

#: What the sandbox takes for an image by its name.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".jp2")
#: CVAT's chunk size: 36 frames of full HD, between 2 and 72.
_CHUNK_PIXELS, _CHUNK_MIN, _CHUNK_MAX = 36 * 1920 * 1080, 2, 72
#: CVAT's previews fit a square of this side, pixels.
_PREVIEW_SIDE_PX = 256
_DECODERS = 2


@dataclass(frozen=True, slots=True)
class Frame:
    """One image of a task: its name, size in pixels, and where its file lies."""

    name: str
    width: int
    height: int
    file: str


def chunk_size_for(frames: Sequence[Frame]) -> int:
    """Choose how many frames a chunk holds, as CVAT does by the images' area."""
    area = max((frame.width * frame.height for frame in frames), default=1)
    return int(min(max(_CHUNK_PIXELS // max(area, 1), _CHUNK_MIN), _CHUNK_MAX))


def _natural(name: str) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", name)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts if part]


def ordered(names: Iterable[str], sorting: str, wanted: Sequence[str]) -> list[str]:
    """Sort image names as the upload asked.

    Raises:
        WorkFailed: if a predefined order does not name the uploaded files.
    """
    found = sorted(names)
    if sorting == "natural":
        return sorted(found, key=_natural)
    if sorting == "random":
        random.shuffle(found)
    if sorting == "predefined" and wanted:
        if sorted(wanted) != found:
            raise WorkFailed("upload_file_order does not name the uploaded files")
        return list(wanted)
    return found


def collect(inbox: Path, raw: Path) -> list[str]:
    """Move uploaded images, or a video, to a task's folder, opening zip archives.

    Returns:
        The names of images, or of one video.

    Raises:
        WorkFailed: for a broken archive, or nothing at all.
    """
    names: list[str] = []
    files = sorted(path for path in inbox.rglob("*") if path.is_file()) if inbox.is_dir() else []
    for path in files:
        if path.suffix.lower() == ".zip":
            names += _unzip(path, raw)
            continue
        name = path.relative_to(inbox).as_posix()
        target = raw / name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
        names.append(name)
    shutil.rmtree(inbox, ignore_errors=True)
    if not names:
        raise WorkFailed("No media data found")
    return names


def _unzip(archive: Path, raw: Path) -> list[str]:
    names: list[str] = []
    try:
        with zipfile.ZipFile(archive) as opened:
            for entry in opened.infolist():
                if Path(entry.filename).suffix.lower() in IMAGE_SUFFIXES:
                    name = safe_name(entry.filename)
                    extract(opened, entry.filename, raw / name)
                    names.append(name)
    except zipfile.BadZipFile as exc:
        raise WorkFailed(f"zipfile.BadZipFile: {exc}") from exc
    return names


def extract(archive: zipfile.ZipFile, entry: str, target: Path) -> None:
    """Write one entry of an archive to a file."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(entry) as source, target.open("wb") as out:
        shutil.copyfileobj(source, out)


def decode(path: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Read an image as 8-bit BGR, turned as its EXIF says.

    Raises:
        WorkFailed: if it is no image.
    """
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR) if _size(path) else None
    if pixels is None:
        raise WorkFailed(f"UnidentifiedImageError: cannot identify image file '{path.name}'")
    return np.asarray(pixels, np.uint8)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def read_frames(folder: Path, names: Sequence[str], quality: int) -> list[Frame]:
    """Decode all images once: learn their sizes, refuse a broken one, keep a JPEG of each.

    Args:
        folder: the task's folder, with the originals under `raw`.
        names: the images, in frame order.
        quality: JPEG quality of the compressed copies, 1 to 100.

    Raises:
        WorkFailed: for the first image that does not decode.
    """

    def one(item: tuple[int, str]) -> Frame:
        number, name = item
        pixels = decode(folder / "raw" / name)
        write_jpeg(folder / "compressed" / f"{number}.jpg", pixels, quality)
        return Frame(name, pixels.shape[1], pixels.shape[0], f"raw/{name}")

    with ThreadPoolExecutor(_DECODERS) as pool:
        return list(pool.map(one, enumerate(names)))


def write_jpeg(path: Path, pixels: np.ndarray[Any, Any], quality: int) -> None:
    """Write a JPEG, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    is_ok, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not is_ok:
        raise WorkFailed(f"Could not compress '{path.name}'")
    part = path.with_name(f"{path.name}.{os.getpid()}-{id(pixels)}.part")
    part.write_bytes(encoded.tobytes())
    part.replace(path)


def compressed(folder: Path, number: int, file: str, quality: int) -> Path:
    """Find the JPEG of a frame; make it when it is not there."""
    path = folder / "compressed" / f"{number}.jpg"
    if not path.is_file():
        write_jpeg(path, decode(folder / file), quality)
    return path


def preview(folder: Path, number: int, file: str) -> Path:
    """Find the small JPEG of a frame; make it when it is not there."""
    path = folder / "previews" / f"{number}.jpg"
    if not path.is_file():
        pixels = decode(folder / file)
        scale = min(1.0, _PREVIEW_SIDE_PX / max(pixels.shape[:2]))
        size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
        write_jpeg(path, cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), 70)
    return path


def media_type(name: str) -> str:
    """Say an image's type by its name."""
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


def zip_chunk(paths: Sequence[Path], into: Path) -> Path:
    """Pack frames into a chunk, stored and numbered from 0 as CVAT does; the caller deletes it."""
    into.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(suffix=".zip", dir=into)
    os.close(handle)
    with zipfile.ZipFile(name, "w", zipfile.ZIP_STORED) as packed:
        for index, path in enumerate(paths):
            suffix = ".jpeg" if path.parent.name == "compressed" else path.suffix.lower()
            packed.write(path, f"{index:06d}{suffix}")
    return Path(name)


def checksum(path: Path) -> int:
    """Return the CRC-32 of a file."""
    total = 0
    with path.open("rb") as source:
        while block := source.read(1 << 20):
            total = zlib.crc32(block, total)
    return total
