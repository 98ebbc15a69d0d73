"""Snapshots are read as they were written, by older versions too, and a damaged one is told."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from array import array
from types import SimpleNamespace

import pytest

from lsl_core.cvat import read_snapshot, write_snapshot
from lsl_core.cvat.annotations.content import StateKey, state_key
from lsl_core.errors import CvatUnreachable, FormatTooNew, SnapshotMissing

SESSION = SimpleNamespace(url="http://cvat", server=SimpleNamespace(version="2.42.0"), user="ann")
TASK = SimpleNamespace(id=7, name="cells", created="2026-11-29")
ENTRIES = [
    {"id": 1, "frame": 0, "label_id": 3, "attributes": []},
    {"id": 1, "frame": 0, "label_id": 3, "type": "mask", "points": array("d", [0, 4, 1, 1, 2, 2])},
    {"id": 2, "frame": 1, "label_id": 3, "type": "polygon", "points": array("d", [0.5] * 6)},
    {"id": 1, "frame": 0, "label_id": 3, "shapes": [
        {"type": "rectangle", "frame": 0, "points": array("d", [1, 2, 3, 4]), "outside": False},
    ]},
]  # fmt: skip


def written(path, entries=ENTRIES):
    write_snapshot(path, SESSION, TASK, iter(entries))
    return path


def test_a_snapshot_is_read_as_it_was_written(tmp_path):
    assert list(read_snapshot(written(tmp_path / "s.gz"))) == ENTRIES
    assert list(read_snapshot(written(tmp_path / "none.gz", []))) == []


def test_a_snapshot_of_an_older_version_is_read(tmp_path):
    shape = {**ENTRIES[1], "points": [0, 4, 1, 1, 2, 2]}
    held = {"tags": [ENTRIES[0]], "shapes": [shape], "tracks": []}
    (tmp_path / "old.gz").write_bytes(
        gzip.compress(json.dumps({"format": 1, "annotations": held}).encode())
    )
    assert list(read_snapshot(tmp_path / "old.gz")) == ENTRIES[:2]


def test_a_snapshot_that_is_cut_or_changed_anywhere_is_damaged(tmp_path):
    data = written(tmp_path / "s.gz").read_bytes()
    bad = tmp_path / "bad.gz"
    for size in range(len(data)):
        bad.write_bytes(data[:size])
        with pytest.raises(SnapshotMissing, match=r"bad\.gz"):
            list(read_snapshot(bad))
    begin = data.index(b"\0", 10) + 1  # before it, a gzip file says only its name and when
    for place in range(begin, len(data)):
        bad.write_bytes(data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :])
        with pytest.raises(SnapshotMissing):
            list(read_snapshot(bad))
    with pytest.raises(SnapshotMissing):
        list(read_snapshot(tmp_path / "gone.gz"))


def test_a_snapshot_of_a_newer_version_says_so(tmp_path):
    (tmp_path / "new.gz").write_bytes(gzip.compress(b'{"format": 3}\n'))
    with pytest.raises(FormatTooNew, match="newer version"):
        list(read_snapshot(tmp_path / "new.gz"))
    packed = bytearray(gzip.compress(b'{"format": 3}\n'))
    packed[-8] ^= 0x55  # of the checksum
    (tmp_path / "new.gz").write_bytes(packed)
    with pytest.raises(SnapshotMissing):
        list(read_snapshot(tmp_path / "new.gz"))


def test_nothing_is_left_of_a_snapshot_whose_annotations_did_not_all_come(tmp_path):
    def cut():
        yield ENTRIES[0]
        raise CvatUnreachable("cut")

    with pytest.raises(CvatUnreachable):
        write_snapshot(tmp_path / "s.gz", SESSION, TASK, cut())
    assert list(tmp_path.iterdir()) == []


def test_a_snapshot_takes_no_more_memory_for_more_shapes(tmp_path):
    def peak(count):
        shapes = ({**ENTRIES[1], "id": n, "points": array("d", range(500))} for n in range(count))
        tracemalloc.start()
        write_snapshot(tmp_path / "s.gz", SESSION, TASK, shapes)
        assert sum(1 for _ in read_snapshot(tmp_path / "s.gz")) == count
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    few, many = peak(200), peak(1_000)  # 2 and 8 MB of points and shapes
    assert many < 1.3 * few


def test_the_key_of_a_state_is_that_of_its_annotations_in_any_order():
    key = state_key(ENTRIES)
    assert state_key(reversed(ENTRIES)) == key
    assert state_key(ENTRIES[1:]) != key
    assert state_key([]) == StateKey().hexdigest()
    for i, entry in enumerate(ENTRIES):
        for changed in ({**entry, "id": 9}, {**entry, "label_id": 4}, {**entry, "frame": 2}):
            assert state_key([*ENTRIES[:i], changed, *ENTRIES[i + 1 :]]) != key
    # a tag, a shape and a track may have the same number
    assert state_key([ENTRIES[0]]) != state_key([ENTRIES[1]])
