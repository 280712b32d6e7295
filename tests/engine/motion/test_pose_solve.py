"""Rotations solved from positions: they reproduce the positions and never flip."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.motion import rotations as rot
from engine.motion import skeleton as sk
from engine.motion.kinematics import forward_kinematics
from engine.motion.pose_solve import solve_local_rotations
from engine.motion.skeleton import SMPL_22


def posed(turns: dict[int, Tensor], num_frames: int) -> Tensor:
    """Joint positions of the rest pose with rotation vectors (T, 3) at some joints."""
    local = rot.identity_quaternions(num_frames, 22, like=torch.zeros(1))
    columns = list(local.unbind(1))
    for joint, vectors in turns.items():
        columns[joint] = rot.axis_angle_to_quaternion(vectors.expand(num_frames, 3))
    return forward_kinematics(torch.stack(columns, dim=1), torch.zeros(num_frames, 3), SMPL_22)[0]


def solved_joints(joints: Tensor) -> Tensor:
    local = solve_local_rotations(joints)
    return forward_kinematics(local, joints[:, 0], SMPL_22)[0]


def largest_step(local: Tensor) -> float:
    """Largest turn in degrees of any joint from one frame to the next."""
    dot = (local[1:] * local[:-1]).sum(-1).clamp(-1.0, 1.0)
    return float(torch.rad2deg(2 * torch.acos(dot)).max())


def test_rest_pose_is_the_identity() -> None:
    local = solve_local_rotations(posed({}, 5))
    identity = rot.identity_quaternions(5, 22, like=local)
    # The head's rest direction is met by a swing: float32 of its square root.
    torch.testing.assert_close(local.abs(), identity, rtol=0, atol=1e-3)


def test_bent_knees_and_elbows_are_pure_hinges() -> None:
    turns = {
        sk.LEFT_HIP: torch.tensor([-1.2, 0.0, 0.0]),
        sk.LEFT_KNEE: torch.tensor([1.5, 0.0, 0.0]),
        sk.RIGHT_ELBOW: torch.tensor([0.0, 1.0, 0.0]),
        sk.LEFT_ELBOW: torch.tensor([0.0, -0.7, 0.0]),
    }
    local = solve_local_rotations(posed(turns, 8))
    for joint, vector in turns.items():
        found = rot.quaternion_to_axis_angle(local[:, joint])
        torch.testing.assert_close(found, vector.expand(8, 3), rtol=0, atol=2e-3)


def test_twist_of_the_thigh_is_seen_in_the_bent_knee() -> None:
    turns = {
        sk.RIGHT_HIP: torch.tensor([0.0, -0.6, 0.0]),
        sk.RIGHT_KNEE: torch.tensor([1.4, 0.0, 0.0]),
    }
    local = solve_local_rotations(posed(turns, 8))
    found = rot.quaternion_to_axis_angle(local[:, sk.RIGHT_HIP])
    # The foot's word and the untwisted axis pull a little.
    torch.testing.assert_close(found, turns[sk.RIGHT_HIP].expand(8, 3), rtol=0, atol=0.05)


def test_straight_arm_sweep_does_not_flip() -> None:
    """A straight left arm, shaking by a fraction of a degree, swings from hanging to overhead."""
    frames = 90
    angle = torch.linspace(-1.4, 1.4, frames)
    shake = 0.01 * torch.sin(torch.arange(frames) * 2.1)
    zero = torch.zeros(frames)
    joints = posed(
        {
            sk.LEFT_SHOULDER: torch.stack((zero, zero, angle), dim=1),
            sk.LEFT_ELBOW: torch.stack((zero, shake, -shake), dim=1),
        },
        frames,
    )
    local = solve_local_rotations(joints)
    # The sweep is 1.8 degrees per frame; the shake turns the elbow by up to 1.4.
    assert largest_step(local) < 4.0
    torch.testing.assert_close(solved_joints(joints), joints, rtol=0, atol=1e-5)


def test_overstretched_knee_does_not_flip() -> None:
    frames = 40
    bend = 0.5 * torch.cos(torch.arange(frames) * 0.2) + 0.42  # to 5 degrees the wrong way
    zero = torch.zeros(frames)
    joints = posed({sk.LEFT_KNEE: torch.stack((bend, zero, zero), dim=1)}, frames)
    local = solve_local_rotations(joints)
    assert largest_step(local) < 8.0
    hinge = rot.rotate(local[:, sk.LEFT_HIP], torch.tensor([1.0, 0.0, 0.0]).expand(frames, 3))
    assert float(hinge[:, 0].min()) > 0.9


def test_turning_on_the_spot_stays_continuous() -> None:
    frames = 60
    turn = torch.linspace(0, 4 * math.pi, frames)
    zero = torch.zeros(frames)
    joints = posed({sk.PELVIS: torch.stack((zero, turn, zero), dim=1)}, frames)
    local = solve_local_rotations(joints)
    assert float((local[1:] * local[:-1]).sum(-1).min()) > 0.9
    heading = rot.quaternion_to_heading(local[:, 0])
    expected = torch.atan2(torch.sin(turn), torch.cos(turn))
    assert float(torch.cos(heading - expected).min()) > 0.9999


def test_spine_shares_the_turn_of_the_chest() -> None:
    twist = torch.tensor([0.0, 0.2, 0.0])
    joints = posed({sk.SPINE1: twist, sk.SPINE2: twist, sk.SPINE3: twist}, 3)
    local = solve_local_rotations(joints)
    for joint in (sk.SPINE1, sk.SPINE2, sk.SPINE3):
        found = rot.quaternion_to_axis_angle(local[:, joint])
        torch.testing.assert_close(found, twist.expand(3, 3), rtol=0, atol=2e-3)


def test_200_frames_are_quick() -> None:
    joints = posed({}, 200) + 0.01 * torch.randn(200, 22, 3)
    solve_local_rotations(joints)
    times: list[float] = []
    for _ in range(5):
        start = time.thread_time()
        solve_local_rotations(joints)
        times.append(time.thread_time() - start)
    # 12 ms of a core. Processor time, because other work may share the machine.
    assert min(times) < 0.1


def test_one_frame_is_enough() -> None:
    assert solve_local_rotations(posed({}, 1)).shape == (1, 22, 4)


@pytest.mark.parametrize("shape", [(22, 3), (5, 21, 3), (0, 22, 3), (2, 5, 22, 3)])
def test_wrong_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="joints"):
        solve_local_rotations(torch.zeros(shape))


def test_numbers_that_are_not_finite_are_refused() -> None:
    joints = posed({}, 3)
    joints[1, 4, 0] = float("nan")
    with pytest.raises(ValueError, match="finite"):
        solve_local_rotations(joints)


def test_real_clips_keep_their_limbs(real_data: Path) -> None:
    """Bone directions of limbs are met exactly, whatever the clip's own skeleton."""
    files = sorted((real_data / "motion" / "free" / "new_joints").glob("*.npy"))[:200:25]
    bones = [4, 5, 7, 8, 10, 11, 18, 19, 20, 21]
    parents = [SMPL_22.parents[joint] for joint in bones]
    for file in files:
        joints = torch.from_numpy(np.load(file)).float()
        again = solved_joints(joints)
        own = rot.normalise(joints[:, bones] - joints[:, parents])
        found = rot.normalise(again[:, bones] - again[:, parents])
        torch.testing.assert_close(found, own, rtol=0, atol=1e-3)
