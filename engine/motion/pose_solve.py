"""Local rotations solved from joint positions.

A bone's direction fixes two of a joint's three angles; the third, the twist, needs a second axis.
It comes from the body: the pelvis has its hips and spine, the chest its neck and collars, an upper
and a lower limb the plane of the elbow or knee, a foot the floor or the knee. The spine bones
between pelvis and chest share the turn between them.

A limb that is nearly straight has no plane. So each frame's plane counts by the square of the
sine of its bend, against a small weight of where the axis would be if the limb had swung from the
rest pose without twist; and twists are fitted to all frames at once, each as true to its own plane
as that counts, with small steps between neighbours: a straight limb carries its twist over, an
over-stretched one does not flip.

What positions cannot tell stays neutral: the forearm does not twist against the upper arm, head
and neck do not turn against the chest, hands and toes follow the bone before them.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import solveh_banded
from torch import Tensor

from engine.motion import rotations as rot
from engine.motion import skeleton as sk
from engine.motion.kinematics import global_to_local
from engine.motion.skeleton import SMPL_22, Skeleton

# Limbs in the order left leg, right leg, left arm, right arm.
_UPPER = (sk.LEFT_HIP, sk.RIGHT_HIP, sk.LEFT_SHOULDER, sk.RIGHT_SHOULDER)
_MIDDLE = (sk.LEFT_KNEE, sk.RIGHT_KNEE, sk.LEFT_ELBOW, sk.RIGHT_ELBOW)
_END = (sk.LEFT_ANKLE, sk.RIGHT_ANKLE, sk.LEFT_WRIST, sk.RIGHT_WRIST)
# The hinge of a limb in the rest pose, upper bone x lower bone when it bends the natural way:
# knees fold the shin back, elbows bring the forearm forward.
_HINGES = ((1.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 1.0, 0.0))

_SWING_WEIGHT = 0.02  # of the untwisted axis; a bend of 8 degrees weighs as much
_FOOT_WEIGHT = 0.04  # of the foot's direction in the twist of its leg
_STEP_WEIGHT = 0.3  # of the square of a twist's step from frame to frame
_LEAST_WEIGHT = 1e-3  # of a frame whose evidence cancels out


def solve_local_rotations(joints: Tensor, skeleton: Skeleton = SMPL_22) -> Tensor:
    """Local rotations that put the skeleton's joints where `joints` are.

    Bone directions of limbs, neck and collars are met exactly; positions as far as the bone
    lengths agree and pelvis and chest are rigid. Neighbouring frames never differ in sign.

    Args:
        joints: (T, 22, 3) world positions in metres, in the order of SMPL_22.
        skeleton: the built-in tree with any rest offsets.

    Returns:
        local_rotations: (T, 22, 4) wxyz.

    Raises:
        ValueError: joints has another shape or numbers that are not finite, or the skeleton's
            tree is not that of SMPL_22.
    """
    _check(joints, skeleton)
    offsets = skeleton.offsets_like(joints)
    pelvis = _pelvis_rotation(joints, offsets)
    chest = _chest_rotation(joints, offsets)
    turned: list[Tensor | None] = [None] * skeleton.num_joints
    turned[sk.PELVIS], turned[sk.SPINE3] = pelvis, chest
    for joint, fraction in ((sk.SPINE1, 1 / 3), (sk.SPINE2, 2 / 3)):
        shared = rot.slerp(pelvis, chest, joints.new_full(joints.shape[:1], fraction))
        turned[joint] = _swing(shared, joints, offsets, joint, skeleton.children(joint)[0])
    turned[sk.NECK] = _swing(chest, joints, offsets, sk.NECK, sk.HEAD)
    turned[sk.HEAD] = turned[sk.NECK]
    left = _swing(chest, joints, offsets, sk.LEFT_COLLAR, sk.LEFT_SHOULDER)
    right = _swing(chest, joints, offsets, sk.RIGHT_COLLAR, sk.RIGHT_SHOULDER)
    turned[sk.LEFT_COLLAR], turned[sk.RIGHT_COLLAR] = left, right

    upper, lower, hinges = _limb_rotations(
        joints, offsets, torch.stack((pelvis, pelvis, left, right), dim=1)
    )
    for limb in range(4):
        turned[_UPPER[limb]], turned[_MIDDLE[limb]] = upper[:, limb], lower[:, limb]
        turned[_END[limb]] = lower[:, limb]
    feet = _foot_rotations(joints, offsets, hinges[:, :2])
    for foot, (ankle, toe) in enumerate(_FEET):
        turned[ankle] = turned[toe] = feet[:, foot]
    complete = torch.stack([quaternions for quaternions in turned if quaternions is not None], 1)
    return rot.make_continuous(rot.normalise(global_to_local(complete, skeleton)))


_FEET = ((sk.LEFT_ANKLE, sk.LEFT_FOOT), (sk.RIGHT_ANKLE, sk.RIGHT_FOOT))


def _check(joints: Tensor, skeleton: Skeleton) -> None:
    if joints.ndim != 3 or tuple(joints.shape[1:]) != (SMPL_22.num_joints, 3) or len(joints) < 1:
        raise ValueError(f"joints has shape {tuple(joints.shape)}, needs (1 or more, 22, 3)")
    if not bool(torch.isfinite(joints).all()):
        raise ValueError("joints has numbers that are not finite, needs finite positions")
    if skeleton.parents != SMPL_22.parents:
        raise ValueError(f"skeleton {skeleton.name} needs the tree of {SMPL_22.name}")


def _turn(rest: tuple[Tensor, Tensor], now: tuple[Tensor, Tensor]) -> Tensor:
    """The turn that takes the first rest direction onto the first of now, the second nearly."""
    matrix = rot.axes_to_matrix(*now) @ rot.axes_to_matrix(*rest).transpose(-1, -2)
    return rot.matrix_to_quaternion(matrix)


def _swing(twist: Tensor, joints: Tensor, offsets: Tensor, joint: int, child: int) -> Tensor:
    """`twist` (T, 4), turned on by the smallest angle that points the joint at its child."""
    rest = rot.rotate(twist, offsets[child])
    return rot.multiply(rot.shortest_arc(rest, joints[:, child] - joints[:, joint]), twist)


def _pelvis_rotation(joints: Tensor, offsets: Tensor) -> Tensor:
    """From the line of the hips, then from their middle to the spine."""
    middle = (joints[:, sk.LEFT_HIP] + joints[:, sk.RIGHT_HIP]) / 2
    rest_middle = (offsets[sk.LEFT_HIP] + offsets[sk.RIGHT_HIP]) / 2
    return _turn(
        (offsets[sk.LEFT_HIP] - offsets[sk.RIGHT_HIP], offsets[sk.SPINE1] - rest_middle),
        (joints[:, sk.LEFT_HIP] - joints[:, sk.RIGHT_HIP], joints[:, sk.SPINE1] - middle),
    )


def _chest_rotation(joints: Tensor, offsets: Tensor) -> Tensor:
    """From the spine to the neck, then from the line of the collars."""
    return _turn(
        (offsets[sk.NECK], offsets[sk.LEFT_COLLAR] - offsets[sk.RIGHT_COLLAR]),
        (
            joints[:, sk.NECK] - joints[:, sk.SPINE3],
            joints[:, sk.LEFT_COLLAR] - joints[:, sk.RIGHT_COLLAR],
        ),
    )


def _limb_rotations(
    joints: Tensor, offsets: Tensor, parents: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Global rotations of upper and lower limbs (T, 4, 4) each, and the hinges (T, 4, 3)."""
    upper = rot.normalise(joints[:, _MIDDLE] - joints[:, _UPPER])  # (T, 4, 3)
    lower = rot.normalise(joints[:, _END] - joints[:, _MIDDLE])
    rest_upper, rest_lower = offsets[list(_MIDDLE)], offsets[list(_END)]
    rest_hinge = joints.new_tensor(_HINGES)

    swing = rot.shortest_arc(rot.rotate(parents, rest_upper), upper)
    untwisted = rot.rotate(rot.multiply(swing, parents), rest_hinge)
    side = torch.linalg.cross(upper, untwisted)  # with untwisted the plane across the bone
    bend = torch.linalg.cross(upper, lower)  # length is the sine of the bend
    evidence = _seen_along(bend, untwisted, side) * torch.linalg.vector_norm(
        bend, dim=-1, keepdim=True
    )
    toes = joints[:, [toe for _, toe in _FEET]] - joints[:, [ankle for ankle, _ in _FEET]]
    # Toes forward of a shin that points down: toes x shin is the hinge.
    across = torch.linalg.cross(rot.normalise(toes), lower[:, :2])
    feet = _FOOT_WEIGHT * _seen_along(across, untwisted[:, :2], side[:, :2])
    evidence = evidence + torch.cat((feet, torch.zeros_like(feet)), dim=1)
    evidence = evidence + evidence.new_tensor((_SWING_WEIGHT, 0.0))

    twist = _fit_twists(evidence)[..., None]
    hinge = torch.cos(twist) * untwisted + torch.sin(twist) * side
    return (
        _turn((rest_upper, rest_hinge), (upper, hinge)),
        _turn((rest_lower, rest_hinge), (lower, hinge)),
        hinge,
    )


