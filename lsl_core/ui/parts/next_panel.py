"""Label next on the Train page: the images that would teach a model most, with the way to them."""

from __future__ import annotations

import streamlit as st

from lsl_core.errors import LslError, UserInput
from lsl_core.services.labelling import previewing
from lsl_core.services.labelling.label_next import NextImage
from lsl_core.services.labelling.previewing import PreviewInfo
from lsl_core.types import ModelCard
from lsl_core.ui import cached, keys, previews, session
from lsl_core.ui.errors import error_card, errors_shown
from lsl_core.ui.layout import escaped

#: Images that are proposed at once: an hour or two of drawing.
PROPOSED = 6


def label_next(card: ModelCard) -> None:
    """Draw which images to label next, from what the model found last."""
    st.subheader("Label these next", anchor=False)
    known = previewing.list_previews(session.workspace())
    info = next((i for i in known if i.model_id == card.id and i.is_complete), None)
    if info is None:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(
                f"Let {escaped(card.id)} look at images that nobody has labelled: then the ones "
                "that would teach it most stand here."
            )
            if st.button("Preview a task", icon=":material/preview:", key=keys.NEXT_PREVIEW):
                st.switch_page("pages/preview.py", query_params={keys.MODEL: card.id})
        return
    try:
        found = cached.label_next(session.connection(), session.workspace(), info)
    except UserInput as error:  # all are labelled: nothing to mend
        st.caption(f":material/check: {escaped(error.message)}")
        return
    except LslError as error:
        error_card(error)
        return
    st.caption(
        f"Of {escaped(previews.title_of(info))}: where the model is unsure, and what looks unlike "
        "the images that are labelled. Expect a little from it: 0.01 to 0.02 AP over images taken "
        "at random in our measurements, less than two trainings differ."
    )
    with st.container(key=keys.NEXT_STRIP):
        for place, one in zip(st.columns(PROPOSED, gap="small"), found, strict=False):
            with place:
                _proposal(info, one)


def _proposal(info: PreviewInfo, one: NextImage) -> None:
    """Draw one image with its reason, and the link to label it."""
    cvat = session.connection()
    st.image(
        cached.frame_thumbnail(session.workspace(), info.id, one.frame),
        width="stretch", alt=f"Frame {one.frame}, {one.name}",
    )  # fmt: skip
    if cvat is not None and info.task_id is not None and info.url == cvat.url:
        with errors_shown():
            st.link_button(
                f"Frame {one.frame}", cached.frame_link(cvat, info.task_id, one.frame),
                icon=":material/open_in_new:", help="Label it in CVAT", width="stretch",
            )  # fmt: skip
    st.caption(f"**{one.rank} · {escaped(one.name)}**  \n{escaped(one.why)}")
