"""Do clusters agree with known labels, and how do groups lie within each batch? Figures of an evaluation."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from scetm_core.figures._colors import MAGNITUDE_SCALE, SIGNED_SCALE
from scetm_core.figures._result import empty_frame, reason_of
from scetm_core.figures._theme import ACCENT, MUTED, empty_figure, new_figure, plain_text

ROW_HEIGHT = 22
_MARGIN = 90


def confusion_frame(labels: pd.Series, clusters: pd.Series) -> pd.DataFrame:
    """In which clusters are the cells of each label?

    Parameters
    ----------
    labels, clusters
        (n_cells,) each; cells that miss either are left out.

    Returns
    -------
    Labels x clusters, numbers of cells; the label with most cells first, and each cluster beside the label that most
    of its cells have. Empty, with `attrs["reason"]`, without labels.
    """
    known = labels.notna().to_numpy() & clusters.notna().to_numpy()
    if not known.any():
        return empty_frame("No cell has a label, so that clusters cannot be compared with any. Choose a label column.")
    table = pd.crosstab(labels[known].astype(str).to_numpy(), clusters[known].astype(str).to_numpy())
    table = table.loc[table.sum(axis=1).sort_values(ascending=False, kind="stable").index]
    leading, size = table.to_numpy().argmax(axis=0), table.to_numpy().sum(axis=0)
    ordered: pd.DataFrame = table.iloc[:, np.lexsort((-size, leading))]
    return ordered.rename_axis(index="label", columns="cluster")


def plot_confusion(frame: pd.DataFrame, *, column: str = "cluster") -> go.Figure:
    """Draw which share of each label's cells is in which cluster; from `confusion_frame`.

    Parameters
    ----------
    column
        What the columns are called, where they are no clusters.
    """
    if frame.empty:
        return empty_figure(reason_of(frame))
    counts = frame.to_numpy()
    shares = counts / counts.sum(axis=1, keepdims=True)
    figure = new_figure(uirevision="confusion")
    figure.add_trace(
        go.Heatmap(
            z=shares,
            x=[plain_text(name) for name in frame.columns],
            y=[plain_text(name) for name in frame.index],
            customdata=counts,
            colorscale=MAGNITUDE_SCALE,
            zmin=0,
            zmax=1,
            xgap=1,
            ygap=1,
            hovertemplate=f"%{{y}}, {column} %{{x}}: %{{customdata:,}} cells, %{{z:.0%}} of the label<extra></extra>",
            colorbar=_bar("share of the label's cells"),
        )
    )
    figure.update_xaxes(type="category", title={"text": column}, showgrid=False, ticks="", showline=False)
    return _with_rows(figure, len(frame))


def silhouette_frame(table: pd.DataFrame) -> pd.DataFrame:
    """Mean silhouette width of each label in each batch.

    Parameters
    ----------
    table
        From `evaluation.evaluation_table`.

    Returns
    -------
    Labels x batches, the label that lies best on its own first; the first column, "all batches", is of all its cells.
    Not-a-number where a batch has no such cells. `attrs["n_cells"]`: as many cells, in the same shape. Empty, with
    `attrs["reason"]`, without labels.
    """
    rows = table[(table["score"] == "asw") & (table["label"] != "")]
    if rows.empty:
        return empty_frame("No cell has a label, so that there is no silhouette. Choose a label column.")
    rows = rows.assign(batch=rows["batch"].replace("", "all batches"))
    wide = rows.pivot_table(index="label", columns="batch", values="value", dropna=False)
    sizes = rows.pivot_table(index="label", columns="batch", values="n_cells", fill_value=0)
    order = wide["all batches"].sort_values(ascending=False, kind="stable").index
    columns = ["all batches", *(name for name in wide.columns if name != "all batches")]
    found: pd.DataFrame = wide.reindex(index=order, columns=columns)
    found.attrs["n_cells"] = sizes.reindex(index=order, columns=columns, fill_value=0).to_numpy()
    return found


def plot_silhouettes(frame: pd.DataFrame) -> go.Figure:
    """Draw silhouette widths as colours around 0; from `silhouette_frame`."""
    if frame.empty:
        return empty_figure(reason_of(frame))
    figure = new_figure(uirevision="silhouettes")
    figure.add_trace(
        go.Heatmap(
            z=frame.to_numpy(dtype=float),
            x=[plain_text(name) for name in frame.columns],
            y=[plain_text(name) for name in frame.index],
            customdata=frame.attrs["n_cells"],
            colorscale=SIGNED_SCALE,
            zmin=-1,
            zmax=1,
            xgap=1,
            ygap=1,
            hoverongaps=False,
            texttemplate="%{z:.2f}" if frame.size <= 200 else None,
            hovertemplate="%{y}, %{x}: silhouette %{z:.2f}, %{customdata:,} cells<extra></extra>",
            colorbar=_bar("silhouette width"),
        )
    )
    figure.update_xaxes(type="category", showgrid=False, ticks="", showline=False)
    return _with_rows(figure, len(frame))


def _bar(title: str) -> dict[str, object]:
    """A thin bar above the rows, at the left."""
    return {
        "title": {"text": title, "side": "top", "font": {"size": 12}}, "orientation": "h", "thickness": 8,
        "lenmode": "pixels", "len": 200, "x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom", "nticks": 5,
    }  # fmt: skip


def _with_rows(figure: go.Figure, n_rows: int) -> go.Figure:
    figure.update_yaxes(
        autorange="reversed", showgrid=False, ticks="", showline=False, type="category", tickfont={"size": 12}
    )
    figure.update_layout(height=_MARGIN + 60 + ROW_HEIGHT * max(n_rows, 4), margin={"t": _MARGIN}, dragmode=False)
    return figure


def agreement_frame(table: pd.DataFrame) -> pd.DataFrame:
    """ARI and NMI of the clusters at each resolution.

    Parameters
    ----------
    table
        From `evaluation.evaluation_table`.

    Returns
    -------
    `resolution`, `ari`, `nmi`, rising; `attrs["fixed"]` and `attrs["best"]`, resolutions. Empty, with
    `attrs["reason"]`, without labels.
    """
    at = {name: table[table["score"] == f"{name} at resolution"].set_index("label")["value"] for name in ("ari", "nmi")}
    if at["ari"].empty:
        return empty_frame("No cell has a label to agree with. Choose a label column.")
    frame = pd.DataFrame(at).rename_axis("resolution").reset_index()
    frame = frame.assign(resolution=frame["resolution"].astype(float)).sort_values("resolution", ignore_index=True)
    overall = table[table["label"] == ""].set_index("score")["value"]
    frame.attrs |= {"fixed": float(overall["fixed_resolution"]), "best": float(overall["best_resolution"])}
    return frame


def plot_agreement(frame: pd.DataFrame, *, resolution: float | None = None) -> go.Figure:
    """Draw ARI and NMI against the resolution, the fixed and the best one marked; from `agreement_frame`.

    Parameters
    ----------
    resolution
        Another one to mark: that of the clusters shown elsewhere.
    """
    if frame.empty:
        return empty_figure(reason_of(frame))
    figure = new_figure(uirevision="agreement")
    for name, color, dash in (("ari", ACCENT, "solid"), ("nmi", MUTED, "dot")):
        figure.add_trace(
            go.Scatter(
                x=frame["resolution"],
                y=frame[name],
                mode="lines+markers",
                name=name.upper(),
                line={"color": color, "dash": dash, "width": 1.5},
                marker={"size": 6},
                hovertemplate=name.upper() + " %{y:.3f} at resolution %{x:g}<extra></extra>",
            )
        )
    marks = {"fixed beforehand": frame.attrs["fixed"], "best by the labels": frame.attrs["best"]}
    if marks["fixed beforehand"] == marks["best by the labels"]:
        marks = {"fixed beforehand, and best": frame.attrs["fixed"]}
    for place, (words, value) in enumerate(marks.items()):
        figure.add_vline(x=value, line={"color": MUTED, "width": 1, "dash": "dash"})
        figure.add_annotation(
            x=np.log10(value), y=1.02 + 0.09 * place, yref="paper", yanchor="bottom", text=words, showarrow=False,
            font={"size": 11, "color": MUTED},
        )  # fmt: skip
    if resolution is not None:
        figure.add_vline(x=resolution, line={"color": ACCENT, "width": 1})
    figure.update_xaxes(
        type="log", title={"text": "Leiden resolution"}, tickvals=frame["resolution"],
        ticktext=[f"{value:g}" for value in frame["resolution"]], tickfont={"size": 11},
    )  # fmt: skip
    figure.update_yaxes(range=[0, 1.02], title={"text": "agreement with the labels"})
    figure.update_layout(
        height=300,
        margin={"t": 50},
        dragmode=False,
        legend={"x": 1, "xanchor": "right", "y": 0.02, "yanchor": "bottom"},
    )
    return figure
