"""Does the form know every setting, say at its field what is wrong, and make the run it shows?"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import anndata as ad
import dash_mantine_components as dmc
import pytest
from dash import no_update
from dash.development.base_component import Component

from pages._shared import studio
from pages._shared.studio import Studio
from scetm_core.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from scetm_core.errors import ConfigError, DataError, RunError, ScetmError
from scetm_core.presets import PRESETS
from scetm_core.runs import Run, list_runs
from scetm_core.settings import settings_of

PageModule = Callable[[str], ModuleType]
Words = Callable[[Any], str]
Trigger = Callable[..., Any]
Parts = Callable[[Any], list[Component]]

FILE = "lab/planted.h5ad"
DATA_IDS = [{"type": "data-setting", "name": name} for name in ("batch_key", "label_key", "layer")]
DATA = ["batch", "cell_type", "X"]


class Filled:
    """The form as the browser holds it: fields by kind, with their contents."""

    def __init__(self, form: ModuleType, components_in: Parts, file: str = FILE) -> None:
        self.form = form
        nodes = [n for n in components_in(form.layout(file)) if isinstance(getattr(n, "id", None), dict)]
        of_kind = {kind: [node for node in nodes if node.id.get("type") == kind] for kind in ("setting", "switch")}
        self.file, self.data = file, list(DATA)
        self.setting_ids = [node.id for node in of_kind["setting"]]
        self.values = [node.value for node in of_kind["setting"]]
        self.switch_ids = [node.id for node in of_kind["switch"]]
        self.checked = [node.checked for node in of_kind["switch"]]

    def type(self, **contents: Any) -> Filled:
        for name, value in contents.items():
            names = [entry["name"] for entry in self.setting_ids]
            self.values[names.index(name)] = value
        return self

    def switch(self, **contents: bool) -> Filled:
        for name, value in contents.items():
            self.checked[[entry["name"] for entry in self.switch_ids].index(name)] = value
        return self

    def state(self) -> tuple[Any, ...]:
        return self.file, self.data, self.values, self.checked, DATA_IDS, self.setting_ids, self.switch_ids

    def validate(self) -> tuple[dict[str, str], Any, bool]:
        """Messages by setting, what stands below the button, whether the button is off."""
        errors, expectation, disabled = self.form.validate(*self.state())
        names = [entry["name"] for entry in self.setting_ids]
        return {name: text for name, text in zip(names, errors, strict=True) if text}, expectation, disabled


@pytest.fixture
def form(page_module: PageModule) -> ModuleType:
    page_module("train")
    from pages._train import form

    form._cached_check.cache_clear()
    return form


@pytest.fixture
def filled(form: ModuleType, components_in: Parts) -> Filled:
    return Filled(form, components_in).type(name="my cells")


# ---- fields -------------------------------------------------------------------------------------------------------


def test_every_setting_has_a_field_with_its_label_and_meaning(form: ModuleType, components_in: Parts) -> None:
    labels = {getattr(n, "label", None): n for n in components_in(form.layout(FILE)) if hasattr(n, "label")}
    for config in (RunConfig, ModelConfig, TrainConfig, DataConfig):
        for entry in settings_of(config):
            if entry.name == "path":
                assert "Data set" in labels
            else:
                assert labels[entry.setting.label].description == entry.setting.help


def test_rare_settings_are_folded_away(form: ModuleType, components_in: Parts) -> None:
    items = [node for node in components_in(form.layout(FILE)) if isinstance(node, dmc.AccordionItem)]
    folded = {
        item.value: {node.id["name"] for node in components_in(item) if isinstance(getattr(node, "id", None), dict)}
        for item in items
    }
    declared: dict[str, set[str]] = {}
    for config in (RunConfig, DataConfig, ModelConfig, TrainConfig):
        for entry in settings_of(config):
            if entry.setting.group:
                declared.setdefault(entry.setting.group, set()).add(entry.name)
    assert folded == declared
    assert folded["More about the data"] == {"extra_batch_keys", "numeric_keys", "modality", "memory"}


def test_the_file_of_the_url_is_chosen_and_an_unknown_one_is_said(
    form: ModuleType, find: Callable[..., Any], words_in: Words
) -> None:
    assert find(form.layout("lab/logged.h5ad"), "train-file").value == "lab/logged.h5ad"
    unknown = form.layout("lab/gone.h5ad")
    assert "There is no data set 'lab/gone.h5ad'" in words_in(unknown)
    assert find(unknown, "train-file").value in ("lab/logged.h5ad", FILE)


def test_without_any_data_the_form_leads_to_them(form: ModuleType, own_studio: Studio, words_in: Words) -> None:
    studio.configure(dataclasses.replace(own_studio, data_dirs=()))
    assert "No data yet" in words_in(form.layout(None))


def test_a_chosen_file_offers_its_columns_and_guesses_which_are_meant(form: ModuleType) -> None:
    columns, batch, labels, label, sources, source, *more, name = form.offer_choices(FILE)
    assert {"batch", "cell_type"} <= set(columns)
    assert labels == columns
    assert (batch, label, source, name) == ("batch", "cell_type", "X", "planted")
    assert sources == ["X"]
    further, chosen, numbers, chosen_numbers, modalities, modality = more
    assert (further, numbers, modalities) == (columns, [], ["true_delta", "true_theta"])
    assert (chosen, chosen_numbers, modality) == ([], [], None)


def test_covariates_and_modality_reach_the_run(
    form: ModuleType, filled: Filled, own_studio: Studio, triggered: Trigger, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["batch_key", "label_key", "layer", "extra_batch_keys", "numeric_keys", "modality", "memory"]
    filled.data = ["batch", None, "X", ["cell_type"], [], None, "in memory"]
    monkeypatch.setattr(sys.modules[__name__], "DATA_IDS", [{"type": "data-setting", "name": name} for name in names])
    submit(filled, triggered)
    (run,) = list_runs(own_studio.runs_folder)
    assert run.config.data.extra_batch_keys == ("cell_type",)
    assert (run.config.data.label_key, run.config.data.numeric_keys) == (None, ())
    assert run.config.data.memory == "in memory"


@pytest.fixture
def lab_sets(own_studio: Studio) -> Iterator[Path]:
    """Gene sets in the folder of data, which other tests share."""
    path = own_studio.data_dirs[0] / "mine.gmt"
    path.write_text("A\tb\tINS\n")
    yield path
    path.unlink()


def test_gene_sets_are_chosen_among_the_files_of_the_app(
    form: ModuleType, filled: Filled, own_studio: Studio, lab_sets: Path, triggered: Trigger, components_in: Parts
) -> None:
    (field,) = [
        node
        for node in components_in(form.layout(FILE))
        if getattr(node, "id", None) == {"type": "setting", "name": "rho_gmt"}
    ]
    assert field.data == ["lab/mine.gmt"]
    filled.type(rho_gmt="lab/mine.gmt")
    submit(filled, triggered)
    (run,) = list_runs(own_studio.runs_folder)
    assert run.config.model.rho_gmt == str(lab_sets.resolve())
    filled.type(rho_gmt="lab/../secret.gmt")
    with pytest.raises(DataError, match="leads outside"):
        submit(filled, triggered)


@pytest.fixture
def gene_sets(own_studio: Studio) -> Iterator[Path]:
    """A place for gene sets in a folder that the form offers."""
    path = own_studio.data_dirs[0] / "sets.gmt"
    yield path
    path.unlink(missing_ok=True)


def test_the_form_says_how_gene_sets_fit_the_data_before_training(
    form: ModuleType, components_in: Parts, gene_sets: Path, words_in: Words
) -> None:
    genes = list(ad.read_h5ad(gene_sets.with_name("planted.h5ad")).var_names)
    sets = {"FITS": genes[:6], "ALSO": genes[4:10], "SMALL": genes[:4], "OTHER": ["X1", "X2", "X3", "X4", "X5", "X6"]}
    gene_sets.write_text("".join("\t".join([name, "", *members]) + "\n" for name, members in sets.items()))
    filled = Filled(form, components_in)
    _, said, waits = filled.type(rho_gmt="lab/sets.gmt").validate()
    assert not waits
    assert "2 of 4 sets are kept" in words_in(said)
    assert "cover 10 of the file's 30 genes" in words_in(said)
    _, said, _ = filled.type(rho_gmt=None).validate()
    assert "Gene sets as rho" not in words_in(said)


@pytest.mark.parametrize(
    ("line", "reason"),
    [("FAR\t\tENSG00000000001\tENSG00000000002\n", "Hardly any gene"), ("no genes here\n", "needs a name")],
)
def test_gene_sets_that_do_not_fit_are_told_and_training_waits(
    line: str, reason: str, form: ModuleType, components_in: Parts, gene_sets: Path, words_in: Words
) -> None:
    gene_sets.write_text(line)
    _, said, waits = Filled(form, components_in).type(rho_gmt="lab/sets.gmt").validate()
    assert waits
    assert reason in words_in(said)


def test_sets_too_small_for_the_model_are_told(
    form: ModuleType, components_in: Parts, gene_sets: Path, words_in: Words
) -> None:
    genes = list(ad.read_h5ad(gene_sets.with_name("planted.h5ad")).var_names)
    gene_sets.write_text("\t".join(["SMALL", "", *genes[:4]]) + "\n")
    _, said, waits = Filled(form, components_in).type(rho_gmt="lab/sets.gmt").validate()
    assert waits
    assert "No set of sets.gmt has 5 genes" in words_in(said)


def test_an_unreadable_file_offers_nothing_and_the_report_says_why(form: ModuleType, words_in: Words) -> None:
    assert form.offer_choices("lab/text.h5ad")[:2] == ([], None)
    assert "text.h5ad" in words_in(form.show_preflight("lab/text.h5ad", [None, None, "X"], DATA_IDS))


@pytest.mark.parametrize("ref", ["../../etc/passwd", "lab/../secret.h5ad", "nowhere/x.h5ad"])
def test_a_path_outside_the_data_folders_is_refused_everywhere(
    form: ModuleType, filled: Filled, ref: str, own_studio: Studio, triggered: Trigger
) -> None:
    with pytest.raises(DataError):
        form.offer_choices(ref)
    filled.file = ref
    assert filled.validate()[2] is True
    with pytest.raises(DataError):
        submit(filled, triggered)
    assert list_runs(own_studio.runs_folder) == []


# ---- presets ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", list(PRESETS))
def test_a_preset_fills_the_fields_and_keeps_the_name(
    preset: str, form: ModuleType, filled: Filled, own_studio: Studio, triggered: Trigger
) -> None:
    filled.type(max_steps=77, dropout="0.5")
    values, switches, text = form.apply_preset(preset, filled.setting_ids, filled.values, filled.switch_ids)
    filled.values, filled.checked = values, switches
    with triggered("train-submit.n_clicks"):
        form.create_run(1, *filled.state())
    (run,) = list_runs(own_studio.runs_folder)
    config = run.config
    expected = {**dataclasses.asdict(ModelConfig()), **dataclasses.asdict(TrainConfig()), **PRESETS[preset].values}
    made = {**dataclasses.asdict(config.model), **dataclasses.asdict(config.train)}
    assert made.pop("kl_warmup") == pytest.approx(expected.pop("kl_warmup"), abs=1e-6)  # a third, as typed
    assert made == expected
    assert config.name == "my cells"
    assert text == PRESETS[preset].description


# ---- validation ---------------------------------------------------------------------------------------------------


def test_a_valid_form_says_what_to_expect_and_lets_one_train(filled: Filled, words_in: Words) -> None:
    messages, expectation, disabled = filled.validate()
    assert messages == {}
    assert "GB of memory" in words_in(expectation)
    assert "sees each cell about" in words_in(expectation)
    assert disabled is False


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("n_topics", 1, "at least 2"),
        ("n_topics", "", "is empty"),
        ("n_topics", 12.5, "whole number"),
        ("max_steps", 0, "at least 1"),
        ("max_steps", None, "is empty"),
        ("minibatch_size", 10**9, "at most"),
        ("learning_rate", "fast", "must be a number"),
        ("learning_rate", "nan", "must be"),
        ("learning_rate", "1e999", "must be"),
        ("dropout", "1", "less than 1"),
        ("seed", -1, "at least 0"),
        ("device", "abacus", "must be one of"),
        ("name", "", "is empty"),
        ("name", "   ", "must not be empty"),
        ("name", "x" * 121, "at most 120 characters"),
    ],
)
def test_an_invalid_value_is_told_at_its_field_and_training_waits(
    name: str, value: Any, words: str, filled: Filled, words_in: Words
) -> None:
    messages, expectation, disabled = filled.type(**{name: value}).validate()
    assert list(messages) == [name]
    assert words in messages[name]
    assert messages[name] in words_in(expectation)  # said once more where the button is
    assert disabled is True


def test_settings_that_contradict_each_other_are_told(filled: Filled, words_in: Words) -> None:
    _, expectation, disabled = filled.type(test_fraction="0").switch(early_stop=True).validate()
    assert "needs held-out cells" in words_in(expectation)
    assert disabled is True


@pytest.mark.parametrize("file", ["lab/logged.h5ad", "lab/text.h5ad"])
def test_data_that_cannot_be_trained_on_keep_the_button_off(
    file: str, filled: Filled, form: ModuleType, words_in: Words
) -> None:
    filled.file = file
    assert filled.validate()[2] is True
    text = words_in(form.show_preflight(file, DATA, DATA_IDS))
    assert "fit for training" not in text
    assert any(word in text for word in ("non-integer", "log-normalised", "HDF5"))


def test_good_data_are_called_fit(form: ModuleType, words_in: Words) -> None:
    text = words_in(form.show_preflight(FILE, DATA, DATA_IDS))
    assert "60 cells, 30 genes" in text
    assert "Full report" in text


def test_a_column_that_is_not_there_is_told(filled: Filled, form: ModuleType, words_in: Words) -> None:
    filled.data = ["no such column", None, "X"]
    assert filled.validate()[2] is True
    assert "no such column" in words_in(form.show_preflight(FILE, filled.data, DATA_IDS))


def test_fewer_steps_are_expected_to_take_less_time(filled: Filled, form: ModuleType) -> None:
    config = form.build_config({"max_steps": 100}, {"path": str(studio.current().catalog().resolve(FILE))})
    longer = dataclasses.replace(config, train=TrainConfig(max_steps=100_000))
    report = form._check(config.data)
    short_text, long_text = (form._expectation(c, report).children for c in (config, longer))
    assert short_text != long_text


# ---- Train --------------------------------------------------------------------------------------------------------


def submit(filled: Filled, triggered: Trigger) -> Any:
    with triggered("train-submit.n_clicks"):
        return filled.form.create_run(1, *filled.state())


def test_train_makes_a_run_with_the_settings_of_the_form(
    filled: Filled, own_studio: Studio, triggered: Trigger
) -> None:
    filled.type(name="My Cells!", n_topics=7, learning_rate="1e-3", lambda_init="normal").switch(umap=False)
    href = submit(filled, triggered)
    (run,) = list_runs(own_studio.runs_folder)
    assert href == f"/train?run={run.id}"
    assert run.id.startswith("my-cells-")
    config = run.config
    assert (config.name, config.umap, config.model.n_topics) == ("My Cells!", False, 7)
    assert (config.train.learning_rate, config.model.lambda_init) == (0.001, "normal")
    assert (config.data.batch_key, config.data.label_key, config.data.layer) == ("batch", "cell_type", None)
    assert config.data.path == str(own_studio.catalog().resolve(FILE))
    assert run.status().state == "queued"


def test_two_runs_of_one_name_do_not_meet(filled: Filled, own_studio: Studio, triggered: Trigger) -> None:
    assert submit(filled, triggered) != submit(filled, triggered)
    assert len(list_runs(own_studio.runs_folder)) == 2


def test_a_page_that_opens_makes_no_run(filled: Filled, own_studio: Studio, triggered: Trigger) -> None:
    with triggered("."):
        assert filled.form.create_run(None, *filled.state()) is no_update
        assert filled.form.create_run(1, *filled.state()) is no_update
    assert list_runs(own_studio.runs_folder) == []


def test_data_unfit_for_training_make_no_run(filled: Filled, own_studio: Studio, triggered: Trigger) -> None:
    filled.file = "lab/logged.h5ad"
    with pytest.raises(ScetmError, match="cannot be trained on"):
        submit(filled, triggered)
    filled.file = "lab/text.h5ad"
    with pytest.raises(DataError, match=r"text\.h5ad"):
        submit(filled, triggered)
    assert list_runs(own_studio.runs_folder) == []


def test_a_wrong_setting_makes_no_run(filled: Filled, own_studio: Studio, triggered: Trigger) -> None:
    with pytest.raises(ConfigError, match="at least 2"):
        submit(filled.type(n_topics=1), triggered)
    assert list_runs(own_studio.runs_folder) == []


def test_a_home_without_permission_to_write_is_told_and_left_clean(
    filled: Filled, own_studio: Studio, triggered: Trigger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "replace", refuse)  # root may write anywhere
    with pytest.raises(RunError, match="Permission denied"):
        submit(filled, triggered)
    assert not list(own_studio.runs_folder.iterdir())


def test_a_run_that_was_made_shows_its_live_view(
    filled: Filled, own_studio: Studio, triggered: Trigger, page_module: PageModule, words_in: Words
) -> None:
    run_id = submit(filled, triggered).split("=")[1]
    assert Run(own_studio.runs_folder / run_id).config.name in words_in(page_module("train").layout(run=run_id))
