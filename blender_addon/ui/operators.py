"""Operators: each submits and returns; nothing here waits for the engine."""

from __future__ import annotations

import bpy

from .. import protocol
from ..engine_link import session
from ..engine_link.client import EngineLinkError
from ..engine_link.session import EngineState
from ..rig.bone_match import RigError
from ..scene import action_writer, pump, target
from ..scene.mannequin import add_mannequin
from .preferences import open_engine
from .request import SettingsError, random_seed, submit


class MOTION_OT_engine_start(bpy.types.Operator):
    """Start the engine"""

    bl_idname = "motion.engine_start"
    bl_label = "Start Engine"
    bl_description = "Start the engine that makes the motions, a program of its own"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if session.state in (EngineState.STOPPED, EngineState.LOST):
            return True
        cls.poll_message_set("The engine runs, or is on its way")
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
        "Make motions for the prompt and key them on the active armature, each as a new action. "
        "Keys that are there are never touched"
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
            check_target(armature)
            submit(context, armature)
        except (RigError, SettingsError, protocol.ProtocolError, EngineLinkError) as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}


def check_target(armature: bpy.types.Object) -> None:
    """Find out now, not after a minute of computing, whether an armature can be keyed.

    Raises:
        RigError: it can't.
    """
    action_writer.check_writable(armature)
    target.find_match(armature)
    target.options_of(armature)


class MOTION_OT_new_seed(bpy.types.Operator):
    """Throw the dice"""

    bl_idname = "motion.new_seed"
    bl_label = "New Seed"
    bl_description = "Throw the dice for another seed, and keep it"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.scene.motion.seed = random_seed()
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
