"""Which known kind of cell is a new cell nearest to, and how sure is that? Labels of a source, given to a target."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd

from scetm_core import keys
from scetm_core.errors import TransferError
from scetm_core.metrics import nearest_in

N_NEIGHBORS = 15
MAX_REFERENCE = 100_000  # cells of the source that are compared with; of more, a sample

LABEL, CONFIDENCE, CENTROID = keys.TRANSFERRED_LABEL, keys.TRANSFER_CONFIDENCE, keys.NEAREST_CENTROID


def transfer_labels(
    reference: np.ndarray,
    labels: pd.Series,
    target: np.ndarray,
    *,
    n_neighbors: int = N_NEIGHBORS,
    seed: int = 0,
) -> tuple[pd.DataFrame, list[str]]:
    """Give each new cell a label: by vote of the nearest labelled cells, and of the nearest label's mean.

    Parameters
    ----------
    reference
        (n_reference, n_topics) delta of the source's cells.
    labels
        (n_reference,) their labels; cells without one have no vote.
    target
        (n_cells, n_topics) delta of the new cells, by the same encoder.
    n_neighbors
        Votes for each cell; fewer where there are fewer labelled cells.
    seed
        Of the sample that votes, where the source has more than 100,000 labelled cells.

    Returns
    -------
    (n_cells,) rows with `transferred_label` (of equal votes, the label of the nearest cell among them),
    `transfer_confidence` (share of the votes, 1 / n_neighbors to 1), `nearest_centroid`; and sentences.

    Raises
    ------
    TransferError
        If no cell of the source has a label.
    """
    known = np.flatnonzero(labels.notna().to_numpy())
    if not len(known):
        raise TransferError(f"No cell of the source has a label in {labels.name!r}. Choose another column.")
    said = []
    if n_missing := len(labels) - len(known):
        said.append(f"{n_missing:,} cells of the source without {labels.name} have no vote.")
    values = labels.iloc[known].astype("category").cat.remove_unused_categories()
    names, codes = [str(name) for name in values.cat.categories], values.cat.codes.to_numpy().astype(np.int64)
    points = np.asarray(reference)[known]
    centroids = np.stack([points[codes == code].mean(axis=0) for code in range(len(names))])
    if len(points) > MAX_REFERENCE:
        rows = np.sort(np.random.default_rng(seed).choice(len(points), MAX_REFERENCE, replace=False))
        said.append(f"{MAX_REFERENCE:,} of the source's {len(points):,} labelled cells vote, drawn at random.")
        points, codes = points[rows], codes[rows]
    near = nearest_in(points, target, n_neighbors).indices  # (n_cells, k)
    votes = codes[near]
    counted = np.zeros((len(target), len(names)), dtype=np.int16)
    np.add.at(counted, (np.arange(len(target))[:, None], votes), 1)
    leading = counted == counted.max(axis=1, keepdims=True)
    first = leading[np.arange(len(target))[:, None], votes].argmax(axis=1)  # the nearest cell of a leading label
    chosen = votes[np.arange(len(target)), first]
    nearest = nearest_in(centroids, target, 1).indices[:, 0]
    table = pd.DataFrame(
        {
            LABEL: pd.Categorical.from_codes(chosen, categories=pd.Index(names, dtype=object)),
            CONFIDENCE: (counted[np.arange(len(target)), chosen] / near.shape[1]).astype(np.float32),
            CENTROID: pd.Categorical.from_codes(nearest, categories=pd.Index(names, dtype=object)),
        }
    )
    return table, said


def same_label(label: object) -> str:
    """A label as it is compared between data sets: letter case, spaces, hyphens and underscores do not count."""
    return re.sub(r"[\s_-]+", " ", str(label)).strip().lower()


def score_transfer(known: pd.Series, transferred: pd.Series) -> dict[str, float | int | None]:
    """How often is the transferred label the known one? Labels are compared as `same_label` writes them.

    Parameters
    ----------
    known
        (n_cells,) labels of the target; cells without one are left out.
    transferred
        (n_cells,) labels given to them, categorical over all labels of the source.

    Returns
    -------
    `label_accuracy`: share right, of cells whose known label the source has; `label_balanced_accuracy`: mean over these
    labels of the share right; `n_judged` such cells; `n_unknown`: cells of labels that the source does not have. The
    first two are None where there is nothing to judge.
    """
    there = known.notna().to_numpy()
    truth = np.array([same_label(label) for label in known[there]], dtype=object)
    given = np.array([same_label(label) for label in transferred[there]], dtype=object)
    of_source = {same_label(label) for label in transferred.cat.categories}
    judged = np.array([label in of_source for label in truth], dtype=bool)
    right = truth[judged] == given[judged]
    by_label = pd.Series(right).groupby(truth[judged]).mean()
    return {
        "label_accuracy": float(right.mean()) if len(right) else None,
        "label_balanced_accuracy": float(by_label.mean()) if len(right) else None,
        "n_judged": int(judged.sum()),
        "n_unknown": int((~judged).sum()),
    }
