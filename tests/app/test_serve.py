from __future__ import annotations

import pytest
from app_world import words

from lsl_core.services import offers, serving
from lsl_core.services.serving import FunctionState, OfferState, ServiceState
from lsl_core.ui import keys


def running(**changed) -> ServiceState:
    function = FunctionState("parts", False, 8071, 12, 1, 0.12, 0.4, "No whole image.", 1.0)
    offer = OfferState("parts", "parts-v1", 1.0, ("nut", "bolt"), "mask", "cpu", (function,))
    values = {
        "pid": 1, "host": "127.0.0.1", "port": 8070, "is_nuclio": True, "started": 1.0,
        "offers": (offer,), "problems": {}, "callers": (("172.18.0.5 CVAT/2.39.0", 12, 1.0),),
    }  # fmt: skip
    return ServiceState(**(values | changed))


def test_without_a_model_the_page_leads_to_training(open_page) -> None:
    assert "No model is trained yet" in words(open_page("serve"))


def test_deploying_offers_the_model_and_starts_the_service(open_page, world, monkeypatch) -> None:
    world.add_model(version=1, ap50=0.8)
    started = []
    monkeypatch.setattr(serving, "start", lambda *given: started.append(given))
    app = open_page("serve")
    assert "No service runs" in words(app)
    app.button(key=keys.SERVE_DEPLOY).click().run()
    assert [offer.model for offer in offers.list_offers(world.workspace)] == ["parts"]
    assert len(started) == 1


@pytest.fixture
def served(open_page, world, monkeypatch):
    world.add_model(version=1, ap50=0.8)
    monkeypatch.setattr(serving, "state", lambda _: running())
    return open_page("serve")


def test_a_running_service_shows_its_figures_and_last_error(served) -> None:
    row = served.dataframe[0].value.set_index("Function").loc["parts"]
    assert (row["Version"], row["Requests"], row["Failed"]) == ("parts-v1", 12, 1)
    assert row["p95, s"] == 0.4
    assert "No whole image" in words(served)
    assert "nut, bolt" in words(served)


def test_a_service_that_ended_meanwhile_is_not_shown_any_more(served, monkeypatch) -> None:
    monkeypatch.setattr(serving, "state", lambda _: None)
    served.run()
    assert "No service runs" in words(served)
    assert not served.dataframe


def test_a_version_that_cannot_be_loaded_says_why(open_page, world, monkeypatch) -> None:
    world.add_model(version=1, ap50=0.8)
    problems = {"parts": "The weights are damaged."}
    monkeypatch.setattr(serving, "state", lambda _: running(problems=problems))
    assert "parts is not offered: The weights are damaged." in words(open_page("serve"))


def test_stopping_says_who_used_it_in_the_last_hour(served, monkeypatch) -> None:
    stopped = []
    monkeypatch.setattr(serving, "stop", stopped.append)
    assert "172.18.0.5" in words(served)
    served.button(key=keys.SERVE_STOP_SURE).click().run()
    assert len(stopped) == 1


def test_rolling_back_without_an_older_version_says_so(served, world) -> None:
    offers.deploy(world.workspace, offers.Offer("parts"))
    served.button(key=f"{keys.SERVE_ROLL_BACK}-parts").click().run()
    assert "No other version" in words(served)
