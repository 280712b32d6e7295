"""Bodies of other proportions, posed."""

from __future__ import annotations

import pytest
import torch

from engine.motion import proportions
from engine.motion import rotations as rot
from engine.motion.kinematics import bone_lengths, forward_kinematics
from engine.motion.skeleton import SMPL_22


def some_rotations(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return rot.normalise(torch.randn(count, 22, 4, generator=generator))


def test_the_built_in_body_is_posed_as_by_forward_kinematics() -> None:
    quaternions = some_rotations(5)
    offsets = proportions.rest_offsets(torch.zeros(13))
    joints, turned = proportions.pose_bodies(rot.quaternion_to_matrix(quaternions), offsets)
    expected, global_rotations = forward_kinematics(quaternions, torch.zeros(5, 3), SMPL_22)
    torch.testing.assert_close(joints, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        turned, rot.quaternion_to_matrix(global_rotations), atol=1e-5, rtol=1e-5
    )


def test_each_body_has_its_bones_whatever_its_pose() -> None:
    log_bones = 0.1 * torch.randn(5, 13, generator=torch.Generator().manual_seed(1))
    matrices = rot.quaternion_to_matrix(some_rotations(5))
    joints, _ = proportions.pose_bodies(matrices, proportions.rest_offsets(log_bones))
    for body, joint_positions in zip(log_bones, joints, strict=True):
        skeleton = proportions.skeleton_of(body)
        rest = torch.tensor(skeleton.rest_joints())
        torch.testing.assert_close(
            bone_lengths(joint_positions, SMPL_22), bone_lengths(rest, SMPL_22), atol=1e-5, rtol=0
        )
        order = [joint - 1 for joint in SMPL_22.mirror_order[1:]]
        lengths = bone_lengths(rest, SMPL_22)
        torch.testing.assert_close(lengths, lengths[order])


def test_the_size_is_taken_out_and_the_wrong_number_refused() -> None:
    body = torch.full((13,), 0.3)
    assert proportions.centred(body).abs().max() < 1e-6
    with pytest.raises(ValueError, match="13"):
        proportions.rest_offsets(torch.zeros(22))
