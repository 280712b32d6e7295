"""Virtual cameras around a moving body: standing, following, drifting.

The ranges are those of ordinary footage: all round, mostly near eye height, 2 to 12 metres away,
fields of view of 37 to 80 degrees across the longer side. A camera that would lose the body
steps back along its own axis. Shape letters: B clips, T frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from engine.motion import rotations as rot
from engine.motion.camera import Camera, look_at

_ASPECTS = ((1.0, 0.5625), (1.0, 0.75), (0.5625, 1.0), (1.0, 1.0))  # half width, half height
_MIN_DEPTH = 0.5  # metres


@dataclass(frozen=True, kw_only=True)
class ViewSettings:
    """How cameras are drawn. Angles in degrees, lengths in metres, focal lengths in image units."""

    pitch_mean: float = 5.0  # positive: from above
    pitch_deviation: float = 22.5
    pitch_limit: float = 45.0
    roll_deviation: float = 7.5
    min_distance: float = 2.0
    max_distance: float = 12.0
    min_focal_length: float = 1.2
    max_focal_length: float = 3.0
    moving_share: float = 0.5  # of clips seen by a camera that follows or drifts
    drift: float = 0.7  # deviation of a moving camera's way over the clip
    shake: float = 1.0  # degrees
    cut_share: float = 0.15  # of clips where the image's border may cut the body
    fps: float = 20.0

    def __post_init__(self) -> None:
        if not 0 <= self.moving_share <= 1 or not 0 <= self.cut_share <= 1:
            raise ValueError("moving_share and cut_share need to be 0 to 1")
        if not _MIN_DEPTH <= self.min_distance <= self.max_distance:
            raise ValueError(
                f"distances are {self.min_distance} to {self.max_distance}, need "
                f"{_MIN_DEPTH} or more, in order"
            )
        if not 0.3 <= self.min_focal_length <= self.max_focal_length:
            raise ValueError(
                f"focal lengths are {self.min_focal_length} to {self.max_focal_length}, need "
                "0.3 or more, in order"
            )


def sample_cameras(
    joints: Tensor, mask: Tensor, settings: ViewSettings, generator: torch.Generator
) -> tuple[Camera, Tensor]:
    """A camera per clip and frame (B, T), and the images' half extents (B, 2).

    Args:
        joints: (B, T, 22, 3) metres, y up.
        mask: (B, T) bool, frames that count; each clip has one or more.
    """
    count, num_frames = mask.shape
    draw = _Draw(count, generator, joints)
    path = _steady_path(joints[..., 0, :], mask, settings.fps)  # (B, T, 3)
    middle = (path * mask[..., None]).sum(1) / mask.sum(1)[:, None]
    yaw = draw.uniform(-torch.pi, torch.pi)
    limit = settings.pitch_limit
    pitch = (draw.normal() * settings.pitch_deviation + settings.pitch_mean).clamp(-limit, limit)
    pitch = torch.deg2rad(pitch)
    roll = torch.deg2rad(draw.normal() * settings.roll_deviation)
    distance = draw.uniform(settings.min_distance, settings.max_distance)
    focal = draw.uniform(settings.min_focal_length, settings.max_focal_length)
    flat = torch.cos(pitch)
    towards = torch.stack((torch.sin(yaw) * flat, torch.sin(pitch), torch.cos(yaw) * flat), dim=-1)
    start = middle + distance[:, None] * towards
    # the body isn't always in the middle of the image
    aside = 0.12 * (distance / focal)[:, None] * draw.normal(3)

    is_moving = draw.uniform(0.0, 1.0) < settings.moving_share
    follows = draw.uniform(0.3, 1.0) * is_moving
    ease = _ease(num_frames, joints)[None, :, None]
    drift = settings.drift * draw.normal(3) * is_moving[:, None]
    position = start[:, None] + drift[:, None] * ease
    aim = middle[:, None] + follows[:, None, None] * (path - middle[:, None])
    half_way = draw.uniform(0.0, 0.5) * follows  # some move along with the body
    position = position + half_way[:, None, None] * (path - middle[:, None])
    rotation, translation = look_at(
        position, aim + aside[:, None], roll[:, None].expand(count, num_frames)
    )
    shaken = _shake(num_frames, settings, is_moving, draw)
    rotation, translation = shaken @ rotation, (shaken @ translation[..., None])[..., 0]

    extents = joints.new_tensor(_ASPECTS)[draw.integers(len(_ASPECTS))]
    camera = Camera(
        rotation=rotation,
        translation=translation,
        focal_length=focal[:, None].expand(count, num_frames),
        principal_point=joints.new_zeros(count, num_frames, 2),
    )
    cut = 1.0 + (draw.uniform(0.0, 1.0) < settings.cut_share) * draw.uniform(0.0, 0.6)
    return _step_back(camera, joints, mask, 0.92 * cut[:, None] * extents), extents


class _Draw:
    """Random numbers, one per clip, on the processor so that a seed means the same everywhere."""

    def __init__(self, count: int, generator: torch.Generator, like: Tensor) -> None:
        self.count, self._generator, self._like = count, generator, like

    def uniform(self, low: float, high: float) -> Tensor:
        drawn = torch.rand(self.count, generator=self._generator)
        return (low + (high - low) * drawn).to(self._like)

    def normal(self, *trailing: int) -> Tensor:
        return torch.randn(self.count, *trailing, generator=self._generator).to(self._like)

    def integers(self, below: int) -> Tensor:
        drawn = torch.randint(below, (self.count,), generator=self._generator)
        return drawn.to(self._like.device)


def _steady_path(roots: Tensor, mask: Tensor, fps: float) -> Tensor:
    """The root's path (B, T, 3) as an operator would follow it: averaged over about a second."""
    reach = max(1, round(0.5 * fps))
    weight = mask.to(roots.dtype)[:, None]
    window = roots.new_ones(1, 1, 2 * reach + 1)
    total = functional.conv1d(
        (roots * mask[..., None]).transpose(1, 2).flatten(0, 1)[:, None], window, padding=reach
    ).unflatten(0, (len(roots), 3))[:, :, 0]
    counts = functional.conv1d(weight, window, padding=reach)
    return (total / counts.clamp(min=1)).transpose(1, 2)


