"""A root's path through the world, from what a camera sees of a moving body.

One linear system for all frames: joints lie on the rays of their keypoints, standing feet stay
where they are, the root doesn't jump. A frame without keypoints goes with its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import solveh_banded
from torch import Tensor

from engine.motion.camera_fit import translation_equations

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class PathDeviations:
    """How far off each kind of knowledge usually is; smaller counts more."""

    keypoint: float = 0.03  # metres between a joint and its ray
    depth: float = 0.15  # of the depth, as the lifter tells it
    step: float = 0.008  # metres that a standing foot moves per frame at 20 fps
    acceleration: float = 4.0  # metres per second squared of the root


def solve_root_path(
    points: Tensor,
    plane_points: Tensor,
    weights: Tensor,
    *,
    depth: Tensor,
    feet: Tensor,
    contacts: Tensor,
    camera_rotations: Tensor,
    fps: float,
    deviations: PathDeviations | None = None,
) -> Tensor:
    """The root's places (T, 3) in the axes of the first frame's camera, metres.

    Args:
        points: (T, K, 3) what the keypoints show, relative to the root, in each frame's camera.
        plane_points: (T, K, 2) keypoints on the plane at depth 1.
        weights: (T, K) confidence, 0 to 1.
        depth: (T,) metres, the lifter's guess in each frame's camera.
        feet: (T, 4, 3) foot joints relative to the root, in the axes of the first frame's camera.
        contacts: (T, 4) how surely each stands, 0 to 1.
        camera_rotations: (T, 3, 3) from the axes of the first frame's camera to each frame's.
        fps: frames per second.
        deviations: what to trust.
    """
    known = deviations or PathDeviations()
    matrix, right = translation_equations(points, plane_points, weights / known.keypoint**2)
    # a guess in metres is off by a share of the depth
    trust = 1.0 / (known.depth * depth.clamp(min=0.5)).square()
    on_depth = torch.stack((torch.zeros_like(depth), torch.zeros_like(depth), trust), dim=-1)
    matrix = matrix + torch.diag_embed(on_depth)
    right = right + on_depth * depth[..., None]
    back = camera_rotations.transpose(-1, -2)
    matrix = back @ matrix @ camera_rotations
    right = (back @ right[..., None])[..., 0]
    stands = contacts[1:] * contacts[:-1] / (known.step * 20.0 / fps) ** 2  # (T - 1, 4)
    moved = (stands[..., None] * (feet[:-1] - feet[1:])).sum(1)  # where the root must step to
    smooth = (fps**2 / known.acceleration) ** 2
    solved = _solve(_double(matrix), _double(right), _double(stands.sum(1)), _double(moved), smooth)
    return torch.from_numpy(solved).to(points)


def _double(tensor: Tensor) -> Array:
    return tensor.detach().cpu().double().numpy()


def _solve(matrix: Array, right: Array, stands: Array, moved: Array, smooth: float) -> Array:
    """The system of bands, unknowns in the order frame, axis.

    stands (T - 1,) are the weights of steps between frames, moved (T - 1, 3) the steps times
    their weights.
    """
    num_frames = len(matrix)
    diagonal = np.einsum("tii->ti", matrix) + 1e-9  # (T, 3)
    bands = np.zeros((7, num_frames, 3))  # bands[k, t, i] couples unknown (t, i) with k further on
    bands[1, :, 0], bands[1, :, 1] = matrix[:, 1, 0], matrix[:, 2, 1]
    bands[2, :, 0] = matrix[:, 2, 0]
    rhs = right.copy()
    if num_frames > 1:
        diagonal[:-1] += stands[:, None]
        diagonal[1:] += stands[:, None]
        bands[3, :-1] -= stands[:, None]
        rhs[1:] += moved
        rhs[:-1] -= moved
    if num_frames > 2:
        for at, weight in ((0, 1.0), (1, 4.0), (2, 1.0)):
            diagonal[at : num_frames - 2 + at] += smooth * weight
        bands[3, : num_frames - 2] -= 2 * smooth
        bands[3, 1 : num_frames - 1] -= 2 * smooth
        bands[6, : num_frames - 2] += smooth
    bands[0] = diagonal
    lower = bands.reshape(7, -1)[:, : 3 * num_frames]
    solved = solveh_banded(lower, rhs.reshape(-1), lower=True, check_finite=False)
    return solved.reshape(num_frames, 3)
