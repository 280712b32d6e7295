"""Does the jobs of a batch, one after the other; a job that fails leaves the others alone.

For each: find the target and what is asked, skip it if that is done already, ask the engine, key
the armature in a new action, save, export.
"""

# bpy's types are generated and often None-able, as in scene/ and ui/.
# pyright: basic, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# pyright: reportArgumentType=false, reportMissingModuleSource=false

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from enum import Enum
from pathlib import Path
from typing import Any

import bpy

from .. import protocol
from ..engine_link.jobs import new_job_id
from ..engine_link.movie_range import MovieRange
from ..rig.bone_match import BoneMatch, RigError
from ..rig.retarget_options import RetargetOptions, RootMode
from ..scene import match_camera, movie_strips, target
from ..scene.action_writer import check_writable, key_motion, scene_frames
from ..scene.delivery import on_timeline
from ..scene.motion_export import ExportError, export_motion
from ..scene.movie_strips import StripError
from . import record
from .blend_file import SaveError, save_blend
from .engine_requests import EngineRequests, JobError
from .jobs_file import DEFAULT_SECONDS, BatchJob
from .record import Identity
from .report import DONE, FAILED, INTERRUPTED, SKIPPED, Note, Outcome, Progress, ReportError

log = logging.getLogger(__name__)

_ERRORS = (JobError, RigError, StripError, ExportError, SaveError, ReportError)


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """A job with what the file says to it: all that is known before the engine is asked."""

    job: BatchJob
    armature: bpy.types.Object
    match: BoneMatch
    options: RetargetOptions
    start_frame: int
    request: protocol.PromptRequest | protocol.VideoRequest
    speed: float = 1.0  # seconds of the movie per second of the timeline
    footage: MovieRange | None = None  # of a strip

    @property
    def kind(self) -> str:
        return "prompt" if isinstance(self.request, protocol.PromptRequest) else "video"


