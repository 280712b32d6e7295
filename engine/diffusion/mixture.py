"""Mixture sampling: noise in one domain, the end of the way in another.

Source: CrossDiff, ECCV 2024, section 3.4; the release counts alpha in timesteps, here it is a
share of the schedule.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.diffusion.sampling import Denoise, Report, ddim_step
from engine.diffusion.schedule import NoiseSchedule


def sample_mixture(
    denoise_first: Denoise,
    denoise_second: Denoise,
    carry: Denoise,
    noise: tuple[Tensor, Tensor],
    schedule: NoiseSchedule,
    steps_and_alpha: tuple[int, float],
    report: Report,
) -> Tensor:
    """Sample in a first domain above the share alpha of the schedule, in a second below it.

    Args:
        denoise_first, denoise_second: x0 of each domain from its own noise.
        carry: x0 of the second domain from the first's x_t; called once, at timestep 0 with the
            first domain's final x0 if alpha is 0.
        noise: (B, T, F) of the first domain, to start from, and of the second, to noise again.
        schedule: of both.
        steps_and_alpha: number of steps, and the share, 0 to 1.
        report: called after every step.
    """
    num_steps, alpha = steps_and_alpha
    timesteps = schedule.spread(num_steps)
    x, again = noise
    is_first = True
    for step, timestep in enumerate(timesteps):
        following = timesteps[step + 1] if step + 1 < len(timesteps) else None
        if is_first and alpha > 0 and timestep <= alpha * schedule.last:
            x0 = carry(x, timestep)
            is_first = False
            # what the second domain adds is noise of its own
            level = torch.full((len(x0),), following or 0.0)
            x = x0 if following is None else schedule.add_noise(x0, again, level)
        else:
            x0 = (denoise_first if is_first else denoise_second)(x, timestep)
            x = x0 if following is None else ddim_step(x, x0, schedule, timestep, following)
        report(step + 1, len(timesteps))
    return carry(x, 0.0) if is_first else x