def _ease(num_frames: int, like: Tensor) -> Tensor:
    """-0.5 to 0.5 over the frames, slow at both ends."""
    t = torch.linspace(0, 1, num_frames, dtype=like.dtype, device=like.device)
    return t * t * (3 - 2 * t) - 0.5


def _shake(num_frames: int, settings: ViewSettings, is_moving: Tensor, draw: _Draw) -> Tensor:
    """Small turns (B, T, 3, 3) of a hand that holds the camera; none where it stands still."""
    knots = max(2, round(2 * num_frames / settings.fps) + 1)
    drawn = draw.normal(3, knots) * is_moving[:, None, None]
    turns = functional.interpolate(drawn, size=num_frames, mode="linear", align_corners=True)
    angles = torch.deg2rad(settings.shake * turns).transpose(1, 2)
    return rot.quaternion_to_matrix(rot.axis_angle_to_quaternion(angles))


def _step_back(camera: Camera, joints: Tensor, mask: Tensor, limits: Tensor) -> Camera:
    """The camera moved back along its axis until all joints are in front and within limits.

    A point at (x, z) is seen inside m when |x| f / (z + d) <= m, so d is the largest of
    |x| f / m - z. limits: (B, 2) half extents.
    """
    seen = camera.to_camera(joints)
    sideways = seen[..., :2].abs() * camera.focal_length[..., None, None] / limits[:, None, None]
    needed = torch.maximum(sideways.amax(-1), seen.new_tensor(_MIN_DEPTH)) - seen[..., 2]
    needed = torch.where(mask[..., None], needed, torch.zeros_like(needed))
    back = needed.flatten(1).amax(-1).clamp(min=0.0)
    ahead = seen.new_tensor((0.0, 0.0, 1.0))
    return Camera(
        rotation=camera.rotation,
        translation=camera.translation + back[:, None, None] * ahead,
        focal_length=camera.focal_length,
        principal_point=camera.principal_point,
    )