class Runner:
    """Does jobs in the open file, and tells each outcome as soon as it is known."""

    def __init__(
        self,
        engine: EngineRequests,
        tell: Callable[[Outcome], None],
        note: Note,
        *,
        save: Path | None = None,
        overwrite: bool = False,
    ) -> None:
        self._engine, self._tell, self._note = engine, tell, note
        self._save, self._overwrite = save, overwrite
        self._has_saved = False
        self._places: dict[str, Any] = {}

    def run(self, jobs: Sequence[BatchJob]) -> list[Outcome]:
        """Do the jobs; after an interruption those that are left are told as interrupted."""
        outcomes: list[Outcome] = []
        is_interrupted = False
        for job in jobs:
            began = time.monotonic()
            outcome = Outcome(job=job)
            if is_interrupted:
                outcome.state = INTERRUPTED
            else:
                self._note(f"job {job.number} of {len(jobs)}: {job.wish} on {job.armature}")
                is_interrupted = self._attempt(outcome)
            outcome.seconds = time.monotonic() - began
            outcomes.append(outcome)
            self._tell(outcome)
        return outcomes

    def _attempt(self, outcome: Outcome) -> bool:
        """Do one job, whatever happens in it; True if it was interrupted."""
        try:
            self._do(outcome)
        except KeyboardInterrupt:
            outcome.state, outcome.message = INTERRUPTED, "Interrupted"
            return True
        except _ERRORS as error:
            outcome.state, outcome.message = FAILED, _one_line(error)
        except Exception as error:
            log.exception("Job %d", outcome.job.number)
            outcome.state = FAILED
            outcome.message = f"Marey failed on this: {type(error).__name__}: {_one_line(error)}"
        if outcome.state == FAILED:
            self._note(f"job {outcome.job.number} failed: {outcome.message}")
        return False

    def _do(self, outcome: Outcome) -> None:
        plan = make_plan(outcome.job)
        outcome.start_frame = plan.start_frame
        self._engine.ready()
        identity = identity_of(plan)
        model = self._engine.model(plan.job.model, plan.kind)
        outcome.model = model.name if model is not None else plan.job.model
        identity["model_hash"] = outcome.model_hash = model.model_hash if model is not None else ""
        action = record.find_action(identity)
        if action is None and self._is_only_export(plan.job, identity):
            self._skip(outcome, record.provenance_of_export(plan.job.export or Path()))
            return
        self._check_export(plan, identity)
        if action is not None:
            outcome.action = action.name
            self._skip(outcome, record.provenance_of(action))
        else:
            action = self._make(plan, identity, outcome)
        self._save_file(is_new=outcome.state == DONE)
        self._export(plan, action, identity)

    def _make(self, plan: _Plan, identity: Identity, outcome: Outcome) -> bpy.types.Action:
        progress = Progress(f"job {plan.job.number}", self._note)
        result = self._engine.run(plan.request, progress.report)
        provenance: dict[str, Any] = json.loads(result.provenance)
        # The engine's word counts: a model's file may have changed since it listed its models.
        identity["model_hash"] = provenance.get("model_hash", "")
        action = self._key(plan, result, provenance, identity)
        if plan.job.action:
            action.name = plan.job.action
        outcome.action, outcome.warnings = action.name, list(result.warnings)
        _fill(outcome, provenance)
        return action

    def _key(
        self,
        plan: _Plan,
        result: protocol.JobResult,
        provenance: dict[str, Any],
        identity: Identity,
    ) -> bpy.types.Action:
        """Key the armature from where it stood before the batch, not where a job has left it."""
        armature = plan.armature
        place = self._place(armature)
        before = armature.animation_data.action if armature.animation_data is not None else None
        if before is not None:
            before.use_fake_user = True
            armature.animation_data.action = None
        armature.matrix_basis = place
        bpy.context.view_layer.update()
        numbers = [value for row in place for value in row]
        try:
            action, keyed = key_motion(
                armature,
                on_timeline(result, plan.speed, bpy.context.scene),
                start_frame=plan.start_frame,
                options=plan.options,
                match=plan.match,
                provenance={**provenance, record.BATCH_KEY: record.record(identity, numbers)},
            )
        except BaseException:
            if before is not None:
                armature.animation_data.action = before
            raise
        if plan.job.camera and result.has_camera:
            match_camera.add_camera(
                action,
                result,
                keyed.placement,
                frames=scene_frames(keyed, plan.start_frame, bpy.context.scene),
                scene=bpy.context.scene,
                footage=plan.footage,
            )
        return action

    def _place(self, armature: bpy.types.Object) -> Any:
        if armature.name not in self._places:
            place = armature.matrix_basis.copy()
            noted = record.place_of(armature.name)
            if noted is not None and len(noted) == 16:
                place = type(place)([noted[row : row + 4] for row in range(0, 16, 4)])
            self._places[armature.name] = place
        return self._places[armature.name]

    def _skip(self, outcome: Outcome, provenance: dict[str, Any]) -> None:
        outcome.state, outcome.message = SKIPPED, "It had been done already"
        _fill(outcome, provenance)
        self._note(f"job {outcome.job.number} had been done already")

    def _is_only_export(self, job: BatchJob, identity: Identity) -> bool:
        """Nothing is kept of the job but its export, and that is there."""
        if self._save is not None or job.export is None:
            return False
        return record.is_exported(job.export, identity)

    def _check_export(self, plan: _Plan, identity: Identity) -> None:
        """Refuse before the work what would be refused after it."""
        path = plan.job.export
        if path is None:
            return
        if plan.start_frame < 0 and path.suffix.lower() != ".bvh":
            raise JobError(
                f"It begins at frame {plan.start_frame}: only a .bvh can begin before 0, not {path}"
            )
        if path.exists() and not self._overwrite and not record.is_exported(path, identity):
            raise JobError(
                f"{path} exists and is another motion: give another export, or --overwrite"
            )

    def _export(self, plan: _Plan, action: bpy.types.Action, identity: Identity) -> None:
        path = plan.job.export
        if path is None or record.is_exported(path, identity):
            return
        record.remove_note(path)
        export_motion(plan.armature, action, path)
        record.write_note(path, identity, record.provenance_of(action))

    def _save_file(self, *, is_new: bool) -> None:
        if self._save is not None and (is_new or not (self._has_saved or self._save.exists())):
            save_blend(self._save)
            self._has_saved = True


def make_plan(job: BatchJob) -> _Plan:
    """Look up in the open file what a job names.

    Raises:
        JobError: the job or its armature can't be used.
        RigError: the armature can't be keyed.
        StripError: the movie can't be used.
    """
    if job.problem:
        raise JobError(job.problem)
    armature = bpy.data.objects.get(job.armature)
    if armature is None or armature.type != "ARMATURE":
        raise JobError(_no_armature(job.armature, armature))
    if armature.name not in bpy.context.scene.objects:
        raise JobError(f"'{job.armature}' is not in the scene '{bpy.context.scene.name}'")
    check_writable(armature)
    match = target.find_match(armature)
    options = target.options_of(armature)
    if job.root:
        options = replace(options, root=RootMode(job.root))
    request, footage = _request(job)
    start_frame = bpy.context.scene.frame_start if footage is None else footage.start
    return _Plan(
        job=job,
        armature=armature,
        match=match,
        options=options,
        start_frame=start_frame if job.start_frame is None else job.start_frame,
        request=request,
        speed=1.0 if footage is None else footage.speed,
        footage=footage,
    )


