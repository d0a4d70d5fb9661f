"""Are settings checked, explained, and read back as they were written?"""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest

from scetm_core.config import SECTIONS, DataConfig, ModelConfig, RunConfig, TrainConfig, run_config_from_flat
from scetm_core.errors import ConfigError
from scetm_core.presets import PRESETS, RECIPE
from scetm_core.settings import SettingField, settings_of

ALL = {"run": RunConfig, **SECTIONS}
SETTINGS = [pytest.param(cls, entry, id=entry.name) for cls in ALL.values() for entry in settings_of(cls)]
NUMBERS = [param for param in SETTINGS if param.values[1].type in (int, float)]  # type: ignore[attr-defined]


def outside(entry: SettingField) -> list[float]:
    """Values just beyond each bound of a setting."""
    step, shown = (1 if entry.type is int else 1e-3), entry.setting
    beyond = [
        None if shown.ge is None else shown.ge - step,
        shown.gt,
        None if shown.le is None else shown.le + step,
        shown.lt,
    ]
    return [value for value in beyond if value is not None]


def test_json_round_trip_gives_an_equal_config() -> None:
    config = RunConfig(
        name="pancreas, naïve",
        data=DataConfig(path="/data/x.h5ad", layer="counts", batch_key="batch"),
        model=ModelConfig(n_topics=7, dropout=0, batch_intercept=False),
        train=TrainConfig(max_steps=9, kl_warmup=0.25, device="cpu"),
        umap=False,
    )
    assert RunConfig.from_json(config.to_json()) == config
    assert RunConfig.from_json("{}") == RunConfig()


def test_configs_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ModelConfig().n_topics = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param('{"n_topic": 3}', r"ModelConfig does not know \['n_topic'\].*n_topics", id="unknown key"),
        pytest.param("[1, 2]", "must be a JSON object, got list", id="a list"),
        pytest.param("{", "not valid JSON", id="no JSON"),
        pytest.param('{"n_topics": "many"}', r"Number of topics \(n_topics\) must be a number, got 'many'", id="text"),
        pytest.param('{"n_topics": null}', r"\(n_topics\) must be a number, got None", id="null"),
        pytest.param('{"n_topics": true}', r"\(n_topics\) must be a number, got True", id="a boolean"),
        pytest.param('{"n_topics": 2.5}', r"\(n_topics\) must be a whole number, got 2.5", id="a fraction"),
        pytest.param('{"n_topics": Infinity}', r"\(n_topics\) must be", id="infinity for a whole number"),
        pytest.param('{"n_topics": NaN}', r"\(n_topics\) must be", id="not-a-number for a whole number"),
        pytest.param('{"batch_intercept": 1}', r"\(batch_intercept\) must be of type bool", id="number for a switch"),
        pytest.param(
            '{"lambda_init": "zero"}',
            r"\(lambda_init\) must be one of \['data', 'normal'\], got 'zero'",
            id="no choice",
        ),
    ],
)
def test_wrong_json_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ModelConfig.from_json(text)


def test_unknown_keys_are_refused_at_every_depth() -> None:
    with pytest.raises(ConfigError, match=r"TrainConfig does not know \['speed'\]"):
        RunConfig.from_dict({"train": {"speed": 1}})
    with pytest.raises(ConfigError, match=r"RunConfig does not know \['speed'\]"):
        RunConfig.from_dict({"speed": 1})
    with pytest.raises(ConfigError, match="DataConfig must be a JSON object, got NoneType"):
        RunConfig.from_dict({"data": None})


@pytest.mark.parametrize(("config", "entry"), NUMBERS)
def test_every_number_has_bounds_and_each_is_enforced_by_name(config: type, entry: SettingField) -> None:
    assert outside(entry)
    for value in [*outside(entry), math.inf, -math.inf, math.nan]:
        with pytest.raises(ConfigError, match=rf"\({entry.name}\) must be") as caught:
            config(**{entry.name: value})
        assert caught.value.field == entry.name
    for bound in (entry.setting.ge, entry.setting.le):
        if bound is not None:
            needed = {"rho_gmt": "sets.gmt"} if entry.name == "n_free_emb" else {}
            assert getattr(config(**{entry.name: entry.type(bound)}, **needed), entry.name) == bound


def test_a_whole_number_written_with_a_point_becomes_an_int() -> None:
    n_topics = ModelConfig.from_json('{"n_topics": 5.0}').n_topics
    assert n_topics == 5
    assert isinstance(n_topics, int)


