"""Panels of candidates, and of making again what was made before."""

from __future__ import annotations

import bpy
from bpy.app.translations import pgettext_iface as iface_

from ..scene import takes
from ..scene.takes import Take
from .again_operators import made_action, model_words, prompts_of
from .panels import SidebarPanel, draw_text
from .take_operators import active_take

_IN_A_ROW = 8


class MOTION_PT_candidates(SidebarPanel, bpy.types.Panel):
    """Candidates that wait for a decision."""

    bl_label = "Candidates"
    bl_parent_id = "MOTION_PT_request"
    bl_order = -1

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return active_take(context) is not None or bool(takes.lost_candidates())

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        take = active_take(context)
        if take is not None:
            draw_take(layout, context, take)
        lost = takes.lost_candidates()
        if lost:
            words = iface_("{} candidates of a character that is gone").format(len(lost))
            draw_text(layout, context, words, icon="INFO")
            layout.operator("motion.remove_lost", icon="TRASH")


class MOTION_PT_again(SidebarPanel, bpy.types.Panel):
    """What the active action was made from, to go on from there."""

    bl_label = "Again"
    bl_order = 2

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return made_action(context) is not None

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        provenance = takes.provenance_of(made_action(context))
        text = iface_(", then ").join(part["prompt"] for part in prompts_of(provenance))
        draw_text(layout, context, text, icon="TEXT")
        words = iface_("Seed {}, {}").format(provenance.get("seed"), provenance.get("model"))
        layout.label(text=words, icon="BLANK1", translate=False)
        told = model_words(provenance)
        if told:
            draw_text(layout, context, told, icon="ERROR")
        row = layout.row(align=True)
        row.operator("motion.regenerate", icon="FILE_REFRESH")
        row.operator("motion.vary", icon="MOD_NOISE")
        layout.operator("motion.edit_prompt", icon="GREASEPENCIL")


def draw_take(layout: bpy.types.UILayout, context: bpy.types.Context, take: Take) -> None:
    """The picker, and the decision."""
    settings, count = context.scene.motion, len(take.candidates)
    if take.shown < 0:
        words = iface_("{} wait; the character does something else").format(count)
        draw_text(layout, context, words, icon="INFO")
    else:
        seed = takes.provenance_of(take.candidates[take.shown]).get("seed")
        row = layout.row()
        words = iface_("{} of {}, seed {}").format(take.shown + 1, count, seed)
        row.label(text=words, icon="ACTION", translate=False)
        row.operator("motion.keep_seed", text="", icon="LOCKED", emboss=False)
    _draw_picker(layout, take)
    row = layout.row(align=True)
    row.prop(settings, "keep_as", expand=True)
    shown = take.candidates[max(take.shown, 0)]
    if settings.keep_as == "STRIP" and takes.provenance_of(shown).get("prompts"):
        layout.prop(settings, "strip_per_prompt")
    row = layout.row(align=True)
    row.scale_y = 1.3
    row.operator("motion.accept", icon="CHECKMARK")
    row.operator("motion.reject", icon="X")


def _draw_picker(layout: bpy.types.UILayout, take: Take) -> None:
    count = len(take.candidates)
    if count < 2 and take.shown >= 0:
        return
    row = layout.row(align=True)
    row.operator("motion.next_candidate", text="", icon="TRIA_LEFT").step = -1
    numbers = row.grid_flow(
        row_major=True, columns=min(count, _IN_A_ROW), even_columns=True, align=True
    )
    for index in range(count):
        shown = numbers.operator(
            "motion.show_candidate", text=str(index + 1), depress=index == take.shown
        )
        shown.number = index + 1
    row.operator("motion.next_candidate", text="", icon="TRIA_RIGHT").step = 1
