"""Operators and menus around the prompt: earlier prompts, captions, what comes then."""

from __future__ import annotations

import bpy

from ..scene import pump
from . import prompts

_SHOWN = 16  # of each kind in the menu
_SHOWN_LETTERS = 60


class MOTION_OT_use_prompt(bpy.types.Operator):
    """Use a prompt"""

    bl_idname = "motion.use_prompt"
    bl_label = "Use Prompt"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    prompt: bpy.props.StringProperty(options={"HIDDEN", "SKIP_SAVE"})

    @classmethod
    def description(
        cls, context: bpy.types.Context, properties: bpy.types.OperatorProperties
    ) -> str:
        return properties.prompt

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.scene.motion.prompt = self.prompt
        return {"FINISHED"}


class MOTION_OT_clear_history(bpy.types.Operator):
    """Forget earlier prompts"""

    bl_idname = "motion.clear_history"
    bl_label = "Clear History"
    bl_description = "Forget the prompts that were used before, on this computer"

    def execute(self, context: bpy.types.Context) -> set[str]:
        prompts.history().clear()
        return {"FINISHED"}


class MOTION_OT_add_prompt(bpy.types.Operator):
    """Add what comes then"""

    bl_idname = "motion.add_prompt"
    bl_label = "Then…"
    bl_description = "Add another prompt: the character goes over to it within the same motion"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.scene.motion.then.add()
        pump.redraw_soon()
        return {"FINISHED"}


class MOTION_OT_remove_prompt(bpy.types.Operator):
    """Remove a later prompt"""

    bl_idname = "motion.remove_prompt"
    bl_label = "Remove"
    bl_description = "Take this prompt out of the sequence"
    bl_options = {"REGISTER", "UNDO"}

    index: bpy.props.IntProperty(options={"HIDDEN", "SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.scene.motion.then.remove(self.index)
        pump.redraw_soon()
        return {"FINISHED"}


class MOTION_MT_prompts(bpy.types.Menu):
    """Prompts that were used before, and what the model was trained on."""

    bl_label = "Prompts"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        used = prompts.history().prompts[:_SHOWN]
        layout.label(text="Used Before", icon="RECOVER_LAST")
        if not used:
            layout.label(text="Nothing yet")
        for text in used:
            _draw_prompt(layout, text)
        layout.separator()
        layout.label(text="The Model Knows", icon="OUTLINER_DATA_ARMATURE")
        captions = prompts.captions(context.scene.motion.model)
        step = max(1, len(captions) // _SHOWN)
        for text in captions[::step][:_SHOWN]:
            _draw_prompt(layout, text)
        if not captions:
            layout.label(text="Listed once the engine runs")
        layout.separator()
        layout.operator("motion.clear_history", icon="TRASH")


def _draw_prompt(layout: bpy.types.UILayout, text: str) -> None:
    shown = text if len(text) <= _SHOWN_LETTERS else f"{text[: _SHOWN_LETTERS - 1]}…"
    layout.operator("motion.use_prompt", text=shown, translate=False).prompt = text
