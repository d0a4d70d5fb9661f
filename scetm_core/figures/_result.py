"""What can a figure read out of a result? Topics by name, and frames that say why they are empty."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from scetm_core import keys
from scetm_core.figures._colors import category_colors
from scetm_core.figures._theme import plain_text

if TYPE_CHECKING:
    import anndata as ad


def empty_frame(reason: str) -> pd.DataFrame:
    """A frame of nothing; `plot_x` shows its reason."""
    frame = pd.DataFrame()
    frame.attrs["reason"] = reason
    return frame


def reason_of(frame: pd.DataFrame) -> str:
    """Why a frame is empty."""
    return str(frame.attrs.get("reason", "There is nothing to show here."))


def group_colors(result: ad.AnnData, groupby: str) -> dict[str, str]:
    """Colour of each group of a column of obs: those in uns, else the defaults."""
    names = [str(name) for name in result.obs[groupby].astype("category").cat.categories]
    own = result.uns.get(f"{groupby}_colors")
    return category_colors(names, None if own is None else list(own))


def topic_label(name: str, names: Mapping[str, str] | None = None) -> str:
    """A topic as figures write it: ``"7 beta cells"`` for "topic_7" where it was given that name, else ``"7"``."""
    number = name.removeprefix("topic_")
    given = (names or {}).get(name)
    return f"{number} {plain_text(given)}" if given else number


def topic_values(result: ad.AnnData, use_rep: str) -> pd.DataFrame:
    """A slot of obsm as cells x topics; empty, with the reason, if there is none."""
    if use_rep not in result.obsm:
        return empty_frame(f"This result has no {use_rep} of its cells. Train a model first.")
    values = np.asarray(result.obsm[use_rep])
    return pd.DataFrame(values, index=result.obs_names, columns=topic_names(values.shape[1]), copy=False)


def gene_weights(result: ad.AnnData) -> pd.DataFrame:
    """Weights beta as genes x topics; empty, with the reason, if there is none."""
    if keys.BETA not in result.varm:
        return empty_frame("This result holds no weights of genes in topics (beta). Train a model first.")
    values = np.asarray(result.varm[keys.BETA])
    return pd.DataFrame(values, index=result.var_names, columns=topic_names(values.shape[1]), copy=False)


def topic_names(n_topics: int) -> list[str]:
    """`["topic_0", ...]`."""
    return [keys.topic_name(topic) for topic in range(n_topics)]
