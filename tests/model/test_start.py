"""Does the start find what is planted, before any step, and does it cope with little data?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anndata as ad
import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from scetm_core.model import ScETM
from scetm_core.model.cells import prepare_cells
from scetm_core.model.harmonise import _fit, find_centroids, follow, harmonise, squared_distances
from scetm_core.model.start import RATIO_FLOOR, start_model

ModelFor = Callable[..., ScETM]


def started(model: ScETM, data: ad.AnnData, *, batch_key: str | None = "batch") -> torch.Tensor:
    """Start the model from the data; the reference delta."""
    reference = start_model(model, prepare_cells(data, model, batch_key=batch_key), needs_reference=True, seed=0)
    assert reference is not None
    return reference.delta


def delta_of(model: ScETM, data: ad.AnnData) -> torch.Tensor:
    cells = prepare_cells(data, model, batch_key="batch")
    return model.eval().encode(cells.load(np.arange(len(cells))).to(model.device))[0].detach()


@pytest.mark.parametrize("encoder_input", ["hvg", "fraction"])
def test_planted_topics_are_found_before_any_step(
    planted: ad.AnnData, model_for: ModelFor, recipe: dict[str, Any], encoder_input: str
) -> None:
    from sklearn.metrics import adjusted_rand_score

    model = model_for(planted, **{**recipe, "encoder_input": encoder_input})
    reference = started(model, planted)
    assert adjusted_rand_score(planted.obs["cell_type"], reference.argmax(dim=1)) > 0.9
    delta = delta_of(model, planted)
    assert adjusted_rand_score(planted.obs["cell_type"], delta.argmax(dim=1)) > 0.8
    correlation = np.corrcoef(planted.varm["true_beta"].T, model.beta.detach().numpy())[:4, 4:]
    assert correlation[linear_sum_assignment(-correlation)].min() > 0.7


def test_the_reference_is_centred_and_peaks_at_its_scale(
    planted: ad.AnnData, model_for: ModelFor, recipe: dict[str, Any]
) -> None:
    reference = started(model_for(planted, **recipe), planted)
    torch.testing.assert_close(reference.mean(dim=1), torch.zeros(240), atol=1e-5, rtol=0)
    assert reference.max(dim=1).values.mean().item() == pytest.approx(2.5, rel=1e-5)


def test_alpha_and_rho_make_the_log_ratios_of_the_clusters(
    planted: ad.AnnData, model_for: ModelFor, recipe: dict[str, Any]
) -> None:
    """One batch, so that a cluster is compared with the mean of all cells: by hand from the formula."""
    model = model_for(planted, batch_key=None, **{**recipe, "n_emb": 4})
    topic = started(model, planted, batch_key=None).argmax(dim=1).numpy()
    counts = planted.X.toarray().astype(np.float64)
    fractions = counts / counts.sum(axis=1, keepdims=True) + RATIO_FLOOR
    for k, row in enumerate(model.beta.detach().numpy()):
        base, members = fractions.mean(axis=0), fractions[topic == k]
        expected = np.log((members.sum(axis=0) + 10 * base) / (len(members) + 10)) - np.log(base)
        np.testing.assert_allclose(row, expected, atol=1e-4)


def test_same_seed_same_start_and_the_model_given_alone_is_changed(
    planted: ad.AnnData, model_for: ModelFor, recipe: dict[str, Any]
) -> None:
    first, same = model_for(planted, **recipe), model_for(planted, **recipe)
    assert torch.equal(started(first, planted), started(same, planted))
    assert all(torch.equal(value, same.state_dict()[name]) for name, value in first.state_dict().items())


@pytest.mark.parametrize(
    ("n_cells", "n_genes", "n_topics"),
    [(20, 30, 4), (20, 30, 50), (3, 2, 5), (2, 40, 2), (240, 5, 3)],
    ids=lambda number: str(number),
)
def test_little_data_start_finite(
    plant: Callable[..., ad.AnnData], model_for: ModelFor, recipe: dict[str, Any],
    n_cells: int, n_genes: int, n_topics: int,
) -> None:  # fmt: skip
    data = plant(n_cells=n_cells, n_genes=n_genes)
    model = model_for(data, **{**recipe, "n_topics": n_topics})
    assert torch.isfinite(started(model, data)).all()
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


def test_equal_cells_start_finite(planted: ad.AnnData, model_for: ModelFor, recipe: dict[str, Any]) -> None:
    same = planted[:30].copy()
    same.X = planted[np.zeros(30, dtype=int)].X
    model = model_for(same, **recipe)
    assert torch.isfinite(started(model, same)).all()
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


# ---- clusters, and batches moved onto each other ----------------------------------------------------------------


def blobs(*, shift: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points around three centres, their centre, their batch; the second batch is shifted."""
    rng = np.random.default_rng(seed)
    kind, batch = np.arange(300) % 3, np.arange(300) // 150
    points = 4 * np.eye(5)[kind] + rng.normal(scale=0.3, size=(300, 5)) + shift * batch[:, None] * np.eye(5)[4]
    return points.astype(np.float32), kind, batch


