"""Parts of the Serve page: what is offered, how it goes, what CVAT needs, a trial."""

from __future__ import annotations

import hashlib

import pandas as pd
import streamlit as st

from lsl_core.services import offers, pretrained, serving
from lsl_core.services.serving import OfferState, ServiceState
from lsl_core.types import LabelMap
from lsl_core.ui import keys, session
from lsl_core.ui.errors import errors_shown
from lsl_core.ui.formats import ago, plural
from lsl_core.ui.layout import escaped, facts
from lsl_core.ui.viewer import pack, viewer


def clicks_choice() -> str | None:
    """Ask what answers clicks; nothing is asked where no segmenter is here."""
    offered = pretrained.offered(session.workspace())
    titles = {o.name: o.title for o in offered if o.is_here and o.role is pretrained.Role.SEGMENTER}
    if not titles:
        return None
    return st.selectbox(
        "Clicks are answered by", [None, *titles], key=keys.SERVE_CLICKS,
        format_func=lambda name: titles[name] if name else "the model's own masks",
        help="A pretrained segmenter draws whatever is clicked on, also what the model never saw.",
    )  # fmt: skip


def functions(found: ServiceState) -> None:
    """Draw how often each function was called, how long it took, and what went wrong last."""
    rows = [(offer, function) for offer in found.offers for function in offer.functions]
    st.dataframe(
        pd.DataFrame(
            {
                "Function": [f.name for _, f in rows],
                "Version": [offer.version for offer, _ in rows],
                "Offered since": [ago(offer.since) for offer, _ in rows],
                "Answers": ["clicks" if f.is_interactor else o.drawing + "s" for o, f in rows],
                "Requests": [f.requests for _, f in rows],
                "Failed": [f.failed for _, f in rows],
                "Median, s": [f.median_s for _, f in rows],
                "p95, s": [f.p95_s for _, f in rows],
            }
        ),
        hide_index=True,
        column_config={
            name: st.column_config.NumberColumn(format="%.3f") for name in ("Median, s", "p95, s")
        },
        alt="Functions that others can call",
    )
    for name, problem in found.problems.items():
        st.error(f"{escaped(name)} is not offered: {escaped(problem)}", icon=":material/error:")
    for _, function in rows:
        if function.last_error and function.last_error_at is not None:
            st.caption(
                f":material/warning: {escaped(function.name)}, {ago(function.last_error_at)}: "
                f"{escaped(function.last_error)}"
            )


def offer_card(offer: OfferState) -> None:
    """Draw one offer: its labels, and the ways to change it."""
    with st.container(border=True):
        st.markdown(f"**{escaped(offer.model)}** in version {escaped(offer.version)}")
        facts(
            [
                ("CVAT maps these labels by name", ", ".join(map(escaped, offer.labels))),
                ("Drawn as", offer.drawing),
                ("Clicks answered by", offer.clicks or "its own masks"),
                ("Runs on", offer.device),
            ]
        )
        back, away, _ = st.columns([1, 1, 2])
        if back.button(
            "Roll back", key=f"{keys.SERVE_ROLL_BACK}-{offer.model}", icon=":material/undo:",
            width="stretch", help="Offer the version before, and stay with it.",
        ):  # fmt: skip
            with errors_shown():
                version = offers.roll_back(session.workspace(), offer.model)
                st.toast(f"Offering {version} again: it is there within seconds.")
        if away.button(
            "Withdraw", key=f"{keys.SERVE_WITHDRAW}-{offer.model}", icon=":material/block:",
            width="stretch", help="Offer this model no longer.",
        ):  # fmt: skip
            with errors_shown():
                offers.withdraw(session.workspace(), offer.model)
                st.rerun()


def for_cvat(found: ServiceState) -> None:
    """Draw what CVAT has to be told, and whether it was."""
    st.markdown("Set in CVAT's containers `cvat_server` and `cvat_worker_annotation`:")
    lines = [f"{name}={value}" for name, value in serving.cvat_settings(found).items()]
    st.code("\n".join(lines), language="ini")
    cvat = session.connection()
    if cvat is None:
        st.page_link("pages/connect.py", label="Connect to CVAT to check it")
    elif st.button("Check CVAT", key=keys.SERVE_CHECK, icon=":material/fact_check:"):
        verdict = serving.check_cvat(cvat, found)
        (st.success if verdict.is_fine else st.warning)(
            f"{escaped(verdict.text)} {escaped(verdict.hint)}"
        )


def trial(found: ServiceState) -> None:
    """Send an image through the service and show what comes back."""
    names = [f.name for offer in found.offers for f in offer.functions if not f.is_interactor]
    name = st.selectbox("Function", names, key=keys.SERVE_FUNCTION)
    upload = st.file_uploader("Image", ["png", "jpg", "jpeg", "tif", "bmp"], key=keys.SERVE_IMAGE)
    if upload is None:
        return
    data = upload.getvalue()
    image_id = hashlib.sha256(data).hexdigest()
    with errors_shown():
        pixels, shown = serving.try_image(session.workspace(), found, name, data)
        offer = next(o for o in found.offers if name in {f.name for f in o.functions})
        message = pack(pixels, shown, LabelMap(offer.labels), image_id=image_id, name=upload.name)
        viewer(message, key=keys.SERVE_TEST_VIEWER, height=460, scope=f"{name} {offer.version}")
        st.caption(f"The service found {plural(len(shown), 'object')}.")


def stop(found: ServiceState) -> None:
    """Ask before stopping, and say who used the service in the last hour."""
    with st.popover("Stop", icon=":material/stop_circle:", key=keys.SERVE_STOP):
        if found.callers:
            st.markdown("Used in the last hour by:")
            for who, requests, last in found.callers[:8]:
                st.markdown(f"- {escaped(who)}: {plural(requests, 'request')}, {ago(last)}")
        else:
            st.markdown("Nobody used it in the last hour.")
        if st.button("Stop the service", key=keys.SERVE_STOP_SURE):
            with errors_shown():
                serving.stop(session.workspace())
                st.rerun()
