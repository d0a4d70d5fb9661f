"""Which home, runs and files does who is asking see? The server's are set once by `create_app`; pages read `current`.

Without accounts everybody works in the server's home. With accounts each has a home of their own in it,
`HOME/users/NAME`, which nobody else sees; demo data and the folders of `--data-dir` are everybody's.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import functools
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from pages._shared import access
from scetm_core import keys
from scetm_core.accounts import Accounts, checked_name
from scetm_core.data.catalog import NAMES_ENDINGS, Catalog, DatasetFile
from scetm_core.dressing import dressed, dressing_stamp
from scetm_core.errors import AccessError, RunError
from scetm_core.runs import Run, list_runs
from scetm_core.runs import open_run as open_run_in

if TYPE_CHECKING:
    import anndata as ad
    import pandas as pd


P = ParamSpec("P")
T = TypeVar("T")

GENE_SETS_ROOT, NAMES_ROOT = "gene-sets", "gene-names"  # in the catalog


@dataclass(frozen=True, kw_only=True)
class Studio:
    """What a server, or one user of it, works on."""

    home: Path
    server_home: Path | None = None  # of the home of one user: the home of the server
    has_accounts: bool = False  # each account works in a home of its own
    data_dirs: tuple[Path, ...] = ()
    n_slots: int = 1  # runs that may train beside each other
    upload_limit: int = 8 << 30  # bytes

    @property
    def runs_folder(self) -> Path:
        """Where the runs are."""
        return self.home / keys.RUNS_FOLDER

    @property
    def demo_folder(self) -> Path:
        """Where the demo data are written to; everybody's."""
        return (self.server_home or self.home) / keys.DEMO_FOLDER

    @property
    def uploads_folder(self) -> Path:
        """Where uploaded files go."""
        return self.home / keys.UPLOADS_FOLDER

    @property
    def gene_sets_folder(self) -> Path:
        """Where uploaded and fetched gene sets and markers go."""
        return self.home / keys.GENE_SETS_FOLDER

    @property
    def names_folder(self) -> Path:
        """Where uploaded tables of orthologs and aliases go."""
        return self.home / keys.NAMES_FOLDER

    def of_user(self, name: str) -> Studio:
        """What one account sees of this server.

        Raises
        ------
        AccessError
            If no account can be called so.
        """
        home = self.home / keys.USERS_FOLDER / checked_name(name)
        return dataclasses.replace(self, home=home, server_home=self.home, has_accounts=False)

    def all_runs_folders(self) -> list[Path]:
        """Where the runs of everybody are: for the queue and the server's own page, never for a user's."""
        return [self.runs_folder, *sorted(self.home.glob(f"{keys.USERS_FOLDER}/*/{keys.RUNS_FOLDER}"))]

    @property
    def is_writable(self) -> bool:
        """Whether anything can be kept: no for a home on a disk mounted read-only, or of somebody else."""
        return os.access(self.home, os.W_OK) and os.access(self.runs_folder, os.W_OK)

    @property
    def cache_folder(self) -> Path:
        """Where what need not last is kept: in the home, or a temporary folder where that cannot be written to."""
        return self.home / keys.CACHE_FOLDER if self.is_writable else _temporary_folder(self.home)

    def make_folders(self) -> None:
        """Create the home; one that holds runs and cannot be written to stays as it is, for looking only.

        Raises
        ------
        RunError
            If it cannot be created or written to, and holds no runs.
        """
        if self.runs_folder.is_dir() and not self.is_writable:
            return
        folders = (
            self.runs_folder, self.demo_folder, self.uploads_folder, self.gene_sets_folder, self.names_folder,
        )  # fmt: skip
        for folder in (self.home, *folders, self.home / keys.CACHE_FOLDER):
            try:
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # other users of the machine need not look
            except OSError as error:
                raise RunError(
                    f"Cannot create {folder}: {error.strerror}. Choose another folder with --home."
                ) from error

    def catalog(self) -> Catalog:
        """The data files that may be shown."""
        roots = {
            "demo": self.demo_folder, "uploads": self.uploads_folder, GENE_SETS_ROOT: self.gene_sets_folder,
            NAMES_ROOT: self.names_folder,
        }  # fmt: skip
        for folder in self.data_dirs:
            name, count = folder.name or "data", 1
            while name in roots:
                count += 1
                name = f"{folder.name}-{count}"
            roots[name] = folder
        return Catalog(roots)

    def data_files(self) -> list[DatasetFile]:
        """The data sets that can be chosen; tables of markers and of gene names are none."""
        return [file for file in self.catalog().files() if file.root not in (GENE_SETS_ROOT, NAMES_ROOT)]

    def names_tables(self) -> list[str]:
        """Tables of orthologs and aliases that can be chosen, as the catalog calls them."""
        return [file.ref for file in self.catalog().files(NAMES_ENDINGS) if file.root == NAMES_ROOT]

    def ref_of(self, file: Path) -> str:
        """Name of a file in the catalog: ``"root/path"``."""
        named = next(name for name, folder in self.catalog().roots.items() if folder == file.resolve().parent)
        return f"{named}/{file.name}"


@functools.cache
def _temporary_folder(home: Path) -> Path:
    folder = tempfile.TemporaryDirectory(prefix=f"scetm-{home.name[:20]}-", ignore_cleanup_errors=True)
    _temporary.append(folder)  # kept until the server ends
    return Path(folder.name)


