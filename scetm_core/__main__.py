"""Command line: ``python -m scetm_core COMMAND``. A thin layer over the functions of the package.

Exit status: 0 done, 1 error (one clear line on stderr), 2 wrong usage, 130 cancelled.
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scetm_core import keys, processes
from scetm_core.account_commands import add_commands as add_account_commands
from scetm_core.config import SECTIONS, DataConfig, RunConfig, TrainConfig, run_config_from_flat
from scetm_core.doctor import add_doctor
from scetm_core.errors import ConfigError, ScetmError
from scetm_core.presets import PRESETS
from scetm_core.progress_bars import StepBar, share_bar
from scetm_core.publish_commands import add_commands as add_publish_commands
from scetm_core.requests import ComparisonRequest, DifferentialRequest, EnrichmentRequest, Request, SweepRequest
from scetm_core.settings import SettingField, settings_of
from scetm_core.transfer_settings import TransferConfig

if TYPE_CHECKING:
    import anndata as ad

    from scetm_core.runs import Run

CANCELLED = 130
TRANSFER_TRAINING = ("max_steps", "minibatch_size", "learning_rate", "seed", "device")


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(prog="python -m scetm_core", description="scETM on the command line.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="write the demo data sets as .h5ad, and gene sets")
    demo.add_argument("--out", type=Path, required=True, help="folder to write to")
    demo.set_defaults(run=run_demo)

    simulate = commands.add_parser("simulate", help="draw counts from the model itself, with the truth beside them")
    simulate.add_argument("--out", type=Path, required=True, help="the .h5ad to write")
    for name, default in (("n-cells", 2000), ("n-genes", 1000), ("n-topics", 10), ("n-batches", 2), ("seed", 0)):
        simulate.add_argument(f"--{name}", type=int, default=default)
    simulate.set_defaults(run=run_simulate)

    check = commands.add_parser("check", help="can this file be trained on? The pre-flight report")
    _add_settings(check, {"data": DataConfig})
    check.add_argument("--json", action="store_true", help="print the report as JSON")
    check.set_defaults(run=run_check)

    train = commands.add_parser("train", help="a whole run, from counts to scored topics")
    train.add_argument("--out", type=Path, required=True, help="folder of the run")
    train.add_argument("--preset", choices=sorted(PRESETS), help="settings to start from; options given here win")
    train.add_argument("--resume", action="store_true", help="continue the run in --out from its last checkpoint")
    _add_settings(train, {"run": RunConfig, **SECTIONS})
    train.set_defaults(run=run_train)

    evaluate = commands.add_parser("evaluate", help="scores of a run, or of any embedding in an .h5ad, as JSON")
    evaluate.add_argument("target", type=Path, metavar="RUN_DIR_OR_H5AD")
    evaluate.add_argument("--use-rep", default="delta", help="obsm slot to score (default: delta)")
    evaluate.add_argument("--batch-key", help="column of obs; a run knows its own")
    evaluate.add_argument("--label-key", help="column of obs; a run knows its own")
    evaluate.set_defaults(run=run_evaluate)

    transfer = commands.add_parser("transfer", help="apply the model of a run to cells that it never saw")
    transfer.add_argument("source_run", metavar="RUN_DIR", help="the run whose model is applied")
    transfer.add_argument("--out", type=Path, required=True, help="folder of the new run")
    _add_settings(transfer, {"data": DataConfig, "transfer": TransferConfig}, target="TARGET", without=("source_run",))
    training = transfer.add_argument_group("training settings, where something is learnt from the target")
    for entry in settings_of(TrainConfig):
        if entry.name in TRANSFER_TRAINING:
            _add_setting(training, entry, default="as suits what is learnt")
    transfer.add_argument("--resume", action="store_true", help="continue the transfer in --out where it stopped")
    transfer.add_argument("--no-umap", dest="umap", action="store_false", help="give the cells no place on a map")
    transfer.set_defaults(run=run_transfer)

    enrich = commands.add_parser("enrich", help="which gene sets does each topic of a run follow? (GSEA)")
    enrich.add_argument("target", type=Path, metavar="RUN_DIR")
    _add_request(enrich, EnrichmentRequest)
    enrich.set_defaults(run=run_enrich)

    differential = commands.add_parser("differential", help="which topics are higher in a group of cells of a run?")
    differential.add_argument("target", type=Path, metavar="RUN_DIR")
    _add_request(differential, DifferentialRequest)
    differential.set_defaults(run=run_differential)

    compare = commands.add_parser("compare", help="how do other methods do on the cells of a run?")
    compare.add_argument("target", type=Path, metavar="RUN_DIR")
    _add_request(compare, ComparisonRequest)
    compare.set_defaults(run=run_compare)

    choose_k = commands.add_parser("choose-k", help="which number of topics? One training for each number and seed")
    _add_request(choose_k, SweepRequest)
    stability = commands.add_parser("stability", help="do the topics come back when trained with other seeds?")
    stability.add_argument("--n-seeds", type=int, default=3, help="trainings, at least 2 (default: 3)")
    for command in (choose_k, stability):
        command.add_argument("--out", type=Path, required=True, help="folder for tables and finished trainings")
        command.add_argument("--preset", choices=sorted(PRESETS), help="settings to start from; options given here win")
        _add_settings(command, SECTIONS)
        command.set_defaults(run=run_sweep)
    add_publish_commands(commands)
    add_account_commands(commands)
    add_doctor(commands)
    return parser


def _add_request(parser: argparse.ArgumentParser, request: type) -> None:
    """Offer every setting of a request."""
    group = parser.add_argument_group("settings")
    for entry in settings_of(request):
        _add_setting(group, entry)


def _add_settings(
    parser: argparse.ArgumentParser, sections: dict[str, type], *, target: str = "DATA", without: Sequence[str] = ()
) -> None:
    """Offer settings of some configs as options named after them; the input file is the one positional."""
    parser.add_argument("path", metavar=target, help="the input file or folder")
    for section, config in sections.items():
        group = parser.add_argument_group(f"{section} settings")
        for entry in settings_of(config):
            if entry.name not in ("path", *without):
                _add_setting(group, entry)


def _add_setting(group: argparse._ArgumentGroup, entry: SettingField, *, default: str = "") -> None:
    shown, flag = entry.setting, entry.name.replace("_", "-")
    text = f"{shown.help} {shown.range_in_words()}".replace("%", "%%").strip()
    if entry.type is bool and entry.default:
        group.add_argument(f"--no-{flag}", dest=entry.name, action="store_false", default=None, help=f"not: {text}")
    elif entry.type is bool:
        group.add_argument(f"--{flag}", dest=entry.name, action="store_true", default=None, help=text)
    elif entry.type is tuple:
        group.add_argument(
            f"--{flag}", dest=entry.name, action="extend", nargs="+", metavar="NAME",
            help=f"{text} May be given several times.",
        )  # fmt: skip
    else:
        group.add_argument(
            f"--{flag}", dest=entry.name, type=entry.type, choices=shown.choices or None,
            help=f"{text} (default: {default or entry.default})",
        )  # fmt: skip


def _given_settings(options: argparse.Namespace, sections: list[type]) -> dict[str, Any]:
    entries = [entry for config in sections for entry in settings_of(config)]
    given = {entry.name: getattr(options, entry.name) for entry in entries}
    kinds = {entry.name: entry.type for entry in entries}
    return {name: tuple(value) if kinds[name] is tuple else value for name, value in given.items() if value is not None}


def run_demo(options: argparse.Namespace) -> int:
    """Write the demo data."""
    from scetm_core.data.demo import write_demo

    for name, path in write_demo(options.out).items():
        print(f"{name}: {path}")
    return 0


def run_simulate(options: argparse.Namespace) -> int:
    """Write simulated data."""
    from scetm_core.data import simulate

    data = simulate(
        n_cells=options.n_cells, n_genes=options.n_genes, n_topics=options.n_topics, n_batches=options.n_batches,
        seed=options.seed,
    )  # fmt: skip
    options.out.parent.mkdir(parents=True, exist_ok=True)
    data.write_h5ad(options.out)
    print(f"{options.out}: {data.n_obs:,} cells, {data.n_vars:,} genes")
    return 0


def run_check(options: argparse.Namespace) -> int:
    """Print the pre-flight report; exit status 1 if the data cannot be trained on."""
    from scetm_core.data import check_dataset

    report = check_dataset(DataConfig(**_given_settings(options, [DataConfig])))
    if options.json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        print(f"{report.n_cells:,} cells, {report.n_genes:,} genes, {report.n_nonzero:,} counts that are not zero")
        for finding in report.findings:
            print(f"  {finding.level:8}{finding.topic}: {finding.message} {finding.advice}".rstrip())
    if not report.ok:
        print(f"error: {options.path} cannot be trained on as it is; see the report.", file=sys.stderr)
    return 0 if report.ok else 1


def run_train(options: argparse.Namespace) -> int:
    """Run the whole analysis in the foreground; as several processes, where they are asked for."""
    from scetm_core.runs import Run

    if processes.rank() > 0:
        from scetm_core.worker import help_with

        return help_with(options.out)
    preset = dict(PRESETS[options.preset].values) if options.preset else {}
    given = _given_settings(options, [RunConfig, *SECTIONS.values()])
    for name in ("path", "rho_gmt", "rho_file"):
        if given.get(name):
            given[name] = str(Path(given[name]).expanduser().resolve())
    config = run_config_from_flat({"name": options.out.name, **preset, **given})
    resumed = _run_to_resume(options, {**preset, **given}) if options.resume and options.out.exists() else None
    n_processes = given.get("n_processes", (resumed.config if resumed else config).train.n_processes)
    if n_processes > processes.world() == 1:
        again = processes.command("scetm_core", *options.arguments, n_processes=n_processes)
        return subprocess.run(again, check=False).returncode
    return _run_in_foreground(resumed or Run.create(options.out, config))


def run_transfer(options: argparse.Namespace) -> int:
    """Apply the model of a run to a target; print the scores, with the gene report among them."""
    from scetm_core.runs import Run
    from scetm_core.transfer import transfer_config

    given = _given_settings(options, [DataConfig, TransferConfig])
    for name in ("path", "aliases", "orthologs"):
        if given.get(name) and (name == "path" or Path(given[name]).expanduser().is_file()):
            given[name] = str(Path(given[name]).expanduser().resolve())
    source, out = Path(given["source_run"]).expanduser().resolve(), options.out.expanduser().resolve()
    given["source_run"] = source.name if source.parent == out.parent else str(source)
    of_data = {entry.name for entry in settings_of(DataConfig)}
    training = {name: value for name in TRANSFER_TRAINING if (value := getattr(options, name)) is not None}
    config = transfer_config(
        Run(source),
        data=DataConfig(**{name: value for name, value in given.items() if name in of_data}),
        transfer=TransferConfig(**{name: value for name, value in given.items() if name not in of_data}),
        name=options.out.name,
        train=training,
        umap=options.umap,
    )
    if options.resume and options.out.exists():
        run = _run_to_resume(options, {**given, **training, "umap": options.umap})
    else:
        run = Run.create(options.out, config)
    return _run_in_foreground(run)


def _run_in_foreground(run: Run) -> int:
    """Take a run to its end with a progress bar on a terminal, and print its scores. Ctrl-C keeps what is done."""
    from scetm_core.worker import run_analysis

    logging.basicConfig(level=logging.WARNING, format="%(message)s", filename=run.log_path)
    logging.getLogger("scetm").setLevel(logging.INFO)

    def stop_at_next_step(*_: object) -> None:
        run.request_cancel()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, stop_at_next_step)
    with StepBar(run.status().max_steps) as bar:
        state = run_analysis(run, on_change=bar.show)
    if state == "done":
        print(json.dumps({**run.evaluation(), **run.transfer_report()}, indent=2))
        return 0
    print(f"{'cancelled' if state == 'cancelled' else 'error'}: {run.status().message}", file=sys.stderr)
    return CANCELLED if state == "cancelled" else 1


def _run_to_resume(options: argparse.Namespace, given: dict[str, Any]) -> Run:
    """The run in --out, ready to go on; its settings are its own, so others must not be given beside.

    But for the number of processes, which changes nothing in the result.
    """
    from scetm_core.runs import Run

    run = Run(options.out)
    own = run.config.to_dict()
    flat = {**own, **own["data"], **own["model"], **own["train"], **(own["transfer"] or {})}
    if changed := sorted(name for name, value in given.items() if flat.get(name) != value and name != "n_processes"):
        raise ConfigError(
            f"The run in {options.out} has other settings: {', '.join(changed)}. A run keeps its settings; "
            "leave these options out to resume, or train into a new folder."
        )
    run.clear_cancel()
    return run


def run_evaluate(options: argparse.Namespace) -> int:
    """Score an embedding: neighbours, Leiden at the paper's resolutions, then every metric."""
    from scetm_core.errors import DataError
    from scetm_core.evaluation import evaluate_embedding
    from scetm_core.files import scores_as_json
    from scetm_core.judging import column_of

    result, run = _load_scored(options.target)
    data = run.config.data if run else DataConfig()
    labels = column_of(result, options.label_key or data.label_key)
    batches = column_of(result, options.batch_key or data.batch_key)
    if options.use_rep not in result.obsm:
        raise DataError(f"obsm has no {options.use_rep!r}; found: {list(result.obsm)}.")
    scores = evaluate_embedding(result.obsm[options.use_rep], labels=labels, batches=batches).scores
    scores["test_nll"] = run.evaluation().get("test_nll") if run else None
    print(scores_as_json(scores))
    return 0


