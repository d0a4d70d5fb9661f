"""A process with PyTorch loaded that starts workers by forking: each begins within milliseconds, and may be killed.

Reads lines ``RUN_FOLDER N`` from its input; writes the worker's process number, and how it ended. A worker kills
itself at its N-th opening, renaming or deleting of a file in its run (0: never). Clusters and scores, which take
seconds and touch no file, are left out.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from pathlib import Path
from typing import Any

import scetm_core.judgement
import scetm_core.metrics  # noqa: F401
from scetm_core import analysis, jobs
from scetm_core.reporter import Reporter
from scetm_core.runs import Run
from scetm_core.worker import run_analysis

FILE_EVENTS = ("open", "os.rename", "os.remove", "os.truncate")


def die_at(number: int, folder: str) -> None:
    """Have the system kill this process just before the number-th thing it does to a file of the folder."""
    seen = 0

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal seen
        if event in FILE_EVENTS and str(arguments[0]).startswith(folder):
            seen += 1
            if seen == number:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)


def write_unscored(run: Run, report: Reporter, result: Any, **_: object) -> None:
    report.stage("evaluating", "Writing the result.")
    run.write_result(result)
    run.write_evaluation({"n_cells": result.n_obs})


def main() -> None:
    importlib.import_module("torch._dynamo")  # PyTorch would, with the first optimiser of each worker: a second
    analysis.embed_and_score = write_unscored
    jobs.threads_per_run = lambda n_slots: 1
    for line in sys.stdin:
        folder, number = line.split()
        pid = os.fork()
        if pid == 0:
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), 1)
                os.dup2(nowhere.fileno(), 2)
            if int(number):
                die_at(int(number), folder)
            state = run_analysis(Run(Path(folder)))
            os._exit(0 if state == "done" else 1)
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
