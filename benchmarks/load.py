"""Do twenty people at once wait, while a training runs on the same processors? And does the server's memory stay flat?

Each of them walks over the pages of one run as Chromium did before (`benchmarks._recorded`), about other topics and
genes, thinks for 2 to 8 seconds after each view, and sends the requests of a view in the order of the browser. Needs
Chromium. The people are threads of this process and take processor time from the server as well.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import random
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import requests

from benchmarks._atlas import N_TOPICS, make_atlas
from benchmarks._recorded import View, record_views
from benchmarks._report import RESULTS, report
from benchmarks._serve import served, server_of
from scetm_core import jobs, keys
from scetm_core.config import run_config_from_flat
from scetm_core.runs import Run

TARGET = 1.0  # seconds, p95 of a callback
THINK = (2.0, 8.0)  # seconds
AT_ONCE = 6  # requests that a browser sends at the same time
ALONE = 30  # seconds that the training is watched before the people come
ENCODINGS = "gzip, br, zstd"
N_GENES = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--home", type=Path, help="keep the simulated data here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = options.home or Path(folder)
        run_id = make_atlas(home, n_cells=options.cells)
        training = _train_without_end(home, run_id)
        try:
            with served(home) as address:
                views = record_views(address, run_id=run_id, training_id=training.id)
                time.sleep(ALONE)
                begun = time.time()
                watch = Watch(server_of(address))
                answers = _visit(address, views, n_users=options.users, seconds=60 * options.minutes, watch=watch)
        finally:
            jobs.cancel(training)
            while jobs.state(training) == "running":
                time.sleep(0.5)
        pace = _pace(training, begun=begun)
        training.delete()
    print(f"\ncells/s of the training: {pace[0]:,.0f} alone, {pace[1]:,.0f} with {options.users} people beside it")
    watch.tell()
    report("load", _table(answers), label="request", value="p95")


# ---- the training beside ---------------------------------------------------------------------------------------------


def _train_without_end(home: Path, run_id: str) -> Run:
    """A run on the counts of another one, at work."""
    source = Run(home / keys.RUNS_FOLDER / run_id)
    values = {"name": "beside", "path": source.config.data.path, "batch_key": "batch", "n_topics": N_TOPICS}
    config = run_config_from_flat({**values, "max_steps": 1_000_000, "umap": False})
    run = Run.create(home / keys.RUNS_FOLDER / f"beside-{time.time_ns()}", config)
    jobs.start(run)
    while run.metrics().empty:
        if jobs.state(run) in ("failed", "lost"):
            raise SystemExit(f"the training beside has ended: {run.status().message}\n{run.log_tail()}")
        time.sleep(0.5)
    return run


def _pace(run: Run, *, begun: float) -> tuple[float, float]:
    """Cells per second of the training in its own time (it knows no clock): before `begun`, and since."""
    curve, ended = run.metrics(), run.status().finished_at or time.time()
    ago = curve["seconds"].iloc[-1] - curve["seconds"]
    before = ago > ended - begun
    middle = curve["cells_per_second"]
    return float(middle[before].median()), float(middle[~before].median())


# ---- the people ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How long one request took, and whether it was answered."""

    view: str
    name: str
    seconds: float
    n_bytes: int
    failure: str


def _visit(address: str, views: list[View], *, n_users: int, seconds: float, watch: Watch) -> list[Answer]:
    """All answers that some people got in a time."""
    answers: list[Answer] = []
    end = time.monotonic() + seconds
    people = [
        threading.Thread(target=_walk, args=(address, views, answers, end), kwargs={"seed": seed}, daemon=True)
        for seed in range(n_users)
    ]
    for person in people:
        person.start()
    while time.monotonic() < end:
        watch.look()
        time.sleep(2)
    for person in people:
        person.join(120)
    return answers


def _walk(address: str, views: list[View], answers: list[Answer], end: float, *, seed: int) -> None:
    """One person, from view to view in the order of the recording, beginning anywhere."""
    rng = random.Random(seed)
    session = requests.Session()
    session.headers.update({"Accept-Encoding": ENCODINGS, "Origin": address, "Content-Type": "application/json"})
    place = rng.randrange(len(views))
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        time.sleep(rng.uniform(0, THINK[1]))
        while time.monotonic() < end:
            answers.extend(_look_at(views[place % len(views)], address, session=session, pool=pool, rng=rng))
            place += 1
            time.sleep(rng.uniform(*THINK))


