"""Schedule, samplers, guidance and windows, on denoisers whose answer is known."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from engine.diffusion.guidance import classifier_free
from engine.diffusion.sampling import posterior, sample_ddim, sample_ddpm
from engine.diffusion.schedule import cosine_schedule


def quiet(step: int, num_steps: int) -> None:
    """A report that does nothing."""


def gaussian_denoiser(mean: float, deviation: float):
    """The exact x0 of x_t when the data are Gaussian: the posterior mean."""
    schedule = cosine_schedule()

    def denoise(x_t: torch.Tensor, timestep: float) -> torch.Tensor:
        alpha = schedule.alpha(timestep)
        gain = alpha**0.5 * deviation**2 / (alpha * deviation**2 + 1 - alpha)
        return mean + gain * (x_t - alpha**0.5 * mean)

    return denoise


def test_cosine_schedule_has_the_published_levels() -> None:
    schedule = cosine_schedule(50)
    for timestep, value in ((0, 0.99825), (12, 0.83562), (25, 0.46271), (40, 0.07665)):
        assert schedule.alpha(timestep) == pytest.approx(value, abs=1e-5)
    levels = [schedule.alpha(timestep / 4) for timestep in range(4 * 49)]
    assert all(after < before for before, after in pairwise(levels))
    assert 0 < schedule.alpha(49.0) < 1e-5


def test_noise_is_added_at_each_items_own_timestep() -> None:
    schedule = cosine_schedule()
    x0, noise = torch.ones(2, 3, 4), torch.zeros(2, 3, 4)
    x_t = schedule.add_noise(x0, noise, torch.tensor([0, 40.5]))
    expected = torch.tensor([schedule.alpha(0), schedule.alpha(40.5)]).sqrt()
    torch.testing.assert_close(x_t[:, 0, 0], expected)


@pytest.mark.parametrize("num_steps", [1, 2, 10, 50])
def test_steps_go_from_most_noise_to_least(num_steps: int) -> None:
    timesteps = cosine_schedule().spread(num_steps)
    assert len(timesteps) == num_steps
    assert timesteps[0] == 49
    assert timesteps == sorted(set(timesteps), reverse=True)
    assert num_steps == 1 or timesteps[-1] == 0


def test_a_third_of_the_steps_are_in_the_noisiest_tenth() -> None:
    timesteps = cosine_schedule().spread(20)
    assert sum(timestep > 44.1 for timestep in timesteps) >= 6


def test_ddim_maps_noise_to_the_gaussian_it_should() -> None:
    noise = torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    samples = sample_ddim(gaussian_denoiser(3.0, 0.5), noise, cosine_schedule(), 50, quiet)
    assert samples.mean() == pytest.approx(3.0, abs=0.02)
    assert samples.std() == pytest.approx(0.5, rel=0.1)  # 50 steps of an ODE


def test_ddpm_samples_the_gaussian_it_should() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(20_000, generator=generator)
    samples = sample_ddpm(
        gaussian_denoiser(-1.0, 0.5), noise, cosine_schedule(), 50, quiet, generator=generator
    )
    assert samples.mean() == pytest.approx(-1.0, abs=0.02)
    assert samples.std() == pytest.approx(0.5, rel=0.1)


def test_ddim_with_a_perfect_denoiser_keeps_the_noise_it_started_from() -> None:
    schedule = cosine_schedule()
    x0, noise = torch.randn(5), torch.randn(5)
    timesteps = schedule.spread(10)
    seen: list[torch.Tensor] = []

    def denoise(x_t: torch.Tensor, timestep: float) -> torch.Tensor:
        seen.append(x_t)
        return x0

    start = schedule.add_noise(x0[None], noise[None], torch.tensor([timesteps[0]]))[0]
    sample_ddim(denoise, start, schedule, 10, quiet)
    for x_t, timestep in zip(seen, timesteps, strict=True):
        expected = schedule.add_noise(x0[None], noise[None], torch.tensor([timestep]))[0]
        torch.testing.assert_close(x_t, expected, atol=2e-3, rtol=0)  # level 49 is almost all noise


def test_posterior_is_that_of_the_schedule() -> None:
    schedule = cosine_schedule()
    now, then = schedule.alpha(20), schedule.alpha(19)
    mean, deviation = posterior(torch.tensor(0.3), torch.tensor(0.7), schedule, 20, 19)
    beta = 1 - now / then
    expected = then**0.5 * beta / (1 - now) * 0.7
    expected = expected + (1 - beta) ** 0.5 * (1 - then) / (1 - now) * 0.3
    assert float(mean) == pytest.approx(expected, abs=1e-6)
    assert deviation**2 == pytest.approx(beta * (1 - then) / (1 - now))


def test_report_hears_every_step_and_can_stop() -> None:
    heard: list[tuple[int, int]] = []

    def report(step: int, num_steps: int) -> None:
        heard.append((step, num_steps))
        if step == 3:
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        sample_ddim(lambda x, t: x, torch.zeros(3), cosine_schedule(), 10, report)
    assert heard == [(1, 10), (2, 10), (3, 10)]


def test_guidance_of_one_is_the_prompt_alone() -> None:
    pair = (torch.tensor(2.0), torch.tensor(1.0))
    assert classifier_free(lambda x, t: pair, 1.0)(torch.zeros(1), 0) == 2.0
    assert classifier_free(lambda x, t: pair, 2.5)(torch.zeros(1), 0) == 3.5
