"""Noise schedule: how much of the clean features is left at each timestep."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class NoiseSchedule:
    """x_t = sqrt(alphas_cumprod[t]) x0 + sqrt(1 - alphas_cumprod[t]) noise; t = 0 is the least."""

    alphas_cumprod: Tensor  # (num_timesteps,) float64, falling

    @property
    def num_timesteps(self) -> int:
        """Number of noise levels that the model was trained on."""
        return self.alphas_cumprod.shape[0]

    def add_noise(self, x0: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """x_t for x0 and noise (B, ...) at timesteps (B,)."""
        alpha = self.alphas_cumprod.to(x0.device)[timestep].to(x0.dtype)
        alpha = alpha.reshape(-1, *(1 for _ in x0.shape[1:]))
        return alpha.sqrt() * x0 + (1 - alpha).sqrt() * noise

    def spread(self, num_steps: int) -> list[int]:
        """Timesteps of a sampler with num_steps steps, from most noise to least.

        More steps than timesteps are as many as there are.
        """
        steps = min(num_steps, self.num_timesteps)
        last = self.num_timesteps - 1
        if steps == 1:
            return [last]
        return [round(last * (1 - i / (steps - 1))) for i in range(steps)]


def cosine_schedule(num_timesteps: int = 50) -> NoiseSchedule:
    """Nichol and Dhariwal's cosine schedule.

    Source: Improved Denoising Diffusion Probabilistic Models, equation 17; betas clipped at .999.
    """

    def level(fraction: float) -> float:
        return math.cos((fraction + 0.008) / 1.008 * math.pi / 2) ** 2

    betas = [
        min(1 - level((i + 1) / num_timesteps) / level(i / num_timesteps), 0.999)
        for i in range(num_timesteps)
    ]
    return NoiseSchedule(torch.cumprod(1 - torch.tensor(betas, dtype=torch.float64), dim=0))
