"""Which data can I use, and are they fit for training? Files, uploads, and the pre-flight report of one of them."""

from __future__ import annotations

from typing import Any

import dash
import dash_ag_grid as dag
import dash_mantine_components as dmc
import pandas as pd
from dash import Input, Output, State, callback, ctx, dcc, html, no_update
from dash.development.base_component import Component

from pages._shared import ids, studio
from pages._shared.export import csv_button, csv_download
from pages._shared.parts import (
    card,
    empty_state,
    figure_card,
    link_button,
    notice,
    page,
    size_in_words,
    upload_box,
)
from scetm_core.config import DataConfig, run_config_from_flat
from scetm_core.data.catalog import UPLOAD_ENDINGS
from scetm_core.data.checks import CheckReport, check_dataset
from scetm_core.data.demo import write_demo
from scetm_core.data.describe import ColumnSummary, DatasetSummary, describe_dataset
from scetm_core.data.findings import Finding
from scetm_core.errors import DataError
from scetm_core.figures import plot_histogram
from scetm_core.presets import PRESETS

dash.register_page(__name__, path="/data", name="Data", title="Data · scETM Studio", order=10, group="Prepare")

FILES = "data-files"
UPLOADED = "uploaded"  # named in assets/studio.js
DEMO = "data-demo"
REPORT = "data-report"
CHOSEN = "data-chosen"
COUNTS = "counts-histogram"
GENES = "genes-histogram"

LEVEL_COLORS = {"ok": "teal", "note": "gray", "warning": "yellow", "error": "red"}
LEVEL_WORDS = {"ok": "fine", "note": "note", "warning": "look", "error": "stop"}


def layout(file: str | None = None, **_: str) -> Component:
    """The page: files on the left, the report of the chosen one on the right."""
    return page(
        "Data",
        "Which cells shall the model learn from, and are their counts fit for it?",
        dcc.Store(id=UPLOADED),
        dcc.Store(id=CHOSEN, data=file),
        html.Div([dmc.Stack([_files_card(file), _add_card()], gap="md"), _report_area(file)], className="data-grid"),
    )


def _files_card(file: str | None) -> Component:
    files = studio.current().data_files()
    rows = [
        {"ref": f.ref, "name": f.name, "where": f.ref.removesuffix(f"/{f.name}"), "size": size_in_words(f.size),
         "href": f"/data?file={f.ref}"}
        for f in files
    ]  # fmt: skip
    table = dag.AgGrid(
        id=FILES,
        columnDefs=[
            {"field": "name", "headerName": "File", "cellRenderer": "RunLink", "flex": 1, "minWidth": 190},
            {"field": "where", "headerName": "Folder", "width": 90},
            {"field": "size", "headerName": "Size", "width": 90, "type": "rightAligned"},
        ],
        rowData=rows,
        rowClassRules={"row-chosen": f"params.data.ref === {(file or '')!r}"},
        dashGridOptions={"domLayout": "autoHeight", "pagination": len(rows) > 20, "paginationPageSize": 20},
        defaultColDef={"sortable": True, "resizable": True},
        className="table",
        style={"height": None},
    )
    nothing = dmc.Text("No data set yet. Take the demo data, or upload a file.", size="sm", c="dimmed")
    return card(table if rows else nothing, title="Files")


def _add_card() -> Component:
    limit = size_in_words(studio.current().upload_limit)
    return card(
        dmc.Stack(
            [
                dmc.Button("Use demo data", id=DEMO, variant="light", fullWidth=True),
                upload_box(),
                dmc.Text(
                    f"Up to {limit}; it stays on this computer. Readable: {', '.join(UPLOAD_ENDINGS)}. For .zarr and "
                    "10x folders, start the app with --data-dir FOLDER.",
                    size="xs",
                    c="dimmed",
                ),
            ],
            gap="sm",
        ),
        title="Add data",
    )


def _report_area(file: str | None) -> Component:
    if not file:
        return empty_state(
            "No file chosen",
            "Choose a file on the left to see what is in it and whether the model can be trained on it.",
        )
    return html.Div(dmc.Stack([dmc.Skeleton(height=180), dmc.Skeleton(height=300)]), id=REPORT)


@callback(Output(REPORT, "children"), Input(CHOSEN, "data"))
def show_report(file: str | None) -> Any:
    """Check the chosen file and say what was found."""
    if not file:
        return no_update
    try:
        path = studio.current().catalog().resolve(file)
        summary = describe_dataset(path)
        standard = run_config_from_flat(PRESETS["standard"].values)
        report = check_dataset(guessed_config(summary), model=standard.model, train=standard.train)
    except DataError as error:
        return notice(str(error), title=f"{file.rsplit('/', 1)[-1]} cannot be used")
    return dmc.Stack([_findings_card(file, report), _histograms(report), _columns_card(summary)], gap="md")


