"""Motion from another armature or a file: the round trip, the words, and nothing else touched."""

from __future__ import annotations

import json
import time
from pathlib import Path

import bpy
import numpy as np
import pytest

from blender_addon.protocol import JobResult
from blender_addon.rig.armature_motion import SourceError, read_source
from blender_addon.rig.bone_match import RigError
from blender_addon.rig.retarget_options import RetargetOptions
from blender_addon.rig.source_motion import SourceMotion, source_from_result
from blender_addon.scene import target
from blender_addon.scene.action_writer import PROVENANCE_KEY, write_action
from blender_addon.scene.armature_source import sample_armature
from blender_addon.scene.retarget_source import retarget_armature, retarget_file
from tests.blender.blender_rigs import build, generate_rigify
from tests.blender_addon.rig.figures import RigShape, walk_motion
from tests.blender_addon.rig.test_armature_motion import FREE, limb_angles

pytestmark = [pytest.mark.blender, pytest.mark.usefixtures("addon")]


def moved(armature: bpy.types.Object, frames: int) -> SourceMotion:
    """What an armature does, read from Blender."""
    return read_source(sample_armature(armature, range(1, frames + 1)), target.recognise_rig).motion


def free(armature: bpy.types.Object) -> None:
    settings = armature.motion_target
    settings.plant_feet = settings.plant_toes = settings.keep_above_floor = False


def test_round_trip_over_a_mixamo_rig(real_walk: JobResult, mannequin: bpy.types.Object) -> None:
    """A recorded walk onto a Mixamo rig and read from there; then from there onto the mannequin.

    Nothing is lost but what planting the feet needs: in the recording they slide 4 mm a frame.
    """
    rig = build(RigShape(arms_down=0.7, roll_seed=3))
    wanted, frames = source_from_result(real_walk), len(real_walk.contacts)
    write_action(rig, real_walk, start_frame=1, options=FREE)
    assert limb_angles(moved(rig, frames), wanted).max() < 0.1
    write_action(rig, real_walk, start_frame=1)
    read = moved(rig, frames)
    errors = limb_angles(read, wanted)
    assert errors.mean() < 1.0
    assert errors[:, [2, 3, 6, 7]].max() < 0.1  # the arms: all of it is in the legs
    assert np.abs(read.contacts - wanted.contacts).mean() < 0.15
    retarget_armature(rig, mannequin)
    errors = limb_angles(moved(mannequin, frames), read)
    assert errors.mean() < 0.5
    assert errors.max() < 10.0


def test_without_planting_the_round_trip_is_exact(mannequin: bpy.types.Object) -> None:
    rig = build(RigShape(roll_seed=3))
    write_action(rig, walk_motion(40), start_frame=1, options=FREE)
    free(mannequin)
    retarget_armature(rig, mannequin)
    errors = limb_angles(moved(mannequin, 40), source_from_result(walk_motion(40)))
    assert errors.max() < 0.1


def test_a_control_rig_is_read_by_its_deforming_bones(mannequin: bpy.types.Object) -> None:
    """Rigify keyed by IK: its FK controls stand still, its body doesn't."""
    rig = generate_rigify()
    bpy.context.scene.frame_set(1)
    for name, frame, place in (
        ("hand_ik.L", 1, (0, 0, 0)),
        ("hand_ik.L", 20, (0, -0.3, 0.2)),
        ("torso", 1, (0, 0, 0)),
        ("torso", 20, (0, 0.2, -0.1)),
    ):
        rig.pose.bones[name].location = place
        rig.pose.bones[name].keyframe_insert("location", frame=frame)
    for limb in ("upper_arm", "thigh"):
        for side in "LR":
            rig.pose.bones[f"{limb}_parent.{side}"]["IK_FK"] = 0.0
    free(mannequin)
    retarget_armature(rig, mannequin)
    found = moved(mannequin, 20)
    for shown, joint in (("DEF-upper_arm.L", "shoulder"), ("DEF-shin.L", "knee")):
        places = []
        for frame in (1, 20):
            bpy.context.scene.frame_set(frame)
            places.append(rig.pose.bones[shown].matrix.to_3x3() @ rig.pose.bones[shown].bone.y_axis)
        lower = {"shoulder": "elbow", "knee": "ankle"}[joint]
        limb = found.place(f"left_{lower}") - found.place(f"left_{joint}")
        turned = np.degrees(np.arccos(limb[0] @ limb[-1] / np.linalg.norm(limb[0]) ** 2))
        assert turned > 5.0, shown
    for bone in rig.data.bones:
        bone.use_deform = False
    assert any("FK controls" in note for note in retarget_armature(rig, mannequin).notes)


