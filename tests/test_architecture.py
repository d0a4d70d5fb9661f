"""Do the modules keep to the arrows of the design, to their size, and to their word?"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = ROOT / "scetm_core"
MODULES = sorted(CORE.rglob("*.py"))
PAGES = [path for path in [ROOT / "app.py", *sorted((ROOT / "pages").rglob("*.py"))] if path.is_file()]
HEAVY = {"torch", "umap", "scanpy", "matplotlib", "sklearn", "numba", "pynndescent", "igraph"}

BASE = {"errors", "json_text", "keys", "number_text"}
MAY_IMPORT = {  # part of scetm_core -> the parts it may import; parts not listed: `LEAF`
    "__init__": set(),
    "errors": set(),
    "keys": set(),
    "bounded": set(),
    "json_text": {"bounded"},
    "number_text": set(),
    "settings": BASE,
    "config": BASE | {"settings", "transfer_settings"},
    "transfer_settings": BASE | {"settings"},
    "presets": set(),
    "accounts": BASE | {"files"},
    "account_commands": BASE | {"accounts"},
    "gene_names": BASE | {"data"},
    "orthologs": BASE | {"bounded", "data", "gene_names"},
    "marker_tables": BASE | {"bounded", "data"},
    "gene_alignment": BASE | {"gene_names", "orthologs"},
    "genesets": BASE | {"data", "files", "gene_names", "marker_tables", "orthologs"},
    "markers": BASE | {"genesets"},
    "libraries": BASE | {"files"},
    "data": BASE | {"config", "data", "processes"},
    "model": BASE | {"config", "files", "model", "processes", "transfer_settings"},
    "build": BASE | {"config", "data", "gene_names", "genesets", "model"},
    "checkpoints": BASE | {"model"},
    "processes": set(),
    "training_checks": BASE | {"config", "model"},
    "trainer": BASE | {"checkpoints", "config", "metrics", "model", "training_checks"},
    "train": BASE | {"checkpoints", "config", "model", "trainer"},
    "infer": BASE | {"config", "gene_names", "model", "trainer"},
    "metrics": BASE | {"metrics"},
    "label_transfer": BASE | {"metrics"},
    "novelty": BASE | {"metrics", "model"},
    "judgement": BASE | {"metrics"},
    "embedding": BASE | {"metrics"},
    "joint_map": BASE | {"embedding", "figures", "metrics"},
    "enrichment": BASE | {"enrichment_null"},
    "enrichment_null": set(),
    "differential": BASE | {"differential_null", "differential_units"},
    "differential_null": {"enrichment_null"},
    "differential_units": BASE,
    "figures": BASE | {"figures"},
    "printing": BASE | {"figures", "printing", "settings"},
    "files": BASE,
    "own_colors": BASE | {"files"},
    "board": BASE | {"files", "settings"},
    "printing_table": BASE,
    "memory": set(),
    "choice": set(),
    "sweep": BASE
    | {
        "__init__",
        "build",
        "choice",
        "config",
        "embedding",
        "files",
        "infer",
        "judgement",
        "metrics",
        "model",
        "train",
        "trainer",
    },
    "evaluation": BASE | {"embedding", "metrics"},
    "peers": BASE | {"build", "config", "memory", "model", "presets", "train", "trainer"},
    "comparison": BASE | {"config", "data", "embedding", "evaluation", "metrics", "peers", "settings"},
    "judging": BASE
    | {
        "choice",
        "comparison",
        "data",
        "embedding",
        "evaluation",
        "files",
        "metrics",
        "peers",
        "requests",
        "runs",
        "sweep",
    },
    "jobfolder": BASE | {"files"},
    "result_file": BASE | {"data"},
    "curve_file": {"bounded", "number_text"},
    "checksums": BASE | {"files"},
    "older": BASE | {"config"},
    "runs": BASE | {"checksums", "config", "curve_file", "files", "jobfolder", "json_text", "older", "result_file"},
    "links": BASE | {"runs"},
    "selection": BASE,
    "selection_store": BASE | {"files", "runs", "selection"},
    "user_columns": BASE | {"files", "runs"},
    "dressing": BASE | {"figures", "own_colors", "runs", "user_columns"},
    "aligned_data": BASE | {"data", "gene_alignment", "gene_names"},
    "transfer": BASE | {"aligned_data", "config", "data", "gene_alignment", "gene_names", "runs", "transfer_settings"},
    "waiting": BASE | {"files"},
    "broker": BASE,
    "liveness": BASE | {"jobfolder"},
    "jobs": BASE | {"broker", "config", "jobfolder", "liveness", "processes", "runs", "waiting"},
    "handover": BASE | {"jobfolder", "jobs", "liveness", "runs", "supervisor", "waiting"},
    "cluster": BASE | {"broker", "handover", "jobs", "waiting"},
    "reporter": BASE | {"files", "jobfolder", "liveness", "processes"},
    "supervisor": BASE | {"jobfolder", "processes"},
    "score_words": set(),
    "gallery": BASE
    | {
        "dressing",
        "differential",
        "enrichment",
        "figures",
        "files",
        "gallery",
        "genesets",
        "judging",
        "runs",
        "score_words",
        "transfer",
    },
    "recipe": BASE | {"__init__", "config", "files", "runs", "settings", "transfer_settings"},
    "viewer_file": BASE | {"dressing", "data", "figures", "files", "gene_alignment", "runs"},
    "report": BASE
    | {
        "dressing",
        "__init__",
        "config",
        "figures",
        "files",
        "gallery",
        "gene_names",
        "presets",
        "printing",
        "recipe",
        "report",
        "runs",
        "score_words",
        "settings",
        "transfer_settings",
    },
    "archive": BASE
    | {"dressing", "user_columns", "files", "gallery", "printing", "recipe", "report", "runs", "viewer_file"},
    "publish_commands": BASE
    | {"figures", "gallery", "printing", "progress_bars", "recipe", "report", "runs", "settings"},
    "requests": BASE | {"settings"},
    "tasks": BASE | {"files", "jobfolder", "jobs", "requests", "runs"},
    "findings": BASE,
    "doctor_run": BASE | {"curve_file", "files", "findings", "jobfolder", "jobs", "model", "runs", "tasks"},
    "doctor": BASE | {"doctor_run", "files", "findings"},
}
ABOVE = {
    "runs",
    "jobs",
    "handover",
    "cluster",
    "tasks",
    "reporter",
    "answers",
    "analysis",
    "worker",
    "__main__",
    "figures",
}
TOP = {"answers", "analysis", "transfer_analysis", "worker", "__main__"}


def part_of(path: Path) -> str:
    """`data/read.py` -> "data"; `train.py` -> "train"."""
    inside = path.relative_to(CORE)
    return inside.parts[0] if len(inside.parts) > 1 else inside.stem


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports_of(path: Path) -> Iterator[str]:
    """Full names of all a module imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def core_parts_imported(path: Path) -> set[str]:
    names = [name.split(".") for name in imports_of(path) if name.startswith("scetm_core")]
    return {name[1] for name in names if len(name) > 1 and name[1] != "__version__"}


