"""Losses of lifted poses: positions, rotations, steps, bodies, cameras.

All are means over what a mask keeps, 0 where it keeps nothing, with finite gradients. Leading axes
("...") are free: clips, or clips and frames.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

_SHORT = 1e-8  # square metres: where a distance's gradient is let go


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean () of values (...) where mask (...) isn't 0, weighed by it."""
    weights = mask.to(values.dtype)
    return (values * weights).sum() / weights.sum().clamp(min=1e-6)


def distance(first: Tensor, second: Tensor) -> Tensor:
    """Euclidean distance (...) of points (..., D), with a gradient at zero too."""
    return ((first - second).square().sum(-1) + _SHORT).sqrt()


def joint_loss(predicted: Tensor, true: Tensor, mask: Tensor) -> Tensor:
    """Mean distance in metres of joints (..., J, 3), both from the root; mask (...)."""
    return masked_mean(distance(predicted, true).mean(-1), mask)


def rotation_loss(predicted: Tensor, true: Tensor, mask: Tensor) -> Tensor:
    """Half the mean square of the matrices' difference: (..., J, 3, 3), mask (...).

    Source: Kanazawa et al., HMMR, section 3.3.
    """
    squared = (predicted - true).square().sum((-1, -2)).mean(-1)
    return 0.5 * masked_mean(squared, mask)


def motion_losses(predicted: Tensor, true: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Mean errors of steps and of steps' changes, of joints (B, T, J, 3): metres per frame."""
    steps, true_steps = predicted.diff(dim=1), true.diff(dim=1)
    pairs = mask[:, 1:] & mask[:, :-1]
    step = joint_loss(steps, true_steps, pairs)
    triples = pairs[:, 1:] & pairs[:, :-1]
    return step, joint_loss(steps.diff(dim=1), true_steps.diff(dim=1), triples)


def direction_loss(predicted: Tensor, true: Tensor, mask: Tensor) -> Tensor:
    """1 less the cosine between directions (..., 3); `true` has unit length."""
    return masked_mean(1.0 - functional.cosine_similarity(predicted, true, dim=-1), mask)


def log_error_loss(log_errors: Tensor, errors: Tensor, mask: Tensor) -> Tensor:
    """How well a model tells its own errors (..., J) in metres, in logarithms; mask (...)."""
    told = (log_errors - errors.detach().clamp(min=1e-3).log()).abs()
    return masked_mean(told.mean(-1), mask)