def identity_of(plan: _Plan) -> Identity:
    """All that the keys depend on, but for the hash of the model."""
    settings = target.settings_of(plan.armature)
    mapping = settings.mapping_json if settings is not None else ""
    return {
        "armature": plan.job.armature,
        "start_frame": plan.start_frame,
        # A model counts by its hash, whatever name its file has.
        "request": _chosen(plan.request, but=("job_id", "model")),
        "speed": plan.speed,
        "retarget": _chosen(plan.options),
        "mapping": [mapping, target.picks_of(plan.armature)],
        **({"camera": True} if plan.job.camera else {}),
    }


def _chosen(options: Any, but: Sequence[str] = ()) -> dict[str, Any]:
    """What differs from the defaults: so an option of a later release changes no identity."""
    chosen: dict[str, Any] = {}
    for part in fields(options):
        value = getattr(options, part.name)
        made = part.default_factory() if part.default_factory is not MISSING else part.default
        if part.name not in but and value != made:
            chosen[part.name] = value.value if isinstance(value, Enum) else value
    return chosen


def _request(
    job: BatchJob,
) -> tuple[protocol.PromptRequest | protocol.VideoRequest, MovieRange | None]:
    """The request, and what a strip shows of a movie."""
    scene = bpy.context.scene
    fps = scene.render.fps / scene.render.fps_base
    common: dict[str, Any] = {
        "job_id": new_job_id(),
        "model": job.model,
        "seed": job.seed,
        "num_steps": job.steps,
        "guidance_scale": job.guidance,
    }
    footage = None
    try:
        if job.source == "prompt":
            seconds = DEFAULT_SECONDS if job.seconds is None else job.seconds
            num_frames = max(1, round(seconds * fps))
            prompt = protocol.PromptRequest(
                prompt=job.prompt, num_frames=num_frames, loop=job.loop, fps=fps, **common
            )
            return prompt, None
        common["person"] = job.person
        if job.source == "strip":
            sequencer = movie_strips.sequencer_scene(bpy.context)
            footage = movie_strips.movie_range(movie_strips.find_strip(sequencer, job.strip))
            return _strip_request(job, footage, common), footage
        path = job.video or Path()
        if not path.is_file():
            raise JobError(f"The movie {path} is not there")
        count, movie_fps = movie_strips.measure(path)
        request = protocol.VideoRequest(
            path=str(path),
            first_frame=0,
            num_frames=_num_frames(job, count, movie_fps),
            movie_fps=movie_fps,
            fps=fps,
            **common,
        )
    except protocol.ProtocolError as error:
        raise JobError(str(error)) from error
    return request, None


def _strip_request(
    job: BatchJob, footage: MovieRange, common: dict[str, Any]
) -> protocol.VideoRequest:
    """Each frame of the timeline gets a key, at the moment of the movie that it shows."""
    count = _num_frames(job, footage.num_frames, footage.movie_fps)
    shown = footage.num_shown
    if count < footage.num_frames:
        shown = max(1, min(shown, round(count / footage.step)))
    return protocol.VideoRequest(
        path=str(footage.path),
        first_frame=footage.first_frame,
        num_frames=count,
        movie_fps=footage.movie_fps,
        fps=footage.keys_per_second,
        offset=footage.offset,
        length=shown,
        **common,
    )


def _num_frames(job: BatchJob, count: int, movie_fps: float) -> int:
    """Of the movie: all, or as many as the job wants."""
    if job.seconds is None:
        return count
    return max(1, min(count, round(job.seconds * movie_fps)))


def _no_armature(name: str, found: bpy.types.Object | None) -> str:
    there = [one.name for one in bpy.context.scene.objects if one.type == "ARMATURE"]
    has = f"the scene has {', '.join(there[:10])}" if there else "the scene has no armature"
    what = f"'{name}' is no armature" if found is not None else f"There is no object '{name}'"
    return f"{what}: {has}"


def _fill(outcome: Outcome, provenance: dict[str, Any]) -> None:
    """What the motion was really made with."""
    outcome.seed = provenance.get("seed", outcome.job.seed)
    outcome.model = provenance.get("model", outcome.model)
    outcome.model_hash = provenance.get("model_hash", outcome.model_hash)
    outcome.num_frames = provenance.get("num_frames")


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
