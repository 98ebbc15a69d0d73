"""What a person edits stays, and a job is not read anew before each batch that is deleted."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from lsl_core.cvat.annotations.changing import Action
from lsl_core.cvat.push import edits
from lsl_core.cvat.push.edits import Edits
from lsl_core.cvat.push.journal import Batch, Part
from lsl_core.errors import CvatUnreachable

SHAPES = [
    {"id": n, "type": "rectangle", "frame": n, "label_id": 1, "points": [0, 0, 9, 9]}
    for n in range(20)
]
READ_S = 0.5


def batches(shapes, job=7):
    return [Batch(n, job, Action.DELETE, Part.UNDO, [shape]) for n, shape in enumerate(shapes)]


@pytest.fixture
def server(monkeypatch):
    """What the jobs hold; notes which one was read, and has a clock that only a read moves."""

    class Server:
        def __init__(self):
            self.holds, self.reads, self.cuts = {7: list(SHAPES), 8: []}, [], 0
            self.now = 0.0

        def read(self, session, job):
            self.reads.append(job)
            self.now += READ_S
            if self.cuts:
                self.cuts -= 1
                raise CvatUnreachable("cut")
            yield from self.holds[job]

    made = Server()
    monkeypatch.setattr(edits, "job_entries", made.read)
    monkeypatch.setattr(edits, "time", SimpleNamespace(monotonic=lambda: made.now))
    return made


def test_a_look_counts_for_as_long_as_it_took_and_no_longer(server):
    planned = batches(SHAPES)
    found = Edits(None, planned)
    assert [set(found.among(batch)) for batch in planned[:10]] == [set()] * 10
    assert server.reads == [7]
    server.holds[7][12] = {**SHAPES[12], "points": [0, 0, 9, 8]}
    server.holds[7].pop(15)  # gone: to delete it once more does no harm
    server.now += READ_S
    assert not found.among(planned[12])
    server.now += 0.01
    assert [set(found.among(planned[n])) for n in (12, 13, 15)] == [{("shapes", 12)}, set(), set()]
    assert server.reads == [7, 7]


def test_each_job_is_looked_at_for_itself_and_a_cut_answer_is_asked_for_again(server):
    found = Edits(None, [*batches(SHAPES[:1]), *batches(SHAPES[1:2], job=8)])
    server.cuts = 1
    found.among(batches(SHAPES[:1])[0])
    found.among(batches(SHAPES[1:2], job=8)[0])
    assert server.reads == [7, 7, 8]
