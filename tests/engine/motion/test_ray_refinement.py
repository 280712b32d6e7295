"""Poses move onto the rays of their keypoints where these agree, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import torch

from engine.motion import rotations as rot
from engine.motion.lifting import Lift, Observation, motion_of_lift, refine
from engine.motion.ray_refinement import corrections
from tests.engine.motion.test_lifting import seen


def bent(lift: Lift, angle: float) -> Lift:
    """The lift with elbows, knees and the trunk a constant angle off."""
    turns = torch.zeros(22, 3)
    turns[[3, 4, 17, 18]] = angle * torch.tensor((0.5, 0.3, 0.8))
    wrong = rot.quaternion_to_matrix(rot.axis_angle_to_quaternion(turns))
    return replace(lift, local_rotations=lift.local_rotations @ wrong)


def in_camera(lift: Lift, observation: Observation) -> torch.Tensor:
    motion = motion_of_lift(lift, observation, lock=False)
    assert motion.camera is not None
    return motion.camera.to_camera(motion.joints())


def test_a_perfect_lift_stays() -> None:
    lift, observation, _ = seen()
    expected = in_camera(lift, observation)
    found = in_camera(refine(lift, observation), observation)
    assert (found - expected).norm(dim=-1).mean() < 0.01


def test_a_bent_lift_comes_nearer_the_truth() -> None:
    lift, observation, _ = seen()
    truth = in_camera(lift, observation)
    wrong = bent(lift, 0.35)
    before = (in_camera(wrong, observation) - truth).norm(dim=-1).mean()
    for seconds in (0.0, 0.15):
        better = refine(wrong, observation, seconds=seconds)
        after = (in_camera(better, observation) - truth).norm(dim=-1).mean()
        assert after < 0.75 * before
        torch.testing.assert_close(better.log_bones, lift.log_bones)


def test_without_keypoints_and_by_slips_nothing_moves() -> None:
    generator = torch.Generator().manual_seed(0)
    points = 0.4 * torch.randn(30, 22, 3, generator=generator) + torch.tensor((0.0, 0.0, 4.0))
    plane = points[..., :2] / points[..., 2:]
    moved = corrections(points, plane + 0.02, torch.zeros(30, 22), frames=3.0)
    assert moved.abs().max() < 1e-6
    slipped = plane.clone()
    slipped[15, 20] += 0.5  # one wrist, two metres off in one frame
    moved = corrections(points, slipped, torch.ones(30, 22), frames=3.0)
    assert moved.norm(dim=-1).max() < 0.03


def test_what_keypoints_agree_on_is_followed_and_jitter_is_not() -> None:
    generator = torch.Generator().manual_seed(1)
    points = torch.tensor((0.0, 0.0, 4.0)).expand(60, 22, 3)
    jitter = 0.01 * torch.randn(60, 22, 2, generator=generator)
    shifted = points[..., :2] / 4 + torch.tensor((0.02, 0.0)) + jitter
    moved = corrections(points, shifted, torch.full((60, 22), 0.9), frames=3.0)[:, 20]
    assert 0.05 < float(moved[:, 0].mean()) < 0.08  # of 8 cm
    assert moved[:, 0].std() < 0.4 * 4 * 0.01
