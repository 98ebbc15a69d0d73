"""Serve: let CVAT's annotators use a model inside CVAT, see how that goes, go back."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from lsl_core.services.labelling import predicting
from lsl_core.services.models import versions
from lsl_core.services.serving import offers, service
from lsl_core.services.serving.offers import Offer
from lsl_core.services.serving.state import ServiceSettings, ServiceState
from lsl_core.types import ModelCard
from lsl_core.ui import keys, session
from lsl_core.ui.errors import errors_shown
from lsl_core.ui.formats import ago
from lsl_core.ui.layout import empty, header
from lsl_core.ui.parts import serve_panels

FOLLOW = "always the best"


def deploy(cards: list[ModelCard], place: DeltaGenerator) -> None:
    """Ask which version of which model is offered, and offer it; trouble is told in `place`."""
    workspace = session.workspace()
    names = list(dict.fromkeys(card.name for card in cards))
    name = st.selectbox("Model", names, key=keys.SERVE_MODEL)
    ids = [card.id for card in cards if card.name == name]
    version = st.selectbox(
        "Version", ["", *ids], key=keys.SERVE_VERSION, format_func=lambda v: v or FOLLOW,
        help="A newer version takes over unless its AP on held-out images is lower.",
    )  # fmt: skip
    own = st.checkbox("At the model's own score thresholds", value=True)
    threshold = None if own else st.slider(
        "Lowest score", 0.05, 1.0, 0.5, 0.01, key=keys.SERVE_THRESHOLD
    )  # fmt: skip
    st.caption("A threshold that somebody chooses in CVAT wins over this.")
    slide = predicting.trained_windows(workspace, version or ids[0])
    cuts = st.checkbox(
        f"Larger images through windows of {slide.width} px", value=True, key=keys.SERVE_WINDOWS,
        help="As in a preview: windows show the model objects at the size it knows. Without them "
        "it sees a larger image reduced, which is quicker; CVAT waits two minutes.",
    )  # fmt: skip
    clicks = serve_panels.clicks_choice(version or ids[0])
    is_running = service.state(workspace) is not None
    settings = service.last_settings(workspace)
    settings = settings if is_running else serve_panels.reach(settings)
    if st.button(
        f"Deploy {name}", type="primary", key=keys.SERVE_DEPLOY, icon=":material/rocket_launch:",
        width="stretch",
    ):  # fmt: skip
        with place, errors_shown():
            offers.deploy(workspace, Offer(
                name, version or None, threshold=threshold, slide=slide if cuts else None,
                clicks=clicks,
            ))  # fmt: skip
            st.toast(f"{name} is offered; a running service follows within seconds.")
            start(settings)
    if not is_running and offers.list_offers(workspace) and st.button(
        "Start the service as it was", key=keys.SERVE_START, icon=":material/play_arrow:",
        width="stretch", help="With the models that were offered before, and no other.",
    ):  # fmt: skip
        with place, errors_shown():
            start(settings)


def start(settings: ServiceSettings) -> None:
    """Start the service unless it runs, and draw the page anew."""
    workspace = session.workspace()
    if service.state(workspace) is None:
        with st.spinner("Starting the service: it loads the models"):
            service.start(workspace, settings)
    st.rerun()


def why_none() -> str:
    """Say that no service runs, and what to do; one that died is not passed over."""
    died = service.died_at(session.workspace())
    if died is None:
        return "No service runs. Choose a model and deploy it."
    return (
        f"The service ended without being asked to, {ago(died)}. See "
        "`.lsl/serve/service.log`. Start it as it was, or deploy a model."
    )


def running(drawn: object) -> None:
    """Draw the running service, anew every few seconds; `drawn` is what stands around this."""
    found = service.state(session.workspace())
    if found is None or around(found) != drawn:  # it ended, or follows another choice by now
        st.rerun()
    serve_panels.functions(found)


def around(found: ServiceState) -> object:
    """Return what the cards show that may change while the page is open."""
    return [(offer.model, offer.version, offer.clicks) for offer in found.offers], found.problems


action = header("Serve", "Let people call a model inside CVAT, with no Nuclio and no Docker.")
models = versions.list_models(session.workspace())
state = service.state(session.workspace())
if not models:
    empty("Serve a model so annotators can call it inside CVAT", "No model is trained yet.",
          icon=":material/cell_tower:", page="pages/train.py", label="Train a model")  # fmt: skip
else:
    left, right = st.columns([2, 5], gap="medium")
    place = right.container()
    with left, st.container(border=True):
        deploy(models, place)
    with right:
        if state is None:
            empty("Serve a model so annotators can call it inside CVAT", why_none(),
                  icon=":material/cell_tower:")  # fmt: skip
        else:
            st.fragment(running, run_every=3)(around(state))
            serve_panels.cards(state)
            with st.expander("What CVAT needs", icon=":material/lan:"):
                serve_panels.for_cvat(state)
            if state.offers:
                with st.expander("Test with an image", icon=":material/image:", expanded=True):
                    serve_panels.trial(state)
    if state is not None:
        with action:
            serve_panels.stop(state)
