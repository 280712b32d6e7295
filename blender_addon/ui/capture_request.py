"""From the selected strips to requests, and to jobs in the list."""

from __future__ import annotations

from pathlib import Path

import bpy

from .. import protocol
from ..engine_link import session
from ..engine_link.client import EngineLinkError
from ..engine_link.jobs import Job, JobKind, new_job_id
from ..engine_link.movie_range import MovieRange
from ..scene import movie_strips, takes
from ..scene.movie_strips import StripError
from . import request
from .capture_properties import pick_of


def target_armature(context: bpy.types.Context) -> bpy.types.Object | None:
    """The armature that gets the motion: the one chosen, else the active object if it is one."""
    chosen = context.scene.motion_capture.armature
    if chosen is not None:
        return chosen
    active = context.view_layer.objects.active
    return active if active is not None and active.type == "ARMATURE" else None


def usable_ranges(context: bpy.types.Context) -> tuple[list[MovieRange], list[str]]:
    """What the selected strips show, and why others can't be used."""
    ranges: list[MovieRange] = []
    problems: list[str] = []
    for found in movie_strips.selected_strips(movie_strips.sequencer_scene(context)):
        try:
            ranges.append(movie_strips.movie_range(found))
        except StripError as error:
            problems.append(str(error))
    return ranges, problems


def submit_capture(
    context: bpy.types.Context,
    armature: bpy.types.Object,
    found: MovieRange,
    *,
    is_alone: bool = True,
) -> Job:
    """Send a range of a movie to the engine as a job for an armature.

    is_alone: its motions are candidates to decide on. Motions of several strips are no
    alternatives: each is kept.

    Raises:
        EngineLinkError: no engine is connected, it takes no messages, or no video.
        StripError: nobody was picked in the strip.
        ProtocolError: a setting is out of range.
    """
    check_takes_video()
    settings = context.scene.motion_capture
    wanted = capture_request(context.scene, found)
    job = Job(
        job_id=wanted.job_id,
        armature_name=armature.name,
        armature_uid=armature.session_uid,
        scene_uid=context.scene.session_uid,
        start_frame=found.start,
        prompt=found.strip_name,
        speed=found.speed,
        is_preview=is_alone and not _has_other_take(armature, found),
        footage=found,
        with_camera=settings.camera,
        request=wanted,
    )
    request.send(job)
    return job


def capture_request(scene: bpy.types.Scene, found: MovieRange) -> protocol.VideoRequest:
    """What the scene's settings ask for of a range of a movie.

    Each frame of the timeline gets a key, at the moment of the movie that it shows.

    Raises:
        StripError: nobody was picked in the strip.
        ProtocolError: a setting is out of range.
    """
    settings = scene.motion_capture
    click_frame, click_x, click_y = -1, 0.5, 0.5
    if settings.follow == "PICKED":
        pick = pick_of(settings, found.strip_name, str(found.path))
        if pick is None or not found.first_frame <= pick.frame <= found.last_frame:
            raise StripError(
                f"Nobody is picked in '{found.strip_name}': press Find People and choose, or "
                "follow the largest"
            )
        click_frame, click_x, click_y = pick.frame, pick.x, pick.y
    return protocol.VideoRequest(
        job_id=new_job_id(),
        path=str(found.path),
        first_frame=found.first_frame,
        num_frames=found.num_frames,
        movie_fps=found.movie_fps,
        fps=found.keys_per_second,
        offset=found.offset,
        length=found.num_shown,
        person=settings.person if settings.follow == "NUMBER" else -1,
        click_frame=click_frame,
        click_x=click_x,
        click_y=click_y,
        lifter=settings.lifter,
        model=settings.prior,
        prompt=settings.prompt if settings.prior else "",
        seed=scene.motion.seed,
    )


def submit_people(context: bpy.types.Context, found: MovieRange) -> Job:
    """Ask who is in a range of a movie.

    Raises:
        EngineLinkError: no engine is connected, it takes no messages, or no video.
        ProtocolError: the range is none.
    """
    check_takes_video()
    wanted = protocol.PeopleRequest(
        job_id=new_job_id(),
        path=str(found.path),
        first_frame=found.first_frame,
        num_frames=found.num_frames,
        movie_fps=found.movie_fps,
    )
    job = Job(
        job_id=wanted.job_id,
        kind=JobKind.PEOPLE,
        armature_name="",
        start_frame=found.start,
        scene_uid=context.scene.session_uid,
        prompt=found.strip_name,
        footage=found,
        request=wanted,
    )
    request.send(job)
    return job


def submit_overlay(job: Job, path: Path, *, replace_file: bool) -> Job:
    """Ask for the movie that shows how well a capture fits; the same capture as that of a job.

    Raises:
        EngineLinkError: no engine is connected, or it takes no messages.
        ProtocolError: the path can't be one.
    """
    check_takes_video()
    again = request.again(job)
    assert isinstance(again.request, protocol.VideoRequest)
    again.kind, again.is_preview, again.with_camera = JobKind.OVERLAY, False, False
    again.request = protocol.VideoRequest(
        **{
            **vars(again.request),
            "overlay": str(path),
            "overlay_replace": replace_file,
            "count": 1,
        }
    )
    request.send(again)
    return again


def check_takes_video() -> None:
    """Make sure that there is an engine that knows what is to be asked.

    Raises:
        EngineLinkError: there is none, or it is too old.
    """
    client = session.client
    if client is None or client.welcome is None:
        raise EngineLinkError("Start the engine first")
    if not client.welcome.finds_people:
        raise EngineLinkError("This engine is too old for video: install the one of this release")


def _has_other_take(armature: bpy.types.Object, found: MovieRange) -> bool:
    """Whether candidates of something else still wait for a decision."""
    take = takes.take_of(armature)
    if take is None:
        return False
    made_from = {takes.provenance_of(one).get("strip") for one in take.candidates}
    return made_from != {found.strip_name}
