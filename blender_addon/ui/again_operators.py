"""Operators on any action that Marey has made: make it again, vary it, take its settings."""

from __future__ import annotations

from typing import Any

import bpy

from .. import protocol
from ..engine_link import session
from ..engine_link.client import EngineLinkError
from ..engine_link.jobs import new_job_id
from ..engine_link.session import EngineState
from ..rig.bone_match import RigError
from ..scene import takes
from ..scene.delivery import PLACE_KEY
from . import request
from .operators import check_target
from .properties import MAX_SEED


class _OnMadeAction:
    """Operators on the action that the active armature does."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if made_action(context) is not None:
            return True
        cls.poll_message_set("The active object does no motion that Marey made from words")
        return False


class _Again(_OnMadeAction):
    """Operators that ask the engine."""

    bl_options = {"REGISTER"}  # no UNDO: nothing in the file has changed yet

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not super().poll(context):
            return False
        if session.state is not EngineState.READY:
            cls.poll_message_set("Start the engine first")
            return False
        return True

    def ask(self, context: bpy.types.Context, *, seed: int | None, count: int) -> set[str]:
        """Send the request of the action, with another seed perhaps; None is its own."""
        armature, action = context.object, made_action(context)
        provenance = takes.provenance_of(action)
        try:
            check_target(armature)
            wanted = request_of(provenance, seed=seed, count=count)
            job = request.make_job(context.scene, armature, wanted, first_frame(armature, action))
            job.repeat_loop = wanted.loop and has_cycles(action)
            job.expected_hash = str(provenance.get("model_hash", ""))
            job.place = tuple(provenance.get(PLACE_KEY, ()))
            request.send(job)
        except (RigError, protocol.ProtocolError, EngineLinkError) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        words = model_words(provenance)
        if words:
            self.report({"WARNING"}, words)
        return {"FINISHED"}


class MOTION_OT_regenerate(_Again, bpy.types.Operator):
    """Make a motion again"""

    bl_idname = "motion.regenerate"
    bl_label = "Regenerate"
    bl_description = (
        "Make the motion of this action again: the same words, seed and model. The same model "
        "gives the same motion"
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        return self.ask(context, seed=None, count=1)


class MOTION_OT_vary(_Again, bpy.types.Operator):
    """Vary a motion"""

    bl_idname = "motion.vary"
    bl_label = "Vary"
    bl_description = "Make motions like this action's, with other seeds"

    def execute(self, context: bpy.types.Context) -> set[str]:
        return self.ask(context, seed=request.random_seed(), count=context.scene.motion.count)


class MOTION_OT_edit_prompt(_OnMadeAction, bpy.types.Operator):
    """Edit the prompt of a motion"""

    bl_idname = "motion.edit_prompt"
    bl_label = "Edit Prompt"
    bl_description = "Set prompt, length, seed and all else as they were for this action"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            wanted = request_of(takes.provenance_of(made_action(context)), seed=None, count=1)
        except protocol.ProtocolError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        settings = context.scene.motion
        settings.prompt, settings.model = wanted.prompt, wanted.model
        settings.then.clear()
        for part in wanted.then:
            added = settings.then.add()
            added.prompt, added.seconds = part.prompt, part.num_frames / wanted.fps
        later = sum(part.num_frames for part in wanted.then)
        settings.length, settings.seconds = "SECONDS", (wanted.num_frames - later) / wanted.fps
        settings.loop = wanted.loop
        settings.num_steps, settings.guidance_scale = wanted.num_steps, wanted.guidance_scale
        if 0 <= wanted.seed <= MAX_SEED:
            settings.seed = wanted.seed
        return {"FINISHED"}


def made_action(context: bpy.types.Context) -> bpy.types.Action | None:
    """The action of the active armature that was made from words: its own, else of its strip."""
    armature = context.object
    if armature is None or armature.type != "ARMATURE" or armature.animation_data is None:
        return None
    animation = armature.animation_data
    strip = _selected_strip(animation)
    candidates = (animation.action, strip.action if strip is not None else None)
    return next((one for one in candidates if takes.provenance_of(one).get("prompt")), None)


def first_frame(armature: bpy.types.Object, action: bpy.types.Action) -> int:
    """The scene frame at which an action of an armature begins."""
    strip = _selected_strip(armature.animation_data)
    if armature.animation_data.action != action and strip is not None:
        return round(strip.frame_start)
    return round(action.curve_frame_range[0])


def request_of(
    provenance: dict[str, Any], *, seed: int | None, count: int
) -> protocol.PromptRequest:
    """The request that a motion came from, with another seed perhaps; None is its own.

    Raises:
        ProtocolError: what was written on the action is out of range, or can't be read.
    """
    try:
        parts = prompts_of(provenance)
        own = provenance.get("seed")
        return protocol.PromptRequest(
            job_id=new_job_id(),
            prompt=parts[0]["prompt"],
            num_frames=int(provenance.get("num_frames", 0)),
            fps=float(provenance.get("fps", 0.0)),
            model=_model_name(provenance),
            seed=seed if seed is not None else int(own) if own is not None else -1,
            num_steps=int(provenance.get("num_steps") or 0),
            guidance_scale=float(provenance.get("guidance_scale") or 0.0),
            count=count,
            then=[
                protocol.LaterPrompt(prompt=part["prompt"], num_frames=int(part["num_frames"]))
                for part in parts[1:]
            ],
            loop=bool(provenance.get("loop")),
        )
    except protocol.ProtocolError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise protocol.ProtocolError(
            "What is written on this action can't be read, so it can't be made again: "
            "write its prompt into the panel Motion"
        ) from error


def prompts_of(provenance: dict[str, Any]) -> list[dict[str, Any]]:
    """The prompts of a motion in their order, each with what else was written of it."""
    parts = provenance.get("prompts")
    listed = parts if isinstance(parts, list) else []
    read = [part for part in listed if isinstance(part, dict) and part.get("prompt")]
    return [{**part, "prompt": str(part["prompt"])} for part in read] or [
        {"prompt": str(provenance["prompt"])}
    ]


def model_words(provenance: dict[str, Any]) -> str:
    """What to say where this engine's model is not the one that made the motion; "" if it is."""
    models = session.models()
    wanted = provenance.get("model_hash")
    if not models or not wanted or any(entry.model_hash == wanted for entry in models):
        return ""
    name = str(provenance.get("model", ""))
    if any(entry.name == name for entry in models):
        return f"The model {name} here is not the one that made this: it will come out differently"
    return f"The model {name} is not here: another one makes it, and it will come out differently"


def has_cycles(action: bpy.types.Action) -> bool:
    """Whether an action's curves go on after their end."""
    curves = takes.curves_of(action)
    return curves is not None and any(len(curve.modifiers) for curve in curves.fcurves)


def _model_name(provenance: dict[str, Any]) -> str:
    """The model that made a motion, by its hash, else by its name, else the default one."""
    models = session.models()
    name = str(provenance.get("model", ""))
    same = [one.name for one in models if one.model_hash == provenance.get("model_hash")]
    if same and name not in same:
        return same[0]
    return name if not models or name in [one.name for one in models] else ""


def _selected_strip(animation: bpy.types.AnimData) -> bpy.types.NlaStrip | None:
    strips = [strip for track in animation.nla_tracks for strip in track.strips]
    chosen = [strip for strip in strips if strip.active or strip.select]
    return next(iter(chosen or strips[-1:]), None)
