"""Actions: what Blender evaluates is what was retargeted, and nothing of the user's changes."""

from __future__ import annotations

import json
from dataclasses import replace

import bpy
import numpy as np
import pytest

from blender_addon.protocol import JobResult
from blender_addon.rig.bone_match import RigError
from blender_addon.rig.retarget import retarget
from blender_addon.rig.retarget_options import RetargetOptions
from blender_addon.scene.action_writer import IS_LAYERED, PROVENANCE_KEY, write_action
from blender_addon.scene.rest_pose import match_bones, read_rig
from tests.blender.blender_rigs import build, generate_rigify, world_points
from tests.blender.stopwatch import fair_ms
from tests.blender_addon.rig import figures
from tests.blender_addon.rig.figures import RigShape, joint_positions, walk_motion

pytestmark = pytest.mark.blender

FREE = RetargetOptions(plant_feet=False, plant_toes=False, keep_above_floor=False)
KEYED_IN_MS = 50.0
MIXAMO_SHAPES = {
    "T": RigShape(),
    "A, rolled": RigShape(arms_down=0.8, elbow_bend=0.3, roll_seed=1),
    "T, rolled": RigShape(roll_seed=2),
    "Euler": RigShape(arms_down=0.5, roll_seed=3, rotation_mode="ZXY"),
    "axis and angle": RigShape(roll_seed=4, rotation_mode="AXIS_ANGLE"),
    "no prefix": RigShape(prefix=""),
}


def curves_of(armature: bpy.types.Object) -> list[bpy.types.FCurve]:
    animation = armature.animation_data
    if not IS_LAYERED:
        return list(animation.action.fcurves)
    assert animation.action_slot is not None
    (layer,) = animation.action.layers
    (strip,) = layer.strips
    return list(strip.channelbag(animation.action_slot).fcurves)


def evaluated(armature: bpy.types.Object, num_frames: int, start: int = 1) -> np.ndarray:
    """World matrices (T, N, 4, 4) as Blender has them."""
    names = [bone.name for bone in armature.data.bones]
    frames = []
    for frame in range(start, start + num_frames):
        bpy.context.scene.frame_set(frame)
        pose = armature.pose.bones
        frames.append([np.array(armature.matrix_world @ pose[name].matrix) for name in names])
    return np.array(frames)


@pytest.mark.parametrize("shape", MIXAMO_SHAPES.values(), ids=MIXAMO_SHAPES)
def test_blender_poses_the_rig_as_predicted(shape: RigShape) -> None:
    armature, motion = build(shape), walk_motion(40)
    armature.rotation_euler = (0, 0, 0.6)
    armature.scale = (1.3, 1.3, 1.3)
    bpy.context.view_layer.update()
    rig = read_rig(armature)
    write_action(armature, motion, start_frame=1)
    expected = figures.pose(rig, retarget(motion, rig, match_bones(armature)))
    assert np.abs(evaluated(armature, 40) - expected).max() < 1e-4
    assert {bone.rotation_mode for bone in armature.pose.bones} == {shape.rotation_mode}


def test_the_mannequin_does_what_the_motion_does(mannequin: bpy.types.Object) -> None:
    motion = walk_motion(40)
    write_action(mannequin, motion, start_frame=1, options=FREE)
    places = world_points(mannequin, {j: (j, "head") for j in figures.JOINT_NAMES}, range(1, 41))
    source = joint_positions(motion)
    for joint, found in places.items():
        x, y, z = source[joint].T
        wanted = np.stack([x, -z, y], axis=-1)
        shift = (found - wanted)[:, 2]  # the standing height may differ by a little
        assert np.ptp(shift) < 1e-4
        hips = (source["left_hip"][0] + source["right_hip"][0]) / 2
        assert np.abs((found - wanted)[:, :2] + (hips[0], -hips[2])).max() < 1e-4, joint


def test_rest_pose_is_read_as_blender_has_it(mannequin: bpy.types.Object) -> None:
    rig = read_rig(mannequin)
    for number, bone in enumerate(mannequin.data.bones):
        assert rig.bone_names[number] == bone.name
        assert np.abs(rig.rest_matrices[number] - np.array(bone.matrix_local)).max() < 1e-6
        parent = -1 if bone.parent is None else rig.index[bone.parent.name]
        assert rig.parents[number] == parent


