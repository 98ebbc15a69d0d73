from __future__ import annotations

import time
from dataclasses import replace

import pytest
from app_world import words

from lsl_core.errors import ServeError
from lsl_core.services.labelling import predicting
from lsl_core.services.serving import offers, service
from lsl_core.services.serving.offers import Offer
from lsl_core.services.serving.state import FunctionState, OfferState, ServiceState
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
    monkeypatch.setattr(service, "start", lambda *given: started.append(given))
    app = open_page("serve")
    assert "No service runs" in words(app)
    app.button(key=keys.SERVE_DEPLOY).click().run()
    assert [offer.model for offer in offers.list_offers(world.workspace)] == ["parts"]
    assert len(started) == 1


@pytest.mark.parametrize("wanted", [True, False])
def test_a_deployed_model_looks_through_windows_as_a_preview_does_unless_one_says_no(
    open_page, world, monkeypatch, wanted
) -> None:
    world.add_model(version=1, ap50=0.8)
    monkeypatch.setattr(service, "start", lambda *_: None)
    app = open_page("serve")
    app.checkbox(key=keys.SERVE_WINDOWS).set_value(wanted).run()
    app.button(key=keys.SERVE_DEPLOY).click().run()
    (offer,) = offers.list_offers(world.workspace)
    slide = predicting.trained_windows(world.workspace, "parts-v1")
    assert offer.slide == (slide if wanted else None)
    monkeypatch.setattr(service, "state", lambda _: running())
    seen = words(app.run())
    assert (f"windows of {slide.width}×{slide.height} px" if wanted else "seen whole") in seen


@pytest.fixture
def served(open_page, world, monkeypatch):
    world.add_model(version=1, ap50=0.8)
    offers.deploy(world.workspace, Offer("parts"))
    monkeypatch.setattr(service, "state", lambda _: running())
    return open_page("serve")


def test_a_running_service_shows_its_figures_and_last_error(served) -> None:
    row = served.dataframe[0].value.set_index("Function").loc["parts"]
    assert (row["Version"], row["Requests"], row["Failed"]) == ("parts-v1", 12, 1)
    assert row["p95, s"] == "0.400"
    assert "No whole image" in words(served)
    assert "nut, bolt" in words(served)


def test_a_service_that_ended_meanwhile_is_not_shown_any_more(served, monkeypatch) -> None:
    monkeypatch.setattr(service, "state", lambda _: None)
    served.run()
    assert "No service runs" in words(served)
    assert not served.dataframe


def test_a_service_that_died_is_not_passed_over(open_page, world, monkeypatch) -> None:
    world.add_model(version=1, ap50=0.8)
    monkeypatch.setattr(service, "died_at", lambda _: time.time() - 130)
    text = words(open_page("serve"))
    assert "ended without being asked to, 2 min ago" in text
    assert "service.log" in text


def test_cards_follow_a_service_that_went_over_to_another_version(served, monkeypatch) -> None:
    offer = replace(running().offers[0], version="parts-v7", clicks="sam2.1-tiny")
    states = iter([running()])  # the page itself still sees what was
    monkeypatch.setattr(service, "state", lambda _: next(states, running(offers=(offer,))))
    served.run()
    assert "in version parts-v7" in words(served)
    assert "sam2.1-tiny, a pretrained segmenter" in words(served)


def test_a_version_that_cannot_be_loaded_says_why(open_page, world, monkeypatch) -> None:
    world.add_model(version=1, ap50=0.8)
    problems = {"parts": "The weights are damaged."}
    monkeypatch.setattr(service, "state", lambda _: running(problems=problems))
    assert "parts is not offered: The weights are damaged." in words(open_page("serve"))


def test_a_model_that_does_not_answer_can_be_taken_back_or_away(
    open_page, world, monkeypatch
) -> None:
    for version in (1, 2):
        world.add_model(version=version, ap50=0.8)
    offers.deploy(world.workspace, Offer("parts"))
    for name in ("parts-v1", "parts-v2"):
        offers.note_deployed(world.workspace, "parts", name)
    problems = {"parts": "The weights are damaged."}
    monkeypatch.setattr(service, "state", lambda _: running(offers=(), problems=problems))
    app = open_page("serve")
    assert "parts does not answer" in words(app).replace("*", "")
    app.button(key=f"{keys.SERVE_ROLL_BACK}-parts").click().run()
    assert offers.list_offers(world.workspace)[0].version == "parts-v1"
    app.button(key=f"{keys.SERVE_WITHDRAW}-parts").click().run()
    assert offers.list_offers(world.workspace) == []


