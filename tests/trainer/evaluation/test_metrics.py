"""Metrics against values that are known in closed form."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.evaluation import metrics


def normal(count: int, width: int, *, mean: float = 0.0, scale: float = 1.0, seed: int = 0):
    return np.random.default_rng(seed).normal(mean, scale, (count, width))


def test_frechet_distance_of_a_set_from_itself_is_zero() -> None:
    points = normal(200, 6)
    assert metrics.frechet_distance(points, points) == pytest.approx(0, abs=1e-6)


def test_frechet_distance_of_shifted_sets_is_the_squared_shift() -> None:
    points = normal(200, 6)
    shifted = points + np.array([3.0, 0, 0, 4.0, 0, 0])
    assert metrics.frechet_distance(points, shifted) == pytest.approx(25, abs=1e-6)


def test_frechet_distance_of_scaled_sets_has_a_closed_form() -> None:
    # sqrt(C1 C2) = 2 C1 for C2 = 4 C1: the distance is the trace of C1
    points = normal(500, 4)
    points -= points.mean(0)
    expected = np.trace(np.cov(points, rowvar=False))
    assert metrics.frechet_distance(points, 2 * points) == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_survives_fewer_points_than_dimensions() -> None:
    points = normal(5, 20)
    assert metrics.frechet_distance(points, points) == pytest.approx(0, abs=1e-3)


def test_kernel_distance_is_unbiased_where_frechet_is_not() -> None:
    kernel = [
        metrics.kernel_distance(normal(40, 16, seed=k), normal(40, 16, seed=1000 + k))
        for k in range(60)
    ]
    frechet = [
        metrics.frechet_distance(normal(40, 16, seed=k), normal(40, 16, seed=1000 + k))
        for k in range(10)
    ]
    assert abs(np.mean(kernel)) < 4 * np.std(kernel) / np.sqrt(60)
    assert min(frechet) > 1.0


def test_kernel_distance_of_two_pairs_by_hand() -> None:
    # E = 1, kernel (xy + 1)^3: within {0, 1}: 1, within {1, 2}: 27; across: 1, 1, 8, 27
    first, second = np.array([[0.0], [1.0]]), np.array([[1.0], [2.0]])
    assert metrics.kernel_distance(first, second) == pytest.approx(1 + 27 - 2 * 37 / 4)


def test_kernel_distance_of_subsets_finds_a_shift() -> None:
    estimate = metrics.kernel_distance_of_subsets(normal(300, 8), normal(300, 8, mean=1.0, seed=1))
    assert estimate.value - estimate.half_width > 0.5


@pytest.mark.parametrize("distance", [metrics.frechet_distance, metrics.kernel_distance])
def test_sets_that_dont_compare_are_refused(distance) -> None:
    with pytest.raises(ValueError, match="equal widths"):
        distance(normal(10, 3), normal(10, 4))
    with pytest.raises(ValueError, match="2 or more"):
        distance(normal(1, 3), normal(10, 3))


def test_r_precision_is_one_where_captions_lie_on_their_motions() -> None:
    motions = normal(64, 8)
    assert metrics.r_precision(motions, motions).tolist() == [1, 1, 1]


def test_r_precision_of_noise_is_chance() -> None:
    shares = metrics.r_precision(normal(640, 8), normal(640, 8, seed=1), repeats=20)
    assert shares == pytest.approx([1 / 32, 2 / 32, 3 / 32], abs=0.02)


def test_r_precision_counts_extra_hits() -> None:
    # captions are those of the neighbour: wrong, unless the neighbour's caption counts as right
    motions = np.eye(32) * 10
    captions = np.roll(motions, 1, axis=0)
    neighbour = np.roll(np.eye(32, dtype=bool), 1, axis=1)
    assert metrics.r_precision(captions, motions)[0] == 0
    assert metrics.r_precision(captions, motions, extra_hits=neighbour)[0] == 1


def test_r_precision_at_two_finds_what_is_second() -> None:
    # each motion lies nearest to another's caption, its own is second
    motions = np.arange(32.0)[:, None] * 10
    captions = motions + 4 * (1 - 2 * (np.arange(32) % 2))[:, None] + 0
    captions[0::2] += 2  # even captions at +6, odd at -4
    shares = metrics.r_precision(captions, motions, repeats=1)
    assert shares[0] < 1
    assert shares[1] == 1


def test_fewer_motions_than_a_pool_make_one_pool() -> None:
    motions = normal(10, 4)
    assert metrics.r_precision(motions, motions).tolist() == [1, 1, 1]


def test_r_precision_refuses_unequal_sets() -> None:
    with pytest.raises(ValueError, match="as many"):
        metrics.r_precision(normal(3, 2), normal(4, 2))


def test_mm_distance_is_per_pair() -> None:
    distances = metrics.mm_distance(np.array([[0.0, 0], [1, 1]]), np.array([[3.0, 4], [1, 1]]))
    assert distances.tolist() == [5, 0]


def test_diversity_of_two_points_is_their_distance() -> None:
    assert metrics.diversity(np.array([[0.0, 0], [3, 4]])) == pytest.approx(5)


def test_multimodality_of_equal_repeats_is_zero_and_of_a_triangle_its_mean_side() -> None:
    triangle = np.array([[0.0, 0], [3, 0], [0, 4]])
    both = np.stack([np.zeros((3, 2)), triangle])
    assert metrics.multimodality(both).tolist() == pytest.approx([0, 4])


def test_interval_over_repeats() -> None:
    estimate = metrics.over_repeats([1.0, 2.0, 3.0])
    assert estimate.value == 2
    assert estimate.half_width == pytest.approx(1.96 / np.sqrt(3))
    assert metrics.over_repeats([4.0]).half_width == 0


def test_bootstrap_interval_agrees_with_the_normal_one() -> None:
    values = normal(400, 1)[:, 0]
    estimate = metrics.bootstrap_mean(values)
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.half_width == pytest.approx(1.96 * values.std() / 20, rel=0.1)


def test_pairwise_distance_matches_one_by_one() -> None:
    first, second = normal(5, 3), normal(4, 3, seed=1)
    by_hand = [[np.linalg.norm(a - b) for b in second] for a in first]
    assert metrics.pairwise_distance(first, second) == pytest.approx(np.array(by_hand))
