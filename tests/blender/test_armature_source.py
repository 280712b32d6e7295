"""Sampling an armature: what Blender evaluates, without a trace in the file."""

from __future__ import annotations

import time

import bpy
import numpy as np
import pytest

from blender_addon.rig.armature_motion import SourceError
from blender_addon.scene.action_writer import write_action
from blender_addon.scene.armature_source import action_frames, sample_armature
from tests.blender.blender_rigs import build
from tests.blender.test_action_writer import evaluated
from tests.blender_addon.rig.figures import RigShape, walk_motion

pytestmark = pytest.mark.blender


def walking(frames: int = 30) -> bpy.types.Object:
    armature = build(RigShape(roll_seed=1))
    write_action(armature, walk_motion(frames), start_frame=1)
    return armature


def test_samples_are_what_blender_evaluates() -> None:
    armature = walking()
    armature.location, armature.rotation_euler = (1, 2, 0), (0, 0, 0.7)
    bone = armature.pose.bones["mixamorig:Head"]
    constraint = bone.constraints.new("DAMPED_TRACK")  # constraints count too
    constraint.target = bpy.data.objects.new("Looked At", None)
    bpy.context.scene.collection.objects.link(constraint.target)
    constraint.target.location = (3, 3, 3)
    bpy.context.scene.frame_set(1)
    wanted = evaluated(armature, 30)
    bpy.context.scene.frame_set(17)
    found = sample_armature(armature, range(1, 31))
    assert np.abs(found.rig.object_matrix @ found.poses - wanted).max() < 1e-4
    assert found.fps == 20.0


def test_a_moving_object_takes_its_bones_along() -> None:
    armature = walking()
    armature.location = (0, 0, 0)
    armature.keyframe_insert("location", frame=1)
    armature.location = (4, 0, 1)
    armature.keyframe_insert("location", frame=30)
    wanted = evaluated(armature, 30)
    found = sample_armature(armature, range(1, 31))
    assert np.abs(found.rig.object_matrix @ found.poses - wanted).max() < 1e-4


def test_the_file_stays_as_it_is() -> None:
    armature = walking()
    scene = bpy.context.scene
    scene.frame_set(9)
    scenes, users = list(bpy.data.scenes), armature.users
    before = [tuple(bone.matrix.translation) for bone in armature.pose.bones]
    sample_armature(armature, range(1, 31))
    assert (scene.frame_current, list(bpy.data.scenes), armature.users) == (9, scenes, users)
    assert bpy.context.scene == scene
    assert [tuple(bone.matrix.translation) for bone in armature.pose.bones] == before


def test_frames_are_reported_as_they_are_read() -> None:
    told: list[int] = []
    sample_armature(walking(), range(1, 121), report=told.append)
    assert told == [0, 50, 100]


def test_what_cannot_be_sampled_is_said() -> None:
    armature = walking()
    with pytest.raises(SourceError, match="needs 2 to"):
        sample_armature(armature, range(1, 2))
    bpy.ops.object.mode_set(mode="EDIT")
    with pytest.raises(SourceError, match="Edit Mode"):
        sample_armature(armature, range(1, 31))
    bpy.ops.object.mode_set(mode="OBJECT")
    armature.data.pose_position = "REST"
    with pytest.raises(SourceError, match="Rest Position"):
        sample_armature(armature, range(1, 31))
    empty = bpy.data.objects.new("Empty", bpy.data.armatures.new("Empty"))
    with pytest.raises(SourceError, match="no bones"):
        sample_armature(empty, range(1, 31))
    assert len(bpy.data.scenes) == 1


def test_the_frames_of_actions_and_strips() -> None:
    armature = walking()
    assert action_frames(armature) == (1, 30)
    animation = armature.animation_data
    action = animation.action
    strip = animation.nla_tracks.new().strips.new("walk", 11, action)
    animation.action = None
    assert action_frames(armature) == (11, 40)
    strip.mute = True
    assert action_frames(armature) is None
    assert action_frames(build(RigShape())) is None


def test_2000_frames_of_a_mixamo_rig_take_less_than_two_seconds() -> None:
    armature = walking(2000)
    start = time.thread_time()
    found = sample_armature(armature, range(1, 2001))
    assert time.thread_time() - start < 2.0
    assert found.num_frames == 2000
