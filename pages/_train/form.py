"""What should be trained, and on what? The form: data, preset, settings, and what to expect of them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dash_mantine_components as dmc
from dash import ALL, Input, Output, State, callback, ctx, html, no_update
from dash.development.base_component import Component

from pages._shared import ids, studio
from pages._shared.parts import card, duration, empty_state, link_button, notice
from pages._train.coverage import coverage_note
from pages._train.fields import (
    FILE_SETTINGS,
    FORM_SETTINGS,
    INPUT_ORDER,
    build_config,
    field,
    field_id,
    read_fields,
    values_for,
)
from scetm_core.config import DataConfig, RunConfig
from scetm_core.data.checks import CheckReport, check_dataset
from scetm_core.data.describe import describe_dataset
from scetm_core.data.estimate import estimate_cost
from scetm_core.errors import ConfigError, DataError, ScetmError
from scetm_core.presets import PRESETS, Preset
from scetm_core.runs import Run, new_run_path
from scetm_core.settings import settings_of

FILE = "train-file"
PRESET = "train-preset"
PREFLIGHT = "train-preflight"
EXPECT = "train-expect"
SUBMIT = "train-submit"

ANY_SETTING = {"type": "setting", "name": ALL}
ANY_SWITCH = {"type": "switch", "name": ALL}
ANY_DATA = {"type": "data-setting", "name": ALL}

MAIN = ("name", "n_topics", "max_steps", "minibatch_size", "seed", "device", "batch_intercept")
DATA_SETTINGS = {entry.name: entry for entry in settings_of(DataConfig)}
MORE_DATA = tuple(name for name, entry in DATA_SETTINGS.items() if entry.setting.group)
FIRST_PRESET = "quick"
X = "X"  # how the choice of counts names the main matrix


def data_field(name: str) -> dict[str, str]:
    """Id of a field whose choices depend on the file."""
    return {"type": "data-setting", "name": name}


def layout(file: str | None) -> Component:
    """The form, filled in for `file` or the first data set there is."""
    files = studio.current().data_files()
    if not files:
        return empty_state(
            "No data yet",
            "Take the demo data, upload a file, or start the app with --data-dir and a folder of yours.",
            link_button("Go to Data", "/data", variant="filled"),
        )
    refs = [entry.ref for entry in files]
    chosen = file if file in refs else refs[0]
    problem = notice(f"There is no data set {file!r}. It may have been deleted.") if file and file not in refs else None
    return html.Div([problem, html.Div([_settings_card(refs, chosen), _side()], className="form-grid")])


def _settings_card(refs: Sequence[str], chosen: str) -> Component:
    preset = PRESETS[FIRST_PRESET]
    return dmc.Stack(
        [
            card(
                dmc.Select(
                    id=FILE, label="Data set", data=list(refs), value=chosen, searchable=True, allowDeselect=False
                ),
                html.Div([_data_select(name) for name in ("batch_key", "label_key", "layer")], className="field-row"),
                _folded({DATA_SETTINGS[MORE_DATA[0]].setting.group: [_data_select(name) for name in MORE_DATA]}),
                title="Data",
            ),
            card(
                html.Div(
                    dmc.SegmentedControl(
                        id=PRESET,
                        data=[{"value": name, "label": entry.label} for name, entry in PRESETS.items()],
                        value=FIRST_PRESET,
                        fullWidth=True,
                        **{"aria-label": "Preset"},
                    ),
                    className="wraps",
                ),
                dmc.Text(preset.description, id="train-preset-text", size="sm", c="dimmed", mt=6),
                html.Div([field(name, preset.values.get(name)) for name in MAIN], className="field-row"),
                _folded(_fields_by_group(preset)),
                title="Settings",
            ),
        ],
        gap="md",
    )


def _fields_by_group(preset: Preset) -> dict[str, list[Component]]:
    """The fields beside the main ones, under their headings."""
    found: dict[str, list[Component]] = {}
    for name, entry in FORM_SETTINGS.items():
        if entry.setting.group:
            found.setdefault(entry.setting.group, []).append(field(name, preset.values.get(name)))
    return found


def _folded(groups: dict[str, list[Component]]) -> Component:
    """Fields that few need, each group behind a line to click."""
    items = [
        dmc.AccordionItem(
            [dmc.AccordionControl(title), dmc.AccordionPanel(html.Div(fields, className="field-row"))], value=title
        )
        for title, fields in groups.items()
    ]
    return dmc.Accordion(items, variant="separated", multiple=True, mt="md")


def _data_select(name: str) -> Component:
    entry = DATA_SETTINGS[name]
    shown, is_fixed = entry.setting, bool(entry.setting.choices) or name == "layer"
    common: dict[str, Any] = {
        "id": data_field(name),
        "label": shown.label,
        "description": shown.help,
        "data": list(shown.choices),
        "value": list(entry.default) if entry.type is tuple else entry.default,
        "searchable": True,
        "inputWrapperOrder": INPUT_ORDER,
    }
    if entry.type is tuple:
        return dmc.MultiSelect(**common, clearable=True, placeholder="none")
    return dmc.Select(**common, clearable=not is_fixed, allowDeselect=not is_fixed, placeholder="none")


def _side() -> Component:
    return html.Div(
        card(
            html.Div(dmc.Skeleton(height=120), id=PREFLIGHT),
            html.Div(id=EXPECT),
            dmc.Button("Train", id=SUBMIT, fullWidth=True, mt="md", disabled=True),
            title="Before you start",
        ),
        className="form-side",
    )


@callback(
    *(
        Output(data_field(name), prop)
        for name in ("batch_key", "label_key", "layer", "extra_batch_keys", "numeric_keys", "modality")
        for prop in ("data", "value")
    ),
    Output(field_id("name"), "value"),
    Input(FILE, "value"),
)
def offer_choices(ref: str) -> tuple[Any, ...]:
    """Offer the columns and layers of the file, and guess which are meant."""
    path = studio.current().catalog().resolve(ref)
    try:
        summary = describe_dataset(path)
    except DataError:  # the pre-flight report says what is wrong
        return [], None, [], None, [X], X, [], [], [], [], [], None, path.stem
    columns = [column.name for column in summary.columns]
    numbers = [column.name for column in summary.columns if column.kind == "number"]
    batch = next(iter(summary.suggested_batch_keys), None)
    label = next(iter(summary.suggested_label_keys), None)
    sources, further = list(summary.sources) or [X], list(summary.modalities)
    name = path.name.split(".")[0].replace("_", " ")
    return columns, batch, columns, label, sources, sources[0], columns, [], numbers, [], further, None, name


@callback(
    Output(ANY_SETTING, "value"),
    Output(ANY_SWITCH, "checked"),
    Output("train-preset-text", "children"),
    Input(PRESET, "value"),
    State(ANY_SETTING, "id"),
    State(ANY_SETTING, "value"),
    State(ANY_SWITCH, "id"),
    prevent_initial_call=False,
)
def apply_preset(
    preset: str, ids_: list[dict[str, str]], values: list[Any], switches: list[dict[str, str]]
) -> tuple[list[Any], list[Any], str]:
    """Fill the fields from a preset; the run's name and its files stay."""
    chosen = PRESETS[preset]
    names = [entry["name"] for entry in ids_]
    filled = values_for(chosen.values, names)
    for name in ("name", *FILE_SETTINGS):  # belong to the data, not to a preset
        if name in names:
            filled[names.index(name)] = values[names.index(name)]
    return filled, values_for(chosen.values, [entry["name"] for entry in switches]), chosen.description


