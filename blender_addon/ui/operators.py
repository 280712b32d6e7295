"""Operators: each submits and returns; nothing here waits for the engine."""

from __future__ import annotations

import random

import bpy

from .. import protocol
from ..engine_link import session
from ..engine_link.client import EngineLinkError
from ..engine_link.jobs import Job
from ..engine_link.session import EngineState
from ..rig.bone_match import RigError
from ..scene import action_writer, pump, target
from ..scene.mannequin import add_mannequin
from .preferences import open_engine
from .properties import MAX_SEED, num_frames, scene_fps


class MOTION_OT_engine_start(bpy.types.Operator):
    """Start the engine"""

    bl_idname = "motion.engine_start"
    bl_label = "Start Engine"
    bl_description = "Start the engine that makes the motions, a program of its own"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if session.state in (EngineState.STOPPED, EngineState.LOST):
            return True
        cls.poll_message_set(f"The engine is {session.state.value}")
        return False

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            open_engine(context)
        except EngineLinkError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        pump.start()
        return {"FINISHED"}


class MOTION_OT_engine_stop(bpy.types.Operator):
    """Stop the engine"""

    bl_idname = "motion.engine_stop"
    bl_label = "Stop Engine"
    bl_description = (
        "Stop the engine, or leave it if somebody else started it. "
        "Jobs that it works on end without a motion"
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        running = (EngineState.STARTING, EngineState.CONNECTING, EngineState.READY)
        if session.state in running:
            return True
        cls.poll_message_set("The engine does not run")
        return False

    def execute(self, context: bpy.types.Context) -> set[str]:
        session.stop_engine()
        pump.start()
        return {"FINISHED"}


class MOTION_OT_generate(bpy.types.Operator):
    """Generate a motion"""

    bl_idname = "motion.generate"
    bl_label = "Generate Motion"
    bl_description = (
        "Make a motion for the prompt and key it on the active armature, from the current frame "
        "on, as a new action"
    )
    bl_options = {"REGISTER"}  # no UNDO: nothing in the file has changed yet

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        armature = context.object
        if armature is None or armature.type != "ARMATURE":
            cls.poll_message_set("Select the armature to animate")
            return False
        if session.state is not EngineState.READY:
            cls.poll_message_set("Start the engine first")
            return False
        if not context.scene.motion.prompt.strip():
            cls.poll_message_set("Write what the character does")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        armature = context.object
        try:
            # Said now, not after a minute of computing.
            action_writer.check_writable(armature)
            target.find_match(armature)
            target.options_of(armature)
            submit(context, armature)
        except (RigError, protocol.ProtocolError, EngineLinkError) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}


def submit(context: bpy.types.Context, armature: bpy.types.Object) -> Job:
    """Send the scene's settings to the engine as a job for an armature.

    Raises:
        EngineLinkError: no engine is connected, or it takes no messages.
        ProtocolError: a setting is out of range.
    """
    if session.client is None:
        raise EngineLinkError("Start the engine first")
    scene, settings = context.scene, context.scene.motion
    job = Job(
        armature_name=armature.name,  # by name: pointers do not survive undo
        start_frame=scene.frame_current,
        prompt=settings.prompt,
    )
    request = protocol.PromptRequest(
        job_id=job.job_id,
        model=settings.model,
        prompt=settings.prompt,
        num_frames=num_frames(scene),
        fps=scene_fps(scene),
        seed=settings.seed,
        num_steps=settings.num_steps,
        guidance_scale=settings.guidance_scale,
    )
    session.client.send(request)
    session.jobs.add(job)
    pump.start()
    return job


class MOTION_OT_cancel(bpy.types.Operator):
    """Cancel a job"""

    bl_idname = "motion.cancel"
    bl_label = "Cancel"
    bl_description = "Stop this job. The engine goes on with the next one"

    job_id: bpy.props.StringProperty(options={"HIDDEN", "SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        job = session.jobs.get(self.job_id)
        if job is None or job.state.is_end or session.client is None:
            self.report({"WARNING"}, "The job has ended already")
            return {"CANCELLED"}
        try:
            session.client.send(protocol.CancelJob(job_id=job.job_id))
        except EngineLinkError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        job.cancel_requested = True
        pump.start()
        return {"FINISHED"}


class MOTION_OT_clear(bpy.types.Operator):
    """Clear the job list"""

    bl_idname = "motion.clear"
    bl_label = "Clear List"
    bl_description = "Take the jobs that have ended off the list. Their actions stay"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if any(job.state.is_end for job in session.jobs):
            return True
        cls.poll_message_set("No job has ended")
        return False

    def execute(self, context: bpy.types.Context) -> set[str]:
        session.jobs.remove_ended()
        return {"FINISHED"}


class MOTION_OT_new_seed(bpy.types.Operator):
    """Throw the dice"""

    bl_idname = "motion.new_seed"
    bl_label = "New Seed"
    bl_description = "Throw the dice for another take"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.scene.motion.seed = random.randint(0, MAX_SEED)
        return {"FINISHED"}


class MOTION_OT_choose_model(bpy.types.Operator):
    """Choose a model"""

    bl_idname = "motion.choose_model"
    bl_label = "Choose Model"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    model: bpy.props.StringProperty(options={"HIDDEN", "SKIP_SAVE"})
    licence: bpy.props.StringProperty(options={"HIDDEN", "SKIP_SAVE"})

    @classmethod
    def description(
        cls, context: bpy.types.Context, properties: bpy.types.OperatorProperties
    ) -> str:
        return f"Licence: {properties.licence}" if properties.licence else "The engine's choice"

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.scene.motion.model = self.model
        return {"FINISHED"}


class MOTION_OT_add_mannequin(bpy.types.Operator):
    """Add the mannequin"""

    bl_idname = "motion.add_mannequin"
    bl_label = "Add Mannequin"
    bl_description = "Add Marey's own wooden mannequin at the 3D cursor, ready to be animated"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        add_mannequin(context)
        return {"FINISHED"}
