"""Where joints are in a picture, told by a lift and by a detector's points."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from engine.motion import rotations as rot
from engine.motion.camera import Camera
from engine.motion.joint_points import joint_points
from engine.motion.keypoint_layout import keypoints_of_pose
from engine.motion.kinematics import forward_kinematics
from engine.motion.motion import Motion
from engine.motion.skeleton import HEAD, LEFT_HIP, LEFT_WRIST, SMPL_22, SPINE2

FRAMES = 6


@pytest.fixture
def motion() -> Motion:
    turns = 0.3 * torch.randn(FRAMES, 22, 3, generator=torch.Generator().manual_seed(0))
    return Motion(
        fps=20.0,
        skeleton=SMPL_22,
        root_translation=torch.tensor([0.0, 0.9, 0.0]).repeat(FRAMES, 1),
        local_rotations=rot.axis_angle_to_quaternion(turns),
        contacts=torch.zeros(FRAMES, 4),
        camera=Camera(
            rotation=torch.diag(torch.tensor([1.0, -1.0, -1.0])).repeat(FRAMES, 1, 1),
            translation=torch.tensor([0.0, 1.0, 4.0]).repeat(FRAMES, 1),
            focal_length=torch.full((FRAMES,), 2.0),
            principal_point=torch.full((FRAMES, 2), 0.1),
        ),
    )


def keypoints_of(motion: Motion) -> torch.Tensor:
    """What a detector would say of it, in image units."""
    assert motion.camera is not None
    joints, turned = forward_kinematics(
        motion.local_rotations, motion.root_translation, motion.skeleton
    )
    shown = keypoints_of_pose(joints, rot.quaternion_to_matrix(turned[:, HEAD]))
    return torch.cat((motion.camera.project(shown)[0], torch.ones(FRAMES, 22, 1)), dim=-1)


def test_a_true_lift_finds_its_own_joints(motion: Motion) -> None:
    assert motion.camera is not None
    points, confidence = joint_points(motion, keypoints_of(motion))
    true = motion.camera.to_plane(motion.camera.project(motion.joints())[0])
    assert (points - true).abs().max() < 1e-5
    assert float(confidence[0, LEFT_WRIST]) == 1.0
    assert float(confidence[0, SPINE2]) == 0.5


def test_the_trunk_goes_with_hips_and_shoulders_and_what_is_unseen_is_nowhere(
    motion: Motion,
) -> None:
    keypoints = keypoints_of(motion)
    still, _ = joint_points(motion, keypoints)
    keypoints[..., :2] += 0.1
    keypoints[2, LEFT_WRIST, 2] = 0.0
    keypoints[3, LEFT_HIP, 2] = 0.0
    moved, confidence = joint_points(motion, keypoints)
    assert moved[0] - still[0] == pytest.approx(torch.full((22, 2), 0.05).numpy(), abs=1e-5)
    assert moved[2, LEFT_WRIST].tolist() == [0.0, 0.0]
    assert float(confidence[3, SPINE2]) == 0.0


def test_a_motion_without_a_camera_is_refused(motion: Motion) -> None:
    with pytest.raises(ValueError, match="camera"):
        joint_points(replace(motion, camera=None), keypoints_of(motion))
