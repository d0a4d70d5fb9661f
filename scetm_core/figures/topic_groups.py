"""Which topics does each group of cells use?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from scetm_core import keys
from scetm_core.figures._heatmap import name_rows, topic_heatmap
from scetm_core.figures._result import empty_frame, reason_of, topic_values
from scetm_core.figures._theme import empty_figure, plain_text

if TYPE_CHECKING:
    import anndata as ad

N_GROUPS_AT_MOST = 500


def topic_mean_frame(result: ad.AnnData, *, groupby: str, use_rep: str = keys.THETA) -> pd.DataFrame:
    """Mean of each topic over the cells of each group.

    Parameters
    ----------
    result
        With theta or delta in obsm.
    groupby
        Column of obs with categories; cells without one are left out.
    use_rep
        "theta": share of the topic in a cell, between 0 and 1. "delta": its unnormalised strength, signed.

    Returns
    -------
    Groups x topics; theta's rows sum to 1. Groups as the column orders them; topics follow the group that uses them
    most, which makes the picture nearly block-diagonal. `attrs`: `groupby`, `use_rep`, `sizes` (group -> cells),
    `n_missing`. Empty, with `attrs["reason"]`, if there is no such column or it is no grouping.
    """
    values = topic_values(result, use_rep)
    if values.empty:
        return values
    if groupby not in result.obs:
        return empty_frame(f"The cells have no column '{groupby}'. Pick another grouping.")
    groups = result.obs[groupby]
    n_groups = groups.nunique()
    if n_groups == 0 or n_groups > N_GROUPS_AT_MOST:
        return empty_frame(f"'{groupby}' has {n_groups:,} different values and is no grouping. Pick another column.")
    groups = groups.astype("category").cat.remove_unused_categories()
    means = values.groupby(groups, observed=True).mean()
    order = np.lexsort((-means.to_numpy().max(axis=0), means.to_numpy().argmax(axis=0)))
    frame = means.iloc[:, order]
    frame.index = pd.Index([str(name) for name in frame.index], name=groupby)
    sizes = groups.value_counts(sort=False)
    frame.attrs |= {
        "groupby": groupby,
        "use_rep": use_rep,
        "sizes": {str(name): int(size) for name, size in sizes.items()},
        "n_missing": int(groups.isna().sum()),
    }
    return frame


def plot_topic_heatmap(frame: pd.DataFrame, *, topic_names: Mapping[str, str] | None = None) -> go.Figure:
    """Draw groups x topics, with the number of cells beside each group's name.

    Parameters
    ----------
    frame
        From `topic_mean_frame`.
    topic_names
        Names given to topics: "topic_7" -> "beta cells".
    """
    if frame.empty:
        return empty_figure(reason_of(frame))
    attrs = frame.attrs
    what = f"mean {attrs['use_rep']}"
    left_out = (
        f" ({attrs['n_missing']:,} cells without {plain_text(attrs['groupby'])} left out)" if attrs["n_missing"] else ""
    )
    figure = topic_heatmap(
        frame,
        topic_names=topic_names,
        uirevision=f"topic-mean-{attrs['use_rep']}",
        signed=attrs["use_rep"] != keys.THETA,
        unit=what + left_out,
        hover="%{text}<br>topic_%{x}: " + what + " %{z:.3f}",
    )
    names = [plain_text(name) for name in frame.index]
    figure.data[0].text = [[name] * frame.shape[1] for name in names]
    shown = [f"{text} ({attrs['sizes'][name]:,})" for name, text in zip(frame.index, names, strict=True)]
    name_rows(figure, shown, row_height=20)
    return figure
