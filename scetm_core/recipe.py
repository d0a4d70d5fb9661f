"""How does one reproduce a run without the app? As a script, as a notebook, as one command line: all from its settings.

The same steps make all three. Every setting is written out, so that a recipe does not change when defaults do.
"""

from __future__ import annotations

import json
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from scetm_core import __version__, keys
from scetm_core.config import DataConfig, ModelConfig, RunConfig, TrainConfig
from scetm_core.errors import RunError
from scetm_core.files import write_atomically
from scetm_core.runs import Run
from scetm_core.settings import Config, settings_of
from scetm_core.transfer_settings import TransferConfig

WIDTH = 110
SAME = (
    "On the same machine, with the same versions of the libraries and the same number of threads, it gives the same "
    "numbers; elsewhere the order of float sums moves them slightly."
)
TRAINING_OF_TRANSFER = ("max_steps", "minibatch_size", "learning_rate", "seed", "device")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of a recipe: what it does, in words, and its code."""

    title: str
    words: str
    code: str


def recipe_steps(run: Run) -> list[Step]:
    """The steps from the input to the result and the tests that were asked for.

    Raises
    ------
    RunError
        If the settings of the run cannot be read.
    """
    config = run.config
    if config.transfer is not None:
        return [_settings_step(run, config), _transfer_step(run), *_table_steps(run), _save_step(run)]
    return [
        _settings_step(run, config),
        _counts_step(run),
        _training_step(),
        _cells_step(),
        *_table_steps(run),
        _save_step(run),
    ]


def as_script(run: Run) -> str:
    """The recipe as a Python script; it runs where scetm_core can be imported."""
    parts = [f'"""{_in_docstring(_opening(run))}"""']
    for step in recipe_steps(run):
        words = textwrap.fill(_one_line(step.words), WIDTH, initial_indent="# ", subsequent_indent="# ")
        parts.append(
            f"# ---- {_one_line(step.title)} " + "-" * max(3, 60 - len(step.title)) + f"\n{words}\n\n{step.code}"
        )
    return "\n\n".join(parts) + "\n"


def as_notebook(run: Run) -> str:
    """The recipe as a Jupyter notebook (nbformat 4.5), JSON text."""
    cells: list[dict[str, Any]] = [_words_cell(0, f"# {_markdown(config_name(run))}\n\n{_markdown(_opening(run))}")]
    for number, step in enumerate(recipe_steps(run), start=1):
        cells.append(_words_cell(2 * number - 1, f"## {step.title}\n\n{_markdown(step.words)}"))
        cells.append(
            {
                "cell_type": "code", "execution_count": None, "id": f"step-{2 * number}", "metadata": {}, "outputs": [],
                "source": step.code.splitlines(keepends=True),
            }
        )  # fmt: skip
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}, indent=1)


def write_recipe(run: Run, path: Path) -> None:
    """Write the recipe as the ending of `path` says: .py or .ipynb.

    Raises
    ------
    RunError
        If the ending is another one.
    """
    makers = {".py": as_script, ".ipynb": as_notebook}
    if path.suffix not in makers:
        raise RunError(
            f"A recipe is a script (.py) or a notebook (.ipynb), not {path.suffix or 'a file without ending'}."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, makers[path.suffix](run))


def config_name(run: Run) -> str:
    """The run's name on one line."""
    return _one_line(run.config.name)


def _opening(run: Run) -> str:
    return f"Reproduces the run {config_name(run)!r}, made with scETM Studio {__version__}. {SAME}"


def _words_cell(number: int, text: str) -> dict[str, Any]:
    source = text.splitlines(keepends=True)
    return {"cell_type": "markdown", "id": f"step-{number}", "metadata": {}, "source": source}


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _in_docstring(text: str) -> str:
    wrapped = textwrap.fill(_one_line(text), WIDTH)
    return wrapped.replace("\\", "\\\\").replace('"""', "'''").removesuffix('"') + "\n"


def _markdown(text: str) -> str:
    """Words without what markdown or HTML would take for markup."""
    for sign in "\\`*_<>[]#":
        text = text.replace(sign, f"\\{sign}")
    return text


# ---- the steps ----------------------------------------------------------------------------------------------------


