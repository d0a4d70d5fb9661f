"""What of a run leaves in one file? Figures, tables, settings, report, recipe and result, packed as they are made.

The zip grows on the disk: one figure, or one block of cells, is in memory at a time.
"""

from __future__ import annotations

import io
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from scetm_core import __version__, keys
from scetm_core.errors import RunError
from scetm_core.files import is_disk_full, replacing
from scetm_core.gallery import Shown, figures_of, read_table
from scetm_core.recipe import as_notebook, as_script, command_line
from scetm_core.report import methods_of, print_settings, report_html, write_report
from scetm_core.runs import Run
from scetm_core.user_columns import column_values
from scetm_core.viewer_file import write_viewer_file

if TYPE_CHECKING:
    import pandas as pd

ENDINGS = {"everything": ".zip", "report": ".html", "viewers": ".h5ad"}
FIGURE_FORMATS = ("svg", "pdf")
TABLE_FOLDERS = (
    keys.ENRICHMENT_FOLDER, keys.DIFFERENTIAL_FOLDER, keys.MAP_FOLDER, keys.EVALUATION_FOLDER, keys.COMPARISON_FOLDER,
    keys.SWEEP_FOLDER, keys.TRANSFER_FOLDER,
)  # fmt: skip
RUN_FILES = {
    keys.CONFIG_FILE: "settings, input with its hash, versions of libraries",
    keys.EVALUATION_FILE: "scores, and what was found worth knowing",
    keys.TOPIC_NAMES_FILE: "names given to topics",
    keys.COLORS_FILE: "colours chosen for categories",
    keys.METRICS_FILE: "training curve",
    keys.LOG_FILE: "log of the training",
    keys.VOCAB_FILE: "genes and batches in the order of the model",
    keys.TRANSFER_FILE: "how the genes of a transfer fit",
}

Progress = Callable[[float, str], None]
"""Called with the share done, 0 to 1, and what is being done; may raise to stop."""


def publish(run: Run, path: Path, *, what: str, on_progress: Progress) -> tuple[pd.DataFrame, list[str]]:
    """Write what is asked for, as `requests.PublishRequest` names it.

    Returns
    -------
    What is in it (`file`, `bytes`, `about`), and sentences about what is not.
    """
    import pandas as pd

    stamp = changed_at(run)
    said: list[str] = []
    if what == "everything":
        table, said = write_archive(run, path, on_progress=on_progress)
    elif what == "report":
        write_report(run, path, on_progress=on_progress)
    else:
        said = write_viewer_file(run, path, on_progress=on_progress)
    if what != "everything":
        table = pd.DataFrame([{"file": path.name, "bytes": path.stat().st_size, "about": what}])
    os.utime(path, ns=(stamp, stamp))  # it tells of the run as it was then, whatever has changed meanwhile
    return table, said


def changed_at(run: Run) -> int:
    """When what can be shown of a run last changed, in nanoseconds: its result, scores, names, tables."""
    files = [run.result_path, *(run.path / name for name in (keys.EVALUATION_FILE, keys.TOPIC_NAMES_FILE))]
    tables = [path for folder in TABLE_FOLDERS for path in run.tables(folder).values()]
    own = [run.path / keys.COLORS_FILE, *(run.path / keys.COLUMNS_FOLDER).glob("*.json")]
    return max((path.stat().st_mtime_ns for path in [*files, *tables, *own] if path.is_file()), default=0)


def published(run: Run, what: str) -> Path:
    """Where the file that `publish` makes lies."""
    return run.table_path(keys.PUBLISHED_FOLDER, what).with_suffix(ENDINGS[what])


def is_current(run: Run, what: str) -> bool:
    """Whether there is such a file, made since the run last changed."""
    path = published(run, what)
    return path.is_file() and path.stat().st_mtime_ns >= changed_at(run)


def write_archive(run: Run, path: Path, *, on_progress: Progress | None = None) -> tuple[pd.DataFrame, list[str]]:
    """Pack all of a run into a zip.

    Returns
    -------
    What is in it (`file`, `bytes`, `about`), and sentences about what is not.

    Raises
    ------
    RunError
        If the run has no result or is damaged, or the zip cannot be written; an earlier one stays.
    """
    import pandas as pd

    tell = on_progress or (lambda share, words: None)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            replacing(path) as draft,
            tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as scratch,
            zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive,
        ):
            pack = _Pack(archive, Path(scratch), run.id)
            said = _fill(pack, run, tell)
    except OSError as error:
        reason = "the disk is full. Free some space" if is_disk_full(error) else error.strerror or str(error)
        raise RunError(f"Cannot write {path.name}: {reason}.") from error
    return pd.DataFrame(pack.rows, columns=["file", "bytes", "about"]), said


