"""Legs that reach a given ankle and toe: two bones and a foot, bone lengths kept.

The knee stays in the plane that it has: the shin folds about the normal of thigh and shin, or
about the hinge of the knee where the leg is nearly straight, and the whole leg then swings by the
smallest turn to its target. A leg that is where it should be is left as it is.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.motion import rotations as rot
from engine.motion import skeleton as sk
from engine.motion.kinematics import global_to_local, joints_of_global
from engine.motion.motion import Motion

# Both legs side by side, left first: (T, 2, ...).
HIPS = [sk.LEFT_HIP, sk.RIGHT_HIP]
KNEES = [sk.LEFT_KNEE, sk.RIGHT_KNEE]
ANKLES = [sk.LEFT_ANKLE, sk.RIGHT_ANKLE]
TOES = [sk.LEFT_FOOT, sk.RIGHT_FOOT]

# How far a leg is stretched, against its length: near the end the knee moves fast for little
# gain. A leg that the motion itself stretches further may keep that, up to the second figure.
EASY_STRETCH = 0.985
_MAX_STRETCH = 0.9995
_PASSES = 4  # each leaves a small part of the error; four leave under a tenth of a millimetre
_STRAIGHT = 0.3  # sine of the bend under which the hinge of the knee has a say in the plane


def leg_lengths(motion: Motion) -> tuple[Tensor, Tensor]:
    """Lengths of thighs and shins, (2,) each, in metres."""
    lengths = torch.linalg.vector_norm(
        motion.skeleton.offsets_like(motion.root_translation), dim=-1
    )
    return lengths[KNEES], lengths[ANKLES]


def leg_reach(joints: Tensor, lengths: tuple[Tensor, Tensor]) -> Tensor:
    """Longest distance (T, 2) in metres from hip to ankle to ask of the legs of these joints."""
    whole = lengths[0] + lengths[1]
    own = torch.linalg.vector_norm(joints[:, ANKLES] - joints[:, HIPS], dim=-1) / whole
    return own.clamp(EASY_STRETCH, _MAX_STRETCH) * whole


def place_feet(
    global_rotations: Tensor, root: Tensor, ankles: Tensor, toes: Tensor, motion: Motion
) -> Tensor:
    """Turn hips, knees and ankles so that the feet come to their places.

    An ankle out of reach comes as near as the leg is long; its toe keeps the direction.

    Args:
        global_rotations: (T, J, 4) of all joints.
        root: (T, 3) where the root is now.
        ankles, toes: (T, 2, 3) where they should be, a foot's length apart.
        motion: gives the skeleton.

    Returns:
        local_rotations: (T, J, 4).
    """
    lengths = leg_lengths(motion)
    joints = joints_of_global(global_rotations, root, motion.skeleton)
    reach = leg_reach(joints, lengths)
    for _ in range(_PASSES):
        joints = joints_of_global(global_rotations, root, motion.skeleton)
        thigh, shin = _leg_turns(joints, ankles, global_rotations, lengths, reach)
        global_rotations = _turned(global_rotations, HIPS, thigh)
        global_rotations = _turned(global_rotations, KNEES, shin)
        global_rotations = _turned(global_rotations, [*ANKLES, *TOES], shin.repeat(1, 2, 1))
    joints = joints_of_global(global_rotations, root, motion.skeleton)
    foot = rot.shortest_arc(joints[:, TOES] - joints[:, ANKLES], toes - ankles)
    global_rotations = _turned(global_rotations, [*ANKLES, *TOES], foot.repeat(1, 2, 1))
    return rot.make_continuous(rot.normalise(global_to_local(global_rotations, motion.skeleton)))


def _turned(global_rotations: Tensor, joints: list[int], turns: Tensor) -> Tensor:
    """The rotations with those of some joints turned on by (T, N, 4) in the world's frame."""
    result = global_rotations.clone()
    result[:, joints] = rot.multiply(turns, global_rotations[:, joints])
    return result


def _leg_turns(
    joints: Tensor,
    ankles: Tensor,
    global_rotations: Tensor,
    lengths: tuple[Tensor, Tensor],
    reach: Tensor,
) -> tuple[Tensor, Tensor]:
    """Turns (T, 2, 4) of thigh and shin in the world's frame that lead the ankles to `ankles`."""
    hip, knee, ankle = joints[:, HIPS], joints[:, KNEES], joints[:, ANKLES]
    upper, lower = lengths
    axis, bend = _knee_bend(hip, knee, ankle, global_rotations)
    wanted = torch.linalg.vector_norm(ankles - hip, dim=-1)
    distance = torch.minimum(wanted, reach)
    distance = torch.maximum(distance, (upper - lower).abs() + 0.05)
    # Law of cosines for the outer angle at the knee: d^2 = u^2 + l^2 + 2 u l cos(bend).
    cosine = (distance**2 - upper**2 - lower**2) / (2 * upper * lower)
    new_bend = torch.acos(cosine.clamp(-1.0, 1.0))
    fold = rot.axis_angle_to_quaternion(axis * (new_bend - bend)[..., None])
    folded = knee + rot.rotate(fold, ankle - knee)
    swing = rot.shortest_arc(folded - hip, ankles - hip)
    return swing, rot.multiply(swing, fold)


def _knee_bend(
    hip: Tensor, knee: Tensor, ankle: Tensor, global_rotations: Tensor
) -> tuple[Tensor, Tensor]:
    """Axis (T, 2, 3) about which the shin folds, and the outer angle (T, 2), below 0 if it is
    folded the wrong way."""
    thigh, shin = rot.normalise(knee - hip), rot.normalise(ankle - knee)
    sideways = thigh.new_tensor((1.0, 0.0, 0.0))
    hinge = rot.rotate(global_rotations[:, KNEES], sideways.expand_as(thigh))
    hinge = rot.normalise(hinge - (hinge * thigh).sum(-1, keepdim=True) * thigh)
    normal = torch.linalg.cross(thigh, shin)
    sine = torch.linalg.vector_norm(normal, dim=-1, keepdim=True)
    side = torch.where((normal * hinge).sum(-1, keepdim=True) < 0, -1.0, 1.0)
    share = (sine / _STRAIGHT).clamp(max=1.0) ** 2
    axis = rot.normalise(torch.lerp(hinge, side * rot.normalise(normal), share))
    bend = torch.atan2(side * sine, (thigh * shin).sum(-1, keepdim=True))
    return axis, bend[..., 0]
