import errno
import json
import os
import zlib
from pathlib import Path

import numpy as np
import pytest

from lsl_core.errors import DiskFull
from lsl_core.inference import cache as cache_module
from lsl_core.inference.cache import DamagedEntry, PredictionCache, cache_key, pack, unpack
from lsl_core.types import CropMasks, ImageRef, Instances, Prediction, SlideWindows, SoftMasks

KEYS = [f"{i:02x}" * 32 for i in range(40)]


def prediction(n=3, kind="soft", seed=0):
    rng = np.random.default_rng(seed)
    pixels = [rng.integers(0, 256, (20 + i, 30), dtype=np.uint8) for i in range(n)]
    places = [(i, 2 * i) for i in range(n)]
    if kind == "soft":
        masks = SoftMasks.from_crops(pixels, places)
    elif kind == "binary":
        masks = CropMasks.from_crops([p > 99 for p in pixels], places)
    else:
        masks = None
    found = Instances(
        rng.uniform(0, 99, (n, 4)).astype(np.float32),
        rng.uniform(0, 1, n).astype(np.float32),
        rng.integers(0, 3, n).astype(np.int32),
        masks,
        (200, 300),
    )
    return Prediction(ImageRef(4, 2, "ä/é.png", (200, 300), "ff" * 32), "model-1", found, 0.05)


def same(a, b):
    assert (a.image, a.model_id, a.floor_score) == (b.image, b.model_id, b.floor_score)
    assert a.instances.image_hw == b.instances.image_hw
    for column in ("boxes", "scores", "class_ids"):
        x, y = getattr(a.instances, column), getattr(b.instances, column)
        assert np.array_equal(x, y)
        assert x.dtype == y.dtype
    assert type(a.instances.masks) is type(b.instances.masks)
    if a.instances.masks is not None:
        for column in a.instances.masks.__slots__:
            x, y = getattr(a.instances.masks, column), getattr(b.instances.masks, column)
            assert np.array_equal(x, y)
            assert x.dtype == y.dtype


@pytest.mark.parametrize("kind", ["soft", "binary", "boxes"])
@pytest.mark.parametrize("n", [0, 1, 5])
def test_a_prediction_comes_back_as_it_was(tmp_path, kind, n):
    cache = PredictionCache(tmp_path, max_bytes=10**7)
    assert cache.get(KEYS[0]) is None
    assert cache.put(KEYS[0], prediction(n, kind))
    same(PredictionCache(tmp_path, max_bytes=10**7).get(KEYS[0]), prediction(n, kind))


def test_with_and_without_the_fast_library_entries_are_the_same_kind_of_stream(monkeypatch):
    fast = pack(prediction())
    monkeypatch.setattr(cache_module, "deflate", zlib)
    plain = pack(prediction())
    same(unpack(fast), prediction())
    monkeypatch.undo()
    same(unpack(plain), prediction())


