"""Motion as one camera sees it, 134 numbers a frame, both ways as far as that goes.

    view_root_path      2   place of the root less its place in the first frame
    view_positions     42   joints 1 to 21 less the root
    view_bone_turns    42   cosine and minus sine of each bone's turn against the bone before it in
                            its chain; a chain's first bone is held against the image's x axis
    view_velocities    44   step of every joint to the next frame
    view_contacts       4   left ankle, left foot, right ankle, right foot: 1 if the step is short

Numbers are in image units (half the longer side), x right, y down. Only the first two blocks are
needed to get the points back; the place of the first frame's root is lost. The virtual camera is
the published one: far off, level, a field of view of 10 degrees, aimed one metre above the floor,
so that a metre is 0.53 units long and hardly depends on depth.

Source: CrossDiff, ECCV 2024, section 3, and its release, where the path is called a velocity.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from engine.motion import skeleton as sk
from engine.motion.camera import Camera, look_at

VIEW_BLOCK_SIZES = {
    "view_root_path": 2,
    "view_positions": 42,
    "view_bone_turns": 42,
    "view_velocities": 44,
    "view_contacts": 4,
}
FOUR_AZIMUTHS = (0.0, math.pi / 2, math.pi, 1.5 * math.pi)  # front, left, back, right
FOCAL_LENGTH = 1 / math.tan(math.radians(5))
CAMERA_DISTANCE = FOCAL_LENGTH + 10.0  # metres
UNITS_PER_METRE = FOCAL_LENGTH / CAMERA_DISTANCE  # at the depth of the origin
CONTACT_STEP_SQUARED = 0.002  # units squared per frame

_AIM_HEIGHT = 1.0  # metres
_LEAST_DEPTH = CAMERA_DISTANCE / 2
_CHAINS = (
    (0, 2, 5, 8, 11),
    (0, 1, 4, 7, 10),
    (0, 3, 6, 9, 12, 15),
    (9, 14, 17, 19, 21),
    (9, 13, 16, 18, 20),
)
_STARTS = {end: start for chain in _CHAINS for start, end in pairwise(chain)}
# the bone (numbered by its end, less 1) that each bone is held against; 21 is the image's x axis
_BEFORE = {
    end: (chain[place] - 1 if place else 21)
    for chain in _CHAINS
    for place, end in enumerate(chain[1:])
}


@dataclass(frozen=True)
class ViewRepresentation:
    """Features of points in an image."""

    name: str = "view_134"
    blocks: tuple[str, ...] = tuple(VIEW_BLOCK_SIZES)

    @property
    def num_features(self) -> int:
        """Features per frame."""
        return sum(size for _, size in self.sizes)

    @property
    def sizes(self) -> tuple[tuple[str, int], ...]:
        """Blocks with their sizes, as a checkpoint's header spells them out."""
        return tuple((block, VIEW_BLOCK_SIZES[block]) for block in self.blocks)

    def part(self, block: str) -> slice:
        """Where a block stands in the vector."""
        start = 0
        for name, size in self.sizes:
            if name == block:
                return slice(start, start + size)
            start += size
        raise ValueError(f"The representation {self.name} has no block {block}")

    def encode(self, points: Tensor) -> Tensor:
        """Features (..., T - 1, 134) of points (..., T, 22, 2) in image units.

        Raises:
            ValueError: the shape is another, or T is below 2.
        """
        if points.ndim < 3 or points.shape[-2:] != (22, 2) or points.shape[-3] < 2:
            raise ValueError(
                f"points has shape {tuple(points.shape)}, needs (..., 2 or more, 22, 2)"
            )
        return self.encode_steps(points[..., :-1, :, :], points[..., 1:, :, :])

    def encode_steps(self, points: Tensor, following: Tensor) -> Tensor:
        """Features (..., T, 134) of points and where each of them is a frame later."""
        root = points[..., 0, :]
        step = following - points
        feet = step[..., list(sk.FOOT_JOINTS), :]
        contacts = (feet.square().sum(-1) < CONTACT_STEP_SQUARED).to(points.dtype)
        return torch.cat(
            (
                root - root[..., :1, :],
                (points[..., 1:, :] - root[..., None, :]).flatten(-2),
                bone_turns(points).flatten(-2),
                step.flatten(-2),
                contacts,
            ),
            dim=-1,
        )

    def decode(self, features: Tensor) -> Tensor:
        """Points (..., T, 22, 2) of features (..., T, 134); the path starts where they say.

        Raises:
            ValueError: there are not 134 features.
        """
        if features.shape[-1] != self.num_features:
            raise ValueError(
                f"features has {features.shape[-1]} numbers a frame, {self.name} needs "
                f"{self.num_features}"
            )
        root = features[..., None, self.part("view_root_path")]
        local = features[..., self.part("view_positions")].unflatten(-1, (21, 2))
        return torch.cat((root, root + local), dim=-2)


VIEW = ViewRepresentation()


def bone_turns(points: Tensor) -> Tensor:
    """Cosine and minus sine (..., 21, 2) of each bone's turn against the one before it.

    A bone that points straight at the camera has no direction, and gives zeros.
    """
    bones = points[..., 1:, :] - points[..., [_STARTS[end] for end in range(1, 22)], :]
    length = torch.linalg.vector_norm(bones, dim=-1, keepdim=True)
    bones = bones / length.clamp(min=1e-6)
    axis = bones.new_tensor((1.0, 0.0)).expand(*bones.shape[:-2], 1, 2)
    before = torch.cat((bones, axis), dim=-2)[..., [_BEFORE[end] for end in range(1, 22)], :]
    cos = (before * bones).sum(-1)
    sin = before[..., 0] * bones[..., 1] - before[..., 1] * bones[..., 0]
    return torch.stack((cos, -sin), dim=-1)


def view_camera(azimuth: Tensor) -> Camera:
    """The virtual camera (...) that stands azimuth (...) radians to the left of +z.

    A body at the origin that faces +z is seen from the front at 0, from its left at pi / 2.
    """
    flat = torch.stack((torch.sin(azimuth), torch.zeros_like(azimuth), torch.cos(azimuth)), dim=-1)
    aim = flat.new_tensor((0.0, _AIM_HEIGHT, 0.0)).expand_as(flat)
    rotation, translation = look_at(aim + CAMERA_DISTANCE * flat, aim)
    return Camera(
        rotation=rotation,
        translation=translation,
        focal_length=torch.full_like(azimuth, FOCAL_LENGTH),
        principal_point=torch.zeros_like(flat[..., :2]),
    )


def see(joints: Tensor, azimuth: Tensor) -> Tensor:
    """Points (B, T, 22, 2) of joints (B, T, 22, 3) in metres, from azimuths (B,).

    Who runs up to the camera grows to twice the size and no more: a predicted motion may go
    anywhere, and a point beside the camera is seen a million units off.
    """
    camera = view_camera(azimuth[:, None])
    points = camera.to_camera(joints)
    depth = points[..., 2:].clamp(min=_LEAST_DEPTH)
    return camera.project_seen(torch.cat((points[..., :2], depth), dim=-1))[0]
