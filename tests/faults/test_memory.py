"""Is a worker out of memory told from one that was killed, and from one that crashed?"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scetm_core import jobs, supervisor
from scetm_core.errors import RunError
from scetm_core.jobfolder import JobFolder, Status
from scetm_core.runs import Run
from scetm_core.supervisor import End

MakeRun = Callable[..., Run]

HERE = Path(__file__).parent
GROUPS = Path("/sys/fs/cgroup")
GIGA = 1_000_000_000


def supervise(job: JobFolder, how: str, *, within: Path | None = None) -> int:
    """A real supervisor with a worker that dies in a certain way; within a control group, if there is one."""
    worker = [sys.executable, "-m", "hungry", str(job.path), how]
    command = [sys.executable, "-m", "scetm_core.supervisor", str(job.path), *worker]
    if within is not None:
        command = ["sh", "-c", f'echo $$ > {within}/cgroup.procs; exec "$0" "$@"', *command]
    paths = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    with job.log_path.open("ab") as log:
        return subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, stdout=log, check=False).returncode


@pytest.fixture
def small_group(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A control group that may use 60 MB, of whichever version; skips where none can be made."""
    second = (GROUPS / "cgroup.controllers").is_file()
    folder = (GROUPS if second else GROUPS / "memory") / f"scetm-test-{os.getpid()}"
    try:
        folder.mkdir()
        (folder / ("memory.max" if second else "memory.limit_in_bytes")).write_text("60000000")
    except OSError as error:
        if folder.is_dir():
            folder.rmdir()
        pytest.skip(f"no control group can be made here ({error})")
    yield folder
    folder.rmdir()


def test_a_worker_that_the_kernel_stops_for_want_of_memory_says_so(make_run: MakeRun, small_group: Path) -> None:
    run = make_run()
    assert supervise(run, "memory", within=small_group) == 128 + 9
    status = run.status()
    assert status.state == "failed"
    assert "stopped by the system for want of memory (it used 0." in status.message
    assert "of 0.1 GB" in status.message
    assert "Use fewer genes" in status.message
    assert status.message.endswith("resume; it goes on from the last checkpoint.")
    assert status.finished_at is not None
    assert status.message in run.log_tail()
    assert jobs.can_resume(run)


@pytest.mark.parametrize(
    ("how", "code", "words"),
    [
        pytest.param(
            "SIGKILL", 137, r"was killed \(signal 9, SIGKILL\): somebody, or the system, ended its", id="killed"
        ),
        pytest.param("SIGTERM", 143, r"was killed \(signal 15, SIGTERM\): its process was told to end", id="ended"),
        pytest.param("SIGSEGV", 139, r"The worker crashed \(SIGSEGV\)\. Look at the log", id="crashed"),
        pytest.param("exit", 4, r"ended before it could say why \(exit status 4\)\. The log has", id="unsaid"),
        pytest.param("before it begins", 3, r"before it could say why \(exit status 3\)", id="before it began"),
        pytest.param("says so", 1, r"^In its own words\.$", id="said by itself"),
    ],
)
def test_other_deaths_are_told_as_what_they_are(make_run: MakeRun, how: str, code: int, words: str) -> None:
    import re

    run = make_run()
    assert supervise(run, how) == code
    status = run.status()
    assert status.state == "failed"
    assert re.search(words, status.message)
    assert "memory" not in status.message
    assert jobs.can_resume(run)


def test_a_death_is_told_by_the_folder_at_once_not_only_as_lost(make_run: MakeRun) -> None:
    """A reader that looks in between sees "lost", which can be resumed as well."""
    run = make_run()
    end = End(code=-9, peak_bytes=11_200_000_000, oom_killed=True)
    run.write_status(Status(state="running", pid=123, queued_at=1.0))
    supervisor.report_end(run, end, pid=123, queued_at=1.0)
    assert "it used 11.2 of " in run.status().message


@pytest.mark.parametrize(
    "now",
    [
        pytest.param(Status(state="queued", pid=None, queued_at=2.0), id="resumed, not yet begun"),
        pytest.param(Status(state="running", pid=124, queued_at=1.0), id="another worker"),
        pytest.param(Status(state="done", pid=123, queued_at=1.0), id="done"),
    ],
)
def test_what_has_happened_since_is_not_overwritten(make_run: MakeRun, now: Status) -> None:
    run = make_run()
    run.write_status(now)
    before = run.status()
    supervisor.report_end(run, End(code=-9, peak_bytes=1, oom_killed=False), pid=123, queued_at=1.0)
    assert run.status() == before


def test_a_run_that_another_process_holds_is_left_to_it(make_run: MakeRun) -> None:
    run = make_run()
    run.write_status(Status(state="queued", pid=None, queued_at=1.0))
    before = run.status()
    with jobs.hold(run):
        supervisor.report_end(run, End(code=1, peak_bytes=1, oom_killed=False), pid=123, queued_at=1.0)
    assert run.status() == before
    with pytest.raises(RunError):
        supervisor.report_end(JobFolder("nowhere"), End(code=1, peak_bytes=1, oom_killed=False), pid=1, queued_at=1.0)
    assert not Path("nowhere").exists()


def test_a_crash_under_a_limit_of_memory_mentions_the_limit(make_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (2 * GIGA, 2 * GIGA))
    said = supervisor.in_words(End(code=-6, peak_bytes=1, oom_killed=False), make_run())
    assert "crashed (SIGABRT)" in said
    assert "Memory is limited to 2.0 GB here. Use fewer genes" in said


def test_counts_of_kills_and_limits_are_read_of_both_kinds_of_control_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "vmstat").write_text("nr_free_pages 7\noom_kill 2\n")
    (proc / "self" / "cgroup").write_text("4:memory:/old\n0::/new/er\n")
    (groups / "memory" / "old").mkdir(parents=True)
    (groups / "memory" / "old" / "memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
    (groups / "memory" / "old" / "memory.limit_in_bytes").write_text("5000000\n")
    (groups / "new" / "er").mkdir(parents=True)
    (groups / "new" / "er" / "memory.events").write_text("low 0\noom 5\noom_kill 4\n")
    (groups / "new" / "er" / "memory.max").write_text("max\n")
    monkeypatch.setattr(supervisor, "PROC", proc)
    monkeypatch.setattr(supervisor, "CGROUPS", groups)
    assert supervisor.oom_kills() == (3, 4, 2)
    assert supervisor.memory_limit() == 5_000_000
    monkeypatch.setattr(supervisor, "PROC", tmp_path / "none")
    assert supervisor.oom_kills() == ()


@pytest.mark.slow
def test_a_limit_of_address_space_is_told_as_want_of_memory(make_run: MakeRun) -> None:
    """In a process of its own that has loaded everything and may not take 200 MB more."""
    run = make_run(n_hidden=10_000, n_emb=10_000, n_topics=1000)
    code = (
        "import resource, sys, psutil, scetm_core.analysis, scetm_core.model.ranks, torch._dynamo\n"
        "from scetm_core.worker import run_analysis\nfrom scetm_core.runs import Run\n"
        "most = psutil.Process().memory_info().vms + 200_000_000\n"
        "resource.setrlimit(resource.RLIMIT_AS, (most, most))\n"
        "print(run_analysis(Run(sys.argv[1])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(run.path)], cwd=HERE.parents[1], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines()[-1] == "failed", done.stderr
    assert "not enough memory. Use fewer genes" in run.status().message
