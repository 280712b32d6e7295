"""Cameras and places from keypoints and a pose, in closed form.

A pose without a place (joints relative to the root, in the camera's frame) and the keypoints of
its joints tell where the root is: each keypoint says that its joint lies on a ray, which is
linear in the root's three numbers. Shape letters: K keypoints; leading axes ("...") are free.
"Plane points" are x/z and y/z in front of the camera (`Camera.to_plane`).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_RIDGE = 1e-9  # against weights that are all zero
FOCAL_RANGE = (0.8, 8.0)  # image units: 103 to 14 degrees across the longer side


def translation_equations(
    joints: Tensor, plane_points: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor]:
    """The normal equations A t = b of the root translation t: A (..., 3, 3), b (..., 3).

    Least squares of w * (x + tx - u * (z + tz)) and of the same in y, over the keypoints.

    Args:
        joints: (..., K, 3) metres, in the camera's frame, relative to the root.
        plane_points: (..., K, 2).
        weights: (..., K), of the squared residuals; 0 for a keypoint that isn't there.

    Raises:
        ValueError: the shapes don't fit each other.
    """
    if joints.shape[-1] != 3 or plane_points.shape != (*joints.shape[:-1], 2):
        raise ValueError(
            f"joints and plane_points have shapes {tuple(joints.shape)} and "
            f"{tuple(plane_points.shape)}, need (..., K, 3) and (..., K, 2)"
        )
    if weights.shape != joints.shape[:-1]:
        raise ValueError(f"weights has shape {tuple(weights.shape)}, needs {joints.shape[:-1]}")
    u, v = plane_points.unbind(-1)
    # what the rays miss the joints by if the root were at the origin
    miss_x = u * joints[..., 2] - joints[..., 0]
    miss_y = v * joints[..., 2] - joints[..., 1]

    def total(values: Tensor) -> Tensor:
        return (weights * values).sum(-1)

    count, sum_u, sum_v = weights.sum(-1), total(u), total(v)
    zero = torch.zeros_like(count)
    matrix = torch.stack(
        (
            torch.stack((count, zero, -sum_u), dim=-1),
            torch.stack((zero, count, -sum_v), dim=-1),
            torch.stack((-sum_u, -sum_v, total(u * u + v * v)), dim=-1),
        ),
        dim=-2,
    )
    right = torch.stack((total(miss_x), total(miss_y), -total(u * miss_x + v * miss_y)), dim=-1)
    return matrix, right


def fit_root_translation(
    joints: Tensor,
    plane_points: Tensor,
    weights: Tensor,
    *,
    depth_prior: Tensor | None = None,
    prior_weight: float = 0.0,
) -> Tensor:
    """Root translation (..., 3) in the camera's frame that best puts joints on their rays.

    With a depth_prior (...) in metres its square counts prior_weight times: it decides where the
    keypoints can't, as where there are none. Without it, a frame without keypoints gives zeros.
    Arguments are those of translation_equations.
    """
    matrix, right = translation_equations(joints, plane_points, weights)
    diagonal = torch.full_like(right, _RIDGE)
    if depth_prior is not None:
        on_depth = right.new_tensor((0.0, 0.0, prior_weight))
        diagonal = diagonal + on_depth
        right = right + on_depth * depth_prior[..., None]
    return torch.linalg.solve(matrix + torch.diag_embed(diagonal), right)


def fit_weak_perspective(
    joints: Tensor, points: Tensor, weights: Tensor, *, min_scale: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Scale (...) and shift (..., 2) with scale * (x, y) + shift nearest the points.

    Isotropic least squares. A scale below min_scale (a pose that is turned round fits best at a
    scale of zero) is raised to it, and the shift fits to that.

    Args:
        joints: (..., K, 3) or (..., K, 2), in the camera's frame.
        points: (..., K, 2) image points.
        weights: (..., K).
    """
    flat = joints[..., :2]
    share = weights / weights.sum(-1, keepdim=True).clamp(min=_RIDGE)
    middle = (share[..., None] * flat).sum(-2)
    seen_middle = (share[..., None] * points).sum(-2)
    centred, seen = flat - middle[..., None, :], points - seen_middle[..., None, :]
    size = (share[..., None] * centred * centred).sum((-1, -2))
    scale = (share[..., None] * centred * seen).sum((-1, -2)) / size.clamp(min=_RIDGE)
    scale = scale.clamp(min=min_scale)
    return scale, seen_middle - scale[..., None] * middle


def reprojection_error(joints: Tensor, plane_points: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean square distance (...) on the plane at depth 1 of joints (..., K, 3).

    The joints are placed, in front of the camera.
    """
    seen = joints[..., :2] / joints[..., 2:].clamp(min=1e-2)
    squared = (seen - plane_points).square().sum(-1)
    return (weights * squared).sum(-1) / weights.sum(-1).clamp(min=_RIDGE)


def fit_focal_length(
    joints: Tensor, image_points: Tensor, weights: Tensor, *, num_tried: int = 49
) -> tuple[Tensor, Tensor]:
    """One focal length for T frames of poses, with the root translation fitted for each.

    Perspective tells: near parts of a body look larger than far ones. Seen from afar they hardly
    do, and the answer is loose; the second result says how much better the fit is than with a
    focal length twice as long (a ratio of errors; near 1 means that it can't be told).

    Args:
        joints: (T, K, 3) metres in the camera's frame, relative to the root.
        image_points: (T, K, 2) image units from the principal point.
        weights: (T, K).

    Returns:
        focal_length: () image units, within FOCAL_RANGE.
        evidence: () at least 1.
    """
    low, high = (math.log(bound) for bound in FOCAL_RANGE)
    tried = torch.linspace(low, high, num_tried, dtype=joints.dtype, device=joints.device).exp()

    def error_of(focal: Tensor) -> Tensor:
        plane = image_points / focal[:, None, None, None]
        spread = joints.expand(len(focal), *joints.shape)
        many = weights.expand(len(focal), *weights.shape)
        root = fit_root_translation(spread, plane, many)
        # on the image, or long focal lengths would look better for being small on the plane
        error = reprojection_error(spread + root[..., None, :], plane, many)
        counts = weights.sum(-1)
        return focal.square() * (error * counts).sum(-1) / counts.sum().clamp(min=_RIDGE)

    errors = error_of(tried)
    best = int(errors.argmin())
    low_index, high_index = max(0, best - 1), min(num_tried - 1, best + 1)
    finer = torch.linspace(
        float(tried[low_index].log()),
        float(tried[high_index].log()),
        num_tried,
        dtype=joints.dtype,
        device=joints.device,
    ).exp()
    finest = error_of(finer)
    focal = finer[int(finest.argmin())]
    doubled = error_of((2 * focal)[None])[0]
    return focal, doubled / finest.min().clamp(min=_RIDGE**2)
