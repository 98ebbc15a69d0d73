"""Models on the Train page: the curve of a training, the list, the card of one model."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from lsl_core.services import activity
from lsl_core.services.models import training_pictures, versions
from lsl_core.types import MODES, Beside, ModelCard, RunPhase, RunState, Verdict
from lsl_core.ui import address, charts, keys, runs, session
from lsl_core.ui.formats import ago, duration, local, plural
from lsl_core.ui.layout import escaped, facts
from lsl_core.ui.parts import pictures, version_panel


def trainings(newest: RunState) -> None:
    """Draw how the newest training ended, if it did, and all that go on, the running one first."""
    ended = [] if newest.phase.is_active else [newest]
    for run in ended + [run for run in runs.going_on() if run.kind == "train"]:
        runs.panel(run.id)
        watch(run)


def watch(run: RunState) -> None:
    """Draw the curve of a run, anew every two seconds while it trains."""
    if run.phase.is_active:
        st.fragment(_curve, run_every=runs.PERIOD_S)(run.id)
    elif activity.run_metrics(session.workspace(), run.id):
        with st.expander(f"Training curve of {run.subject}", icon=":material/show_chart:"):
            _curve(run.id)


def _curve(run_id: str) -> None:
    """Draw the curve of a run as far as it is."""
    metrics = activity.run_metrics(session.workspace(), run_id)
    if metrics:
        st.plotly_chart(
            charts.training_curve(metrics), config=charts.CONFIG, key=f"curve-{run_id}",
            alt="Loss and held-out figures by iteration",
        )  # fmt: skip
    elif activity.get_run(session.workspace(), run_id).phase is RunPhase.RUNNING:
        st.caption("The curve begins with the first iterations.")
    pictures.row(training_pictures.of_run(session.workspace(), run_id))


def overview(cards: list[ModelCard]) -> pd.DataFrame:
    """Return what the table shows of each model."""
    nothing = float("nan")
    in_use = versions.current_ids(session.workspace())
    return pd.DataFrame(
        {
            "Model": [card.id for card in cards],
            "In use": [card.id in in_use for card in cards],
            "AP50": [card.metrics.ap50 if card.metrics else nothing for card in cards],
            "AP": [card.metrics.ap if card.metrics else nothing for card in cards],
            "Made": [local(card.created) for card in cards],
            "Measured on": [
                plural(card.metrics.num_images, "image") if card.metrics else "–" for card in cards
            ],
            "Gives": [MODES[card.mode].gives.value for card in cards],
            "Source": [f"{card.support} ({card.support_images})" for card in cards],
        }
    )


def models(cards: list[ModelCard]) -> ModelCard:
    """Draw the models, and the card of the selected one, which is returned."""
    ids = [card.id for card in cards]
    _open_new_model(ids)
    row = ids.index(address.opened(keys.MODEL, ids))
    figure = st.column_config.ProgressColumn(format="%.2f", min_value=0, max_value=1, width=90)
    picked = st.dataframe(
        overview(cards),
        key=keys.TRAIN_MODELS + "-" + "-".join(ids[:50]),
        hide_index=True, on_select="rerun", selection_mode="single-row-required",
        selection_default={"selection": {"rows": [row]}},
        column_config={
            "AP50": figure, "AP": figure,
            "In use": st.column_config.CheckboxColumn(width=60),
            "Gives": st.column_config.TextColumn(width=70),
            "Made": st.column_config.DatetimeColumn(format="distance", width=110),
        },
        alt="Models of this workspace",
    )  # fmt: skip
    rows = picked["selection"]["rows"]
    card = cards[rows[0] if rows and rows[0] < len(cards) else row]
    address.remember(keys.MODEL, card.id)
    with st.container(border=True):
        describe(card, cards)
    return card


_VERDICTS = {
    Verdict.WORSE: ":orange[:material/trending_down:] **Worse** than",
    Verdict.ALIKE: ":gray[:material/trending_flat:] About as good as",
    Verdict.BETTER: ":green[:material/trending_up:] Better than",
}


def _gate(card: ModelCard) -> None:
    """Say whether a model is better or worse than the version before it, and how that is known."""
    found = card.comparison
    if found is None:
        return
    parent = escaped(found.parent)
    if found.verdict not in _VERDICTS:
        st.markdown(f":gray[:material/help:] Not comparable with {parent}")
        return
    known = f", {found.num_seen} of which it had learnt" if found.num_seen else ""
    st.markdown(
        f"{_VERDICTS[found.verdict]} {parent}: {found.figure} {found.after:.2f}, before "
        f"{found.before:.2f}, on the same {plural(found.num_images, 'image')}{known}"
    )
    if found.rows:
        with st.container(key=keys.TRAIN_BESIDE):
            st.markdown(_beside(found.rows))


_SHORT = {
    Verdict.WORSE: ":orange[:material/trending_down: worse]",
    Verdict.ALIKE: ":gray[:material/trending_flat: alike]",
    Verdict.BETTER: ":green[:material/trending_up: better]",
}


_FIGURES = {"masks": "AP of masks", "boxes": "AP of boxes", "pixels": "IoU of pixels"}


def _beside(rows: Sequence[Beside]) -> str:
    """Return a table of each label's figures, before and after, and what they say."""
    kinds = list(dict.fromkeys(row.kind for row in rows))
    lines = ["| | " + " | ".join(_FIGURES[kind] for kind in kinds) + " |"]
    lines.append("|:--|" + ":--|" * len(kinds))
    for label in dict.fromkeys(row.label for row in rows):
        cells = [
            next((_cell(r) for r in rows if (r.label, r.kind) == (label, kind)), "–")
            for kind in kinds
        ]
        lines.append(f"| {escaped(label) or 'all labels'} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(row: Beside) -> str:
    return f"{row.before:.2f} → **{row.after:.2f}** {_SHORT[row.verdict]}"


def _open_new_model(ids: list[str]) -> None:
    """Select the model of a training that ended since the page was last drawn."""
    run = runs.latest("train")
    if run is None or run.phase.is_active:
        return
    seen = st.session_state.setdefault(keys.TRAIN_SEEN, run.id)
    if seen != run.id and run.result.get("model") in ids:
        address.remember(keys.MODEL, str(run.result["model"]))
    st.session_state[keys.TRAIN_SEEN] = run.id


def describe(card: ModelCard, cards: list[ModelCard]) -> None:
    """Draw a model's figures with their evidence, its thresholds, and what comes next."""
    is_new = version_panel.is_new(card)
    if is_new:
        version_panel.decide(card)
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader(escaped(card.id), anchor=False)
        version_panel.standing(card)
        thresholds = ", ".join(f"{escaped(n)} {t:.2f}" for n, t in card.thresholds.items())
        facts(
            [
                ("Thresholds of least work", thresholds),
                ("Learnt from", f"{plural(card.support_images, 'image')}, {escaped(card.support)}"),
                ("Window", f"{card.window} px at scale {card.scale:.2g}"),
                ("Licence", card.licence),
                ("Made", f"{ago(card.created)}, in {duration(card.train_seconds)}"),
            ]
        )  # fmt: skip
        if st.button("Preview a task", icon=":material/preview:", key="train-preview"):
            st.switch_page("pages/preview.py", query_params={keys.MODEL: card.id})
        if not is_new:
            version_panel.change(card)
    with right:
        _figures(card, cards)
    workspace = session.workspace()
    pictures.row(training_pictures.of_model(workspace, card.id))
    if card.comparison is not None:
        changes = training_pictures.changes_of(workspace, card.id)
        pictures.changes(changes, before=card.comparison.parent, after=card.id)


def _figures(card: ModelCard, cards: list[ModelCard]) -> None:
    """Draw what a model reached, on how much evidence, beside older models."""
    figures = card.metrics
    if figures is None:
        st.info(f"{card.id}: {card.measured}.")
        return
    spread = "" if figures.iou or figures.spread is None else f" ± {figures.spread:.2f}"
    if figures.iou:
        pixels = ", ".join(f"{escaped(n)} {v:.2f}" for n, v in figures.iou.items())
        st.markdown(f"**IoU of pixels {figures.headline[1]:.2f}** · {pixels}")
    st.markdown(
        f"**AP50 {figures.ap50:.2f}** · AP {figures.ap:.2f}{spread} · AP75 {figures.ap75:.2f} of "
        f"{figures.kind}, on {figures.evidence}"
    )
    _gate(card)
    rivals = [other for other in cards if other.labels == card.labels and other.metrics][:4]
    st.plotly_chart(
        charts.models_by_label(rivals[::-1]),
        config=charts.CONFIG, alt="Held-out AP of each label, by model",
    )  # fmt: skip
    learnt = [other for other in rivals if other.curve and other.id in (card.id, card.parent)]
    if card in learnt:
        with st.expander("How it learnt", icon=":material/show_chart:"):
            st.plotly_chart(
                charts.learning_curves(learnt[::-1]), config=charts.CONFIG,
                key=f"learnt-{card.id}", alt="Held-out figure by iteration, beside the parent's",
            )  # fmt: skip
    if len(card.shots) > 1:
        with st.expander("What more images brought", icon=":material/add_photo_alternate:"):
            st.plotly_chart(
                charts.shots_curve(card), config=charts.CONFIG, key=f"shots-{card.id}",
                alt="Figure of images left out by images learnt",
            )  # fmt: skip
            st.caption(
                f"{', '.join(point.words for point in card.shots)}. The ± is between trainings "
                "on other images of the same source: a gain below it says little."
            )
