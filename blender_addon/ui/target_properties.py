"""Settings of a character: which bone follows which joint, and how motion comes onto it.

They belong to the armature object and are saved with it; a library override may change them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import bpy

from ..rig.bone_match import BODY_JOINTS, CHAIN_ENDS, REQUIRED_JOINTS
from ..scene import target

_OVERRIDABLE = {"LIBRARY_OVERRIDABLE"}


def joint_label(joint: str) -> str:
    """A joint as the artist reads it: "Left Knee"."""
    return joint.replace("_", " ").title()


def _pick(joint: str) -> Any:
    return bpy.props.StringProperty(
        name=joint_label(joint),
        description=(
            f"The bone that follows the {joint_label(joint).lower()}. Empty: the one that was found"
        ),
        search=_bone_names if joint in REQUIRED_JOINTS else _bone_names_or_none,
        override=_OVERRIDABLE,
    )


def _bone_names(
    picks: MOTION_PG_picks, context: bpy.types.Context, edit_text: str
) -> Iterator[str]:
    """The armature's bones that have the text in their names."""
    wanted = edit_text.casefold()
    names = picks.id_data.data.bones.keys()
    return (name for name in names if wanted in name.casefold())


def _bone_names_or_none(
    picks: MOTION_PG_picks, context: bpy.types.Context, edit_text: str
) -> Iterator[str]:
    """The same for a joint that a body may lack."""
    return itertools.chain((target.NO_BONE,), _bone_names(picks, context, edit_text))


def _pick_end(name: str) -> Any:
    chain, _, end = name.partition("_")
    which = "lowest" if end == "first" else "uppermost"
    return bpy.props.StringProperty(
        name=f"{chain.title()} {'From' if end == 'first' else 'To'}",
        description=(
            f"The {which} bone of the {chain}; the chain goes from one to the other. "
            "Empty: the one that was found"
        ),
        search=_bone_names_or_none,
        override=_OVERRIDABLE,
    )


class MOTION_PG_picks(bpy.types.PropertyGroup):
    """object.motion_target.picks: a bone for each joint of BODY_JOINTS, "" for the one found.

    And for each of CHAIN_ENDS: spine and neck are chains of any number of bones.
    """

    __annotations__ = {joint: _pick(joint) for joint in BODY_JOINTS} | {
        name: _pick_end(name) for name in CHAIN_ENDS
    }


class MOTION_PG_target(bpy.types.PropertyGroup):
    """object.motion_target, and an item of object.motion_target_own for a library override"""

    mapping: bpy.props.StringProperty(
        name="Mapping",
        description="The saved mapping in use. Empty: the bones are recognised",
        override=_OVERRIDABLE,
    )
    mapping_json: bpy.props.StringProperty(
        name="Mapping Data",
        description="The saved mapping itself, so that the file needs no other",
        options={"HIDDEN"},
        override=_OVERRIDABLE,
    )
    picks: bpy.props.PointerProperty(type=MOTION_PG_picks, override=_OVERRIDABLE)
    root: bpy.props.EnumProperty(
        name="Root",
        description="What carries the character through the scene",
        items=(
            ("AUTO", "Automatic", "The hips; the root bone where parts of the mesh hang on it"),
            ("HIPS", "Hips", "The hips' bone moves, the object stays"),
            ("OBJECT", "Object", "The object takes the path over the ground and the heading"),
            ("BONE", "Root Bone", "A bone on the ground takes the path and the heading"),
            ("IN_PLACE", "In Place", "The path over the ground is taken out"),
        ),
        override=_OVERRIDABLE,
    )
    root_bone: bpy.props.StringProperty(
        name="Root Bone",
        description="The bone that takes the path. Empty: the one that was found",
        override=_OVERRIDABLE,
    )
    smooth_root: bpy.props.FloatProperty(
        name="Smooth Root",
        description="Average the path of object or root bone over so many seconds. 0: as it is",
        default=0.0,
        min=0.0,
        max=10.0,
        soft_max=2.0,
        step=10,
        precision=2,
        subtype="TIME_ABSOLUTE",
        override=_OVERRIDABLE,
    )
    start: bpy.props.EnumProperty(
        name="Start",
        description="Where the motion begins",
        items=(
            ("CHARACTER", "Where It Stands", "Place and facing of the character at rest"),
            ("ORIGIN", "World Origin", "The motion's own place and heading"),
        ),
        override=_OVERRIDABLE,
    )
    keep_heading: bpy.props.BoolProperty(
        name="Keep Heading",
        description=(
            "Keep the direction that the motion begins in. "
            "Off: it begins in the direction that the character faces"
        ),
        default=True,
        override=_OVERRIDABLE,
    )
    plant_feet: bpy.props.BoolProperty(
        name="Plant Feet",
        description="Keep feet in their place on the floor while those of the motion stand",
        default=True,
        override=_OVERRIDABLE,
    )
    plant_toes: bpy.props.BoolProperty(
        name="Plant Toes",
        description="Keep toes on the floor while the heel lifts",
        default=True,
        override=_OVERRIDABLE,
    )
    keep_above_floor: bpy.props.BoolProperty(
        name="Stay Above Floor",
        description="Keep soles out of the floor between contacts too",
        default=True,
        override=_OVERRIDABLE,
    )
    share_twist: bpy.props.BoolProperty(
        name="Share Twist",
        description="Give twist bones their share of the twist. Off: they stay at rest",
        default=True,
        override=_OVERRIDABLE,
    )
    floor: bpy.props.EnumProperty(
        name="Floor",
        description="What the feet stand on",
        items=(
            ("CHARACTER", "Under It", "The height that the character stands on at rest"),
            ("HEIGHT", "Height", "A height in the world; 0 is the grid"),
            ("OBJECT", "Object", "The top of an object"),
        ),
        override=_OVERRIDABLE,
    )
    floor_height: bpy.props.FloatProperty(
        name="Height",
        description="Height of the floor in the world",
        subtype="DISTANCE",
        override=_OVERRIDABLE,
    )
    floor_object: bpy.props.PointerProperty(
        name="Object",
        description="The floor is the top of this object",
        type=bpy.types.Object,
        override=_OVERRIDABLE,
    )
    controls: bpy.props.EnumProperty(
        name="Keys",
        description="Which controls of arms and legs are keyed, where the rig has both",
        items=(
            ("FK", "FK", "Key the turning bones, and switch to them"),
            ("IK", "IK", "Key hands, feet and poles, and switch to them"),
        ),
        override=_OVERRIDABLE,
    )


class MOTION_PG_retarget(bpy.types.PropertyGroup):
    """scene.motion_retarget: what Retarget from Armature takes"""

    source: bpy.props.PointerProperty(
        name="Source",
        description="The animated armature whose motion the active armature gets",
        type=bpy.types.Object,
        poll=lambda self, candidate: candidate.type == "ARMATURE",
    )
    frames: bpy.props.EnumProperty(
        name="Frames",
        description="Which frames of the source are taken",
        items=(
            ("ACTION", "Its Action", "The frames that are keyed on the source"),
            ("SCENE", "Scene Range", "From the scene's start to its end"),
            ("PREVIEW", "Preview Range", "The scene's preview range, where it has one"),
        ),
    )
    start: bpy.props.EnumProperty(
        name="Begin",
        description="Where the new action begins",
        items=(
            ("SAME", "Same Frames", "Both characters move at the same time"),
            ("CURRENT", "Current Frame", "At the scene's current frame"),
        ),
    )
