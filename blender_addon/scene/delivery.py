"""A result that has arrived becomes an action of its character, or a candidate for one."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import bpy
from mathutils import Matrix

from .. import protocol
from ..engine_link.jobs import Job
from ..rig.retarget_options import RootMode
from . import action_writer, cycles, match_camera, takes, target

PLACE_KEY = "place"  # in the provenance: where the object stood, as 16 numbers


class TargetGoneError(Exception):
    """The character of a job is not there any more; the message is for the artist."""


def deliver(job: Job, result: protocol.JobResult) -> bpy.types.Action:
    """Key one result of a job on its character.

    Raises:
        TargetGoneError: the character was deleted.
        RigError: it can't be keyed now.
    """
    armature = find_armature(job)
    action_writer.check_writable(armature)
    options, match = target.options_of(armature), target.find_match(armature)
    if job.root:
        options = replace(options, root=RootMode(job.root))
    numbered = (scene for scene in bpy.data.scenes if scene.session_uid == job.scene_uid)
    scene = next(numbered, bpy.context.scene)
    provenance: dict[str, Any] = json.loads(result.provenance)
    if job.footage is not None:
        provenance["strip"] = job.footage.strip_name
    _check_model(job, provenance)
    take = takes.take_of(armature) if job.is_preview else None
    before = takes.Before.of(armature)
    if take is not None:
        takes.place_before(armature, take)
    if options.root is RootMode.OBJECT:
        _place(armature, job)
        provenance[PLACE_KEY] = [value for row in armature.matrix_basis for value in row]
    if provenance.get("loop"):
        provenance[cycles.STEP_KEY] = cycles.cycle_step(armature, match, result)
    timed = on_timeline(result, job.speed, scene)
    action, keyed = action_writer.key_motion(
        armature,
        timed,
        start_frame=job.start_frame,
        options=options,
        match=match,
        provenance=provenance,
        scene=scene,
    )
    if provenance.get("loop"):
        cycles.make_cyclic(action, repeat=job.repeat_loop)
        action[cycles.STEP_KEY] = provenance[cycles.STEP_KEY]
    if job.with_camera and result.has_camera:
        match_camera.add_camera(
            action,
            result,
            keyed.placement,
            frames=action_writer.scene_frames(keyed, job.start_frame, scene),
            scene=scene,
            footage=job.footage,
        )
    if job.is_preview:
        takes.mark_candidate(armature, action, take, before)
        if take is not None and job.num_written > 0:  # the first of a press is the one to see
            takes.show(armature, take, take.shown)
    job.num_written += 1
    return action


def on_timeline(
    result: protocol.JobResult, speed: float, scene: bpy.types.Scene
) -> protocol.JobResult:
    """A motion at the rate at which the timeline plays it: `speed` of its seconds in one."""
    fps = result.fps * speed
    scene_fps = scene.render.fps / scene.render.fps_base
    # Rounding would put keys beside the frames that they are for.
    return replace(result, fps=scene_fps if math.isclose(fps, scene_fps, rel_tol=1e-5) else fps)


def find_armature(job: Job) -> bpy.types.Object:
    """The character of a job, whatever its name is now.

    Raises:
        TargetGoneError: it was deleted.
    """
    numbered = (one for one in bpy.data.objects if one.session_uid == job.armature_uid)
    found = next(numbered, None) if job.armature_uid else bpy.data.objects.get(job.armature_name)
    # An object that was deleted may stay in the file for somebody who still points at it.
    if found is None or found.type != "ARMATURE" or not found.users_scene:
        raise TargetGoneError(f"'{job.armature_name}' was deleted while its motion was made")
    return found


def _place(armature: bpy.types.Object, job: Job) -> None:
    """Put the object where the motion of an earlier action began, to make the same again."""
    if not job.place:
        return
    if armature.animation_data is not None and armature.animation_data.action is not None:
        armature.animation_data.action.use_fake_user = True
        armature.animation_data.action = None
    values = job.place
    armature.matrix_basis = Matrix([values[row : row + 4] for row in range(0, 16, 4)])
    armature.users_scene[0].view_layers[0].update()


def _check_model(job: Job, provenance: dict[str, Any]) -> None:
    """Say that a motion is not what it was, where another model has made it."""
    if job.expected_hash and provenance.get("model_hash") != job.expected_hash:
        told = "Made by another model than the first time: it differs from what it was"
        if told not in job.warnings:
            job.warnings.append(told)
