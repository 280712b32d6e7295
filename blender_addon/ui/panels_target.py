"""Panels of the character: the bones found on it, how motion comes onto it, how well it came."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import bpy
from bpy.app.translations import pgettext_iface as iface_

from ..rig.bone_match import SURE_ENOUGH, BoneMatch, FoundBy
from ..scene import saved_mappings, target
from ..scene.action_writer import PROVENANCE_KEY
from .panels import SidebarPanel, draw_text
from .target_properties import joint_label

_SURE = 0.85  # a joint with this confidence needs no look

# Figures of a retargeting that need no second look: degrees, and millimetres of a 1.75 m body.
_GOOD_DEGREES, _GOOD_SLIDE_MM, _GOOD_DEPTH_MM = 10.0, 1.0, 5.0

_TRUNK = ("head", "pelvis")
_ARM = ("collar", "shoulder", "elbow", "wrist")
_LEG = ("hip", "knee", "ankle", "foot")


class MOTION_PT_target(SidebarPanel, bpy.types.Panel):
    """Who gets the motion: the rig that was recognised, and how the motion comes onto it."""

    bl_label = "Target"
    bl_parent_id = "MOTION_PT_request"
    bl_order = 0

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return _is_armature(context.object)

    def draw(self, context: bpy.types.Context) -> None:
        layout, armature = self.layout, context.object
        settings = target.settings_of(armature)
        if not armature.is_editable:
            draw_text(
                layout.column(),
                context,
                "This character is linked: make a library override to animate it",
                icon="LIBRARY_DATA_DIRECT",
            )
            return
        _draw_found(layout, context, target.known_target(armature))
        if not target.has_own_settings(armature):
            layout.operator("motion.own_settings", icon="LIBRARY_DATA_OVERRIDE")
        row = layout.row(align=True)
        row.menu("MOTION_MT_mappings", text=settings.mapping or "Automatic")
        row.operator("motion.recognise", text="", icon="FILE_REFRESH")
        row.operator("motion.load_mapping", text="", icon="FILE_FOLDER")
        row.operator("motion.save_mapping", text="", icon="FILE_TICK")


class MOTION_PT_target_bones(SidebarPanel, bpy.types.Panel):
    """A bone picker for each joint."""

    bl_label = "Bones"
    bl_parent_id = "MOTION_PT_target"
    bl_options = {"DEFAULT_CLOSED"}
    bl_order = 0

    def draw(self, context: bpy.types.Context) -> None:
        layout, armature = self.layout, context.object
        found = target.known_target(armature)
        match = found.match if found is not None else None
        layout.enabled = target.has_own_settings(armature)
        layout.use_property_split = True
        layout.use_property_decorate = False
        for joint in _TRUNK:
            _draw_joint(layout, armature, joint, joint_label(joint), match)
        for chain in ("neck", "spine"):
            _draw_chain(layout, armature, chain, match)
        for side in ("left", "right"):
            layout.label(text="Left Side" if side == "left" else "Right Side")
            column = layout.column(align=True)
            for part in (*_ARM, *_LEG):
                _draw_joint(column, armature, f"{side}_{part}", part.title(), match)
        layout.operator("motion.reset_picks", icon="LOOP_BACK")


class MOTION_PT_target_root(SidebarPanel, bpy.types.Panel):
    """What carries the character, and where it begins."""

    bl_label = "Root"
    bl_parent_id = "MOTION_PT_target"
    bl_options = {"DEFAULT_CLOSED"}
    bl_order = 1

    def draw(self, context: bpy.types.Context) -> None:
        layout, armature = _options_layout(self.layout), context.object
        settings = target.settings_of(armature)
        layout.enabled = target.has_own_settings(armature)
        layout.prop(settings, "root")
        if settings.root == "BONE":
            layout.prop_search(settings, "root_bone", armature.data, "bones", text="Bone")
        if settings.root in ("AUTO", "OBJECT", "BONE"):
            layout.prop(settings, "smooth_root", text="Smooth")
        layout.prop(settings, "start")
        if settings.start == "CHARACTER":
            layout.prop(settings, "keep_heading")


class MOTION_PT_target_feet(SidebarPanel, bpy.types.Panel):
    """Feet on the floor, and which controls are keyed."""

    bl_label = "Feet and Keys"
    bl_parent_id = "MOTION_PT_target"
    bl_options = {"DEFAULT_CLOSED"}
    bl_order = 2

    def draw(self, context: bpy.types.Context) -> None:
        layout, armature = _options_layout(self.layout), context.object
        settings = target.settings_of(armature)
        layout.enabled = target.has_own_settings(armature)
        layout.prop(settings, "plant_feet")
        column = layout.column()
        column.active = settings.plant_feet
        column.prop(settings, "plant_toes")
        column.prop(settings, "keep_above_floor")
        layout.prop(settings, "floor")
        if settings.floor == "HEIGHT":
            layout.prop(settings, "floor_height")
        elif settings.floor == "OBJECT":
            layout.prop(settings, "floor_object")
        layout.prop(settings, "share_twist")
        found = target.known_target(armature)
        row = layout.row()
        row.active = found is None or found.match.ik is not None
        row.prop(settings, "controls")


class MOTION_PT_retarget(SidebarPanel, bpy.types.Panel):
    """Motion from another armature, or from a file."""

    bl_label = "Retarget"
    bl_options = {"DEFAULT_CLOSED"}
    bl_order = 4

    def draw(self, context: bpy.types.Context) -> None:
        layout = _options_layout(self.layout)
        settings = context.scene.motion_retarget
        layout.prop(settings, "source")
        layout.prop(settings, "frames")
        layout.prop(settings, "start")
        layout.operator("motion.retarget_armature", icon="ARMATURE_DATA")
        layout.operator("motion.retarget_file", icon="FILE_FOLDER")


class MOTION_PT_report(SidebarPanel, bpy.types.Panel):
    """How well the active action came onto its character."""

    bl_label = "Result"
    bl_options = {"DEFAULT_CLOSED"}
    bl_order = 3

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(_provenance_text(context.object))

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        for icon, text in report_lines(_provenance_text(context.object)):
            draw_text(layout.column(), context, text, icon=icon)


class MOTION_MT_mappings(bpy.types.Menu):
    """Automatic, and the artist's own mappings."""

    bl_label = "Mapping"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.operator("motion.choose_mapping", text="Automatic").mapping = ""
        names = saved_mappings.known_names()
        if names:
            layout.separator()
        for name in names:
            layout.operator("motion.choose_mapping", text=name, translate=False).mapping = name