@pytest.mark.parametrize(("config", "entry"), SETTINGS)
def test_every_setting_is_labelled_and_explained(config: type, entry: SettingField) -> None:
    assert entry.setting.label[0].isupper()
    assert entry.setting.help.endswith(".")
    assert entry.optional == (entry.default is None)
    if entry.setting.choices:
        assert entry.default in entry.setting.choices


def test_labels_and_flat_names_are_unique() -> None:
    entries = [entry for cls in ALL.values() for entry in settings_of(cls)]
    assert len({entry.name for entry in entries}) == len(entries)
    assert len({entry.setting.label for entry in entries}) == len(entries)
    assert not {entry.name for entry in entries} & set(SECTIONS)


def test_every_field_is_a_setting_or_a_section() -> None:
    for cls in ALL.values():
        fields = {field.name for field in dataclasses.fields(cls)}
        assert fields == {entry.name for entry in settings_of(cls)} | (
            {*SECTIONS, "transfer"} if cls is RunConfig else set()
        )


def test_flat_values_find_their_section() -> None:
    config = run_config_from_flat({"name": "n", "path": "p.h5ad", "n_topics": 3, "max_steps": 4, "umap": False})
    assert config == RunConfig(
        name="n",
        data=DataConfig(path="p.h5ad"),
        model=ModelConfig(n_topics=3),
        train=TrainConfig(max_steps=4),
        umap=False,
    )
    with pytest.raises(ConfigError, match=r"does not know \['n_topic'\]"):
        run_config_from_flat({"n_topic": 3})


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS.keys())
def test_presets_are_valid_and_explained(preset: Any) -> None:
    config = run_config_from_flat(preset.values)
    assert preset.label
    assert preset.description.endswith(".")
    for name, value in preset.values.items():
        assert value in (getattr(config.model, name, None), getattr(config.train, name, None))


def test_defaults_are_those_of_the_paper_where_we_do_not_say_otherwise() -> None:
    model, train = ModelConfig(), TrainConfig()
    assert (model.n_topics, model.n_hidden, model.dropout, model.n_emb) == (50, 128, 0.1, 400)
    assert (train.learning_rate, train.learning_rate_decay, train.max_grad_norm) == (0.005, 6e-5, 50)
    assert (train.max_kl_weight, train.kl_warmup, train.test_fraction) == (1e-7, 1 / 3, 0.1)
    assert (model.encoder_input, model.start) == ("fraction", "normal")
    assert (train.learning_rate_schedule, train.min_depth, train.precision) == ("exponential", 1, "full")
    assert (train.weight_decay, train.mmd_weight, train.anchor_weight) == (0, 0, 0)


def test_the_paper_preset_departs_from_the_defaults_in_length_and_intercepts_only() -> None:
    config = run_config_from_flat(PRESETS["paper"].values)
    assert config.model == ModelConfig(lambda_init="normal")
    assert config.train == TrainConfig(max_steps=6000, minibatch_size=2000)


@pytest.mark.parametrize("name", ["quick", "standard"])
def test_the_other_presets_follow_the_recipe(name: str) -> None:
    assert RECIPE.items() <= PRESETS[name].values.items()


def test_a_config_written_before_the_recipe_reads_as_the_published_method() -> None:
    config = RunConfig.from_dict({"model": {"lambda_init": "data"}, "train": {"max_steps": 7}})
    assert config.model == ModelConfig(lambda_init="data", encoder_input="fraction", start="normal")
    assert config.train == TrainConfig(max_steps=7, mmd_weight=0, anchor_weight=0, weight_decay=0)


@pytest.mark.parametrize("name", ["", "   ", "x" * 121])
def test_a_run_needs_a_name_of_sensible_length(name: str) -> None:
    with pytest.raises(ConfigError, match=r"Run name \(name\)") as caught:
        RunConfig(name=name)
    assert caught.value.field == "name"


def test_stopping_on_a_plateau_needs_held_out_cells() -> None:
    with pytest.raises(ConfigError, match=r"held-out cells"):
        TrainConfig(early_stop=True, test_fraction=0)


def test_ranges_are_said_in_words() -> None:
    shown = {entry.name: entry.setting.range_in_words() for entry in settings_of(ModelConfig)}
    assert shown["n_topics"] == "at least 2, at most 2000"
    assert shown["dropout"] == "at least 0, less than 1"
    assert shown["batch_intercept"] == ""


def test_json_is_plain_and_nested() -> None:
    values = json.loads(RunConfig().to_json())
    assert set(values) == {"name", "data", "model", "train", "transfer", "umap"}
    assert values["model"]["n_topics"] == 50
