"""Known cameras and places are found again; noise costs what it should."""

from __future__ import annotations

import pytest
import torch

from engine.motion.camera_fit import (
    fit_focal_length,
    fit_root_translation,
    fit_weak_perspective,
)


def bodies(count: int, seed: int = 0) -> torch.Tensor:
    """Points spread like a body's joints, (count, 22, 3) metres, around the root."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 22, 3, generator=generator) * torch.tensor((0.25, 0.5, 0.25))


def on_plane(joints: torch.Tensor) -> torch.Tensor:
    return joints[..., :2] / joints[..., 2:]


def test_the_root_translation_is_found_exactly() -> None:
    joints = bodies(6)
    root = torch.tensor((0.5, -0.3, 4.0)).expand(6, 3) * torch.linspace(0.5, 2, 6)[:, None]
    plane = on_plane(joints + root[:, None])
    found = fit_root_translation(joints, plane, torch.ones(6, 22))
    torch.testing.assert_close(found, root, atol=1e-4, rtol=1e-4)
    alone = fit_root_translation(joints[2], plane[2], torch.ones(22))
    torch.testing.assert_close(alone, root[2], atol=1e-4, rtol=1e-4)


def test_noise_costs_centimetres_in_depth_and_less_across() -> None:
    generator = torch.Generator().manual_seed(1)
    joints, root = bodies(400), torch.tensor((0.3, 0.1, 4.0))
    plane = on_plane(joints + root)
    plane = plane + 0.004 * torch.randn(plane.shape, generator=generator)
    guess = joints + 0.03 * torch.randn(joints.shape, generator=generator)
    error = (fit_root_translation(guess, plane, torch.ones(400, 22)) - root).abs().mean(0)
    assert (error[:2] < 0.012).all()
    assert 0.005 < error[2] < 0.1


def test_a_keypoint_without_weight_does_not_count() -> None:
    joints, root = bodies(3), torch.tensor((0.2, 0.1, 3.0))
    plane = on_plane(joints + root)
    weights = torch.ones(3, 22)
    plane[:, 5], weights[:, 5] = 40.0, 0.0
    found = fit_root_translation(joints, plane, weights)
    torch.testing.assert_close(found, root.expand(3, 3), atol=1e-4, rtol=1e-4)


def test_where_there_are_no_keypoints_the_prior_decides() -> None:
    joints = bodies(1)
    nothing = torch.zeros(1, 22)
    found = fit_root_translation(joints, torch.zeros(1, 22, 2), nothing)
    assert found.abs().max() == 0
    found = fit_root_translation(
        joints, torch.zeros(1, 22, 2), nothing, depth_prior=torch.tensor([5.0]), prior_weight=0.1
    )
    torch.testing.assert_close(found, torch.tensor([[0.0, 0.0, 5.0]]))


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="plane_points"):
        fit_root_translation(bodies(2), torch.zeros(2, 21, 2), torch.ones(2, 22))
    with pytest.raises(ValueError, match="weights"):
        fit_root_translation(bodies(2), torch.zeros(2, 22, 2), torch.ones(22))


def test_weak_perspective_is_found_and_beats_the_anisotropic_fit_in_noise() -> None:
    joints = bodies(300)
    generator = torch.Generator().manual_seed(2)
    points = 0.8 * joints[..., :2] + torch.tensor((0.1, -0.4))
    scale, shift = fit_weak_perspective(joints, points, torch.ones(300, 22))
    torch.testing.assert_close(scale, torch.full((300,), 0.8))
    torch.testing.assert_close(shift, torch.tensor((0.1, -0.4)).expand(300, 2))
    noisy = points + 0.05 * torch.randn(points.shape, generator=generator)
    scale, _ = fit_weak_perspective(joints, noisy, torch.ones(300, 22))
    centred = joints[..., :2] - joints[..., :2].mean(1, keepdim=True)
    seen = noisy - noisy.mean(1, keepdim=True)
    solved = torch.linalg.solve(centred.mT @ centred, centred.mT @ seen)
    other = solved.diagonal(dim1=-2, dim2=-1).mean(-1)
    assert (scale - 0.8).square().mean() < 0.7 * (other - 0.8).square().mean()


def test_a_pose_that_is_turned_round_keeps_the_least_scale() -> None:
    joints = bodies(1)
    scale, _ = fit_weak_perspective(joints, -joints[..., :2], torch.ones(1, 22), min_scale=0.3)
    assert scale == pytest.approx(0.3)


@pytest.mark.parametrize("focal", [1.2, 2.3, 3.0])
def test_the_focal_length_is_found_near_by_and_said_to_be_loose_far_off(focal: float) -> None:
    joints = bodies(40)
    generator = torch.Generator().manual_seed(3)

    def fit(distance: float) -> tuple[float, float]:
        root = torch.tensor((0.1, 0.0, distance))
        image = focal * on_plane(joints + root)
        image = image + 0.002 * torch.randn(image.shape, generator=generator)
        found, evidence = fit_focal_length(joints, image, torch.ones(40, 22))
        return float(found), float(evidence)

    near, evidence = fit(2.5)
    assert near == pytest.approx(focal, rel=0.05)
    assert evidence > 3 * fit(25.0)[1]
