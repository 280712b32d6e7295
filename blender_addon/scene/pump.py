"""Moves messages from the engine into Blender, on Blender's main thread.

A timer and not a modal operator: Blender puts autosave off for as long as any modal operator runs
(projects.blender.org/blender/blender/issues/77825), and a job runs for minutes.
"""

from __future__ import annotations

import contextlib
import logging
import time
import traceback

import bpy

from .. import protocol
from ..engine_link import session
from ..engine_link.client import EngineLinkError
from ..engine_link.jobs import Job, JobKind
from ..engine_link.people import found_people
from ..engine_link.session import EngineState
from ..rig.bone_match import RigError
from . import delivery, overlays
from .delivery import TargetGoneError
from .movie_strips import StripError

log = logging.getLogger(__name__)

ACTIVE_INTERVAL_S = 0.1
IDLE_INTERVAL_S = 1.0  # with an engine that has nothing to do: to see when it dies
LATE_S = 0.6  # until the second drawing of a sidebar whose panels have changed
BUDGET_S = 0.02  # of one call: about one frame of playback at 60 Hz
# Editors in whose operators the artist holds something: an undo step would tear that apart.
_DRAGGING = (
    "TRANSFORM_OT_",
    "POSE_OT_",
    "ACTION_OT_",
    "GRAPH_OT_",
    "NLA_OT_",
    "SEQUENCER_OT_",
    "ARMATURE_OT_",
    "OBJECT_OT_",
    "MESH_OT_",
    "CURVE_OT_",
    "CURVES_OT_",
    "SCULPT_OT_",
    "SCULPT_CURVES_OT_",
    "PAINT_OT_",
    "GPENCIL_OT_",
    "GREASE_PENCIL_OT_",
    "UV_OT_",
    "NODE_OT_",
)


def start() -> None:
    """Begin to poll, soon."""
    if bpy.app.timers.is_registered(poll):
        bpy.app.timers.unregister(poll)  # it may sleep through its idle interval
    bpy.app.timers.register(poll, first_interval=ACTIVE_INTERVAL_S, persistent=True)


def stop() -> None:
    """End polling, when the add-on is switched off."""
    for timer in (poll, _redraw_sidebars, _redraw_late):
        if bpy.app.timers.is_registered(timer):
            bpy.app.timers.unregister(timer)


def redraw_soon() -> None:
    """Draw the sidebars again: panels find their places only after those above have changed.

    Twice, because on a slow display the first may be the same drawing as that of the change.
    """
    for timer, interval in ((_redraw_sidebars, ACTIVE_INTERVAL_S), (_redraw_late, LATE_S)):
        if bpy.app.timers.is_registered(timer):
            bpy.app.timers.unregister(timer)
        bpy.app.timers.register(timer, first_interval=interval)


def poll() -> float | None:
    """Handle what has arrived. Return the seconds to the next call, None to stop."""
    if _is_held():
        return ACTIVE_INTERVAL_S
    before = _shown_state()
    try:
        for message in session.receive(BUDGET_S):
            handle(message)
    except (protocol.ProtocolError, EngineLinkError) as error:
        log.error("Dropped a message from the engine: %s", error)
    _push_undo()
    if _shown_state() != before:
        _redraw_sidebars()
        redraw_soon()
    if session.is_busy():
        return ACTIVE_INTERVAL_S
    return IDLE_INTERVAL_S if session.state is EngineState.READY else None


def wait(timeout_s: float) -> bool:
    """Poll until the engine is settled and every job has ended, False after timeout_s.

    For background Blender, where no timer fires.
    """
    deadline = time.monotonic() + timeout_s
    while poll() == ACTIVE_INTERVAL_S:
        if time.monotonic() > deadline:
            return False
        time.sleep(ACTIVE_INTERVAL_S)
    return True


def cancel_all(why: str) -> None:
    """End every job that is under way, here and in the engine."""
    for job in session.jobs.fail_active(why):
        if session.client is not None:
            with contextlib.suppress(EngineLinkError):
                session.client.send(protocol.CancelJob(job_id=job.job_id))


def handle(message: protocol.Message) -> None:
    """Apply one message. Never raises: Blender drops a timer that does."""
    job = session.jobs.apply(message)
    if job is None:
        return
    if isinstance(message, protocol.PeopleFound) and job.footage is not None:
        found = found_people(job.job_id, job.footage, message)
        session.people[job.footage.strip_name] = found
    if isinstance(message, protocol.JobResult):
        if job.kind is JobKind.MOTION:
            _deliver(job, message)
        elif job.adds_strip:
            _add_overlay(job)


def _deliver(job: Job, result: protocol.JobResult) -> None:
    try:
        delivery.deliver(job, result)
    except TargetGoneError as error:
        job.fail(str(error), code="target_gone")
    except RigError as error:
        job.fail(str(error))
    except Exception:
        log.exception("Job %s: could not write the action", job.job_id)
        job.fail(
            "The motion arrived but could not be written: see the system console",
            code="not_written",
            detail=traceback.format_exc(),
        )


def _add_overlay(job: Job) -> None:
    try:
        overlays.add_overlay_strip(job)
    except (StripError, RuntimeError) as error:  # Blender's own words where it can't read it
        job.fail(f"The overlay was written but could not be added as a strip: {error}")
        return
    job.num_written += 1


def _push_undo() -> None:
    """One step for all that a job has brought, when it has ended; timers make none themselves."""
    ended = [job for job in session.jobs if job.state.is_end and job.num_written > job.num_in_undo]
    for job in ended:
        job.num_in_undo = job.num_written
        if bpy.app.background:
            continue
        window = bpy.context.window or bpy.context.window_manager.windows[0]
        with bpy.context.temp_override(window=window):
            words = "Generate Motion" if job.footage is None else "Capture Motion"
            bpy.ops.ed.undo_push(message=words)


def _is_held() -> bool:
    """Whether what came in now would be mixed up with something else.

    The artist moves something, or frames are rendered, of which all shall have the same motion.
    """
    if bpy.app.is_job_running("RENDER"):
        return True
    running = (
        one.bl_idname
        for window in bpy.context.window_manager.windows
        for one in window.modal_operators
    )
    return any(name.startswith(_DRAGGING) and not _is_of_addon(name) for name in running)


def _is_of_addon(operator: str) -> bool:
    """Whether an operator is written in Python: those of add-ons may run as long as Blender."""
    return bpy.types.Operator.bl_rna_get_subclass_py(operator) is not None


def _shown_state() -> object:
    """What the panels show; they are drawn again when it changes."""
    jobs = [
        (job.job_id, job.state, job.position, job.step, job.num_results, job.message)
        for job in session.jobs
    ]
    return session.state, session.message, len(session.models()), jobs


def _redraw_late() -> None:
    """Another timer that runs once."""
    _redraw_sidebars()


def _redraw_sidebars() -> None:
    """Also a timer that runs once."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            if area.type in ("VIEW_3D", "SEQUENCE_EDITOR"):
                for region in area.regions:
                    if region.type == "UI":
                        region.tag_redraw()
