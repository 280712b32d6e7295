"""Views as features: layout, both ways, the virtual camera, and keypoints brought to it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from engine.motion import skeleton as sk
from engine.motion.representation_2d import (
    FOUR_AZIMUTHS,
    UNITS_PER_METRE,
    VIEW,
    bone_turns,
    see,
    view_camera,
)
from engine.motion.seen_points import body_scale, completed, shown_points, view_points
from engine.motion.skeleton import SMPL_22


def standing(frames: int) -> Tensor:
    """The rest pose, walking ahead and swinging an arm, (frames, 22, 3)."""
    joints = torch.tensor(SMPL_22.rest_joints()).float() + torch.tensor((0.0, 0.95, 0.0))
    joints = joints.repeat(frames, 1, 1)
    time = torch.arange(frames) / 20
    joints[..., 2] += 0.5 * time[:, None]
    joints[:, sk.LEFT_WRIST, 1] += 0.2 * torch.sin(5 * time)
    return joints


def test_the_layout_is_the_published_one() -> None:
    assert VIEW.num_features == 134
    assert VIEW.part("view_root_path") == slice(0, 2)
    assert VIEW.part("view_positions") == slice(2, 44)
    assert VIEW.part("view_bone_turns") == slice(44, 86)
    assert VIEW.part("view_velocities") == slice(86, 130)
    assert VIEW.part("view_contacts") == slice(130, 134)
    with pytest.raises(ValueError, match="no block"):
        VIEW.part("joint_positions")


def test_points_come_back_but_for_where_the_first_root_is() -> None:
    points = torch.randn(3, 12, 22, 2, generator=torch.Generator().manual_seed(0))
    features = VIEW.encode(points)
    assert features.shape == (3, 11, 134)
    back = VIEW.decode(features) + points[:, :1, :1]
    torch.testing.assert_close(back, points[:, :-1])
    alone = VIEW.encode(points[1])
    torch.testing.assert_close(alone, features[1])
    following = torch.roll(points, -1, dims=1)[:, :-1]
    torch.testing.assert_close(VIEW.encode_steps(points[:, :-1], following), features)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="2 or more, 22, 2"):
        VIEW.encode(torch.zeros(1, 22, 2))
    with pytest.raises(ValueError, match="133"):
        VIEW.decode(torch.zeros(5, 133))


def test_a_chains_first_bone_has_its_direction_and_the_next_its_turn() -> None:
    points = torch.zeros(1, 22, 2)
    points[0, sk.LEFT_HIP] = torch.tensor((0.0, 1.0))  # straight down the image
    points[0, sk.LEFT_KNEE] = torch.tensor((1.0, 1.0))  # then to the right: a turn back by 90
    turns = bone_turns(points)[0]
    torch.testing.assert_close(turns[sk.LEFT_HIP - 1], torch.tensor((0.0, -1.0)))
    torch.testing.assert_close(turns[sk.LEFT_KNEE - 1], torch.tensor((0.0, 1.0)))
    assert turns[sk.LEFT_FOOT - 1].tolist() == [0.0, 0.0]  # no length, no direction


def test_the_camera_sees_a_body_from_its_sides() -> None:
    joints = standing(4)[None].expand(4, -1, -1, -1)
    points = see(joints, torch.tensor(FOUR_AZIMUTHS))
    across = points[:, 0, sk.LEFT_HIP, 0] - points[:, 0, sk.RIGHT_HIP, 0]
    # from the front the left hip is on the right, from the back on the left
    assert across[0] > 0.07
    assert across[2] < -0.07
    assert across[[1, 3]].abs().max() < 0.01
    # seen from its left, who walks ahead goes to the left
    way = points[:, -1, 0, 0] - points[:, 0, 0, 0]
    assert way[1] < -0.03
    assert way[3] > 0.03
    height = points[0, 0, sk.LEFT_ANKLE, 1] - points[0, 0, sk.HEAD, 1]
    length = joints[0, 0, sk.HEAD, 1] - joints[0, 0, sk.LEFT_ANKLE, 1]
    assert float(height / length) == pytest.approx(UNITS_PER_METRE, rel=0.01)
    assert view_camera(torch.tensor([0.3])).position[0, 1] == pytest.approx(1.0, abs=1e-5)


def test_scale_and_place_of_footage_are_those_of_the_virtual_camera() -> None:
    joints = standing(40)[None]
    points = see(joints, torch.zeros(1))
    torch.testing.assert_close(
        body_scale(points), torch.full((1, 40), UNITS_PER_METRE), rtol=0.05, atol=0
    )
    shown = see(shown_points(joints), torch.zeros(1))
    keypoints = torch.cat((2.5 * shown, torch.ones(1, 40, 22, 1)), dim=-1)
    keypoints[..., (3, 6, 9, 13, 14), 2] = 0.0  # what no detector shows
    found = view_points(keypoints)
    away = (found - found[:, :, :1]) - (points - points[:, :, :1])
    assert away.norm(dim=-1).mean() / UNITS_PER_METRE < 0.03  # metres


def test_gaps_are_bridged_and_batches_are_their_items() -> None:
    points = see(standing(30)[None], torch.tensor([math.pi / 3]))
    keypoints = torch.cat((points, torch.ones(1, 30, 22, 1)), dim=-1)
    keypoints[:, 10:14, sk.LEFT_ANKLE] = 0.0
    keypoints[:, :, sk.RIGHT_FOOT] = 0.0
    found = completed(keypoints)
    torch.testing.assert_close(
        found[:, 10:14, sk.LEFT_ANKLE], points[:, 10:14, sk.LEFT_ANKLE], rtol=0, atol=1e-4
    )
    torch.testing.assert_close(found[:, :, sk.RIGHT_FOOT], found[:, :, sk.RIGHT_ANKLE])
    both = view_points(torch.cat((keypoints, 1.5 * keypoints)))
    torch.testing.assert_close(both[:1], view_points(keypoints))
    assert view_points(torch.zeros(1, 3, 22, 3)).isfinite().all()


def test_who_runs_into_the_camera_is_seen_within_bounds() -> None:
    joints = standing(50).requires_grad_()
    far = torch.linspace(-30, 45, 50)[:, None, None] * torch.tensor((0.0, 0.0, 1.0))
    points = see((joints + far)[None], torch.zeros(1))
    points.sum().backward()
    assert points.abs().max() < 3
    assert joints.grad is not None
    assert joints.grad.isfinite().all()
    near = see(joints[None].detach(), torch.zeros(1))
    exact, _ = view_camera(torch.zeros(1, 1)).project(joints[None].detach())
    torch.testing.assert_close(near, exact)