def planted_feet(armature: bpy.types.Object, motion: JobResult, feet: dict[str, str]) -> None:
    """No foot slides while it stands, and none goes below its rest height by over 5 mm."""
    count = len(motion.contacts)
    points = world_points(armature, {j: (b, "head") for j, b in feet.items()}, range(1, count + 1))
    shares = []
    for column, joint in enumerate(("left_ankle", "left_foot", "right_ankle", "right_foot")):
        stands = motion.contacts[:, column] > 0.5
        both = stands[1:] & stands[:-1]
        shares.append(both.mean())
        steps = np.linalg.norm(np.diff(points[joint][:, :2], axis=0), axis=-1)[both]
        assert steps.max() < 1e-3, joint
        assert points[joint][:, 2].min() > -0.005
        rest = (armature.matrix_world @ armature.data.bones[feet[joint]].head_local).z
        assert points[joint][stands, 2].min() > rest - 0.005
    assert min(shares) > 0.1  # or nothing was measured


def directions_match(
    armature: bpy.types.Object, motion: JobResult, limbs: dict[str, tuple[str, str]]
) -> None:
    """Deforming bones point where the motion's limbs do, within 2 degrees on average."""
    count = len(motion.contacts)
    points = {f"{j} {end}": (b, end) for j, (b, _) in limbs.items() for end in ("head",)}
    points |= {f"{j} tail": (last, "tail") for j, (_, last) in limbs.items()}
    places = world_points(armature, points, range(1, count + 1))
    source = joint_positions(motion)
    ends = {"shoulder": "elbow", "elbow": "wrist", "hip": "knee", "knee": "ankle"}
    for joint in limbs:
        side, part = joint.split("_")
        x, y, z = (source[f"{side}_{ends[part]}"] - source[joint]).T
        wanted = np.stack([x, -z, y], axis=-1)
        found = places[f"{joint} tail"] - places[f"{joint} head"]
        cosine = np.sum(found * wanted, axis=-1)
        cosine /= np.linalg.norm(found, axis=-1) * np.linalg.norm(wanted, axis=-1)
        angle = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
        assert angle.mean() < 2.0, joint


RIGIFY_LIMBS = {
    f"{side}_{joint}": (f"DEF-{bone}.{letter}", f"DEF-{bone}.{letter}.001")
    for side, letter in (("left", "L"), ("right", "R"))
    for joint, bone in (
        ("shoulder", "upper_arm"),
        ("elbow", "forearm"),
        ("hip", "thigh"),
        ("knee", "shin"),
    )
}
RIGIFY_FEET = {
    f"{side}_{joint}": f"ORG-{bone}.{letter}"
    for side, letter in (("left", "L"), ("right", "R"))
    for joint, bone in (("ankle", "foot"), ("foot", "toe"))
}


def test_rigify_human_walks_on_its_deforming_bones() -> None:
    armature, motion = generate_rigify(), walk_motion(30)
    loose = write_action(armature, motion, start_frame=1, options=FREE)
    directions_match(armature, motion, RIGIFY_LIMBS)
    planted = write_action(armature, motion, start_frame=1)
    assert planted != loose
    planted_feet(armature, motion, RIGIFY_FEET)
    switch = armature.pose.bones["thigh_parent.L"]
    assert switch["IK_FK"] == 1.0


def test_rigify_human_keeps_its_feet_in_a_recorded_walk(real_walk: JobResult) -> None:
    armature = generate_rigify()
    write_action(armature, real_walk, start_frame=1)
    planted_feet(armature, real_walk, RIGIFY_FEET)


@pytest.mark.parametrize("arms_down", [0.0, 0.8])
def test_mixamo_rig_keeps_its_feet_in_a_recorded_walk(
    real_walk: JobResult, arms_down: float
) -> None:
    armature = build(RigShape(arms_down=arms_down, roll_seed=5))
    write_action(armature, real_walk, start_frame=1)
    feet = {
        f"{side.lower()}_{joint}": f"mixamorig:{side}{bone}"
        for side in ("Left", "Right")
        for joint, bone in (("ankle", "Foot"), ("foot", "ToeBase"))
    }
    planted_feet(armature, real_walk, feet)


def test_the_users_action_is_kept_untouched(mannequin: bpy.types.Object) -> None:
    bone = mannequin.pose.bones["head"]
    for frame, angle in ((1, 0.1), (30, 0.9)):
        bone.rotation_mode = "XYZ"
        bone.rotation_euler.x = angle
        bone.keyframe_insert("rotation_euler", frame=frame)
    mine = mannequin.animation_data.action
    before = [[tuple(p.co) for p in curve.keyframe_points] for curve in curves_of(mannequin)]
    new = write_action(mannequin, walk_motion(10), start_frame=1)
    assert mannequin.animation_data.action == new != mine
    assert mine.use_fake_user
    mannequin.animation_data.action = mine
    if IS_LAYERED:
        mannequin.animation_data.action_slot = mine.slots[0]
    after = [[tuple(p.co) for p in curve.keyframe_points] for curve in curves_of(mannequin)]
    assert after == before


