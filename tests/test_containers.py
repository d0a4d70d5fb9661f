"""Do Dockerfile and compose.yaml say what holds? No container engine runs here: their commands are run in a shell."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from scetm_core.waiting import LANES
from tests import processes

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
PATIENCE = 120.0
SERVICE_FIELDS = {
    "build", "cap_drop", "command", "depends_on", "deploy", "environment", "healthcheck", "image", "init", "ports",
    "profiles", "restart", "security_opt", "shm_size", "stop_grace_period", "volumes",
}  # fmt: skip
HEALTH_FIELDS = {"test", "interval", "timeout", "retries", "start_period"}
JOB_SERVICES = ("worker", "tasks", "worker-gpu")


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile: instruction and what follows, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines if line.strip())]


def all_of(word: str) -> list[str]:
    return [rest for name, rest in instructions() if name == word]


def copied() -> list[str]:
    return [source for rest in all_of("COPY") for source in shlex.split(rest)[:-1]]


def variables() -> dict[str, str]:
    """What the image sets in the environment."""
    return dict(pair.split("=", 1) for rest in all_of("ENV") for pair in shlex.split(rest))


def compose() -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / "compose.yaml").read_text()))


def services() -> dict[str, dict[str, Any]]:
    return dict(compose()["services"])


def filled(text: str, given: dict[str, str]) -> str:
    """Variables of compose filled in: ${NAME:-default}, ${NAME:?what is missing}, and $$ for $."""

    def value(found: re.Match[str]) -> str:
        name, kind, rest = found[1], found[2], found[3]
        if name in given:
            return given[name]
        assert kind == ":-", f"{name} is not given: {rest}"
        return rest

    return re.sub(r"(?<!\$)\$\{(\w+)(?:(:-|:\?)([^}]*))?\}", value, text).replace("$$", "$")


# ---- the image ------------------------------------------------------------------------------------------------------


def test_all_that_is_copied_exists_and_is_not_left_out() -> None:
    assert len(copied()) > 5
    assert [name for name in copied() if not (ROOT / name).exists()] == []
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    kept = {line[1:] for line in lines if line.startswith("!")}
    assert "*" in lines, "what is not named stays outside: homes, data, secrets"
    assert kept == set(copied())


def test_the_base_image_is_pinned_and_nobody_is_root() -> None:
    words = [name for name, _ in instructions()]
    assert all_of("FROM") == ["python:3.11-slim-bookworm"]
    assert all_of("USER") == ["scetm"]
    assert words.index("USER") < words.index("CMD")
    assert "--uid" in next(rest for rest in all_of("RUN") if "useradd" in rest)


def test_every_requirement_of_the_image_is_installed() -> None:
    steps = next(rest for rest in all_of("RUN") if "pip install" in rest)
    named = set(re.findall(r"requirements[\w-]*\.txt", steps))
    assert named == {name for name in copied() if name.startswith("requirements")}
    (torch,) = [line for line in (ROOT / "requirements.txt").read_text().splitlines() if line.startswith("torch==")]
    assert "grep '^torch==' requirements.txt" in steps
    assert re.fullmatch(r"torch==\d+\.\d+\.\d+", torch)


@pytest.mark.parametrize("name", ["Dockerfile", "compose.yaml", "docs/operations.md"])
def test_every_variable_is_known_to_the_app_and_no_registry_is_named(name: str) -> None:
    text = (ROOT / name).read_text()
    code = "\n".join(
        path.read_text()
        for path in [*ROOT.glob("*.py"), *(ROOT / "pages").rglob("*.py"), *(ROOT / "scetm_core").rglob("*.py")]
    )
    own = {"SCETM_WORKERS", "SCETM_UID", "SCETM_DATA", "SCETM_PUBLISH"}  # of compose.yaml itself
    assert set(re.findall(r"SCETM_\w+[A-Z]", text)) - own - set(re.findall(r"SCETM_\w+[A-Z]", code)) == set()
    assert own <= set(re.findall(r"SCETM_\w+", (ROOT / "compose.yaml").read_text()))
    assert not re.search(r"\b[\w-]+\.(docker|pytorch|pythonhosted)\.|ghcr|quay|pypi\.", text)


def test_the_guide_tells_of_every_variable_of_the_compose_file() -> None:
    guide = (ROOT / "docs" / "operations.md").read_text()
    named = set(re.findall(r"\$\{(\w+)", (ROOT / "compose.yaml").read_text()))
    assert "REDIS_PASSWORD" in named
    assert {name for name in named if name not in guide} == set()


# ---- the services ---------------------------------------------------------------------------------------------------


def test_the_compose_file_has_the_fields_that_compose_knows() -> None:
    assert {key for key in compose() if not key.startswith("x-")} == {"name", "services", "volumes"}
    assert set(services()) == {"app", "callbacks", *JOB_SERVICES, "redis"}
    for name, service in services().items():
        assert set(service) <= SERVICE_FIELDS, name
        assert set(service.get("healthcheck", {})) <= HEALTH_FIELDS, name
        assert isinstance(service.get("command", []), list), "no shell reads it"
        assert set(service.get("depends_on", {})) <= set(services()), name
        for volume in service.get("volumes", []):
            source = filled(volume, {}).split(":")[0]
            assert source.startswith("./") or source in compose()["volumes"], volume


def test_app_and_workers_share_home_data_and_broker() -> None:
    ours = [services()[name] for name in ("app", "callbacks", *JOB_SERVICES)]
    for field in ("volumes", "cap_drop", "security_opt", "init"):
        assert len({json.dumps(service[field]) for service in ours}) == 1, field
    assert len({service["environment"]["SCETM_BROKER_URL"] for service in ours}) == 1
    assert {service["environment"]["SCETM_HOME"] for service in ours} == {variables()["SCETM_HOME"]}


def test_each_lane_of_the_queue_has_a_worker() -> None:
    lanes = [service["command"][service["command"].index("-Q") + 1] for service in map(services().get, JOB_SERVICES)]
    assert sorted(lanes) == sorted(LANES)


def test_the_gpu_worker_comes_only_when_asked_for_and_reserves_its_device() -> None:
    gpu = services()["worker-gpu"]
    assert gpu["profiles"] == ["gpu"]
    assert [name for name, service in services().items() if "profiles" in service] == ["worker-gpu"]
    (device,) = gpu["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}
    assert gpu["image"] != services()["worker"]["image"]


def test_only_the_app_can_be_reached_and_only_from_this_machine() -> None:
    assert [name for name, service in services().items() if "ports" in service] == ["app"]
    assert [filled(port, {}) for port in services()["app"]["ports"]] == ["127.0.0.1:8050:8050"]


def test_no_password_stands_in_the_file() -> None:
    text = (ROOT / "compose.yaml").read_text()
    assert re.findall(r"(?:PASSWORD|TOKEN): (?!\$\{)", text) == []
    with pytest.raises(AssertionError, match="Set REDIS_PASSWORD"):
        filled(services()["redis"]["environment"]["REDIS_PASSWORD"], {})


# ---- their commands, in a shell -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the image would hold, and nothing else of the project."""
    folder = tmp_path_factory.mktemp("image")
    for rest in all_of("COPY"):
        *sources, target = shlex.split(rest)
        for source in sources:
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, folder / target, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, folder / target)
    return folder


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def environment_of(image: Path, service: str, given: dict[str, str]) -> dict[str, str]:
    """As a service has it, with folders of ours and listening on this machine alone."""
    home, data = image.parent / "home", image.parent / "data"
    for folder in (home, data):
        folder.mkdir(exist_ok=True)
    told = {
        **variables(),
        **{name: filled(str(text), given) for name, text in services()[service]["environment"].items()},
    }
    bare = {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(image.parent), "HOSTNAME": socket.gethostname()}
    ours = {"SCETM_HOME": str(home), "SCETM_DATA_DIRS": str(data), "SCETM_HOST": "127.0.0.1"}
    return {**bare, **told, **ours}


