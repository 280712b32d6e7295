"""Two encoders made to give the same codes, without giving up what the codes tell apart.

A plain distance between codes is least where all codes are the same. Here distances are counted in
the spread of the codes over the batch: codes that shrink or run together gain nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor

_BACKWARD = 0.25  # of the pull on the leading codes


def alignment_loss(led: Tensor, leading: Tensor, mask: Tensor) -> Tensor:
    """Square distance of codes over the spread of the leading ones: 0 where all are equal.

    About 1 where the led codes tell nothing. The led codes are pulled to where the leading ones
    are; these are pulled a quarter as much, and with their spread in the denominator, so that
    what pulls them together costs as much as it gains.

    Args:
        led: (B, N, Z) codes of the encoder that is to follow.
        leading: (B, N, Z) codes of the same things by the encoder that leads.
        mask: (B, N) bool, what counts.

    Source: the term is that of Hou et al., VTM, 2024; spread and stopped gradients are ours.
    """
    weights = mask[..., None].to(leading.dtype)
    spread = _spread(leading, weights)
    forward = _distance(led, leading.detach(), weights) / spread.detach()
    backward = _distance(led.detach(), leading, weights) / spread
    return (forward + _BACKWARD * backward) / (1 + _BACKWARD)


def _distance(first: Tensor, second: Tensor, weights: Tensor) -> Tensor:
    squared = (weights * (first - second).square()).sum()
    return squared / (weights.sum() * first.shape[-1]).clamp(min=1e-6)


def _spread(codes: Tensor, weights: Tensor) -> Tensor:
    """Mean variance () of the codes' numbers over what counts."""
    total = weights.sum().clamp(min=1e-6)
    mean = (weights * codes).sum((0, 1), keepdim=True) / total
    variance = (weights * (codes - mean).square()).sum() / (total * codes.shape[-1])
    # far below any real spread, and small beside it: the loss grows as codes run together
    return variance + torch.finfo(torch.float32).eps
