"""Operators of candidates: look at one, keep one, remove them all."""

from __future__ import annotations

import bpy
from bpy.app.translations import pgettext_iface as iface_

from ..rig.bone_match import RigError
from ..scene import nla_layout, pump, takes
from ..scene.action_writer import assign_action, check_writable
from ..scene.takes import Take


class _OnTake:
    """Operators of the active armature's candidates."""

    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if active_take(context) is not None:
            return True
        cls.poll_message_set("The active object has no candidates to choose from")
        return False

    def take(self, context: bpy.types.Context) -> Take | None:
        """The take, if it can be worked on; says why not."""
        try:
            check_writable(context.object)
        except RigError as error:
            self.report({"ERROR"}, str(error))
            return None
        return active_take(context)


class MOTION_OT_show_candidate(_OnTake, bpy.types.Operator):
    """Look at a candidate"""

    bl_idname = "motion.show_candidate"
    bl_label = "Show Candidate"
    bl_description = "Let the character do this candidate"

    number: bpy.props.IntProperty(
        name="Candidate", description="The first is 1", default=1, min=1, options={"SKIP_SAVE"}
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        take = self.take(context)
        if take is None:
            return {"CANCELLED"}
        takes.show(context.object, take, min(self.number, len(take.candidates)) - 1)
        return {"FINISHED"}


class MOTION_OT_next_candidate(_OnTake, bpy.types.Operator):
    """Look at the next candidate"""

    bl_idname = "motion.next_candidate"
    bl_label = "Next Candidate"
    bl_description = "Let the character do the next candidate, or the one before"

    step: bpy.props.IntProperty(default=1, options={"HIDDEN", "SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        take = self.take(context)
        if take is None:
            return {"CANCELLED"}
        shown = take.shown if take.shown >= 0 or self.step < 0 else -1
        takes.show(context.object, take, (shown + self.step) % len(take.candidates))
        return {"FINISHED"}


class MOTION_OT_accept(_OnTake, bpy.types.Operator):
    """Accept a candidate"""

    bl_idname = "motion.accept"
    bl_label = "Accept"
    bl_description = (
        "Keep the candidate that is shown, as an action or as a strip at the current frame. The "
        "others leave the file"
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        take = self.take(context)
        if take is None:
            return {"CANCELLED"}
        settings, armature = context.scene.motion, context.object
        pump.redraw_soon()
        former, slot, had_fake_user = takes.former_action(take)
        kept = takes.accept(armature, take)
        if settings.keep_as == "ACTION":
            self.report({"INFO"}, iface_("Kept the action {}").format(kept.name))
            return {"FINISHED"}
        if former is not None and former.users > 0:
            assign_action(armature, former, slot)
            nla_layout.push_down_as_it_is(armature)
            former.use_fake_user = had_fake_user
        strips = nla_layout.push_down(
            armature,
            kept,
            start_frame=_strip_frame(context, kept),
            strip_per_prompt=settings.strip_per_prompt,
        )
        names = ", ".join(strip.name for strip in strips)
        self.report({"INFO"}, iface_("Kept as {}").format(names))
        return {"FINISHED"}


class MOTION_OT_reject(_OnTake, bpy.types.Operator):
    """Reject all candidates"""

    bl_idname = "motion.reject"
    bl_label = "Reject"
    bl_description = "Remove all candidates. The character has what it had before"

    def execute(self, context: bpy.types.Context) -> set[str]:
        take = self.take(context)
        if take is None:
            return {"CANCELLED"}
        pump.redraw_soon()
        takes.reject(context.object, take)
        return {"FINISHED"}


class MOTION_OT_remove_lost(bpy.types.Operator):
    """Remove candidates of characters that are gone"""

    bl_idname = "motion.remove_lost"
    bl_label = "Remove Them"
    bl_description = "Remove the candidates of characters that were deleted or renamed"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if takes.lost_candidates():
            return True
        cls.poll_message_set("No character has left candidates behind")
        return False

    def execute(self, context: bpy.types.Context) -> set[str]:
        self.report({"INFO"}, iface_("Removed {} candidates").format(takes.remove_lost()))
        return {"FINISHED"}


class MOTION_OT_keep_seed(_OnTake, bpy.types.Operator):
    """Keep the seed of the candidate"""

    bl_idname = "motion.keep_seed"
    bl_label = "Use This Seed"
    bl_description = "Set the seed of the candidate that is shown for the next motions"

    def execute(self, context: bpy.types.Context) -> set[str]:
        take = active_take(context)
        if take is None or take.shown < 0:
            self.report({"WARNING"}, "No candidate is shown")
            return {"CANCELLED"}
        seed = takes.provenance_of(take.candidates[take.shown]).get("seed")
        if not isinstance(seed, int) or not 0 <= seed < 2**31:
            told = iface_("The seed {} doesn't fit Blender's field").format(seed)
            self.report({"WARNING"}, told)
            return {"CANCELLED"}
        context.scene.motion.seed = seed
        return {"FINISHED"}


def _strip_frame(context: bpy.types.Context, kept: bpy.types.Action) -> int:
    """Where a motion's NLA strip begins: one from a movie stays in sync with it."""
    if takes.provenance_of(kept).get("strip"):
        return round(kept.curve_frame_range[0])
    return context.scene.frame_current


def active_take(context: bpy.types.Context) -> Take | None:
    """The candidates of the active armature."""
    armature = context.object
    if armature is None or armature.type != "ARMATURE":
        return None
    return takes.take_of(armature)
