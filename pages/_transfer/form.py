"""To which cells is a model applied, and do their genes fit? The form of a transfer, with the report on the genes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import dash_mantine_components as dmc
from dash import ALL, Input, Output, State, callback, ctx, dcc, html, no_update
from dash.development.base_component import Component

from pages._shared import ids, studio
from pages._shared.opened import is_grouping
from pages._shared.parts import card, empty_state, link_button, notice, upload_box
from scetm_core import jobs, keys
from scetm_core.config import DataConfig, RunConfig
from scetm_core.data.demo import HUMAN, MOUSE
from scetm_core.data.describe import describe_dataset
from scetm_core.errors import ConfigError, DataError, ScetmError
from scetm_core.gene_alignment import GeneReport
from scetm_core.runs import Run, new_run_path
from scetm_core.settings import SettingField, settings_of
from scetm_core.transfer import gene_report, transfer_config
from scetm_core.transfer_settings import NOTHING, TransferConfig

FILE = "transfer-file"
REPORT = "transfer-report"
SUBMIT = "transfer-submit"
UPLOADED = "uploaded-names"  # named in assets/studio.js
ADD = "transfer-add-names"
MODAL = "transfer-names"

SETTINGS = {entry.name: entry for config in (RunConfig, DataConfig, TransferConfig) for entry in settings_of(config)}
OF_DATA = ("batch_key", "label_key", "layer")
MAIN = ("fine_tune", "orthologs", "source_label_key")
FOLDED = ("name", "aliases", "several", "false_positive_rate")
TRAINING = ("max_steps", "learning_rate", "seed")
OFFERED = (*OF_DATA, *MAIN, *FOLDED, *TRAINING)
X = "X"  # how the choice of counts names the main matrix
LEARNT = {
    NOTHING: "Nothing (zero-shot)",
    "encoder": "Encoder; topics stay",
    "new genes": "Genes that the model does not know",
    "everything": "Everything, at a small rate",
}
ORTHOLOGS = {"auto": "As the names ask for it", "none": "None: one species", "human2mouse": "Human and mouse, packaged"}
WORDS = {
    "batch_key": (
        "Batch column",
        "Column of the target that tells its batches apart. The encoder is not told; each gets intercepts of its own.",
    ),
    "label_key": ("Label column", "Known cell types of the target, if there are any: only to judge the labels given."),
    "fine_tune": (
        "Learn from the target",
        "Zero-shot takes some seconds. Where the data sets differ, e.g. across species, the "
        "encoder trained on some steps of the target (no label is used) often places its cells far better.",
    ),
    "orthologs": ("Orthologs", "Pairs of human and mouse genes come with the app; a table of your own can be added."),
    "max_steps": ("Training steps", "Empty: as suits what is learnt."),
    "learning_rate": ("Learning rate", "Empty: as suits what is learnt."),
    "seed": ("Seed", "Empty: that of the source."),
}
"""Label and meaning of fields for which those of the setting are for another place."""


def field_id(name: str) -> dict[str, str]:
    """Id of the field of a setting."""
    return {"type": "transfer-setting", "name": name}


ANY = {"type": "transfer-setting", "name": ALL}


def layout(source: Run, file: str | None) -> Component:
    """The form, filled in for `file`, or the data set that suggests itself."""
    refs = [entry.ref for entry in studio.current().data_files()]
    if not refs:
        return empty_state(
            "No data yet",
            "Upload the cells that the model is to be applied to, or take the demo data.",
            link_button("Go to Data", "/data", variant="filled"),
        )
    chosen = file if file in refs else suggested(source, refs)
    columns = grouping_columns(source)
    tables = studio.current().names_tables()
    return html.Div(
        [
            dcc.Store(id=UPLOADED),
            dmc.Stack(
                [
                    card(
                        dmc.Select(id=FILE, label="Cells to apply it to", data=refs, value=chosen, searchable=True,
                                   allowDeselect=False),
                        html.Div([_field(name, data=[]) for name in OF_DATA], className="field-row"),
                        title="Target",
                    ),
                    card(
                        html.Div(
                            [
                                _field("fine_tune", data=_options(LEARNT), value=NOTHING),
                                _field("orthologs", data=[*_options(ORTHOLOGS), *tables], value="auto"),
                                _field("source_label_key", data=columns, value=columns[0]),
                            ],
                            className="field-row",
                        ),
                        _folded(tables),
                        title="Settings",
                    ),
                ],
                gap="md",
            ),
            _side(source),
            _add_names(),
        ],
        className="form-grid",
    )  # fmt: skip


def suggested(source: Run, refs: Sequence[str]) -> str:
    """The data set to begin with: of the demo data the other species', else the first that is not the source's own."""
    own = Path(source.config.data.path).name
    other = {MOUSE: HUMAN, HUMAN: MOUSE}.get(own)
    ranked = [ref for ref in refs if Path(ref).name == other] + [ref for ref in refs if Path(ref).name != own]
    return (ranked or list(refs))[0]


def grouping_columns(source: Run) -> list[str]:
    """Columns whose labels a source can give, the one that is given by default first."""
    obs = studio.load_result(source.id).obs
    groups = [name for name, values in obs.items() if is_grouping(values)]
    first = source.config.data.label_key or keys.LEIDEN
    return sorted(groups, key=lambda name: name != first)


def _options(words: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"value": value, "label": label} for value, label in words.items()]


def _field(name: str, *, data: Sequence[Any] | None = None, value: Any = None) -> Component:
    """A field; one whose choices depend on the file is filled by a callback."""
    label, text = WORDS.get(name) or (SETTINGS[name].setting.label, SETTINGS[name].setting.help)
    common: dict[str, Any] = {
        "id": field_id(name), "label": label, "description": text, "value": value,
        "inputWrapperOrder": ["label", "input", "error", "description"],
    }  # fmt: skip
    if data is not None:
        must = name in ("fine_tune", "orthologs", "several", "layer", "source_label_key")
        return dmc.Select(
            **common, data=list(data), searchable=True, clearable=not must, allowDeselect=not must,
            placeholder=None if must else "none",
        )  # fmt: skip
    if name == "name":
        return dmc.TextInput(**common)
    return dmc.NumberInput(**common, clampBehavior="none", allowDecimal=name not in ("max_steps", "seed"))


def _folded(tables: Sequence[str]) -> Component:
    entry: SettingField = SETTINGS["several"]
    fields = [
        _field("name"),
        _field("aliases", data=list(tables)),
        _field("several", data=list(entry.setting.choices), value=entry.default),
        _field("false_positive_rate", value=SETTINGS["false_positive_rate"].default),
        *[_field(name) for name in TRAINING],
    ]
    button = dmc.Button("Add a table of gene names", id=ADD, variant="subtle", color="gray", size="compact-sm")
    panel = dmc.AccordionPanel([html.Div(fields, className="field-row"), button])
    item = dmc.AccordionItem([dmc.AccordionControl("More settings"), panel], value="more")
    return dmc.Accordion([item], variant="separated", mt="md")


def _side(source: Run) -> Component:
    return html.Div(
        card(
            dmc.Text(f"Model: {studio.run_label(source)}", size="sm", fw=500, mb="xs"),
            html.Div(dmc.Skeleton(height=160), id=REPORT),
            dmc.Button("Transfer", id=SUBMIT, fullWidth=True, mt="md", disabled=True),
            title="Do the genes fit?",
        ),
        className="form-side",
    )


def _add_names() -> Component:
    words = (
        "A .csv or .tsv. Orthologs: two columns whose names or genes say which species is which. Aliases: name in the "
        "target, name in the source. It stays on this computer, and is chosen under Orthologs or Table of aliases."
    )
    return dmc.Modal(
        dmc.Stack([upload_box("names"), dmc.Text(words, size="xs", c="dimmed")]), id=MODAL, opened=False,
        title="Add a table of gene names",
    )  # fmt: skip


@callback(Output(MODAL, "opened"), Input(ADD, "n_clicks"), prevent_initial_call=True)
def open_modal(n_clicks: int | None) -> bool:
    """Show the upload of a table."""
    return bool(n_clicks)


@callback(
    Output(field_id("orthologs"), "data"),
    Output(field_id("aliases"), "data"),
    Output(MODAL, "opened", allow_duplicate=True),
    Input(UPLOADED, "data"),
    prevent_initial_call=True,
)
def offer_table(ref: str | None) -> tuple[Any, Any, Any]:
    """Offer a table that was uploaded."""
    if not ref:
        return no_update, no_update, no_update
    tables = studio.current().names_tables()
    return [*_options(ORTHOLOGS), *tables], tables, False


@callback(
    *(Output(field_id(name), prop) for name in OF_DATA for prop in ("data", "value")),
    Output(field_id("name"), "value"),
    Input(FILE, "value"),
    State(ids.ACTIVE_RUN, "data"),
)
def offer_columns(ref: str, run_id: str) -> tuple[Any, ...]:
    """Offer the columns and layers of the target, and guess which are meant."""
    path = studio.current().catalog().resolve(ref)
    name = f"{studio.open_run(run_id).config.name} on {path.name.split('.')[0].replace('_', ' ')}"[:120]
    try:
        summary = describe_dataset(path)
    except DataError:  # the report says what is wrong
        return [], None, [], None, [X], X, name
    columns = [column.name for column in summary.columns]
    batch = next(iter(summary.suggested_batch_keys), None)
    label = next(iter(summary.suggested_label_keys), None)
    sources = list(summary.sources) or [X]
    return columns, batch, columns, label, sources, sources[0], name


@callback(
    Output(REPORT, "children"),
    Output(SUBMIT, "disabled"),
    Output(ANY, "error"),
    Input(FILE, "value"),
    Input(ANY, "value"),
    State(ANY, "id"),
    State(ids.ACTIVE_RUN, "data"),
)
def show_report(ref: str, values: list[Any], fields: list[dict[str, str]], run_id: str) -> tuple[Any, bool, list[Any]]:
    """How the genes of the target fit those of the model, as the form stands."""
    errors: list[str | None] = [None] * len(fields)
    typed = _typed(fields, values)
    if "name" not in typed:  # not offered yet, or emptied
        return no_update, True, errors
    try:
        config = read_form(studio.open_run(run_id), ref, typed)
        report = _report(run_id, config.data, _settings_of(config), _stamp(config))
    except ConfigError as error:
        names = [field["name"] for field in fields]
        if error.field in names:
            errors[names.index(error.field)] = str(error)
        return notice(str(error)), True, errors
    except ScetmError as error:
        return notice(str(error), title="This cannot be transferred"), True, errors
    return report_view(report), False, errors


def _typed(fields: Sequence[Mapping[str, str]], values: Sequence[Any]) -> dict[str, Any]:
    pairs = zip((field["name"] for field in fields), values, strict=True)
    return {name: value for name, value in pairs if name in OFFERED and value not in (None, "")}


def read_form(source: Run, ref: str, typed: Mapping[str, Any]) -> RunConfig:
    """The transfer that the form asks for.

    Raises
    ------
    ConfigError
        If a setting is wrong; it names the field.
    DataError
        If a file is gone.
    """
    catalog = studio.current().catalog()
    given = {name: value for name, value in typed.items() if name in SETTINGS}
    for name in ("orthologs", "aliases"):
        if name in given and not (name == "orthologs" and given[name] in ORTHOLOGS):
            given[name] = str(catalog.resolve(str(given[name])))
    if given.get("layer") == X:
        del given["layer"]
    of_data = {name: given[name] for name in OF_DATA if name in given}
    of_transfer = {entry.name for entry in settings_of(TransferConfig)}
    whole = {name: int(typed[name]) for name in ("max_steps", "seed") if name in typed}
    return transfer_config(
        source,
        data=DataConfig(path=str(catalog.resolve(ref)), **of_data),
        transfer=TransferConfig(
            source_run=source.id, **{name: value for name, value in given.items() if name in of_transfer}
        ),
        name=str(given.get("name", "transfer")),
        train={**whole, **({"learning_rate": typed["learning_rate"]} if "learning_rate" in typed else {})},
    )


def _settings_of(config: RunConfig) -> TransferConfig:
    """What the report depends on, of a transfer's settings."""
    assert config.transfer is not None
    return dataclasses.replace(config.transfer, fine_tune=NOTHING, false_positive_rate=0.05)


