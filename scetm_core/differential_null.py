"""How large are sums over random groups? Compiled loops behind `differential`; importing this loads numba.

A label is tested against all the rest, so its null is the sum over a uniform draw of as many units. One random order
of the units serves all labels: each takes as many from its front as it has. The order itself is never made: one pass
over the units draws for each between which two sizes it stands, which makes every order equally likely and leaves
out, without adding, the units behind the largest size. Sums are of whole numbers, so the order of adding is nothing
to them.
"""

from __future__ import annotations

import numba
import numpy as np

from scetm_core.enrichment_null import next_random

AT_ONCE = 64
"""Random orders that a thread carries through the units together."""
_BLOCK_BYTES = 1 << 17  # of values, gone over by all of them while they are in the cache


@numba.njit(parallel=True, cache=True)
def count_reaching(
    values: np.ndarray, sizes: np.ndarray, high: np.ndarray, low: np.ndarray, states: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """In how many random orders does the sum over the first units reach a bound?

    Parameters
    ----------
    values
        (n_units, n_topics) int32. Sums may pass 32 bits on the way, not at the end.
    sizes
        (n_sizes,) int64, ascending, each above 0 and at most n_units: how many units are summed.
    high, low
        (n_sizes, n_topics) int64: bounds of the sums.
    states
        (n_orders,) uint64: where the stream of each order starts.

    Returns
    -------
    n_high, n_low
        Both (n_sizes, n_topics) int64: orders with a sum of at least `high`, of at most `low`.
    """
    n_topics, n_sizes, n_orders = values.shape[1], sizes.shape[0], states.shape[0]
    n_jobs = (n_orders + AT_ONCE - 1) // AT_ONCE
    n_high = np.zeros((n_jobs, n_sizes, n_topics), dtype=np.int64)
    n_low = np.zeros((n_jobs, n_sizes, n_topics), dtype=np.int64)
    for job in numba.prange(n_jobs):
        own = states[job * AT_ONCE : min((job + 1) * AT_ONCE, n_orders)].copy()
        sums = _sum_stretches(values, sizes, own)
        for order in range(own.shape[0]):
            for topic in range(n_topics):
                total = np.int32(0)
                for size in range(n_sizes):
                    total = np.int32(total + sums[order, size, topic])
                    n_high[job, size, topic] += total >= high[size, topic]
                    n_low[job, size, topic] += total <= low[size, topic]
    return n_high.sum(axis=0), n_low.sum(axis=0)


@numba.njit
def _sum_stretches(values: np.ndarray, sizes: np.ndarray, states: np.ndarray) -> np.ndarray:
    """Sums over the units between two sizes in some random orders, (n_orders, n_sizes, n_topics) int32."""
    n_units, n_topics = values.shape
    n_orders, n_sizes = states.shape[0], sizes.shape[0]
    sums = np.zeros((n_orders, n_sizes, n_topics), dtype=np.int32)
    ends = np.empty((n_orders, n_sizes), dtype=np.int64)  # of the places that are left up to each size
    for order in range(n_orders):
        ends[order] = sizes
    block = max(_BLOCK_BYTES // (4 * n_topics), 1)
    for first in range(0, n_units, block):
        stop = min(first + block, n_units)
        for order in range(n_orders):
            state, left = states[order], ends[order]
            for unit in range(first, stop):
                state, uniform = next_random(state)
                place = np.int64(uniform * (n_units - unit))
                if place < left[n_sizes - 1]:
                    stretch = 0
                    while place >= left[stretch]:
                        stretch += 1
                    for later in range(stretch, n_sizes):
                        left[later] -= 1
                    group = sums[order, stretch]
                    for topic in range(n_topics):
                        group[topic] += values[unit, topic]
            states[order] = state
    return sums
