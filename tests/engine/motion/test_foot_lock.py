"""Locking feet: a synthetic slide goes, a clean motion stays, nothing pops or sinks."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from engine.motion import rotations as rot
from engine.motion import skeleton as sk
from engine.motion.contacts import floor_penetration, foot_slide, spans
from engine.motion.foot_lock import lock_feet, place_on_floor
from engine.motion.kinematics import bone_lengths, local_to_global
from engine.motion.leg_ik import ANKLES, TOES, place_feet
from engine.motion.motion import Motion
from engine.motion.skeleton import SMPL_22

FPS = 20.0


def crouching_motion(num_frames: int, *, bend: float = 0.35) -> Motion:
    """Standing still with bent knees and flat feet."""
    local = rot.identity_quaternions(num_frames, 22, like=torch.zeros(1))
    columns = list(local.unbind(1))
    for joint, angle in (
        (sk.LEFT_HIP, -bend),
        (sk.RIGHT_HIP, -bend),
        (sk.LEFT_KNEE, 2 * bend),
        (sk.RIGHT_KNEE, 2 * bend),
        (sk.LEFT_ANKLE, -bend),
        (sk.RIGHT_ANKLE, -bend),
    ):
        vector = torch.tensor([angle, 0.0, 0.0]).expand(num_frames, 3)
        columns[joint] = rot.axis_angle_to_quaternion(vector)
    motion = Motion(
        fps=FPS,
        skeleton=SMPL_22,
        root_translation=torch.zeros(num_frames, 3),
        local_rotations=torch.stack(columns, dim=1),
        contacts=torch.zeros(num_frames, 4),
    )
    return place_on_floor(motion)


def moved(motion: Motion, offsets: Tensor) -> Motion:
    return replace(motion, root_translation=motion.root_translation + offsets)


def peak_acceleration(motion: Motion) -> float:
    steps = torch.diff(motion.joints(), n=2, dim=0) * motion.fps**2
    return float(torch.linalg.vector_norm(steps, dim=-1).max())


def test_a_clean_motion_is_left_alone() -> None:
    motion = crouching_motion(30)
    result = lock_feet(motion)
    assert bool((result.contacts == 1).all())
    torch.testing.assert_close(result.joints(), motion.joints(), rtol=0, atol=1e-4)
    same = (result.local_rotations * motion.local_rotations).sum(-1).abs()
    assert float((1 - same).max()) < 1e-5


def test_a_slide_is_stopped_and_bones_keep_their_length() -> None:
    time = torch.arange(60) / FPS
    sway = torch.stack((0.03 * torch.sin(3 * time), 0 * time, 0.04 * torch.sin(2 * time)), dim=1)
    motion = moved(crouching_motion(60), sway)
    before = foot_slide(motion.joints(), torch.ones(60, 4), FPS)
    result = lock_feet(motion)
    after = foot_slide(result.joints(), result.contacts, FPS)
    assert before.metres_per_second > 0.05
    assert after.metres_per_second < 1e-3
    assert after.contact_share > 0.95
    torch.testing.assert_close(
        bone_lengths(result.joints(), SMPL_22),
        bone_lengths(motion.joints(), SMPL_22),
        rtol=0,
        atol=1e-5,
    )
    # The body still sways: only the legs have been changed.
    torch.testing.assert_close(result.joints()[:, 15], motion.joints()[:, 15], rtol=0, atol=1e-4)
    assert peak_acceleration(result) < peak_acceleration(motion) + 1.0


def test_a_step_still_steps_and_does_not_pop() -> None:
    time = torch.arange(60) / FPS
    phase = ((time - 1.0) / 0.6).clamp(0.0, 1.0)
    slide = torch.stack((0.02 * torch.sin(4 * time), 0 * time, 0 * time), dim=1)
    motion = moved(crouching_motion(60), slide)
    lift = -0.5 * torch.sin(phase * torch.pi) ** 2
    hip = motion.local_rotations[:, sk.LEFT_HIP]
    swing = rot.axis_angle_to_quaternion(lift[:, None] * torch.tensor([1.0, 0.0, 0.0]))
    columns = list(motion.local_rotations.unbind(1))
    columns[sk.LEFT_HIP] = rot.multiply(swing, hip)
    motion = replace(motion, local_rotations=torch.stack(columns, dim=1))
    result = lock_feet(motion)
    left = spans(result.contacts[:, 1])
    assert len(left) == 2
    assert bool((result.contacts[:, 3] == 1).all())
    raised = (result.joints()[:, sk.LEFT_FOOT, 1].max(), motion.joints()[:, sk.LEFT_FOOT, 1].max())
    assert float(raised[0]) == pytest.approx(float(raised[1]), abs=0.02)
    assert foot_slide(result.joints(), result.contacts, FPS).metres_per_second < 1e-3
    assert peak_acceleration(result) < 1.3 * peak_acceleration(motion) + 1.0


def test_sinking_feet_come_up_to_the_floor() -> None:
    time = torch.arange(50) / FPS
    sink = -0.03 * (1 - torch.cos(2 * time))
    motion = moved(crouching_motion(50), sink[:, None] * torch.tensor([0.0, 1.0, 0.0]))
    result = lock_feet(motion)
    assert float(floor_penetration(motion.joints()).max()) > 0.05
    assert float(floor_penetration(result.joints()).max()) < 2e-3


def test_a_floating_standing_motion_reaches_the_floor() -> None:
    motion = moved(crouching_motion(30, bend=0.05), torch.tensor([0.0, 0.03, 0.0]))
    result = lock_feet(motion)
    toes = result.joints()[:, TOES, 1]
    assert float(toes.abs().max()) < 2e-3  # the hips have come down: the legs were nearly straight
    assert float(motion.joints()[:, TOES, 1].min()) > 0.025


def test_a_hand_under_the_floor_lifts_the_body() -> None:
    motion = moved(crouching_motion(40), torch.tensor([0.0, 0.0, 0.0]))
    turned = rot.axis_angle_to_quaternion(torch.tensor([1.75, 0.0, 0.0])).expand(40, 4)
    columns = list(motion.local_rotations.unbind(1))
    columns[sk.PELVIS] = turned  # face down, a hand's breadth over the floor
    columns[sk.LEFT_SHOULDER] = rot.axis_angle_to_quaternion(torch.tensor([0.0, -1.5, 0.0])).expand(
        40, 4
    )
    motion = replace(motion, local_rotations=torch.stack(columns, dim=1))
    lowest = float(motion.joints()[..., 1].min())
    motion = moved(motion, torch.tensor([0.0, -lowest - 0.05, 0.0]))
    assert float(floor_penetration(lock_feet(motion).joints()).max()) < 5e-3


def test_probabilities_decide_which_feet_stand() -> None:
    motion = crouching_motion(40)
    probabilities = torch.ones(40, 4)
    probabilities[:, :2] = 0.0
    result = lock_feet(motion, contact_probabilities=probabilities)
    assert bool((result.contacts[:, :2] == 0).all())
    assert bool((result.contacts[:, 2:] == 1).all())


def test_fast_sliding_feet_are_locked_when_the_model_says_that_they_stand() -> None:
    frames = torch.arange(24, dtype=torch.float32)
    slide = frames[:, None] / FPS * torch.tensor([0.0, 0.0, 0.3])
    motion = moved(crouching_motion(24), slide)
    assert float(lock_feet(motion).contacts.mean()) < 0.1
    result = lock_feet(motion, contact_probabilities=torch.ones(24, 4))
    assert float(result.contacts.mean()) > 0.4
    assert foot_slide(result.joints(), result.contacts, FPS).metres_per_second < 1e-3


def test_a_foot_that_drags_is_lifted_as_it_swings() -> None:
    motion = crouching_motion(60)
    going = torch.zeros(60, 3)
    going[20:40, 2] = torch.linspace(0, 1.8, 20)  # at 1.8 m/s, both feet along the floor
    going[40:, 2] = 1.8
    result = lock_feet(moved(motion, going))
    toes = result.joints()[:, sk.LEFT_FOOT]
    assert float(toes[27:33, 1].min()) > 0.05
    assert float(toes[:15, 1].max()) < 0.03  # still where it stands
    assert float(toes[45:, 1].max()) < 0.03
    assert peak_acceleration(result) < 1.5 * peak_acceleration(moved(motion, going))
    torch.testing.assert_close(
        bone_lengths(result.joints(), SMPL_22),
        bone_lengths(motion.joints(), SMPL_22),
        rtol=0,
        atol=1e-4,
    )


def test_a_foot_that_was_seen_to_drag_is_left_as_low_as_it_was() -> None:
    motion = crouching_motion(60)
    going = torch.zeros(60, 3)
    going[20:40, 2] = torch.linspace(0, 1.8, 20)
    going[40:, 2] = 1.8
    dragged = moved(motion, going)
    result = lock_feet(dragged, clearance=0.0)
    before, after = dragged.joints()[:, sk.LEFT_FOOT, 1], result.joints()[:, sk.LEFT_FOOT, 1]
    assert float((after - before)[25:35].abs().max()) < 0.01
    knees = [one.joints()[30, sk.LEFT_KNEE] - going[30] for one in (dragged, result)]
    assert float((knees[0] - knees[1]).norm()) < 0.02  # it isn't bent by a foot that is lifted


@pytest.mark.parametrize("num_frames", [1, 2, 3])
def test_short_motions_pass(num_frames: int) -> None:
    assert lock_feet(crouching_motion(num_frames)).num_frames == num_frames


def test_place_on_floor_ignores_single_dips() -> None:
    motion = moved(crouching_motion(60), torch.tensor([0.3, 0.7, 0.0]))
    root = motion.root_translation.clone()
    root[30, 1] -= 0.5
    result = place_on_floor(replace(motion, root_translation=root))
    assert float(result.joints()[0, :, 1].min()) == pytest.approx(0.0, abs=1e-4)
    assert float(result.root_translation[0, 0]) == pytest.approx(0.3)


def test_legs_reach_any_place_within_reach_with_the_knee_in_front() -> None:
    motion = crouching_motion(50, bend=0.5)
    generator = torch.Generator().manual_seed(1)
    offsets = 0.12 * (torch.rand(50, 2, 3, generator=generator) - 0.5)
    joints = motion.joints()
    ankles, toes = joints[:, ANKLES] + offsets, joints[:, TOES] + offsets
    turned = local_to_global(motion.local_rotations, SMPL_22)
    local = place_feet(turned, motion.root_translation, ankles, toes, motion)
    found = replace(motion, local_rotations=local).joints()
    torch.testing.assert_close(found[:, ANKLES], ankles, rtol=0, atol=2e-4)
    torch.testing.assert_close(found[:, TOES], toes, rtol=0, atol=2e-4)
    middle = (found[:, [1, 2]] + found[:, ANKLES]) / 2
    assert bool((found[:, [4, 5], 2] > middle[..., 2]).all())


def test_a_place_out_of_reach_stretches_the_leg_towards_it() -> None:
    motion = crouching_motion(4)
    joints = motion.joints()
    offset = torch.tensor([0.0, -1.0, 0.0])
    turned = local_to_global(motion.local_rotations, SMPL_22)
    local = place_feet(
        turned,
        motion.root_translation,
        joints[:, ANKLES] + offset,
        joints[:, TOES] + offset,
        motion,
    )
    found = replace(motion, local_rotations=local).joints()
    reach = torch.linalg.vector_norm(found[:, ANKLES] - found[:, [1, 2]], dim=-1)
    assert float((reach - 0.985 * (0.392 + 0.429)).abs().max()) < 1e-3


def test_what_does_not_fit_is_refused() -> None:
    motion = crouching_motion(5)
    with pytest.raises(ValueError, match="contact_probabilities"):
        lock_feet(motion, contact_probabilities=torch.ones(5, 3))
    chain = sk.Skeleton(
        name="chain",
        joint_names=("a", "b"),
        parents=(-1, 0),
        rest_offsets=((0.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
    )
    other = Motion(
        fps=FPS,
        skeleton=chain,
        root_translation=torch.zeros(2, 3),
        local_rotations=rot.identity_quaternions(2, 2, like=torch.zeros(1)),
        contacts=torch.zeros(2, 4),
    )
    with pytest.raises(ValueError, match="chain"):
        lock_feet(other)
