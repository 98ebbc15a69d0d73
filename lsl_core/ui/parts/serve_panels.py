"""Parts of the Serve page: what is offered, how it goes, what CVAT needs, a trial."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pandas as pd
import streamlit as st

from lsl_core.errors import UserInput
from lsl_core.services.models import pretrained, versions
from lsl_core.services.serving import offers, service
from lsl_core.services.serving.offers import Offer
from lsl_core.services.serving.state import FunctionState, OfferState, ServiceSettings, ServiceState
from lsl_core.types import LabelMap
from lsl_core.ui import keys, session
from lsl_core.ui.errors import errors_shown
from lsl_core.ui.formats import ago, plural
from lsl_core.ui.layout import escaped, facts
from lsl_core.ui.viewer import ViewerState, pack, viewer

#: Who may call the service, and the networks that this means: a CVAT in Docker is in the second.
_CALLERS: dict[str, tuple[str, ...]] = {
    "Programs on this machine": (),
    "CVAT in Docker on this machine": ("172.16.0.0/12",),
    "Other networks": (),
}


def clicks_choice(version: str) -> str | None:
    """Ask what answers clicks; nothing is asked where no segmenter is here."""
    workspace = session.workspace()
    titles = {
        one.name: one.title
        for one in pretrained.offered(workspace)
        if one.is_here and one.role is pretrained.Role.SEGMENTER
    }
    if not titles:
        return None
    draws = versions.draws_masks(workspace, version)
    titles[""] = "the model's own masks" if draws else "nobody: it finds boxes"
    chosen = st.selectbox(
        "Clicks are answered by", sorted(titles), key=keys.SERVE_CLICKS,
        format_func=lambda name: titles[name],
        help="A pretrained segmenter draws whatever is clicked on, also what the model never saw.",
    )  # fmt: skip
    return chosen or None


def reach(before: ServiceSettings) -> ServiceSettings:
    """Ask who may call the service that is going to be started, and on which port."""
    is_inside = before.host in ("127.0.0.1", "localhost", "::1")
    known = [name for name, allow in _CALLERS.items() if allow and allow == before.allow]
    now = next(iter(_CALLERS)) if is_inside else (known or ["Other networks"])[0]
    with st.expander("How the service is reached", icon=":material/lan:"):
        who = st.radio(
            "Who may call it", list(_CALLERS), index=list(_CALLERS).index(now),
            key=keys.SERVE_CALLERS,
        )  # fmt: skip
        allow = _CALLERS[who]
        if who == "Other networks":
            text = st.text_input(
                "Networks", ", ".join(before.allow), key=keys.SERVE_NETWORKS,
                placeholder="10.1.0.0/16, 192.168.7.0/24",
            )  # fmt: skip
            allow = tuple(text.replace(",", " ").split())
        port = st.number_input("Port", 1, 65535, before.port, key=keys.SERVE_PORT)
    here, everywhere = ("127.0.0.1", "0.0.0.0")  # noqa: S104 - allow keeps the others out
    if who == next(iter(_CALLERS)):
        host = before.host if is_inside else here
    else:
        host = everywhere if is_inside else before.host
    # unless it is told otherwise, CVAT calls each function on a port of its own
    return replace(before, host=host, allow=allow, port=int(port), is_nuclio=True)


def functions(found: ServiceState) -> None:
    """Draw how often each function was called, how long it took, and what went wrong last."""
    allow = service.last_settings(session.workspace()).allow
    callers = " and ".join(["programs on this machine", *allow])
    st.caption(f"The service is at `{found.url}`, for {callers}.")
    rows = [(offer, function) for offer in found.offers for function in offer.functions]
    if not rows and not found.problems:
        st.info("Nothing is offered. Choose a model and deploy it.", icon=":material/info:")
    if rows:
        _table(rows)
    for name, problem in found.problems.items():
        st.error(f"{escaped(name)} is not offered: {escaped(problem)}", icon=":material/error:")
    for _, function in rows:
        if function.last_error and function.last_error_at is not None:
            st.caption(
                f":material/warning: {escaped(function.name)}, {ago(function.last_error_at)}: "
                f"{escaped(function.last_error)}"
            )


def _table(rows: list[tuple[OfferState, FunctionState]]) -> None:
    st.dataframe(
        pd.DataFrame(
            {
                "Function": [f.name for _, f in rows],
                "Requests": [f.requests for _, f in rows],
                "Failed": [f.failed for _, f in rows],
                "Median, s": [_seconds(f.median_s) for _, f in rows],
                "p95, s": [_seconds(f.p95_s) for _, f in rows],
                "Answers": ["clicks" if f.is_interactor else o.drawing + "s" for o, f in rows],
                "Version": [offer.version for offer, _ in rows],
                "Offered since": [ago(offer.since) for offer, _ in rows],
            }
        ),
        hide_index=True,
        # narrow, and the name stays where it is: on a telephone the rest is scrolled to
        column_config={
            "Function": st.column_config.TextColumn(pinned=True, width=96),
            "Requests": st.column_config.NumberColumn(width=72),
            "Failed": st.column_config.NumberColumn(width=56),
            "Median, s": st.column_config.TextColumn(alignment="right", width=72),
            "p95, s": st.column_config.TextColumn(alignment="right", width=60),
        },
        alt="Functions that others can call",
    )


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _clicked(offer: OfferState) -> str:
    if offer.clicks is not None:
        return f"{escaped(offer.clicks)}, a pretrained segmenter"
    own = any(function.is_interactor for function in offer.functions)
    return "its own masks" if own else "nobody: it finds boxes"


def _chosen() -> dict[str, Offer]:
    """Return what is to be offered, by model; the service follows within seconds."""
    return {offer.model: offer for offer in offers.list_offers(session.workspace())}


def _looked_at(offer: Offer | None) -> str:
    slide = offer.slide if offer else None
    if slide is None:
        return "seen whole, reduced to what the model knows"
    return f"through windows of {slide.width}×{slide.height} px, {slide.overlap} px shared"


def cards(found: ServiceState) -> None:
    """Draw every offer: its labels, and the ways to change it; also of one that has no answer."""
    chosen = _chosen()
    for offer in found.offers:
        rows = [
            ("CVAT maps these labels by name", ", ".join(map(escaped, offer.labels))),
            ("Larger images", _looked_at(chosen.get(offer.model))),
            ("Drawn as", offer.drawing),
            ("Clicks answered by", _clicked(offer)),
            ("Runs on", offer.device),
        ]
        title = f"**{escaped(offer.model)}** in version {escaped(offer.version)}"
        _card(offer.model, title, rows)
    answering = {offer.model for offer in found.offers}
    for listed in chosen.values():
        if listed.name in found.problems and listed.model not in answering:
            _card(listed.model, f"**{escaped(listed.model)}** does not answer", [])


def _card(model: str, title: str, rows: list[tuple[str, str]]) -> None:
    workspace = session.workspace()
    try:
        before = offers.previous(workspace, model)
    except UserInput:
        return  # withdrawn a moment ago; the service follows within a second
    with st.container(border=True):
        st.markdown(title)
        if rows:
            facts(rows)
        back, away = st.columns(2)
        if back.button(
            f"Roll back to {before}" if before else "Roll back",
            key=f"{keys.SERVE_ROLL_BACK}-{model}", icon=":material/undo:", width="stretch",
            disabled=before is None,
            help="Offer the version before, and stay with it."
            if before else "No other version of it was offered before.",
        ):  # fmt: skip
            with errors_shown():
                version = offers.roll_back(workspace, model)
                st.toast(f"Offering {version} again: it is there within seconds.")
        if away.button(
            f"Withdraw {model}", key=f"{keys.SERVE_WITHDRAW}-{model}", icon=":material/block:",
            width="stretch", help="Offer this model no longer.",
        ):  # fmt: skip
            with errors_shown():
                offers.withdraw(workspace, model)
                st.rerun()


def for_cvat(found: ServiceState) -> None:
    """Draw what CVAT has to be told, and whether it was."""
    st.markdown("Set in CVAT's containers `cvat_server` and `cvat_worker_annotation`:")
    words = service.cvat_settings(found)
    st.code("\n".join(f"{name}={value}" for name, value in words.items()), language="ini")
    if words["CVAT_NUCLIO_HOST"] == "localhost":
        st.caption(
            "This is for a CVAT on this machine outside of Docker. For one in Docker, stop the "
            'service and start it for "CVAT in Docker on this machine".'
        )
    else:
        st.caption(
            "On Linux both containers need "
            '`extra_hosts: ["host.docker.internal:host-gateway"]` as well. For a CVAT on another '
            "machine, put the name or address of this one in the place of host.docker.internal."
        )
    st.caption(
        "A CVAT with a Nuclio of its own can hold the model itself: "
        "`lsl cvat-serverless --train NAME`."
    )
    cvat = session.connection()
    if cvat is None:
        st.page_link("pages/connect.py", label="Connect to CVAT to check it")
    elif st.button("Check CVAT", key=keys.SERVE_CHECK, icon=":material/fact_check:"):
        with st.spinner("Asking CVAT for its AI tools"):
            verdict = service.check_cvat(cvat, found)
        if verdict.is_fine:
            st.success(escaped(verdict.text), icon=":material/check_circle:")
        else:
            st.warning(f"**{escaped(verdict.text)}**", icon=":material/warning:")
            st.markdown(f":material/arrow_forward: {escaped(verdict.hint)}")


def trial(found: ServiceState) -> None:
    """Send an image through the service and show what comes back."""
    names = [f.name for offer in found.offers for f in offer.functions if not f.is_interactor]
    name = st.selectbox("Function", names, key=keys.SERVE_FUNCTION)
    upload = st.file_uploader("Image", ["png", "jpg", "jpeg", "tif", "bmp"], key=keys.SERVE_IMAGE)
    if upload is None:
        return
    data = upload.getvalue()
    image_id = hashlib.sha256(data).hexdigest()
    offer = next(o for o in found.offers if name in {f.name for f in o.functions})
    with errors_shown():
        chosen = _chosen().get(offer.model)
        asked = (name, offer.version, chosen.slide if chosen else None, image_id)
        if st.session_state.get(keys.SERVE_TRIAL, ("",))[0] != asked:
            with st.spinner("Asking the service"):
                answer = service.try_image(session.workspace(), found, name, data)
            st.session_state[keys.SERVE_TRIAL] = asked, answer
        pixels, shown = st.session_state[keys.SERVE_TRIAL][1]
        message = pack(
            pixels, shown, LabelMap(offer.labels), image_id=image_id, name=upload.name, may="cut"
        )
        viewer(
            message, key=keys.SERVE_TEST_VIEWER, height=460, scope=f"{name} {offer.version}",
            start=_as_served(offer, chosen.threshold if chosen else None),
        )  # fmt: skip
        st.caption("The thresholds begin as the service has them.")


def _as_served(offer: OfferState, chosen: float | None) -> ViewerState:
    """Return the thresholds at which the service answers when CVAT names none."""
    own = versions.get_model(session.workspace(), offer.version).thresholds
    limits = [round(own.get(label, 0.5) if chosen is None else chosen, 2) for label in offer.labels]
    common = max(limits, key=limits.count, default=0.5)
    return ViewerState(common, {i: limit for i, limit in enumerate(limits) if limit != common})


def stop(found: ServiceState) -> None:
    """Ask before stopping, and say who used the service in the last hour."""
    count = sum(len(offer.functions) for offer in found.offers)
    with st.popover("Stop", icon=":material/stop_circle:", key=keys.SERVE_STOP):
        st.markdown(
            f"{plural(count, 'function')} will not answer in CVAT any more. Who waits now gets an "
            "answer first; what is offered stays chosen, so that you can start it again."
        )
        if found.callers:
            st.markdown("Used in the last hour by:")
            for who, requests, last in found.callers[:8]:
                st.markdown(f"- {escaped(who)}: {plural(requests, 'request')}, {ago(last)}")
        else:
            st.markdown("Nobody used it in the last hour.")
        if st.button("Stop the service", key=keys.SERVE_STOP_SURE):
            with errors_shown():
                service.stop(session.workspace())
                st.rerun()
