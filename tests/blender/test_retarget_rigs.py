"""Rigs as artists have them: parents, roots, odd flags, IK, linked files. Blender has the word."""

from __future__ import annotations

import json
from pathlib import Path

import bpy
import numpy as np
import pytest
from mathutils import Euler

from blender_addon.rig.bone_match import RigError
from blender_addon.rig.retarget_options import RetargetOptions, RootMode
from blender_addon.scene.action_writer import PROVENANCE_KEY, curves_of, write_action
from blender_addon.scene.rest_pose import match_bones
from tests.blender.blender_rigs import add_root, build, generate_rigify
from tests.blender.stopwatch import fair_ms
from tests.blender_addon.rig.figures import RigShape, walk_motion

pytestmark = pytest.mark.blender

FRAMES = 30
A_POSE = RigShape(arms_down=0.8, elbow_bend=0.3, roll_seed=1)
TOLERANCE = 2e-4  # metres: float32 keys, through two parents and ten bones
RETARGETED_IN_MS = 100.0


def world(armature: bpy.types.Object, names: list[str], frames: int = FRAMES) -> np.ndarray:
    """World matrices (T, N, 4, 4) of bones as Blender has them."""
    found = []
    for frame in range(1, frames + 1):
        bpy.context.scene.frame_set(frame)
        pose = armature.pose.bones
        found.append([np.array(armature.matrix_world @ pose[name].matrix) for name in names])
    return np.array(found)


def body(armature: bpy.types.Object) -> list[str]:
    return [bone.name for bone in armature.data.bones if bone.name != "root"]


def nest(armature: bpy.types.Object) -> None:
    """Parents that turn and scale, a parent inverse, and delta transforms."""
    for number in range(2):
        empty = bpy.data.objects.new(f"Parent {number}", None)
        bpy.context.scene.collection.objects.link(empty)
        empty.location = (1.0, -2.0, 0.3 * number)
        empty.rotation_euler = (0.0, 0.0, 0.8 + number)
        empty.scale = [3.0 if number else 0.5] * 3
        top = armature if number == 0 else bpy.data.objects["Parent 0"]
        top.parent = empty
    armature.matrix_parent_inverse = Euler((0.0, 0.0, 0.4)).to_matrix().to_4x4()
    armature.delta_location = (0.2, 0.1, 0.0)
    armature.delta_rotation_euler = (0.0, 0.0, -0.3)
    armature.rotation_euler = (0.0, 0.0, 1.1)
    bpy.context.view_layer.update()


@pytest.mark.parametrize("root", [RootMode.OBJECT, RootMode.BONE])
@pytest.mark.parametrize("mode", ["XYZ", "ZYX", "QUATERNION", "AXIS_ANGLE"])
def test_object_or_root_bone_carry_the_same_motion(mode: str, root: RootMode) -> None:
    armature = build(A_POSE)
    add_root(armature)
    if mode in ("XYZ", "ZYX"):
        nest(armature)
    armature.rotation_mode = mode
    bpy.context.view_layer.update()
    motion = walk_motion(FRAMES)
    write_action(armature, motion, start_frame=1)
    plain = world(armature, body(armature))
    options = RetargetOptions(root=root, root_bone="root", smooth_root_s=0.4)
    write_action(armature, motion, start_frame=1, options=options)
    carried = world(armature, body(armature))
    assert np.abs(carried - plain).max() < TOLERANCE * max(1.0, np.abs(plain).max())
    moved = np.ptp(world(armature, ["root"])[:, 0, :2, 3], axis=0).max()
    assert moved > 0.3


@pytest.mark.parametrize("flag", ["use_local_location", "use_inherit_rotation"])
def test_odd_flags_of_the_hips_bone_change_nothing(flag: str) -> None:
    found = []
    for value in (True, False):
        armature = build(A_POSE)
        add_root(armature)
        setattr(armature.data.bones["mixamorig:Hips"], flag, value)
        options = RetargetOptions(root=RootMode.BONE, root_bone="root")
        write_action(armature, walk_motion(FRAMES), start_frame=1, options=options)
        found.append(world(armature, body(armature)))
    assert np.abs(found[0] - found[1]).max() < TOLERANCE


