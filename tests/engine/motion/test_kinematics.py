"""Forward kinematics against poses worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from engine.motion import rotations as rot
from engine.motion.kinematics import (
    bone_lengths,
    forward_kinematics,
    global_to_local,
    local_to_global,
)
from engine.motion.skeleton import SMPL_22, Skeleton

ARM = Skeleton(
    name="arm",
    joint_names=("shoulder", "elbow", "wrist"),
    parents=(-1, 0, 1),
    rest_offsets=((0.0, 0.0, 0.0), (2.0, 0.0, 0.0), (1.0, 0.0, 0.0)),
)


def random_rotations(*leading: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return rot.normalise(torch.randn(*leading, 4, generator=generator))


def test_bent_arm_by_hand() -> None:
    quarter = rot.axis_angle_to_quaternion(torch.tensor([0.0, 0.0, math.pi / 2]))
    local = torch.stack((quarter, quarter, quarter))
    joints, turned = forward_kinematics(local, torch.tensor([0.0, 1.0, 5.0]), ARM)
    # The shoulder's turn raises the upper arm; both turns point the forearm to -x.
    expected = torch.tensor([[0.0, 1.0, 5.0], [0.0, 3.0, 5.0], [-1.0, 3.0, 5.0]])
    torch.testing.assert_close(joints, expected, rtol=0, atol=1e-6)
    three_quarters = rot.axis_angle_to_quaternion(torch.tensor([0.0, 0.0, 1.5 * math.pi]))
    torch.testing.assert_close(turned[2], three_quarters, rtol=0, atol=1e-6)


def test_identity_is_the_rest_pose() -> None:
    local = rot.identity_quaternions(22, like=torch.zeros(1))
    joints, _ = forward_kinematics(local, torch.zeros(3), SMPL_22)
    torch.testing.assert_close(joints, torch.tensor(SMPL_22.rest_joints()))


def test_local_and_global_are_inverse() -> None:
    local = random_rotations(4, 22)
    back = global_to_local(local_to_global(local, SMPL_22), SMPL_22)
    torch.testing.assert_close(back, local, rtol=0, atol=1e-5)


def test_bone_lengths_are_those_of_the_skeleton() -> None:
    joints, _ = forward_kinematics(random_rotations(5, 22), torch.randn(5, 3), SMPL_22)
    lengths = torch.linalg.vector_norm(torch.tensor(SMPL_22.rest_offsets), dim=-1)[1:]
    torch.testing.assert_close(
        bone_lengths(joints, SMPL_22), lengths.expand(5, 21), rtol=0, atol=1e-5
    )


def test_batch_is_its_items_and_gradients_are_finite() -> None:
    local = random_rotations(2, 3, 22).requires_grad_()
    root = torch.randn(2, 3, 3)
    joints, turned = forward_kinematics(local, root, SMPL_22)
    for i in range(2):
        for j in range(3):
            one, one_turned = forward_kinematics(local[i, j], root[i, j], SMPL_22)
            torch.testing.assert_close(joints[i, j], one, rtol=0, atol=1e-6)
            torch.testing.assert_close(turned[i, j], one_turned, rtol=0, atol=1e-6)
    (gradient,) = torch.autograd.grad(joints.square().sum(), local)
    assert bool(torch.isfinite(gradient).all())


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="local_rotations"):
        forward_kinematics(torch.zeros(3, 21, 4), torch.zeros(3, 3), SMPL_22)
    with pytest.raises(ValueError, match="root_translation"):
        forward_kinematics(torch.zeros(3, 22, 4), torch.zeros(2, 3), SMPL_22)
    with pytest.raises(ValueError, match="global_rotations"):
        global_to_local(torch.zeros(22, 3), SMPL_22)
    with pytest.raises(ValueError, match="joints"):
        bone_lengths(torch.zeros(22, 4), SMPL_22)
