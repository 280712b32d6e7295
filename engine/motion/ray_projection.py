"""Motion moved onto the rays along which it was seen, and written as features again.

What a camera says of a joint is a ray. A prediction keeps its own idea of how deep along the ray
the joint is, and takes the rest from the camera.

Source: the ray projection is that of VideoMDM (arXiv 2606.13364), section on representation
alignment, here weighed by confidence. Shape letters: T frames, F features.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.motion.camera import Camera, nearest_on_ray
from engine.motion.camera_fit import translation_equations
from engine.motion.representation import Representation
from engine.motion.rotations import turn_about_up

NEAR = 0.3  # metres: what is nearer the camera than this, or behind it, isn't looked at
_SHIFT_DEVIATION = 0.5  # metres by which a motion's start is usually misplaced
_RAY_DEVIATION = 0.05  # metres between a joint and its ray, of all joints of a clip together


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What a camera saw of one person, joint by joint. Leading axes ("...", T)."""

    camera: Camera  # (..., T)
    plane_points: Tensor  # (..., T, 22, 2) joints on the plane at depth 1
    confidence: Tensor  # (..., T, 22) 0 to 1; 0 where a joint isn't seen

    def __getitem__(self, index: int | slice | Tensor | tuple[Tensor, ...] | None) -> Sight:
        """All of it, indexed along the first axis or axes; None adds an axis before it."""
        return Sight(
            camera=self.camera[index],
            plane_points=self.plane_points[index],
            confidence=self.confidence[index],
        )

    def in_moved_world(self, rotation: Tensor, translation: Tensor) -> Sight:
        """The same sight where world points x have become rotation @ x + translation."""
        return replace(self, camera=self.camera.in_moved_world(rotation, translation))


def onto_rays(joints: Tensor, sight: Sight, *, share: Tensor | float = 1.0) -> Tensor:
    """World joints (..., T, 22, 3), each moved towards its ray by its confidence times a share.

    P = X + s c (C + (r . (X - C)) / (r . r) r - X) for the ray r from the camera's place C. A
    joint behind the camera stays.
    """
    seen = sight.camera.to_camera(joints)
    off = nearest_on_ray(seen, sight.plane_points) - seen
    weight = share * sight.confidence * (seen[..., 2] > NEAR)
    return joints + (weight[..., None] * off) @ sight.camera.rotation


def start_shift(joints: Tensor, sight: Sight) -> Tensor:
    """How far along the floor a whole motion (..., T, 22, 3) is best moved: (..., 3) metres.

    Features tell no place: a decoded motion starts at the origin, which may not be where the
    person was. Least squares of the distances to the rays, in closed form, with a weak pull to
    no shift at all.
    """
    rotation = sight.camera.rotation
    matrix, right = translation_equations(
        sight.camera.to_camera(joints), sight.plane_points, sight.confidence
    )
    count = sight.confidence.sum((-1, -2)).clamp(min=1.0)[..., None]
    matrix = (rotation.mT @ matrix @ rotation).sum(-3) / count[..., None]
    right = (rotation.mT @ right[..., None])[..., 0].sum(-2) / count
    pull = (_RAY_DEVIATION / _SHIFT_DEVIATION) ** 2
    flat = [0, 2]
    ground = matrix[..., flat, :][..., flat] + pull * torch.eye(2).to(matrix)
    shift = torch.zeros_like(right)
    shift[..., flat] = torch.linalg.solve(ground, right[..., flat])
    return shift


def encode_frames(representation: Representation, joints: Tensor, heading: Tensor) -> Tensor:
    """Features (..., T, F) of all T frames: beyond the last the motion goes on as it was.

    joints (..., T, 22, 3) and heading (..., T), T at least 2; `representation.encode` alone would
    give one frame fewer.
    """
    after = 2 * joints[..., -1:, :, :] - joints[..., -2:-1, :, :]
    turned = 2 * heading[..., -1:] - heading[..., -2:-1]
    return representation.encode(
        torch.cat((joints, after), dim=-3), torch.cat((heading, turned), dim=-1)
    )


def canonical_turn(joints: Tensor, heading: Tensor) -> tuple[Tensor, Tensor]:
    """Rotation (3, 3) and translation (3,) that put a motion's start at the origin, facing +z.

    A world point x goes to rotation @ x + translation. joints (T, 22, 3), heading (T,).
    """
    rotation = turn_about_up(-heading[0])
    start = joints[0, 0] * joints.new_tensor((1.0, 0.0, 1.0))
    return rotation, -(rotation @ start)
