"""Figures of a lifted motion against the true one. Torch, metres; T frames, J joints.

Positions are compared in each frame's camera with both roots at the origin, as the field does it;
"aligned" is after the best rotation, shift and (where said) scale of each frame.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.motion.kinematics import bone_lengths
from engine.motion.skeleton import SMPL_22


def joint_error(predicted: Tensor, true: Tensor) -> Tensor:
    """Mean distance (T,) of joints (T, J, 3) from the root."""
    return torch.linalg.vector_norm(_from_root(predicted) - _from_root(true), dim=-1).mean(-1)


def scale_aligned_error(predicted: Tensor, true: Tensor) -> Tensor:
    """The same after one best scale for the clip: a body keeps its size."""
    found, wanted = _from_root(predicted), _from_root(true)
    scale = (found * wanted).sum() / found.square().sum().clamp(min=1e-9)
    return torch.linalg.vector_norm(scale * found - wanted, dim=-1).mean(-1)


def aligned_error(predicted: Tensor, true: Tensor) -> Tensor:
    """Mean distance (T,) of joints (T, J, 3) after Procrustes alignment of each frame."""
    return torch.linalg.vector_norm(procrustes(predicted, true) - true, dim=-1).mean(-1)


def procrustes(points: Tensor, target: Tensor) -> Tensor:
    """Points (..., N, 3) scaled, turned and moved to be as near the target as can be.

    Source: Schönemann, A Generalized Solution of the Orthogonal Procrustes Problem, 1966; without
    reflections (Umeyama, 1991).
    """
    centre, target_centre = points.mean(-2, keepdim=True), target.mean(-2, keepdim=True)
    centred, wanted = points - centre, target - target_centre
    u, values, vh = torch.linalg.svd(wanted.mT @ centred)
    sign = torch.linalg.det(u @ vh)
    flip = torch.ones_like(values)
    flip[..., 2] = torch.where(sign < 0, -1.0, 1.0)
    rotation = (u * flip[..., None, :]) @ vh
    size = centred.square().sum((-1, -2)).clamp(min=1e-9)
    scale = (values * flip).sum(-1) / size
    return scale[..., None, None] * centred @ rotation.mT + target_centre


def rotation_error(predicted: Tensor, true: Tensor) -> Tensor:
    """Mean angle (T,) in degrees between rotations (T, J, 3, 3)."""
    trace = torch.einsum("...ij,...ij->...", predicted, true)
    return torch.rad2deg(torch.acos(((trace - 1) / 2).clamp(-1.0, 1.0))).mean(-1)


def acceleration_error(predicted: Tensor, true: Tensor, fps: float) -> Tensor:
    """Mean difference (T - 2,) of joints' accelerations in m/s2, roots at the origin."""
    found, wanted = _from_root(predicted), _from_root(true)
    difference = (found - wanted).diff(n=2, dim=0) * fps**2
    return torch.linalg.vector_norm(difference, dim=-1).mean(-1)


def correct_keypoints(predicted: Tensor, true: Tensor, heights: Tensor, share: float) -> Tensor:
    """Share (T,) of image points (T, J, 2) within a share of the body's height (T,)."""
    off = torch.linalg.vector_norm(predicted - true, dim=-1)
    return (off < share * heights[:, None]).float().mean(-1)


def path_error(predicted: Tensor, true: Tensor) -> Tensor:
    """Mean distance () of paths (T, 3) that start at one point."""
    found, wanted = predicted - predicted[:1], true - true[:1]
    return torch.linalg.vector_norm(found - wanted, dim=-1).mean()


def path_shape_error(predicted: Tensor, true: Tensor) -> Tensor:
    """The same after the best scale, turn and shift of the whole path."""
    aligned = procrustes(predicted[None], true[None])[0]
    return torch.linalg.vector_norm(aligned - true, dim=-1).mean()


def path_length(path: Tensor) -> Tensor:
    """Length () in metres of a path (T, 3)."""
    return torch.linalg.vector_norm(path.diff(dim=0), dim=-1).sum()


def bone_deviation(joints: Tensor) -> Tensor:
    """Largest deviation () in metres of a bone's length over the frames of joints (T, 22, 3)."""
    if len(joints) < 2:
        return joints.new_zeros(())
    return bone_lengths(joints, SMPL_22).std(dim=0).amax()


def bone_error(predicted: Tensor, true: Tensor) -> Tensor:
    """Mean error () in metres of bones' mean lengths, joints (T, 22, 3)."""
    found, wanted = (bone_lengths(joints, SMPL_22).mean(0) for joints in (predicted, true))
    return (found - wanted).abs().mean()


def _from_root(joints: Tensor) -> Tensor:
    return joints - joints[:, :1]