def test_bones_without_inherited_rotation_point_where_they_should() -> None:
    found = []
    for free in ((), ("LeftArm", "RightLeg", "Head", "Spine1")):
        armature = build(A_POSE)
        for name in free:
            armature.data.bones[f"mixamorig:{name}"].use_inherit_rotation = False
        write_action(armature, walk_motion(FRAMES), start_frame=1)
        found.append(world(armature, body(armature)))
    assert np.abs(found[0] - found[1]).max() < TOLERANCE


@pytest.mark.parametrize("before", [RootMode.BONE, RootMode.HIPS])
def test_a_root_bone_that_was_carried_away_comes_back(before: RootMode) -> None:
    """What an earlier action has left behind on bones above the hips moves no later one."""
    armature, motion = build(A_POSE), walk_motion(FRAMES)
    add_root(armature)
    write_action(armature, motion, start_frame=1)
    wanted = world(armature, body(armature))
    options = RetargetOptions(root=before, root_bone="root")
    write_action(armature, motion, start_frame=1, options=options)
    bpy.context.scene.frame_set(FRAMES)
    action = write_action(armature, motion, start_frame=1)
    assert np.abs(world(armature, body(armature)) - wanted).max() < TOLERANCE
    keyed = {curve.data_path for curve in curves_of(action).fcurves}
    assert ('pose.bones["root"].location' in keyed) == (before is RootMode.BONE)


def test_without_a_root_bone_it_says_so_and_writes_nothing() -> None:
    armature = build(A_POSE)
    with pytest.raises(RigError, match="no root bone"):
        write_action(
            armature, walk_motion(5), start_frame=1, options=RetargetOptions(root=RootMode.BONE)
        )
    assert len(bpy.data.actions) == 0


def test_rigify_ik_controls_do_what_the_fk_bones_do() -> None:
    armature = generate_rigify()
    ends = [f"ORG-{bone}.{side}" for bone in ("foot", "toe", "hand") for side in "LR"]
    middles = [f"ORG-{bone}.{side}" for bone in ("shin", "forearm") for side in "LR"]
    switch, motion = armature.pose.bones["thigh_parent.L"], walk_motion(20)
    write_action(armature, motion, start_frame=1)
    wanted = world(armature, [*ends, *middles], 20)
    assert switch["IK_FK"] == 1.0
    for root in (RootMode.HIPS, RootMode.BONE):
        options = RetargetOptions(key_ik=True, root=root)
        write_action(armature, motion, start_frame=1, options=options)
        found = world(armature, [*ends, *middles], 20)
        assert switch["IK_FK"] == 0.0
        assert np.abs(found - wanted)[:, : len(ends), :3, 3].max() < 1e-3
        assert np.abs(found - wanted)[:, len(ends) :, :3, 3].max() < 0.03  # knees and elbows


def test_rigify_arms_follow_its_shoulders() -> None:
    """shoulder.L carries the arm by a constraint, not as its parent."""
    armature = generate_rigify()
    motion = walk_motion(10)
    turns = motion.local_rotations.copy()
    turns[:, 13] = (np.cos(0.3), 0.0, 0.0, np.sin(0.3))  # left collar, up
    object.__setattr__(motion, "local_rotations", turns)
    write_action(armature, motion, start_frame=1)
    report = json.loads(armature.animation_data.action[PROVENANCE_KEY])["retarget"]
    names = ["ORG-upper_arm.L", "ORG-forearm.L", "ORG-hand.L"]
    places = world(armature, names, 10)[..., :3, 3]
    from tests.blender_addon.rig.figures import joint_positions

    source = joint_positions(motion)
    for (a, b), bone in zip(
        (("shoulder", "elbow"), ("elbow", "wrist")), ((0, 1), (1, 2)), strict=True
    ):
        x, y, z = (source[f"left_{b}"] - source[f"left_{a}"]).T
        wanted = np.stack([x, -z, y], axis=-1)
        found = places[:, bone[1]] - places[:, bone[0]]
        cosine = np.sum(found * wanted, -1)
        cosine /= np.linalg.norm(found, axis=-1) * np.linalg.norm(wanted, axis=-1)
        assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < 0.5
    assert report["max_direction_error"] < 0.5


