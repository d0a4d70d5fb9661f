"""Which genes make up each topic? Leading genes with known markers among them, or the markers of cell types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import dash_mantine_components as dmc
import pandas as pd
import plotly.graph_objects as go
from dash import Input, Output, State, callback, html
from dash.development.base_component import Component

from pages._shared import ids, studio
from pages._shared.parts import figure_card
from pages._topics.cell_heatmaps import NONE_LEFT
from pages._topics.drawing import show_heatmap
from pages._topics.ids import GENES, SHOWN
from pages._topics.known import known_markers, suggestions, tissues
from scetm_core import keys
from scetm_core.figures import (
    empty_frame,
    gene_topic_frame,
    marker_topic_frame,
    plot_gene_topic_heatmap,
    topics_with_cells,
    types_marked,
)

N_GENES = "topics-n-genes"
ROWS = "topics-rows"
MARKERS = "topics-markers"
CELL_TYPES = "topics-cell-types"
ABOUT_MARKERS = "topics-about-markers"

LEADING, KNOWN = "leading", "known"
NO_MARKERS, ALL = "none", "all"
MARKED = "marked"  # attrs of the frame: gene -> cell types it marks

HOW_GENES = (
    "A row is a gene, a column a topic. Red: the topic makes the gene more likely, blue: less likely; values are "
    "divided by the largest of their topic. Rows are the leading genes of each topic, known markers in bold (hover to "
    "see of which cell type), or the markers themselves, by cell type. Click a column to look at its topic."
)


def genes_card() -> Component:
    """Genes x topics."""
    controls = [
        html.Div(
            [
                dmc.Text("Rows", size="sm", fw=500),
                dmc.SegmentedControl(
                    id=ROWS,
                    value=LEADING,
                    data=[{"value": LEADING, "label": "Leading genes"}, {"value": KNOWN, "label": "Known markers"}],
                ),
            ]
        ),
        dmc.NumberInput(
            id=N_GENES, label="Genes per topic or type", value=3, min=1, max=50, allowDecimal=False, w=170, debounce=400
        ),
        dmc.Select(
            id=MARKERS,
            label="Markers",
            data=[
                {"value": NO_MARKERS, "label": "none"},
                {"value": ALL, "label": "all tissues"},
                *[{"value": tissue, "label": tissue} for tissue in tissues()],
            ],
            value=ALL,
            allowDeselect=False,
            w=180,
        ),
        dmc.MultiSelect(
            id=CELL_TYPES, label="Cell types", data=[], placeholder="any", searchable=True, clearable=True, miw=220,
            maw=460,
        ),
        html.Div(id=ABOUT_MARKERS),
    ]  # fmt: skip
    return figure_card(
        GENES, title="Topics by gene", how_to_read=HOW_GENES, controls=controls, height=None, scrolls=True
    )


@callback(
    Output(CELL_TYPES, "data"),
    Output(CELL_TYPES, "value"),
    Output(ABOUT_MARKERS, "children"),
    Input(MARKERS, "value"),
    State(ids.ACTIVE_RUN, "data"),
)
def offer_types(tissue: str, run_id: str) -> tuple[list[str], list[str], Component | None]:
    """Cell types with markers among the run's genes; if there are none, why."""
    if tissue == NO_MARKERS:
        return [], [], None
    known = known_markers(run_id)
    words = dmc.Text(f"No marker can be shown. {known.reason}", size="sm", c="dimmed") if known.reason else None
    return sorted(known.of_tissues(_tissues(tissue))), [], words


def _tissues(tissue: str) -> list[str] | None:
    return None if tissue == ALL else [tissue]


def chosen_markers(run_id: str, tissue: str, types: Sequence[str] | None) -> dict[str, list[str]]:
    """Cell type -> markers, as chosen."""
    if tissue == NO_MARKERS:
        return {}
    markers = known_markers(run_id).of_tissues(_tissues(tissue))
    return {cell_type: genes for cell_type, genes in markers.items() if not types or cell_type in types}


def gene_frame(
    run_id: str,
    rows: str,
    n_genes: float | str | None,
    tissue: str,
    types: Sequence[str] | None,
    shown: Sequence[int] | None,
) -> pd.DataFrame:
    """Genes x the topics chosen, or those that cells use; `attrs["marked"]` tells which genes are markers."""
    if shown is not None and not shown:
        return empty_frame(NONE_LEFT)
    result = studio.load_result(run_id)
    topics = topics_with_cells(result) if shown is None else list(shown)
    markers = chosen_markers(run_id, tissue, types)
    n_rows = max(int(float(n_genes or 1)), 1)
    if rows == LEADING:
        frame = gene_topic_frame(result, n_genes=n_rows, topics=topics)
        return frame if frame.empty else _with_marks(frame, markers)
    if not markers:
        reason = known_markers(run_id).reason
        return empty_frame(reason or "No markers are chosen. Choose a tissue or cell types under 'Markers'.")
    if tissue == ALL and not types:
        markers = _of_suggested_types(run_id, markers, topics)
    return marker_topic_frame(result, markers, n_genes=n_rows, topics=topics)


def _with_marks(frame: pd.DataFrame, markers: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    frame.attrs[MARKED] = types_marked(markers)
    return frame


def _of_suggested_types(run_id: str, markers: dict[str, list[str]], topics: Sequence[int]) -> dict[str, list[str]]:
    """Markers of the types that lead a topic; all of 91 types would be a wall. All, where none leads."""
    table = suggestions(run_id)
    found = set(table.loc[[keys.topic_name(topic) for topic in topics], "cell_type"]) - {""}
    return {cell_type: genes for cell_type, genes in markers.items() if cell_type in found} or markers


def plot(frame: pd.DataFrame, *, topic_names: Mapping[str, str], selected_topic: int) -> go.Figure:
    """The heatmap, markers in bold."""
    return plot_gene_topic_heatmap(
        frame, highlight=frame.attrs.get(MARKED), topic_names=topic_names, selected_topic=selected_topic
    )


show_heatmap(
    GENES,
    [(ROWS, "value"), (N_GENES, "value"), (MARKERS, "value"), (CELL_TYPES, "value"), (SHOWN, "data")],
    gene_frame,
    plot,
)
