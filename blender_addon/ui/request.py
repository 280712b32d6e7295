"""From the scene's settings to a request, and to a job in the list."""

from __future__ import annotations

import random
from dataclasses import replace

import bpy

from .. import protocol
from ..engine_link import session
from ..engine_link.client import EngineLinkError
from ..engine_link.jobs import Job, new_job_id
from ..scene import pump
from . import prompts
from .properties import MAX_COUNT, MAX_SEED, later_prompts, scene_end, scene_fps


class SettingsError(Exception):
    """Settings that don't fit each other or the file; the message is for the artist."""


def begin_frame(scene: bpy.types.Scene) -> int:
    """The frame at which the next motion begins.

    Raises:
        SettingsError: the marker is missing.
    """
    settings = scene.motion
    if settings.begin == "PLAYHEAD":
        return scene.frame_current
    marker = scene.timeline_markers.get(settings.marker)
    if marker is None:
        missing = f"There is no marker '{settings.marker}'" if settings.marker else "No marker"
        raise SettingsError(f"{missing}: choose one, or begin at the playhead")
    return marker.frame


def num_frames(scene: bpy.types.Scene) -> int:
    """Frames of the scene that the next motion lasts, with all its prompts.

    Raises:
        SettingsError: nothing is left of the scene, or not enough for all prompts.
    """
    settings = scene.motion
    later = sum(later_frames(scene))
    if settings.length == "SECONDS":
        return max(1, round(settings.seconds * scene_fps(scene))) + later
    begin, end = begin_frame(scene), scene_end(scene)
    if end - begin + 1 < 2:
        raise SettingsError(
            f"The scene ends at frame {end} and the motion begins at {begin}: move the playhead "
            "back, or give its length in seconds"
        )
    if later >= end - begin + 1:
        raise SettingsError("The later prompts are longer than what is left of the scene")
    return end - begin + 1


def later_frames(scene: bpy.types.Scene) -> list[int]:
    """Frames of each prompt after the first."""
    fps = scene_fps(scene)
    return [max(1, round(part.seconds * fps)) for part in later_prompts(scene.motion)]


def make_request(scene: bpy.types.Scene) -> protocol.PromptRequest:
    """What the scene's settings ask for.

    Raises:
        SettingsError: they don't fit the file.
        ProtocolError: one is out of range.
    """
    settings = scene.motion
    frames = zip(later_prompts(settings), later_frames(scene), strict=True)
    return protocol.PromptRequest(
        job_id=new_job_id(),
        model=settings.model,
        prompt=settings.prompt,
        num_frames=num_frames(scene),
        fps=scene_fps(scene),
        seed=settings.seed if settings.lock_seed else random_seed(),
        num_steps=settings.num_steps,
        guidance_scale=settings.guidance_scale,
        count=settings.count,
        then=[protocol.LaterPrompt(prompt=part.prompt, num_frames=n) for part, n in frames],
        loop=settings.loop,
    )


def random_seed() -> int:
    """A seed; those of further candidates still fit Blender's integers."""
    return random.randint(0, MAX_SEED - MAX_COUNT)


def make_job(
    scene: bpy.types.Scene,
    armature: bpy.types.Object,
    request: protocol.PromptRequest,
    start_frame: int,
) -> Job:
    """The job of a request whose motions are candidates."""
    return Job(
        job_id=request.job_id,
        armature_name=armature.name,
        armature_uid=armature.session_uid,  # a number: pointers do not survive undo
        scene_uid=scene.session_uid,
        start_frame=start_frame,
        prompt=", then ".join([request.prompt, *(part.prompt for part in request.then)]),
        count=request.count,
        is_preview=True,
        repeat_loop=request.loop and scene.motion.repeat,
        request=request,
    )


def send(job: Job) -> None:
    """Send a job's request, and enter it in the list.

    Raises:
        EngineLinkError: no engine is connected, or it takes no messages.
        ProtocolError: a number is out of range.
    """
    if session.client is None:
        raise EngineLinkError("Start the engine first")
    assert job.request is not None
    session.client.send(job.request)
    session.jobs.add(job)
    pump.start()


def submit(context: bpy.types.Context, armature: bpy.types.Object) -> Job:
    """Send the scene's settings to the engine as a job for an armature.

    Raises:
        SettingsError: the settings don't fit the file.
        EngineLinkError: no engine is connected, or it takes no messages.
        ProtocolError: a setting is out of range.
    """
    scene = context.scene
    job = make_job(scene, armature, make_request(scene), begin_frame(scene))
    send(job)
    for text in (scene.motion.prompt, *(part.prompt for part in later_prompts(scene.motion))):
        prompts.history().add(text)
    return job


def again(job: Job) -> Job:
    """Another job like one that has ended."""
    assert job.request is not None
    job_id = new_job_id()
    return Job(
        job_id=job_id,
        request=replace(job.request, job_id=job_id),
        **{name: getattr(job, name) for name in _KEPT},
    )


_KEPT = (
    "armature_name",
    "armature_uid",
    "scene_uid",
    "start_frame",
    "prompt",
    "count",
    "is_preview",
    "repeat_loop",
    "place",
    "expected_hash",
    "speed",
    "kind",
    "footage",
    "with_camera",
)
