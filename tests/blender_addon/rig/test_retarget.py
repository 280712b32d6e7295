"""Retargeting: limbs point where the motion's do, on any rest pose, whatever the rolls."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import numpy as np
import pytest

from blender_addon.rig.bone_match import RigError
from blender_addon.rig.retarget import retarget
from blender_addon.rig.retarget_options import RetargetOptions
from blender_addon.rig.target_rig import TargetRig
from tests.blender_addon.rig.figures import (
    RigShape,
    axis_quaternion,
    bone_of,
    joint_positions,
    make_rig,
    match_of,
    multiply,
    pose,
    random_motion,
    rest_motion,
    walk_motion,
    with_modes,
)

# float32 rotations of the wire, through some ten multiplications
DIRECTION_TOLERANCE = 1e-4  # radians
POSITION_TOLERANCE = 1e-5  # metres
RETARGETED_IN_S = 2.0

PLANTED = RetargetOptions()
FREE = RetargetOptions(plant_feet=False, plant_toes=False, keep_above_floor=False)

T_POSE = RigShape()
A_POSE = RigShape(arms_down=0.8, elbow_bend=0.35, roll_seed=3)
ARMS_DOWN = RigShape(arms_down=1.45, roll_seed=4)
SHAPES = {"T": T_POSE, "A": A_POSE, "arms down": ARMS_DOWN, "rolled": RigShape(roll_seed=5)}
LIMBS = [
    (f"{side}_{start}", f"{side}_{end}")
    for side in ("left", "right")
    for start, end in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"))
] + [("left_elbow", "left_wrist"), ("right_elbow", "right_wrist")]


def turned_object(angle: float = 0.7, scale: float = 1.0) -> np.ndarray:
    matrix = np.eye(4)
    cosine, sine = np.cos(angle), np.sin(angle)
    matrix[:2, :2] = [[cosine, -sine], [sine, cosine]]
    matrix[:3, :3] *= scale
    matrix[:3, 3] = (3.0, -2.0, 0.0)
    return matrix


def heads(rig: TargetRig, matrices: np.ndarray) -> dict[str, np.ndarray]:
    return {j: matrices[:, bone_of(rig, j), :3, 3] for j in match_of(rig).bones}


def to_world(points: np.ndarray, heading: float = 0.0) -> np.ndarray:
    """The motion's axes to Blender's for a rig that faces -y, its object turned by heading."""
    x, y, z = np.moveaxis(points, -1, 0)
    cosine, sine = np.cos(heading), np.sin(heading)
    return np.stack([cosine * x + sine * z, sine * x - cosine * z, y], axis=-1)


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector, axis=-1, keepdims=True)


def largest_angle(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(unit(a) - unit(b), axis=-1).max())


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("seed", [0, 1])
def test_limbs_point_where_the_motion_points(shape: RigShape, seed: int) -> None:
    rig, motion = make_rig(shape), random_motion(seed=seed)
    found = heads(rig, pose(rig, retarget(motion, rig, match_of(rig), FREE)))
    source = {joint: to_world(places) for joint, places in joint_positions(motion).items()}
    for start, end in LIMBS:
        angle = largest_angle(found[end] - found[start], source[end] - source[start])
        assert angle < DIRECTION_TOLERANCE, (start, end)


@pytest.mark.parametrize("plant_feet", [False, True])
def test_rolls_of_bones_change_nothing(plant_feet: bool) -> None:
    motion = walk_motion()
    deformations = []
    for roll_seed in (None, 1, 2):
        rig = make_rig(replace(A_POSE, roll_seed=roll_seed))
        posed = pose(rig, retarget(motion, rig, match_of(rig), PLANTED if plant_feet else FREE))
        deformations.append(posed @ np.linalg.inv(rig.rest_matrices))
    for deformation in deformations[1:]:
        assert np.abs(deformation - deformations[0]).max() < POSITION_TOLERANCE


@pytest.mark.parametrize("mode", ["XYZ", "XZY", "YXZ", "YZX", "ZXY", "ZYX", "AXIS_ANGLE"])
def test_every_rotation_mode_gives_the_same_pose(mode: str) -> None:
    motion, rig = walk_motion(), make_rig(A_POSE)
    expected = pose(rig, retarget(motion, rig, match_of(rig)))
    other = with_modes(rig, mode)
    assert np.abs(pose(other, retarget(motion, other, match_of(rig))) - expected).max() < 1e-6


def test_the_hips_follow_the_motion_by_the_length_of_the_legs() -> None:
    motion, rig = walk_motion(), make_rig(T_POSE)
    found = heads(rig, pose(rig, retarget(motion, rig, match_of(rig), FREE)))
    hips = (found["left_hip"] + found["right_hip"]) / 2
    source = joint_positions(motion)
    wanted = to_world((source["left_hip"] + source["right_hip"]) / 2)
    rest = heads(rig, rig.rest_matrices[None])
    legs = [
        np.linalg.norm(rest["left_hip"] - rest["left_knee"])
        + np.linalg.norm(rest["left_knee"] - rest["left_ankle"])
    ]
    scale = legs[0] / (0.392 + 0.429)
    travelled = hips - hips[0]
    assert np.abs(travelled[:, :2] - scale * (wanted - wanted[0])[:, :2]).max() < 1e-4
    start = (rest["left_hip"] + rest["right_hip"])[0] / 2
    assert np.abs(hips[0, :2] - start[:2]).max() < POSITION_TOLERANCE


def test_the_t_pose_stays_the_rest_pose_of_a_t_posed_rig() -> None:
    rig = make_rig(T_POSE)
    posed = pose(rig, retarget(rest_motion(), rig, match_of(rig), FREE))
    head = posed[0, bone_of(rig, "head"), :3, :3]
    assert np.abs(head - rig.rest_matrices[bone_of(rig, "head"), :3, :3]).max() < 1e-6
    foot = posed[0, bone_of(rig, "left_ankle")] @ np.linalg.inv(
        rig.rest_matrices[bone_of(rig, "left_ankle")]
    )
    assert np.abs(foot[2, :2]).max() < 1e-6  # the sole is level


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_the_object_may_be_turned_and_scaled(scale: float) -> None:
    """An armature in centimetres with the object scaled to metres, and so on."""
    motion = walk_motion()
    plain = make_rig(A_POSE)
    other = make_rig(replace(A_POSE, scale=1 / scale), turned_object(0.7, scale))
    expected = heads(plain, pose(plain, retarget(motion, plain, match_of(plain))))
    found = heads(other, pose(other, retarget(motion, other, match_of(other))))
    for joint, points in expected.items():
        moved = points @ turned_object(0.7)[:3, :3].T + (3.0, -2.0, 0.0)
        assert np.abs(found[joint] - moved).max() < 1e-4, joint


def test_an_armature_with_y_up_stands_upright() -> None:
    """As importers leave them: bones with y up, the object turned by a right angle."""
    motion, plain = walk_motion(), make_rig(A_POSE)
    up = np.eye(4)
    up[:3, :3] = [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
    inverse = np.linalg.inv(up)
    other = replace(
        plain,
        rest_matrices=inverse @ plain.rest_matrices,
        tails=plain.tails @ inverse[:3, :3].T,
        object_matrix=up,
    )
    expected = pose(plain, retarget(motion, plain, match_of(plain)))
    found = pose(other, retarget(motion, other, match_of(other)))
    assert np.abs(found - expected).max() < POSITION_TOLERANCE


def test_a_mirrored_object_moves_as_in_a_mirror() -> None:
    motion = walk_motion()
    plain = make_rig(A_POSE)
    mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
    other = replace(plain, object_matrix=mirror)
    expected = pose(plain, retarget(motion, plain, match_of(plain)))
    found = pose(other, retarget(motion, other, match_of(other)))
    assert np.abs(found - mirror @ expected).max() < POSITION_TOLERANCE


def test_turning_the_motion_turns_the_figure() -> None:
    """Heading is kept: the path and the pose turn about the place where the figure starts."""
    motion, rig, angle = walk_motion(), make_rig(A_POSE), 1.1
    turn = axis_quaternion(1, angle)
    rotations = motion.local_rotations.astype(np.float64).copy()
    rotations[:, 0] = multiply(np.broadcast_to(turn, rotations[:, 0].shape), rotations[:, 0])
    cosine, sine = np.cos(angle), np.sin(angle)
    matrix = np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])
    turned = replace(
        motion,
        local_rotations=rotations.astype(np.float32),
        root_translation=(motion.root_translation @ matrix.T).astype(np.float32),
    )
    before = heads(rig, pose(rig, retarget(motion, rig, match_of(rig))))
    after = heads(rig, pose(rig, retarget(turned, rig, match_of(rig))))
    about_z = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    start = (before["left_hip"][0] + before["right_hip"][0]) / 2 * (1, 1, 0)
    for joint, points in before.items():
        moved = (points - start) @ about_z.T + start
        assert np.abs(after[joint] - moved).max() < 1e-4, joint


def test_missing_joints_are_carried_by_their_parents() -> None:
    motion = random_motion(seed=2)
    left_out = ("LeftToeBase", "RightToeBase", "LeftShoulder", "RightShoulder", "Spine1", "Spine2")
    rig = make_rig(RigShape(leave_out=(*left_out, "LeftHand", "RightHand", "Neck")))
    result = retarget(motion, rig, match_of(rig), FREE)
    found = heads(rig, pose(rig, result))
    source = {joint: to_world(places) for joint, places in joint_positions(motion).items()}
    for start, end in LIMBS[:6]:
        angle = largest_angle(found[end] - found[start], source[end] - source[start])
        assert angle < DIRECTION_TOLERANCE
    assert {"left_foot", "right_collar", "neck"} <= set(result.report.unmapped_joints)


def test_bones_that_do_not_inherit_rotation() -> None:
    motion, rig = random_motion(), make_rig(A_POSE)
    free = rig.inherits_rotation.copy()
    for joint in ("left_shoulder", "head", "right_knee"):
        free[bone_of(rig, joint)] = False
    keys = retarget(motion, replace(rig, inherits_rotation=free), match_of(rig), FREE)
    expected = pose(rig, retarget(motion, rig, match_of(rig), FREE))
    arm = bone_of(rig, "left_shoulder")
    (found,) = [k for k in keys.bone_keys if k.bone == rig.bone_names[arm]]
    from tests.blender_addon.rig.figures import channel_matrix

    alone = rig.rest_matrices[arm, :3, :3] @ channel_matrix(found)
    assert np.abs(alone - expected[:, arm, :3, :3]).max() < 1e-5


def test_elbows_and_knees_close_about_their_own_hinges() -> None:
    """Bending only the source's elbow turns the rig's forearm in the plane of its own rest bend."""
    motion = rest_motion(30)
    rotations = motion.local_rotations.astype(np.float64).copy()
    rotations[:, 18] = axis_quaternion(1, np.linspace(0, -2.0, 30))
    bent = replace(motion, local_rotations=rotations.astype(np.float32))
    for shape in SHAPES.values():
        rig = make_rig(shape)
        posed = pose(rig, retarget(bent, rig, match_of(rig), FREE))
        upper, lower = bone_of(rig, "left_shoulder"), bone_of(rig, "left_elbow")
        relative = np.linalg.inv(posed[:, upper]) @ posed[:, lower]
        step = relative[1:, :3, :3] @ np.swapaxes(relative[:-1, :3, :3], -1, -2)
        axis = unit(
            np.stack(
                [
                    step[:, 2, 1] - step[:, 1, 2],
                    step[:, 0, 2] - step[:, 2, 0],
                    step[:, 1, 0] - step[:, 0, 1],
                ],
                axis=-1,
            )
        )
        assert np.abs(axis - axis[0]).max() < 1e-3  # one hinge all the way
        assert abs(axis[0, 1]) < 1e-3  # square to the upper arm: no twist


def test_a_motion_without_knees_is_refused() -> None:
    motion = rest_motion()
    names = ["left_something" if n == "left_knee" else n for n in motion.joint_names]
    rig = make_rig(T_POSE)
    with pytest.raises(RigError, match="left_knee"):
        retarget(replace(motion, joint_names=names), rig, match_of(rig))


def test_time_for_2000_frames_on_65_bones() -> None:
    """2 s are promised for a rig whose bones all move but its fingers; no loop over frames."""
    rig, motion = make_rig(A_POSE), walk_motion(2000)
    count = 65 - len(rig.bone_names)
    hand = rig.index["mixamorig:LeftHand"]
    fingers = np.tile(rig.rest_matrices[hand], (count, 1, 1))
    rig = replace(
        rig,
        bone_names=(*rig.bone_names, *(f"finger {number}" for number in range(count))),
        parents=np.append(rig.parents, np.full(count, hand)).astype(np.int32),
        rest_matrices=np.concatenate([rig.rest_matrices, fingers]),
        tails=np.concatenate([rig.tails, np.tile(rig.tails[hand], (count, 1))]),
        inherits_rotation=np.ones(65, dtype=bool),
        has_local_location=np.ones(65, dtype=bool),
        rotation_modes=("QUATERNION",) * 65,
    )
    match = match_of(rig)
    times = []
    for _ in range(3):
        start = time.thread_time()  # this thread's: other programs run on the machine
        retarget(motion, rig, match)
        times.append(time.thread_time() - start)
    assert min(times) < RETARGETED_IN_S, times


def test_the_report_tells_what_happened() -> None:
    rig = make_rig(replace(A_POSE, leave_out=("Neck", "LeftToeBase", "RightToeBase")))
    report = retarget(walk_motion(), rig, match_of(rig)).report
    assert report.mapping == "Mixamo"
    assert set(report.unmapped_joints) == {"left_foot", "right_foot", "neck"}
    assert report.mean_direction_error <= report.max_direction_error < 0.01
    assert report.planted_direction_error > 0.1  # legs were bent for the floor
    assert report.body_height == pytest.approx(1.75, abs=0.1)
    lines = "\n".join(report.lines())
    assert "Rig: Mixamo" in lines
    assert "neck" in lines
    assert json.loads(json.dumps(report.to_dict()))["mapping"] == "Mixamo"
    loose = retarget(walk_motion(), rig, match_of(rig), FREE).report
    assert loose.foot_slide_mm > 10 * max(report.foot_slide_mm, 0.01)


def test_a_head_or_hand_that_is_not_mapped_is_left_alone() -> None:
    rig, motion = make_rig(A_POSE), walk_motion(10)
    match = match_of(rig)
    bones = {j: b for j, b in match.bones.items() if j not in ("head", "left_wrist")}
    keyed = retarget(motion, rig, replace(match, bones=bones))
    named = {keys.bone for keys in keyed.bone_keys}
    assert not named & {"mixamorig:Head", "mixamorig:LeftHand"}
    assert {"head", "left_wrist"} <= set(keyed.report.unmapped_joints)


def test_ends_of_bones_without_children_may_be_anywhere() -> None:
    """glTF has no tails: importers give leaves any length, even hundreds of metres."""
    shape = replace(A_POSE, leave_out=("LeftToeBase", "RightToeBase", "LeftHand", "RightHand"))
    rig, motion = make_rig(shape), walk_motion(60)
    tails = rig.tails.copy()
    for name in ("LeftFoot", "RightFoot", "LeftForeArm", "RightForeArm"):
        bone = rig.index[f"mixamorig:{name}"]
        tails[bone] = rig.heads[bone] + 300.0 * (tails[bone] - rig.heads[bone])
    report = retarget(motion, replace(rig, tails=tails), match_of(rig)).report
    assert report.max_direction_error < 0.01
    assert report.foot_slide_mm < 1.0
    assert report.penetration_mm < 5.0