def test_k_means_finds_separate_blobs() -> None:
    points, kind, _ = blobs(shift=0)
    nearest = squared_distances(points, find_centroids(points, 3, rng=np.random.default_rng(0))).argmin(axis=1)
    assert len(set(zip(kind, nearest, strict=True))) == 3


def test_there_are_no_more_clusters_than_points() -> None:
    assert find_centroids(np.zeros((4, 2)), 9, rng=np.random.default_rng(0)).shape == (4, 2)


def test_harmonising_takes_the_shift_and_leaves_the_kinds() -> None:
    points, kind, batch = blobs(shift=2)
    moved = harmonise(points, batch, rng=np.random.default_rng(0))
    for k in range(3):
        gap = moved[(kind == k) & (batch == 0)].mean(axis=0) - moved[(kind == k) & (batch == 1)].mean(axis=0)
        assert np.linalg.norm(gap) < 0.4
    centres = np.stack([moved[kind == k].mean(axis=0) for k in range(3)])
    assert squared_distances(centres, centres)[np.triu_indices(3, 1)].min() > 16


def test_cells_that_follow_a_sample_end_where_they_would_have_been_harmonised() -> None:
    points, kind, batch = many_blobs()
    whole = harmonise(points, batch, rng=np.random.default_rng(0))
    followed = harmonise(points, batch, rng=np.random.default_rng(0), max_fitted=1000)
    moved = np.linalg.norm(whole - points, axis=1).mean()
    assert np.linalg.norm(followed - whole, axis=1).mean() < 0.1 * moved
    for k in range(3):
        before, after = (
            np.stack([some[(kind == k) & (batch == code)].mean(axis=0) for code in range(3)])
            for some in (points, followed)
        )
        assert squared_distances(after, after).max() < 0.2 * squared_distances(before, before).max()


def test_cells_of_the_sample_follow_their_own_rounds() -> None:
    points, _, batch = many_blobs()
    corrected, rounds = _fit(points, np.eye(3, dtype=np.float32)[batch], rng=np.random.default_rng(0))
    gap = np.linalg.norm(follow(points, batch, rounds) - corrected, axis=1)
    assert gap.mean() < 0.02 * np.linalg.norm(corrected - points, axis=1).mean()


def many_blobs() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three kinds in three batches of unequal size and composition, each batch shifted its way."""
    rng = np.random.default_rng(1)
    batch = rng.choice(3, size=4000, p=[0.6, 0.3, 0.1])
    kind = np.array([rng.choice(3, p=p) for p in np.array([[0.4, 0.3, 0.3], [0.2, 0.6, 0.2], [0.3, 0.2, 0.5]])[batch]])
    shift = rng.normal(scale=0.8, size=(3, 3, 6))[kind, batch]
    points = 4 * np.eye(6)[kind] + rng.normal(scale=0.4, size=(4000, 6)) + shift
    return points.astype(np.float32), kind, batch


def test_a_batch_the_sample_lacks_is_left_where_it_is() -> None:
    points, _, batch = many_blobs()
    rare = np.where(np.arange(4000) == 17, 3, batch)
    followed = harmonise(points, rare, rng=np.random.default_rng(0), max_fitted=300)
    np.testing.assert_array_equal(followed[17], points[17])
    assert np.isfinite(followed).all()


def test_one_batch_is_left_as_it_is() -> None:
    points, _, batch = blobs(shift=0)
    np.testing.assert_array_equal(harmonise(points, np.zeros_like(batch), rng=np.random.default_rng(0)), points)


def test_a_type_that_one_batch_alone_has_is_compared_with_none_before_harmonisation(
    plant: Callable[..., ad.AnnData], model_for: ModelFor, recipe: dict[str, Any]
) -> None:
    data = plant(n_cells=400)
    is_alone = (data.obs["cell_type"] == "type 3").to_numpy()
    data = data[~is_alone | (data.obs["batch"] == "b0").to_numpy()].copy()
    is_alone, is_other = (data.obs["cell_type"] == "type 3").to_numpy(), (data.obs["batch"] == "b1").to_numpy()
    shares = {}
    for groups in ("harmonised", "observed"):
        model = model_for(data, **recipe)
        cells = prepare_cells(data, model, batch_key="batch")
        reference = start_model(model, cells, needs_reference=True, seed=0, groups=groups)
        assert reference is not None
        cluster = reference.cluster.numpy()
        n_strangers = np.array([(is_other & (cluster == cluster[cell])).sum() for cell in np.flatnonzero(is_alone)])
        shares[groups] = float((n_strangers > 0).mean())
        weight_in_other = reference.ratio[model.batches.index("b1")].numpy()[cluster[is_alone]]
        assert ((weight_in_other == 0) | (n_strangers > 0)).all()  # left out unless the other batch has such cells
    assert shares["observed"] < 0.05
    assert shares["observed"] <= shares["harmonised"]
