from __future__ import annotations

import shutil

import numpy as np
import pytest

from lsl_core.types import Window
from lsl_core.workspace import tiles
from lsl_core.workspace.tiles import TileStore

HW = (700, 1100)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Tiles small enough that a test cuts a few dozen of them."""
    monkeypatch.setattr(tiles, "TILE_PX", 128)
    monkeypatch.setattr(tiles, "COARSEST_PX", 256)


@pytest.fixture(scope="module")
def image():
    rows, columns = np.mgrid[: HW[0], : HW[1]]
    waves = [np.sin(columns / 60), np.cos(rows / 45), np.sin((rows + columns) / 80)]
    return np.stack([127 + 100 * wave for wave in waves], axis=-1).astype(np.uint8)


@pytest.mark.parametrize(
    ("part", "pixels"),
    [
        (Window(0, 0, 1100, 700), 1100),
        (Window(0, 0, 1100, 700), 200),
        (Window(517, 391, 301, 207), 301),
        (Window(517, 391, 301, 207), 149),
        (Window(1098, 699, 2, 1), 9),
    ],
)
def test_a_part_is_that_of_the_whole_image(tmp_path, image, part, pixels):
    store = TileStore(tmp_path / "t", 10**9)
    found = store.region("a", part, image_hw=HW, pixels=pixels, read=lambda: image)
    wide = min(pixels, part.width)
    assert found.shape == (max(1, round(part.height * wide / part.width)), wide, 3)
    ours = image[part.y : part.y + part.height, part.x : part.x + part.width].astype(int)
    step = part.width / wide
    rows = ((np.arange(found.shape[0]) + 0.5) * step).astype(int)
    columns = ((np.arange(found.shape[1]) + 0.5) * step).astype(int)
    expected = ours[rows[:, None].clip(max=len(ours) - 1), columns]
    assert np.abs(found - expected).mean() < 6


def test_an_image_is_decoded_once_for_all_its_parts(tmp_path, image):
    store, reads = TileStore(tmp_path / "t", 10**9), []

    def read():
        reads.append(1)
        return image

    for x in range(0, 1000, 200):
        store.region("a", Window(x, 0, 100, 100), image_hw=HW, pixels=100, read=read)
    again = TileStore(tmp_path / "t", 10**9)
    again.region("a", Window(0, 0, 900, 600), image_hw=HW, pixels=300, read=read)
    assert len(reads) == 1


def test_the_least_recently_used_image_goes_first_and_the_one_in_use_stays(tmp_path, image):
    store, part = TileStore(tmp_path / "t", 1), Window(0, 0, 50, 50)
    for name in "ab":
        store.region(name, part, image_hw=HW, pixels=50, read=lambda: image)
        assert len(list((tmp_path / "t").iterdir())) == 1


@pytest.mark.parametrize("damage", [b"", b"no image"])
def test_tiles_that_are_damaged_or_gone_are_cut_anew(tmp_path, image, damage):
    store, part = TileStore(tmp_path / "t", 10**9), Window(0, 0, 50, 50)
    first = store.region("a", part, image_hw=HW, pixels=50, read=lambda: image)
    (home,) = (tmp_path / "t").iterdir()
    (home / "0-0-0.jpg").write_bytes(damage)
    again = store.region("a", part, image_hw=HW, pixels=50, read=lambda: image)
    assert (first == again).all()
    shutil.rmtree(home)
    assert (store.region("a", part, image_hw=HW, pixels=50, read=lambda: image) == first).all()


def test_an_image_that_cannot_be_read_leaves_nothing_behind(tmp_path):
    def broken():
        raise OSError("gone")

    store = TileStore(tmp_path / "t", 10**9)
    with pytest.raises(OSError, match="gone"):
        store.region("a", Window(0, 0, 9, 9), image_hw=HW, pixels=9, read=broken)
    assert not list((tmp_path / "t").iterdir())
