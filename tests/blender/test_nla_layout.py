"""Motions on NLA tracks: at the playhead, above what was there, one strip for each prompt."""

from __future__ import annotations

import bpy
import numpy as np
import pytest

from blender_addon.scene import takes
from tests.blender.test_pump import FakeClient
from tests.blender.test_takes import client, generate, keys_of, own_action

pytestmark = [pytest.mark.blender, pytest.mark.usefixtures("addon")]

__all__ = ["client"]  # a fixture


def poses(armature: bpy.types.Object, frames: range) -> np.ndarray:
    shown = []
    for frame in frames:
        bpy.context.scene.frame_set(frame)
        shown.append([tuple(bone.matrix.translation) for bone in armature.pose.bones])
    return np.array(shown)


def test_a_candidate_becomes_a_strip_at_the_playhead(
    client: FakeClient, mannequin: bpy.types.Object
) -> None:
    generate(client, mannequin, 2)
    wanted = poses(mannequin, range(1, 11))
    bpy.context.scene.motion.keep_as = "STRIP"
    bpy.context.scene.frame_set(41)
    assert bpy.ops.motion.accept() == {"FINISHED"}
    animation = mannequin.animation_data
    assert animation.action is None
    (track,) = animation.nla_tracks
    (strip,) = track.strips
    assert (strip.frame_start, strip.frame_end, strip.influence) == (41, 50, 1.0)
    np.testing.assert_allclose(poses(mannequin, range(41, 51)), wanted, atol=1e-5)
    assert len(bpy.data.actions) == 1
    assert takes.take_of(mannequin) is None


def test_what_was_there_goes_on_around_the_strip(
    client: FakeClient, mannequin: bpy.types.Object
) -> None:
    former = own_action(mannequin)
    keys, flag = keys_of(former), former.use_fake_user
    generate(client, mannequin)
    bpy.context.scene.motion.keep_as = "STRIP"
    bpy.context.scene.frame_set(41)
    bpy.ops.motion.accept()
    animation = mannequin.animation_data
    assert animation.nla_tracks[0].strips[0].action == former
    assert [track.strips[0].frame_start for track in animation.nla_tracks] == [1, 41]
    assert (keys_of(former), former.use_fake_user) == (keys, flag)
    bpy.context.scene.frame_set(3)
    assert mannequin.pose.bones["head"].rotation_euler.x == pytest.approx(0.2)


def test_a_sequence_becomes_a_strip_for_each_prompt(
    client: FakeClient, mannequin: bpy.types.Object
) -> None:
    parts = [{"prompt": "walks", "num_frames": 6}, {"prompt": "waves", "num_frames": 4}]
    generate(client, mannequin, prompts=parts)
    wanted = poses(mannequin, range(1, 11))
    settings = bpy.context.scene.motion
    settings.keep_as = "STRIP"
    bpy.context.scene.frame_set(21)
    assert bpy.ops.motion.accept() == {"FINISHED"}
    (track,) = mannequin.animation_data.nla_tracks
    assert [strip.name for strip in track.strips] == ["walks", "waves"]
    assert [(strip.frame_start, strip.frame_end) for strip in track.strips] == [(21, 27), (27, 30)]
    np.testing.assert_allclose(poses(mannequin, range(21, 31)), wanted, atol=1e-5)
    assert sorted(action.name for action in bpy.data.actions) == ["walks", "waves"]
    assert takes.provenance_of(bpy.data.actions["waves"])["prompts"] == parts


def test_a_sequence_can_stay_one_strip(client: FakeClient, mannequin: bpy.types.Object) -> None:
    parts = [{"prompt": "walks", "num_frames": 6}, {"prompt": "waves", "num_frames": 4}]
    generate(client, mannequin, prompts=parts)
    settings = bpy.context.scene.motion
    settings.keep_as, settings.strip_per_prompt = "STRIP", False
    bpy.ops.motion.accept()
    (track,) = mannequin.animation_data.nla_tracks
    assert len(track.strips) == 1