def _settings_step(run: Run, config: RunConfig) -> Step:
    classes: list[type[Config]] = [DataConfig, ModelConfig, TrainConfig]
    sections: dict[str, Config] = {"data": config.data, "model": config.model, "train": config.train}
    if config.transfer is not None:
        classes.append(TransferConfig)
        sections["transfer"] = config.transfer
    lines = [f"    name={_literal(config.name)},", f"    umap={config.umap!r},"]
    for section, part in sections.items():
        lines += [f"    {section}={type(part).__name__}(", *_setting_lines(part, run), "    ),"]
    imports = ", ".join(sorted(cls.__name__ for cls in [*classes[:3], RunConfig]))
    head = [f"from scetm_core.config import {imports}"]
    if config.transfer is not None:
        head.append("from scetm_core.transfer_settings import TransferConfig")
    return Step(
        title="Settings",
        words="All settings of the run. Those that differ from the defaults are marked.",
        code="\n".join([*head, "", "config = RunConfig(", *lines, ")"]),
    )


def _setting_lines(part: Config, run: Run) -> Iterator[str]:
    for entry in settings_of(type(part)):
        value, note = getattr(part, entry.name), ""
        if entry.name == "source_run":
            value = _source_path(run)
        elif value != entry.default and entry.name != "path":
            note = f"  # default: {_literal(entry.default)}"
        yield f"        {entry.name}={_literal(value)},{note}"