def test_any_flipped_bit_and_any_cut_is_noticed(tmp_path):
    data = pack(prediction())
    for at in [*range(0, 400, 7), *range(len(data) - 60, len(data), 3)]:
        with pytest.raises(ValueError, match="differs"):
            unpack(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
    for end in (0, 5, 12, 50, len(data) - 1):
        with pytest.raises(ValueError, match="differs"):
            unpack(data[:end])


def test_a_damaged_entry_is_logged_and_counts_as_missing(tmp_path, caplog):
    cache = PredictionCache(tmp_path, max_bytes=10**7)
    cache.put(KEYS[0], prediction())
    (path,) = tmp_path.rglob("*.pred")
    path.write_bytes(b"rubbish")
    assert cache.get(KEYS[0]) is None
    assert "damaged" in caplog.text
    with pytest.raises(DamagedEntry):
        cache.read(KEYS[0])
    cache.put(KEYS[0], prediction())
    same(cache.get(KEYS[0]), prediction())


def sized(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_the_least_recently_used_goes_first_and_the_limit_holds(tmp_path):
    one = len(pack(prediction(seed=0)))
    cache = PredictionCache(tmp_path, max_bytes=int(10.5 * one))
    for i in range(10):
        cache.put(KEYS[i], prediction(seed=i))
        os.utime(next(tmp_path.rglob(f"{KEYS[i]}.pred")), (1000 + i, 1000 + i))
    assert cache.get(KEYS[0]) is not None  # used now, so it stays
    cache.put(KEYS[10], prediction(seed=10))
    assert sized(tmp_path) <= 10.5 * one
    assert cache.get(KEYS[0]) is not None
    assert cache.get(KEYS[10]) is not None
    assert cache.get(KEYS[1]) is None
    assert cache.get(KEYS[9]) is not None


def test_what_other_processes_wrote_counts(tmp_path):
    one = len(pack(prediction()))
    mine = PredictionCache(tmp_path, max_bytes=5 * one)
    other = PredictionCache(tmp_path, max_bytes=50 * one)
    mine.put(KEYS[0], prediction())
    for i in range(1, 20):
        other.put(KEYS[i], prediction())
    mine.put(KEYS[20], prediction())
    assert sized(tmp_path) <= 5 * one


def test_the_folder_is_measured_again_only_after_a_good_part_of_its_room(tmp_path, monkeypatch):
    looked = []
    entries = cache_module._entries
    monkeypatch.setattr(cache_module, "_entries", lambda f: looked.append(f) or entries(f))
    one = len(pack(prediction()))
    cache = PredictionCache(tmp_path, max_bytes=100 * one)
    for i in range(20):
        cache.put(KEYS[i], prediction())
    assert looked.count(cache._folder) == 1
    for i in range(20, 40):
        cache.put(KEYS[i], prediction())
    assert looked.count(cache._folder) == 2


def test_a_prediction_larger_than_the_limit_is_not_stored(tmp_path):
    cache = PredictionCache(tmp_path, max_bytes=100)
    assert not cache.put(KEYS[0], prediction())
    assert sized(tmp_path) == 0


def test_a_failed_write_leaves_the_old_entry_and_nothing_else(tmp_path, monkeypatch):
    cache = PredictionCache(tmp_path, max_bytes=10**7)
    cache.put(KEYS[0], prediction())

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(DiskFull):
        cache.put(KEYS[0], prediction(seed=1))
    same(cache.get(KEYS[0]), prediction())
    assert len([p for p in tmp_path.rglob("*") if p.is_file()]) == 1


def test_files_of_processes_that_died_are_swept(tmp_path):
    cache = PredictionCache(tmp_path, max_bytes=10**7)
    cache.put(KEYS[0], prediction())
    folder = next(tmp_path.rglob("*.pred")).parent
    (folder / ".old.part").write_bytes(b"x")
    (folder / ".new.part").write_bytes(b"x")
    os.utime(folder / ".old.part", (1000, 1000))
    PredictionCache(tmp_path, max_bytes=10**7).put(KEYS[1], prediction())
    assert not (folder / ".old.part").exists()
    assert (folder / ".new.part").exists()


def test_the_key_depends_on_every_part_and_on_nothing_else():
    parts = {
        "weights_sha256": "a",
        "image_sha256": "b",
        "slide": SlideWindows(),
        "transform_version": "1",
        "floor_score": 0.05,
    }
    other = {
        "weights_sha256": "A",
        "image_sha256": "B",
        "slide": None,
        "transform_version": "2",
        "floor_score": 0.06,
    }
    keys = {cache_key(**parts)} | {cache_key(**(parts | {name: other[name]})) for name in parts}
    keys |= {cache_key(**(parts | {"slide": SlideWindows(whole_image=True)}))}
    assert len(keys) == 7
    assert cache_key(**parts) == cache_key(
        **json.loads(json.dumps(parts | {"slide": None})) | {"slide": SlideWindows()}
    )
    assert len(cache_key(**parts)) == 64
