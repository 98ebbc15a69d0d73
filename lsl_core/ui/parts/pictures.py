"""Pictures of held-out images, as people drew them and as a model sees them."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from lsl_core.services.models.training_pictures import SHOWN_FROM, Change, Picture
from lsl_core.ui.formats import ago
from lsl_core.ui.layout import escaped
from lsl_core.words import plural


def row(pictures: Sequence[Picture]) -> None:
    """Draw pictures side by side, with counts and their age."""
    if not pictures:
        return
    newest = max(one.made for one in pictures)
    st.caption(
        f"Images that it had not learnt, {ago(newest)}: found in colour, from score "
        f"{SHOWN_FROM:.2f} up; drawn by people, dashed."
    )
    for place, one in zip(st.columns(len(pictures), gap="small"), pictures, strict=True):
        with place:
            st.image(
                one.jpeg, width="stretch",
                alt=f"{one.name}: {plural(one.num_drawn, 'object')} drawn, {one.num_found} found",
            )  # fmt: skip
            st.caption(f"{escaped(one.name)} · {one.num_drawn} drawn, {one.num_found} found")


def changes(found: Sequence[Change], *, before: str, after: str) -> None:
    """Draw where two versions differ most, side by side."""
    if not found:
        return
    with st.expander("Where it changed most", icon=":material/compare:"):
        for one in found:
            left, right = st.columns(2, gap="small")
            rows = (
                (left, before, one.before, one.right_before, one.wrong_before),
                (right, after, one.after, one.right_after, one.wrong_after),
            )
            for place, model, jpeg, num_right, num_wrong in rows:
                words = f"{num_right} of {one.num_drawn} found, {num_wrong} wrong"
                with place:
                    st.image(jpeg, width="stretch", alt=f"{one.name} by {model}: {words}")
                    st.caption(f"**{escaped(model)}** · {escaped(one.name)} · {words}")
