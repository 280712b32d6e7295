"""The theorem of learning 3D from 2D, and what the losses are at the truth and at the edges."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from engine.motion.camera import Camera, look_at
from trainer.losses.ray_losses import (
    DepthWeight,
    confidence_weights,
    contact_loss,
    floor_loss,
    reprojection_loss,
    reprojection_velocity_loss,
    see_joints,
)

EXACT = DepthWeight(linear_beyond=0.0)
SPREAD = torch.tensor([0.15, 0.1, 0.25])  # metres: what x_t leaves open
MEAN = torch.tensor([0.3, 1.0, -0.2])


def cameras(azimuths: Tensor, *, distance: float = 4.0, pitch: float = 0.0) -> Camera:
    """Cameras (1, N) that look at a point a metre up, from all azimuths."""
    flat = math.cos(pitch)
    aim = torch.tensor([0.0, 1.0, 0.0])
    away = torch.stack(
        (azimuths.sin() * flat, torch.full_like(azimuths, math.sin(pitch)), azimuths.cos() * flat),
        dim=-1,
    )
    rotation, translation = look_at(aim + distance * away, aim.expand(len(azimuths), 3))
    count = len(azimuths)
    return Camera(
        rotation=rotation[None],
        translation=translation[None],
        focal_length=torch.ones(1, count),
        principal_point=torch.zeros(1, count, 2),
    )


def minimiser(azimuths: Tensor, by: DepthWeight) -> tuple[Tensor, Tensor]:
    """Where one joint's loss is stationary, and the mean of what it truly was."""
    generator = torch.Generator().manual_seed(1)
    # pairs about the mean, seen by the same camera: no chance leans to a side
    half = SPREAD * torch.randn(len(azimuths) // 2, 3, generator=generator)
    truth = torch.cat((MEAN + half, MEAN - half))[None, :, None]
    camera = cameras(azimuths)
    points, _ = camera.project(truth)
    weights = torch.ones(truth.shape[:3])

    def gradient(place: Tensor) -> Tensor:
        found = place.clone().requires_grad_(True)
        seen = see_joints(found.expand(truth.shape), camera)
        reprojection_loss(seen, points, weights, by).sum().backward()
        assert found.grad is not None
        return found.grad.double()

    found = MEAN + torch.tensor([0.2, -0.2, 0.2])
    for _ in range(8):  # Newton's, with differences for the slope
        here = gradient(found)
        slope = [(gradient(found + 0.02 * axis) - here) / 0.02 for axis in torch.eye(3)]
        found = found - torch.linalg.solve(torch.stack(slope, dim=-1), here).float()
    return found, truth[0, :, 0].mean(0)


def spread_azimuths(arc: float, count: int = 8_000) -> Tensor:
    """Evenly over the arc, twice."""
    half = count // 2
    return (arc * ((torch.arange(half) + 0.5) / half - 0.5)).repeat(2)


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_seen_from_all_sides_the_minimum_is_the_3d_truth(power: float) -> None:
    by = DepthWeight(power=power, linear_beyond=0.0)
    found, mean = minimiser(spread_azimuths(2 * math.pi), by)
    assert (found - mean).norm() < 0.01 * mean.norm()


def test_in_an_arc_of_40_degrees_only_the_detached_weight_finds_it() -> None:
    azimuths = spread_azimuths(math.radians(40))
    found, mean = minimiser(azimuths, EXACT)
    assert (found - mean).norm() < 0.010
    walking = DepthWeight(is_detached=False, linear_beyond=0.0)
    found, mean = minimiser(azimuths, walking)
    assert (found - mean).norm() > 0.100


@pytest.mark.parametrize("pitch", [0.0, math.radians(11.25), math.radians(-22.5)])
def test_the_mean_loss_over_azimuths_is_3d_error_with_known_axis_weights(pitch: float) -> None:
    off = torch.tensor([0.3, -0.2, 0.5])
    azimuths = spread_azimuths(2 * math.pi, 4_000)
    camera = cameras(azimuths, distance=40.0, pitch=pitch)
    truth = torch.tensor([0.0, 1.0, 0.0]).expand(1, 4_000, 1, 3)
    points, _ = camera.project(truth)
    loss = reprojection_loss(
        see_joints(truth + off, camera), points, torch.ones(1, 4_000, 1), EXACT
    )
    level = math.cos(pitch) ** 2
    expected = (1 - level / 2) * (off[0] ** 2 + off[2] ** 2) + level * off[1] ** 2
    # the loss is the mean of both image axes
    scale = torch.tensor(30.0 / 40.0) ** 2  # weights grow no more beyond 30 m
    assert float(2 * loss / scale) == pytest.approx(float(expected), rel=0.01)


def test_the_weighted_error_is_linear_in_the_3d_error_whatever_its_size() -> None:
    generator = torch.Generator().manual_seed(3)
    camera = cameras(torch.rand(50, generator=generator) * 6)
    truth = torch.randn(1, 50, 1, 3, generator=generator)
    off = torch.randn(1, 50, 1, 3, generator=generator)
    points, _ = camera.project(truth)
    seen = see_joints(truth + off, camera)
    error = (camera.rotation @ off.mT).mT
    expected = error[..., :2] - points * error[..., 2:]
    found = seen.depth[..., None] * (seen.plane - points)
    assert seen.is_ahead.all()
    assert torch.allclose(found, expected, atol=1e-5)


def scene() -> tuple[Tensor, Camera, Tensor, Tensor]:
    """Joints (2, 9, 4, 3) that are seen, their cameras, keypoints and weights."""
    generator = torch.Generator().manual_seed(4)
    joints = torch.randn(2, 9, 4, 3, generator=generator) * 0.4 + MEAN
    one = cameras(torch.tensor([0.3, 2.0]))
    camera = Camera(
        rotation=one.rotation[0][:, None].expand(2, 9, 3, 3),
        translation=one.translation[0][:, None].expand(2, 9, 3),
        focal_length=torch.ones(2, 9),
        principal_point=torch.zeros(2, 9, 2),
    )
    points, _ = camera.project(joints)
    return joints, camera, points, torch.rand(2, 9, 4, generator=generator)


def test_losses_are_zero_at_the_truth_and_of_a_clip_alone() -> None:
    joints, camera, points, weights = scene()
    for loss in (reprojection_loss, reprojection_velocity_loss):
        seen = see_joints(joints, camera)
        assert loss(seen, points, weights, DepthWeight()).abs().max() < 1e-10
        off = see_joints(joints + 0.3 * torch.sin(joints), camera)
        both = loss(off, points, weights, DepthWeight())
        alone = see_joints(joints[1:] + 0.3 * torch.sin(joints[1:]), camera[1:])
        assert torch.allclose(loss(alone, points[1:], weights[1:], DepthWeight()), both[1:])
        # frames that don't count change nothing
        masked = weights.clone()
        masked[:, 6:] = 0
        changed = see_joints(torch.cat((joints[:, :6] + 0.1, joints[:, 6:] * 9), 1), camera)
        same = see_joints(joints + 0.1, camera)
        first, second = (loss(s, points, masked, DepthWeight()) for s in (changed, same))
        assert torch.allclose(first, second)


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_behind_the_camera_and_unseen_all_is_finite(power: float) -> None:
    joints, camera, points, weights = scene()
    behind = camera.position[:, :, None] * 2.0  # past the camera
    cases = [(behind.expand_as(joints), weights), (joints, torch.zeros_like(weights))]
    cases.append((camera.position[:, :, None].expand_as(joints), weights))
    for place, weight in cases:
        moved = place.clone().requires_grad_(True)
        by = DepthWeight(power=power)
        seen = see_joints(moved, camera)
        total = reprojection_loss(seen, points, weight, by).sum()
        total = total + reprojection_velocity_loss(seen, points, weight, by).sum()
        total.backward()
        assert total.item() == 0.0
        assert moved.grad is not None
        assert moved.grad.isfinite().all()
    # one frame behind: the rest still counts
    mixed = torch.cat((behind[:, :1].expand_as(joints[:, :1]), joints[:, 1:] + 0.1), dim=1)
    mixed = mixed.requires_grad_(True)
    loss = reprojection_loss(see_joints(mixed, camera), points, weights, DepthWeight(power=power))
    loss.sum().backward()
    assert (loss > 0).all()
    assert mixed.grad is not None
    assert mixed.grad.isfinite().all()
    assert mixed.grad[:, 0].abs().max() == 0


def test_all_powers_agree_at_the_typical_depth_and_long_errors_count_linearly() -> None:
    camera = cameras(torch.tensor([0.0]))
    truth = torch.tensor([[[[0.0, 1.0, 0.0]]]])
    points, _ = camera.project(truth)
    values = [
        float(
            reprojection_loss(
                see_joints(truth + torch.tensor([0.1, 0.0, 0.0]), camera),
                points,
                torch.ones(1, 1, 1),
                DepthWeight(power=power, linear_beyond=0.0),
            )
        )
        for power in (0.0, 1.0, 2.0)
    ]
    assert values == pytest.approx([0.005] * 3, rel=1e-4)
    far = see_joints(truth + torch.tensor([0.0, 10.0, 0.0]), camera)
    tamed = reprojection_loss(far, points, torch.ones(1, 1, 1), DepthWeight(linear_beyond=0.5))
    assert float(tamed) == pytest.approx(0.5 * 2 * 0.5 * 10, rel=0.06)
    with pytest.raises(ValueError, match="needs 0 to 2"):
        DepthWeight(power=3)


def test_confidence_decides_what_counts() -> None:
    confidence = torch.tensor([[[0.5, 0.2, 1.0]]])
    mask = torch.ones(1, 1, dtype=torch.bool)
    assert confidence_weights(confidence, mask)[0, 0].tolist() == pytest.approx([0.25, 0.04, 1])
    assert confidence_weights(confidence, mask, "threshold")[0, 0].tolist() == [1, 0, 1]
    assert confidence_weights(confidence, ~mask, "linear").sum() == 0
    with pytest.raises(ValueError, match="needs one of"):
        confidence_weights(confidence, mask, "cubic")


def test_feet_that_stand_are_held_and_the_floor_is_where_the_lowest_joint_is() -> None:
    feet = torch.zeros(1, 3, 4, 3)
    feet[0, 1:, 0, 0] = 0.1
    feet[0, :, 1, 1] = torch.tensor([0.0, 0.4, 0.0])  # up and down is no slide
    stands = torch.ones(1, 3, 4)
    mask = torch.ones(1, 3, dtype=torch.bool)
    assert float(contact_loss(feet, stands, mask)) == pytest.approx(0.01 / 8)
    assert float(contact_loss(feet, 0 * stands, mask)) == 0
    joints = torch.ones(1, 2, 3, 3)
    joints[0, :, 1, 1] = torch.tensor([0.1, 0.2])
    mask = torch.tensor([[True, False]])
    assert float(floor_loss(joints, mask)) == pytest.approx(0.01)
