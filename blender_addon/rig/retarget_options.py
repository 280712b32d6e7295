"""What the user may choose about how a motion comes onto a rig, each with an off switch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum


class RootMode(Enum):
    """What carries the figure through the scene."""

    HIPS = "hips"  # the hips' bone, and nothing else
    OBJECT = "object"  # the armature object: place on the ground and heading
    BONE = "bone"  # a root bone on the ground: place and heading
    IN_PLACE = "in_place"  # nothing: the path over the ground is taken out, the heading stays


class Start(Enum):
    """Where the motion begins."""

    CHARACTER = "character"  # where the character stands at rest, and facing as it does there
    ORIGIN = "origin"  # the motion's own place and heading, from the world origin; +z goes to -Y


@dataclass(frozen=True, kw_only=True)
class RetargetOptions:
    """Choices for one retargeting. The defaults suit a character that stands on its floor.

    Raises:
        ValueError: a number is out of its range.
    """

    plant_feet: bool = True  # feet keep their place on the floor while the motion's stand
    plant_toes: bool = True  # toes lie on the floor while the heel lifts
    keep_above_floor: bool = True  # soles stay out of the floor between contacts too
    share_twist: bool = True  # twist bones take their share; off: they stay at rest
    floor_z: float | None = None  # world height of the floor; None is where the character stands
    root: RootMode = RootMode.HIPS
    root_bone: str = ""  # for RootMode.BONE; "" is the match's own
    smooth_root_s: float = 0.0  # the path of object or root bone is averaged over so many seconds
    start: Start = Start.CHARACTER
    keep_heading: bool = True  # off: the first frame faces where the character faces
    scale: float | None = None  # of the path of the hips; None is by the length of the legs
    key_ik: bool = False  # key IK controls and switch to them, where the rig has any
    blend_s: float = 0.16  # least time for a foot to go over between planted and free

    def __post_init__(self) -> None:
        for name in ("smooth_root_s", "blend_s"):
            value = float(getattr(self, name))
            if not 0.0 <= value <= 10.0:
                raise ValueError(f"RetargetOptions.{name} is {value}, needs 0 to 10 seconds")
        if self.scale is not None and not (math.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"RetargetOptions.scale is {self.scale}, needs more than 0")
        if self.floor_z is not None and not math.isfinite(self.floor_z):
            raise ValueError(f"RetargetOptions.floor_z is {self.floor_z}, needs a height")
