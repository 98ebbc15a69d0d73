import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import pytest
from prometheus_client.parser import text_string_to_metric_families

from lsl_core.errors import ServeError, UserInput
from lsl_core.serve import shelf as shelves
from lsl_core.serve.access import Access
from lsl_core.serve.app import Limits, describe
from lsl_core.serve.detector import Detector
from lsl_core.serve.shelf import Shelf
from lsl_core.services.serving import offers
from lsl_core.services.serving.offers import Offer
from lsl_core.types import Metrics, Mode
from lsl_core.workspace import Workspace
from lsl_core.workspace.files import write_json

from .fakes import BrightModel, card, image_with, png, ring


@pytest.fixture
def served(serve):
    served = serve()
    served.offer("cells")
    return served


def detect(served, data, query="", **client):
    return served.client(**client).post(f"/v1/models/cells/detect{query}", content=data)


def test_an_image_file_as_the_body_is_answered(served):
    (shape,) = detect(served, png(ring())).json()

    assert shape["label"] == "cell"
    assert sum(shape["mask"][:-4]) == 1500


def test_the_query_says_what_is_wanted(served):
    pixels = ring()
    pixels[80:90, 80:90] = 100
    query = "?threshold=0.1&labels=cell&holes=fill&drawing=mask&window=64x64&overlap=16"

    (shape,) = detect(served, png(pixels), query).json()

    assert sum(shape["mask"][:-4]) == 1600
    assert {hw for batch in served.models["cells"].batches for hw in batch} == {(64, 64)}


@pytest.mark.parametrize(
    "query",
    ["?threshold=x", "?treshold=1", "?labels=bolt", "?holes=some", "?drawing=circle",
     "?window=big", "?window=8x8", "?mask_threshold=0"],
)  # fmt: skip
def test_a_query_that_is_no_use_says_why(served, query):
    answer = detect(served, png(ring()), query)

    assert answer.status_code == 422
    assert answer.json()["error"]


def test_a_body_over_the_limit_is_refused_without_reading_it_all(serve):
    served = serve(Limits(body_bytes=1000))
    served.offer("cells")

    answer = detect(served, b"x" * 5000)

    assert answer.status_code == 413
    assert served.service._bytes == served.service._requests == 0


def test_a_body_of_unknown_length_is_counted_as_it_comes(serve):
    served = serve(Limits(body_bytes=1000))
    served.offer("cells")

    def pieces():
        for _ in range(10):
            yield b"x" * 500

    assert detect(served, pieces()).status_code == 413


def test_more_requests_than_are_taken_at_a_time_are_asked_to_come_back(serve):
    served = serve(Limits(requests=1))
    model = served.offer("cells")
    model.may_go.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(detect, served, png(ring()))
        assert model.has_begun.wait(60)
        second = detect(served, png(image_with((1, 1, 3, 3))))
        model.may_go.set()
        assert first.result(60).status_code == 200

    assert second.status_code == 503
    assert second.headers["retry-after"]


def test_a_late_answer_is_a_reason_before_cvat_gives_up(serve):
    served = serve(Limits(timeout_s=0.05))
    model = served.offer("cells")
    model.may_go.clear()

    answer = detect(served, png(ring()))

    assert answer.status_code == 504
    assert Limits().timeout_s < 120


def test_bad_images_among_good_ones_fail_alone(served):
    bodies = [png(image_with((5 + i, 5, 7, 7))) for i in range(24)]
    bodies[3], bodies[11], bodies[17] = b"", bodies[11][:-40], b"\x89PNG\r\n\x1a\nrubbish IEND"
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda body: detect(served, body), bodies))

    assert [n for n, a in enumerate(answers) if a.status_code != 200] == [3, 11, 17]
    assert all(a.json()["error"] for a in answers if a.status_code != 200)
    for n, answer in enumerate(answers):
        if answer.status_code == 200:
            assert answer.json()[0]["mask"][-4:] == [5 + n, 5, 11 + n, 11]


def test_health_readiness_and_figures(served):
    client = served.client()
    detect(served, png(ring()))
    detect(served, b"x")

    found = {
        sample.name: sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
        if sample.labels.get("status", "200") == "200"
    }
    assert client.get("/healthz").status_code == client.get("/readyz").status_code == 200
    assert found["lsl_requests_total"] == 1
    (row,) = describe(served.service)
    use = row["functions"][0]["use"]
    assert (use["requests"], use["failed"]) == (2, 1)
    assert "no image" in use["last_error"]
    assert use["p95_s"] >= use["median_s"] > 0


def test_a_service_with_a_problem_is_alive_and_not_ready(served):
    served.shelf.problems["bolts"] = "The weights are missing."

    assert served.client().get("/healthz").status_code == 200
    answer = served.client().get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["problems"] == {"bolts": "The weights are missing."}


@pytest.mark.parametrize(
    ("access", "who", "header", "status"),
    [
        (Access(), "127.0.0.1", "", 200),
        (Access(), "10.0.0.9", "", 403),
        (Access.of(host="0.0.0.0", allow=["172.16.0.0/12"], token=""), "172.18.0.5", "", 200),
        (Access.of(host="::", allow=["172.16.0.0/12"], token=""), "::ffff:172.18.0.5", "", 200),
        (Access.of(host="0.0.0.0", allow=["172.16.0.0/12"], token=""), "192.168.1.4", "", 403),
        (Access(token="s" * 32), "127.0.0.1", "", 401),
        (Access(token="s" * 32), "127.0.0.1", "Bearer " + "x" * 32, 401),
        (Access(token="s" * 32), "10.0.0.9", "Bearer " + "s" * 32, 200),
    ],
)  # fmt: skip
def test_who_may_call(serve, access, who, header, status):
    served = serve(access=access)
    served.offer("cells")
    client = served.client(who=who)
    headers = {"authorization": header} if header else {}

    assert client.get("/v1/models", headers=headers).status_code == status
    assert client.get("/api/functions", headers=headers).status_code == status
    assert client.get("/healthz").status_code == 200


