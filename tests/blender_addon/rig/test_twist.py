"""Twist bones share the twist, chains share the bend, bones that hang on nothing go along."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from blender_addon.protocol import JobResult
from blender_addon.rig.bone_match import BoneMatch, IkControls, TwistBone
from blender_addon.rig.retarget import retarget
from blender_addon.rig.retarget_options import RetargetOptions
from blender_addon.rig.rotations import twist_about
from blender_addon.rig.target_rig import TargetRig
from blender_addon.rig.turned_rig import share_chain
from tests.blender_addon.rig.figures import (
    INDEX,
    RigShape,
    axis_quaternion,
    channel_matrix,
    make_rig,
    match_of,
    multiply,
    pose,
    random_motion,
    rest_motion,
    walk_motion,
)
from tests.blender_addon.rig.rig_parts import FREE, with_bone

PREFIX = "mixamorig:"
A_POSE = RigShape(arms_down=0.6, roll_seed=3)


def with_helper(rig: TargetRig, main: str, end: str, share: float, *, in_chain: bool) -> TargetRig:
    """A twist bone along a limb, from `share` of its length on, called main_twist."""
    head, tail = (rig.heads[rig.index[PREFIX + name]] for name in (main, end))
    children = (PREFIX + end,) if in_chain else ()
    return with_bone(
        rig,
        f"{main}_twist",
        PREFIX + main,
        head + share * (tail - head),
        tail,
        children=children,
    )


def bent(joint: str, quaternion: np.ndarray) -> JobResult:
    """The T-pose with one joint turned."""
    motion = rest_motion(len(quaternion))
    rotations = motion.local_rotations.astype(np.float64).copy()
    rotations[:, INDEX[joint]] = quaternion
    return replace(motion, local_rotations=rotations.astype(np.float32))


def world_turn(rig: TargetRig, matrices: np.ndarray, bone: str) -> np.ndarray:
    index = rig.index[bone]
    return matrices[:, index, :3, :3] @ rig.rest_matrices[index, :3, :3].T


def twist_of(rig: TargetRig, matrices: np.ndarray, bone: str, base: str, axis: np.ndarray):
    relative = np.swapaxes(world_turn(rig, matrices, base), -1, -2)
    return twist_about(relative @ world_turn(rig, matrices, bone), axis)


def matched(rig: TargetRig, **twists: tuple[str, float]) -> BoneMatch:
    bones = {
        f"{main}_twist": TwistBone(joint=joint, share=share)
        for main, (joint, share) in twists.items()
    }
    return replace(match_of(rig), twist_bones=bones)


@pytest.mark.parametrize("in_chain", [False, True])
def test_a_forearm_bone_takes_its_share_of_the_hands_twist(in_chain: bool) -> None:
    rig = with_helper(make_rig(A_POSE), "LeftForeArm", "LeftHand", 0.5, in_chain=in_chain)
    angle = np.linspace(0.0, 1.4, 20)
    motion = bent("left_wrist", axis_quaternion(0, angle))  # the forearm points along x
    match = matched(rig, LeftForeArm=("left_elbow", 0.6))
    matrices = pose(rig, retarget(motion, rig, match, FREE))
    axis = rig.heads[rig.index[PREFIX + "LeftHand"]] - rig.heads[rig.index[PREFIX + "LeftForeArm"]]
    axis /= np.linalg.norm(axis)
    base = PREFIX + "LeftForeArm"
    hand = twist_of(rig, matrices, PREFIX + "LeftHand", base, axis)
    helper = twist_of(rig, matrices, "LeftForeArm_twist", base, axis)
    assert np.abs(hand - angle).max() < 1e-5
    assert np.abs(helper - 0.6 * angle).max() < 1e-5


def test_an_upper_arm_in_two_bones_does_not_twist_at_the_shoulder() -> None:
    rig = with_helper(make_rig(A_POSE), "LeftArm", "LeftForeArm", 0.5, in_chain=True)
    angle = np.linspace(0.0, 1.2, 20)
    swing = axis_quaternion(2, np.full(20, -0.5))
    motion = bent("left_shoulder", multiply(swing, axis_quaternion(0, angle)))
    whole = match_of(rig)
    before = pose(rig, retarget(motion, rig, whole, FREE))
    shared = matched(rig, LeftArm=("left_shoulder", 1.0))
    after = pose(rig, retarget(motion, rig, shared, FREE))
    axis = rig.heads[rig.index[PREFIX + "LeftForeArm"]] - rig.heads[rig.index[PREFIX + "LeftArm"]]
    axis /= np.linalg.norm(axis)
    collar = PREFIX + "LeftShoulder"
    upper = twist_of(rig, after, PREFIX + "LeftArm", collar, axis)
    lower = twist_of(rig, after, "LeftArm_twist", collar, axis)
    assert np.abs(upper).max() < 1e-5
    assert np.abs(lower - twist_of(rig, before, PREFIX + "LeftArm", collar, axis)).max() < 1e-5
    assert np.ptp(lower) > 1.0
    for name in ("LeftForeArm", "LeftHand"):  # what hangs on it is where it was
        index = rig.index[PREFIX + name]
        assert np.abs(after[:, index] - before[:, index]).max() < 1e-5


def test_a_helper_beside_the_upper_arm_leaves_the_arm_alone() -> None:
    rig = with_helper(make_rig(A_POSE), "LeftArm", "LeftForeArm", 0.1, in_chain=False)
    motion = random_motion(20)
    match = matched(rig, LeftArm=("left_shoulder", 0.25))
    before = pose(rig, retarget(motion, rig, match_of(rig), FREE))
    after = pose(rig, retarget(motion, rig, match, FREE))
    moving = [b for b, name in enumerate(rig.bone_names) if name != "LeftArm_twist"]
    assert np.abs(before[:, moving] - after[:, moving]).max() < 1e-9
    assert np.abs(before - after).max() > 0.01


def test_limbs_keep_their_directions_when_twist_is_shared() -> None:
    rig = make_rig(A_POSE)
    for main, end in (("LeftArm", "LeftForeArm"), ("LeftForeArm", "LeftHand")):
        rig = with_helper(rig, main, end, 0.5, in_chain=True)
    rig = with_helper(rig, "RightUpLeg", "RightLeg", 0.5, in_chain=True)
    match = matched(
        rig,
        LeftArm=("left_shoulder", 0.5),
        LeftForeArm=("left_elbow", 0.5),
        RightUpLeg=("right_hip", 0.5),
    )
    report = retarget(random_motion(30), rig, match, FREE).report
    assert report.planted_direction_error < 0.01


def test_twist_can_be_left_alone() -> None:
    rig = with_helper(make_rig(A_POSE), "LeftForeArm", "LeftHand", 0.5, in_chain=False)
    match = matched(rig, LeftForeArm=("left_elbow", 0.5))
    keyed = retarget(random_motion(), rig, match, RetargetOptions(share_twist=False))
    assert "LeftForeArm_twist" not in {keys.bone for keys in keyed.bone_keys}


@pytest.mark.parametrize("count", [1, 2, 3, 4, 6])
def test_a_chain_of_any_length_ends_as_the_motions_does(count: int) -> None:
    rotations = [channel_of(axis_quaternion(0, np.full(4, a))) for a in (0.1, 0.3, 0.5, 1.0)]
    shared = share_chain(rotations, count)
    angles = [float(np.arctan2(each[0, 2, 1], each[0, 2, 2])) for each in shared]
    assert len(angles) == count
    assert angles[-1] == pytest.approx(1.0)
    assert all(a < b for a, b in zip([0.1, *angles], angles, strict=False))
    if count == 3:
        assert angles == pytest.approx([0.3, 0.5, 1.0])


def channel_of(quaternion: np.ndarray) -> np.ndarray:
    from blender_addon.rig.channels import BoneKeys

    return channel_matrix(BoneKeys(bone="", data_path="rotation_quaternion", rotation=quaternion))


@pytest.mark.parametrize(
    "spine", [(), ("Spine",), ("Spine", "Spine2"), ("Spine", "Spine1", "Spine2")]
)
def test_the_chest_turns_wholly_however_many_bones_the_spine_has(spine: tuple[str, ...]) -> None:
    rig, motion = make_rig(A_POSE), random_motion(20)
    match = replace(match_of(rig), spine=tuple(PREFIX + name for name in spine))
    matrices = pose(rig, retarget(motion, rig, match, FREE))
    wanted = pose(rig, retarget(motion, rig, match_of(rig), FREE))
    assert retarget(motion, rig, match, FREE).report.max_direction_error < 0.01
    if spine:
        top = PREFIX + spine[-1]
        chest = world_turn(rig, wanted, PREFIX + "Spine2")
        assert np.abs(world_turn(rig, matrices, top) - chest).max() < 1e-6


def test_a_trunk_beside_the_pelvis_goes_along_with_it() -> None:
    """As in rigs whose upper and lower body hang side by side, with nothing above that moves."""
    rig, motion = make_rig(A_POSE), walk_motion(30)
    spine = rig.index[PREFIX + "Spine"]
    parents = rig.parents.copy()
    parents[spine] = -1
    apart = replace(rig, parents=parents)
    expected = pose(rig, retarget(motion, rig, match_of(rig)))
    found = pose(apart, retarget(motion, apart, match_of(rig)))
    assert np.abs(found - expected).max() < 1e-5


def test_a_connected_pelvis_hands_the_path_to_its_parent() -> None:
    """Blender ignores the location of a bone that is connected to its parent."""
    rig = with_bone(
        make_rig(A_POSE),
        "base",
        "",
        np.zeros(3),
        np.array([0, 0, 1.05]),
        children=(PREFIX + "Hips",),
    )
    joined = replace(rig, connected=frozenset({rig.index[PREFIX + "Hips"]}))
    keyed = retarget(walk_motion(20), joined, match_of(rig))
    located = {keys.bone for keys in keyed.bone_keys if keys.location is not None}
    assert located == {"base"}
    expected = pose(rig, retarget(walk_motion(20), rig, match_of(rig)))
    moving = [b for b, name in enumerate(rig.bone_names) if name != "base"]
    assert np.abs(pose(rig, keyed) - expected)[:, moving].max() < 1e-5


def shift(back: float) -> np.ndarray:
    return np.array([0.0, back, -0.02])


def test_ik_controls_follow_the_limbs_ends_and_planes() -> None:
    rig = make_rig(A_POSE)
    ankle = rig.heads[rig.index[PREFIX + "LeftFoot"]]
    knee = rig.heads[rig.index[PREFIX + "LeftLeg"]]
    rig = with_bone(rig, "foot_ik", "", ankle + shift(0.05), ankle + shift(-0.2))
    rig = with_bone(rig, "knee_pole", "", knee + shift(-0.5), knee + shift(-0.6))
    ik = IkControls(
        bones={"left_ankle": "foot_ik"},
        poles={"left_knee": "knee_pole"},
        properties=(("foot_ik", "IK_FK", 1.0),),
    )
    match = replace(match_of(rig), ik=ik, properties=(("foot_ik", "IK_FK", 0.0),))
    keyed = retarget(walk_motion(40), rig, match, RetargetOptions(key_ik=True))
    assert keyed.properties == (("foot_ik", "IK_FK", 1.0),)
    matrices = pose(rig, keyed)
    foot, control = rig.index[PREFIX + "LeftFoot"], rig.index["foot_ik"]
    fixed = np.linalg.inv(rig.rest_matrices[foot]) @ rig.rest_matrices[control]
    assert np.abs(matrices[:, foot] @ fixed - matrices[:, control]).max() < 1e-6
    hip, middle = (matrices[:, rig.index[PREFIX + b], :3, 3] for b in ("LeftUpLeg", "LeftLeg"))
    end, pole = matrices[:, foot, :3, 3], matrices[:, rig.index["knee_pole"], :3, 3]
    normal = np.cross(middle - hip, end - middle)
    bend = np.linalg.norm(normal, axis=-1)
    assert (bend > 0.02).sum() > 10
    normal /= bend[:, None]
    off_plane = np.abs(np.sum((pole - middle) * normal, axis=-1))[bend > 0.02]
    assert off_plane.max() < 0.05  # of half a metre
    ahead = np.sum((pole - middle) * (middle - (hip + end) / 2), axis=-1)
    assert (ahead[bend > 0.02] > 0).all()
    without = retarget(walk_motion(40), rig, match)
    assert without.properties == (("foot_ik", "IK_FK", 0.0),)
    assert "foot_ik" not in {keys.bone for keys in without.bone_keys}


def test_asking_for_ik_on_a_rig_without_any_is_told() -> None:
    rig = make_rig(A_POSE)
    asked = retarget(walk_motion(10), rig, match_of(rig), RetargetOptions(key_ik=True))
    assert any("no IK controls" in note for note in asked.report.notes)
    assert not retarget(walk_motion(10), rig, match_of(rig)).report.notes
