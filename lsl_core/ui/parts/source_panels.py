"""One source on the Sources page: its images with objects drawn, its figures and warnings."""

from __future__ import annotations

import numpy as np
import streamlit as st

from lsl_core.services import activity, sourcing
from lsl_core.services.labelling import previewing
from lsl_core.services.labelling.exporting import TaskOptions
from lsl_core.services.sourcing import Source, SourceInfo
from lsl_core.ui import address, cached, charts, keys, session
from lsl_core.ui.errors import errors_shown
from lsl_core.ui.formats import ago, plural
from lsl_core.ui.layout import escaped, facts

#: Pictures on one page of the gallery.
PER_PAGE = 8


def origin(info: SourceInfo) -> str:
    """Say where a source came from."""
    if info.origin.get("kind") == "cvat":
        return f"CVAT task {info.origin['task_id']} “{escaped(str(info.origin['task']))}”"
    return "COCO files" if info.is_labelled else "a folder of images"


def gallery(source: Source) -> None:
    """Draw the images with their objects, page by page, all labels or one."""
    labels = ["all labels", *source.labels.names]
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    label = left.pills("Show", labels, default="all labels", required=True, key=keys.SOURCES_LABEL)
    wanted = labels.index(str(label)) - 1
    shown = [
        i
        for i, image in enumerate(source.images)
        if wanted < 0 or (image.instances.class_ids == wanted).any()
    ]
    pages = max(1, -(-len(shown) // PER_PAGE))
    with right.container(horizontal_alignment="right"):
        page = st.pagination(pages, key=keys.SOURCES_PAGE) if pages > 1 else 1
    with st.container(key="gallery"):
        on_page = shown[(page - 1) * PER_PAGE : page * PER_PAGE]
        places = [c for _ in range(0, len(on_page), 4) for c in st.columns(4, gap="xsmall")]
        for place, i in zip(places, on_page, strict=False):
            image = source.images[i]
            place.image(
                cached.source_thumbnail(source, i, 420),
                caption=f"{image.ref.name} · {plural(len(image.instances), 'object')}",
                width="stretch",
                alt=f"{image.ref.name} with its objects drawn",
            )


def about(source: Source) -> None:
    """Draw what a source holds, what to watch out for, and what can be done with it."""
    info = source.info
    facts(
        [
            ("From", origin(info)),
            ("Images", f"{info.num_images:,}"),
            ("Objects", f"{info.num_objects:,}, {info.num_masks:,} of them with a mask"),
            ("Imported", ago(info.created)),
        ]
    )
    if info.num_objects:
        ids = [image.instances.class_ids for image in source.images]
        counts = np.bincount(np.concatenate(ids), minlength=len(info.labels))
        st.plotly_chart(
            charts.objects_by_label(dict(zip(info.labels, counts.tolist(), strict=True))),
            config=charts.CONFIG,
            alt="Objects of each label",
        )
    warnings = sourcing.warnings(source)
    for warning in warnings:
        st.markdown(f":orange[:material/warning:] {escaped(warning)}")
    if not warnings and info.is_labelled:
        st.markdown(":green[:material/check_circle:] No warnings")
    manage(info)


def new_task(info: SourceInfo) -> None:
    """Offer to make a CVAT task of a source, with what people drew or a model found."""
    cvat = session.connection()
    if cvat is None:
        return
    previews = previewing.list_previews(session.workspace())
    models = [p.model_id for p in previews if p.source == info.name and p.is_complete]
    offers = ([None] if info.is_labelled else []) + list(dict.fromkeys(models))
    with st.popover("Make a CVAT task", icon=":material/cloud_upload:", disabled=not offers,
                    help="Of labelled images, or of those a model has labelled."):  # fmt: skip
        where = cvat.organisation or "your personal workspace"
        st.caption(f"It goes to {escaped(where)} at {cvat.url}.")
        with st.form("new-task", border=False):
            name = st.text_input("Name", info.name, key=f"{keys.SOURCES_TASK}-name")
            drawn = st.selectbox(
                "Draw", offers, key=f"{keys.SOURCES_TASK}-model",
                format_func=lambda model: f"what {model} found" if model else "what people drew",
            )  # fmt: skip
            options = _task_options()
            if st.form_submit_button("Make the task", type="primary", key=keys.SOURCES_TASK_GO):
                with errors_shown():
                    activity.submit_export(session.workspace(), cvat, source=info.name,
                                           model=drawn, cvat_name=str(name).strip(),
                                           options=options)  # fmt: skip
                    st.rerun()


def _task_options() -> TaskOptions:
    left, right = st.columns(2)
    size = left.number_input("Images in a job", 1, None, None, key=f"{keys.SOURCES_TASK}-size",
                             placeholder="all")  # fmt: skip
    overlap = right.number_input("Shared by jobs", 0, None, None, placeholder="none",
                                 key=f"{keys.SOURCES_TASK}-overlap")  # fmt: skip
    project = left.number_input("Project number", 1, None, None, placeholder="none",
                                key=f"{keys.SOURCES_TASK}-project",
                                help="The task has the labels of its project.")  # fmt: skip
    subset = right.text_input("Subset", key=f"{keys.SOURCES_TASK}-subset",
                              placeholder="Train, Validation, Test …")  # fmt: skip
    quality = st.slider("Quality of the pictures that annotators see", 1, 100, 80,
                        key=f"{keys.SOURCES_TASK}-quality",
                        help="The originals stay, and are what models see.")  # fmt: skip
    return TaskOptions(project, size, overlap, (subset or "").strip(), int(quality))


def manage(info: SourceInfo) -> None:
    """Offer to rename or remove a source."""
    with st.container(horizontal=True):
        with st.popover("Rename", icon=":material/edit:"), st.form("rename", border=False):
            name = st.text_input("New name", info.name, key=f"{keys.SOURCES_NAME}-{info.name}")
            if st.form_submit_button("Rename", key=keys.SOURCES_RENAME):
                with errors_shown():
                    sourcing.rename_source(session.workspace(), info.name, name or "")
                    address.remember(keys.SOURCE, name or "")
                    st.rerun()
        with st.popover("Remove", icon=":material/delete:"):
            st.markdown(
                f"**{escaped(info.name)}** with {plural(info.num_images, 'image')} goes to the "
                "workspace's trash, `.lsl/trash/sources`. Move its folder back to have it again. "
                "Models trained on it stay."
            )
            if st.button(f"Remove “{info.name}”", key=keys.SOURCES_REMOVE):
                sourcing.remove_source(session.workspace(), info.name)
                st.toast(f"“{info.name}” lies in the trash.")
                st.rerun()
