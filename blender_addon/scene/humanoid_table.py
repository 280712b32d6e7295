"""The table of humanoid bones that the VRM add-on keeps on an armature, as a mapping."""

from __future__ import annotations

import re

import bpy

from ..rig.rig_mapping import RigMapping

# Joint -> human bone of VRM, which VRM 0.x writes as leftUpperLeg and VRM 1.0 as left_upper_leg.
_SIDED = {
    "hip": "upper_leg",
    "knee": "lower_leg",
    "ankle": "foot",
    "foot": "toes",
    "collar": "shoulder",
    "shoulder": "upper_arm",
    "elbow": "lower_arm",
    "wrist": "hand",
}
_SPINE = ("spine", "chest", "upper_chest")


def humanoid_table(armature: bpy.types.Object) -> RigMapping | None:
    """The VRM add-on's table of an armature object; None without the add-on, or if it is empty."""
    extension = getattr(armature.data, "vrm_addon_extension", None)
    if extension is None:
        return None
    bones = {name: bone for name, bone in _human_bones(extension).items() if bone}
    joints = {
        f"{side}_{joint}": (bones[f"{side}_{name}"],)
        for side in ("left", "right")
        for joint, name in _SIDED.items()
        if f"{side}_{name}" in bones
    }
    joints |= {j: (bones[n],) for j, n in (("pelvis", "hips"), ("head", "head")) if n in bones}
    if not joints:
        return None
    return RigMapping(
        name="VRM humanoid",
        bones=joints,
        spine=tuple((bones[name],) for name in _SPINE if name in bones),
        neck=((bones["neck"],),) if "neck" in bones else (),
    )


def _human_bones(extension: bpy.types.PropertyGroup) -> dict[str, str]:
    """Human bone as VRM 1.0 writes it -> bone of the armature."""
    if str(getattr(extension, "spec_version", "0.0")).startswith("1"):
        table = extension.vrm1.humanoid.human_bones
        names = [*_SPINE, "hips", "neck", "head"]
        names += [f"{side}_{name}" for side in ("left", "right") for name in _SIDED.values()]
        found = {name: getattr(table, name, None) for name in names}
        return {name: bone.node.bone_name for name, bone in found.items() if bone is not None}
    return {
        re.sub(r"([A-Z])", lambda letter: f"_{letter[0].lower()}", human.bone): human.node.bone_name
        for human in extension.vrm0.humanoid.human_bones
    }
