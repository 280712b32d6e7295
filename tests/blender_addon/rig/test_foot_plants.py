"""Feet on the rig's own proportions: planted, on the floor, and no knee that snaps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from blender_addon.rig.retarget import retarget
from blender_addon.rig.target_rig import TargetRig
from tests.blender_addon.rig.figures import (
    RigShape,
    bone_of,
    make_rig,
    match_of,
    pose,
    rest_motion,
    walk_motion,
)

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
    loose = foot_points(rig, pose(rig, retarget(motion, rig, match_of(rig), plant_feet=False)))
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
    loose = pose(rig, retarget(motion, rig, match_of(rig), plant_feet=False))
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