def documented(path: Path) -> Iterator[tuple[str, str | None]]:
    """Public classes, functions and methods with their docstrings; those inside functions are nobody's business."""

    def inside(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, str | None]]:
        for node in body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and not node.name.startswith(
                "_"
            ):
                yield f"{prefix}{node.name}", ast.get_docstring(node)
                if isinstance(node, ast.ClassDef):
                    yield from inside(node.body, f"{prefix}{node.name}.")

    yield from inside(ast.parse(path.read_text(encoding="utf-8")).body, f"{name_of(path)}:")


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_the_core_never_imports_the_app(path: Path) -> None:
    assert not {name.split(".")[0] for name in imports_of(path)} & {
        "dash",
        "dash_mantine_components",
        "pages",
        "app",
        "flask",
    }


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_arrows_point_down_only(path: Path) -> None:
    part, imported = part_of(path), core_parts_imported(path)
    if part in TOP:
        return
    if part in MAY_IMPORT:
        assert imported <= MAY_IMPORT[part]
    else:
        assert not imported & ABOVE


@pytest.mark.parametrize("path", sorted((CORE / "figures").rglob("*.py")), ids=name_of)
def test_figures_see_results_and_plotly_only(path: Path) -> None:
    libraries = {name.split(".")[0] for name in imports_of(path)} - sys.stdlib_module_names
    assert libraries <= {"anndata", "pandas", "numpy", "PIL", "plotly", "scetm_core"}


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_pages_leave_models_to_the_worker(path: Path) -> None:
    imported = {name.split(".")[0] for name in imports_of(path)}
    assert not imported & HEAVY
    assert not core_parts_imported(path) & {
        "build",
        "checkpoints",
        "embedding",
        "infer",
        "judgement",
        "metrics",
        "model",
        "train",
        "trainer",
        "answers",
        "analysis",
        "transfer_analysis",
        "label_transfer",
        "novelty",
        "worker",
    }


@pytest.mark.parametrize("path", [*MODULES, *PAGES], ids=name_of)
def test_modules_can_be_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 420


@pytest.mark.parametrize("path", [path for path in MODULES if not path.stem.startswith("__")], ids=name_of)
def test_a_module_opens_with_the_question_it_answers(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    assert "?" in docstring.partition("\n")[0]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_everything_public_is_documented(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert [name for name, docstring in documented(path) if not docstring] == []


@pytest.mark.parametrize("name", ["_*.py", "*.py"])
def test_there_are_modules_to_look_at(name: str) -> None:
    assert list(CORE.glob(name))


@pytest.mark.parametrize(
    "modules",
    [
        pytest.param(
            "scetm_core.runs, scetm_core.jobs, scetm_core.config, scetm_core.data", id="what the server needs"
        ),
        pytest.param("scetm_core.figures", id="figures"),
        pytest.param("scetm_core.__main__", id="command line"),
        pytest.param(
            "app", id="app", marks=pytest.mark.skipif(not (ROOT / "app.py").is_file(), reason="there is no app yet")
        ),
    ],
)
def test_the_server_starts_without_anything_heavy(modules: str) -> None:
    code = f"import sys, {modules}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