@contextlib.contextmanager
def running(
    command: list[str], folder: Path, environment: dict[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output)
    try:
        yield process
    finally:
        processes.end(process, patience=30)


def until_it_passes(check: list[str] | str, folder: Path, environment: dict[str, str], process: Any, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        done = subprocess.run(
            check, cwd=folder, env=environment, capture_output=True, text=True, shell=isinstance(check, str)
        )
        if done.returncode == 0:
            return
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, done.stdout + done.stderr + log.read_text()
        time.sleep(0.2)


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("redis-server") is None, reason="no redis-server; on Debian: apt-get install redis-server"
)
def test_the_commands_of_all_services_work_and_their_health_checks_pass(image: Path, tmp_path: Path) -> None:
    port, given = free_port(), {"REDIS_PASSWORD": "abc123", "SCETM_TOKEN": "sixteen-letters-or-more"}
    redis_env = {"PATH": os.environ["PATH"], "REDIS_PASSWORD": "abc123"}
    redis = services()["redis"]
    shell, option, script = redis["command"]
    serve = [shell, option, filled(script, {}) + f" --port {port} --bind 127.0.0.1"]
    with running(serve, tmp_path, redis_env, tmp_path / "redis.log") as process:
        kind, check = redis["healthcheck"]["test"]
        assert kind == "CMD-SHELL"
        check = filled(check, {}).replace("redis-cli", f"redis-cli -p {port}")
        until_it_passes(check, tmp_path, redis_env, process, tmp_path / "redis.log")

        url = f"redis://:abc123@127.0.0.1:{port}/0"
        told = filled(services()["app"]["environment"]["SCETM_BROKER_URL"], given)
        assert told == url.replace(f"127.0.0.1:{port}", "redis:6379")
        environment = {**environment_of(image, "app", given), "SCETM_BROKER_URL": url, "SCETM_PORT": free_port()}
        (command,) = all_of("CMD")
        health = next(rest for rest in all_of("HEALTHCHECK"))
        with running(json.loads(command), image, environment, tmp_path / "app.log") as app:
            check_app = json.loads(health.partition("CMD ")[2])
            until_it_passes(check_app, image, environment, app, tmp_path / "app.log")
        assert "Traceback" not in (tmp_path / "app.log").read_text()

        environment = {**environment_of(image, "worker", given), "SCETM_BROKER_URL": url}
        worker = [filled(word, {}) for word in services()["worker"]["command"]]
        with running(worker, image, environment, tmp_path / "worker.log") as process:
            _, ping = services()["worker"]["healthcheck"]["test"]
            until_it_passes(filled(ping, {}), image, environment, process, tmp_path / "worker.log")
        assert "Traceback" not in (tmp_path / "worker.log").read_text()


def test_without_accounts_and_token_the_app_of_the_image_does_not_start(image: Path) -> None:
    environment = {**environment_of(image, "app", {"REDIS_PASSWORD": "x"}), "SCETM_HOST": "0.0.0.0"}
    environment |= {"SCETM_BROKER_URL": "", "SCETM_PORT": free_port()}
    (command,) = all_of("CMD")
    done = subprocess.run(
        json.loads(command), cwd=image, env=environment, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode != 0
    assert "account add" in done.stderr
