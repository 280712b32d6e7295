"""For scripts: calls from a prompt, or a list of jobs, to keyed armatures, in Blender or bpy.

    import blender_addon                      # in Blender: bl_ext.user_default.marey
    from blender_addon.scripting import generate

    blender_addon.register()
    action = generate(bpy.data.objects["rig"], "a person walks forward", seconds=4, seed=1)
    blender_addon.unregister()

The first call starts the engine, which stays for the next ones until unregister().

    outcomes = run_batch([
        {"prompt": "a person waves", "armature": "rig", "seed": 7, "export": "/out/wave.fbx"},
        {"prompt": "a person jumps", "armature": "rig", "seconds": 3, "action": "Jump"},
    ], save="/out/done.blend")
    failed = [outcome.message for outcome in outcomes if not outcome.is_done]

does what `blender -b FILE --command marey batch JOBS.json` does, in the open file.
"""

# bpy's types are generated and often None-able, as in scene/ and ui/.
# pyright: basic, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# pyright: reportArgumentType=false, reportUnnecessaryComparison=false
# pyright: reportUnknownParameterType=false, reportReturnType=false

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import bpy

from . import protocol
from .batch.command import EngineChoice, WrongWordsError, run_jobs
from .batch.jobs_file import JobsFileError, parse_jobs, read_jobs
from .batch.report import Outcome
from .engine_link import session
from .engine_link.client import EngineLinkError
from .engine_link.jobs import Job, JobState
from .engine_link.process import EngineCommand
from .engine_link.session import EngineState
from .rig.retarget_options import RootMode
from .scene import action_writer, pump, target
from .ui.preferences import open_engine
from .ui.properties import scene_fps

ENGINE_TIMEOUT_S = 120.0  # a cold start reads torch from disk


class GenerateError(RuntimeError):
    """The motion could not be made; the message says why, in a line."""


class BatchError(GenerateError):
    """Jobs that can't be begun; the message has a line for each fault."""


def start_engine(command: EngineCommand | None = None) -> None:
    """Start the engine and wait until it answers; nothing to do where it does.

    command: how to start it; None takes the preferences, or a source checkout's .venv.

    Raises:
        GenerateError: it does not come up.
    """
    if session.state is EngineState.READY:
        return
    try:
        if command is None:
            open_engine()
        else:
            session.start_engine(command)
    except EngineLinkError as error:
        raise GenerateError(str(error)) from error
    settled = pump.wait(ENGINE_TIMEOUT_S)
    if session.state is not EngineState.READY:
        reason = session.message or "it ended" if settled else f"no answer in {ENGINE_TIMEOUT_S} s"
        raise GenerateError(f"The engine did not start: {reason}")


def generate(
    armature: bpy.types.Object,
    prompt: str,
    *,
    seconds: float = 6.0,
    seed: int = -1,
    model: str = "",
    num_steps: int = 0,
    guidance_scale: float = 0.0,
    start_frame: int | None = None,
    root: str = "",
    engine: EngineCommand | None = None,
    timeout_s: float = 600.0,
) -> bpy.types.Action:
    """Generate a motion, key it on an armature object as a new action, and return that action.

    Blocks until it is done. A seed of -1 lets the engine draw one (the action's custom property
    says which); zero steps or guidance are the model's defaults; start_frame None is the scene's
    current frame; root is what carries the character: hips, object, bone or in_place, or "" for
    what the armature's own settings say.

    Raises:
        GenerateError: no engine, a request that can't be served, or a motion that can't be keyed.
        RigError: the armature can't be keyed.
    """
    action_writer.check_writable(armature)
    target.find_match(armature)
    if not 0 < seconds < math.inf:
        raise GenerateError(f"The length is {seconds} seconds, needs more than 0")
    if root and root not in {mode.value for mode in RootMode}:
        names = ", ".join(mode.value for mode in RootMode)
        raise GenerateError(f"The root is {root!r}, needs one of {names}")
    start_engine(engine)
    scene = bpy.context.scene
    job = Job(
        armature_name=armature.name,
        start_frame=scene.frame_current if start_frame is None else start_frame,
        prompt=prompt,
        root=root,
    )
    try:
        request = protocol.PromptRequest(
            job_id=job.job_id,
            prompt=prompt,
            num_frames=max(1, round(seconds * scene_fps(scene))),
            fps=scene_fps(scene),
            model=model,
            seed=seed,
            num_steps=num_steps,
            guidance_scale=guidance_scale,
        )
        _send(request, job)
    except (protocol.ProtocolError, EngineLinkError) as error:
        raise GenerateError(str(error)) from error
    if not pump.wait(timeout_s):
        pump.cancel_all(f"No motion within {timeout_s:.0f} s")
    if job.state is not JobState.DONE:
        raise GenerateError(job.message or f"The job was {job.state.value}")
    return armature.animation_data.action


def _send(request: protocol.PromptRequest, job: Job) -> None:
    if session.client is None:
        raise EngineLinkError("The engine is gone")
    session.client.send(request)
    session.jobs.add(job)


def run_batch(
    jobs: str | Path | Sequence[Mapping[str, Any]],
    *,
    save: str | Path | None = None,
    overwrite: bool = False,
    engine: EngineChoice | None = None,
    tell: Callable[[Outcome], None] | None = None,
) -> list[Outcome]:
    """Do a list of jobs in the open file, one after the other, and return how each went.

    Blocks until they are done. A job that fails leaves the others alone; one that is done already,
    by an action of the file or by its export, is skipped. A job without a seed gets one out of
    its own words, so that the same jobs give the same keys.

    Args:
        jobs: a jobs file, or the same as a list of dicts.
        save: save a copy of the file here after each job; without it every job needs "export".
        overwrite: replace exported files that are of another motion.
        engine: which engine; None is the one of the preferences, or the one that runs already.
        tell: called with each outcome as soon as it is known.

    Raises:
        BatchError: the jobs have a fault, or a file is in the way. Nothing has been done then.
    """
    blend = bpy.data.filepath
    folder = Path(blend).parent if blend else None
    try:
        if isinstance(jobs, str | Path):
            checked = read_jobs(Path(jobs), folder)
        else:
            checked = parse_jobs([dict(job) for job in jobs], folder)
        return run_jobs(
            checked,
            engine or EngineChoice(),
            save=Path(save).absolute() if save is not None else None,
            overwrite=overwrite,
            tell=tell or (lambda _: None),
        )
    except (JobsFileError, WrongWordsError) as error:
        raise BatchError(str(error)) from error
