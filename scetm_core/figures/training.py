"""How is training going? The loss and what drives it, step by step."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from scetm_core.figures._colors import OKABE_ITO
from scetm_core.figures._result import empty_frame, reason_of
from scetm_core.figures._theme import ACCENT, TEMPLATE, empty_figure

COLUMNS = (
    "step", "epoch", "nll", "kl", "kl_weight", "test_nll", "learning_rate", "cells_per_second", "grad_norm", "seconds",
)  # fmt: skip
_PANELS = ("NLL (nats per read)", "KL (nats)", "learning rate", "cells per second")


def training_frame(metrics: pd.DataFrame) -> pd.DataFrame:
    """The training curve as numbers.

    Parameters
    ----------
    metrics
        Rows of a run's `metrics.csv`; may be empty, columns may lack.

    Returns
    -------
    One row per report by rising step; `COLUMNS` first, not-a-number where nothing was measured. Empty, with
    `attrs["reason"]`, before the first report.
    """
    if metrics.empty or "step" not in metrics:
        return empty_frame("Training has not reported yet. The curve appears with the first steps.")
    numbers = metrics.apply(pd.to_numeric, errors="coerce").dropna(subset="step").sort_values("step")
    others = [column for column in numbers.columns if column not in COLUMNS]
    frame: pd.DataFrame = numbers.reindex(columns=[*COLUMNS, *others]).reset_index(drop=True)
    return frame


def plot_training(frame: pd.DataFrame, *, max_steps: int | None = None) -> go.Figure:
    """Draw the curve in four panels above one axis of steps.

    The held-out NLL, of cells that were never trained on, is the one to watch: training may stop once it no longer
    falls, and cells are being learnt by heart if it rises while the other falls. Once ten reports are there, the axis
    of the NLL leaves out the steep fall of the first tenth; a double click shows all.

    Parameters
    ----------
    frame
        From `training_frame`.
    max_steps
        Where the axis of steps ends; by default at the last report.
    """
    if frame.empty:
        return empty_figure(reason_of(frame))
    figure = make_subplots(
        rows=4, cols=1, shared_xaxes=True, vertical_spacing=0.06, row_heights=[3, 1.2, 1, 1], subplot_titles=_PANELS
    )
    figure.update_annotations(x=0, xanchor="left", font={"size": 12})
    grey = OKABE_ITO[7]
    _add_line(figure, frame, "nll", row=1, name="training", color=ACCENT)
    held_out = frame.dropna(subset="test_nll")
    if len(held_out):
        _add_line(figure, held_out, "test_nll", row=1, name="held out", color=OKABE_ITO[5])
    _add_line(figure, frame, "kl", row=2, name="KL", color=OKABE_ITO[3])
    _add_line(figure, frame, "learning_rate", row=3, name="learning rate", color=grey)
    _add_line(figure, frame, "cells_per_second", row=4, name="cells per second", color=grey)
    figure.data[-3].update(customdata=frame["kl_weight"].to_numpy(), hovertemplate="%{y:.4g}, weighs %{customdata:.2g}")
    figure.update_yaxes(nticks=4)
    figure.update_yaxes(nticks=6, row=1, range=_range_after_start(frame))
    figure.update_xaxes(showgrid=False, tickformat=",d", range=[0, max_steps or int(frame["step"].max())])
    figure.update_xaxes(row=4, title={"text": "training step"})
    figure.update_layout(
        template=TEMPLATE,
        uirevision="training",
        hovermode="x unified",
        height=620,
        dragmode="zoom",
        legend={"orientation": "h", "y": 1.035, "yanchor": "bottom", "x": 1, "xanchor": "right"},
    )
    return figure


def _range_after_start(frame: pd.DataFrame) -> list[float] | None:
    """Range of the NLL without its first tenth, whose fall would flatten all that follows; None while it is short."""
    if len(frame) < 10:
        return None
    later = frame[["nll", "test_nll"]].iloc[len(frame) // 10 :]
    low, high = float(later.min().min()), float(later.max().max())
    return [low - 0.05 * (high - low), high + 0.05 * (high - low)]


def _add_line(figure: go.Figure, frame: pd.DataFrame, column: str, *, row: int, name: str, color: str) -> None:
    """One curve in one panel; markers where it is measured now and then."""
    figure.add_trace(
        go.Scatter(
            x=frame["step"].to_numpy(),
            y=frame[column].to_numpy(),
            name=name,
            mode="lines+markers" if column == "test_nll" or len(frame) == 1 else "lines",
            line={"color": color, "width": 1.8 if row == 1 else 1.4},
            marker={"size": 5},
            showlegend=row == 1,
            hovertemplate="%{y:.4g}",
        ),
        row=row,
        col=1,
    )
