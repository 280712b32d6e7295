"""Metrics of sets of embeddings in an evaluator's space, and confidence intervals.

Embeddings are (N, E) float64. Figures of two evaluators don't compare.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

Array = NDArray[np.float64]

POOL_SIZE = 32


@dataclass(frozen=True)
class Estimate:
    """A figure with half the width of its 95 % confidence interval."""

    value: float
    half_width: float = 0.0

    def __str__(self) -> str:
        return f"{self.value:.3f} ± {self.half_width:.3f}"


def over_repeats(values: Sequence[float]) -> Estimate:
    """Mean over repeats with its interval: 1.96 deviations over the root of their number."""
    array = np.asarray(values, dtype=np.float64)
    if len(array) < 2:
        return Estimate(float(array.mean()))
    return Estimate(float(array.mean()), float(1.96 * array.std(ddof=1) / np.sqrt(len(array))))


def bootstrap_mean(values: Array, *, repeats: int = 1_000, seed: int = 0) -> Estimate:
    """Mean over clips, with the interval that resampling the clips gives.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, section 13.3.
    """
    generator = np.random.default_rng(seed)
    picks = generator.integers(0, len(values), (repeats, len(values)))
    low, high = np.percentile(values[picks].mean(1), [2.5, 97.5])
    return Estimate(float(values.mean()), float(high - low) / 2)


def frechet_distance(first: Array, second: Array) -> float:
    """Squared distance of the normal distributions fitted to two sets of embeddings.

    Raises:
        ValueError: a set has fewer than two members, or the widths differ.

    Source: Heusel et al., GANs Trained by a Two Time-Scale Update Rule, equation 6.
    """
    _check_sets(first, second)
    mean_gap = first.mean(0) - second.mean(0)
    covariance1 = np.atleast_2d(np.cov(first, rowvar=False))
    covariance2 = np.atleast_2d(np.cov(second, rowvar=False))
    # The trace of sqrt(C1 C2) equals that of sqrt(R C2 R) with R = sqrt(C1), which is symmetric:
    # its eigenvalues are real and only rounding makes them negative.
    root = np.real(linalg.sqrtm(covariance1 + 1e-10 * np.eye(len(covariance1))))
    eigenvalues = linalg.eigvalsh(root @ covariance2 @ root)
    cross = np.sqrt(np.clip(eigenvalues, 0, None)).sum()
    return float(mean_gap @ mean_gap + np.trace(covariance1) + np.trace(covariance2) - 2 * cross)


def kernel_distance(first: Array, second: Array) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel (x.y / E + 1) cubed.

    May be slightly negative for samples of one distribution.

    Raises:
        ValueError: a set has fewer than two members, or the widths differ.

    Source: Binkowski et al., Demystifying MMD GANs, section 4; Gretton et al., A Kernel
    Two-Sample Test, equation 3.
    """
    _check_sets(first, second)
    width = first.shape[1]
    within1 = (first @ first.T / width + 1) ** 3
    within2 = (second @ second.T / width + 1) ** 3
    across = (first @ second.T / width + 1) ** 3
    n, m = len(first), len(second)
    mean1 = (within1.sum() - np.trace(within1)) / (n * (n - 1))
    mean2 = (within2.sum() - np.trace(within2)) / (m * (m - 1))
    return float(mean1 + mean2 - 2 * across.mean())


def kernel_distance_of_subsets(
    first: Array, second: Array, *, size: int = 100, repeats: int = 100, seed: int = 0
) -> Estimate:
    """Kernel distance over random subsets: its mean, and 1.96 deviations over their root number.

    The subsets share members, so the interval is of the estimate, not of other data.
    """
    generator = np.random.default_rng(seed)
    size = min(size, len(first), len(second))
    values = [
        kernel_distance(
            first[generator.choice(len(first), size, replace=False)],
            second[generator.choice(len(second), size, replace=False)],
        )
        for _ in range(repeats)
    ]
    return over_repeats(values)


