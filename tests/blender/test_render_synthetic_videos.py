"""Synthetic videos: the truth is where the bones are, and the camera sees it there."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector

import render_synthetic_videos as videos
import retarget_rigs
import synthetic_scene
from blender_addon.scene.rest_pose import match_bones
from synthetic_trunk import JOINTS

pytestmark = pytest.mark.blender
FRAMES = 4


@pytest.fixture
def walker() -> bpy.types.Object:
    """A made rig that glides to its left and raises its left arm."""
    armature = retarget_rigs.build(retarget_rigs.MADE["made-turned"])
    arm = armature.pose.bones["mixamorig:LeftArm"]
    arm.rotation_mode = "XYZ"
    for frame, share in ((1, 0.0), (FRAMES, 1.0)):
        armature.location = (0.3 * share, 0.2 * share, 0.0)
        armature.keyframe_insert("location", frame=frame)
        arm.rotation_euler.x = share
        arm.keyframe_insert("rotation_euler", frame=frame)
    return armature


def test_truth_is_where_the_bones_are(walker: bpy.types.Object) -> None:
    joints, heads = videos.true_joints(walker, match_bones(walker), FRAMES)

    bpy.context.scene.frame_set(FRAMES)
    for joint, bone in (("left_wrist", "LeftHand"), ("right_knee", "RightLeg")):
        place = walker.matrix_world @ walker.pose.bones[f"mixamorig:{bone}"].head
        assert joints[-1, JOINTS.index(joint)] == pytest.approx(np.array(place), abs=1e-5)
    arm = [JOINTS.index("left_shoulder"), JOINTS.index("left_wrist")]
    reach = joints[:, arm[1]] - joints[:, arm[0]]
    assert np.linalg.norm(reach[-1] - reach[0]) > 0.2, "the arm moved"
    moved = joints[-1, 0] - joints[0, 0]
    assert moved == pytest.approx((0.3, 0.2, 0.0), abs=1e-5)
    # our pelvis is over the hips, wherever the rig has its own
    hips = joints[:, [1, 2]].mean(1)
    assert (joints[:, 0, 2] - hips[:, 2]).min() > 0.05
    same = [JOINTS.index(joint) for joint in ("left_ankle", "head", "right_elbow")]
    assert np.array_equal(joints[:, same], heads[:, same])


@pytest.mark.parametrize("name", list(synthetic_scene.VIEWS))
def test_every_view_has_the_whole_body(walker: bpy.types.Object, name: str) -> None:
    joints, _ = videos.true_joints(walker, match_bones(walker), FRAMES)
    synthetic_scene.set_renderer((96, 72), 10, 1)
    scene = bpy.context.scene
    scene.frame_end = FRAMES

    camera = synthetic_scene.add_view(synthetic_scene.VIEWS[name], joints, 0.0, 10)
    arrays = synthetic_scene.camera_arrays(camera, FRAMES)

    up = synthetic_scene.TO_Y_UP
    for frame in range(FRAMES):
        scene.frame_set(frame + 1)
        seen = arrays["camera_rotation"][frame] @ up @ joints[frame].T
        seen = seen.T + arrays["camera_translation"][frame]
        pixels = seen[:, :2] / seen[:, 2:] * arrays["focal_length"] + arrays["principal_point"]
        for joint, pixel, depth in zip(joints[frame], pixels, seen[:, 2], strict=True):
            x, y, away = world_to_camera_view(scene, camera, Vector(joint))
            assert pixel == pytest.approx((96 * x, 72 * (1 - y)), abs=1e-3)
            assert depth == pytest.approx(away, abs=1e-4)
            assert 0 < x < 1
            assert 0 < y < 1


def test_front_is_where_the_character_faces(walker: bpy.types.Object) -> None:
    joints, _ = videos.true_joints(walker, match_bones(walker), FRAMES)
    view = synthetic_scene.View(name="ahead", azimuth=0, height=1.5, lens=35)

    camera = synthetic_scene.add_view(view, joints, 0.0, 10)

    ankle, toe = JOINTS.index("left_ankle"), JOINTS.index("left_foot")
    ahead = (joints[0, toe] - joints[0, ankle])[:2]
    towards = np.array(camera.location)[:2] - joints[0, 0, :2]
    cosine = ahead @ towards / np.linalg.norm(ahead) / np.linalg.norm(towards)
    assert cosine > 0.9


def test_a_movie_of_the_room(walker: bpy.types.Object, tmp_path: Path) -> None:
    joints, _ = videos.true_joints(walker, match_bones(walker), 2)
    synthetic_scene.set_renderer((48, 32), 10, 1)
    bpy.context.scene.frame_start, bpy.context.scene.frame_end = 1, 2
    synthetic_scene.build_room(joints[:, 0, :2].mean(0), 0.0)
    synthetic_scene.add_view(synthetic_scene.VIEWS["front"], joints, 0.0, 10)
    path = tmp_path / "made-front.mp4"

    videos.render_movie(path, 2)

    clip = bpy.data.movieclips.load(str(path))
    assert clip.frame_duration == 2
    assert tuple(clip.size) == (48, 32)
    assert not list(tmp_path.glob("*partial*"))


def test_a_rig_without_pictures_gets_skin_and_clothes(mannequin: bpy.types.Object) -> None:
    videos.dress(mannequin)

    names = {
        slot.material.name
        for mesh in bpy.context.scene.objects
        if mesh.type == "MESH"
        for slot in mesh.material_slots
    }
    assert names == {"skin", "clothes"}


def test_a_file_that_is_no_rig_is_refused(tmp_path: Path) -> None:
    broken = tmp_path / "broken.glb"
    broken.write_text("no model")

    with pytest.raises(ValueError, match=r"broken\.glb can't be read"):
        retarget_rigs.load_file(broken)
