"""Train: make a model from a source, watch it learn, compare it with the others."""

from __future__ import annotations

import streamlit as st

from lsl_core.errors import UserInput
from lsl_core.services import activity, sourcing
from lsl_core.services.models import training, training_cost, versions
from lsl_core.services.sourcing import SourceInfo
from lsl_core.types import MODES, Geometry, Mode
from lsl_core.ui import address, keys, runs, session
from lsl_core.ui.errors import errors_shown
from lsl_core.ui.formats import duration, plural
from lsl_core.ui.layout import empty, escaped, header
from lsl_core.ui.parts import model_panels, next_panel, version_panel
from lsl_core.ui.parts.start_panel import choose_start


def choose_mode(info: SourceInfo) -> Mode:
    """Ask what the model shall give, and warn when the source does not teach that."""
    modes = training.modes()
    first = session.workspace().settings().mode
    mode = st.selectbox(
        "Give", modes, index=modes.index(first) if first in modes else 0, key=keys.TRAIN_MODE,
        format_func=lambda m: f"{MODES[m].gives.value} ({m})",
        persist_state="session",
        help="Masks are learnt from drawn masks or polygons, boxes from either.",
    )  # fmt: skip
    st.caption(MODES[mode].title.capitalize())
    if MODES[mode].learns_from is Geometry.MASKS and info.num_masks < info.num_objects:
        boxes = info.num_objects - info.num_masks
        st.warning(
            f"Drawn as boxes: {plural(boxes, 'object')} of this source. Choose boxes, or draw "
            "masks in CVAT.", icon=":material/warning:",
        )  # fmt: skip
    return mode


def choose_time(others: list[str], num_images: int) -> tuple[float, str | None, bool]:
    """Ask for the minutes of training, the source to measure on, and for a curve over shots."""
    with st.expander("Time and evidence", type="compact", key="train-more"):
        minutes = st.slider(
            "Training time, minutes", 0.5, 30.0, training.DEFAULT_MINUTES, 0.5,
            key=keys.TRAIN_MINUTES, persist_state="session",
            help="Ten images are learnt in about two minutes on a quiet CPU, in less on a GPU.",
        )  # fmt: skip
        valid = st.selectbox(
            "Measure on", [None, *others], key=keys.TRAIN_VALID,
            format_func=lambda n: n or "these images, each left out once",
        )  # fmt: skip
        can = valid is None and num_images > 2
        shots = st.checkbox(
            "See what more images bring", key=keys.TRAIN_SHOTS, disabled=not can,
            help="The trainings that measure learn a quarter and a half of their images as well. "
            "That takes two fifths of the training time.",
        )  # fmt: skip
    return minutes, valid, shots and can


def say_cost(family: str, minutes: float) -> None:
    """Say what the training will take here, and how that is known."""
    cost = training_cost.estimate(session.workspace(), family=family)
    if cost is None:
        around = "then it loads and measures. How many steps that gives is known after the first"
        st.caption(f":material/timer: At most {duration(minutes * 60)} of steps, {around}. You may "
                   "close the page: it goes on.")  # fmt: skip
        return
    st.caption(
        f":material/timer: **{duration(minutes * 60 + cost.around_s)}** at most: "
        f"{duration(minutes * 60)} for about {cost.steps(minutes):,} steps, "
        f"{duration(cost.around_s)} to load, measure and compare. As measured on this machine, "
        f"{plural(cost.num_trainings, 'training')}. You may close the page: it goes on."
    )


def order(found: list[SourceInfo]) -> None:
    """Ask what to train, say what it will cost, and start it."""
    workspace = session.workspace()
    names = [info.name for info in found]
    st.session_state[keys.TRAIN_SOURCE] = address.opened(keys.SOURCE, names)
    name = st.selectbox(
        "Learn from", names, key=keys.TRAIN_SOURCE,
        on_change=address.follow, args=(keys.SOURCE, keys.TRAIN_SOURCE),
    )  # fmt: skip
    info = found[names.index(name)]
    st.caption(
        f"{plural(info.num_images, 'image')} · {plural(info.num_objects, 'object')} of "
        f"{', '.join(escaped(label) for label in info.labels)}"
    )
    mode = choose_mode(info)
    family, bases, is_ready = choose_start(mode)
    model = st.text_input(
        "Name of the model", name, key=f"{keys.TRAIN_NAME}-{name}", max_chars=64,
        help="A name that exists gets a new version; older versions stay.",
    )  # fmt: skip
    others = [other for other in names if other != name]
    minutes, valid, shots = choose_time(others, info.num_images)
    say_cost(family, minutes)
    if st.button(
        f"Train {model}", type="primary", icon=":material/model_training:", key=keys.TRAIN_GO,
        width="stretch", disabled=not is_ready,
    ):  # fmt: skip
        with errors_shown():
            if not model:
                raise UserInput("The model has no name.", hint="Give it one.")
            activity.submit_training(
                workspace, source=name, name=model, mode=mode, owner=session.owner(),
                valid=valid, minutes=minutes, family=family, bases=bases, shots=shots,
            )  # fmt: skip
            st.rerun()


header("Train", "Make a model from a few labelled images, and see whether it got better.")
sources = [info for info in sourcing.list_sources(session.workspace()) if info.is_labelled]
cards = versions.list_models(session.workspace())
left, right = st.columns([2, 5], gap="medium")
with left:
    if sources:
        with st.container(border=True):
            order(sources)
    else:
        empty("A model needs labelled images", "There is no labelled source yet.",
              page="pages/sources.py", label="Get labelled images")  # fmt: skip
with right:
    run = runs.latest("train")
    is_done = run is not None and run.phase == "done"
    if run is not None and (not is_done or not cards):
        model_panels.trainings(run)
    if cards:
        chosen = model_panels.models(cards)
        next_panel.label_next(chosen)
    elif run is None:
        empty("Your models", "None is trained yet. Two labelled images are enough to begin; ten "
              "make a good one.", icon=":material/model_training:")  # fmt: skip
    if run is not None and is_done:
        model_panels.watch(run)
    version_panel.discarded()
