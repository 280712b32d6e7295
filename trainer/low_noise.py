"""Which noise levels a step of training is for, and how low ones are reached.

A teacher's motion is wrong mostly along its own camera's view. Lightly noised it shows that camera:
a model could copy the wrong depth and no keypoint would object. So below t* the teacher is never
noised; the model itself goes down from there with its own x0, deterministically, and learns at
stops on the way.

Source: VideoMDM (arXiv 2606.13364) and its release, after A Lesson in Splats (arXiv 2412.00623).
Timesteps need not be whole. Shape letters: B clips.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.diffusion.schedule import NoiseSchedule

SCHEMES = ("off", "buckets", "every", "curriculum")


@dataclass(frozen=True, kw_only=True)
class LowNoise:
    """The scheme below t*.

    "buckets" stops once in each of `stops` buckets of equal width, "every" at every whole timestep
    below t*, "curriculum" likewise but goes down further as training goes on; "off" noises the
    teacher at all levels, as MDM does.
    """

    scheme: str = "buckets"
    t_star: int = 12
    stops: int = 4
    losses_at: str = "every"  # stop, or only at the "last"
    is_cut: bool = True  # no gradient goes from a stop to the one before
    is_guided: bool = False  # x0 is moved onto the rays before it goes on
    curriculum_steps: int = 100  # optimiser steps after which it goes one timestep further down

    def __post_init__(self) -> None:
        if self.scheme not in SCHEMES:
            raise ValueError(f"scheme is {self.scheme!r}, needs one of {', '.join(SCHEMES)}")
        if self.losses_at not in ("every", "last"):
            raise ValueError(f"losses_at is {self.losses_at!r}, needs every or last")
        if self.t_star < 1 or self.stops < 2 or self.curriculum_steps < 1:
            raise ValueError("t_star and curriculum_steps need 1 or more, stops 2 or more")

    @property
    def width(self) -> int:
        """Timesteps of a bucket."""
        return math.ceil(self.t_star / (self.stops - 1))

    @property
    def lowest_taught(self) -> int:
        """The timestep from which on the teacher is noised."""
        if self.scheme == "off":
            return 0
        return self.width * self.stops if self.scheme == "buckets" else self.t_star

    def times(
        self, count: int, last: float, share: float, number: int, generator: torch.Generator
    ) -> list[Tensor]:
        """Timesteps (B,) of one step of training: one for noised teachers, else falling ones.

        Low levels are drawn as often as `draw_timesteps` draws them, so that each level has the
        same share of the losses with the scheme as without.

        Args:
            count: B.
            last: the noisiest timestep.
            share: of the noisiest eighth, on top.
            number: of the optimiser step, from 1.
            generator: on the CPU.
        """
        lowest = self.lowest_taught
        if lowest == 0:
            return [draw_timesteps(count, 0.0, last, share, generator)]
        low = (1.0 - share) * lowest / last
        if float(torch.rand((), generator=generator)) >= low:
            noisy = share / (1.0 - low)
            return [draw_timesteps(count, float(lowest), last, noisy, generator)]
        if self.scheme == "buckets":
            starts = [k * self.width for k in reversed(range(self.stops))]
            return [s + self.width * torch.rand(count, generator=generator) for s in starts]
        end = 0
        if self.scheme == "curriculum":
            end = max(0, lowest - 1 - number // self.curriculum_steps)
        return [torch.full((count,), float(t)) for t in range(lowest - 1, end - 1, -1)]


def draw_timesteps(
    count: int, lowest: float, last: float, noisiest_share: float, generator: torch.Generator
) -> Tensor:
    """Timesteps (count,) from lowest to last, not whole: uniform, but a share from the noisiest.

    The noisiest are the last eighth of all timesteps. A turn over seconds shows through noise that
    hides every frame, since it can be summed up; only at the noisiest levels must the text say
    which way it goes.
    """
    part = torch.rand(count, generator=generator)
    noisiest = last - last / 8 * torch.rand(count, generator=generator)
    is_noisiest = torch.rand(count, generator=generator) < noisiest_share
    return torch.where(is_noisiest, noisiest, lowest + (last - lowest) * part)


def roll_out(
    predict: Callable[[Tensor, Tensor], Tensor],
    loss: Callable[[Tensor, Tensor], dict[str, Tensor]],
    x: Tensor,
    times: list[Tensor],
    settings: LowNoise,
    schedule: NoiseSchedule,
    *,
    guide: Callable[[Tensor], Tensor] | None = None,
) -> dict[str, Tensor]:
    """Mean losses by name over the stops of a way down from x, which is as noisy as times[0].

    With one timestep that is plain training.

    Args:
        predict: x_t (B, T, F) and timesteps (B,) to x0.
        loss: x0 and timesteps to terms.
        x: (B, T, F).
        times: (B,) each, falling.
        settings: where losses are, and what gradients pass.
        schedule: of the noise.
        guide: x0 to the x0 that goes on; None: the model's own.
    """
    totals: dict[str, Tensor] = {}
    is_last_only = settings.losses_at == "last"
    num_losses = 1 if is_last_only else len(times)
    for k, timestep in enumerate(times):
        is_last = k + 1 == len(times)
        x0 = predict(x, timestep)
        if is_last or not is_last_only:
            for name, value in loss(x0, timestep).items():
                totals[name] = totals.get(name, 0.0) + value / num_losses
        if not is_last:
            onward = guide(x0.detach()) if guide is not None else x0
            x = ddim_steps(x, onward, schedule, timestep, times[k + 1])
            x = x.detach() if settings.is_cut else x
    return totals


def ddim_steps(
    x: Tensor, x0: Tensor, schedule: NoiseSchedule, timestep: Tensor, following: Tensor
) -> Tensor:
    """x (B, ...) of each clip at its following timestep, with the noise that x and x0 tell.

    x' = sqrt(a') x0 + sqrt(1 - a') e        e = (x - sqrt(a) x0) / sqrt(1 - a)
    """
    now, then = (_alphas(schedule, times, x) for times in (timestep, following))
    noise = (x - now.sqrt() * x0) / (1 - now).sqrt()
    return then.sqrt() * x0 + (1 - then).sqrt() * noise


def _alphas(schedule: NoiseSchedule, timestep: Tensor, like: Tensor) -> Tensor:
    values = [schedule.alpha(value) for value in timestep.tolist()]
    alphas = torch.tensor(values, dtype=like.dtype).reshape(-1, *(1 for _ in like.shape[1:]))
    return alphas.to(like.device)
