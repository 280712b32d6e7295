"""Low noise levels: how often they are drawn, how they are reached, and what that is for."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from engine.diffusion.schedule import cosine_schedule
from tests.trainer.losses.test_ray_losses import cameras
from trainer.losses.ray_losses import DepthWeight, reprojection_loss, see_joints
from trainer.low_noise import LowNoise, ddim_steps, roll_out

SCHEDULE = cosine_schedule(50)


def test_every_level_has_the_share_that_plain_training_gives_it() -> None:
    settings = LowNoise(t_star=12, stops=4)
    assert (settings.width, settings.lowest_taught) == (4, 16)
    generator = torch.Generator().manual_seed(0)
    shares = torch.zeros(50)
    rolled = 0
    for _ in range(6_000):
        times = settings.times(8, 49.0, 0.0, 1, generator)
        rolled += len(times) > 1
        for stop in times:
            shares += torch.histc(stop, 50, 0, 50) / (len(times) * 8 * 6_000)
        if len(times) > 1:
            assert all(float(t.min()) >= 4 * (3 - k) for k, t in enumerate(times))
    assert rolled / 6_000 == pytest.approx(16 / 49, abs=0.02)
    assert shares[:49].mul(49).sub(1).abs().max() < 0.25
    assert shares[:16].sum() == pytest.approx(16 / 49, abs=0.02)


@pytest.mark.parametrize(
    ("settings", "number", "expected"),
    [
        (LowNoise(scheme="every", t_star=4), 1, [3, 2, 1, 0]),
        (LowNoise(scheme="curriculum", t_star=4, curriculum_steps=10), 1, [3]),
        (LowNoise(scheme="curriculum", t_star=4, curriculum_steps=10), 20, [3, 2, 1]),
        (LowNoise(scheme="curriculum", t_star=4, curriculum_steps=10), 90, [3, 2, 1, 0]),
    ],
)
def test_the_other_schemes_stop_at_whole_timesteps(settings, number: int, expected) -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [settings.times(3, 49.0, 0.0, number, generator) for _ in range(200)]
    low = [times for times in drawn if float(times[0][0]) < 4]
    assert low
    assert all([float(stop[0]) for stop in times] == expected for times in low)


def test_off_is_plain_training_and_wrong_words_are_refused() -> None:
    times = LowNoise(scheme="off").times(5, 49.0, 0.4, 1, torch.Generator().manual_seed(3))
    assert len(times) == 1
    for words in ({"scheme": "sometimes"}, {"stops": 1}, {"losses_at": "first"}):
        with pytest.raises(ValueError, match="need"):
            LowNoise(**words)


def test_a_perfect_x0_lands_where_the_same_noise_would() -> None:
    generator = torch.Generator().manual_seed(1)
    x0, noise = (torch.randn(3, 5, 2, generator=generator) for _ in range(2))
    start, end = torch.tensor([30.0, 20.5, 10.0]), torch.tensor([12.0, 3.0, 0.0])
    x = SCHEDULE.add_noise(x0, noise, start)
    expected = SCHEDULE.add_noise(x0, noise, end)
    assert torch.allclose(ddim_steps(x, x0, SCHEDULE, start, end), expected, atol=1e-5)


@pytest.mark.parametrize(("is_cut", "losses_at"), [(True, "every"), (False, "last")])
def test_gradients_pass_between_stops_only_where_asked(is_cut: bool, losses_at: str) -> None:
    scale = torch.tensor(0.5, requires_grad=True)
    seen: list[Tensor] = []

    def predict(x: Tensor, timestep: Tensor) -> Tensor:
        seen.append(x)
        return scale * x

    terms = roll_out(
        predict,
        lambda x0, t: {"size": x0.square().mean()},
        torch.ones(2, 3, 1),
        [torch.full((2,), t) for t in (12.0, 8.0, 1.0)],
        LowNoise(is_cut=is_cut, losses_at=losses_at),
        SCHEDULE,
    )
    assert len(seen) == 3
    assert [x.requires_grad for x in seen[1:]] == [not is_cut] * 2
    terms["size"].backward()
    assert scale.grad is not None


class _Net(nn.Module):
    """x0 of one joint from x_t and the timestep."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(5, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU())
        self.out = nn.Linear(64, 3)

    def forward(self, x: Tensor, timestep: Tensor) -> Tensor:
        time = (timestep / 50)[:, None]
        h = torch.cat((x[:, 0], time, (10 * time).sin()), dim=-1)
        return self.out(self.layers(h))[:, None]


@pytest.mark.parametrize(("scheme", "is_copied"), [("off", True), ("buckets", False)])
def test_only_without_t_star_is_the_teachers_depth_error_copied(
    scheme: str, is_copied: bool
) -> None:
    """One joint, lifted half a metre too far from its own camera each time.

    At low noise x_t shows where the lifter has put it, and no keypoint objects to the wrong depth.
    """
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(5)
    settings = LowNoise(scheme=scheme, t_star=30, stops=4)
    middle, error = torch.tensor([0.0, 1.0, 0.0]), 0.5
    net = _Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    copied: list[float] = []
    for step in range(300):
        camera = cameras(2 * math.pi * torch.rand(128, generator=generator))
        truth = middle + 0.5 * torch.randn(128, 3, generator=generator)
        view = camera.rotation[0, :, 2]
        teacher = (truth + error * view - middle)[:, None]
        points, _ = camera.project(truth[None, :, None])
        times = settings.times(128, 49.0, 0.0, step, generator)
        found: list[tuple[Tensor, Tensor]] = []

        def loss(
            x0: Tensor, timestep: Tensor, camera=camera, points=points, found=found
        ) -> dict[str, Tensor]:
            found.append((x0[:, 0].detach() + middle, timestep))
            seen = see_joints((x0 + middle)[None], camera)
            value = reprojection_loss(seen, points, torch.ones(1, 128, 1), DepthWeight())
            return {"reprojection": value.sum()}

        noise = torch.randn(teacher.shape, generator=generator)
        x = SCHEDULE.add_noise(teacher, noise, times[0])
        terms = roll_out(net, loss, x, times, settings, SCHEDULE)
        optimizer.zero_grad()
        terms["reprojection"].backward()
        optimizer.step()
        for x0, timestep in found if step >= 200 else ():
            too_far = ((x0 - truth) * view).sum(-1)[timestep < 4]
            copied += [float(value) / error for value in too_far]
    share = sum(copied) / len(copied)
    assert share > 0.8 if is_copied else abs(share) < 0.2
