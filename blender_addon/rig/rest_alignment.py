"""How the rest pose of a rig differs from that of a motion, limb by limb.

For each joint an alignment A: the bone's rotation away from its rest pose is G @ A, where G is the
joint's rotation away from the motion's rest pose. A comes from the directions of limbs alone (an
A-pose differs from a T-pose in them), so the roll of bones and their names play no part.

Neck and head stand alike in every rest pose and keep their natural shape: A is none there. So do
pelvis and chest, but for their side axes, from hip to hip and from shoulder to shoulder. Feet keep
flat soles: only where the toes point, seen from above, is aligned.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .rotations import FloatArray, cross, frame_from, shortest_rotation, turn_about_y, unit

# Where a limb points in a T-pose, and the axis about which its hinge then closes.
_LIMBS = {
    "left_arm": ((1.0, 0.0, 0.0), (0.0, -1.0, 0.0)),
    "right_arm": ((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
    "left_leg": ((0.0, -1.0, 0.0), (1.0, 0.0, 0.0)),
    "right_leg": ((0.0, -1.0, 0.0), (1.0, 0.0, 0.0)),
}
# A limb that is bent at rest shows its own hinge; nearly straight ones show only noise.
_STRAIGHT_SINE, _BENT_SINE = np.sin(np.radians(4.0)), np.sin(np.radians(12.0))


def limb_frames(
    limb: str, upper: FloatArray, middle: FloatArray, end: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Frames (3, 3) of upper and lower segment at rest: first column along, second the hinge.

    upper, middle and end are the (3,) positions of shoulder, elbow, wrist or hip, knee, ankle.
    """
    t_direction, t_hinge = (np.array(axis) for axis in _LIMBS[limb])
    along_upper, along_lower = unit(middle - upper), unit(end - middle)
    hinge = shortest_rotation(t_direction, along_upper) @ t_hinge
    normal = cross(along_upper, along_lower)
    sine = float(np.linalg.norm(normal))
    # A limb bent the wrong way or sideways at rest was modelled so; its hinge is not there.
    if sine > _STRAIGHT_SINE and float(unit(normal) @ hinge) > 0.5:
        share = min(1.0, float((sine - _STRAIGHT_SINE) / (_BENT_SINE - _STRAIGHT_SINE)))
        hinge = unit(hinge * (1 - share) + unit(normal) * share)
    lower_hinge = shortest_rotation(along_upper, along_lower) @ hinge
    return frame_from(along_upper, hinge), frame_from(along_lower, lower_hinge)


def rest_frames(points: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Frames (3, 3) of a rest pose, by joint, out of the joints' positions in figure space.

    Joints that are not in the result have no alignment. "left_hand_end" and "left_toe", and the
    same on the right, stand in for a wrist and a toe joint.
    """
    frames: dict[str, FloatArray] = {}
    for side in ("left", "right"):
        arm = [points[f"{side}_{joint}"] for joint in ("shoulder", "elbow", "hand_end")]
        leg = [points[f"{side}_{joint}"] for joint in ("hip", "knee", "ankle")]
        upper_arm, forearm = limb_frames(f"{side}_arm", *arm)
        thigh, shin = limb_frames(f"{side}_leg", *leg)
        foot = foot_frame(points[f"{side}_ankle"], points[f"{side}_toe"])
        frames |= {f"{side}_shoulder": upper_arm, f"{side}_elbow": forearm}
        frames |= {f"{side}_hip": thigh, f"{side}_knee": shin}
        frames |= {f"{side}_ankle": foot, f"{side}_foot": foot}
        frames[f"{side}_wrist"] = forearm
    return frames


def foot_frame(ankle: FloatArray, toe: FloatArray) -> FloatArray:
    """Frame (3, 3) of a foot on the floor: turned to where the toes point, and level."""
    forward = toe - ankle
    return turn_about_y(np.arctan2(forward[0], forward[2]))


def rest_alignments(
    source: Mapping[str, FloatArray], target: Mapping[str, FloatArray]
) -> dict[str, FloatArray]:
    """Alignments (3, 3) by joint, out of the rest frames of motion and rig."""
    return {joint: source[joint] @ target[joint].T for joint in target if joint in source}


def side_alignment(
    source: Mapping[str, FloatArray], target: Mapping[str, FloatArray], left: str, right: str
) -> FloatArray:
    """Alignment (3, 3) of a part of the trunk by its side axis, from joint `right` to `left`."""
    return shortest_rotation(target[left] - target[right], source[left] - source[right])
