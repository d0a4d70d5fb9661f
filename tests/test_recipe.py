"""Does a recipe hold all settings, run as it is, and give the run's own numbers again?"""

from __future__ import annotations

import ast
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest

from scetm_core import keys
from scetm_core.__main__ import build_parser
from scetm_core.config import RunConfig, run_config_from_flat
from scetm_core.errors import RunError
from scetm_core.recipe import as_notebook, as_script, command_line, recipe_steps, write_recipe
from scetm_core.runs import Run
from scetm_core.settings import settings_of
from tests.published import HOSTILE, hand_made_run

ROOT = Path(__file__).parent.parent
NAMES = (
    HOSTILE,
    'a "quoted" name',
    "back\\slash",
    "line\nbreak",
    "\u00e9t\u00e9 \U0001f9ec",
    "'''\"\"\"",
    "{braces} % and # signs",
)


def config_in(script: str) -> RunConfig:
    """The settings that a recipe's first step makes."""
    space: dict[str, Any] = {}
    exec(script[: script.index("# ---- Counts")], space)
    return space["config"]  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", NAMES)
def test_whatever_a_run_is_called_its_script_is_python_and_makes_the_same_settings(
    name: str, make_run: Callable[..., Run]
) -> None:
    run = make_run(name=name)
    assert config_in(as_script(run)) == run.config


def test_every_setting_is_written_out(make_run: Callable[..., Run]) -> None:
    run = make_run()
    script = as_script(run)
    for part in (run.config.data, run.config.model, run.config.train):
        for entry in settings_of(type(part)):
            assert f"        {entry.name}=" in script
    assert "n_topics=4,  # default: 50" in script
    assert "n_batch_factors=0,\n" in script  # a default is not marked


def test_the_input_is_looked_at_before_it_is_used(make_run: Callable[..., Run]) -> None:
    run = make_run()
    script = as_script(run)
    assert run.input["sha256"] in script
    assert script.index("SHA256") < script.index("load_dataset(config.data)")


def test_tests_that_were_asked_for_are_part_of_it_with_their_settings(tmp_path: Path) -> None:
    run = hand_made_run(tmp_path)
    titles = [step.title for step in recipe_steps(run)]
    assert titles == [
        "Settings", "Counts", "Training", "Cells, topics and scores", "Gene sets", "Differential topics", "The result"
    ]  # fmt: skip
    script = as_script(run)
    assert "n_permutations=50," in script
    assert "n_permutations=2000," in script
    assert f"Path({json.dumps(str(tmp_path / 'sets.gmt'))})" in script
    assert 'result.obs["cell_type"],' in script


def test_names_of_topics_go_along(tmp_path: Path) -> None:
    run = hand_made_run(tmp_path, tables=False)
    run.write_topic_names({"topic_1": HOSTILE})
    tree = ast.parse(as_script(run))
    constants = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert HOSTILE in constants


# ---- the notebook -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_notebook_keeps_to_the_format(name: str, make_run: Callable[..., Run]) -> None:
    notebook = json.loads(as_notebook(make_run(name=name)))
    assert set(notebook) == {"cells", "metadata", "nbformat", "nbformat_minor"}
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"]["kernelspec"] == {"display_name": "Python 3", "language": "python", "name": "python3"}
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in notebook["cells"]:
        wanted = {"cell_type", "id", "metadata", "source"}
        assert set(cell) == (wanted if cell["cell_type"] == "markdown" else {*wanted, "execution_count", "outputs"})
        assert cell["cell_type"] in ("markdown", "code")
        assert cell["id"].replace("-", "").isalnum()
        assert 1 <= len(cell["id"]) <= 64
        assert all(isinstance(line, str) for line in cell["source"])
        assert all(line.endswith("\n") for line in cell["source"][:-1])
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
            ast.parse("".join(cell["source"]))


def test_the_notebook_has_the_steps_of_the_script_with_words_between(tmp_path: Path) -> None:
    run = hand_made_run(tmp_path)
    cells = json.loads(as_notebook(run))["cells"]
    steps = recipe_steps(run)
    assert [cell["cell_type"] for cell in cells] == ["markdown", *["markdown", "code"] * len(steps)]
    assert ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"] == [step.code for step in steps]
    assert "".join(cells[1]["source"]).startswith(f"## {steps[0].title}")


def test_markup_in_a_name_is_text_in_the_notebook(make_run: Callable[..., Run]) -> None:
    first = "".join(json.loads(as_notebook(make_run(name=HOSTILE)))["cells"][0]["source"])
    assert "<script>" not in first.replace("\\<", "")


# ---- the command line ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="tiny"),
        pytest.param({"batch_intercept": False, "umap": True, "early_stop": True}, id="switches"),
        pytest.param({"numeric_keys": ("share", "-odd name"), "extra_batch_keys": ("donor",)}, id="lists"),
        pytest.param({"name": 'a "quoted" name; rm -rf', "learning_rate": 1e-7}, id="shell"),
        pytest.param({"label_key": None, "layer": "-x"}, id="dashes"),
    ],
)
def test_the_command_line_means_the_same_settings(changes: dict[str, Any], make_run: Callable[..., Run]) -> None:
    run = make_run(**changes)
    line = command_line(run)
    assert "\n" not in line
    words = shlex.split(line)
    assert words[:4] == ["python", "-m", "scetm_core", "train"]
    given = {name: value for name, value in vars(build_parser().parse_args(words[3:])).items() if value is not None}
    flat = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    parts = (run.config, run.config.data, run.config.model, run.config.train)
    known = {entry.name for part in parts for entry in settings_of(type(part))}
    assert run_config_from_flat({name: value for name, value in flat.items() if name in known}) == run.config


def test_another_ending_than_those_two_is_refused(make_run: Callable[..., Run], tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"script \(.py\) or a notebook"):
        write_recipe(make_run(), tmp_path / "recipe.txt")


# ---- and it works -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_script_gives_the_same_theta_as_the_run(make_run: Callable[..., Run], tmp_path: Path) -> None:
    from scetm_core.answers import answer
    from scetm_core.requests import DifferentialRequest
    from scetm_core.worker import run_analysis

    run = make_run("again")
    assert run_analysis(run) == "done"
    request = DifferentialRequest(groupby="cell_type", n_permutations=200)
    table = answer(run, "cell_type", request, on_progress=lambda share, words: None)
    script = tmp_path / "recipe.py"
    write_recipe(run, script)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "numbers will differ" not in done.stdout
    ours, theirs = run.load_result(), ad.read_h5ad(tmp_path / "again.h5ad")
    np.testing.assert_allclose(theirs.obsm[keys.THETA], ours.obsm[keys.THETA], atol=1e-5)
    assert list(theirs.obs[keys.LEIDEN]) == list(ours.obs[keys.LEIDEN])
    import pandas as pd

    tests = pd.read_csv(tmp_path / "differential-cell_type.csv")
    np.testing.assert_allclose(tests["p_value"], pd.read_parquet(table)["p_value"], atol=1e-9)
