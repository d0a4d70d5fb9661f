"""What can cells be coloured by? Columns of obs, topics, genes: the choice, and the frame of a map that follows it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dash_mantine_components as dmc
import numpy as np
import numpy.typing as npt
import pandas as pd
from dash.development.base_component import Component

from pages._shared import studio
from scetm_core import keys
from scetm_core.config import DataConfig
from scetm_core.data.expression import gene_expression, search_genes
from scetm_core.errors import DataError, ScetmError
from scetm_core.figures import empty_frame, umap_frame
from scetm_core.gene_alignment import SEVERAL
from scetm_core.links import refuse_foreign_links
from scetm_core.runs import Run

if TYPE_CHECKING:
    import anndata as ad

N_GENES_OFFERED = 30


def color_select(component_id: str, *, label: str, data: list[dict[str, Any]], value: str) -> Component:
    """A searchable choice of what to colour by; genes join as their names are typed."""
    return dmc.Select(
        id=component_id,
        label=label,
        data=data,
        value=value,
        searchable=True,
        allowDeselect=False,
        limit=200,
        placeholder="column, topic or gene",
        nothingFoundMessage="No column, topic or gene of that name",
        className="color-select",
    )


def choices(
    result: ad.AnnData, *, typed: str = "", chosen: str | None = None, names: Mapping[str, str] | None = None
) -> list[dict[str, Any]]:
    """Groups of choices for a `color_select`: all columns and topics, and the genes that match what is typed."""
    columns = list(result.obs.columns)
    names = names or {}
    topics = [keys.topic_name(topic) for topic in range(result.obsm[keys.DELTA].shape[1])]
    taken = {*columns, *topics}
    genes = search_genes(list(result.var_names), typed, limit=N_GENES_OFFERED) if typed else []
    if chosen and chosen not in taken and chosen not in genes and chosen in result.var_names:
        genes = [chosen, *genes]
    groups = {"Columns": columns, "Topics": topics, "Genes": [gene for gene in genes if gene not in taken]}
    return [
        {"group": name, "items": [{"value": item, "label": label_of(item, names)} for item in items]}
        for name, items in groups.items()
        if items
    ]


def label_of(color: str, names: Mapping[str, str]) -> str:
    """What a column, topic or gene is called in lists; a topic by its name as well."""
    number = color.removeprefix("topic_")
    return studio.topic_label(int(number), names) if color != number and number.isdecimal() else color


def default_colors(result: ad.AnnData, run_id: str) -> tuple[str, str]:
    """Batch and label of the run's settings; where there is none, clusters, then counts."""
    data = studio.open_run(run_id).config.data
    wanted = (data.batch_key, data.label_key, keys.LEIDEN, keys.N_COUNTS)
    found = [key for key in wanted if key is not None and key in result.obs]
    return found[0], found[1] if len(found) > 1 else found[0]


def colored_frame(run_id: str, color: str) -> pd.DataFrame:
    """The cells of a run coloured by a column, a topic or a gene.

    Empty, with the reason in `attrs["reason"]`, if a gene's expression cannot be read from the input.
    """
    result = studio.load_result(run_id)
    if color in result.obs or color not in result.var_names:
        frame = umap_frame(result, color=color)
        if not frame.empty and color not in result.obs:
            frame.attrs["title"] = label_of(color, studio.open_run(run_id).topic_names())
        return frame
    try:
        return umap_frame(result, color=color, values=expression_of(run_id, color))
    except ScetmError as error:
        return empty_frame(str(error))


def category_column(run_id: str, color: str) -> str | None:
    """The column of obs that `color` is, if it sorts cells into categories: one whose colours can be chosen."""
    obs = studio.load_result(run_id).obs
    if color not in obs:
        return None
    is_number = pd.api.types.is_numeric_dtype(obs[color]) and not pd.api.types.is_bool_dtype(obs[color])
    return None if is_number else color


def _expression(result: ad.AnnData, data: DataConfig, gene: str) -> pd.Series[float]:
    """Expression of a gene of the model; in a transfer, of the target's genes that stand for it."""
    if keys.TARGET_GENE not in result.var:
        return gene_expression(data, gene)
    target = str(result.var.loc[gene, keys.TARGET_GENE])
    if not target:
        raise DataError(f"{gene} was not measured in {Path(data.path).name}: the model knows it from its source.")
    parts = pd.concat([gene_expression(data, name) for name in target.split(SEVERAL)], axis=1)
    return pd.Series(np.log1p(np.expm1(parts.to_numpy()).sum(axis=1)), index=parts.index, name=gene)


def numbers_of(run_id: str, what: str) -> npt.NDArray[np.float64]:
    """A number per cell of a run: theta of "topic_7", a numeric column, or the expression of a gene; NaN where unknown.

    Raises
    ------
    DataError
        If there is nothing so called, or it is no number, or a gene's expression cannot be read.
    """
    result = studio.load_result(run_id)
    if what in result.obs:
        column = result.obs[what]
        if not pd.api.types.is_numeric_dtype(column):
            raise DataError(f"{what} is no number. Select by its categories instead.")
        return np.asarray(column.to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64)
    topic = keys.topic_number(what)
    if topic is not None and topic < result.obsm[keys.THETA].shape[1]:
        return np.asarray(result.obsm[keys.THETA][:, topic], dtype=np.float64)
    if what not in result.var_names:
        raise DataError(f"There is no column, topic or gene called {what!r}.")
    return np.asarray(expression_of(run_id, what).reindex(result.obs_names), dtype=np.float64)


def expression_of(run_id: str, gene: str) -> pd.Series[float]:
    """Expression of a gene of a run, by cell name; read once and kept while the run is looked at."""
    run = studio.open_run(run_id)
    return _expression_of(run.path, studio.result_stamp(run), gene)


@functools.lru_cache(maxsize=4)
def _expression_of(path: Path, stamp: int, gene: str) -> pd.Series[float]:
    run = Run(path)
    refuse_foreign_links(run.config.data.path)
    return _expression(studio.result_of(run), run.config.data, gene)


def map_table(run_id: str, color: str) -> pd.DataFrame:
    """The table behind a map, by cell name: its place, and what it is coloured by.

    Raises
    ------
    ScetmError
        If there is nothing to show; the text says why.
    """
    frame = colored_frame(run_id, color).rename(columns={"x": "umap_1", "y": "umap_2", "color": color})
    if frame.empty:
        raise ScetmError(frame.attrs["reason"])
    return frame.set_index("cell")
