"""Primary buttons under our rules of style."""

import streamlit as st

from lsl_core.ui.layout import style

style()
st.button("Push 3 masks", type="primary", key="can")
st.button("Push none", type="primary", key="cannot", disabled=True)
st.popover("Push more", type="primary", key="more")