def _is_armature(candidate: bpy.types.Object | None) -> bool:
    return candidate is not None and candidate.type == "ARMATURE"


def _options_layout(layout: bpy.types.UILayout) -> bpy.types.UILayout:
    layout.use_property_split = True
    layout.use_property_decorate = False
    return layout


def _draw_found(
    layout: bpy.types.UILayout, context: bpy.types.Context, found: target.FoundTarget | None
) -> None:
    """The rig family and how sure that is, in words."""
    if found is None:
        layout.label(text="Looking at the bones", icon="SORTTIME")
        return
    column = layout.column()
    if found.match.bones:
        column.label(
            text=found.match.map_name or "Unknown rig", icon="ARMATURE_DATA", translate=False
        )
    if found.problem:
        column.alert = True
        draw_text(column, context, found.problem, icon="ERROR")
        todo = "Pick bones below, or load a mapping"
        draw_text(layout.column(), context, todo, icon="INFO")
        return
    words, icon = confidence_words(found.match)
    draw_text(column, context, words, icon=icon)
    for note in found.match.notes:
        draw_text(layout.column(), context, note, icon="INFO")


def confidence_words(match: BoneMatch) -> tuple[str, str]:
    """How sure a match that can be used is: words, and an icon."""
    doubtful = [joint for joint, sure in match.confidence.items() if sure < _SURE]
    if not doubtful:
        if match.found_by is FoundBy.USER:
            return "Your own mapping", "USER"
        return "All bones were recognised", "CHECKMARK"
    names = _joint_names(doubtful[:4])
    if len(doubtful) > 4:
        names += iface_(" and {} more").format(len(doubtful) - 4)
    return iface_("Probably right. Look at: {}").format(names), "QUESTION"


def _draw_joint(
    layout: bpy.types.UILayout,
    armature: bpy.types.Object,
    joint: str,
    label: str,
    match: BoneMatch | None,
) -> None:
    """The joint's picker, with the bone that is taken while none is picked."""
    found = match.bones.get(joint, "") if match is not None else None
    doubtful = match is not None and match.confidence.get(joint, 1.0) < SURE_ENOUGH
    _draw_picker(layout, armature, joint, label, found, doubtful=doubtful)


def _draw_chain(
    layout: bpy.types.UILayout, armature: bpy.types.Object, chain: str, match: BoneMatch | None
) -> None:
    """Pickers for the bones at the ends of a chain, and how many bones it has."""
    bones = getattr(match, chain) if match is not None else ()
    column = layout.column(align=True)
    for name, end in ((f"{chain}_last", bones[-1:]), (f"{chain}_first", bones[:1])):
        label = f"{chain.title()} {'To' if name.endswith('last') else 'From'}"
        found = "".join(end) if match is not None else None
        _draw_picker(column, armature, name, label, found)
    if match is not None:
        told = iface_("{} bones").format(len(bones)) if len(bones) != 1 else iface_("1 bone")
        column.label(text=f"{iface_(chain.title())}: {told}", translate=False)