def run_enrich(options: argparse.Namespace) -> int:
    """Test every topic against every gene set."""
    given = _given_settings(options, [EnrichmentRequest])
    if given.get("gene_sets"):
        given["gene_sets"] = str(Path(given["gene_sets"]).expanduser().resolve())
    request = EnrichmentRequest(**given)
    return _answer(options.target, Path(request.gene_sets).stem, request)


def run_differential(options: argparse.Namespace) -> int:
    """Test every topic for every label."""
    request = DifferentialRequest(**_given_settings(options, [DifferentialRequest]))
    return _answer(options.target, request.groupby, request)


def run_compare(options: argparse.Namespace) -> int:
    """Embed and score the cells of a run by other methods."""
    return _answer(
        options.target, keys.METHODS_TABLE, ComparisonRequest(**_given_settings(options, [ComparisonRequest]))
    )


def run_sweep(options: argparse.Namespace) -> int:
    """Train for several numbers of topics (choose-k) or one (stability), with several seeds; print what was found."""
    from scetm_core.data import load_dataset
    from scetm_core.files import write_table
    from scetm_core.judging import TRAINING_FOLDER, sweep_table
    from scetm_core.sweep import sweep

    preset = dict(PRESETS[options.preset].values) if options.preset else {}
    given = _given_settings(options, list(SECTIONS.values()))
    config = run_config_from_flat({**preset, **given, "path": str(Path(options.path).expanduser().resolve())})
    if options.command == "choose-k":
        request = SweepRequest(**_given_settings(options, [SweepRequest]))
        numbers, n_seeds = request.numbers, request.n_seeds
    else:
        numbers, n_seeds = [config.model.n_topics], max(2, options.n_seeds)
    seeds = range(config.train.seed, config.train.seed + n_seeds)
    data = load_dataset(config.data)
    with share_bar() as show:
        found = sweep(
            data, config, n_topics=numbers, seeds=seeds, folder=options.out / TRAINING_FOLDER, on_progress=show
        )
    table = sweep_table(found)
    write_table(table, options.out / f"{keys.TRAININGS_TABLE}.parquet")
    shown = found.by_k if options.command == "choose-k" else found.stability[numbers[0]]
    shown.to_csv(options.out / f"{options.command}.csv", index=options.command == "stability")
    print(shown.to_string(index=options.command == "stability"))
    advice = table.attrs["recommendation"]
    said = [*advice["reason"], *advice["caveats"]] if options.command == "choose-k" else []
    print("\n".join([*found.sentences, *said]))
    return 0


