"""Serve: let CVAT's annotators use a model inside CVAT, see how that goes, go back."""

from __future__ import annotations

import streamlit as st

from lsl_core.services import modelling, offers, serving
from lsl_core.services.modelling import ModelCard
from lsl_core.services.offers import Offer
from lsl_core.ui import keys, serve_panels, session
from lsl_core.ui.errors import errors_shown
from lsl_core.ui.layout import empty, header

FOLLOW = "always the best"


def deploy(cards: list[ModelCard]) -> None:
    """Ask which version of which model is offered, and offer it."""
    names = list(dict.fromkeys(card.name for card in cards))
    name = st.selectbox("Model", names, key=keys.SERVE_MODEL)
    versions = [card.id for card in cards if card.name == name]
    version = st.selectbox(
        "Version", [None, *versions], key=keys.SERVE_VERSION, format_func=lambda v: v or FOLLOW,
        help="A newer version takes over unless its AP on held-out images is lower.",
    )  # fmt: skip
    own = st.checkbox("At the model's own score thresholds", value=True)
    threshold = None if own else st.slider(
        "Lowest score", 0.05, 1.0, 0.5, 0.01, key=keys.SERVE_THRESHOLD
    )  # fmt: skip
    clicks = serve_panels.clicks_choice()
    st.caption("A threshold that somebody chooses in CVAT wins over this.")
    if st.button(
        f"Deploy {name}", type="primary", key=keys.SERVE_DEPLOY, icon=":material/rocket_launch:",
        width="stretch",
    ):  # fmt: skip
        with errors_shown():
            workspace = session.workspace()
            offers.deploy(workspace, Offer(name, version, threshold=threshold, clicks=clicks))
            if serving.state(workspace) is None:
                with st.spinner("Starting the service"):
                    serving.start(workspace, serving.last_settings(workspace))
            st.toast(f"{name} is offered; a running service follows within seconds.")
            st.rerun()


def resume() -> None:
    """Offer to start a service that has offers but does not run."""
    workspace = session.workspace()
    if offers.list_offers(workspace) and st.button(
        "Start the service", key=keys.SERVE_START, icon=":material/play_arrow:"
    ):
        with errors_shown(), st.spinner("Starting the service"):
            serving.start(workspace, serving.last_settings(workspace))
            st.rerun()


def running() -> None:
    """Draw the running service, anew every few seconds."""
    found = serving.state(session.workspace())
    if found is None:  # it ended meanwhile: all that stands around this is no longer true
        st.rerun()
    serve_panels.functions(found)


action = header("Serve", "Let people call a model inside CVAT, with no Nuclio and no Docker.")
models = modelling.list_models(session.workspace())
state = serving.state(session.workspace())
if not models:
    empty("Serve a model so annotators can call it inside CVAT", "No model is trained yet.",
          icon=":material/cell_tower:", page="pages/train.py", label="Train a model")  # fmt: skip
else:
    left, right = st.columns([2, 5], gap="medium")
    with left, st.container(border=True):
        deploy(models)
    with right:
        if state is None:
            empty("Serve a model so annotators can call it inside CVAT",
                  "No service runs.", icon=":material/cell_tower:")  # fmt: skip
            resume()
        else:
            st.caption(f"The service is at `{state.url}`.")
            st.fragment(running, run_every=3)()
            for offer in state.offers:
                serve_panels.offer_card(offer)
            with st.expander("What CVAT needs", icon=":material/lan:"):
                serve_panels.for_cvat(state)
            with st.expander("Test with an image", icon=":material/image:", expanded=True):
                serve_panels.trial(state)
    if state is not None:
        with action:
            serve_panels.stop(state)