def _draw_picker(
    layout: bpy.types.UILayout,
    armature: bpy.types.Object,
    name: str,
    label: str,
    found: str | None,
    *,
    doubtful: bool = False,
) -> None:
    """A field for a bone; `found` is the one that counts while it is empty, None: not known yet."""
    picks = target.settings_of(armature).picks
    row = layout.row(align=True)
    picked = getattr(picks, name)
    is_lost = bool(picked) and picked not in armature.data.bones and picked != target.NO_BONE
    row.alert = is_lost or (doubtful and not picked)
    # The bone that was found stands in the empty field, in grey.
    empty = "No bone" if found is not None else ""
    row.prop(picks, name, text=label, placeholder=found or empty)
    row.operator("motion.pick_active_bone", text="", icon="EYEDROPPER").joint = name


def _provenance_text(armature: bpy.types.Object | None) -> str:
    """What Marey wrote on the active action, "" where it wrote nothing."""
    if not _is_armature(armature) or armature.animation_data is None:
        return ""
    action = armature.animation_data.action
    text = action.get(PROVENANCE_KEY, "") if action is not None else ""
    return text if isinstance(text, str) else ""


def report_lines(provenance: str) -> tuple[tuple[str, str], ...]:
    """Icon and text of each line of the panel, out of an action's provenance."""
    return _report_lines(provenance, bpy.app.translations.locale)


@functools.lru_cache(maxsize=32)
def _report_lines(provenance: str, _locale: str) -> tuple[tuple[str, str], ...]:
    try:
        whole = json.loads(provenance)
    except ValueError:
        whole = None
    if not isinstance(whole, dict):
        return (("ERROR", "What is written on this action can't be read"),)
    lines = [*_origin_lines(whole)]
    report = whole.get("retarget")
    if isinstance(report, dict):
        lines += _figure_lines(report)
    notes = whole.get("source_notes")
    lines += [("INFO", str(note)) for note in (notes if isinstance(notes, list) else ())]
    return tuple(lines)


def _origin_lines(whole: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Where the motion came from."""
    lines: list[tuple[str, str]] = []
    if whole.get("prompt"):
        seed = iface_("seed {}").format(whole.get("seed", "?"))
        lines.append(("TEXT", f"{whole['prompt']} ({seed})"))
    source = whole.get("source")
    if isinstance(source, dict):
        names = [str(source[key]) for key in ("file", "object", "action") if source.get(key)]
        lines.append(("ACTION", iface_("From {}").format(", ".join(names))))
        if source.get("rig"):
            lines.append(("BLANK1", iface_("Source bones: {}").format(source["rig"])))
    return lines


def _figure_lines(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The figures of the retargeting; those to look at have a sign of warning."""
    lines = [("ARMATURE_DATA", iface_("Bones: {}").format(report.get("mapping", "")))]
    error = _number(report, "max_direction_error")
    text = iface_("Limbs within {:.1f}° of the motion's").format(error)
    if error >= 1.0 and report.get("max_direction_bone"):
        bone = iface_(joint_label(str(report["max_direction_bone"])))
        text += iface_(", least the {}").format(bone)
    lines.append((_sign(error > _GOOD_DEGREES), text))
    slide, share = _number(report, "foot_slide_mm"), _number(report, "contact_share")
    if share > 0:
        text = iface_("Feet slide {:.1f} mm a frame at most, standing {:.0%} of the time")
        lines.append((_sign(slide > _GOOD_SLIDE_MM), text.format(slide, share)))
    else:
        lines.append(("INFO", "Feet never stand in this motion"))
    depth = _number(report, "penetration_mm")
    if depth >= 1.0:
        text = iface_("Feet {:.0f} mm in the floor").format(depth)
        lines.append((_sign(depth > _GOOD_DEPTH_MM), text))
    unmapped = report.get("unmapped_joints")
    if isinstance(unmapped, list) and unmapped:
        names = _joint_names(unmapped)
        lines.append(("INFO", iface_("No bone for {}").format(names)))
    notes = report.get("notes")
    return lines + [("INFO", str(note)) for note in (notes if isinstance(notes, list) else ())]


def _joint_names(joints: Sequence[object]) -> str:
    return ", ".join(str(iface_(joint_label(str(joint)))) for joint in joints)


def _sign(is_bad: bool) -> str:
    return "ERROR" if is_bad else "CHECKMARK"


def _number(report: Mapping[str, Any], name: str) -> float:
    value = report.get(name)
    return float(value) if isinstance(value, int | float) else 0.0