_temporary: list[tempfile.TemporaryDirectory[str]] = []
_current: Studio | None = None


def configure(studio: Studio) -> None:
    """Make `studio` the one that the server works on."""
    global _current
    studio.make_folders()
    os.environ[keys.HOME_VARIABLE] = str(studio.home)  # for processes that are started anew instead of forked
    _of_user.cache_clear()
    _current = studio


def of_server() -> Studio:
    """The studio set by `configure`: of the whole server, whoever asks. Pages want `current`."""
    if _current is None and keys.HOME_VARIABLE in os.environ:
        home = Path(os.environ[keys.HOME_VARIABLE])
        return Studio(home=home, has_accounts=Accounts(home).exist)
    assert _current is not None, "create_app has not been called"
    return _current


def current() -> Studio:
    """What who is asking sees: the server's home, or that of the account.

    Raises
    ------
    AccessError
        If everybody has to sign in and nobody has.
    """
    server = of_server()
    if not server.has_accounts:
        return server
    user = access.current_user()
    if user is None:
        raise AccessError("Nobody is signed in. Load the page again to sign in.")
    return _of_user(server, user)


@functools.lru_cache(maxsize=64)
def _of_user(server: Studio, name: str) -> Studio:
    """As `Studio.of_user`, with the folders made."""
    own = server.of_user(name)
    own.make_folders()
    return own


def remembered(*, maxsize: int) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """As `functools.lru_cache`, for what depends on whose home it is: names of runs are one user's own."""

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @functools.lru_cache(maxsize=maxsize)
        def kept(_home: Path, *args: P.args, **kwargs: P.kwargs) -> T:
            return function(*args, **kwargs)

        @functools.wraps(function)
        def look_up(*args: P.args, **kwargs: P.kwargs) -> T:
            return kept(current().home, *args, **kwargs)  # type: ignore[arg-type]  # all are names and numbers

        return look_up

    return decorate


def list_readable_runs() -> tuple[list[Run], list[str]]:
    """The runs of this home, the newest first, and what is wrong with those that cannot be read."""
    readable, problems = [], []
    for run in list_runs(current().runs_folder):
        try:
            run.config, run.status(), run.evaluation()
            readable.append(run)
        except RunError as error:
            problems.append(str(error))
    return readable, problems


def find_run(run_id: str | None) -> Run | None:
    """The run a page shows: the one asked for, else the newest with a result, else the newest, else none.

    Raises
    ------
    RunError
        If a run is asked for by name and does not exist.
    """
    if run_id:
        return open_run(run_id)
    runs, _ = list_readable_runs()
    return default_run(runs)


def open_run(run_id: str) -> Run:
    """The run of this home with that id.

    Raises
    ------
    RunError
        If there is none.
    """
    return open_run_in(current().runs_folder, run_id)


def default_run(runs: list[Run]) -> Run | None:
    """The one to show of some runs, the newest first, where none is asked for."""
    return next((run for run in runs if run.has_result), runs[0] if runs else None)


def load_result(run_id: str) -> ad.AnnData:
    """Result of a run, read once per version of the file. Shared between calls: never change it.

    Raises
    ------
    RunError
        If there is no such run, or no result yet.
    """
    return result_of(open_run(run_id))


def result_of(run: Run) -> ad.AnnData:
    """As `load_result`, of a run that may lie outside this home: the source of a transfer."""
    return _read_result(run.path, result_stamp(run), dressing_stamp(run))


def result_stamp(run: Run) -> int:
    """Changes when the result of a run does; 0 while there is none."""
    return run.result_path.stat().st_mtime_ns if run.has_result else 0


@functools.lru_cache(maxsize=8)
def _read_result(path: Path, stamp: int, dressing: object) -> ad.AnnData:
    return dressed(Run(path), _read_as_written(path, stamp))


@functools.lru_cache(maxsize=4)
def _read_as_written(path: Path, stamp: int) -> ad.AnnData:
    return Run(path).open_result()


def table_stamp(run: Run, kind: str, name: str) -> str:
    """Changes when a table of a run does: ``"NAME:version"``; "" if there is none."""
    path = run.table_path(kind, name)
    return f"{name}:{path.stat().st_mtime_ns}" if path.is_file() else ""


def load_table(run_id: str, kind: str, name: str) -> pd.DataFrame | None:
    """A table worked out from the result of a run, read once per version; None if there is none.

    Its `attrs` hold what the worker said of it (see `answers`). Shared between calls: never change it.

    Raises
    ------
    RunError
        If there is no such run, or the table cannot be read.
    """
    run = open_run(run_id)
    stamp = table_stamp(run, kind, name)
    return _read_table(run.table_path(kind, name), stamp) if stamp else None


@functools.lru_cache(maxsize=8)
def _read_table(path: Path, stamp: str) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_parquet(path)
    except Exception as error:  # pyarrow and pandas raise many kinds for a damaged file
        raise RunError(
            f"{path.parent.name}/{path.name} cannot be read ({error}). Delete it and start it again."
        ) from error


def topic_label(topic: int, names: Mapping[str, str]) -> str:
    """A topic as lists show it: ``"topic 7 · beta cells"``, or ``"topic 7"``."""
    name = names.get(keys.topic_name(topic))
    return f"topic {topic} · {name}" if name else f"topic {topic}"


def run_label(run: Run) -> str:
    """A run in a list: its name, and when it was made."""
    return f"{run.config.name} · {dt.datetime.fromtimestamp(run.created_at):%d %b %H:%M}"
