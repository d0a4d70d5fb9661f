"""What sets some cells apart from others? Their composition, their topics, the genes the model expects in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from scetm_core import keys
from scetm_core.figures._colors import MISSING_COLOR
from scetm_core.figures._result import empty_frame, gene_weights, reason_of, topic_label, topic_names
from scetm_core.figures._theme import ACCENT, MUTED, empty_figure, new_figure, plain_text

if TYPE_CHECKING:
    import anndata as ad

N_GROUPS = 12
N_TOPICS = 12
_ROW = 22


def composition_frame(
    values: pd.Series, inside: np.ndarray, outside: np.ndarray, colors: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """How are some cells shared out over categories, beside others?

    Parameters
    ----------
    values
        Category of each cell; cells without one count as "missing".
    inside, outside
        (n_cells,) yes or no.
    colors
        Category -> colour.

    Returns
    -------
    `group`, `n_cells` (inside), `share` (of the cells inside, 0 to 1), `share_outside`, `of_group` (share of the
    group's cells, of both sides, that are inside), `color`; the largest share inside first. Empty, with
    `attrs["reason"]`, if there is no cell inside.
    """
    if not inside.any():
        return empty_frame("No cell is selected.")
    column = values.astype("category").cat
    codes, names = column.codes.to_numpy(), [*map(str, column.categories), "missing"]
    sizes = {side: np.bincount(codes[mask], minlength=len(names)) for side, mask in (
        ("in", inside & (codes >= 0)), ("out", outside & (codes >= 0)))}  # fmt: skip
    for side, mask in (("in", inside), ("out", outside)):
        sizes[side][-1] = np.count_nonzero(mask & (codes < 0))
    both = sizes["in"] + sizes["out"]
    frame = pd.DataFrame(
        {
            "group": names,
            "n_cells": sizes["in"],
            "share": sizes["in"] / inside.sum(),
            "share_outside": sizes["out"] / max(int(outside.sum()), 1),
            "of_group": sizes["in"] / np.maximum(both, 1),
            "color": [(colors or {}).get(name, MISSING_COLOR) for name in names],
        }
    )
    frame = frame[both > 0].sort_values("n_cells", ascending=False, kind="stable").reset_index(drop=True)
    frame.attrs = {"column": str(values.name)}
    return frame


def plot_composition(frame: pd.DataFrame) -> go.Figure:
    """Bars of the share of each category, a tick for its share among the other cells."""
    if frame.empty:
        return empty_figure(reason_of(frame))
    shown = frame.head(N_GROUPS)
    rows = np.arange(len(shown))[::-1]
    figure = new_figure(uirevision="composition")
    figure.add_trace(
        go.Bar(
            x=shown["share"], y=rows, orientation="h", marker={"color": list(shown["color"])}, name="selected",
            text=[f"{n:,}" for n in shown["n_cells"]], textposition="outside", cliponaxis=False,
            customdata=shown[["n_cells", "of_group"]].to_numpy(dtype=float), showlegend=False,
            hovertemplate="%{customdata[0]:,.0f} cells, %{x:.1%} of the selected ones; %{customdata[1]:.0%} of all of "
            "the kind<extra></extra>",
        )
    )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=shown["share_outside"], y=rows, mode="markers", name="share among the others",
            marker={"symbol": "line-ns-open", "size": 15, "color": MUTED, "line": {"width": 2}},
            hovertemplate="%{x:.1%} of the others<extra></extra>",
        )
    )  # fmt: skip
    highest = max(float(shown[["share", "share_outside"]].to_numpy().max()), 0.01)
    left_out = f" ({len(frame) - len(shown)} smaller not drawn)" if len(frame) > len(shown) else ""
    _rows(figure, [plain_text(name) for name in shown["group"]])
    figure.update_xaxes(
        title=f"share of the cells{left_out}", tickformat=".0%", range=[0, 1.22 * highest], nticks=4, tickangle=0
    )
    return figure


def profile_frame(result: ad.AnnData, inside: np.ndarray, outside: np.ndarray) -> pd.DataFrame:
    """Which topics do some cells use more, and which less, than others?

    Parameters
    ----------
    inside, outside
        (n_cells,) yes or no.

    Returns
    -------
    `topic` ("topic_7"), `inside` and `outside` (mean theta, 0 to 1), `difference`; the largest difference either way
    first. Empty, with `attrs["reason"]`, if one of the sides has no cell.
    """
    if not inside.any() or not outside.any():
        return empty_frame("Select some cells to compare.")
    theta = np.asarray(result.obsm[keys.THETA])
    means = [_mean_rows(theta, side) for side in (inside, outside)]
    frame = pd.DataFrame({"topic": topic_names(theta.shape[1]), "inside": means[0], "outside": means[1]})
    frame["difference"] = frame["inside"] - frame["outside"]
    order = np.argsort(-frame["difference"].abs().to_numpy(), kind="stable")
    return frame.iloc[order].reset_index(drop=True)


def _mean_rows(values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean of some rows, (n_columns,), without a copy of them where they are many."""
    few = np.flatnonzero(mask)
    if len(few) < 0.2 * len(mask):
        return np.asarray(values[few].mean(axis=0, dtype=np.float64))
    return np.asarray(mask.astype(np.float32) @ values, dtype=np.float64) / len(few)


def plot_profile(frame: pd.DataFrame, *, topic: int | None = None, names: Mapping[str, str] | None = None) -> go.Figure:
    """Bars from the mean of the other cells to that of the selected ones, the topics that differ most on top.

    `topic` is outlined; `names` are those given to topics. `customdata` holds the topic's number.
    """
    if frame.empty:
        return empty_figure(reason_of(frame))
    shown = frame.head(N_TOPICS).sort_values("difference", ascending=False)
    rows = np.arange(len(shown))[::-1]
    focus = [2 if name == keys.topic_name(-1 if topic is None else topic) else 0 for name in shown["topic"]]
    figure = new_figure(uirevision="profile")
    figure.add_trace(
        go.Bar(
            x=shown["difference"], y=rows, orientation="h", showlegend=False, name="",
            marker={
                "color": ["#c0492f" if value > 0 else "#2f6db0" for value in shown["difference"]],
                "line": {"color": ACCENT, "width": focus},
            },
            customdata=np.column_stack(
                [[int(name.removeprefix("topic_")) for name in shown["topic"]], shown["inside"], shown["outside"]]
            ).tolist(),
            hovertemplate="mean theta %{customdata[1]:.3f} inside, %{customdata[2]:.3f} outside<extra></extra>",
        )
    )  # fmt: skip
    _rows(figure, [f"topic {topic_label(name, names)}" for name in shown["topic"]])
    figure.update_xaxes(title="mean theta, selected − others", nticks=4, tickangle=0)
    return figure


def expected_genes_frame(result: ad.AnnData, inside: np.ndarray, outside: np.ndarray) -> pd.DataFrame:
    """Which genes does the model expect more of in some cells than in others?

    p(gene) of a group of cells is the mean of its theta times p(gene | topic), the softmax of beta: free of batch
    effects and of the noise of counts.

    Returns
    -------
    `gene`, `inside` and `outside` (p(gene) per 10,000 counts), `log2_ratio`, `gain` (inside x log2 ratio, by which
    the genes are ordered: those that tell most, the first one first). Empty, with `attrs["reason"]`, if one of the
    sides has no cell or there is no beta.
    """
    profile, beta = profile_frame(result, inside, outside), gene_weights(result)
    if profile.empty or beta.empty:
        return profile if profile.empty else beta
    logits = beta.to_numpy(dtype=np.float64)
    p = np.exp(logits - logits.max(axis=0))
    p /= p.sum(axis=0)
    by_topic = profile.set_index("topic").loc[list(beta.columns)]
    here, there = (1e4 * p @ by_topic[side].to_numpy() for side in ("inside", "outside"))
    ratio = np.log2(here / there)
    frame = pd.DataFrame(
        {"gene": beta.index, "inside": here, "outside": there, "log2_ratio": ratio, "gain": here * ratio}
    )
    return frame.sort_values("gain", ascending=False, kind="stable").reset_index(drop=True)


def _rows(figure: go.Figure, names: list[str]) -> None:
    """Names along the left, the first one on top."""
    figure.update_yaxes(
        tickvals=list(range(len(names)))[::-1], ticktext=names, showgrid=False, ticks="", range=[-0.6, len(names) - 0.4]
    )
    figure.update_layout(
        height=max(160, 86 + _ROW * len(names)), bargap=0.3, dragmode=False, margin={"l": 8, "r": 28, "t": 22, "b": 8},
        legend={"orientation": "h", "y": 1, "yanchor": "bottom", "x": 1, "xanchor": "right", "font": {"size": 11}},
    )  # fmt: skip
