"""Operators of the character's bones: recognise, pick, save and load mappings."""

from __future__ import annotations

import json
from pathlib import Path

import bpy
from bpy.app.translations import pgettext_iface as iface_
from bpy_extras.io_utils import ExportHelper, ImportHelper

from ..rig.bone_match import BODY_JOINTS, CHAIN_ENDS, RigError
from ..rig.rig_mapping import SUFFIX, load_mapping, save_mapping
from ..scene import saved_mappings, target


class _OnTarget:
    """Operators that change the settings of the active armature."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return armature_is_editable(cls, context.object)


def armature_is_editable(
    operator: type[bpy.types.Operator], armature: bpy.types.Object | None
) -> bool:
    """Whether an armature's settings can be changed; tells the operator's poll message if not."""
    if armature is None or armature.type != "ARMATURE":
        operator.poll_message_set("Select the armature to animate")
        return False
    if not armature.is_editable:
        operator.poll_message_set("The armature is linked: make a library override first")
        return False
    return True


class MOTION_OT_recognise(bpy.types.Operator):
    """Recognise the bones again"""

    bl_idname = "motion.recognise"
    bl_label = "Recognise Again"
    bl_description = "Look at the bones of the active armature again, and at the saved mappings"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if context.object is not None and context.object.type == "ARMATURE":
            return True
        cls.poll_message_set("Select the armature to animate")
        return False

    def execute(self, context: bpy.types.Context) -> set[str]:
        for problem in saved_mappings.refresh():
            self.report({"WARNING"}, problem)
        target.forget_targets()
        if not bpy.app.background:  # a timer finds it, and the panel says what was found
            target.known_target(context.object)
            return {"FINISHED"}
        found = target.find_target(context.object)
        if found.problem:
            self.report({"WARNING"}, found.problem)
        else:
            self.report({"INFO"}, iface_("Recognised: {}").format(found.match.map_name))
        return {"FINISHED"}


class MOTION_OT_own_settings(_OnTarget, bpy.types.Operator):
    """Settings of its own for a library override"""

    bl_idname = "motion.own_settings"
    bl_label = "Change for This File"
    bl_description = (
        "Give this library override settings of its own. Until then it has those of the library"
    )
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not super().poll(context):
            return False
        if not target.has_own_settings(context.object):
            return True
        cls.poll_message_set("The armature has settings of its own already")
        return False

    def execute(self, context: bpy.types.Context) -> set[str]:
        target.own_settings(context.object)
        return {"FINISHED"}


class MOTION_OT_pick_active_bone(_OnTarget, bpy.types.Operator):
    """Pick the active bone"""

    bl_idname = "motion.pick_active_bone"
    bl_label = "Pick Active Bone"
    bl_description = "Take the bone that is active in the viewport, in Pose Mode, for this joint"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    joint: bpy.props.StringProperty(options={"HIDDEN", "SKIP_SAVE"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not super().poll(context):
            return False
        if context.active_pose_bone is not None:
            return True
        cls.poll_message_set("Select the bone in Pose Mode first")
        return False

    def execute(self, context: bpy.types.Context) -> set[str]:
        if self.joint not in (*BODY_JOINTS, *CHAIN_ENDS):
            self.report({"ERROR"}, iface_("There is no joint {}").format(self.joint))
            return {"CANCELLED"}
        picks = target.own_settings(context.object).picks
        setattr(picks, self.joint, context.active_pose_bone.name)
        return {"FINISHED"}


class MOTION_OT_reset_picks(_OnTarget, bpy.types.Operator):
    """Take back the picked bones"""

    bl_idname = "motion.reset_picks"
    bl_label = "Reset Picks"
    bl_description = "Take back all bones picked by hand; those that were found count again"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not super().poll(context):
            return False
        if target.picks_of(context.object):
            return True
        cls.poll_message_set("No bone was picked by hand")
        return False

    def execute(self, context: bpy.types.Context) -> set[str]:
        reset_picks(context.object)
        return {"FINISHED"}


class MOTION_OT_choose_mapping(_OnTarget, bpy.types.Operator):
    """Choose a mapping"""

    bl_idname = "motion.choose_mapping"
    bl_label = "Choose Mapping"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    mapping: bpy.props.StringProperty(options={"HIDDEN", "SKIP_SAVE"})

    @classmethod
    def description(
        cls, context: bpy.types.Context, properties: bpy.types.OperatorProperties
    ) -> str:
        if properties.mapping:
            return "Use this saved mapping. Bones picked by hand are taken back"
        return "Recognise the bones by their names and places"

    def execute(self, context: bpy.types.Context) -> set[str]:
        if not self.mapping:
            use_mapping(context.object, "", "")
            return {"FINISHED"}
        return _load(self, context.object, saved_mappings.path_of(self.mapping))


class MOTION_OT_load_mapping(_OnTarget, bpy.types.Operator, ImportHelper):
    """Load a mapping"""

    bl_idname = "motion.load_mapping"
    bl_label = "Load Mapping"
    bl_description = "Use a mapping from a file. Bones picked by hand are taken back"
    bl_options = {"REGISTER", "UNDO"}

    filename_ext = SUFFIX
    filter_glob: bpy.props.StringProperty(default=f"*{SUFFIX}", options={"HIDDEN"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        return _load(self, context.object, Path(self.filepath))


class MOTION_OT_save_mapping(bpy.types.Operator, ExportHelper):
    """Save the mapping"""

    bl_idname = "motion.save_mapping"
    bl_label = "Save Mapping"
    bl_description = (
        "Save which bone follows which joint, bones picked by hand included, for other characters "
        "with the same bones. Files in the folder that is offered are listed in the menu"
    )
    bl_options = {"REGISTER"}

    filename_ext = SUFFIX
    filter_glob: bpy.props.StringProperty(default=f"*{SUFFIX}", options={"HIDDEN"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        armature = context.object
        if armature is None or armature.type != "ARMATURE":
            cls.poll_message_set("Select the armature to animate")
            return False
        found = target.known_target(armature)
        if found is not None and found.problem:
            cls.poll_message_set("Pick bones for the missing joints first")
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        self.filepath = str(saved_mappings.path_of(context.object.name))
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        path = Path(self.filepath).with_suffix(SUFFIX)
        try:
            save_mapping(path, target.find_match(context.object), path.stem)
        except RigError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        saved_mappings.refresh()
        target.forget_targets()
        self.report({"INFO"}, iface_("Saved the mapping {}").format(path.stem))
        return {"FINISHED"}


def reset_picks(armature: bpy.types.Object) -> None:
    """Take back all bones that were picked by hand."""
    picks = target.own_settings(armature).picks
    for name in (*BODY_JOINTS, *CHAIN_ENDS):
        picks.property_unset(name)


def use_mapping(armature: bpy.types.Object, name: str, text: str) -> None:
    """Use a mapping, given as a JSON text; "" is automatic recognition."""
    reset_picks(armature)
    settings = target.own_settings(armature)
    settings.mapping, settings.mapping_json = name, text


def _load(operator: bpy.types.Operator, armature: bpy.types.Object, path: Path) -> set[str]:
    """Put the mapping of a file into the armature's settings, if it fits the armature."""
    try:
        name = load_mapping(path).name  # checks the file
        text = json.dumps(json.loads(path.read_text(encoding="utf-8")), ensure_ascii=False)
    except (RigError, OSError) as error:
        operator.report({"ERROR"}, str(error))
        return {"CANCELLED"}
    use_mapping(armature, name, text)
    found = target.find_target(armature)
    if found.problem:
        operator.report({"WARNING"}, found.problem)
    return {"FINISHED"}
