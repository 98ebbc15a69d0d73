"""The dashboard: which pages there are, and the frame around them."""

from __future__ import annotations

import os
from pathlib import Path

import streamlit as st

from lsl_core.ui import frame

st.set_page_config(page_title="LSL", page_icon=frame.ICON, layout="wide")


def connect() -> None:
    """Lead from the address that the first page would have to the one that it has, the root."""
    st.switch_page("pages/connect.py")


has_workspace = frame.enter(Path(os.environ.get("LSL_WORKSPACE") or "."))
page = st.navigation(
    {
        "Data": [
            st.Page("pages/connect.py", title="Connect", icon=":material/lan:", url_path="start"),
            st.Page(connect, visibility="hidden"),
            st.Page("pages/tasks.py", title="Tasks", icon=":material/view_list:"),
            st.Page("pages/sources.py", title="Sources", icon=":material/photo_library:"),
        ],
        "Model": [
            st.Page("pages/train.py", title="Train", icon=":material/model_training:"),
            st.Page("pages/preview.py", title="Preview", icon=":material/preview:"),
            st.Page("pages/push.py", title="Push", icon=":material/cloud_upload:"),
            st.Page("pages/review.py", title="Review", icon=":material/rate_review:"),
            st.Page("pages/serve.py", title="Serve", icon=":material/cell_tower:"),
        ],
        "Work": [
            st.Page("pages/backups.py", title="Backups", icon=":material/backup:"),
            st.Page("pages/activity.py", title="Activity", icon=":material/pending_actions:"),
        ],
    },
    position="sidebar" if has_workspace else "hidden",
)
if has_workspace:
    frame.show(page)