@callback(
    Output(PREFLIGHT, "children"),
    Input(FILE, "value"),
    Input(ANY_DATA, "value"),
    State(ANY_DATA, "id"),
)
def show_preflight(ref: str, values: list[Any], data_ids: list[dict[str, str]]) -> Component:
    """What the check says of these data, worst first, in short."""
    try:
        report = _check(_data_config(ref, values, data_ids))
    except (DataError, ConfigError) as error:
        return notice(str(error))
    worst = [finding for finding in report.findings if finding.level in ("error", "warning")]
    lines = [
        dmc.Text(f"{report.n_cells:,} cells, {report.n_genes:,} genes", size="sm", className="numbers"),
        *[
            notice(f"{found.message} {found.advice}".strip(), color="red" if found.level == "error" else "yellow")
            for found in worst
        ],
    ]
    if not worst:
        lines.append(dmc.Text("The counts are fit for training.", size="sm", c="teal"))
    return dmc.Stack([*lines, link_button("Full report", f"/data?file={ref}", size="compact-sm")], gap="xs")


@callback(
    Output(ANY_SETTING, "error"),
    Output(EXPECT, "children"),
    Output(SUBMIT, "disabled"),
    Input(FILE, "value"),
    Input(ANY_DATA, "value"),
    Input(ANY_SETTING, "value"),
    Input(ANY_SWITCH, "checked"),
    State(ANY_DATA, "id"),
    State(ANY_SETTING, "id"),
    State(ANY_SWITCH, "id"),
)
def validate(
    ref: str, data: list[Any], values: list[Any], checked: list[Any], *all_ids: list[dict[str, str]]
) -> tuple[list[str | None], Any, bool]:
    """Say what is wrong beside the field; if nothing is, what training will take."""
    data_ids, setting_ids, switch_ids = all_ids
    errors: list[str | None] = [None] * len(setting_ids)
    try:
        config = _read_form(ref, (data, data_ids), (values, setting_ids), (checked, switch_ids))
        report = _check(config.data)
    except ConfigError as error:
        names = [entry["name"] for entry in setting_ids]
        if error.field in names:
            errors[names.index(error.field)] = str(error)
        return errors, notice(str(error)), True
    except DataError:
        return errors, None, True  # told by the pre-flight report
    if not report.ok:
        return errors, None, True
    note, fits = coverage_note(config)
    return errors, [note, _expectation(config, report)], not fits


