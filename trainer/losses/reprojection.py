"""Losses in the image: where a pose would be seen, against where it was.

Keypoints count by their confidence; those without count nothing. Errors are taken in the person's
box, so that near and far bodies count alike. Leading axes ("...") are free.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.motion.camera_fit import fit_root_translation

_NEAR = 0.2  # metres: what is nearer the camera than this is not looked at


def place_and_project(points: Tensor, root: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Points (..., K, 3) from the root (..., 3) as seen in boxes (..., 3): (..., K, 2).

    Also which of them, (..., K) bool, are in front of the camera.
    """
    placed = points + root[..., None, :]
    depth = placed[..., 2:]
    plane = placed[..., :2] / depth.clamp(min=_NEAR)
    inside = (plane - boxes[..., None, :2]) / boxes[..., None, 2:].clamp(min=1e-3)
    return inside, depth[..., 0] > _NEAR


def keypoint_loss(
    points: Tensor, root: Tensor, boxes: Tensor, keypoints: Tensor, mask: Tensor
) -> Tensor:
    """Mean |x - x'| + |y - y'| in boxes, weighed by confidence.

    Args:
        points: (..., 22, 3) what a detector would see of the pose, from the root, metres.
        root: (..., 3) metres, in the camera's frame.
        boxes: (..., 3) on the plane at depth 1.
        keypoints: (..., 22, 3) in units of the box, and confidence.
        mask: (...) frames that count.

    Source: Kanazawa et al., HMMR, section 3.3, with confidence for visibility.
    """
    seen, is_ahead = place_and_project(points, root, boxes)
    off = (seen - keypoints[..., :2]).abs().sum(-1)
    # one keypoint on the wrong leg must not turn the pose
    off = torch.where(off < 1.0, off, 1.0 + torch.log(off.clamp(min=1.0)))
    weights = keypoints[..., 2] * is_ahead * mask[..., None]
    return (off * weights).sum() / weights.sum().clamp(min=1e-6)


def best_root(points: Tensor, plane_points: Tensor, confidence: Tensor, guess: Tensor) -> Tensor:
    """The root (..., 3) at which the pose fits its keypoints best, without a gradient.

    What keypoints leave open is as in the guess (..., 3); and the depth is at least half the
    guess's, or a pose that is turned round would fit best far off or close up.
    """
    with torch.no_grad():
        found = fit_root_translation(
            points, plane_points, confidence, depth_prior=guess[..., 2], prior_weight=0.002
        )
        low, high = 0.5 * guess[..., 2:], 2.0 * guess[..., 2:]
        depth = torch.minimum(torch.maximum(found[..., 2:], low), high)
        return torch.cat((found[..., :2], depth), dim=-1)
