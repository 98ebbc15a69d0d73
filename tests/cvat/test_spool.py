"""Shapes that wait on disk, and annotations that are read while they come."""

from __future__ import annotations

import io
import json
import tracemalloc
from array import array
from itertools import repeat

import pytest

from lsl_core.cvat.annotations.packing import packed
from lsl_core.cvat.annotations.spool import Spool
from lsl_core.cvat.connection.entries import entries_of
from lsl_core.cvat.push.sending import make_batches

SHAPES = [{"frame": n, "type": "mask", "points": array("I", [n, 70_000])} for n in range(9)]


def test_a_spool_gives_what_was_added_again_and_again():
    spool = Spool(SHAPES[:4])
    spool.add(())
    spool.add(SHAPES[4:])
    assert len(spool) == 9
    assert list(spool) == list(spool) == SHAPES
    assert [pair[0] is not pair[1] for pair in zip(spool, spool, strict=True)] == [True] * 9
    assert SHAPES[7] in spool
    assert not Spool()


def test_two_readers_of_a_spool_do_not_disturb_each_other_nor_what_is_added():
    spool = Spool(SHAPES[:3])
    first, second = iter(spool), iter(spool)
    assert next(first) == next(second) == SHAPES[0]
    spool.add(SHAPES[3:])
    assert [*first] == SHAPES[1:]
    assert next(second) == SHAPES[1]


def test_a_spool_gives_the_shapes_of_a_frame_in_their_order_however_they_came():
    mixed = [{"frame": n % 3, "id": n, "points": array("d", [n])} for n in range(700)]
    mixed += [{"frame": 5, "id": n, "points": ["no", "number"]} for n in range(600)]
    spool = Spool(mixed[:11])
    assert list(spool.of(1)) == mixed[1:11:3]
    spool.add(mixed[11:])
    assert list(spool) == mixed
    assert {frame: list(found) for frame, found in spool.groups.items()} == {
        frame: [shape for shape in mixed if shape["frame"] == frame] for frame in (0, 1, 2, 5)
    }
    assert spool.counts == {0: 234, 1: 233, 2: 233, 5: 600}
    assert spool.groups.get(3, ()) == ()
    assert len(spool.groups[5]) == 600
    assert mixed[703] in spool.groups[5]


def test_a_group_of_a_spool_may_be_something_else_than_a_frame():
    spool = Spool()
    for n, shape in enumerate(SHAPES):
        spool.append(shape, 40 + n % 2)
    assert list(spool) == SHAPES
    assert list(spool.pairs()) == [(40, s) for s in SHAPES[::2]] + [(41, s) for s in SHAPES[1::2]]


def test_a_spool_and_its_batches_hold_no_shapes_in_memory():
    def shapes(count):
        return ({"frame": n // 50, "points": array("I", [n] * 1000)} for n in range(count))

    def peak(count):
        tracemalloc.start()
        spool = Spool()
        for some in zip(*[shapes(count)] * 50, strict=True):
            spool.add(some)
        batches = make_batches(zip(repeat(1), spool), "create", "push")
        assert sum(len(batch.entries) for batch in batches) == count
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    few, many = peak(1_000), peak(4_000)  # 4 and 16 MB of points
    assert many < 1.3 * few


DOCUMENT = {
    "version": 12,
    "tags": [],
    "shapes": [{"points": [1.5, -2e3], "name": "Zelle ü 细胞"}, {"points": [], "n": None}],
    "tracks": [[1, [2]], "a,]}", 7, True],
    "note": {"shapes": [0]},
}


class Slow(io.BytesIO):
    """A body that comes a few bytes at a time."""

    def read(self, amt=-1):
        return super().read(min(amt, 3))


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("body", [io.BytesIO, Slow])
def test_entries_are_those_of_the_whole_document(body, indent):
    text = json.dumps(DOCUMENT, indent=indent, ensure_ascii=False).encode()
    expected = [(key, one) for key in ("shapes", "tracks") for one in DOCUMENT[key]]
    assert list(entries_of(body(text))) == expected
    assert list(entries_of(body(b"{}"))) == []


def test_entries_are_packed_on_the_way():
    (found,) = entries_of(io.BytesIO(b'{"shapes": [{"points": [1, 2]}]}'), packed)
    assert found == ("shapes", {"points": array("d", [1, 2])})


def test_every_cut_of_a_document_is_found():
    text = json.dumps(DOCUMENT).encode()
    for size in range(len(text)):
        with pytest.raises(ValueError):
            list(entries_of(io.BytesIO(text[:size])))


@pytest.mark.parametrize("text", [b"[]", b"<html>", b'{"a" 1}', b'{"a": [1 2]}', b"{} {}"])
def test_what_is_no_such_document_is_refused(text):
    with pytest.raises(ValueError):
        list(entries_of(io.BytesIO(text)))
