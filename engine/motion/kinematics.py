"""Kinematics: from local rotations to joint positions, and between local and global rotations.

Metres, y up; quaternions wxyz. Leading axes ("...") are free: frames, or batch and frames.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.motion.rotations import inverse, multiply, rotate
from engine.motion.skeleton import Skeleton


def _check_rotations(rotations: Tensor, skeleton: Skeleton, name: str) -> None:
    if rotations.ndim < 2 or tuple(rotations.shape[-2:]) != (skeleton.num_joints, 4):
        raise ValueError(
            f"{name} has shape {tuple(rotations.shape)}, needs (..., {skeleton.num_joints}, 4)"
        )


def local_to_global(local_rotations: Tensor, skeleton: Skeleton) -> Tensor:
    """Rotations relative to the parent to rotations relative to the world, (..., J, 4) both."""
    _check_rotations(local_rotations, skeleton, "local_rotations")
    turned: list[Tensor] = []
    for joint, parent in enumerate(skeleton.parents):
        local = local_rotations[..., joint, :]
        turned.append(local if parent < 0 else multiply(turned[parent], local))
    return torch.stack(turned, dim=-2)


def global_to_local(global_rotations: Tensor, skeleton: Skeleton) -> Tensor:
    """Rotations relative to the world to rotations relative to the parent, (..., J, 4) both."""
    _check_rotations(global_rotations, skeleton, "global_rotations")
    children = list(range(1, skeleton.num_joints))
    parents = list(skeleton.parents[1:])
    relative = multiply(
        inverse(global_rotations[..., parents, :]), global_rotations[..., children, :]
    )
    return torch.cat((global_rotations[..., :1, :], relative), dim=-2)


def forward_kinematics(
    local_rotations: Tensor, root_translation: Tensor, skeleton: Skeleton
) -> tuple[Tensor, Tensor]:
    """Where the joints are.

    Args:
        local_rotations: (..., J, 4) unit quaternions relative to the parent.
        root_translation: (..., 3) world position of the root in metres.
        skeleton: gives parents and rest offsets.

    Returns:
        joints: (..., J, 3) world positions in metres.
        global_rotations: (..., J, 4) relative to the world.

    Raises:
        ValueError: the shapes do not fit the skeleton or each other.
    """
    _check_rotations(local_rotations, skeleton, "local_rotations")
    if root_translation.shape != (*local_rotations.shape[:-2], 3):
        raise ValueError(
            f"root_translation has shape {tuple(root_translation.shape)}, "
            f"needs {(*local_rotations.shape[:-2], 3)}"
        )
    global_rotations = local_to_global(local_rotations, skeleton)
    joints = joints_of_global(global_rotations, root_translation, skeleton)
    return joints, global_rotations


def joints_of_global(
    global_rotations: Tensor, root_translation: Tensor, skeleton: Skeleton
) -> Tensor:
    """Joint positions (..., J, 3) of global rotations (..., J, 4) and the root's (..., 3)."""
    _check_rotations(global_rotations, skeleton, "global_rotations")
    offsets = skeleton.offsets_like(root_translation)
    arms = rotate(global_rotations[..., list(skeleton.parents[1:]), :], offsets[1:])
    joints = [root_translation]
    for joint in range(1, skeleton.num_joints):
        joints.append(joints[skeleton.parents[joint]] + arms[..., joint - 1, :])
    return torch.stack(joints, dim=-2)


def bone_lengths(joints: Tensor, skeleton: Skeleton) -> Tensor:
    """Distance in metres of each joint but the root from its parent, (..., J, 3) to (..., J-1)."""
    if joints.ndim < 2 or tuple(joints.shape[-2:]) != (skeleton.num_joints, 3):
        raise ValueError(
            f"joints has shape {tuple(joints.shape)}, needs (..., {skeleton.num_joints}, 3)"
        )
    offsets = joints[..., 1:, :] - joints[..., list(skeleton.parents[1:]), :]
    return torch.linalg.vector_norm(offsets, dim=-1)