def test_a_linked_rig_is_refused_and_its_override_only_gets_an_action(tmp_path: Path) -> None:
    armature = build(A_POSE)
    armature.rotation_euler.z = 0.5
    path = str(tmp_path / "rig.blend")
    collection = bpy.data.collections.new("Character")
    collection.objects.link(armature)
    bpy.data.libraries.write(path, {collection})
    bpy.ops.wm.read_factory_settings(use_empty=True)
    with bpy.data.libraries.load(path, link=True) as (_, wanted):
        wanted.collections = ["Character"]
    linked = bpy.data.collections["Character"]
    bpy.context.scene.collection.children.link(linked)
    (source,) = linked.objects
    with pytest.raises(RigError, match="override"):
        write_action(source, walk_motion(5), start_frame=1)
    linked.override_hierarchy_create(bpy.context.scene, bpy.context.view_layer)
    own = next(one for one in bpy.data.objects if one.override_library is not None)
    bpy.context.view_layer.update()
    before = {collection: len(getattr(bpy.data, collection)) for collection in COUNTED}
    action = write_action(own, walk_motion(FRAMES), start_frame=1)
    assert own.animation_data.action == action
    after = {collection: len(getattr(bpy.data, collection)) for collection in COUNTED}
    assert after == before | {"actions": before["actions"] + 1}
    hips = world(own, ["mixamorig:Hips"])[:, 0, :2, 3]
    assert np.ptp(hips, axis=0).max() > 0.5


COUNTED = ("objects", "armatures", "meshes", "actions", "collections")


def test_the_report_is_stored_with_the_action(mannequin: bpy.types.Object) -> None:
    action = write_action(mannequin, walk_motion(40), start_frame=1)
    report = json.loads(action[PROVENANCE_KEY])["retarget"]
    assert report["mapping"] == "Marey mannequin"
    assert report["unmapped_joints"] == []
    assert report["max_direction_error"] < 0.01
    assert report["foot_slide_mm"] < 0.1
    assert 0.1 < report["contact_share"] < 0.9


def test_a_match_of_the_users_own_is_taken(mannequin: bpy.types.Object) -> None:
    from dataclasses import replace

    match = replace(match_bones(mannequin), map_name="my rig", spine=("spine3",))
    action = write_action(mannequin, walk_motion(5), start_frame=1, match=match)
    whole = json.loads(action[PROVENANCE_KEY])
    assert (whole["bone_map"], whole["retarget"]["mapping"]) == ("my rig", "my rig")


def test_time_to_key_300_frames_on_65_bones() -> None:
    """All of it, as in the panel: 22 bones move, 43 more are fingers that keep still."""
    armature, motion = build(A_POSE), walk_motion(300)
    bpy.ops.object.mode_set(mode="EDIT")
    for number in range(43):
        finger = armature.data.edit_bones.new(f"finger {number}")
        finger.parent = armature.data.edit_bones["mixamorig:LeftHand"]
        finger.head, finger.tail = finger.parent.tail, (1.0, 0.0, 1.4 + 0.01 * number)
    bpy.ops.object.mode_set(mode="OBJECT")
    assert len(armature.data.bones) == 65
    assert fair_ms(lambda: write_action(armature, motion, start_frame=1)) < RETARGETED_IN_MS
