"""Which port a function is called on, directly."""

import pytest

from lsl_core.serve import server as servers
from lsl_core.serve.server import Server, bound


class Bound:
    """A socket as far as its port is asked for."""

    def __init__(self, port):
        self.getsockname = lambda: ("127.0.0.1", port)


@pytest.fixture
def given(serve):
    """Start a service of one workspace with so many ports, and return who has which."""
    workspaces = []

    def start(*names, num_ports=16):
        served = serve()
        workspaces.append(served.service.shelf.workspace)
        for name in names:
            served.offer(name)
        service = served.service
        service.ports, service.shelf.workspace = {}, workspaces[0]
        service.shelf.workspace.serve.mkdir(parents=True, exist_ok=True)
        server = Server(service, "127.0.0.1", 8070, is_nuclio=True)
        server._sockets = [Bound(8070 + i) for i in range(num_ports + 1)]
        server._give_ports()
        return service.ports

    start.folder = lambda: workspaces[0].serve
    return start


def test_a_function_has_the_same_port_the_next_time_also_when_others_went_before_it(given):
    before = given("cells", "bolts", "nuts")
    after = given("threads", "nuts")

    assert list(before.values()) == [8071, 8072, 8073, 8074, 8075, 8076]
    assert (after["nuts"], after["nuts-by-click"]) == (8075, 8076)
    assert after["threads"] not in before.values()


def test_ports_of_what_is_gone_are_given_away_when_no_other_is_left(given):
    before = given("cells", "bolts", num_ports=4)
    after = given("cells", "nuts", "threads", num_ports=4)

    assert after["cells"] == before["cells"]
    assert {after["nuts"], after["nuts-by-click"]} == {before["bolts"], before["bolts-by-click"]}
    assert "threads" not in after


def test_a_damaged_list_of_ports_keeps_nobody_from_an_answer(given):
    given("cells")
    (given.folder() / "ports.json").write_text("{")

    assert given("cells") == {"cells": 8071, "cells-by-click": 8072}


def test_a_port_that_cvat_publishes_stays_free(serve, monkeypatch):
    first = Server(serve().service, "127.0.0.1", 0, is_nuclio=True)
    with first._listening():
        taken = first.port + 1
    monkeypatch.setattr(servers, "_CVATS_PORTS", (taken,))

    second = Server(serve().service, "127.0.0.1", taken - 1, is_nuclio=True)
    with second._listening():
        ports = [one.getsockname()[1] for one in second._sockets]
        assert taken not in ports
        assert len(ports) > 2
        bound("127.0.0.1", taken).close()
