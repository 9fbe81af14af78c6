"""Statistics of an evaluation: pass@k and the confidence interval of an accuracy."""

import numpy as np
from numpy.typing import NDArray

_CELLS = 1_000_000
"""Indices drawn at once: bounds the bootstrap's memory to about 16 MB."""


def pass_at_k(n: int, c: int, k: int) -> float:
    """Estimate without bias the chance that one of k draws is right (Chen et al. 2021, arXiv 2107.03374).

    It is 1 - C(n-c, k) / C(n, k), as a product that neither overflows nor cancels.

    Args:
        n: draws in the pool.
        c: how many of them are correct.
        k: draws that one may take, at most n.

    Raises:
        ValueError: the three do not fit together.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"pass@{k} of {c} correct in {n} draws: 0 ≤ correct ≤ draws and 1 ≤ k ≤ draws must hold")
    if n - c < k:
        return 1.0
    return float(1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))


def bootstrap_interval(
    per_problem: NDArray[np.float64], level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap of an accuracy, over problems.

    Problems are what is resampled: the runs of one problem are not independent, so each problem comes with
    the mean over all its runs.

    Args:
        per_problem: shape (P,), the mean over runs for each problem.
        level: how much the interval holds, 0.95 for 95 %.
        resamples: how many times P problems are drawn with replacement.
        seed: the same seed gives the same interval.

    Returns:
        The lower and the upper end, in the units of `per_problem`.

    Raises:
        ValueError: there is no problem, or a value is not a number.
    """
    values = np.asarray(per_problem, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or np.isnan(values).any():
        raise ValueError("the bootstrap needs one number for each problem, and at least one problem")
    generator = np.random.default_rng(seed)
    rows = max(1, _CELLS // values.size)
    means = np.concatenate(
        [
            values[generator.integers(values.size, size=(min(rows, resamples - done), values.size))].mean(axis=1)
            for done in range(0, resamples, rows)
        ]
    )
    lower, upper = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(lower), float(upper)
