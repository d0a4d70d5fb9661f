"""How is a run taken from where it stands to its end? Its turn, its analysis, its report.

Started as ``python -m scetm_core.worker RUN_DIR --slots N`` by `jobs.start`, or called as `run_analysis` by the
command line. It reports into the run folder only; whoever wants to watch reads the folder.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from scetm_core import jobs, processes
from scetm_core.errors import RunError
from scetm_core.jobfolder import JobFolder, Status
from scetm_core.links import refuse_foreign_links_of
from scetm_core.reporter import Cancelled, Reporter, in_words, set_up_process
from scetm_core.runs import Run

# Read by OpenMP when torch is loaded: threads that spin while they wait take the processor from each other as soon as
# anything else runs on it. Measured on two busy cores: 3.4 times as many steps; on idle ones no difference.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

log = logging.getLogger("scetm")


def run_analysis(run: Run, *, n_slots: int = 0, on_change: Callable[[Status], None] | None = None) -> str:
    """Take a run from where it stands to its end.

    Parameters
    ----------
    n_slots
        How many runs beside each other may train; wait for a free slot. 0: do not queue up.
    on_change
        Called with every new status, e.g. to draw a progress bar.

    Returns
    -------
    The final state: ``"done"``, ``"failed"`` or ``"cancelled"``; the status says why.

    Raises
    ------
    jobs.Held
        If another process works on the run.
    """
    with jobs.hold(run), Reporter(run, on_change) as report:

        def work() -> None:
            run.remove_leftovers()
            if not n_slots:
                _analyse(run, report, n_threads=jobs.threads_per_run(1))
                return
            with jobs.take_turn(run, n_slots=n_slots) as is_our_turn:
                if not is_our_turn:
                    raise Cancelled
                _analyse(run, report, n_threads=jobs.threads_per_run(n_slots))

        return report.finish(work, cancelled="Cancelled. Resume continues from the last step.")


def _analyse(run: Run, report: Reporter, *, n_threads: int) -> None:
    report.update(state="running", started_at=time.time(), message="Starting.")
    refuse_foreign_links_of(run)  # it may have waited for days
    report.stage("loading", "Loading PyTorch.")
    import torch

    torch.set_num_threads(n_threads)
    from scetm_core.model.ranks import joined

    with joined(run.config.train.device) as ranks:
        if run.config.transfer is None:
            from scetm_core.analysis import analyse

            analyse(run, report, ranks)
        else:
            from scetm_core import transfer_analysis

            ranks.leave()
            transfer_analysis.analyse(run, report)


def help_with(path: Path, *, n_slots: int = 1) -> int:
    """Be one of the other processes that train a run: help the first one, write nothing, and end after the training.

    Parameters
    ----------
    path
        The run's folder; the first process may still be at making it.
    n_slots
        As for the first process.

    Returns
    -------
    The exit status: 0 if the model is trained, or training was cancelled.
    """
    import torch

    from scetm_core.analysis import help_train
    from scetm_core.model.ranks import joined

    log.setLevel(logging.WARNING)  # the first process tells the rest
    torch.set_num_threads(jobs.threads_per_run(n_slots))
    try:
        with joined() as ranks:
            help_train(Run(path), ranks)
    except Exception as error:
        log.error("Process %d: %s", processes.rank() + 1, in_words(error))
        return 1
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Entry of the worker process; exit status 0 if the run is done."""
    parser = argparse.ArgumentParser(prog="scetm_core.worker", description="Run the analysis of one run folder.")
    parser.add_argument("run", type=Path)
    parser.add_argument("--slots", type=int, default=1, help="runs that may train beside each other; 0: begin at once")
    options = parser.parse_args(arguments)
    set_up_process(JobFolder(options.run))
    if processes.rank() > 0:
        return help_with(options.run, n_slots=options.slots)
    try:
        return 0 if run_analysis(Run(options.run), n_slots=options.slots) == "done" else 1
    except RunError as error:
        log.error("%s", error)
        return jobs.HELD if isinstance(error, jobs.Held) else 1


if __name__ == "__main__":
    sys.exit(main())
