"""The first two steps of the Push page: where labels go, and how shapes are drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd
import streamlit as st

from lsl_core.services.catalogue import CvatLabel, LabelAttribute, TaskInfo
from lsl_core.services.connections import CvatSession
from lsl_core.services.labelling import pushing
from lsl_core.services.labelling.previewing import PreviewInfo
from lsl_core.services.labelling.pushing import Cleaning, PushChoices, PushMode
from lsl_core.ui import keys, session
from lsl_core.ui.layout import escaped

LEAVE_OUT = "– leave out –"
CREATE = "– new label –"
MODES = {
    PushMode.ADD: ("Add", "Shapes are added; everything that is there stays."),
    PushMode.REPLACE_OWN: (
        "Replace our own earlier push",
        "Ours that nobody edited goes, then shapes are added.",
    ),
    PushMode.REPLACE_AUTOMATIC: (
        "Replace automatic shapes",
        "All with source “auto” that nobody edited go, then shapes are added.",
    ),
    PushMode.REPLACE_EVERYTHING: (
        "Replace everything",
        ":red[What people drew goes too.] Asks for the number of the task.",
    ),
}


def mapping_editor(
    cvat: CvatSession,
    info: PreviewInfo,
    task: TaskInfo,
    targets: list[str],
    counts: Mapping[str, tuple[int, int]],
) -> PushChoices | None:
    """Draw where each label of the model goes; None while one with objects has no place."""
    saved = pushing.label_map(session.workspace(), url=cvat.url, task_id=task.id)
    table = pd.DataFrame(
        {
            "Model label": list(info.labels),
            "Objects shown": [counts[label][0] for label in info.labels],
            "Label in CVAT": [_place(label, targets, saved) for label in info.labels],
        }
    )
    edited = st.data_editor(
        table,
        key=f"{keys.PUSH_MAPPING}-{info.id}",
        hide_index=True,
        disabled=["Model label", "Objects shown"],
        column_config={
            "Objects shown": st.column_config.NumberColumn(format="localized"),
            "Label in CVAT": st.column_config.SelectboxColumn(
                options=[*targets, CREATE, LEAVE_OUT],
                help="Where the objects go; a new label has the model's name",
            ),
        },
        alt="Where each label of the model goes",
    )
    chosen = dict(zip(info.labels, edited["Label in CVAT"].tolist(), strict=True))
    missing = [
        label for label in info.labels if not isinstance(chosen[label], str) and counts[label][0]
    ]
    for label in missing:
        _offer(info, task, label)
    if missing:
        return None
    return PushChoices(
        mapping={label: _target(label, place) for label, place in chosen.items()},
        create=tuple(label for label, place in chosen.items() if place == CREATE),
    )


def _target(label: str, place: object) -> str | None:
    """Return the label of the task that a choice of the table means, None for leaving out."""
    if place == CREATE:
        return label
    return place if isinstance(place, str) and place != LEAVE_OUT else None


def _place(label: str, targets: list[str], saved: Mapping[str, str | None]) -> str | None:
    """Return where a label goes unless somebody says otherwise: as last time, or by its name."""
    wanted = saved.get(label, label)
    if wanted is None:
        return LEAVE_OUT
    if wanted in targets:
        return wanted
    return CREATE if label in st.session_state.get(keys.PUSH_CREATE, ()) else None


def _offer(info: PreviewInfo, task: TaskInfo, label: str) -> None:
    """Say that a label has no place, and offer a new one, which the push makes."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(
            f":orange[:material/warning:] The task has no label “{escaped(label)}”: choose one "
            "in the table, leave its objects out, or",
            width="stretch",
        )
        where = f"project “{task.project}”, so every task of it gets it" if task.project else "task"
        st.button(
            f"Create “{label}”", key=f"{keys.PUSH_CREATE}-{label}", icon=":material/new_label:",
            on_click=_create, args=(info, label),
            help=f"The push adds the label to the {where}; until then nothing is written.",
        )  # fmt: skip


def _create(info: PreviewInfo, label: str) -> None:
    st.session_state[keys.PUSH_CREATE] = {*st.session_state.get(keys.PUSH_CREATE, ()), label}
    # the table begins anew: its cells hold what was chosen before
    st.session_state.pop(f"{keys.PUSH_MAPPING}-{info.id}", None)


def mode_choice() -> PushMode:
    """Draw what happens to shapes that are there."""
    mode = st.radio(
        "How", list(MODES), key=keys.PUSH_MODE, label_visibility="collapsed",
        format_func=lambda m: MODES[m][0], captions=[words for _, words in MODES.values()],
    )  # fmt: skip
    return PushMode(mode)


def shape_choices(*, has_masks: bool) -> PushChoices:
    """Draw how shapes are drawn and what is tidied before; all folded away, since few need it."""
    if not has_masks:
        return pushing.AS_USUAL
    with st.expander("Masks as they are, or tidied; polygons"):
        drawn = st.segmented_control(
            "Draw as", ["Masks", "Polygons"], default="Masks", required=True, key=keys.PUSH_DRAW,
            help="Where a label takes any shape. Polygons have no holes; what they lose is said "
            "below.",
        )  # fmt: skip
        tolerance = 0.0
        if drawn == "Polygons":
            tolerance = st.slider(
                "Simpler by up to, pixels", 0.0, 5.0, 1.0, 0.5, key=keys.PUSH_TOLERANCE,
                help="0 follows every pixel, with many corners.",
            )  # fmt: skip
        left, middle, right = st.columns(3)
        strays = left.number_input("Drop strays below, px", 0, 10_000, 0, key=keys.PUSH_STRAYS)
        holes = middle.number_input("Fill holes below, px", 0, 10_000, 0, key=keys.PUSH_HOLES)
        smooth = right.number_input("Smooth, radius px", 0, 10, 0, key=keys.PUSH_SMOOTH)
    return PushChoices(
        polygons=drawn == "Polygons",
        tolerance=float(tolerance),
        cleaning=Cleaning(int(strays), int(holes), int(smooth)),
    )


def attribute_values(
    labels: Iterable[CvatLabel], mapping: Mapping[str, str | None]
) -> dict[str, dict[str, str]]:
    """Draw the attributes that new shapes get, label by label, and return what was changed."""
    with_some = [one for one in labels if one.attributes and one.name in mapping.values()]
    values: dict[str, dict[str, str]] = {}
    if not with_some:
        return values
    with st.expander("Attributes of new shapes"):
        for label in with_some:
            for attribute in label.attributes:
                value = _attribute(label, attribute)
                if value != attribute.default:
                    values.setdefault(label.name, {})[attribute.name] = value
    return values


def _attribute(label: CvatLabel, attribute: LabelAttribute) -> str:
    title, key = f"{label.name}: {attribute.name}", f"{keys.PUSH_ATTRIBUTE}-{attribute.id}"
    options = list(attribute.values)
    if attribute.input_type == "checkbox":
        options = ["false", "true"]
    if attribute.input_type in ("select", "radio", "checkbox") and options:
        at = options.index(attribute.default) if attribute.default in options else 0
        return str(st.selectbox(title, options, index=at, key=key))
    return st.text_input(title, attribute.default, key=key) or ""
