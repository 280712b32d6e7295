"""Panel of what a capture has brought: how well it fits, its camera, the decision about it."""

from __future__ import annotations

from typing import Any

import bpy
from bpy.app.translations import pgettext_iface as iface_

from ..scene import match_camera, takes
from .capture_request import target_armature
from .overlay_operators import capture_job, captured_action
from .panels_takes import draw_take
from .text_layout import draw_text


class MOTION_PT_sequencer_result(bpy.types.Panel):
    """The captured motion that the target has now."""

    bl_space_type = "SEQUENCE_EDITOR"
    bl_region_type = "UI"
    bl_category = "Marey"
    bl_label = "Captured Motion"
    bl_order = 2

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if captured_action(context) is not None:
            return True
        armature = target_armature(context)
        return armature is not None and takes.take_of(armature) is not None

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        armature, action = target_armature(context), captured_action(context)
        if action is not None:
            layout.label(text=action.name, icon="ACTION", translate=False)
            draw_quality(layout.box(), context, takes.provenance_of(action))
            _draw_checks(layout, context, action)
        take = takes.take_of(armature) if armature is not None else None
        if take is not None:
            column = layout.column()
            column.context_pointer_set("object", armature)
            draw_take(column, context, take)


def draw_quality(
    layout: bpy.types.UILayout, context: bpy.types.Context, provenance: dict[str, Any]
) -> None:
    """Each figure of a capture, and what can be done where it is not good."""
    advice = provenance.get("advice") or {}
    for name, text in quality_lines(provenance["quality"]):
        told = advice.get(name, "")
        draw_text(layout, context, text, icon="ERROR" if told else "CHECKMARK")
        if told:
            draw_text(layout.box(), context, told)


def quality_lines(quality: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and words of the figures that an artist can do something about."""
    lines: list[tuple[str, str]] = []
    error = quality.get("reprojection_error")
    if error is not None:
        words = iface_("{:.1%} of the height beside the picture")
        lines.append(("reprojection_error", words.format(error)))
    if quality.get("seen_share") is not None:
        words = iface_("Seen in {:.0%} of the frames")
        lines.append(("seen_share", words.format(quality["seen_share"])))
    swaps = quality.get("num_swaps")
    if swaps is not None:
        words = iface_("Left and right put right {} times") if swaps else iface_("Left stayed left")
        lines.append(("num_swaps", words.format(swaps)))
    slide = quality.get("slide_mm_per_frame")
    if slide is not None:
        words = iface_("Standing feet slide {:.1f} mm a frame")
        lines.append(("slide_mm_per_frame", words.format(slide)))
    return lines


def _draw_checks(
    layout: bpy.types.UILayout, context: bpy.types.Context, action: bpy.types.Action
) -> None:
    column = layout.column(align=True)
    if match_camera.camera_of(action) is not None:
        column.operator("motion.look_through", icon="VIEW_CAMERA")
    job = capture_job(context, action)
    if job is not None:
        column.operator("motion.overlay_movie", icon="FILE_MOVIE").job_id = job.job_id
