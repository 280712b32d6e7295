"""Losses of 3D motion against what a camera saw of it, weighted by depth (VideoMDM).

With the predicted joint at depth z and seen at p = (x/z, y/z), and its keypoint at u on the same
plane at depth 1, d = z (p - u) is the error that the keypoint can tell of, in metres:

    d = (E_x - u_x E_z, E_y - u_y E_z)        E the joint's 3D error in the camera's axes

which is linear in E, whatever its size. So over cameras from all sides the mean of |d|^2 is least
where the mean of E is zero: at the 3D truth. That holds only while z in the weight is let go of
(detached): else walking towards the camera makes every error smaller.

Weights of joints are confidences; a joint behind the camera, or nearer than NEAR, counts nothing.
All is in float32. Shape letters: B clips, T frames, J joints.

Source: VideoMDM, arXiv 2606.13364; the identity and the square weight are derived in our
specification of it, section 6.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.motion.camera import Camera
from engine.motion.ray_projection import NEAR

_FAR = 30.0  # metres: beyond it a weight grows no more
TYPICAL_DEPTH = 4.0  # metres: at it all powers of the depth weight agree


@dataclass(frozen=True, kw_only=True)
class DepthWeight:
    """How errors in the image count by depth: w(z) = Z^2 (z / Z)^power on the squared error.

    2 gives metres, exactly; 1 is VideoMDM's release; 0 leaves depth out. Z is TYPICAL_DEPTH.
    """

    power: float = 2.0
    is_detached: bool = True  # False is there to show what goes wrong
    # metres beyond which an error counts linearly (0: never): a path that has gone astray for
    # seconds would drown everything else
    linear_beyond: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.power <= 2:
            raise ValueError(f"power is {self.power}, needs 0 to 2")
        if self.linear_beyond < 0:
            raise ValueError(f"linear_beyond is {self.linear_beyond}, needs 0 or more")

    def root(self, depth: Tensor) -> Tensor:
        """The square root of the weight (...), to be multiplied with the error itself."""
        held = depth.detach() if self.is_detached else depth
        share = held.clamp(NEAR, _FAR) / TYPICAL_DEPTH
        return TYPICAL_DEPTH * share ** (self.power / 2)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Predicted joints as the clip's camera would see them."""

    plane: Tensor  # (B, T, J, 2) on the plane at depth 1
    depth: Tensor  # (B, T, J) metres, signed
    is_ahead: Tensor  # (B, T, J) bool


def see_joints(joints: Tensor, camera: Camera) -> Seen:
    """World joints (B, T, J, 3) through cameras (B, T): finite everywhere, gradients too."""
    in_camera = camera.to_camera(joints.float())
    depth = in_camera[..., 2]
    plane = in_camera[..., :2] / depth.clamp(min=NEAR)[..., None]
    return Seen(plane=plane, depth=depth, is_ahead=depth > NEAR)


def reprojection_loss(seen: Seen, plane_points: Tensor, weights: Tensor, by: DepthWeight) -> Tensor:
    """Depth-weighted distance of joints from their keypoints, a mean per clip (B,) in metres^2.

    L = sum_tj m w(sg[z]) |p - u|^2 / (2 sum_tj m)

    Args:
        seen: predicted joints.
        plane_points: (B, T, J, 2) keypoints u on the plane at depth 1.
        weights: (B, T, J) m, confidence of real frames.
        by: the depth weight w.
    """
    error = by.root(seen.depth)[..., None] * (seen.plane - plane_points)
    return _mean(_tamed(error, by.linear_beyond), weights * seen.is_ahead)


def reprojection_velocity_loss(
    seen: Seen, plane_points: Tensor, weights: Tensor, by: DepthWeight
) -> Tensor:
    """The same of steps in the image, a mean per clip (B,) in (metres per frame)^2.

    L = sum_tj m_t m_t+1 w(sg[z_t]) |(p_t+1 - p_t) - (u_t+1 - u_t)|^2 / (2 sum_tj m_t m_t+1)
    """
    step = seen.plane.diff(dim=1) - plane_points.diff(dim=1)
    error = by.root(seen.depth[:, :-1])[..., None] * step
    both = weights * seen.is_ahead
    return _mean(_tamed(error, by.linear_beyond), both[:, 1:] * both[:, :-1])


def floor_loss(joints: Tensor, mask: Tensor) -> Tensor:
    """Distance of the lowest joint from the floor, a mean per clip (B,) in metres^2.

    L = sum_t m_t (min_j y_tj)^2 / sum_t m_t        joints (B, T, J, 3), mask (B, T)
    """
    lowest = joints.float()[..., 1].amin(-1)
    return (lowest.square() * mask).sum(-1) / mask.sum(-1).clamp(min=1)


def contact_loss(feet: Tensor, contacts: Tensor, mask: Tensor) -> Tensor:
    """Steps along the floor of feet that stand, a mean per clip (B,) in (metres per frame)^2.

    L = sum_tk sg[c_tk] |f_t+1,k - f_t,k|^2 / sum_tk m_t        x and z alone

    Args:
        feet: (B, T, 4, 3) foot joints in the world, metres.
        contacts: (B, T, 4) how surely each stands; the motion learns from them, not they from it.
        mask: (B, T) bool.
    """
    steps = feet.float().diff(dim=1)[..., (0, 2)].square().sum(-1)  # (B, T - 1, 4)
    pairs = (mask[:, 1:] & mask[:, :-1])[..., None]
    stands = contacts.detach()[:, :-1].clamp(0.0, 1.0) * pairs
    return (stands * steps).sum((-1, -2)) / (4 * pairs.sum((-1, -2))).clamp(min=1)


def confidence_weights(confidence: Tensor, mask: Tensor, kind: str = "square") -> Tensor:
    """What joints count, (B, T, J), by confidence (B, T, J), 0 beyond the mask (B, T).

    m = c^2 ("square"), c ("linear"), or 1 where c is over 0.4 ("threshold").

    Raises:
        ValueError: no such kind.
    """
    kinds = {
        "square": confidence.square(),
        "linear": confidence,
        "threshold": (confidence > 0.4).to(confidence),
    }
    if kind not in kinds:
        raise ValueError(f"confidence is {kind!r}, needs one of {', '.join(kinds)}")
    return kinds[kind] * mask[..., None]


def _tamed(error: Tensor, linear_beyond: float) -> Tensor:
    """|e|^2 (...) of errors (..., 2), linear beyond a length, smoothly so (pseudo-Huber)."""
    squared = error.square().sum(-1)
    if linear_beyond == 0:
        return squared
    bound = linear_beyond**2
    return 2 * bound * (torch.sqrt(1 + squared / bound) - 1)


def _mean(squared: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean per clip (B,) of both coordinates; 0 where no weight is."""
    return (weights * squared).sum((-1, -2)) / (2 * weights.sum((-1, -2))).clamp(min=1e-6)
