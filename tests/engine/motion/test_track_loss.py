"""The gradient that is written out is the slope of the loss."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from engine.motion import rotations as rot
from engine.motion.camera import Camera
from engine.motion.motion import Motion
from engine.motion.proportions import NUM_BONES
from engine.motion.skeleton import SMPL_22
from engine.motion.track_loss import Corrections, FitDeviations, TrackLoss

FRAMES = 12


@pytest.fixture
def motion() -> Motion:
    torch.manual_seed(0)
    facing = torch.tensor([[1.0, 0, 0], [0, -1.0, 0], [0, 0, -1.0]]).double()
    return Motion(
        fps=20.0,
        skeleton=SMPL_22,
        root_translation=torch.tensor([0.0, 0.9, 0.0]).double() + 0.1 * _random(FRAMES, 3),
        local_rotations=rot.axis_angle_to_quaternion(0.3 * _random(FRAMES, 22, 3)),
        contacts=torch.rand(FRAMES, 4).double(),
        camera=Camera(
            rotation=facing.repeat(FRAMES, 1, 1),
            translation=torch.tensor([0.0, 1.0, 4.0]).double().repeat(FRAMES, 1),
            focal_length=torch.full((FRAMES,), 2.0).double(),
            principal_point=0.1 * _random(FRAMES, 2),
        ),
    )


@pytest.mark.parametrize("frames", [1, 2, FRAMES])
@pytest.mark.parametrize("name", ["turns", "moves", "growth"])
def test_the_gradient_is_the_slope(motion: Motion, name: str, frames: int) -> None:
    keypoints = torch.rand(frames, 22, 3).double() - 0.5
    keypoints[..., 2] += 0.5
    loss = TrackLoss(motion.crop(0, frames), keypoints, 0.1 * _random(NUM_BONES), FitDeviations())
    here = Corrections(
        turns=0.3 * _random(3, 22, frames),
        moves=0.1 * _random(3, frames),
        growth=0.1 * _random(NUM_BONES),
    )
    way = _random(*getattr(here, name).shape)

    def at(step: float) -> Tensor:
        return loss(replace(here, **{name: getattr(here, name) + step * way}))[0]

    slope = float((at(1e-6) - at(-1e-6)) / 2e-6)
    told = float((getattr(loss(here)[1], name) * way).sum())
    # differences of numbers of double precision, a millionth apart
    assert told == pytest.approx(slope, rel=1e-5, abs=1e-4)


def test_nothing_is_asked_of_what_is_not_seen(motion: Motion) -> None:
    nothing = Corrections(
        turns=torch.zeros(3, 22, FRAMES).double(),
        moves=torch.zeros(3, FRAMES).double(),
        growth=torch.zeros(NUM_BONES).double(),
    )
    still = replace(
        motion,
        root_translation=motion.root_translation[:1].repeat(FRAMES, 1),
        local_rotations=motion.local_rotations[:1].repeat(FRAMES, 1, 1),
        contacts=torch.zeros(FRAMES, 4).double(),
    )
    unseen = torch.zeros(FRAMES, 22, 3).double()

    loss, slope = TrackLoss(still, unseen, nothing.growth, FitDeviations())(nothing)

    assert float(loss) < 1e-3
    assert slope.turns.abs().max() < 1e-9


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape).double()
