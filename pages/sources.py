"""Sources: the labelled images that models learn from."""

from __future__ import annotations

import tempfile
from pathlib import Path

import streamlit as st

from lsl_core.errors import LslError, UserInput
from lsl_core.services import sourcing
from lsl_core.ui import address, cached, keys, runs, session
from lsl_core.ui.errors import error_card, errors_shown
from lsl_core.ui.layout import empty, header
from lsl_core.ui.parts import source_panels


def import_files() -> None:
    """Take a COCO file and its images from the viewer's machine."""
    with st.form("coco", clear_on_submit=True):
        name = st.text_input("Name of the source", key=keys.SOURCES_NEW_NAME)
        coco = st.file_uploader("COCO annotations", type="json", key=keys.SOURCES_COCO)
        images = st.file_uploader(
            "Images", type=["jpg", "jpeg", "png", "tif", "tiff", "bmp", "webp"],
            accept_multiple_files=True, key=keys.SOURCES_FILES,
        )  # fmt: skip
        if not st.form_submit_button("Import", key=keys.SOURCES_UPLOAD):
            return
    try:
        if not name or coco is None or not images:
            raise UserInput(
                "A name, a COCO file and its images are needed.", hint="Choose all three."
            )
        with tempfile.TemporaryDirectory() as folder, st.spinner("Importing…", show_time=True):
            annotation = Path(folder) / "annotations.json"
            annotation.write_bytes(coco.getvalue())
            (Path(folder) / "images").mkdir()
            for image in images:
                # the browser's name is a person's text: only its last part may name a file
                (Path(folder) / "images" / Path(image.name).name).write_bytes(image.getvalue())
            imported = sourcing.import_coco(
                session.workspace(), name=name, images=Path(folder) / "images",
                annotation=annotation,
            )  # fmt: skip
    except LslError as error:
        error_card(error)
        return
    for what, why in imported.left_out:
        st.warning(f"{what} was left out: {why}", icon=":material/warning:")
    address.remember(keys.SOURCE, name)
    if not imported.left_out:
        st.rerun()


action = header(
    "Sources", "The labelled images that a model learns from: 1–20 per label are enough."
)
found = sourcing.list_sources(session.workspace())
names = [info.name for info in found]
with action.popover("Import COCO files", icon=":material/upload_file:"):
    import_files()
if not found:
    empty(
        "The labelled images of this workspace",
        "There are none yet: import a labelled CVAT task, or COCO files with the button above.",
        page="pages/tasks.py",
        label="Choose a labelled task",
    )
else:
    name = address.opened(keys.SOURCE, names)
    st.session_state[keys.SOURCES_PICK] = name
    st.segmented_control(
        "Source", names, key=keys.SOURCES_PICK, required=True, label_visibility="collapsed",
        on_change=address.follow, args=(keys.SOURCE, keys.SOURCES_PICK),
    )  # fmt: skip
    with errors_shown():
        info = found[names.index(name)]
        source = cached.source(session.workspace(), name, info.created)
        run = runs.latest("export", f"{name} as")
        if run is not None:
            runs.panel(run.id)
        left, right = st.columns([5, 2], gap="medium")
        with left:
            source_panels.gallery(source)
        with right, st.container(border=True):
            source_panels.about(source)
            source_panels.new_task(info)
            if info.is_labelled:
                st.page_link(
                    "pages/train.py", label=f"Train on {name}", icon=":material/model_training:",
                    query_params={keys.SOURCE: name},
                )  # fmt: skip
