"""How do the readers take ten thousand bad inputs each? ``make fuzz``, or ``python tests/fuzz [READER ...]``.

Each reader has a process of its own, so that a crash of a library's compiled code is found as well, with the input that
made it. Without ``--guided``, inputs are drawn by seed 0, 1, 2 ... and can be made again: ``--first SEED --inputs 1``.
With it, atheris looks for inputs that reach new lines of our readers (bytes of the choices that make an input).
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import types
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
sys.modules["tests"] = _package = types.ModuleType("tests")  # some library installs a package of that name as well
_package.__path__ = [str(ROOT / "tests")]

ROWS = ("reader", "inputs", "seconds", "refused", "accepted", "escaped")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("readers", nargs="*", help="all, if none is named")
    parser.add_argument("--inputs", type=int, default=10_000, help="of each reader")
    parser.add_argument("--first", type=int, default=0, help="seed of the first input")
    parser.add_argument("--guided", action="store_true", help="by coverage, with atheris")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return work(options.readers[0], options.first, options.inputs, guided=options.guided)
    from tests.fuzz.targets import TARGETS

    print(" | ".join(ROWS), flush=True)
    escaped = 0
    for name in options.readers or TARGETS:
        escaped += watch(name, options.first, options.inputs, guided=options.guided)
    return 1 if escaped else 0


def watch(name: str, first: int, inputs: int, *, guided: bool) -> int:
    """Let a worker go through the inputs; begin behind the one that killed it. The number of those that escaped."""
    seen: Counter[str] = Counter()
    texts: dict[str, int] = {}
    started, last = time.monotonic(), first + inputs
    while first < last:
        command = [sys.executable, __file__, name, "--worker", "--first", str(first), "--inputs", str(last - first)]
        with subprocess.Popen(
            [*command, *(["--guided"] if guided else [])], stdout=subprocess.PIPE, text=True
        ) as worker:
            assert worker.stdout is not None
            for line in worker.stdout:
                if not line.startswith("{"):
                    continue
                record = json.loads(line)
                seen[record["verdict"]] += 1
                first = record["seed"] + 1
                if record["verdict"] == "escaped":
                    texts.setdefault(record["text"], record["seed"])
        if worker.returncode == 0:
            break
        seen["escaped"] += 1
        texts.setdefault(f"the process died ({worker.returncode})", first)
        first = last if guided else first + 1
    seconds = time.monotonic() - started
    counts = [seen[verdict] for verdict in ROWS[3:]]
    print(" | ".join([name, f"{sum(counts):,}", f"{seconds:.0f}", *(f"{n:,}" for n in counts)]), flush=True)
    for text, seed in list(texts.items())[:12]:
        print(f"    seed {seed}: {text}", flush=True)
    return seen["escaped"]


def work(name: str, first: int, inputs: int, *, guided: bool) -> int:
    """Go through inputs and print a line of JSON for each: the one after the last line is the one that killed us."""
    if guided:
        import atheris

        contextlib.ExitStack().enter_context(atheris.instrument_imports(include=["scetm_core"]))  # till the end
    from tests.fuzz.choices import Choices
    from tests.fuzz.guard import Escaped, judge
    from tests.fuzz.targets import TARGETS, Seeds

    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, resource.getrlimit(resource.RLIMIT_AS)[1]))  # of our own doing too
    target = TARGETS[name]
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    also = open_app(folder) if name in ("address", "names") else ()
    kept = Seeds(target, folder)

    def one(seed: int, choices: Choices) -> None:
        record: dict[str, object] = {"seed": seed}
        try:
            box, path = kept.copy(choices)
            target.spoil(choices, path)
            record["verdict"] = judge(target.read, path, box, also=also)
        except Escaped as error:
            record |= {"verdict": "escaped", "text": f"{error} at {_places(error)}"}
        print(json.dumps(record), flush=True)

    try:
        if guided:
            guide(one, inputs)
        for seed in range(first, first + inputs) if not guided else ():
            one(seed, Choices.of_seed(seed))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _places(error: BaseException) -> str:
    """The last lines of ours that an error came through."""
    frames = traceback.extract_tb((error.__cause__ or error).__traceback__)
    ours = [frame for frame in frames if "scetm_core" in frame.filename or "pages" in frame.filename]
    return " ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in ours[-3:])


def open_app(folder: Path) -> tuple[Path, ...]:
    """The app on a home with one finished run, for addresses and names."""
    from app import create_app
    from pages._shared.studio import Studio
    from tests.fuzz.seeds import finished_run

    home = folder / "home"
    app = create_app(Studio(home=home))
    finished_run(home / "runs").rename(home / "runs" / "done-run")
    app.server.test_client().get("/_dash-dependencies")
    return (home,)


def guide(one: Callable[..., None], inputs: int) -> None:
    """Let atheris choose; it ends the process by itself."""
    import atheris

    from tests.fuzz.choices import Choices

    numbers = iter(range(10**9))

    def test(content: bytes) -> None:
        provider = atheris.FuzzedDataProvider(content)
        one(next(numbers), Choices(lambda n: provider.ConsumeIntInRange(0, n - 1)))

    bounds = [f"-runs={inputs}", "-max_len=4096", "-verbosity=0", "-timeout=60", "-rss_limit_mb=4096"]
    atheris.Setup([sys.argv[0], *bounds], test)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