def r_precision(
    captions: Array,
    motions: Array,
    *,
    extra_hits: NDArray[np.bool_] | None = None,
    pool_size: int = POOL_SIZE,
    repeats: int = 20,
    seed: int = 0,
) -> Array:
    """How often the right caption is among the 1, 2, 3 nearest of a pool: three shares.

    Pools are drawn without replacement; what is left of the last one is not used.

    Args:
        captions: (N, E), row i belongs to motion i.
        motions: (N, E).
        extra_hits: (N, N) True where caption j is right for motion i too.
        pool_size: captions to choose from; fewer if there are fewer.
        repeats: how many times to shuffle the pools.
        seed: of the shuffling.

    Raises:
        ValueError: there are not as many captions as motions, or none.

    Source: Guo et al., CVPR 2022, section 5.
    """
    if len(captions) != len(motions) or not len(motions):
        raise ValueError(f"{len(captions)} captions and {len(motions)} motions, needs as many")
    distance = pairwise_distance(motions, captions)
    right = np.eye(len(motions), dtype=bool)
    if extra_hits is not None:
        right |= extra_hits
    generator = np.random.default_rng(seed)
    size = min(pool_size, len(motions))
    hits: list[NDArray[np.bool_]] = []
    for _ in range(repeats):
        order = generator.permutation(len(motions))
        pools = order[: len(order) // size * size].reshape(-1, size)
        hits += [_hits_in_pool(distance, right, pool) for pool in pools]
    return np.concatenate(hits).mean(0)


def mm_distance(captions: Array, motions: Array) -> Array:
    """Distance of each motion from its own caption (N,); the metric is the mean.

    Source: Guo et al., CVPR 2022, section 5 (MultiModal distance).
    """
    return np.linalg.norm(captions - motions, axis=1)


def diversity(motions: Array, *, num_pairs: int = 300, seed: int = 0) -> float:
    """Mean distance of random pairs of motions.

    Source: Guo et al., CVPR 2022, section 5.
    """
    generator = np.random.default_rng(seed)
    first = generator.integers(0, len(motions), num_pairs)
    second = (first + generator.integers(1, len(motions), num_pairs)) % len(motions)
    return float(np.linalg.norm(motions[first] - motions[second], axis=1).mean())


def multimodality(repeats_of_prompts: Array) -> Array:
    """Mean distance between motions of each prompt (prompts,); the metric is the mean.

    Takes (prompts, repeats, E) with two repeats or more.

    Source: Guo et al., CVPR 2022, section 5; over all pairs instead of ten random ones.
    """
    repeats = repeats_of_prompts.shape[1]
    rows, columns = np.triu_indices(repeats, k=1)
    gaps = repeats_of_prompts[:, rows] - repeats_of_prompts[:, columns]
    return np.linalg.norm(gaps, axis=-1).mean(axis=1)


def pairwise_distance(first: Array, second: Array) -> Array:
    """Distances (N, M) between rows of (N, E) and (M, E)."""
    squared = (first**2).sum(1)[:, None] + (second**2).sum(1)[None] - 2 * first @ second.T
    return np.sqrt(np.clip(squared, 0, None))


def _hits_in_pool(
    distance: Array, right: NDArray[np.bool_], pool: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """(pool, 3): is a right caption among the nearest 1, 2, 3?"""
    inside = np.ix_(pool, pool)
    nearest = np.argsort(distance[inside], axis=1)[:, :3]
    found = np.take_along_axis(right[inside], nearest, axis=1)
    return np.logical_or.accumulate(found, axis=1)


def _check_sets(first: Array, second: Array) -> None:
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise ValueError(
            f"Embeddings of shapes {first.shape} and {second.shape}, needs equal widths"
        )
    if min(len(first), len(second)) < 2:
        raise ValueError(f"Sets of {len(first)} and {len(second)} embeddings, needs 2 or more each")
