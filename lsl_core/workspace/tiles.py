"""Parts of very large images: cut once into tiles on disk, so that no view decodes them again.

    <folder>/<hash>/<level>-<row>-<column>.jpg     level 0 is the image, each next one half of it

A picture of 16384 x 16384 takes 805 MB once decoded, its tiles some 100 MB on disk, and any part of
the size of a screen a few of them.
"""

from __future__ import annotations

import hashlib
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Lock

import cv2
import numpy as np

from lsl_core.types import Hw, Window
from lsl_core.workspace.images import Pixels

#: Side of a tile, pixels.
TILE_PX = 2048
#: Longer side of the coarsest level: up to this size an image is sent whole.
COARSEST_PX = 4096
_QUALITY = 90
#: One image is decoded at a time in a process, whoever asks.
_decoding = Lock()


class TileStore:
    """The tiles of images, the least recently used of which go first. Safe in several threads.

    Args:
        folder: of all tiles; made when missing.
        max_bytes: of all tiles together; the image in use stays, whatever its size.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder, self._max_bytes = folder, max_bytes

    def region(
        self, name: str, part: Window, *, image_hw: Hw, pixels: int, read: Callable[[], Pixels]
    ) -> Pixels:
        """Return a part of an image.

        Args:
            name: tells images apart, such as the hash of their bytes.
            part: inside the image, image pixels.
            image_hw: (height, width) of the whole image, pixels.
            pixels: width of what is returned; the part's own width at most.
            read: decodes the whole image; called when it was not cut yet.
        """
        home = self._folder / hashlib.sha256(name.encode()).hexdigest()
        pixels = max(1, min(pixels, part.width))
        level = min(int(math.log2(part.width / pixels)), _num_levels(image_hw) - 1)
        for _ in range(2):  # another process may make room while we read
            if not home.is_dir():
                self._cut(home, image_hw, read)
            os.utime(home)
            try:
                found = _assembled(home, level, part)
            except FileNotFoundError:
                shutil.rmtree(home, ignore_errors=True)
                continue
            height = max(1, round(part.height * pixels / part.width))
            resized = cv2.resize(found, (pixels, height), interpolation=cv2.INTER_AREA)
            return np.asarray(resized, np.uint8)
        raise FileNotFoundError(home)

    def _cut(self, home: Path, image_hw: Hw, read: Callable[[], Pixels]) -> None:
        """Write the tiles of an image; its folder appears when all are there."""
        with _decoding:
            if home.is_dir():
                return
            self._folder.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(prefix=".", dir=self._folder))
            try:
                image = read()
                for level in range(_num_levels(image_hw)):
                    if level:
                        height, width = (-(-side // 2) for side in image.shape[:2])
                        half = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
                        image = np.asarray(half, np.uint8)
                    _write_level(draft, level, image)
                draft.rename(home)
            except FileExistsError:  # another process was first
                pass
            finally:
                shutil.rmtree(draft, ignore_errors=True)
        self._make_room(home)

    def _make_room(self, keep: Path) -> None:
        homes = sorted(
            (path for path in self._folder.iterdir() if not path.name.startswith(".")),
            key=lambda path: path.stat().st_mtime,
        )
        sizes = {home: sum(tile.stat().st_size for tile in home.iterdir()) for home in homes}
        total = sum(sizes.values())
        for home in homes:
            if total > self._max_bytes and home != keep:
                shutil.rmtree(home, ignore_errors=True)
                total -= sizes[home]


def _num_levels(image_hw: Hw) -> int:
    return max(1, math.ceil(math.log2(max(image_hw) / COARSEST_PX)))


def _write_level(folder: Path, level: int, image: Pixels) -> None:
    for row in range(-(-image.shape[0] // TILE_PX)):
        for column in range(-(-image.shape[1] // TILE_PX)):
            y, x = row * TILE_PX, column * TILE_PX
            bgr = cv2.cvtColor(image[y : y + TILE_PX, x : x + TILE_PX], cv2.COLOR_RGB2BGR)
            _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
            (folder / _tile_name(level, row, column)).write_bytes(data.tobytes())


def _tile_name(level: int, row: int, column: int) -> str:
    return f"{level}-{row}-{column}.jpg"


def _assembled(home: Path, level: int, part: Window) -> Pixels:
    """Put a part together from its tiles, in pixels of a level."""
    scale = 2**level
    x1, y1 = part.x // scale, part.y // scale
    x2 = max(x1 + 1, (part.x + part.width) // scale)
    y2 = max(y1 + 1, (part.y + part.height) // scale)
    out = np.zeros((y2 - y1, x2 - x1, 3), np.uint8)
    for row, top, above, below in _spans(y1, y2):
        for column, left, before, behind in _spans(x1, x2):
            tile = cv2.imread(str(home / _tile_name(level, row, column)), cv2.IMREAD_COLOR_RGB)
            if tile is None:
                raise FileNotFoundError(f"tile {level}-{row}-{column} is damaged or gone")
            piece = tile[above:below, before:behind]
            out[top : top + piece.shape[0], left : left + piece.shape[1]] = piece
    return out


def _spans(first: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield the tiles between two pixels: number, place in the part, first and end in the tile."""
    for number in range(first // TILE_PX, -(-end // TILE_PX)):
        begin = number * TILE_PX
        low, high = max(first, begin), min(end, begin + TILE_PX)
        yield number, low - first, low - begin, high - begin
