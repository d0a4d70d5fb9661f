"""What does one figure of a run need before it is drawn? Its name and words, its frame, and how that is drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from scetm_core import keys
from scetm_core.dressing import dressed
from scetm_core.errors import RunError
from scetm_core.figures import topics_in_use
from scetm_core.files import table_name
from scetm_core.runs import Run

if TYPE_CHECKING:
    import anndata as ad
    import plotly.graph_objects as go

TRAINING, CELLS, TOPICS, GENE_SETS = "Training", "Cells", "Topics", "Gene sets"
DIFFERENTIAL, PATHWAYS, SCORES = "Differential topics", "Pathways", "Scores"
COMPARISON, SWEEP, TRANSFER = "Other methods", "Number of topics", "Transfer"
N_STRONGEST = 6
"""Topics that get figures of their own: those that explain most reads."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A figure with the table behind it.

    Attributes
    ----------
    name
        Stem of its files; no two figures of a run share one.
    section
        What it is about: "Cells", "Topics".
    title, caption
        In words; the caption is one sentence or two.
    is_wide
        Whether it needs the width of a page; others stand two beside each other.
    figure
        In the house look, on a transparent ground.
    table
        What is drawn, as numbers: all that matters is in its columns.
    """

    name: str
    section: str
    title: str
    caption: str
    is_wide: bool
    figure: go.Figure
    table: pd.DataFrame


def as_table(frame: pd.DataFrame) -> pd.DataFrame:
    """A frame with its row names as columns, where they say something."""
    if all(name is None for name in frame.index.names) and isinstance(frame.index, pd.RangeIndex):
        return frame
    taken = {str(column) for column in frame.columns}
    names = [str(name) if name is not None else "row" for name in frame.index.names]
    names = [name if name not in taken else f"{name} (row)" for name in names]
    return frame.rename_axis(index=names).reset_index()


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A figure that may be drawn; see `Shown`. An empty frame says why not in its attrs."""

    name: str
    section: str
    title: str
    caption: str
    frame: Callable[[], pd.DataFrame]
    draw: Callable[[pd.DataFrame], go.Figure]
    table: Callable[[pd.DataFrame], pd.DataFrame] = as_table
    is_wide: bool = True


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A run with what all its figures look at."""

    run: Run
    result: ad.AnnData
    names: dict[str, str]

    @property
    def columns(self) -> tuple[str | None, str | None]:
        """The batch and the label column of the run, where the result has them."""
        data = self.run.config.data
        batch, label = (key if key in self.result.obs else None for key in (data.batch_key, data.label_key))
        return batch, label

    @property
    def groups(self) -> str:
        """The column that groups cells best: labels, else clusters."""
        return self.columns[1] or keys.LEIDEN

    @property
    def strongest(self) -> list[int]:
        """Numbers of the topics that get figures of their own."""
        return topics_in_use(self.result, n_topics=N_STRONGEST)

    @property
    def leader(self) -> int:
        """The topic that explains most reads."""
        return int(self.result.obsm[keys.THETA].mean(axis=0).argmax())

    def called(self, topic: int) -> str:
        """A topic in words: ``"topic 7 (beta cells)"``."""
        given = self.names.get(keys.topic_name(topic))
        return f"topic {topic} ({given})" if given else f"topic {topic}"


def open_run(run: Run) -> Opened:
    """Read what figures look at.

    Raises
    ------
    RunError
        If there is no result, or it is damaged.
    """
    return Opened(run=run, result=dressed(run, run.load_result()), names=run.topic_names())


def read_tables(run: Run, folder: str) -> dict[str, Callable[[], pd.DataFrame]]:
    """The tables of a kind that a run has, read when they are wanted."""

    def reader(name: str) -> Callable[[], pd.DataFrame]:
        return lambda: read_table(run, folder, name)

    return {name: reader(name) for name in run.tables(folder)}


def read_table(run: Run, folder: str, name: str) -> pd.DataFrame:
    """A table that was worked out from a run.

    Raises
    ------
    RunError
        If it cannot be read.
    """
    try:
        return pd.read_parquet(run.table_path(folder, name))
    except Exception as error:  # pyarrow and pandas raise many kinds for a damaged file
        raise RunError(f"{folder}/{name}.parquet cannot be read ({error}). Delete it and start it again.") from error


def stem(*parts: object) -> str:
    """Parts of a name as the stem of a file."""
    return table_name("-".join(str(part) for part in parts)).replace(" ", "_")


def reason_in(frame: pd.DataFrame) -> str:
    """Why a frame is empty."""
    return str(frame.attrs.get("reason", "there is nothing to show."))


def names_without_doubles(entries: Iterable[Entry]) -> list[Entry]:
    """The entries, a number added to a name that another has already, whatever its letter case."""
    seen: set[str] = set()
    found = []
    for entry in entries:
        name, count = entry.name, 1
        while name.lower() in seen:
            count += 1
            name = f"{entry.name}-{count}"
        seen.add(name.lower())
        found.append(dataclasses.replace(entry, name=name))
    return found