def test_stopping_says_who_used_it_in_the_last_hour(served, monkeypatch) -> None:
    stopped = []
    monkeypatch.setattr(service, "stop", stopped.append)
    assert "172.18.0.5" in words(served)
    served.button(key=keys.SERVE_STOP_SURE).click().run()
    assert len(stopped) == 1


def test_before_the_first_request_there_is_no_time_to_show(open_page, world, monkeypatch) -> None:
    world.add_model(version=1, ap50=0.8)
    offers.deploy(world.workspace, Offer("parts"))
    quiet = replace(
        running().offers[0].functions[0], requests=0, failed=0, median_s=None, p95_s=None
    )
    offer = replace(running().offers[0], functions=(quiet,))
    monkeypatch.setattr(service, "state", lambda _: running(offers=(offer,)))
    row = open_page("serve").dataframe[0].value.iloc[0]
    assert (row["Median, s"], row["p95, s"]) == ("–", "–")


def test_rolling_back_names_the_version_and_is_off_without_one(open_page, served, world) -> None:
    button = served.button(key=f"{keys.SERVE_ROLL_BACK}-parts")
    assert button.disabled
    world.add_model(version=2, ap50=0.9)
    for version in ("parts-v1", "parts-v2"):
        offers.note_deployed(world.workspace, "parts", version)
    served.run()
    button = served.button(key=f"{keys.SERVE_ROLL_BACK}-parts")
    assert button.label == "Roll back to parts-v1"
    button.click().run()
    assert offers.list_offers(world.workspace)[0].version == "parts-v1"


def test_who_may_call_and_the_port_are_chosen_before_the_start(
    open_page, world, monkeypatch
) -> None:
    world.add_model(version=1, ap50=0.8)
    started = []
    monkeypatch.setattr(service, "start", lambda *given: started.append(given[1]))
    app = open_page("serve")
    app.radio(key=keys.SERVE_CALLERS).set_value("CVAT in Docker on this machine").run()
    app.number_input(key=keys.SERVE_PORT).set_value(9090).run()
    app.button(key=keys.SERVE_DEPLOY).click().run()
    assert started[0].is_nuclio  # CVAT calls a port a function where nobody told it otherwise
    assert (started[0].host, started[0].allow, started[0].port) == (
        "0.0.0.0", ("172.16.0.0/12",), 9090,
    )  # fmt: skip
    app.radio(key=keys.SERVE_CALLERS).set_value("Other networks").run()
    app.text_input(key=keys.SERVE_NETWORKS).set_value("10.1.0.0/16, 10.2.0.0/16").run()
    app.button(key=keys.SERVE_START).click().run()
    assert started[1].allow == ("10.1.0.0/16", "10.2.0.0/16")


def test_a_service_that_does_not_start_says_why(open_page, world, monkeypatch) -> None:
    world.add_model(version=1, ap50=0.8)

    def refuse(*_: object) -> None:
        raise ServeError("Nothing can listen on port 8070 of 127.0.0.1: Address already in use.")

    monkeypatch.setattr(service, "start", refuse)
    app = open_page("serve")
    app.button(key=keys.SERVE_DEPLOY).click().run()
    assert "Nothing can listen on port 8070" in words(app)
    assert "No service runs" in words(app)


def test_what_answers_clicks_is_asked_where_a_segmenter_is(
    open_page, world, monkeypatch, shelf
) -> None:
    world.add_model(version=1, ap50=0.8)
    world.workspace.pretrained.symlink_to(shelf)
    monkeypatch.setattr(service, "start", lambda *_: None)
    app = open_page("serve")
    app.selectbox(key=keys.SERVE_CLICKS).set_value("tiny-sam2").run()
    app.button(key=keys.SERVE_DEPLOY).click().run()
    assert offers.list_offers(world.workspace)[0].clicks == "tiny-sam2"
