"""Which figures can a run show, each with the table behind it? All that its files allow, one after the other.

Nothing is worked out here that is not there already: training, cells and topics come from the result; gene sets,
differential topics, maps, scores and comparisons from the tables that were asked for. One figure is in memory at a
time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from scetm_core.errors import ScetmError
from scetm_core.gallery._cells import cell_entries, topic_entries, training_entries
from scetm_core.gallery._entry import Entry, Shown, names_without_doubles, open_run, read_table, reason_in
from scetm_core.gallery._judged import judged_entries
from scetm_core.gallery._tables import table_entries
from scetm_core.gallery._transfer import transfer_entries
from scetm_core.runs import Run

__all__ = ["Shown", "figures_of", "read_table", "write_figure_table"]

Progress = Callable[[float, str], None]
"""Called with the share done, 0 to 1, and what comes next; may raise to stop."""


def figures_of(run: Run, *, left_out: list[str] | None = None, on_progress: Progress | None = None) -> Iterator[Shown]:
    """Every figure that a run can show, in the order in which one reads them.

    Parameters
    ----------
    run
        With a result.
    left_out
        Is given a sentence for each figure that cannot be made: which, and why.
    on_progress
        See `Progress`; called before each figure.

    Raises
    ------
    RunError
        If the run has no result, or a file of it is damaged.
    """
    opened = open_run(run)
    entries = names_without_doubles(
        [
            *training_entries(opened),
            *cell_entries(opened),
            *topic_entries(opened),
            *table_entries(opened),
            *judged_entries(opened),
            *transfer_entries(opened),
        ]
    )
    for place, entry in enumerate(entries):
        if on_progress is not None:
            on_progress(place / len(entries), f"Drawing: {entry.title}.")
        shown = _drawn(entry)
        if isinstance(shown, Shown):
            yield shown
        elif left_out is not None:
            left_out.append(f"{entry.title}: {shown}")
    if on_progress is not None:
        on_progress(1.0, "All figures are drawn.")


def _drawn(entry: Entry) -> Shown | str:
    """The figure, or why there is none."""
    try:
        frame = entry.frame()
    except ScetmError as error:
        return str(error)
    if frame.empty:
        return reason_in(frame)
    return Shown(
        name=entry.name,
        section=entry.section,
        title=entry.title,
        caption=entry.caption,
        is_wide=entry.is_wide,
        figure=entry.draw(frame),
        table=entry.table(frame),
    )


def write_figure_table(shown: Shown, folder: Path) -> Path:
    """Write the table behind a figure beside it, as CSV of the same stem."""
    path = folder / f"{shown.name}.csv"
    shown.table.to_csv(path, index=False)
    return path
