"""Guidance: wrappers around a denoiser that bend its x0."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def classifier_free(
    denoise_pair: Callable[[Tensor, int], tuple[Tensor, Tensor]], guidance_scale: float
) -> Callable[[Tensor, int], Tensor]:
    """A denoiser that goes past the conditional prediction, away from the unconditional one.

    denoise_pair(x_t, timestep) gives both, x0 with the prompt and x0 without. At a scale of 1 the
    prompt's prediction is left as it is.

    Source: Ho and Salimans, Classifier-Free Diffusion Guidance, equation 6, for x0.
    """

    def denoise(x_t: Tensor, timestep: int) -> Tensor:
        with_prompt, without = denoise_pair(x_t, timestep)
        return without + guidance_scale * (with_prompt - without)

    return denoise


def blend_windows(parts: Tensor, starts: list[int], num_frames: int) -> Tensor:
    """Join overlapping windows (W, T, F) that start at given frames into (num_frames, F).

    Each frame is the mean of the windows that cover it, weighted by a ramp that falls towards the
    windows' ends.
    """
    length = parts.shape[1]
    ramp = torch.arange(1, length + 1, dtype=parts.dtype, device=parts.device)
    weight = torch.minimum(ramp, ramp.flip(0))[:, None]
    total = parts.new_zeros(num_frames, parts.shape[2])
    weights = parts.new_zeros(num_frames, 1)
    for part, start in zip(parts, starts, strict=True):
        total[start : start + length] += part * weight
        weights[start : start + length] += weight
    return total / weights


def window_starts(num_frames: int, length: int, overlap: int) -> list[int]:
    """First frames of windows that cover num_frames and overlap by at least `overlap`."""
    if num_frames <= length:
        return [0]
    last = num_frames - length
    count = -(-last // (length - overlap)) + 1
    return [round(i * last / (count - 1)) for i in range(count)]
