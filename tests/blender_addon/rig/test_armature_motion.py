"""From an animated rig back to joints: rest poses, rolls, scale and odd rest poses don't matter."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from blender_addon.rig.armature_motion import (
    BODY_LEG_LENGTH,
    AnimatedRig,
    SourceError,
    has_standing_rest,
    motion_of_rig,
    read_source,
)
from blender_addon.rig.bone_match import RigError
from blender_addon.rig.recognise import recognise
from blender_addon.rig.retarget import retarget
from blender_addon.rig.retarget_options import RetargetOptions
from blender_addon.rig.source_motion import SourceMotion, source_from_result
from blender_addon.rig.target_figure import leg_length
from blender_addon.rig.target_rig import TargetRig
from tests.blender_addon.rig import figures
from tests.blender_addon.rig.figures import RigShape, make_rig, walk_motion

FREE = RetargetOptions(plant_feet=False, plant_toes=False, keep_above_floor=False)
LIMBS = tuple(
    (f"{side}_{upper}", f"{side}_{lower}")
    for side in ("left", "right")
    for upper, lower in (
        ("hip", "knee"),
        ("knee", "ankle"),
        ("shoulder", "elbow"),
        ("elbow", "wrist"),
    )
)


def animated(rig: TargetRig, options: RetargetOptions = FREE) -> AnimatedRig:
    """A rig that does the walk, posed as Blender would by the keys."""
    keyed = retarget(walk_motion(60), rig, recognise(rig), options)
    world = figures.pose(rig, keyed)
    return AnimatedRig(rig=rig, poses=np.linalg.inv(rig.object_matrix) @ world, fps=20.0)


def limb_angles(found: SourceMotion, wanted: SourceMotion) -> np.ndarray:
    """Degrees (T, 8) between the directions of arms and legs."""
    angles = []
    for upper, lower in LIMBS:
        a = found.place(lower) - found.place(upper)
        b = wanted.place(lower) - wanted.place(upper)
        cosine = np.sum(a * b, -1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)
        angles.append(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    return np.stack(angles, axis=-1)


SHAPES = {
    "T": (RigShape(), np.eye(4)),
    "A, rolled": (RigShape(arms_down=0.8, elbow_bend=0.3, roll_seed=1), np.eye(4)),
    "100 times": (RigShape(roll_seed=2, scale=100.0), np.diag([0.01, 0.01, 0.01, 1.0])),
    "10 cm": (RigShape(scale=0.06), np.eye(4)),
    "mirrored": (RigShape(roll_seed=3), np.diag([-1.0, 1.0, 1.0, 1.0])),
}


@pytest.mark.parametrize(("shape", "matrix"), SHAPES.values(), ids=SHAPES)
def test_the_motion_comes_back(shape: RigShape, matrix: np.ndarray) -> None:
    rig = make_rig(shape, matrix)
    found = motion_of_rig(animated(rig), recognise(rig))
    wanted = source_from_result(walk_motion(60))
    assert limb_angles(found, wanted).max() < 0.1
    # The hips take the same way, by the length of the legs.
    scale = leg_length(found.rest_points) / leg_length(wanted.rest_points)
    hips = [m.place("left_hip") + m.place("right_hip") for m in (found, wanted)]
    way, wanted_way = ((place[-1] - place[0]) / 2 for place in hips)
    assert np.abs(way / scale - wanted_way)[[0, 2]].max() < 1e-3


def test_round_trip_over_another_rig() -> None:
    """Motion to a Mixamo rig, read from there, onto another one, and read again."""
    first = make_rig(RigShape(arms_down=0.7, roll_seed=4))
    read = motion_of_rig(animated(first), recognise(first))
    second = make_rig(RigShape(roll_seed=5, elbow_bend=0.2, prefix=""))
    keyed = retarget(read, second, recognise(second), FREE)
    again = AnimatedRig(rig=second, poses=figures.pose(second, keyed), fps=20.0)
    found = motion_of_rig(again, recognise(second))
    assert limb_angles(found, source_from_result(walk_motion(60))).mean() < 0.1


def collapsed(source: AnimatedRig, seed: int = 0) -> AnimatedRig:
    """The same motion of a rig whose rest pose has each bone turned any way."""
    rng = np.random.default_rng(seed)
    count = len(source.rig.bone_names)
    turns = figures.channel_matrix(replace_quaternions(rng.normal(size=(count, 4))))
    rest, poses = source.rig.rest_matrices.copy(), source.poses
    for bone in range(count):
        parent = int(source.rig.parents[bone])
        local = source.rig.rest_matrices[bone]
        if parent >= 0:
            local = np.linalg.inv(source.rig.rest_matrices[parent]) @ local
            rest[bone] = rest[parent] @ local
        rest[bone, :3, :3] = rest[bone, :3, :3] @ turns[bone]
    in_bone = (
        np.linalg.inv(source.rig.rest_matrices)
        @ np.append(source.rig.tails, np.ones((count, 1)), axis=1)[..., None]
    )
    tails = (rest @ in_bone)[:, :3, 0]
    return replace(source, rig=replace(source.rig, rest_matrices=rest, tails=tails), poses=poses)


def replace_quaternions(values: np.ndarray) -> figures.BoneKeys:
    unit = values / np.linalg.norm(values, axis=-1, keepdims=True)
    return figures.BoneKeys(bone="", data_path="rotation_quaternion", rotation=unit)


def test_a_rest_pose_that_is_none_is_made_of_the_motion() -> None:
    rig = make_rig(RigShape())
    right = animated(rig)
    wrong = collapsed(right)
    assert has_standing_rest(rig, recognise(rig))
    assert not has_standing_rest(wrong.rig, recognise(rig))
    read = read_source(wrong, recognise)
    assert any("rest pose" in note for note in read.notes)
    target = make_rig(RigShape(roll_seed=7))
    keyed = retarget(read.motion, target, recognise(target), FREE)
    again = AnimatedRig(rig=target, poses=figures.pose(target, keyed), fps=20.0)
    found = motion_of_rig(again, recognise(target))
    assert limb_angles(found, motion_of_rig(right, recognise(rig))).mean() < 1.0


def test_a_unit_that_is_unknown_becomes_a_body_of_usual_size() -> None:
    rig = make_rig(RigShape(scale=37.0))
    found = motion_of_rig(replace(animated(rig), has_unit=False), recognise(rig))
    rest = found.rest_points
    assert leg_length(rest) == pytest.approx(BODY_LEG_LENGTH, rel=0.01)
    same = motion_of_rig(animated(make_rig(RigShape())), recognise(make_rig(RigShape())))
    assert np.abs(found.contacts - same.contacts).mean() < 0.02


@pytest.mark.parametrize(("height", "stands"), [(0.05, True), (0.9, False)])
def test_who_floats_does_not_stand(height: float, stands: bool) -> None:
    """A recording may be off by some centimetres; a metre over the floor nobody stands."""
    rig = make_rig(RigShape())
    still = AnimatedRig(rig=rig, poses=np.tile(rig.rest_matrices, (30, 1, 1, 1)), fps=20.0)
    still.poses[:, :, 2, 3] += height
    found = motion_of_rig(still, recognise(rig))
    assert np.all(found.contacts == stands)
    ankle = found.place("left_ankle")[0, 1] - found.rest_points["left_ankle"][1]
    assert ankle == pytest.approx(0.0 if stands else height, abs=1e-6)


def test_only_some_bones_hang_on_their_nearest_ancestors() -> None:
    rig = make_rig(RigShape())
    kept = [name for name in rig.bone_names if "Shoulder" not in name]
    part = animated(rig).only(kept)
    parents = {
        name: part.rig.bone_names[parent] if parent >= 0 else ""
        for name, parent in zip(part.rig.bone_names, part.rig.parents, strict=True)
    }
    assert parents["mixamorig:LeftArm"] == "mixamorig:Spine2"
    assert parents["mixamorig:Hips"] == ""
    assert part.poses.shape[1] == len(kept)
    found = motion_of_rig(part, recognise(part.rig))
    assert limb_angles(found, source_from_result(walk_motion(60))).max() < 0.1


def test_a_rig_without_hands_and_toes_has_ends_all_the_same() -> None:
    gone = tuple(f"{side}{bone}" for side in ("Left", "Right") for bone in ("Hand", "ToeBase"))
    rig = make_rig(RigShape(leave_out=gone))
    found = motion_of_rig(animated(rig), recognise(rig))
    assert limb_angles(found, source_from_result(walk_motion(60))).max() < 0.1
    ahead = found.rest_points["left_foot"] - found.rest_points["left_ankle"]
    assert ahead[2] > 0.05


def test_a_match_without_legs_is_refused() -> None:
    rig = make_rig(RigShape())
    match = recognise(rig)
    bones = {joint: bone for joint, bone in match.bones.items() if joint != "left_knee"}
    with pytest.raises(RigError, match="left_knee"):
        motion_of_rig(animated(rig), replace(match, bones=bones))


def test_legs_without_length_are_refused() -> None:
    rig = make_rig(RigShape())
    flat = rig.rest_matrices.copy()
    flat[:, :3, 3] = 0
    flat_rig = replace(rig, rest_matrices=flat, tails=np.zeros_like(rig.tails))
    source = replace(animated(rig), rig=flat_rig)
    with pytest.raises(SourceError, match="no length"):
        motion_of_rig(source, recognise(rig))