def guessed_config(summary: DatasetSummary) -> DataConfig:
    """The data settings that the names of the columns suggest; the Train page lets one change them."""
    return DataConfig(
        path=str(summary.path),
        batch_key=next(iter(summary.suggested_batch_keys), None),
        label_key=next(iter(summary.suggested_label_keys), None),
    )


def _findings_card(file: str, report: CheckReport) -> Component:
    head = dmc.Text(
        f"{report.n_cells:,} cells · {report.n_genes:,} genes · {report.n_nonzero:,} counts above 0",
        className="numbers",
    )
    verdict = "Ready to train." if report.ok else "This cannot be trained on as it is."
    return card(
        head,
        dmc.Text(verdict, fw=600, c="teal" if report.ok else "red", mb="sm"),
        html.Ul([_finding(finding) for finding in report.findings], className="findings"),
        title=file.rsplit("/", 1)[-1],
        actions=[link_button("Train on this", f"/train?file={file}", variant="filled")] if report.ok else [],
    )


def _finding(finding: Finding) -> Component:
    badge = dmc.Badge(LEVEL_WORDS[finding.level], color=LEVEL_COLORS[finding.level], variant="light", w=64, size="sm")
    text: list[Any] = [html.B(f"{finding.topic}. "), finding.message]
    advice = html.Span(f" {finding.advice}", className="advice") if finding.advice else None
    return html.Li([badge, html.Div([*text, advice])])


def _histograms(report: CheckReport) -> Component:
    how = "Most cells should form one hump. A second hump or a long tail at the left often holds empty droplets."
    cards = []
    for graph, values, title, unit in (
        (COUNTS, report.counts_per_cell, "Library size", "counts per cell"),
        (GENES, report.genes_per_cell, "Genes per cell", "genes with counts per cell"),
    ):
        box = figure_card(graph, title=title, how_to_read=how, height=260)
        box[graph].figure = plot_histogram(values, title=title, unit=unit)
        cards.append(box)
    return html.Div(cards, className="two-columns")


def _columns_card(summary: DatasetSummary) -> Component:
    rows = [
        dmc.TableTr(
            [
                dmc.TableTd(html.Code(column.name)),
                dmc.TableTd(column.kind),
                dmc.TableTd(f"{column.n_unique:,}", className="number"),
                dmc.TableTd(f"{column.n_missing:,}" if column.n_missing else "–", className="number"),
                dmc.TableTd(_top_values(column), className="top-values"),
            ]
        )
        for column in summary.columns
    ]
    head = dmc.TableThead(
        dmc.TableTr([dmc.TableTh(name) for name in ("Column", "Kind", "Values", "Missing", "Most frequent")])
    )
    nothing = dmc.Text("The file says nothing about its cells beyond their names.", size="sm", c="dimmed")
    named: dict[str, Any] = {"aria-label": "Columns of the cells"}
    table = html.Div(
        dmc.Table([head, dmc.TableTbody(rows)], miw=520),
        className="scrolls-sideways",
        role="region",
        tabIndex=0,
        **named,
    )
    return card(table if rows else nothing, title="What is known of the cells")


def _top_values(column: ColumnSummary) -> str:
    shown = ", ".join(f"{value} ({count:,})" for value, count in column.top[:5])
    return shown + (" …" if column.n_unique > 5 else "")


@callback(
    Output(ids.URL, "href", allow_duplicate=True),
    Input(DEMO, "n_clicks"),
    Input(UPLOADED, "data"),
    prevent_initial_call=True,
    running=[(Output(DEMO, "loading"), True, False)],
)
def add_data(n_clicks: int | None, uploaded: str | None) -> Any:
    """Write the demo data, or go to the file that has just arrived."""
    if ctx.triggered_id == UPLOADED and uploaded:
        return f"/data?file={uploaded}"
    if not n_clicks:
        return no_update
    write_demo(studio.current().demo_folder)
    return "/data?file=demo/mouse_pancreas.h5ad"


def _offer_csv(graph: str, attribute: str, unit: str) -> None:
    @callback(
        Output(csv_download(graph), "data"),
        Input(csv_button(graph), "n_clicks"),
        State(CHOSEN, "data"),
        prevent_initial_call=True,
    )
    def download(n_clicks: int | None, file: str) -> Any:
        if not n_clicks:
            return no_update
        report = check_dataset(guessed_config(describe_dataset(studio.current().catalog().resolve(file))))
        table = pd.DataFrame({unit: getattr(report, attribute)})
        return dcc.send_data_frame(table.to_csv, f"{file.rsplit('/', 1)[-1]}-{graph}.csv", index=False)


_offer_csv(COUNTS, "counts_per_cell", "counts_per_cell")
_offer_csv(GENES, "genes_per_cell", "genes_per_cell")
