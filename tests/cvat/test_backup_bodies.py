"""Annotations become documents entry by entry, equal to what parsing all of them would give."""

from __future__ import annotations

import io
import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsl_core.cvat.backup import bodies
from lsl_core.cvat.backup.bodies import Bodies, as_bytes, sorted_body

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
ENTRIES = st.lists(
    st.builds(
        lambda number, more: {**more, "id": number},
        st.integers(-(2**63) + 1, 2**63 - 1),
        st.dictionaries(st.text(max_size=3), VALUES, max_size=3),
    ),
    max_size=5,
)
ANNOTATIONS = st.fixed_dictionaries(
    {"version": st.integers(), "tags": ENTRIES, "shapes": ENTRIES, "tracks": ENTRIES}
)


class Drip(io.BytesIO):
    """A body that comes in bits."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(size or 1, 7) if size != -1 else -1)


@given(ANNOTATIONS, st.sampled_from([None, 1]))
def test_a_body_is_what_parsing_and_sorting_it_whole_gives(value, indent):
    text = json.dumps(value, ensure_ascii=False, indent=indent).encode()
    body, counts = sorted_body(Drip(text))
    kinds = ("shapes", "tags", "tracks")
    wanted = {kind: sorted(value[kind], key=lambda entry: entry["id"]) for kind in kinds}
    assert body.read() == as_bytes(wanted)
    assert counts == {kind: len(value[kind]) for kind in kinds}


@pytest.mark.parametrize(
    "text",
    [b"", b"null", b"[]", b"<html>", b'{"shapes": [{"id": 1}', b'{"shapes": [{"id": 1} {"id": 2}]}',
     b'{"shapes": [{"frame": 1}]}', b'{"shapes": [7]}', b'{"shapes"', b'{"tags": [\xff]}'],
)  # fmt: skip
def test_what_is_no_list_of_annotations_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        sorted_body(io.BytesIO(text))


def test_memory_does_not_grow_with_the_number_of_shapes(monkeypatch):
    monkeypatch.setattr(bodies, "_IN_MEMORY", 1 << 18)

    def peak(count: int) -> int:
        shape = {"type": "mask", "points": [float(n) for n in range(200)], "frame": 0}
        many = [{**shape, "id": count - number} for number in range(count)]
        text = io.BytesIO(json.dumps({"shapes": many}).encode())
        del many
        tracemalloc.start()
        sorted_body(text)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(10)
    few, many = peak(1_000), peak(4_000)
    assert many - few < 3_000 * 100


def test_documents_in_one_file_are_read_side_by_side_while_others_are_added():
    held, texts = Bodies(), {f"{n}.json": bytes([n]) * 100_000 for n in range(3)}
    for path, text in texts.items():
        source = io.BytesIO(text)
        source.seek(7)  # where its writer left it
        held.add(path, source)
        readers = [held.open(known) for known in held.paths]
        parts = [[reader.read(30_000) for reader in readers] for _ in range(5)]
        assert [b"".join(part) for part in zip(*parts, strict=True)] == [
            texts[known] for known in held.paths
        ]
    assert held.paths == [*texts]
