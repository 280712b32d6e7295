"""Rotations that a lifter tells, worn by bodies: what its losses look at."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from engine.motion import proportions
from engine.motion import rotations as rot
from engine.motion.keypoint_layout import keypoints_of_pose
from engine.motion.skeleton import HEAD


@dataclass(frozen=True, kw_only=True)
class Posed:
    """Poses of bodies. Leading axes (B, N)."""

    local_rotations: Tensor  # (B, N, 22, 3, 3)
    joints: Tensor  # (B, N, 22, 3) metres, from the root
    keypoints: Tensor  # (B, N, 22, 3) what a detector would see, from the root


def pose(sixd: Tensor, bones: Tensor) -> Posed:
    """Rotations (B, N, 22, 6) worn by bodies (B, 13)."""
    local = rot.sixd_to_matrix(sixd)
    joints, turned = proportions.pose_bodies(local, proportions.rest_offsets(bones)[:, None])
    return Posed(
        local_rotations=local,
        joints=joints,
        keypoints=keypoints_of_pose(joints, turned[:, :, HEAD]),
    )
