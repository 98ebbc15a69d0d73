"""What a person decides about a version: keep it under a name, use it, discard it, take it back."""

from __future__ import annotations

import streamlit as st

from lsl_core.services.models import versions
from lsl_core.types import ModelCard, Verdict
from lsl_core.ui import keys, runs, session
from lsl_core.ui.errors import errors_shown
from lsl_core.ui.formats import ago, plural
from lsl_core.ui.layout import escaped


def is_new(card: ModelCard) -> bool:
    """Return whether the newest training made this version, and nobody decided about it yet."""
    run = runs.latest("train")
    made = run is not None and run.result.get("model") == card.id
    return made and not versions.is_decided(session.workspace(), card)


def standing(card: ModelCard) -> None:
    """Say whether a version is in use, or offer to use it."""
    if card.id in versions.current_ids(session.workspace()):
        st.badge("In use", icon=":material/check:", color="green")
    elif not is_new(card) and st.button(
        "Use this version", icon=":material/published_with_changes:", key=keys.TRAIN_USE,
        help="Previews, pushes and offers take it from then on. The other versions stay.",
    ):  # fmt: skip
        versions.make_current(session.workspace(), card.id)
        st.rerun()


def decide(card: ModelCard) -> None:
    """Ask what becomes of a version that was just trained."""
    worse = card.comparison is not None and card.comparison.verdict is Verdict.WORSE
    meant = versions.get_model(session.workspace(), card.name)
    if meant.id == card.id:
        now = f"**{escaped(card.name)}** means it from now on."
    else:
        why = ", since this one is worse" if worse else ""
        now = f"**{escaped(card.name)}** still means {escaped(meant.id)}{why}."
    with st.container(key=keys.TRAIN_KEEP + "-row"):
        st.markdown(f":material/new_releases: **{escaped(card.id)} is trained.** {now}")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            _name(card, "Keep it as", "Keep all the same" if worse else "Keep")
            _discard(card)


def change(card: ModelCard) -> None:
    """Offer another name, and the trash."""
    with st.container(horizontal=True):
        with st.popover("Rename", icon=":material/edit:"):
            _name(card, "Name", "Rename")
        _discard(card)


def discarded() -> None:
    """List the versions in the trash, each with the way back."""
    found = versions.discarded(session.workspace())
    if not found:
        return
    with st.expander(plural(len(found), "discarded version"), icon=":material/delete:"):
        st.caption("They lie in `.lsl/trash/models` until somebody empties it.")
        for one in found[:20]:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown(f"**{escaped(one.card.id)}** · discarded {ago(one.at)}")
                if st.button(
                    "Bring back", icon=":material/undo:",
                    key=f"{keys.TRAIN_BACK}-{one.folder.name}",
                ):  # fmt: skip
                    with errors_shown():
                        versions.bring_back(session.workspace(), one.card.id)
                        st.rerun()


def _name(card: ModelCard, label: str, verb: str) -> None:
    name = st.text_input(
        label, card.name, key=f"{keys.TRAIN_KEEP_NAME}-{card.id}", max_chars=64, width=240,
        help="Under another name it is in use there, and the versions before stay under theirs.",
    )  # fmt: skip
    if st.button(
        verb, icon=":material/check:", key=f"{keys.TRAIN_KEEP}-{card.id}", disabled=not name.strip()
    ):
        with errors_shown():
            versions.keep(session.workspace(), card.id, name.strip())
            st.rerun()


def _discard(card: ModelCard) -> None:
    with st.popover("Discard", icon=":material/delete:"):
        after = _after(card)
        st.markdown(
            f"**{escaped(card.id)}** goes to the trash. {after} Its previews stay. You can bring "
            "it back below the list of models."
        )
        if st.button(f"Discard {card.id}", key=keys.TRAIN_DISCARD):
            with errors_shown():
                versions.remove_model(session.workspace(), card.id)
                st.toast(f"{card.id} is discarded. Bring it back below the list of models.")
                st.rerun()


def _after(card: ModelCard) -> str:
    """Say what the name means when this version is gone."""
    workspace = session.workspace()
    if card.id not in versions.current_ids(workspace):
        return ""
    others = [c for c in versions.list_models(workspace) if c.name == card.name and c != card]
    if not others:
        return f"No other version of {escaped(card.name)} is there."
    before = [choice.model for choice in versions.choices(workspace, card.name)]
    ids = {other.id for other in others}
    known = next((escaped(model) for model in before if model in ids), "An older version")
    return f"{known} is in use again."