def test_the_sources_own_picks_count(mannequin: bpy.types.Object) -> None:
    rig = build(RigShape())
    write_action(rig, walk_motion(10), start_frame=1)
    rig.motion_target.picks.head = "mixamorig:Hat"
    with pytest.raises(SourceError, match="Hat"):
        retarget_armature(rig, mannequin)
    assert mannequin.animation_data is None


def test_the_new_action_says_where_it_came_from(mannequin: bpy.types.Object) -> None:
    rig = build(RigShape())
    mine = write_action(rig, walk_motion(20), start_frame=11)
    mine.name = "My Walk"
    done = retarget_armature(rig, mannequin)
    assert tuple(done.action.frame_range) == (11, 30)
    told = json.loads(done.action[PROVENANCE_KEY])
    assert told["source"] == {
        "object": "Rig",
        "action": "My Walk",
        "file": "",
        "frames": [11, 30],
        "rig": "Mixamo",
    }
    assert told["retarget"]["max_direction_error"] < 1.0
    assert rig.animation_data.action == mine


def test_frames_and_start_can_be_chosen(mannequin: bpy.types.Object) -> None:
    rig = build(RigShape())
    write_action(rig, walk_motion(40), start_frame=1)
    done = retarget_armature(rig, mannequin, frames=range(11, 21), start_frame=101)
    assert tuple(done.action.frame_range) == (101, 110)


def test_the_operator_takes_the_scenes_settings(mannequin: bpy.types.Object) -> None:
    rig = build(RigShape())
    write_action(rig, walk_motion(40), start_frame=1)
    scene = bpy.context.scene
    bpy.context.view_layer.objects.active = mannequin
    assert not bpy.ops.motion.retarget_armature.poll()
    scene.motion_retarget.source = mannequin
    assert not bpy.ops.motion.retarget_armature.poll()
    scene.motion_retarget.source = rig
    scene.motion_retarget.frames, scene.motion_retarget.start = "SCENE", "CURRENT"
    scene.frame_start, scene.frame_end, scene.frame_current = 5, 14, 200
    assert bpy.ops.motion.retarget_armature() == {"FINISHED"}
    assert tuple(mannequin.animation_data.action.frame_range) == (200, 209)
    assert scene.frame_current == 200
    scene.motion_retarget.frames, scene.motion_retarget.start = "ACTION", "SAME"
    assert bpy.ops.motion.retarget_armature() == {"FINISHED"}
    assert tuple(mannequin.animation_data.action.frame_range) == (1, 40)


def test_failures_are_said_and_change_nothing(mannequin: bpy.types.Object) -> None:
    still = build(RigShape())
    with pytest.raises(SourceError, match="no keys"):
        retarget_armature(still, mannequin)
    with pytest.raises(SourceError, match="same armature"):
        retarget_armature(mannequin, mannequin)
    crane = bpy.data.objects.new("Crane", bpy.data.armatures.new("Crane"))
    bpy.context.scene.collection.objects.link(crane)
    write_action(still, walk_motion(10), start_frame=1)
    with pytest.raises(RigError):
        retarget_armature(still, crane)
    assert crane.animation_data is None
    assert len(bpy.data.actions) == 1


def write_bvh(path: Path, frames: int = 61, fps: int = 60) -> None:
    """A figure in the T-pose that turns its left arm down and walks along +z, 1 m in a second."""
    lines = ["HIERARCHY"]

    def joint(name: str, offset: str, *children: str, depth: int = 0) -> None:
        kind = "ROOT" if depth == 0 else "JOINT"
        channels = "6 Xposition Yposition Zposition " if depth == 0 else "3 "
        lines.append(f"{kind} {name}\n{{\nOFFSET {offset}")
        lines.append(f"CHANNELS {channels}Zrotation Xrotation Yrotation")
        names.append(name)
        for child in children:
            place, *below = tree[child]
            joint(child, place, *below, depth=depth + 1)
        if not children:
            lines.append("End Site\n{\nOFFSET 0 5 0\n}")
        lines.append("}")

    names: list[str] = []
    tree: dict[str, tuple[str, ...]] = {
        "Spine": ("0 10 0", "Spine1"),
        "Spine1": ("0 20 0", "Neck", "LeftShoulder", "RightShoulder"),
        "Neck": ("0 20 0", "Head"),
        "Head": ("0 10 0",),
    }
    for side, x in (("Left", 1), ("Right", -1)):
        tree |= {
            f"{side}Shoulder": (f"{5 * x} 15 0", f"{side}Arm"),
            f"{side}Arm": (f"{12 * x} 0 0", f"{side}ForeArm"),
            f"{side}ForeArm": (f"{28 * x} 0 0", f"{side}Hand"),
            f"{side}Hand": (f"{25 * x} 0 0",),
            f"{side}UpLeg": (f"{9 * x} -5 0", f"{side}Leg"),
            f"{side}Leg": ("0 -42 0", f"{side}Foot"),
            f"{side}Foot": ("0 -42 0", f"{side}ToeBase"),
            f"{side}ToeBase": ("0 -7 13",),
        }
    joint("Hips", "0 96 0", "Spine", "LeftUpLeg", "RightUpLeg")
    lines += ["MOTION", f"Frames: {frames}", f"Frame Time: {1 / fps:.7f}"]
    for frame in range(frames):
        share = frame / (frames - 1)
        turns = {"LeftArm": f"{-80 * share} 0 0"}
        row = [f"0 96 {100 * share}", *(turns.get(name, "0 0 0") for name in names)]
        lines.append(" ".join(row))
    path.write_text("\n".join(lines), encoding="utf-8")


