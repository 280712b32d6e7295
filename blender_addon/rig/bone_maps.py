"""Which bone of a rig follows which joint of a motion: one table per rig family.

A table is data. The first bone of a tuple that the rig has is taken; a joint that the rig has no
bone for is left out, and its parent's bone carries what it does. The table with the best score is
chosen; a rig that no table fits is refused with words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


class RigError(ValueError):
    """A rig that can't be animated; the message says what is missing, for the user."""


@dataclass(frozen=True, kw_only=True)
class BoneMap:
    """Bone names of one rig family."""

    name: str  # shown to the user
    bones: Mapping[str, tuple[str, ...]]  # joint -> names of its bone, best first
    followers: Mapping[str, str] = field(default_factory=dict[str, str])  # bone -> its joint
    still_bones: tuple[str, ...] = ()  # keyed in their rest pose, or they would add to the motion
    location_bone: str = ""  # carries the root translation; "" is the pelvis' bone
    properties: tuple[tuple[str, str, float], ...] = ()  # bone, custom property, value to key
    prefix: str = ""  # regular expression of what may stand before each name


@dataclass(frozen=True, kw_only=True)
class BoneMatch:
    """A bone map found on a rig, with the rig's own names."""

    map_name: str
    bones: Mapping[str, str]  # joint -> bone
    followers: Mapping[str, str]  # bone -> joint
    still_bones: tuple[str, ...]
    location_bone: str
    properties: tuple[tuple[str, str, float], ...]
    score: float  # share of the map's joints that the rig has a bone for


# Without these there is no body to move; all else may be missing.
REQUIRED_JOINTS = (
    "pelvis",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
)

_MANNEQUIN_JOINTS = (
    *("pelvis", "spine1", "spine2", "spine3", "neck", "head"),
    *("left_hip", "left_knee", "left_ankle", "left_foot"),
    *("right_hip", "right_knee", "right_ankle", "right_foot"),
    *("left_collar", "left_shoulder", "left_elbow", "left_wrist"),
    *("right_collar", "right_shoulder", "right_elbow", "right_wrist"),
)


def _both_sides(
    middle: Mapping[str, tuple[str, ...]],
    sided: Mapping[str, tuple[str, ...]],
    left: str,
    right: str,
) -> dict[str, tuple[str, ...]]:
    """A whole table from the middle line and one side; names have {} where the side goes."""
    table = dict(middle)
    for side, word in (("left", left), ("right", right)):
        for joint, names in sided.items():
            table[f"{side}_{joint}"] = tuple(name.format(word) for name in names)
    return table


MAREY_MANNEQUIN = BoneMap(
    name="Marey mannequin",
    bones={joint: (joint,) for joint in _MANNEQUIN_JOINTS},
)

RIGIFY_CONTROLS = BoneMap(
    name="Rigify controls",
    bones=_both_sides(
        {
            # The spine hangs on the torso at the waist: spine_fk.001 and spine_fk go down from
            # there to the pelvis, spine_fk.002 and spine_fk.003 go up to the chest.
            "pelvis": ("spine_fk",),
            "spine1": ("spine_fk.001",),
            "spine2": ("spine_fk.002",),
            "spine3": ("spine_fk.003",),
            "neck": ("neck",),
            "head": ("head",),
        },
        {
            "collar": ("shoulder.{}",),
            "shoulder": ("upper_arm_fk.{}",),
            "elbow": ("forearm_fk.{}",),
            "wrist": ("hand_fk.{}",),
            "hip": ("thigh_fk.{}",),
            "knee": ("shin_fk.{}",),
            "ankle": ("foot_fk.{}",),
            "foot": ("toe_fk.{}", "toe.{}"),
        },
        "L",
        "R",
    ),
    followers={"torso": "pelvis"},
    still_bones=("hips", "chest"),
    location_bone="torso",
    properties=(
        *((f"{limb}_parent.{s}", "IK_FK", 1.0) for limb in ("upper_arm", "thigh") for s in "LR"),
        # Limbs and head inherit from the body, as the joints of a motion do.
        *(
            (f"{limb}_parent.{s}", "FK_limb_follow", 0.0)
            for limb in ("upper_arm", "thigh")
            for s in "LR"
        ),
        ("torso", "neck_follow", 1.0),
        ("torso", "head_follow", 1.0),
    ),
)

MIXAMO = BoneMap(
    name="Mixamo",
    bones=_both_sides(
        {
            "pelvis": ("Hips",),
            "spine1": ("Spine",),
            "spine2": ("Spine1",),
            "spine3": ("Spine2",),
            "neck": ("Neck",),
            "head": ("Head",),
        },
        {
            "collar": ("{}Shoulder",),
            "shoulder": ("{}Arm",),
            "elbow": ("{}ForeArm",),
            "wrist": ("{}Hand",),
            "hip": ("{}UpLeg",),
            "knee": ("{}Leg",),
            "ankle": ("{}Foot",),
            "foot": ("{}ToeBase",),
        },
        "Left",
        "Right",
    ),
    prefix=r"mixamorig\d*[:_]?",  # the digit counts characters in one file
)

BONE_MAPS = (MAREY_MANNEQUIN, RIGIFY_CONTROLS, MIXAMO)


def choose_bone_map(bone_names: Iterable[str]) -> BoneMatch:
    """Find the table that fits the rig best.

    Raises:
        RigError: no table has all the bones that a body needs.
    """
    names = tuple(bone_names)
    matches = [_match(bone_map, names) for bone_map in BONE_MAPS]
    best = max(matches, key=lambda match: (not _missing(match), match.score))
    missing = _missing(best)
    if not missing:
        return best
    known = ", ".join(bone_map.name for bone_map in BONE_MAPS)
    if best.score < 0.3:
        raise RigError(f"The bone names are of no rig that Marey knows ({known})")
    raise RigError(
        f"The rig looks like {best.map_name} but has no bone for {', '.join(missing)}; "
        f"Marey knows {known}"
    )


def _missing(match: BoneMatch) -> tuple[str, ...]:
    return tuple(joint for joint in REQUIRED_JOINTS if joint not in match.bones)


def _match(bone_map: BoneMap, names: tuple[str, ...]) -> BoneMatch:
    own = {re.sub(rf"^{bone_map.prefix}", "", name): name for name in reversed(names)}
    bones: dict[str, str] = {}
    for joint, candidates in bone_map.bones.items():
        found = next((own[name] for name in candidates if name in own), None)
        if found is not None:
            bones[joint] = found
    location_bone = own.get(bone_map.location_bone, bones.get("pelvis", ""))
    return BoneMatch(
        map_name=bone_map.name,
        bones=bones,
        followers={own[bone]: joint for bone, joint in bone_map.followers.items() if bone in own},
        still_bones=tuple(own[name] for name in bone_map.still_bones if name in own),
        location_bone=location_bone,
        properties=tuple(item for item in bone_map.properties if item[0] in own),
        score=len(bones) / len(bone_map.bones),
    )
