"""What was found on a rig: which bone follows which joint, how sure that is, what else moves along.

A match comes from the names of the bones, from their structure, or from a mapping of the user's
own; everything behind it (retargeting, report, panel) treats these alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

# Joints that a bone can be picked for. Spine and neck are chains of any number of bones.
BODY_JOINTS = (
    "pelvis",
    "head",
    *(
        f"{side}_{joint}"
        for side in ("left", "right")
        for joint in (
            *("hip", "knee", "ankle", "foot"),
            *("collar", "shoulder", "elbow", "wrist"),
        )
    ),
)

# What can be picked for a chain: the bones at its ends, the lower one first.
CHAIN_ENDS = tuple(f"{chain}_{end}" for chain in ("spine", "neck") for end in ("first", "last"))

# Without these there is no body to move; all else may be missing.
REQUIRED_JOINTS = (
    "pelvis",
    *(
        f"{side}_{joint}"
        for side in ("left", "right")
        for joint in ("hip", "knee", "ankle", "shoulder", "elbow")
    ),
)


# A joint less sure than this isn't used without the user's word.
SURE_ENOUGH = 0.5


class RigError(ValueError):
    """A rig that can't be animated; the message says what is missing, for the user."""


class FoundBy(Enum):
    """How a match was found."""

    NAMES = "names"
    STRUCTURE = "structure"
    USER = "user"  # a saved mapping, or bones picked by hand


@dataclass(frozen=True, kw_only=True)
class TwistBone:
    """A helper bone that takes a share of the twist along its limb segment."""

    joint: str  # left_shoulder: the upper arm, left_elbow: the forearm, left_hip: the thigh ...
    share: float  # of the segment's twist: 0 at its upper end, 1 at its lower end


@dataclass(frozen=True, kw_only=True)
class IkControls:
    """Controls of a rig that can be keyed instead of its FK bones, by joint."""

    bones: Mapping[str, str]  # left_ankle, left_wrist ...: the IK control
    poles: Mapping[str, str]  # left_knee, left_elbow ...: the pole target, if the limb has one
    properties: tuple[tuple[str, str, float], ...]  # bone, custom property, value for IK


@dataclass(frozen=True, kw_only=True)
class BoneMatch:
    """The bones of one rig, by its own names. Left and right are the character's."""

    map_name: str  # of the rig family or of the user's mapping; shown to the user
    found_by: FoundBy
    bones: Mapping[str, str]  # joint of BODY_JOINTS -> bone
    spine: tuple[str, ...] = ()  # over the pelvis' bone up to the chest, lowest first
    neck: tuple[str, ...] = ()  # over the chest up to below the head, lowest first
    twist_bones: Mapping[str, TwistBone] = field(default_factory=dict[str, TwistBone])
    followers: Mapping[str, str] = field(default_factory=dict[str, str])  # bone -> joint it copies
    still_bones: tuple[str, ...] = ()  # keyed in their rest pose, or they would add to the motion
    location_bone: str = ""  # carries the root translation; "" is the pelvis' bone
    root_bone: str = ""  # a bone on the ground above all others, where the rig has one
    properties: tuple[tuple[str, str, float], ...] = ()  # bone, custom property, value to key (FK)
    ik: IkControls | None = None
    confidence: Mapping[str, float] = field(default_factory=dict[str, float])  # joint -> 0 to 1
    notes: tuple[str, ...] = ()  # what the user should know, one sentence each

    @property
    def overall_confidence(self) -> float:
        """The confidence of the least sure joint that a body needs; 0 where one is missing."""
        if self.missing_joints():
            return 0.0
        return min(self.confidence.get(joint, 1.0) for joint in REQUIRED_JOINTS)

    def missing_joints(self) -> tuple[str, ...]:
        """Joints without a bone that a body needs."""
        return tuple(joint for joint in REQUIRED_JOINTS if joint not in self.bones)

    def unmapped_joints(self) -> tuple[str, ...]:
        """Joints without a bone that a body may lack."""
        body = (j for j in BODY_JOINTS if j not in self.bones and j not in REQUIRED_JOINTS)
        chains = (name for name, bones in (("spine", self.spine), ("neck", self.neck)) if not bones)
        return (*body, *chains)

    def unsure_joints(self) -> tuple[str, ...]:
        """Joints with a bone that the user should look at, the ones that a body needs first."""
        return tuple(
            joint
            for joint in (*REQUIRED_JOINTS, *(j for j in BODY_JOINTS if j not in REQUIRED_JOINTS))
            if joint in self.bones and self.confidence.get(joint, 1.0) < SURE_ENOUGH
        )

    def require_sure(self) -> None:
        """Refuse a match that would move the wrong bones.

        Raises:
            RigError: a joint that a body needs is missing or unsure; the message names them all.
        """
        missing = self.missing_joints()
        unsure = tuple(joint for joint in self.unsure_joints() if joint in REQUIRED_JOINTS)
        if not missing and not unsure:
            return
        if not self.bones:
            words = ("This is no rig that Marey knows.", *_sentences(self.notes))
            raise RigError(" ".join(words))
        parts = [f"there is no bone for {_list(missing)}"] if missing else []
        if unsure:
            parts.append(f"it isn't sure which bone is {_list(unsure)}")
        text = f"{self.map_name or 'This rig'}: {' and '.join(parts)}. Pick these bones by hand."
        raise RigError(" ".join((text, *_sentences(self.notes))))


def _list(joints: tuple[str, ...]) -> str:
    return ", ".join(joint.replace("_", " ") for joint in joints)


def _sentences(notes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(note if note.endswith(".") else f"{note}." for note in notes)
