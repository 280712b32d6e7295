"""Losses of lifted poses: zero at the truth, blind to what is masked, finite everywhere."""

from __future__ import annotations

import pytest
import torch

from engine.motion import rotations as rot
from trainer.losses.adversarial import PoseCritic, critic_loss, fooling_loss
from trainer.losses.pose_terms import (
    direction_loss,
    joint_loss,
    log_error_loss,
    motion_losses,
    rotation_loss,
)
from trainer.losses.reprojection import best_root, keypoint_loss, place_and_project


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def poses(count: int = 3, frames: int = 8) -> torch.Tensor:
    return 0.4 * torch.randn(count, frames, 22, 3, generator=seeded())


def half_mask() -> torch.Tensor:
    mask = torch.ones(3, 8, dtype=torch.bool)
    mask[1, 4:] = False
    mask[2] = False
    return mask


def test_position_losses_are_mean_distances_of_what_counts() -> None:
    true, mask = poses(), half_mask()
    shift = torch.tensor((0.03, 0.0, 0.04))
    assert joint_loss(true, true, mask) < 1e-3
    predicted = true + shift
    assert joint_loss(predicted, true, mask) == pytest.approx(0.05, rel=1e-3)
    predicted[~mask] += 100.0
    assert joint_loss(predicted, true, mask) == pytest.approx(0.05, rel=1e-3)
    steps, changes = motion_losses(predicted, true, mask)
    assert max(float(steps), float(changes)) < 1e-3  # a shift is no step
    predicted = true + 0.01 * torch.arange(8.0)[:, None, None] * torch.tensor((1.0, 0.0, 0.0))
    steps, changes = motion_losses(predicted, true, mask)
    assert steps == pytest.approx(0.01, rel=0.02)
    assert changes < 1e-3


def test_nothing_to_count_is_zero_with_finite_gradients() -> None:
    predicted = poses().requires_grad_()
    nothing = torch.zeros(3, 8, dtype=torch.bool)
    total = joint_loss(predicted, poses(), nothing) + joint_loss(predicted, poses(), ~nothing)
    steps, changes = motion_losses(predicted, poses(), nothing)
    (total + steps + changes).backward()
    assert joint_loss(predicted, poses(), nothing) == 0
    assert predicted.grad is not None
    assert predicted.grad.isfinite().all()


def test_rotation_loss_is_that_of_the_angle() -> None:
    turn = rot.quaternion_to_matrix(
        rot.axis_angle_to_quaternion(torch.tensor((0.0, 0.3, 0.0)).expand(3, 8, 22, 3))
    )
    identity = torch.eye(3).expand(3, 8, 22, 3, 3)
    expected = 2 * (1 - torch.cos(torch.tensor(0.3)))  # half of 8 sin2(angle / 2)
    torch.testing.assert_close(rotation_loss(turn, identity, half_mask()), expected)


def test_directions_and_errors() -> None:
    up = torch.tensor((0.0, -1.0, 0.0)).expand(3, 8, 3)
    assert direction_loss(5 * up, up, half_mask()) == pytest.approx(0.0, abs=1e-6)
    assert direction_loss(-up, up, half_mask()) == pytest.approx(2.0)
    errors = torch.full((3, 8, 22), 0.05)
    assert log_error_loss(errors.log(), errors, half_mask()) == pytest.approx(0.0, abs=1e-6)
    assert log_error_loss((2 * errors).log(), errors, half_mask()) == pytest.approx(0.693, abs=1e-3)


def scene() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    points, root = poses(), torch.tensor((0.2, -0.1, 4.0)).expand(3, 8, 3)
    boxes = torch.tensor((0.05, 0.0, 0.25)).expand(3, 8, 3)
    seen, _ = place_and_project(points, root, boxes)
    return points, root, boxes, torch.cat((seen, torch.ones(3, 8, 22, 1)), dim=-1)


def test_keypoint_loss_is_zero_at_the_truth_and_weighed_by_confidence() -> None:
    points, root, boxes, keypoints = scene()
    mask = half_mask()
    assert keypoint_loss(points, root, boxes, keypoints, mask) == pytest.approx(0.0, abs=1e-6)
    wrong = keypoints.clone()
    wrong[:, :, 20, 0] += 0.5
    assert keypoint_loss(points, root, boxes, wrong, mask) == pytest.approx(0.5 / 22, rel=1e-3)
    wrong[:, :, 20, 2] = 0.0
    assert keypoint_loss(points, root, boxes, wrong, mask) == pytest.approx(0.0, abs=1e-6)


def test_behind_the_camera_and_without_keypoints_gradients_are_finite() -> None:
    points, root, boxes, keypoints = scene()
    behind = (root * torch.tensor((1.0, 1.0, -0.2))).requires_grad_()
    keypoint_loss(points, behind, boxes, keypoints, half_mask()).backward()
    assert behind.grad is not None
    assert behind.grad.isfinite().all()
    keypoints[..., 2] = 0.0
    assert keypoint_loss(points, root, boxes, keypoints, half_mask()) == 0


def test_the_best_root_is_the_true_one_without_a_gradient() -> None:
    points, root, boxes, keypoints = scene()
    plane = keypoints[..., :2] * boxes[..., None, 2:] + boxes[..., None, :2]
    guess = root * 1.3
    found = best_root(points.requires_grad_(), plane, keypoints[..., 2], guess)
    torch.testing.assert_close(found, root, atol=0.02, rtol=0)
    assert not found.requires_grad
    turned = points * torch.tensor((-1.0, -1.0, 1.0))
    depth = best_root(turned, plane, keypoints[..., 2], guess)[..., 2]
    assert (depth >= 0.5 * guess[..., 2] - 1e-5).all()
    assert (depth <= 2.0 * guess[..., 2] + 1e-5).all()


def test_the_critic_learns_to_tell_real_from_made_up() -> None:
    torch.manual_seed(0)
    critic = PoseCritic(hidden=32)
    optimizer = torch.optim.Adam(critic.parameters(), lr=3e-3)
    generator = seeded(1)

    def draw(spread: float) -> torch.Tensor:
        angles = spread * torch.randn(64, 22, 3, generator=generator)
        return rot.quaternion_to_matrix(rot.axis_angle_to_quaternion(angles))

    for _ in range(80):
        loss = critic_loss(critic(draw(0.2)), critic(draw(1.2)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        real, fake = critic(draw(0.2)), critic(draw(1.2))
    assert real.shape == (64, 22)
    assert real.mean() > 0.7
    assert fake.mean() < 0.3
    assert fooling_loss(real) < 0.5 * fooling_loss(fake)