def _seen_along(vectors: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Coordinates (..., 2) of vectors on two axes."""
    return torch.stack(((vectors * first).sum(-1), (vectors * second).sum(-1)), dim=-1)


def _fit_twists(evidence: Tensor) -> Tensor:
    """Angles (T, L) that follow evidence (T, L, 2), by its length, and step little.

    Least squares of weight * (twist - seen)^2 + step weight * (next twist - twist)^2, the seen
    angles unwrapped: one system of three bands per limb.
    """
    pairs = evidence.double().cpu().numpy()
    seen = np.unwrap(np.arctan2(pairs[..., 1], pairs[..., 0]), axis=0)
    weights = np.hypot(pairs[..., 0], pairs[..., 1]) + _LEAST_WEIGHT
    num_frames = len(seen)
    if num_frames < 2:
        return torch.from_numpy(seen).to(evidence)
    neighbours = np.full(num_frames, 2.0)
    neighbours[[0, -1]] = 1.0
    beside = np.concatenate(([0.0], np.full(num_frames - 1, -_STEP_WEIGHT)))
    fitted = [
        solveh_banded(
            np.stack((beside, weights[:, limb] + _STEP_WEIGHT * neighbours)),
            weights[:, limb] * seen[:, limb],
        )
        for limb in range(seen.shape[1])
    ]
    return torch.from_numpy(np.stack(fitted, axis=1)).to(evidence)


def _foot_rotations(joints: Tensor, offsets: Tensor, hinges: Tensor) -> Tensor:
    """Global rotations (T, 2, 4) of the ankles: the toes exactly, the sole level if it stands.

    The roll about the line to the toes cannot be seen. Under an upright shin the foot stands or
    is about to: level. Elsewhere it goes with the knee.
    """
    ankles = [ankle for ankle, _ in _FEET]
    knees = [sk.LEFT_KNEE, sk.RIGHT_KNEE]
    toes = rot.normalise(joints[:, [toe for _, toe in _FEET]] - joints[:, ankles])
    shins = rot.normalise(joints[:, ankles] - joints[:, knees])
    up = joints.new_tensor((0.0, 1.0, 0.0)).expand_as(toes)
    level = torch.linalg.cross(up, toes)  # short where the toes point down, and then counts less
    upright = ((-shins[..., 1:2] - 0.3) / 0.5).clamp(0.0, 1.0)
    # A level axis against the hinge means a foot turned backwards: not a standing one.
    agrees = ((level * hinges).sum(-1, keepdim=True) / 0.5).clamp(0.0, 1.0)
    across = torch.lerp(hinges, rot.normalise(level), upright * agrees)
    rest = torch.stack([offsets[toe] for _, toe in _FEET])
    sideways = joints.new_tensor(((1.0, 0.0, 0.0), (1.0, 0.0, 0.0)))
    return _turn((rest, sideways), (toes, across))
