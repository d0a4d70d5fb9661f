"""What stands on the page of a transfer? Its scores, maps and figures, and the list of a run's transfers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dash_mantine_components as dmc
from dash import dcc, html
from dash.development.base_component import Component

from pages._evaluate.cards import SCORES, number
from pages._shared import studio
from pages._shared.parts import card, figure_card, link_button, notice, score_card, state_badge
from pages._shared.task_view import task_view
from scetm_core import jobs, keys
from scetm_core.runs import Run
from scetm_core.score_words import TRANSFER_WORDS

TASK = "transfer"
KIND = keys.TRANSFER_FOLDER
TABLE_NAME = "transfer-table-name"
TARGET_MAP = "transfer-umap"
SOURCE_MAP = "transfer-umap-source"
COLOR = "transfer-color"
LAYOUT = "transfer-layout"
JOINT_BOX = "transfer-joint-box"
LAY_OUT = "transfer-lay-out"
NAMES = "transfer-names-on-map"
CONFUSION = "transfer-confusion"
TOPIC_USE = "transfer-topic-use"
USE_GROUP = "transfer-use-group"
FLAGGED = "transfer-flagged"
FLAG_GROUP = "transfer-flag-group"
GENES = "transfer-genes"
GENES_DOWNLOAD = "transfer-genes-download"

OWN, JOINT = "source", "joint"  # which map
EVERY = "all cells"

HOW_MAP = (
    "Both panels are one map. A cell of the target lies where the source has cells of like topics, whether it is of "
    "their kind or not: look at 'unlike_source' and the confidence as well. Grey: the cells of the other side. On the "
    "joint map, which is laid out from both, cells of the target can form islands of their own."
)
HOW_CONFUSION = (
    "A row is a label that the target came with, a column the label that was given; bright: a large share of the row. "
    "The target's own labels had no part in giving them."
)
HOW_USE = (
    "Mean theta: the share of their reads that a topic explains, in cells of the source and of the target. Over all "
    "cells the two differ where the kinds of cells do; choose a label to compare like with like."
)
HOW_FLAGGED = (
    "A cell is flagged if it is less like its nearest cells of the source than those are which the source kept out of "
    "its training: about as many as the dotted line says, if the target is no different. A group far above the others "
    "is new to the source; where all stand high, the data sets differ as a whole."
)
OF_THE_PAPER = ("best_ari", "ari", "kbet", "asw")


def scores_card(run: Run, source: Run | None) -> Component:
    """The scores of a transfer, what was done, and how the genes fit."""
    found, report = run.evaluation(), run.transfer_report()
    cells = [
        score_card(SCORES[name].label, number(found[name]), SCORES[name].meaning)
        for name in OF_THE_PAPER
        if found.get(name) is not None
    ]
    cells += [
        score_card(label, f"{found[name]:.0%}", meaning)
        for name, (label, meaning) in TRANSFER_WORDS.items()
        if found.get(name) is not None
    ]
    genes = report.get("genes", {})
    download = dmc.Button("All genes (CSV)", id=GENES, variant="default", size="compact-sm")
    panel = dmc.AccordionPanel([_sentences(genes.get("sentences", [])), download])
    item = dmc.AccordionItem([dmc.AccordionControl("How the genes fit"), panel], value="genes")
    done = (
        f"{Path(run.config.data.path).name}, by the model of {source.config.name if source else 'a run that is gone'}"
    )
    return card(
        dmc.Text(done, size="sm", c="dimmed", mb="xs"),
        dmc.Group(cells, gap="xl"),
        *[notice(warning, color="yellow") for warning in genes.get("warnings", [])],
        _sentences(report.get("sentences", [])),
        dmc.Accordion([item], variant="separated", mt="sm", value=None, className="folded"),
        dcc.Download(id=GENES_DOWNLOAD),
        title="What came of it",
    )


def _sentences(texts: Sequence[str]) -> Component:
    return html.Ul([html.Li(text) for text in texts], className="sentences")


def maps_section(colors: Sequence[Any], color: str, *, names: tuple[str, str]) -> Component:
    """Source and target side by side, with what they are coloured by and on which map."""
    layouts = [{"value": OWN, "label": "Source's map"}, {"value": JOINT, "label": "Joint map"}]
    controls = dmc.Group(
        [
            dmc.Select(
                id=COLOR, label="Colour by", data=list(colors), value=color, searchable=True, allowDeselect=False,
                w={"base": "100%", "sm": 340},
            ),
            dmc.Stack(
                [dmc.Text("Map", size="sm", fw=500), dmc.SegmentedControl(id=LAYOUT, data=layouts, value=OWN)], gap=2
            ),
            dmc.Switch(id=NAMES, label="Names on the map", checked=True, size="sm", pb=8),
        ],
        align="flex-end",
        gap="lg",
    )  # fmt: skip
    joint = html.Div(
        dmc.Group(
            [
                dmc.Button("Lay out both together", id=LAY_OUT),
                dmc.Text("Some ten seconds for thousands of cells; it stays with the run.", size="sm", c="dimmed"),
            ]
        ),
        id=JOINT_BOX,
        style={"display": "none"},
    )
    maps = html.Div(
        [
            figure_card(graph, title=title, how_to_read=HOW_MAP, height=520, is_map=True, has_legend=True)
            for graph, title in ((SOURCE_MAP, f"Source: {names[0]}"), (TARGET_MAP, f"Target: {names[1]}"))
        ],
        className="two-columns",
    )
    return dmc.Stack(
        [controls, joint, dcc.Store(id=TABLE_NAME, data=keys.JOINT_MAP_TABLE), task_view(TASK), maps], gap="sm"
    )


def figures_section(
    *, labels: Sequence[str], groups: Sequence[str], group: str, has_known: bool, has_flags: bool
) -> Component:
    """Labels given against labels known, topics used more or less, cells flagged."""
    use = dmc.Select(
        id=USE_GROUP, label="Cells", data=[EVERY, *labels], value=EVERY, allowDeselect=False, searchable=True, w=230
    )
    flag = dmc.Select(id=FLAG_GROUP, label="Group by", data=list(groups), value=group, allowDeselect=False, w=230)
    confusion = figure_card(
        CONFUSION, title="Labels given against labels known", how_to_read=HOW_CONFUSION, height=None, scrolls=True
    )
    flagged = figure_card(
        FLAGGED, title="Cells unlike the source", how_to_read=HOW_FLAGGED, controls=[flag], height=None, scrolls=True
    )
    topics = figure_card(
        TOPIC_USE, title="Topics used more or less in the target", how_to_read=HOW_USE, controls=[use], height=None
    )
    beside = [*([confusion] if has_known else []), *([flagged] if has_flags else [])]
    return dmc.Stack([html.Div(beside, className="two-columns") if beside else None, topics], gap="md")


def transfers_card(source: Run) -> Component | None:
    """The transfers that were made from a run; None if there is none."""
    runs, _ = studio.list_readable_runs()
    rows = []
    for run in runs:
        transfer = run.config.transfer
        if transfer is None or (run.path.parent / transfer.source_run).resolve() != source.path.resolve():
            continue
        found = run.evaluation()
        accuracy, flagged = found.get("label_accuracy"), found.get("share_unlike_source")
        cells = [
            dcc.Link(run.config.name, href=f"/transfer?run={run.id}"),
            state_badge(jobs.state(run)),
            transfer.fine_tune,
            number(found.get("best_ari")),
            number(found.get("kbet")),
            "–" if accuracy is None else f"{accuracy:.0%}",
            "–" if flagged is None else f"{flagged:.0%}",
        ]
        rows.append(dmc.TableTr([dmc.TableTd(cell) for cell in cells]))
    if not rows:
        return None
    names = ("Transfer", "State", "Learnt", "ARI, best", "kBET", "Labels right", "Unlike the source")
    head = dmc.TableThead(dmc.TableTr([dmc.TableTh(name) for name in names]))
    table = dmc.TableScrollContainer(dmc.Table([head, dmc.TableTbody(rows)]), minWidth=640)
    return card(table, title="Transfers of this model")


def source_button(source: Run | None) -> list[Component]:
    """The way back to the model, and to another transfer of it."""
    if source is None:
        return []
    return [link_button("New transfer", f"/transfer?run={source.id}", variant="default")]