def test_a_service_that_is_open_to_everybody_is_refused():
    with pytest.raises(ServeError, match="everybody"):
        Access.of(host="0.0.0.0", allow=[], token="")
    with pytest.raises(UserInput, match="no network"):
        Access.of(host="0.0.0.0", allow=["docker"], token="")
    assert "s" * 16 not in repr(Access(token="s" * 16))


# following the offers of a workspace


@pytest.fixture
def followed(tmp_path, monkeypatch):
    workspace = Workspace.create(tmp_path / "followed", mode=Mode.FSIS)
    opened = []

    def fake_open(folder, **_):
        model = BrightModel()
        model.card = offers.versions.get_model(workspace, folder.name)
        opened.append(model)
        return Detector(model)

    monkeypatch.setattr(shelves.Detector, "open", staticmethod(fake_open))
    monkeypatch.setattr(shelves, "_copies", lambda *_: 1)
    shelf = Shelf(workspace, max_pixels=10**6)
    yield shelf, opened
    for model in opened:
        model.may_go.set()
    shelf.close()


def train(shelf, number, *, ap, name="cells"):
    metrics = Metrics(ap, ap, ap, {}, 3, 9, "masks")
    made = card(
        id=f"{name}-v{number}", name=name, metrics=metrics,
        weights_sha256=f"{number}" * 64, created=f"2026-01-0{number}T00:00:00Z",
    )  # fmt: skip
    write_json(shelf.workspace.models / made.id / "card.json", asdict(made))


def version(shelf):
    return [live.card.id for live in shelf.all()]


def test_a_better_version_takes_over_and_a_worse_one_does_not(followed):
    shelf, _ = followed
    train(shelf, 1, ap=0.5)
    offers.deploy(shelf.workspace, Offer("cells"))

    history = []
    for number, ap in ((1, 0.5), (2, 0.6), (3, 0.4), (4, 0.6)):
        train(shelf, number, ap=ap)
        shelf.follow()
        history += version(shelf)

    assert history == ["cells-v1", "cells-v2", "cells-v2", "cells-v4"]
    assert not shelf.follow()


def test_rolling_back_brings_the_version_before_and_stays_with_it(followed):
    shelf, _ = followed
    train(shelf, 1, ap=0.5)
    offers.deploy(shelf.workspace, Offer("cells"))
    shelf.follow()
    train(shelf, 2, ap=0.6)
    shelf.follow()

    assert offers.roll_back(shelf.workspace, "cells") == "cells-v1"
    train(shelf, 3, ap=0.9)
    shelf.follow()

    assert version(shelf) == ["cells-v1"]
    offers.deploy(shelf.workspace, Offer("cells"))
    shelf.follow()
    assert version(shelf) == ["cells-v3"]


def test_who_is_being_answered_keeps_the_old_version_to_the_end(followed):
    shelf, opened = followed
    before = set(threading.enumerate())  # other tests leave theirs
    train(shelf, 1, ap=0.5)
    offers.deploy(shelf.workspace, Offer("cells"))
    shelf.follow()
    old = opened[0]
    old.may_go.clear()

    def ask():
        with shelf.borrowed("cells") as live:
            return live.card.id, len(live.detector.detect(png(ring())))

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask)
        assert old.has_begun.wait(60)
        train(shelf, 2, ap=0.6)
        shelf.follow()
        assert pool.submit(ask).result(60) == ("cells-v2", 1)
        old.may_go.set()
        assert first.result(60) == ("cells-v1", 1)

    alive = [thread.name for thread in set(threading.enumerate()) - before]
    assert alive.count("model") == 1


def test_a_version_that_cannot_be_loaded_changes_nothing_but_is_named(followed, monkeypatch):
    shelf, _ = followed
    train(shelf, 1, ap=0.5)
    offers.deploy(shelf.workspace, Offer("cells"))
    shelf.follow()
    train(shelf, 2, ap=0.6)

    def fail(folder, **_):
        raise ServeError(f"{folder.name} is damaged.")

    with monkeypatch.context() as patched:
        patched.setattr(shelves.Detector, "open", staticmethod(fail))
        shelf.follow()
        assert version(shelf) == ["cells-v1"]
        assert shelf.problems == {"cells": "cells-v2 is damaged."}
    shelf.follow()
    assert version(shelf) == ["cells-v2"]
    assert not shelf.problems


def test_what_is_withdrawn_is_gone(followed):
    shelf, _ = followed
    train(shelf, 1, ap=0.5)
    offers.deploy(shelf.workspace, Offer("cells"))
    shelf.follow()
    offers.withdraw(shelf.workspace, "cells")
    shelf.follow()

    assert version(shelf) == []
    with pytest.raises(UserInput), shelf.borrowed("cells"):
        pass


def test_two_models_with_one_function_name_are_refused(followed):
    shelf, _ = followed
    train(shelf, 1, ap=0.5, name="My cells")
    train(shelf, 2, ap=0.5, name="my-cells")
    offers.deploy(shelf.workspace, Offer("My cells"))

    with pytest.raises(UserInput, match='"my-cells"'):
        offers.deploy(shelf.workspace, Offer("my-cells"))


@pytest.mark.parametrize(
    ("name", "function"),
    [("Bolts, line 2", "bolts-line-2"), ("Zellen_ß", "zellen"), ("细胞", "model"),
     ("-a-", "a"), ("x" * 80, "x" * 50)],
)  # fmt: skip
def test_names_become_dns_labels(name, function):
    assert offers.function_name(name) == function
