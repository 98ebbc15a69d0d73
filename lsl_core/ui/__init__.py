"""The only room in `lsl_core` that knows Streamlit: what pages share, and `parts` of one page."""
