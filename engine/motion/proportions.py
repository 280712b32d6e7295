"""Bodies of other proportions: the built-in skeleton with its bones scaled.

A body is 13 numbers: the logarithm of each bone's length over the built-in one's, left and right
alike. One view can't tell a small person nearby from a large one far off, so only proportions
count: the 13 numbers have a mean of zero.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from engine.motion import skeleton as sk
from engine.motion.skeleton import SMPL_22, Skeleton

BONES = (
    "spine1",
    "spine2",
    "spine3",
    "neck",
    "head",
    "hip",
    "knee",
    "ankle",
    "foot",
    "collar",
    "shoulder",
    "elbow",
    "wrist",
)
NUM_BONES = len(BONES)
# The bone that ends in each joint; the root's entry is never used.
BONE_OF_JOINT = [
    BONES.index(name.removeprefix("left_").removeprefix("right_")) if joint else 0
    for joint, name in enumerate(SMPL_22.joint_names)
]
LEVELS = (  # joints by their distance from the root
    (sk.LEFT_HIP, sk.RIGHT_HIP, sk.SPINE1),
    (sk.LEFT_KNEE, sk.RIGHT_KNEE, sk.SPINE2),
    (sk.LEFT_ANKLE, sk.RIGHT_ANKLE, sk.SPINE3),
    (sk.LEFT_FOOT, sk.RIGHT_FOOT, sk.NECK, sk.LEFT_COLLAR, sk.RIGHT_COLLAR),
    (sk.HEAD, sk.LEFT_SHOULDER, sk.RIGHT_SHOULDER),
    (sk.LEFT_ELBOW, sk.RIGHT_ELBOW),
    (sk.LEFT_WRIST, sk.RIGHT_WRIST),
)
_ORDER = [0, *(joint for level in LEVELS for joint in level)]
_BACK = [_ORDER.index(joint) for joint in range(SMPL_22.num_joints)]


def centred(log_ratios: Tensor) -> Tensor:
    """Logarithms of bone ratios (..., 13) with the overall size taken out."""
    return log_ratios - log_ratios.mean(-1, keepdim=True)


def rest_offsets(log_ratios: Tensor) -> Tensor:
    """Rest offsets (..., 22, 3) in metres of bodies with the log_ratios (..., 13).

    Raises:
        ValueError: the last axis is not 13.
    """
    if log_ratios.shape[-1] != NUM_BONES:
        raise ValueError(
            f"log_ratios has shape {tuple(log_ratios.shape)}, needs (..., {NUM_BONES})"
        )
    scale = torch.exp(log_ratios)[..., BONE_OF_JOINT]
    return SMPL_22.offsets_like(log_ratios) * scale[..., None]


def skeleton_of(log_ratios: Tensor) -> Skeleton:
    """The built-in tree with the bones of one body (13,)."""
    offsets = rest_offsets(log_ratios.double()).tolist()
    # seven decimals: what a float32 file gives back
    rounded = tuple((round(x, 7), round(y, 7), round(z, 7)) for x, y, z in offsets)
    return replace(SMPL_22, name="smpl_22_fitted", rest_offsets=rounded)


def pose_bodies(local_rotations: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Forward kinematics of many bodies: joints relative to the root, and global rotations.

    Args:
        local_rotations: (..., 22, 3, 3) matrices relative to the parent.
        offsets: (..., 22, 3) metres, from rest_offsets; leading axes broadcast.

    Returns:
        joints: (..., 22, 3) metres with the root at the origin.
        global_rotations: (..., 22, 3, 3).
    """
    root = local_rotations[..., :1, :, :]
    turned, places = [root], [torch.zeros_like(root[..., 0])]
    place_in_level = {0: (0, 0)}
    for depth, level in enumerate(LEVELS, start=1):
        parents = [place_in_level[SMPL_22.parents[joint]] for joint in level]
        above = {where for where, _ in parents}
        assert above == {depth - 1}  # the parents of a level are the level before
        # index_select: its gradient is several times faster than that of a list of indices
        rows = torch.tensor([row for _, row in parents], device=root.device)
        columns = torch.tensor(level, device=root.device)
        frames = turned[-1].index_select(-3, rows)
        arms = (frames @ offsets.index_select(-2, columns)[..., None])[..., 0]
        places.append(places[-1].index_select(-2, rows) + arms)
        turned.append(frames @ local_rotations.index_select(-3, columns))
        place_in_level |= {joint: (depth, row) for row, joint in enumerate(level)}
    back = torch.tensor(_BACK, device=root.device)
    joints = torch.cat(places, dim=-2).index_select(-2, back)
    return joints, torch.cat(turned, dim=-3).index_select(-3, back)
