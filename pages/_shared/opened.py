"""Which run does a page look at, and what is in its result? The page's beginning, or the page that says why not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dash import dcc
from dash.development.base_component import Component

from pages._shared import ids, studio
from pages._shared.parts import broken_run, no_run_state, page
from scetm_core import keys
from scetm_core.errors import RunError
from scetm_core.runs import Run

if TYPE_CHECKING:
    import anndata as ad
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A run with its result, and the names its user gave to topics (``{"topic_7": "beta cells"}``)."""

    run: Run
    result: ad.AnnData
    names: dict[str, str]

    @property
    def n_topics(self) -> int:
        """Number of topics."""
        return int(self.result.obsm[keys.DELTA].shape[1])

    @property
    def store(self) -> Component:
        """The store that tells callbacks which run is shown."""
        return dcc.Store(id=ids.ACTIVE_RUN, data=self.run.id)

    def strongest_topic(self) -> int:
        """The topic that explains most reads: the one to begin with."""
        return int(self.result.obsm[keys.THETA].mean(axis=0).argmax())

    def topic_in(self, text: str | None) -> int | None:
        """The topic a URL asks for, if the result has it."""
        return next((topic for topic in range(self.n_topics) if str(topic) == text), None)

    def topic_options(self) -> list[dict[str, str]]:
        """Choices of a topic: its number, and its name where it has one."""
        return [{"value": str(topic), "label": studio.topic_label(topic, self.names)} for topic in range(self.n_topics)]

    def grouping_columns(self) -> list[str]:
        """Columns of obs that group cells."""
        return [name for name, values in self.result.obs.items() if is_grouping(values)]

    def default_grouping(self, asked: str | None = None) -> str:
        """The grouping asked for, else the labels of the run's settings, else its clusters."""
        groups, label_key = self.grouping_columns(), self.run.config.data.label_key
        return next(name for name in (asked, label_key, keys.LEIDEN) if name in groups)


def is_grouping(values: pd.Series) -> bool:
    """Whether a column of obs says which group each cell is of."""
    import pandas as pd

    is_number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    return not is_number and 1 <= values.nunique() <= 200


def open_result(title: str, question: str, run_id: str | None) -> Opened | Component:
    """The run asked for, or the newest, with its result; a whole page where there is none or it is damaged."""
    try:
        run = studio.find_run(run_id)
        if run is None or not run.has_result:
            return page(title, question, no_run_state())
        return Opened(run=run, result=studio.load_result(run.id), names=run.topic_names())
    except RunError as error:
        return broken_run(title, question, error)
