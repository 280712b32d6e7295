"""How a camera is turned and where a body faces, from what is seen."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from engine.motion.orientation_fit import (
    fit_camera_turn,
    fit_headings,
    fit_orientations,
    turns_of,
)
from engine.motion.rotations import turn_about_up
from engine.motion.skeleton import SMPL_22

FPS = 20.0
TURN = turns_of(torch.tensor([[0.8, 0.2, -0.05]]))[0]  # from the left, from above, a little rolled
STILL = torch.eye(3).expand(60, 3, 3)


def bent(frames: int = 60) -> Tensor:
    """A body with its arms and a knee in front of it, relative to its root."""
    joints = torch.tensor(SMPL_22.rest_joints()).float()
    joints[[18, 19, 20, 21], 2] += torch.tensor([0.15, 0.25, 0.35, 0.45])
    joints[[4, 7], 2] += 0.3
    swing = 0.2 * torch.sin(torch.arange(frames) / 4)
    joints = joints.repeat(frames, 1, 1)
    joints[:, [20, 21], 1] += swing[:, None]
    return joints - joints[:, :1]


def seen(points: Tensor, turn: Tensor) -> Tensor:
    """Plane points of a body four metres in front of the camera."""
    placed = points @ turn.mT + torch.tensor((0.3, -0.1, 4.0))
    return placed[..., :2] / placed[..., 2:]


def degrees(first: Tensor, second: Tensor) -> Tensor:
    """Angles between rotations."""
    trace = (first.mT @ second).diagonal(dim1=-2, dim2=-1).sum(-1)
    return torch.rad2deg(torch.acos(((trace - 1) / 2).clamp(-1, 1)))


def test_the_camera_is_turned_as_it_is() -> None:
    points = bent()
    found = fit_camera_turn(points, seen(points, TURN), torch.ones(60, 22), STILL)
    assert degrees(found, TURN) < 4


@pytest.mark.parametrize("drift", [0.0, 1.2, -math.pi])
def test_a_heading_that_drifts_is_found_in_every_frame(drift: float) -> None:
    true = drift * torch.linspace(0, 1, 60)
    points = bent()
    plane = seen(points @ turn_about_up(true).mT, TURN)
    found = fit_headings(points, plane, torch.ones(60, 22), TURN.expand(60, 3, 3), fps=FPS)
    off = torch.rad2deg(torch.atan2((found - true).sin(), (found - true).cos())).abs()
    assert off.max() < 6
    assert off.mean() < 3


@pytest.mark.parametrize("drift", [0.0, 1.2])
def test_camera_and_headings_are_found_together(drift: float) -> None:
    facing = turn_about_up(0.5 + drift * torch.linspace(0, 1, 60))
    points = bent()
    plane = seen(points @ facing.mT, TURN)
    found = fit_orientations(points, plane, torch.ones(60, 22), STILL, fps=FPS)
    assert max(float(degrees(*pair)) for pair in zip(found, TURN @ facing, strict=True)) < 8


def test_unseen_frames_are_turned_as_those_beside_them() -> None:
    points = bent()
    true = torch.full((60,), 1.0)
    weights = torch.ones(60, 22)
    weights[20:30] = 0.0
    plane = seen(points @ turn_about_up(true).mT, TURN)
    plane[20:30] = 0.0
    found = fit_headings(points, plane, weights, TURN.expand(60, 3, 3), fps=FPS)
    assert (found - true).abs().max() < 0.1