def _answer(target: Path, name: str, request: Request) -> int:
    """Answer a request to a run, with a progress bar on a terminal; print what was compared, and where the table is."""
    import pandas as pd

    from scetm_core.answers import answer
    from scetm_core.files import table_name
    from scetm_core.runs import Run

    with share_bar() as show:
        path = answer(Run(target), table_name(name), request, on_progress=show)
    table = pd.read_parquet(path)
    for sentence in table.attrs["sentences"]:
        print(sentence)
    print(f"{path}: {len(table):,} rows in {table.attrs['seconds']:g} s")
    return 0


def _load_scored(target: Path) -> tuple[ad.AnnData, Run | None]:
    import anndata as ad

    from scetm_core.data.formats import open_store
    from scetm_core.data.hdf5_chunks import measure
    from scetm_core.errors import DataError
    from scetm_core.runs import Run

    if target.is_dir():
        run = Run(target)
        return run.load_result(), run
    if not target.is_file():
        raise DataError(f"There is no file {target}.")
    try:
        with open_store(target) as root:  # refuses what points elsewhere or claims too much
            measure(root)
        return ad.read_h5ad(target), None
    except DataError:
        raise
    except Exception as error:  # anndata and h5py raise many kinds for a damaged file
        raise DataError(f"{target} cannot be read as .h5ad ({error}).") from error


def main(arguments: list[str] | None = None) -> int:
    """Parse, run, and turn errors into one line on stderr."""
    options = build_parser().parse_args(arguments)
    options.arguments = sys.argv[1:] if arguments is None else arguments
    try:
        return int(options.run(options))
    except ScetmError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error.filename or ''} {error.strerror or error}".replace("  ", " "), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("cancelled", file=sys.stderr)
        return CANCELLED


if __name__ == "__main__":
    sys.exit(main())
