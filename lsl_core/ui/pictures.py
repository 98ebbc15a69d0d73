"""Pictures of held-out images, as people drew them and as a model sees them."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from lsl_core.services.training_pictures import SHOWN_FROM, Picture
from lsl_core.ui.formats import ago
from lsl_core.ui.layout import escaped


def row(pictures: Sequence[Picture]) -> None:
    """Draw pictures side by side, with counts and their age."""
    if not pictures:
        return
    newest = max(one.made for one in pictures)
    st.caption(
        f"Images it does not learn from, {ago(newest)}: found in colour, from score "
        f"{SHOWN_FROM:.2f} up; drawn by people, dashed."
    )
    for place, one in zip(st.columns(len(pictures), gap="small"), pictures, strict=True):
        with place:
            st.image(
                one.jpeg, width="stretch",
                alt=f"{one.name}: {one.num_drawn} objects drawn, {one.num_found} found",
            )  # fmt: skip
            st.caption(f"{escaped(one.name)} · {one.num_drawn} drawn, {one.num_found} found")
