"""How does a result look once the user has had a say? With her own columns and colours, which lie beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scetm_core.figures import category_colors
from scetm_core.own_colors import merged_colors, own_colors_stamp, read_own_colors
from scetm_core.runs import Run
from scetm_core.user_columns import columns_stamp, with_user_columns

if TYPE_CHECKING:
    import anndata as ad

GIVEN_COLORS = "given_colors"
"""In uns of a result in memory: column -> the colours that it came with, where others are shown."""


def dressed(run: Run, result: ad.AnnData) -> ad.AnnData:
    """A result with the columns and colours of the run's user; arrays are shared, `result` stays as it is.

    Raises
    ------
    RunError
        If a file of hers is damaged, or made for other cells.
    """
    import anndata as ad

    result = with_user_columns(run, result)
    chosen = {name: own for name, own in read_own_colors(run.path).items() if name in result.obs}
    if not chosen:
        return result
    uns: dict[str, Any] = dict(result.uns)
    given: dict[str, Any] = {}
    for column, own in chosen.items():
        categories = [str(name) for name in result.obs[column].astype("category").cat.categories]
        given[column] = uns.get(f"{column}_colors")
        defaults = category_colors(categories, None if given[column] is None else list(given[column]))
        uns[f"{column}_colors"] = merged_colors(categories, defaults, own)
    uns[GIVEN_COLORS] = given
    return ad.AnnData(obs=result.obs, var=result.var, obsm=dict(result.obsm), varm=dict(result.varm), uns=uns)


def dressing_stamp(run: Run) -> tuple[object, ...]:
    """Changes when a column or a colour of the user's does."""
    return columns_stamp(run), own_colors_stamp(run.path)
