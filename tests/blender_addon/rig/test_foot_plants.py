"""Feet on the rig's own proportions: planted, on the floor, and no knee that snaps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from blender_addon.protocol import JobResult
from blender_addon.rig.retarget import retarget
from blender_addon.rig.retarget_options import RetargetOptions
from blender_addon.rig.target_rig import TargetRig
from tests.blender_addon.rig.figures import (
    INDEX,
    RigShape,
    axis_quaternion,
    bone_of,
    make_rig,
    match_of,
    multiply,
    pose,
    rest_motion,
    walk_motion,
)

FREE = RetargetOptions(plant_feet=False, plant_toes=False, keep_above_floor=False)
SHAPES = {
    "T": RigShape(),
    "A": RigShape(arms_down=0.8, elbow_bend=0.3, roll_seed=1),
    "small": RigShape(scale=0.06),
    "giant": RigShape(scale=6.0),
    "no toes": RigShape(leave_out=("LeftToeBase", "RightToeBase")),
}
COLUMNS = ("left_ankle", "left_foot", "right_ankle", "right_foot")


def foot_points(rig: TargetRig, posed: np.ndarray) -> dict[str, np.ndarray]:
    points = {}
    for side in ("left", "right"):
        foot = bone_of(rig, f"{side}_ankle")
        points[f"{side}_ankle"] = posed[:, foot, :3, 3]
        toe = np.linalg.inv(rig.rest_matrices[foot]) @ np.append(rig.tails[foot], 1.0)
        points[f"{side}_foot"] = (posed[:, foot] @ toe)[:, :3]
    return points


def rest_heights(rig: TargetRig) -> dict[str, float]:
    return {k: float(v[0, 2]) for k, v in foot_points(rig, rig.rest_matrices[None]).items()}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_planted_feet_do_not_slide(shape: RigShape) -> None:
    rig, motion = make_rig(shape), walk_motion(100)
    posed = pose(rig, retarget(motion, rig, match_of(rig)))
    points = foot_points(rig, posed)
    loose = foot_points(rig, pose(rig, retarget(motion, rig, match_of(rig), FREE)))
    moved_without = 0.0
    for column, name in enumerate(COLUMNS):
        stands = motion.contacts[:, column] > 0.5
        both = stands[1:] & stands[:-1]
        assert both.sum() > 10  # or the test measures nothing
        steps = np.linalg.norm(np.diff(points[name][:, :2], axis=0), axis=-1)[both]
        assert steps.max() < 1e-4 * shape.scale
        loose_steps = np.linalg.norm(np.diff(loose[name][:, :2], axis=0), axis=-1)[both]
        moved_without = max(moved_without, float(loose_steps.max()))
    assert moved_without > 1e-3 * shape.scale


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_feet_stay_above_the_floor(shape: RigShape) -> None:
    rig, motion = make_rig(shape), walk_motion(100)
    posed = pose(rig, retarget(motion, rig, match_of(rig)))
    heights = rest_heights(rig)
    for name, points in foot_points(rig, posed).items():
        assert points[:, 2].min() > heights[name] - 0.011 * shape.scale
        stands = motion.contacts[:, COLUMNS.index(name)] > 0.5
        if name.endswith("foot"):
            assert np.abs(points[stands, 2] - heights[name]).max() < 1e-4 * shape.scale


def test_the_floor_may_be_anywhere() -> None:
    high = np.eye(4)
    high[2, 3] = 3.0
    motion, rig = walk_motion(), make_rig(RigShape())
    raised = replace(rig, object_matrix=high)
    low = foot_points(rig, pose(rig, retarget(motion, rig, match_of(rig))))
    up = foot_points(raised, pose(raised, retarget(motion, raised, match_of(rig))))
    for name, points in low.items():
        assert np.abs(up[name] - points - (0, 0, 3)).max() < 1e-6


def test_a_rig_with_its_origin_at_the_hips_stands_on_its_feet() -> None:
    motion, rig = walk_motion(), make_rig(RigShape())
    matrices = rig.rest_matrices.copy()
    matrices[:, 2, 3] -= 1.05
    other = replace(rig, rest_matrices=matrices, tails=rig.tails - (0, 0, 1.05))
    posed = pose(other, retarget(motion, other, match_of(rig)))
    lowest = min(points[:, 2].min() for points in foot_points(other, posed).values())
    assert lowest == pytest.approx(0.02 - 1.05, abs=0.02)


def test_standing_in_the_rest_pose_changes_nothing() -> None:
    rig = make_rig(RigShape())
    posed = pose(rig, retarget(rest_motion(), rig, match_of(rig)))
    for name, points in foot_points(rig, posed).items():
        assert points[:, 2] == pytest.approx(rest_heights(rig)[name], abs=2e-3)


def test_knees_never_bend_forward_or_snap() -> None:
    rig, motion = make_rig(RigShape()), walk_motion(100)
    posed = pose(rig, retarget(motion, rig, match_of(rig)))
    loose = pose(rig, retarget(motion, rig, match_of(rig), FREE))
    for side in ("left", "right"):
        hip, knee, ankle = (
            posed[:, bone_of(rig, f"{side}_{joint}"), :3, 3] for joint in ("hip", "knee", "ankle")
        )
        normal = np.cross(knee - hip, ankle - knee)
        left = posed[:, bone_of(rig, "pelvis"), :3, :3] @ np.linalg.inv(
            rig.rest_matrices[bone_of(rig, "pelvis"), :3, :3]
        )
        assert (np.sum(normal * left[:, :, 0], axis=-1) > 0).all()
        free_knee = loose[:, bone_of(rig, f"{side}_knee"), :3, 3]
        jerk = np.linalg.norm(np.diff(knee, 2, axis=0), axis=-1).max()
        assert jerk < 3 * np.linalg.norm(np.diff(free_knee, 2, axis=0), axis=-1).max()


def test_bones_keep_their_length() -> None:
    rig, motion = make_rig(RigShape()), walk_motion(60)
    posed = pose(rig, retarget(motion, rig, match_of(rig)))
    for start, end in (("left_hip", "left_knee"), ("left_knee", "left_ankle")):
        length = np.linalg.norm(
            posed[:, bone_of(rig, end), :3, 3] - posed[:, bone_of(rig, start), :3, 3], axis=-1
        )
        assert np.ptp(length) < 1e-6


@pytest.mark.parametrize("num_frames", [1, 2, 3])
def test_very_short_motions(num_frames: int) -> None:
    rig = make_rig(RigShape())
    result = retarget(walk_motion(num_frames), rig, match_of(rig))
    assert all(np.isfinite(keys.rotation).all() for keys in result.bone_keys)
    assert len(result.bone_keys[0].rotation) == num_frames


def kneeling() -> JobResult:
    """On both knees, the insteps on the floor, swaying a little."""
    motion = rest_motion(30)
    rotations = motion.local_rotations.astype(np.float64).copy()
    sway = 0.04 * np.sin(np.linspace(0, 6, 30))
    for side in ("left", "right"):
        rotations[:, INDEX[f"{side}_knee"]] = axis_quaternion(0, np.pi / 2 + sway)
        rotations[:, INDEX[f"{side}_ankle"]] = axis_quaternion(0, 1.0 - sway)
    root = motion.root_translation.copy()
    root[:, 1] = 0.52
    return replace(motion, root_translation=root, local_rotations=rotations.astype(np.float32))


def test_feet_that_lie_on_their_backs_are_not_turned_onto_their_soles() -> None:
    """Low and still is not standing: who kneels keeps the shape of legs and feet."""
    rig, motion = make_rig(RigShape()), kneeling()
    keyed = retarget(motion, rig, match_of(rig))
    assert keyed.report.foot_slide_mm < 0.1
    assert keyed.report.planted_direction_error < 8
    foot = bone_of(rig, "left_ankle")
    turns = [
        pose(rig, each)[:, foot, :3, :3] @ rig.rest_matrices[foot, :3, :3].T
        for each in (keyed, retarget(motion, rig, match_of(rig), FREE))
    ]
    cosine = (np.einsum("tij,tij->t", *turns) - 1) / 2
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < 8
    assert np.ptp(turns[0], axis=0).max() < 1e-6  # and they rest


def test_the_knee_stays_in_its_plane_when_the_foot_is_planted() -> None:
    """A motion whose knees bend off their thighs' hinge, as recordings do, keeps them there."""
    rig, motion = make_rig(RigShape()), walk_motion(80)
    rotations = motion.local_rotations.astype(np.float64).copy()
    twist = axis_quaternion(1, np.full(80, 0.5))  # of the thigh about itself ...
    rotations[:, INDEX["left_hip"]] = multiply(rotations[:, INDEX["left_hip"]], twist)
    back = twist * (1, -1, -1, -1)  # ... which the shin takes back: it bends off the hinge
    knee = multiply(back, rotations[:, INDEX["left_knee"]])
    rotations[:, INDEX["left_knee"]] = knee
    motion = replace(motion, local_rotations=rotations.astype(np.float32))
    normals = []
    for options in (None, FREE):
        posed = pose(rig, retarget(motion, rig, match_of(rig), options))
        hip, knee, ankle = (
            posed[:, bone_of(rig, f"left_{joint}"), :3, 3] for joint in ("hip", "knee", "ankle")
        )
        normals.append(np.cross(knee - hip, ankle - knee))
    sine = np.linalg.norm(normals[1], axis=-1) / 0.44**2
    bent = sine > np.sin(np.radians(20))
    assert bent.sum() > 20
    a, b = (n[bent] / np.linalg.norm(n[bent], axis=-1, keepdims=True) for n in normals)
    assert np.degrees(np.arccos(np.clip(np.sum(a * b, -1), -1, 1))).max() < 10
