"""Twist along a limb segment, shared between the bones that skin it.

Upper arms and thighs don't twist at their upper end and twist wholly at their lower; forearms and
shins twist as far as hand or foot turns about them. A rotation is split into a swing, which takes
the segment the shortest way to where it points, and a twist about the segment before that.

Figure space (see blender_addon.rig). Shape letters: T frames.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .moving_rig import MovingRig
from .rotations import FloatArray, turn_about, twist_about, unit
from .target_figure import TargetFigure

_NEXT = {"shoulder": "elbow", "elbow": "hand_end", "hip": "knee", "knee": "ankle"}
# The upper segment of a lower one, and the joint whose bone gives its twist.
_LOWER = {"elbow": ("shoulder", "wrist"), "knee": ("hip", "ankle")}


def share_twist(moving: MovingRig, target: TargetFigure) -> None:
    """Turn the twist bones of a rig, and take their share from the bones that they help."""
    by_joint: dict[str, dict[int, float]] = {}
    for bone, twist in target.match.twist_bones.items():
        by_joint.setdefault(twist.joint, {})[target.rig.index[bone]] = twist.share
    whole = dict(moving.rotations)  # as they were: segments share out the same rotations
    for joint, shares in by_joint.items():
        if joint.rpartition("_")[2] in _NEXT and joint in target.match.bones:
            moving.turn(_shared(moving, target, whole, joint, shares))


def _shared(
    moving: MovingRig,
    target: TargetFigure,
    whole: Mapping[int, FloatArray],
    joint: str,
    shares: Mapping[int, float],
) -> dict[int, FloatArray]:
    side, _, part = joint.rpartition("_")
    main = target.bone(joint)
    axis = unit(target.points[f"{side}_{_NEXT[part]}"] - target.points[joint])
    if part in _LOWER:
        upper, end = (f"{side}_{name}" for name in _LOWER[part])
        unswung, angle = _split(whole[target.bone(upper)], whole[main], axis)
        if end in target.match.bones and target.bone(end) in whole:
            turned = np.swapaxes(unswung, -1, -2) @ whole[target.bone(end)]
            angle = _continuous(twist_about(turned, axis))
        turned = {main: unswung}
    else:
        carrier = moving.moving_parent(main)
        still = np.broadcast_to(np.eye(3), whole[main].shape)
        unswung, angle = _split(whole.get(carrier, still), whole[main], axis)
        # A helper beside the limb leaves the twist with the main bone; one in the chain takes it.
        in_chain = any(_carries(moving, bone, target, f"{side}_{_NEXT[part]}") for bone in shares)
        turned = {main: unswung} if in_chain else {}
    return turned | {
        bone: unswung @ turn_about(axis, share * angle) for bone, share in shares.items()
    }


def _split(
    carrier: FloatArray, turned: FloatArray, axis: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """A rotation (T, 3, 3) without its twist against its carrier, and the twist's angle (T,)."""
    angle = twist_about(np.swapaxes(carrier, -1, -2) @ turned, axis)
    return turned @ turn_about(axis, -angle), _continuous(angle)


def _continuous(angle: FloatArray) -> FloatArray:
    """Angles without steps over a half turn, about as near to zero as that allows."""
    unwrapped = np.unwrap(angle)
    return unwrapped - 2 * np.pi * np.round(unwrapped.mean() / (2 * np.pi))


def _carries(moving: MovingRig, bone: int, target: TargetFigure, joint: str) -> bool:
    if joint not in target.match.bones:
        return False
    return moving.rig.is_below(target.bone(joint), bone)
