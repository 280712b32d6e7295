"""Poses pulled towards the rays of their keypoints.

What a lifter tells is right about depth and wrong by centimetres across the image, where keypoints
are right to a centimetre or two. So joints move sideways onto their rays, as far as the keypoints
around in time agree: the mean of their corrections counts, single slips don't. Bones keep their
lengths: rotations are solved anew from where the joints have come to.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from engine.motion import skeleton as sk
from engine.motion.camera import nearest_on_ray

_PRIOR = 0.25  # confidence at which a correction is half believed
_SLIP = 0.3  # metres at which a correction is half believed
_LEGS = (1, 2, 4, 5, 7, 8, 10, 11)
_ARMS = (16, 17, 18, 19, 20, 21)
_DIRECT = (*_LEGS, *_ARMS, sk.HEAD)
# Joints of the trunk go with hips and shoulders: share of the shoulders' correction.
TRUNK_SHARES = {
    sk.PELVIS: 0.0,
    sk.SPINE1: 0.25,
    sk.SPINE2: 0.5,
    sk.SPINE3: 0.65,
    sk.NECK: 1.0,
    sk.LEFT_COLLAR: 0.9,
    sk.RIGHT_COLLAR: 0.9,
}


def corrections(
    points: Tensor, plane_points: Tensor, confidence: Tensor, *, frames: float
) -> Tensor:
    """How far joints are to move, (T, 22, 3) metres in each frame's camera.

    Args:
        points: (T, 22, 3) what the keypoints show of the pose, placed in the camera's frame.
        plane_points: (T, 22, 2) keypoints on the plane at depth 1.
        confidence: (T, 22), 0 where there is none.
        frames: standard deviation over which corrections are averaged; 0 for each by itself.
    """
    off = nearest_on_ray(points, plane_points) - points
    size = torch.linalg.vector_norm(off, dim=-1)
    weights = confidence / (1.0 + (size / _SLIP).square())
    moved = torch.zeros_like(points)
    direct = list(_DIRECT)
    moved[:, direct] = _averaged(off[:, direct], weights[:, direct], frames)
    hips = (moved[:, sk.LEFT_HIP] + moved[:, sk.RIGHT_HIP]) / 2
    shoulders = (moved[:, sk.LEFT_SHOULDER] + moved[:, sk.RIGHT_SHOULDER]) / 2
    for joint, share in TRUNK_SHARES.items():
        moved[:, joint] = torch.lerp(hips, shoulders, share)
    return moved


def _averaged(values: Tensor, weights: Tensor, frames: float) -> Tensor:
    """Values (T, K, 3) averaged over time by weights (T, K), less where these are small."""
    deviation = max(frames, 1e-3)
    reach = max(1, round(3 * deviation))
    offsets = torch.arange(-reach, reach + 1, dtype=values.dtype, device=values.device)
    window = torch.exp(-0.5 * (offsets / deviation).square())
    window = (window / window.sum())[None, None]

    def smooth(series: Tensor) -> Tensor:  # (T, ...) along time
        rows = series.flatten(1).T[:, None]
        padded = functional.pad(rows, (reach, reach), mode="replicate")
        return functional.conv1d(padded, window)[:, 0].T.reshape(series.shape)

    total = smooth(values * weights[..., None])
    return total / (smooth(weights) + _PRIOR)[..., None]