def _look_at(
    view: View,
    address: str,
    *,
    session: requests.Session,
    pool: concurrent.futures.ThreadPoolExecutor,
    rng: random.Random,
) -> list[Answer]:
    """Send the requests of a view, each after those that the browser had waited for."""
    name, asked = view
    topic, gene = rng.randrange(N_TOPICS), rng.randrange(N_GENES)

    def send(place: int) -> Answer:
        path, body = asked[place].about(topic, gene)
        started, failure, n_bytes = time.perf_counter(), "", 0
        try:
            answer = session.request(asked[place].method, address + path, data=body, timeout=120)
            n_bytes = len(answer.content)
            if answer.status_code >= 400:
                failure = f"status {answer.status_code}"
            elif "sideUpdate" in answer.text[:4000] and "error-" in answer.text[:4000]:
                failure = answer.text[:300]
        except requests.RequestException as error:
            failure = f"{type(error).__name__}: {error}"
        seconds = time.perf_counter() - started
        return Answer(view=name, name=asked[place].name, seconds=seconds, n_bytes=n_bytes, failure=failure)

    waiting = collections.deque(range(len(asked)))
    at_work: dict[concurrent.futures.Future[Answer], int] = {}
    done: dict[int, Answer] = {}
    while waiting or at_work:
        while waiting and all(i in done for i in asked[waiting[0]].after):
            place = waiting.popleft()
            at_work[pool.submit(send, place)] = place
        finished, _ = concurrent.futures.wait(at_work, return_when=concurrent.futures.FIRST_COMPLETED)
        for future in finished:
            done[at_work.pop(future)] = future.result()
    return list(done.values())


# ---- the server ------------------------------------------------------------------------------------------------------


@dataclass
class Watch:
    """Memory of the server over time, mapped files not counted."""

    process: psutil.Process
    seconds: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)

    def look(self) -> None:
        """Take down what the server has now."""
        memory = self.process.memory_info()
        self.seconds.append(time.monotonic())
        self.megabytes.append((memory.rss - getattr(memory, "shared", 0)) / 1e6)

    def tell(self) -> None:
        """Print it, and keep it as .csv. The slope is that of the second half, when all has been looked at."""
        times, memory = np.array(self.seconds) - self.seconds[0], np.array(self.megabytes)
        half = times > times[-1] / 2
        slope = np.polyfit(times[half], memory[half], 1)[0] * 3600 if half.sum() > 2 else float("nan")
        print(
            f"server's own memory: {memory[0]:,.0f} MB at the start, {memory.max():,.0f} at most, "
            f"{memory[-1]:,.0f} at the end; {slope:+,.0f} MB an hour in the second half"
        )
        RESULTS.mkdir(exist_ok=True)
        pd.DataFrame({"seconds": times, "megabytes": memory}).to_csv(RESULTS / "load_memory.csv", index=False)


def _table(answers: list[Answer]) -> pd.DataFrame:
    """Times by view and by request, the slowest last; all callbacks together at the end."""
    found = pd.DataFrame([vars(answer) for answer in answers])
    for failure, number in found.loc[found["failure"] != "", "failure"].value_counts().items():
        print(f"{number} x {failure}")
    groups = [(f"{view} · {name}", rows) for (view, name), rows in found.groupby(["view", "name"])]
    rows = [_row(what, group) for what, group in groups]
    return pd.DataFrame([*sorted(rows, key=lambda row: row["p95"]), _row("all requests", found)])


def _row(what: str, answers: pd.DataFrame) -> dict[str, object]:
    p50, p95, p99 = (round(float(value), 3) for value in np.percentile(answers["seconds"], [50, 95, 99]))
    return {
        "request": what, "n": len(answers), "p50": p50, "p95": p95, "p99": p99, "target": TARGET,
        "failures": int((answers["failure"] != "").sum()), "kB": round(float(answers["n_bytes"].mean()) / 1e3),
    }  # fmt: skip


if __name__ == "__main__":
    main()