def test_a_bvh_file_moves_the_character(tmp_path: Path, mannequin: bpy.types.Object) -> None:
    write_bvh(tmp_path / "walk.bvh")
    bpy.context.scene.frame_current = 7
    bpy.context.view_layer.objects.active = mannequin
    assert bpy.ops.motion.retarget_file(filepath=str(tmp_path / "walk.bvh")) == {"FINISHED"}
    action = mannequin.animation_data.action
    assert action.name == "walk"
    assert tuple(action.frame_range) == (7, 27)  # a second at the scene's 20 frames
    found = read_source(sample_armature(mannequin, range(7, 28)), target.recognise_rig).motion
    arm = found.place("left_elbow") - found.place("left_shoulder")
    angles = np.degrees(np.arctan2(-arm[:, 1], arm[:, 0]))
    assert angles[0] == pytest.approx(0, abs=1)
    assert angles[-1] == pytest.approx(80, abs=1)
    way = found.place("pelvis")[-1] - found.place("pelvis")[0]
    assert way[2] == pytest.approx(1.0, rel=0.1)
    assert abs(way[0]) < 1e-3
    told = json.loads(action[PROVENANCE_KEY])["source"]
    assert (told["file"], told["fps"]) == ("walk.bvh", 60.0)
    assert len(bpy.data.objects) == 2  # the mannequin and its body: nothing was imported


def test_the_files_own_frames_can_be_kept(tmp_path: Path, mannequin: bpy.types.Object) -> None:
    write_bvh(tmp_path / "walk.bvh")
    retarget_file(tmp_path / "walk.bvh", mannequin, start_frame=1, on_frames=False)
    from tests.blender.test_action_writer import curves_of

    assert len(curves_of(mannequin)[0].keyframe_points) == 61


def test_a_t_pose_at_the_beginning_can_be_left_out(
    tmp_path: Path, mannequin: bpy.types.Object
) -> None:
    write_bvh(tmp_path / "walk.bvh")
    done = retarget_file(tmp_path / "walk.bvh", mannequin, start_frame=1, first_frame=31)
    assert tuple(done.action.frame_range) == (1, 11)
    arm = moved(mannequin, 11).place("left_elbow") - moved(mannequin, 11).place("left_shoulder")
    assert np.degrees(np.arctan2(-arm[0, 1], arm[0, 0])) == pytest.approx(40, abs=1)
    with pytest.raises(SourceError, match="61 frames"):
        retarget_file(tmp_path / "walk.bvh", mannequin, start_frame=1, first_frame=62)


def test_a_bad_file_is_refused_with_its_name(tmp_path: Path, mannequin: bpy.types.Object) -> None:
    (tmp_path / "bad.bvh").write_text("HIERARCHY", encoding="utf-8")
    bpy.context.view_layer.objects.active = mannequin
    with pytest.raises(RuntimeError, match=r"bad\.bvh"):
        bpy.ops.motion.retarget_file(filepath=str(tmp_path / "bad.bvh"))
    assert mannequin.animation_data is None


def test_2000_frames_of_a_file_take_less_than_two_seconds(
    tmp_path: Path, mannequin: bpy.types.Object
) -> None:
    write_bvh(tmp_path / "long.bvh", frames=2000, fps=20)
    start = time.thread_time()
    retarget_file(tmp_path / "long.bvh", mannequin, start_frame=1)
    assert time.thread_time() - start < 2.0


def test_options_of_the_target_count(mannequin: bpy.types.Object) -> None:
    assert target.options_of(mannequin) == RetargetOptions()
    rig = build(RigShape())
    write_action(rig, walk_motion(40), start_frame=1)
    mannequin.motion_target.root = "OBJECT"
    retarget_armature(rig, mannequin)
    bpy.context.scene.frame_set(1)
    begin = mannequin.matrix_world.translation.copy()
    bpy.context.scene.frame_set(40)
    assert (mannequin.matrix_world.translation - begin).length > 1.0