def _literal(value: object) -> str:
    """A setting as Python code."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def _source_path(run: Run) -> str:
    """Where the source of a transfer is: its path, or its name if it is gone."""
    try:
        return str(run.source.path.resolve())
    except RunError:
        settings = run.config.transfer
        assert settings is not None
        return settings.source_run


def _check_of_input(run: Run) -> str:
    return textwrap.dedent(
        f"""\
        from pathlib import Path

        from scetm_core.files import describe_input

        SHA256 = {_literal(run.input["sha256"])}
        if describe_input(Path(config.data.path))["sha256"] != SHA256:
            print("The input is not the file that the run was made from: numbers will differ.")"""
    )


def _counts_step(run: Run) -> Step:
    code = textwrap.dedent(
        """
        from scetm_core.data import load_dataset

        data = load_dataset(config.data)
        print(*data.uns["messages"], sep="\\n")
        print(len(data.obs), "cells,", len(data.var_names), "genes")"""
    )
    words = "The counts, after a look whether they are those of the run. Cells and genes without a count are left out."
    return Step(title="Counts", words=words, code=_check_of_input(run) + "\n" + code)


def _training_step() -> Step:
    code = textwrap.dedent(
        """\
        import torch

        from scetm_core import jobs
        from scetm_core.build import build_model
        from scetm_core.model.scetm import resolve_device
        from scetm_core.train import fit

        torch.set_num_threads(jobs.threads_per_run(1))
        model = build_model(data, config, device=resolve_device(config.train.device))
        for record in fit(model, data, config.train, batch_key=config.data.batch_key):
            print(f"step {record.step}: NLL {record.nll:.4f}, held out {record.test_nll}")"""
    )
    return Step(
        title="Training", words="Every few steps a record of the loss; the labels are not looked at.", code=code
    )


def _cells_step() -> Step:
    code = textwrap.dedent(
        """\
        from scetm_core.embedding import FIXED_RESOLUTION, embed
        from scetm_core.infer import infer
        from scetm_core.metrics import N_NEIGHBORS_LISI, evaluate, find_neighbors

        result = infer(model, data, config)
        delta, seed = result.obsm["delta"], config.train.seed
        neighbors = find_neighbors(delta, N_NEIGHBORS_LISI, seed=seed)
        clusters = embed(result, neighbors=neighbors, seed=seed, umap=config.umap)
        scores = evaluate(
            delta,
            clusters_by_resolution=clusters,
            neighbors=neighbors,
            labels=result.obs[config.data.label_key] if config.data.label_key else None,
            batches=result.obs[config.data.batch_key] if config.data.batch_key else None,
            fixed_resolution=FIXED_RESOLUTION,
        )
        print({name: value for name, value in scores.items() if value is not None})"""
    )
    words = "Topics of every cell (obsm: delta, theta), genes of every topic (varm: beta), clusters, UMAP and scores."
    return Step(title="Cells, topics and scores", words=words, code=code)


def _transfer_step(run: Run) -> Step:
    code = textwrap.dedent(
        f"""
        from scetm_core.runs import Run
        from scetm_core.worker import run_analysis

        run = Run.create({_literal(run.id + "-again")}, config)
        if run_analysis(run) != "done":
            raise SystemExit(run.status().message)
        result = run.load_result()
        print(run.evaluation())"""
    )
    words = "The model of the source run is applied to the target; the folder of the source must be there."
    return Step(title="Transfer", words=words, code=_check_of_input(run) + "\n" + code)


def _table_steps(run: Run) -> Iterator[Step]:
    """The tests that were asked for, with their own settings."""
    for name, path in run.tables(keys.ENRICHMENT_FOLDER).items():
        if request := _request_of(path):
            yield _enrichment_step(name, request)
    for name, path in run.tables(keys.DIFFERENTIAL_FOLDER).items():
        if request := _request_of(path):
            yield _differential_step(name, request)


def _request_of(path: Path) -> dict[str, Any]:
    """The settings that a table was made with; empty if it does not say."""
    try:
        attrs = json.loads((pq.read_schema(path).metadata or {}).get(b"PANDAS_ATTRS", b"{}"))
        return dict(attrs.get("request", {}))
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path.parent.name}/{path.name} cannot be read ({error}). Delete it and start it again."
        ) from error


def _enrichment_step(name: str, request: dict[str, Any]) -> Step:
    wanted = ("n_permutations", "refine_to", "tail", "min_size", "max_size", "seed")
    settings = "".join(f"\n    {key}={_literal(request[key])}," for key in wanted if key in request)
    code = (
        "from pathlib import Path\n\nfrom scetm_core.enrichment import prerank\n"
        "from scetm_core.figures import gene_weights\nfrom scetm_core.gene_names import symbols_of\n"
        "from scetm_core.genesets import match_gene_sets, read_gene_sets\n\n"
        f"gene_sets = match_gene_sets(\n    read_gene_sets(Path({_literal(request.get('gene_sets', ''))})),\n"
        "    list(result.var_names),\n    symbols=symbols_of(result.var),\n"
        f"    min_size={request.get('min_size', 5)!r},\n    max_size={request.get('max_size', 500)!r},\n).gene_sets\n"
        f"enrichment = prerank(\n    gene_weights(result),\n    gene_sets,{settings}\n)\n"
        f"enrichment.to_csv({_literal(f'enrichment-{name}.csv')}, index=False)"
    )
    words = f"Gene sets that the topics follow ({name}): preranked GSEA of every topic against every set."
    return Step(title="Gene sets", words=words, code=code)


def _differential_step(name: str, request: dict[str, Any]) -> Step:
    unit = request.get("unit", "cell")
    code = (
        "from scetm_core.differential import permutation_test\nfrom scetm_core.figures import topic_values\n\n"
        f'differential = permutation_test(\n    topic_values(result, "delta"),\n'
        f"    result.obs[{_literal(request.get('groupby', name))}],\n"
        f"    n_permutations={request.get('n_permutations', 100_000)!r},\n"
        f"    unit={'None' if unit == 'cell' else f'result.obs[{_literal(unit)}]'},\n"
        f"    two_sided={request.get('two_sided', False)!r},\n    seed={request.get('seed', 0)!r},\n)\n"
        f"differential.to_csv({_literal(f'differential-{name}.csv')}, index=False)"
    )
    words = f"Topics that are higher in a group of {name} than in the other cells: a permutation test."
    return Step(title="Differential topics", words=words, code=code)


def _save_step(run: Run) -> Step:
    code = f"result.write_h5ad({_literal(run.id + '.h5ad')})"
    if names := run.topic_names():
        given = json.dumps(names, indent=4, ensure_ascii=False)
        code = f'result.uns["scetm"]["topic_names"] = {given}\n{code}'
    return Step(title="The result", words="Everything in one file, which opens in scanpy.", code=code)


# ---- the command line ---------------------------------------------------------------------------------------------


def command_line(run: Run) -> str:
    """The command that makes the run anew, in one line; settings that have their defaults are left out."""
    config = run.config
    words = ["python", "-m", "scetm_core"]
    if config.transfer is None:
        words += ["train", config.data.path, "--out", run.id]
        parts: list[Config] = [config, config.data, config.model, config.train]
        flags = [flag for part in parts for flag in _flags(part)]
    else:
        words += ["transfer", _source_path(run), config.data.path, "--out", run.id]
        flags = [flag for part in (config.data, config.transfer) for flag in _flags(part)]
        if config.is_trained:
            flags += [f"--{name.replace('_', '-')}={getattr(config.train, name)}" for name in TRAINING_OF_TRANSFER]
        flags += [] if config.umap else ["--no-umap"]
    return shlex.join([*words, *flags])


def _flags(part: Config) -> Iterator[str]:
    """Options for the settings of a section that differ from their defaults."""
    for entry in settings_of(type(part)):
        value, flag = getattr(part, entry.name), entry.name.replace("_", "-")
        if entry.name in ("path", "source_run") or value == entry.default or value is None:
            continue
        if entry.type is bool:
            yield f"--{flag}" if value else f"--no-{flag}"
        elif entry.type is tuple:
            yield from (f"--{flag}={name}" for name in value)
        else:
            yield f"--{flag}={value}"