def test_each_result_is_an_action_of_its_own(mannequin: bpy.types.Object) -> None:
    first = write_action(mannequin, walk_motion(10), start_frame=1)
    keys = [tuple(p.co) for p in curves_of(mannequin)[0].keyframe_points]
    second = write_action(mannequin, walk_motion(10), start_frame=50)
    assert first != second
    assert first.use_fake_user
    assert [p[0] for p in keys] == list(range(1, 11))
    found = [p.co[0] for p in curves_of(mannequin)[0].keyframe_points]
    assert found == list(range(50, 60))


def test_provenance_is_on_the_action(mannequin: bpy.types.Object) -> None:
    told = {
        "prompt": "a person waves ☺",
        "seed": 2**40,
        "model": "mdm-free",
        "model_hash": "ab" * 32,
        "engine_version": "0.1.0",
        "num_steps": 20,
        "guidance_scale": 2.5,
        "options": {"sampler": "ddim"},
    }
    result = replace(walk_motion(5), provenance=json.dumps(told))
    action = write_action(mannequin, result, start_frame=1)
    for key in ("prompt", "model", "model_hash", "engine_version", "num_steps", "guidance_scale"):
        assert action[key] == told[key]
    assert action["seed"] == str(2**40)
    whole = json.loads(action[PROVENANCE_KEY])
    assert {key: whole[key] for key in told} == told
    assert whole["bone_map"] == "Marey mannequin"
    assert action.name == "a person waves ☺"


def test_a_long_prompt_makes_a_name_that_fits(mannequin: bpy.types.Object) -> None:
    result = replace(walk_motion(5), provenance=json.dumps({"prompt": "ä" * 500}))
    assert write_action(mannequin, result, start_frame=1).name.startswith("äää")


def test_the_scenes_frame_rate_is_respected(mannequin: bpy.types.Object) -> None:
    render = bpy.context.scene.render
    render.fps, render.fps_base = 30, 1.001
    write_action(mannequin, walk_motion(21, fps=20.0), start_frame=10)
    points = curves_of(mannequin)[0].keyframe_points
    assert points[0].co[0] == 10
    assert points[20].co[0] == pytest.approx(10 + 30 / 1.001)
    bpy.context.scene.render.fps_base = 1.0


def test_interpolation_and_groups(mannequin: bpy.types.Object) -> None:
    write_action(mannequin, walk_motion(5), start_frame=1, interpolation="BEZIER")
    curves = curves_of(mannequin)
    assert {p.interpolation for curve in curves for p in curve.keyframe_points} == {"BEZIER"}
    assert {curve.group.name for curve in curves} == set(figures.JOINT_NAMES)
    assert len(curves) == 22 * 4 + 3


def test_an_unknown_rig_is_refused_and_nothing_written() -> None:
    armature = bpy.data.objects.new("Crane", bpy.data.armatures.new("Crane"))
    bpy.context.scene.collection.objects.link(armature)
    with pytest.raises(RigError):
        write_action(armature, walk_motion(5), start_frame=1)
    assert armature.animation_data is None
    assert len(bpy.data.actions) == 0


def test_a_tweaked_strip_is_refused_and_nothing_written(mannequin: bpy.types.Object) -> None:
    action = write_action(mannequin, walk_motion(20), start_frame=1)
    track = mannequin.animation_data.nla_tracks.new()
    track.strips.new("walk", 1, action)
    mannequin.animation_data.action = None
    track.select = True
    mannequin.animation_data.use_tweak_mode = True
    assert mannequin.animation_data.use_tweak_mode
    with pytest.raises(RigError, match="tweak mode"):
        write_action(mannequin, walk_motion(20), start_frame=1)
    assert list(bpy.data.actions) == [action]


@pytest.mark.parametrize(
    ("frames", "bones", "limit_ms"), [(200, 24, KEYED_IN_MS), (300, 65, 2 * KEYED_IN_MS)]
)
def test_time_to_key(frames: int, bones: int, limit_ms: float) -> None:
    """All of the one long call: reading the rig, retargeting, writing. 22 bones and props."""
    armature, motion = build(RigShape()), walk_motion(frames)
    bpy.ops.object.mode_set(mode="EDIT")
    while len(armature.data.edit_bones) < bones:
        armature.data.edit_bones.new("prop").tail = (0, 0, 1)
    bpy.ops.object.mode_set(mode="OBJECT")
    assert len(armature.data.bones) == bones
    assert fair_ms(lambda: write_action(armature, motion, start_frame=1)) < limit_ms
