"""Samplers: from noise to clean features, as plain functions.

A sampler takes denoise(x_t, timestep) -> x0 and calls report(step, num_steps) after every step;
report may raise to stop. Noise is drawn from the generator given, on the CPU, so that a seed gives
the same motion on every device up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from engine.diffusion.schedule import NoiseSchedule

Denoise = Callable[[Tensor, float], Tensor]
Report = Callable[[int, int], None]


def sample_ddim(
    denoise: Denoise, noise: Tensor, schedule: NoiseSchedule, num_steps: int, report: Report
) -> Tensor:
    """Deterministic sampling with any number of steps.

    Source: Song et al., Denoising Diffusion Implicit Models, equation 12 with sigma = 0.
    """
    return denoise_along(denoise, noise, schedule, schedule.spread(num_steps), report)


def denoise_along(
    denoise: Denoise,
    x: Tensor,
    schedule: NoiseSchedule,
    timesteps: Sequence[float],
    report: Report,
) -> Tensor:
    """The same from any x, as noisy as the first of the timesteps says, along falling timesteps."""
    for step, timestep in enumerate(timesteps):
        x0 = denoise(x, timestep)
        following = timesteps[step + 1] if step + 1 < len(timesteps) else None
        x = x0 if following is None else ddim_step(x, x0, schedule, timestep, following)
        report(step + 1, len(timesteps))
    return x


def sample_ddpm(
    denoise: Denoise,
    noise: Tensor,
    schedule: NoiseSchedule,
    num_steps: int,
    report: Report,
    *,
    generator: torch.Generator,
) -> Tensor:
    """Ancestral sampling with any number of steps.

    Source: Ho et al., Denoising Diffusion Probabilistic Models, equations 6 and 7, with the
    alphas of the timesteps that are visited.
    """
    x = noise
    timesteps = schedule.spread(num_steps)
    for step, timestep in enumerate(timesteps):
        x0 = denoise(x, timestep)
        if step + 1 == len(timesteps):
            x = x0
        else:
            mean, deviation = posterior(x, x0, schedule, timestep, timesteps[step + 1])
            x = mean + deviation * torch.randn(x.shape, generator=generator).to(x)
        report(step + 1, len(timesteps))
    return x


def posterior(
    x: Tensor, x0: Tensor, schedule: NoiseSchedule, timestep: float, following: float
) -> tuple[Tensor, float]:
    """Mean and deviation of x at the following, less noisy timestep, given x and x0."""
    now = schedule.alpha(timestep)
    then = schedule.alpha(following)
    alpha = now / then
    mean = (then**0.5 * (1 - alpha) * x0 + alpha**0.5 * (1 - then) * x) / (1 - now)
    return mean, ((1 - alpha) * (1 - then) / (1 - now)) ** 0.5


def ddim_step(
    x: Tensor, x0: Tensor, schedule: NoiseSchedule, timestep: float, following: float
) -> Tensor:
    """x at the following timestep, with the noise that x and x0 tell kept as it is."""
    now = schedule.alpha(timestep)
    then = schedule.alpha(following)
    noise = (x - now**0.5 * x0) / (1 - now) ** 0.5
    return then**0.5 * x0 + (1 - then) ** 0.5 * noise
