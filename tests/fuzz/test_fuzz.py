"""Does nothing but an answer or an error of ours come out of a bad input? A few of each kind; `make fuzz`: many."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from dash import Dash
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pages._shared import studio
from pages._shared.queries import MAX_LENGTH, with_plain_queries
from pages._shared.studio import Studio
from scetm_core.config import RunConfig
from scetm_core.errors import ConfigError, DataError, ScetmError
from scetm_core.json_text import parse_json
from scetm_core.selection import step_from, steps_from_json
from tests.fuzz.choices import Choices
from tests.fuzz.guard import judge, watched
from tests.fuzz.targets import KEYS, PAGES, TARGETS, Seeds

N_INPUTS = {"zarr": 8, "h5ad": 16, "10x h5": 10, "metrics.csv": 8, "address": 20}
"""Of each reader; 12 of others."""

FOUND = [  # reader, seed: inputs of `make fuzz` that once got through
    ("metrics.csv", 5), ("metrics.csv", 1756), ("names", 3), ("names", 20), ("names", 37), ("address", 53),
    ("marker table", 11), ("orthologs", 55), ("rho csv", 11), ("result.h5ad", 21), ("result.h5ad", 44),
    ("result.h5ad", 51), ("result.h5ad", 562), ("10x mtx", 1000317), ("h5ad", 1000583),
    ("table parquet", 144), ("table parquet", 317),
    ("table parquet", 865), ("table parquet", 1402), ("table parquet", 2971), ("table parquet", 5562),
    ("checkpoint", 1222), ("checkpoint", 1398), ("checkpoint", 4340),
]  # fmt: skip

quick = settings(
    derandomize=True, database=None, deadline=None, max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Seeds]:
    """The good inputs of a reader, made once."""
    made: dict[str, Seeds] = {}

    def get(name: str) -> Seeds:
        if name not in made:
            made[name] = Seeds(TARGETS[name], tmp_path_factory.mktemp("fuzz"))
        return made[name]

    return get


@pytest.fixture(scope="module")
def own_app(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    """The app on a home with a finished run."""
    from app import create_app
    from tests.fuzz.seeds import finished_run

    home = Studio(home=tmp_path_factory.mktemp("fuzz-app") / "home")
    app: Dash = create_app(home)
    finished_run(home.runs_folder).rename(home.runs_folder / "done-run")
    app.server.test_client().get("/_dash-dependencies")
    return home


@pytest.fixture
def homes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], tuple[Path, ...]]:
    """Folders beside the input that a reader may look into."""

    def of(name: str) -> tuple[Path, ...]:
        if name not in ("address", "names"):
            return ()
        home: Studio = request.getfixturevalue("own_app")
        monkeypatch.setattr(studio, "_current", home)
        return (home.home,)

    return of


@pytest.mark.parametrize("name", [name for name in TARGETS if name not in ("address", "names")])
def test_a_good_input_is_accepted(name: str, kept: Callable[[str], Seeds]) -> None:
    for place in range(len(kept(name).places)):
        _, path = kept(name).copy(Choices(lambda n, place=place: place))  # type: ignore[misc]
        if _is_by_gene(path):
            with pytest.raises(DataError, match="cannot be read cell by cell from disk"):
                TARGETS[name].read(path)
        else:
            TARGETS[name].read(path)


def _is_by_gene(path: Path) -> bool:
    """Whether counts are stored by gene, which cannot be read from disk by cell."""
    import h5py

    if path.suffix != ".h5ad":
        return False
    with h5py.File(path, "r") as root:
        return "X" in root and root["X"].attrs.get("encoding-type") == "csc_matrix"


@pytest.mark.parametrize("name", TARGETS)
def test_bad_inputs_are_answered_or_refused(
    name: str, kept: Callable[[str], Seeds], homes: Callable[[str], tuple[Path, ...]]
) -> None:
    also = homes(name)

    @settings(quick, max_examples=N_INPUTS.get(name, 12))
    @given(data=st.data())
    def spoil_and_read(data: st.DataObject) -> None:
        box, path = kept(name).copy(Choices(lambda n: n and data.draw(st.integers(0, n - 1))))
        TARGETS[name].spoil(Choices.of_seed(data.draw(st.integers(0, 2**32))), path)
        assert judge(TARGETS[name].read, path, box, also=also) in ("accepted", "refused")

    spoil_and_read()


@pytest.mark.parametrize(("name", "seed"), FOUND)
def test_what_was_found_once_is_mended(
    name: str, seed: int, kept: Callable[[str], Seeds], homes: Callable[[str], tuple[Path, ...]]
) -> None:
    choices = Choices.of_seed(seed)
    box, path = kept(name).copy(choices)
    TARGETS[name].spoil(choices, path)
    assert judge(TARGETS[name].read, path, box, also=homes(name)) in ("accepted", "refused")


# ---- values rather than files: hypothesis makes them --------------------------------------------------------------

plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
values = st.recursive(plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner))
setting_names = st.sampled_from(["name", "data", "model", "train", "transfer", "umap", "path", "n_topics", "other"])


@quick
@given(values=st.dictionaries(setting_names, values) | values)
def test_settings_are_settings_or_an_error_about_them(values: object) -> None:
    try:
        config = RunConfig.from_dict(values)  # type: ignore[arg-type]
    except ConfigError:
        return
    assert RunConfig.from_json(config.to_json()) == config


@quick
@given(record=values | st.fixed_dictionaries({"how": st.sampled_from(["new", "add", "invert"]), "rule": values}))
def test_a_step_of_a_selection_is_one_or_an_error(record: object) -> None:
    try:
        step = step_from(record)
    except DataError:
        return
    assert step.how == "invert" or step.rule is not None


@quick
@given(text=st.text(alphabet='[]{}",:0123456789-.eE\\ud8ntfals ', max_size=60))
def test_json_is_a_value_or_a_value_error(text: str) -> None:
    try:
        parse_json(text)
    except ValueError:
        with pytest.raises(ScetmError):
            steps_from_json(text)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "1" * 5000, "1" * 100, '"\\ud800"', '"\\uDEAD"'])
def test_json_that_nobody_can_use_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"nested too deeply|digits|surrogates"):
        parse_json(text)


@quick
@given(query=st.dictionaries(st.sampled_from(KEYS), st.text() | st.lists(st.text(), min_size=2, max_size=3)))
def test_a_page_is_given_one_short_text_for_each_name(query: dict[str, str | list[str]]) -> None:
    seen = with_plain_queries(lambda **given: given)(**query)
    assert set(seen) == {name for name in query if name}
    assert all(isinstance(text, str) and len(text) <= MAX_LENGTH for text in seen.values())


def test_every_page_is_asked_for_plain_texts(own_app: Studio) -> None:
    import dash

    asked = {name.rpartition(".")[2] for name in dash.page_registry}
    assert asked == set(PAGES)
    for entry in dash.page_registry.values():
        entry["layout"](run="done-run")  # what is kept in the cache from then on
        with watched(own_app.home, also=(own_app.home,)):
            assert entry["layout"](run=["done-run", "other"], topic=["1", "2"], file=["a", "b"]) is not None