def _stamp(config: RunConfig) -> int:
    path = Path(config.data.path)
    return path.stat().st_mtime_ns if path.exists() else 0


@studio.remembered(maxsize=16)
def _report(run_id: str, data: DataConfig, settings: TransferConfig, stamp: int) -> GeneReport:
    return gene_report(studio.open_run(run_id), data, settings)


def report_view(report: GeneReport) -> Component:
    """The report in words: how much is covered, then how; warnings stand out."""
    covered = "" if report.covered is None else f"{report.covered:.0%} of the target's counts are covered"
    return dmc.Stack(
        [
            dmc.Text(covered, fw=600, c="orange" if report.warnings else "teal"),
            *[notice(warning, color="yellow") for warning in report.warnings],
            html.Ul([html.Li(sentence) for sentence in report.sentences()], className="sentences"),
        ],
        gap="xs",
    )


@callback(
    Output(ids.URL, "href", allow_duplicate=True),
    Input(SUBMIT, "n_clicks"),
    State(FILE, "value"),
    State(ANY, "value"),
    State(ANY, "id"),
    State(ids.ACTIVE_RUN, "data"),
    prevent_initial_call=True,
    running=[(Output(SUBMIT, "loading"), True, False)],
)
def create_transfer(
    n_clicks: int | None, ref: str, values: list[Any], fields: list[dict[str, str]], run_id: str
) -> Any:
    """Make the run's folder, start it, and go to it."""
    if not n_clicks or ctx.triggered_id != SUBMIT:
        return no_update
    config = read_form(studio.open_run(run_id), ref, _typed(fields, values))
    run = Run.create(new_run_path(studio.current().runs_folder, config.name), config)
    jobs.start(run, n_slots=studio.current().n_slots)
    return f"/transfer?run={run.id}"
