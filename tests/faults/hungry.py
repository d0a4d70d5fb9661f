"""Stands in for a worker that the system stops: ``python -m hungry FOLDER HOW`` takes up the job, then dies."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
from pathlib import Path

from scetm_core import liveness
from scetm_core.jobfolder import JobFolder


def main() -> None:
    job, how = JobFolder(Path(sys.argv[1])), sys.argv[2]
    if how == "before it begins":
        sys.exit(3)
    job.write_status(dataclasses.replace(job.status(), state="running", stage="training", **liveness.identity()))  # type: ignore[arg-type]
    if how == "memory":
        hoard = []
        while True:
            hoard.append(bytearray(os.urandom(1 << 16)) * 16)
    if how == "says so":
        job.write_status(dataclasses.replace(job.status(), state="failed", message="In its own words."))
        sys.exit(1)
    if how.startswith("SIG"):
        os.kill(os.getpid(), getattr(signal, how))
    sys.exit(4)


if __name__ == "__main__":
    main()
