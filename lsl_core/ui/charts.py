"""Charts: curves of a training run, scores of a preview, models side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from lsl_core.types import ModelCard
from lsl_core.types.palette import label_style

#: Charts do not need plotly's row of buttons.
CONFIG = {"displayModeBar": False}
_BINS = 20
#: Figures of a training that are drawn, and their names for people.
_CURVES = {"loss": "Loss", "ap": "AP", "ap50": "AP50", "ap75": "AP75", "iou": "IoU"}


def training_curve(metrics: Mapping[str, Sequence[tuple[int, float]]]) -> go.Figure:
    """Draw the loss (left axis) and the held-out figures (right axis, 0 to 1)."""
    figure = make_subplots(specs=[[{"secondary_y": True}]])
    drawn = {name: points for name, points in metrics.items() if name in _CURVES}
    for number, (name, points) in enumerate(drawn.items()):
        is_loss = name == "loss"
        at, values = [p[0] for p in points], [p[1] for p in points]
        style = label_style(number)
        figure.add_scatter(
            x=at,
            y=values,
            name=_CURVES[name],
            mode="lines" if is_loss else "lines+markers",
            line={"color": style.css, "width": 2, "dash": "solid" if is_loss else "dot"},
            secondary_y=not is_loss,
        )
    figure.update_yaxes(title_text="Loss", rangemode="tozero", secondary_y=False)
    figure.update_yaxes(
        title_text="Held-out figure", range=[0, 1], dtick=0.25, tickmode="linear", showgrid=False,
        secondary_y=True,
    )  # fmt: skip
    figure.update_xaxes(title_text="Iteration")
    return _plain(figure, height=300)


def learning_curves(cards: Sequence[ModelCard]) -> go.Figure:
    """Draw the held-out figure of each model over the iterations of its training."""
    figure = go.Figure()
    for number, card in enumerate(cards):
        figure.add_scatter(
            x=[at for at, _ in card.curve],
            y=[value for _, value in card.curve],
            name=card.id,
            mode="lines+markers",
            line={"color": label_style(number).css, "width": 2},
            hovertemplate=f"{card.id}, iteration %{{x}}: %{{y:.2f}}<extra></extra>",
        )
    figure.update_layout(showlegend=True)
    figure.update_xaxes(title_text="Iteration", rangemode="tozero")
    figure.update_yaxes(title_text="Held-out figure", range=[0, 1], dtick=0.25)
    return _plain(figure, height=220)


def shots_curve(card: ModelCard) -> go.Figure:
    """Draw what folds reached over how many images they learnt, with its spread."""
    figure = go.Figure()
    figure.add_scatter(
        x=[point.num_images for point in card.shots],
        y=[point.figure for point in card.shots],
        error_y={"array": [point.spread or 0.0 for point in card.shots]},
        mode="lines+markers",
        line={"color": label_style(0).css, "width": 2},
        hovertemplate="%{x} images: %{y:.2f}<extra></extra>",
    )
    figure.update_xaxes(title_text="Images learnt", rangemode="tozero")
    figure.update_yaxes(title_text="Figure of images left out", range=[0, 1], dtick=0.25)
    return _plain(figure, height=220)


def score_histogram(
    scores: NDArray[np.float32],
    class_ids: NDArray[np.int32],
    labels: Sequence[str],
    *,
    thresholds: Mapping[str, float],
    height: int = 190,
) -> go.Figure:
    """Draw how many objects of each label have which score; a line at each threshold."""
    figure = go.Figure()
    edges = np.linspace(0, 1, _BINS + 1)
    for class_id, label in enumerate(labels):
        count, _ = np.histogram(scores[class_ids == class_id], edges)
        figure.add_bar(
            x=(edges[:-1] + edges[1:]) / 2,
            y=count,
            name=label,
            marker={"color": label_style(class_id).css},
            hovertemplate=f"{label}: %{{y}} near %{{x:.2f}}<extra></extra>",
        )
    for threshold in sorted({round(value, 4) for value in thresholds.values()}):
        figure.add_vline(x=threshold, line={"width": 1.5, "dash": "dash", "color": "#808890"})
    figure.update_layout(
        barmode="stack", bargap=0.08, showlegend=len(labels) > 1, legend_traceorder="normal"
    )
    figure.update_xaxes(title_text="Score", range=[0, 1])
    figure.update_yaxes(title_text="Objects")
    return _plain(figure, height=height)


def models_by_label(cards: Sequence[ModelCard]) -> go.Figure:
    """Draw the held-out AP of each label, one group of bars per model, oldest first."""
    figure = go.Figure()
    for number, card in enumerate(cards):
        per_label = card.metrics.per_label if card.metrics else {}
        figure.add_bar(
            x=list(per_label),
            y=list(per_label.values()),
            name=card.id,
            marker={"color": label_style(number).css},
            hovertemplate=f"{card.id}, %{{x}}: %{{y:.2f}}<extra></extra>",
        )
    figure.update_layout(barmode="group", bargap=0.3)
    figure.update_yaxes(title_text="Held-out AP", range=[0, 1])
    return _plain(figure, height=240)


def objects_by_label(counts: Mapping[str, int]) -> go.Figure:
    """Draw how many objects each label has, in the labels' own colours."""
    figure = go.Figure()
    figure.add_bar(
        x=list(counts.values()),
        y=list(counts),
        orientation="h",
        marker={"color": [label_style(i).css for i in range(len(counts))]},
        text=[f"{value:,}" for value in counts.values()],
        textposition="auto",
        hovertemplate="%{y}: %{x}<extra></extra>",
    )
    figure.update_yaxes(autorange="reversed", type="category")
    figure.update_xaxes(visible=False)
    return _plain(figure, height=50 + 34 * len(counts))


