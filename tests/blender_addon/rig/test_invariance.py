"""What must not matter: where the character faces, which side is which, how bones are rolled."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from blender_addon.protocol import JobResult
from blender_addon.rig.armature_motion import AnimatedRig, motion_of_rig
from blender_addon.rig.retarget import retarget
from blender_addon.rig.retarget_options import RetargetOptions, RootMode
from blender_addon.rig.source_motion import source_from_result
from blender_addon.rig.target_rig import TargetRig
from tests.blender_addon.rig.figures import (
    RigShape,
    make_rig,
    match_of,
    pose,
    random_motion,
    walk_motion,
)
from tests.blender_addon.rig.rig_parts import FREE, mirrored, swapped, turned

# float32 rotations of the wire, through some ten multiplications and a straight knee
POSITION_TOLERANCE = 1e-4  # metres
A_POSE = RigShape(arms_down=0.8, elbow_bend=0.35, roll_seed=3)
MODES = {
    "free": FREE,
    "planted": RetargetOptions(),
    "root smoothed": RetargetOptions(root=RootMode.OBJECT, smooth_root_s=0.5),
}


def heads(rig: TargetRig, matrices: np.ndarray) -> dict[str, np.ndarray]:
    match = match_of(rig)
    return {j: matrices[:, rig.index[b], :3, 3] for j, b in match.bones.items()}


def posed(rig: TargetRig, motion: JobResult, options: RetargetOptions) -> dict[str, np.ndarray]:
    keyed = retarget(motion, rig, match_of(rig), options)
    matrices = pose(rig, keyed)
    if keyed.object_matrices is not None:
        still = np.linalg.inv(rig.object_matrix)
        matrices = keyed.object_matrices[:, None] @ still @ matrices
    return heads(rig, matrices)


@pytest.mark.parametrize("options", MODES.values(), ids=MODES)
@pytest.mark.parametrize("angle", [0.4, -1.9, 3.1])
def test_turning_the_motion_turns_the_figure(angle: float, options: RetargetOptions) -> None:
    rig, motion = make_rig(A_POSE), walk_motion(60)
    before, after = posed(rig, motion, options), posed(rig, turned(motion, angle), options)
    cosine, sine = np.cos(angle), np.sin(angle)
    about_z = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    start = (before["left_hip"][0] + before["right_hip"][0]) / 2 * (1, 1, 0)
    for joint, points in before.items():
        moved = (points - start) @ about_z.T + start
        assert np.abs(after[joint] - moved).max() < POSITION_TOLERANCE, joint


@pytest.mark.parametrize("options", MODES.values(), ids=MODES)
@pytest.mark.parametrize("motion", [walk_motion(60), random_motion(20)], ids=["walk", "random"])
def test_mirroring_the_motion_mirrors_the_figure(
    motion: JobResult, options: RetargetOptions
) -> None:
    """The rig is symmetric but for its rolls, which must not matter."""
    rig = make_rig(A_POSE)
    before, after = posed(rig, motion, options), posed(rig, mirrored(motion), options)
    for joint, points in before.items():
        difference = after[swapped(joint)] - points * (-1, 1, 1)
        assert np.abs(difference).max() < POSITION_TOLERANCE, joint


@pytest.mark.parametrize("seed", [11, 12])
def test_rolls_change_no_deformation(seed: int) -> None:
    plain, rolled = (make_rig(replace(A_POSE, roll_seed=s)) for s in (None, seed))
    for motion in (walk_motion(40), random_motion(20)):
        deformations = [
            pose(rig, retarget(motion, rig, match_of(rig))) @ np.linalg.inv(rig.rest_matrices)
            for rig in (plain, rolled)
        ]
        assert np.abs(deformations[0] - deformations[1]).max() < POSITION_TOLERANCE


@pytest.mark.parametrize("shape", [RigShape(), A_POSE], ids=["T", "A"])
def test_motion_to_rig_to_motion_keeps_directions(shape: RigShape) -> None:
    """Within 1 degree on average is promised; the same rest frames there and back give far less."""
    rig, motion = make_rig(shape), walk_motion(60)
    keyed = retarget(motion, rig, match_of(rig), FREE)
    back = motion_of_rig(AnimatedRig(rig=rig, poses=pose(rig, keyed), fps=20.0), match_of(rig))
    source = source_from_result(motion)
    angles = []
    for side in ("left", "right"):
        for a, b in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle")):
            wanted = source.place(f"{side}_{b}") - source.place(f"{side}_{a}")
            found = back.place(f"{side}_{b}") - back.place(f"{side}_{a}")
            cosine = np.sum(wanted * found, -1)
            cosine /= np.linalg.norm(wanted, axis=-1) * np.linalg.norm(found, axis=-1)
            angles.append(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    assert np.mean(angles) < 0.1


def test_a_rig_to_a_rig_with_other_rolls_and_rest_is_the_same_motion() -> None:
    """Retarget from armature: planted feet of the first rig stay planted on the second."""
    first, second = make_rig(A_POSE), make_rig(RigShape(roll_seed=8))
    motion = walk_motion(80)
    keyed = retarget(motion, first, match_of(first))
    animated = AnimatedRig(rig=first, poses=pose(first, keyed), fps=20.0)
    again = retarget(motion_of_rig(animated, match_of(first)), second, match_of(second))
    assert again.report.max_direction_error < 0.1
    assert again.report.contact_share > 0.1
    assert again.report.foot_slide_mm < 1.0
