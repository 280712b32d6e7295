"""Noise schedule: how much of the clean features is left at each timestep."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_LEAST = 1e-6  # of the signal's power, at the last timestep: it is all noise but for rounding
_SPREAD = 2.0  # how much denser a sampler's first steps are than its last ones


@dataclass(frozen=True)
class NoiseSchedule:
    """x_t = sqrt(alpha(t)) x0 + sqrt(1 - alpha(t)) noise; t = 0 is the least noise.

    Timesteps need not be whole numbers. Alpha is Nichol and Dhariwal's cosine.

    Source: Improved Denoising Diffusion Probabilistic Models, equation 17, with alpha_bar at
    (t + 1) / num_timesteps; instead of betas, alpha itself is clipped at its small end.
    """

    num_timesteps: int

    @property
    def last(self) -> float:
        """The timestep with the most noise."""
        return float(self.num_timesteps - 1)

    def alpha(self, timestep: float) -> float:
        """The share of the clean features' power that is left."""
        fraction = (timestep + 1) / self.num_timesteps
        return max(_cosine(fraction) / _cosine(0.0), _LEAST)

    def add_noise(self, x0: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """x_t for x0 and noise (B, ...) at timesteps (B,)."""
        alphas = [self.alpha(value) for value in timestep.tolist()]
        alpha = torch.tensor(alphas, dtype=torch.float64, device=x0.device)
        alpha = alpha.reshape(-1, *(1 for _ in x0.shape[1:]))
        return alpha.sqrt().to(x0.dtype) * x0 + (1 - alpha).sqrt().to(x0.dtype) * noise

    def spread(self, num_steps: int) -> list[float]:
        """Timesteps of a sampler with num_steps steps, from most noise to least.

        They are denser where there is most noise: a choice that shapes the whole clip (which hand
        waves, when the kick comes) shows through noise that hides each frame, since it can be
        summed up, so it is made within the noisiest tenth.
        """
        if num_steps == 1:
            return [self.last]
        return [self.last * (1 - (i / (num_steps - 1)) ** _SPREAD) for i in range(num_steps)]


def cosine_schedule(num_timesteps: int = 50) -> NoiseSchedule:
    """The schedule of a model that was trained on timesteps from 0 to num_timesteps - 1."""
    return NoiseSchedule(num_timesteps)


def _cosine(fraction: float) -> float:
    return math.cos((min(fraction, 1.0) + 0.008) / 1.008 * math.pi / 2) ** 2