#: What became of pushed objects, best first, and the colour of each.
_FATES = {"kept": "#009E73", "moved": "#56B4E9", "relabelled": "#E69F00", "deleted": "#D55E00"}


def confusion(counts: Mapping[tuple[str, str], int]) -> go.Figure:
    """Draw how often each pushed label (rows) became each label of today (columns).

    Args:
        counts: by pushed label and label now; "" is no object.
    """
    # "" is the last row and column, and stays away where it has nothing to tell
    rows, columns = (sorted({pair[side] for pair in counts}, key=lambda n: (not n, n))
                     for side in (0, 1))  # fmt: skip
    numbers = np.array([[counts.get((r, c), 0) for c in columns] for r in rows], np.int64)
    shares = numbers / np.maximum(1, numbers.sum(axis=1, keepdims=True))
    shares[numbers == 0] = np.nan  # no colour at all, on light and on dark ground
    figure = go.Figure(
        go.Heatmap(
            z=shares, x=[c or "deleted" for c in columns],
            y=[r or "added by people" for r in rows],
            text=[[f"{n:,}" if n else "" for n in row] for row in numbers.tolist()],
            texttemplate="%{text}", colorscale="Blues", zmin=0, zmax=1.3, showscale=False,
            xgap=2, ygap=2, hovertemplate="pushed %{y}, now %{x}: %{text}<extra></extra>",
        )
    )  # fmt: skip
    figure.update_xaxes(title_text="In CVAT now", type="category", side="top")
    figure.update_yaxes(title_text="Pushed", type="category", autorange="reversed")
    return _plain(figure, height=110 + 38 * len(rows))


def review_trend(pushes: Sequence[tuple[str, Mapping[str, int]]]) -> go.Figure:
    """Draw which share of each push was kept, moved, relabelled and deleted, the oldest first.

    Args:
        pushes: what each is called, and its counts.
    """
    figure = go.Figure()
    totals = [max(1, sum(counts[fate] for fate in _FATES)) for _, counts in pushes]
    for fate, colour in _FATES.items():
        figure.add_bar(
            x=[name for name, _ in pushes],
            y=[counts[fate] / total for (_, counts), total in zip(pushes, totals, strict=True)],
            name=fate.capitalize(),
            marker={"color": colour},
            customdata=[[counts[fate], sum(counts[f] for f in _FATES)] for _, counts in pushes],
            hovertemplate=f"%{{x}}: %{{customdata[0]}} of %{{customdata[1]}} {fate}<extra></extra>",
        )
    figure.update_layout(barmode="stack", bargap=0.35)
    figure.update_xaxes(type="category")
    figure.update_yaxes(tickformat=".0%", range=[0, 1])
    return _plain(figure, height=260)


def _plain(figure: go.Figure, *, height: int) -> go.Figure:
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.0, "x": 0},
    )
    return figure