class _Pack:
    """A zip that is being filled, with a list of what is in it."""

    def __init__(self, archive: zipfile.ZipFile, scratch: Path, root: str) -> None:
        self.archive, self.scratch, self.root = archive, scratch, root
        self.rows: list[tuple[str, int, str]] = []

    def add(self, name: str, content: str | bytes, about: str) -> None:
        """A file from its content."""
        data = content.encode() if isinstance(content, str) else content
        self.archive.writestr(f"{self.root}/{name}", data)
        self.rows.append((name, len(data), about))

    def add_table(self, name: str, table: pd.DataFrame, about: str) -> None:
        """A table as CSV, written row by row."""
        with (
            self.archive.open(f"{self.root}/{name}", "w", force_zip64=True) as stream,
            io.TextIOWrapper(stream, encoding="utf-8", newline="") as text,
        ):
            table.to_csv(text, index=False)
        self.rows.append((name, self.archive.getinfo(f"{self.root}/{name}").file_size, about))

    def add_file(self, name: str, path: Path, about: str) -> None:
        """A file as it lies on the disk; one that is compressed already is stored."""
        how = zipfile.ZIP_STORED if path.suffix == ".h5ad" else zipfile.ZIP_DEFLATED
        self.archive.write(path, f"{self.root}/{name}", compress_type=how)
        self.rows.append((name, path.stat().st_size, about))


def _fill(pack: _Pack, run: Run, tell: Progress) -> list[str]:
    """Put everything in; the answer says what is not there."""
    import pandas as pd

    left_out: list[str] = []
    figures = figures_of(run, left_out=left_out, on_progress=lambda share, words: tell(0.5 * share, words))
    index = []
    for shown in figures:
        _add_figure(pack, shown)
        index.append((shown.name, shown.section, shown.title, shown.caption))
    pack.add_table("figures/index.csv", _index(index), "names and captions of the figures")
    pack.add("report.html", report_html(run, on_progress=lambda s, words: tell(0.5 + 0.25 * s, words)), "the report")
    tell(0.75, "Packing tables.")
    for folder in TABLE_FOLDERS:
        for name in run.tables(folder):
            pack.add_table(f"tables/{folder}/{name}.csv", _whole(read_table(run, folder, name)), f"table of {folder}")
    if own := column_values(run, run.open_result()):
        labels = pd.DataFrame(own, index=run.open_result().obs_names).rename_axis("cell").reset_index()
        pack.add_table("labels.csv", labels, "labels given to cells, and selections kept")
        for file in sorted((run.path / keys.COLUMNS_FOLDER).glob("*.json")):
            pack.add_file(f"run/{keys.COLUMNS_FOLDER}/{file.name}", file, "a column of the user's, with its history")
    for name, about in RUN_FILES.items():
        if (run.path / name).is_file():
            pack.add_file(f"run/{name}", run.path / name, about)
    pack.add("recipe.py", as_script(run), "script that reproduces the run")
    pack.add("recipe.ipynb", as_notebook(run), "the same as a notebook")
    pack.add("command.txt", command_line(run) + "\n", "command line that makes the run anew")
    pack.add("methods.txt", "\n\n".join(methods_of(run)) + "\n", "paragraphs for the methods of a paper")
    file = pack.scratch / "result.h5ad"
    said = write_viewer_file(run, file, on_progress=lambda share, words: tell(0.8 + 0.18 * share, words))
    tell(0.98, "Packing the result.")
    pack.add_file("result.h5ad", file, "result for scanpy and cellxgene")
    pack.add("README.txt", _readme(run, pack.rows, [*said, *left_out]), "what is in here")
    return [*said, *left_out]


def _add_figure(pack: _Pack, shown: Shown) -> None:
    from scetm_core.printing import render

    settings = print_settings(shown)
    for file_format in FIGURE_FORMATS:
        pack.add(
            f"figures/{shown.name}.{file_format}", render(shown.figure, settings, file_format=file_format), shown.title
        )
    pack.add_table(f"figures/{shown.name}.csv", shown.table, f"the table behind it: {shown.title}")


def _index(rows: list[tuple[str, str, str, str]]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows, columns=["name", "section", "title", "caption"])


def _whole(table: pd.DataFrame) -> pd.DataFrame:
    """A table with its row names as a column, where they are names."""
    import pandas as pd

    if isinstance(table.index, pd.RangeIndex):
        return table
    found: pd.DataFrame = table.rename_axis(index=str(table.index.name or "row")).reset_index()
    return found


def _readme(run: Run, rows: list[tuple[str, int, str]], said: list[str]) -> str:
    lines = [f"{run.config.name}: everything that scETM Studio {__version__} knows of this run.", ""]
    lines += [f"{name}  ({size:,} bytes): {about}" for name, size, about in rows]
    return "\n".join([*lines, "", *said]) + "\n"