def _expectation(config: RunConfig, report: CheckReport) -> Component:
    n_batches = max(1, len(report.batch_sizes))
    cost = estimate_cost(
        report.n_cells,
        report.n_genes,
        report.n_nonzero,
        model=config.model,
        train=config.train,
        n_batches=n_batches,
        on_disk=report.on_disk,
    )
    epochs = config.train.max_steps * min(config.train.minibatch_size, report.n_cells) / max(report.n_cells, 1)
    return dmc.Text(
        f"Training takes about {duration(cost.seconds)} on this computer's processor and "
        f"{cost.memory_bytes / 1e9:.1f} GB of memory; it sees each cell about {epochs:,.0f} times.",
        size="sm",
        mt="sm",
        className="numbers",
    )


def _data_config(ref: str, values: list[Any], data_ids: list[dict[str, str]]) -> DataConfig:
    chosen: dict[str, Any] = {
        entry["name"]: tuple(value or ()) if DATA_SETTINGS[entry["name"]].type is tuple else value or None
        for entry, value in zip(data_ids, values, strict=True)
    }
    if chosen.get("layer") == X:
        chosen["layer"] = None
    return DataConfig(path=str(studio.current().catalog().resolve(ref)), **chosen)


def _read_form(
    ref: str,
    data: tuple[list[Any], list[dict[str, str]]],
    settings: tuple[list[Any], list[dict[str, str]]],
    switches: tuple[list[Any], list[dict[str, str]]],
) -> RunConfig:
    """The config of the form as it is filled in; each argument is the fields' contents and their ids."""
    typed = {
        **read_fields([entry["name"] for entry in settings[1]], settings[0]),
        **read_fields([entry["name"] for entry in switches[1]], switches[0]),
    }
    return build_config(typed, _data_config(ref, *data).to_dict())


def _check(config: DataConfig) -> CheckReport:
    path = Path(config.path)
    return _cached_check(config, path.stat().st_mtime_ns if path.exists() else 0)


@functools.lru_cache(maxsize=32)
def _cached_check(config: DataConfig, stamp: int) -> CheckReport:
    return check_dataset(config)


@callback(
    Output(ids.URL, "href", allow_duplicate=True),
    Input(SUBMIT, "n_clicks"),
    State(FILE, "value"),
    State(ANY_DATA, "value"),
    State(ANY_SETTING, "value"),
    State(ANY_SWITCH, "checked"),
    State(ANY_DATA, "id"),
    State(ANY_SETTING, "id"),
    State(ANY_SWITCH, "id"),
    prevent_initial_call=True,
    running=[(Output(SUBMIT, "loading"), True, False)],
)
def create_run(
    n_clicks: int | None,
    ref: str,
    data: list[Any],
    values: list[Any],
    checked: list[Any],
    *all_ids: list[dict[str, str]],
) -> Any:
    """Make the run's folder and go to its live view, which starts it."""
    if not n_clicks or ctx.triggered_id != SUBMIT:
        return no_update
    data_ids, setting_ids, switch_ids = all_ids
    config = _read_form(ref, (data, data_ids), (values, setting_ids), (checked, switch_ids))
    if not _check(config.data).ok:
        raise ScetmError("These data cannot be trained on as they are; see the report.")
    run = Run.create(new_run_path(studio.current().runs_folder, config.name), config)
    return f"/train?run={run.id}"
