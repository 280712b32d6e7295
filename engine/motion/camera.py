"""Pinhole cameras: what they see, and the rays along which they see it.

A camera looks along its own +z, with x to the right and y down, as images have it; the world has
y up. Image points are in units of half the longer side of the image: the centre is (0, 0), the
longer side goes from -1 to 1, y points down. Depth is signed: negative behind the camera.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.motion.rotations import normalise

# What is taken for an unknown focal length: 56 degrees across the longer side, 36 mm on 35 mm film
# for 16:9. Phones film with 26 to 30 mm, camcorders and what is cut from television with 50 and
# more; between these a guess is least wrong. Depths found with it are wrong by the same factor.
DEFAULT_FOCAL_LENGTH = 1.9
_LEAST_DEPTH = 1e-4  # metres; nearer points are projected as if at this depth


@dataclass(frozen=True, kw_only=True)
class Camera:
    """One camera, or one per frame: the leading axes ("...") are free, and broadcast.

    A world point x is at `rotation @ x + translation` in front of the camera.
    """

    rotation: Tensor  # (..., 3, 3) world to camera
    translation: Tensor  # (..., 3) metres, world to camera
    focal_length: Tensor  # (...) image units
    principal_point: Tensor  # (..., 2) image units

    def __post_init__(self) -> None:
        found = (self.rotation.shape[-2:], self.translation.shape[-1:])
        if found != ((3, 3), (3,)) or self.principal_point.shape[-1:] != (2,):
            raise ValueError(
                f"rotation, translation and principal_point have shapes "
                f"{tuple(self.rotation.shape)}, {tuple(self.translation.shape)} and "
                f"{tuple(self.principal_point.shape)}, need (..., 3, 3), (..., 3) and (..., 2)"
            )

    def __getitem__(self, index: int | slice | Tensor | tuple[Tensor, ...] | None) -> Camera:
        """The camera of some frames: all four are indexed along their first axis or axes.

        None adds an axis before it.
        """
        return Camera(
            rotation=self.rotation[index],
            translation=self.translation[index],
            focal_length=self.focal_length[index],
            principal_point=self.principal_point[index],
        )

    def repeated(self, num_frames: int) -> Camera:
        """One camera (1,) for num_frames frames."""
        return self[torch.zeros(num_frames, dtype=torch.long)]

    @property
    def position(self) -> Tensor:
        """Where the camera stands in the world, (..., 3) metres."""
        return -(self.rotation.transpose(-1, -2) @ self.translation[..., None])[..., 0]

    def to_camera(self, points: Tensor) -> Tensor:
        """World points (..., N, 3) as the camera has them; the last number is the signed depth."""
        return points @ self.rotation.transpose(-1, -2) + self.translation[..., None, :]

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Image points (..., N, 2) and signed depths (..., N) of world points (..., N, 3).

        Points behind the camera get image points too, mirrored at the centre: who uses them looks
        at the depth. Numbers and gradients are finite at every depth.
        """
        return self.project_seen(self.to_camera(points))

    def project_seen(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """The same of points (..., N, 3) that are in the camera's frame already."""
        depth = points[..., 2]
        away = torch.where(depth < 0, -_LEAST_DEPTH, _LEAST_DEPTH).to(depth.dtype)
        safe = torch.where(depth.abs() < _LEAST_DEPTH, away, depth)
        plane = points[..., :2] / safe[..., None]
        seen = self.focal_length[..., None, None] * plane + self.principal_point[..., None, :]
        return seen, depth

    def to_plane(self, image_points: Tensor) -> Tensor:
        """Image points (..., N, 2) on the plane at depth 1: x/z and y/z of what they show."""
        centred = image_points - self.principal_point[..., None, :]
        return centred / self.focal_length[..., None, None]

    def from_plane(self, plane_points: Tensor) -> Tensor:
        """Image points (..., N, 2) of points on the plane at depth 1: the other way about."""
        scaled = plane_points * self.focal_length[..., None, None]
        return scaled + self.principal_point[..., None, :]

    def rays(self, image_points: Tensor) -> Tensor:
        """World directions (..., N, 3) of image points (..., N, 2), scaled to a depth of 1.

        `position + depth * ray` is the point that is seen there at that depth.
        """
        plane = self.to_plane(image_points)
        return torch.cat((plane, torch.ones_like(plane[..., :1])), dim=-1) @ self.rotation

    def nearest_on_rays(self, points: Tensor, image_points: Tensor) -> Tensor:
        """World points (..., N, 3), each moved the shortest way onto its image point's ray.

        The result is seen exactly at the image points. A point behind the camera stays behind it.
        """
        rays = self.rays(image_points)
        offset = points - self.position[..., None, :]
        along = (offset * rays).sum(-1, keepdim=True) / (rays * rays).sum(-1, keepdim=True)
        return self.position[..., None, :] + along * rays

    def in_moved_world(self, rotation: Tensor, translation: Tensor) -> Camera:
        """The same camera where world points x have become rotation @ x + translation."""
        turned = self.rotation @ rotation.transpose(-1, -2)
        moved = self.translation - (turned @ translation[..., None])[..., 0]
        return replace(self, rotation=turned, translation=moved)


def nearest_on_ray(points: Tensor, plane_points: Tensor) -> Tensor:
    """Points (..., 3) in a camera's frame, moved the shortest way onto the rays (..., 2).

    plane_points are x/z and y/z, as `Camera.to_plane` gives them.
    """
    ray = torch.cat((plane_points, torch.ones_like(plane_points[..., :1])), dim=-1)
    along = (points * ray).sum(-1, keepdim=True) / (ray * ray).sum(-1, keepdim=True)
    return along * ray


def look_at(position: Tensor, target: Tensor, roll: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Rotation (..., 3, 3) and translation (..., 3) of a camera that looks from one point at one.

    Args:
        position, target: (..., 3) metres; the line between them must not be vertical.
        roll: (...) radians by which the image turns clockwise.
    """
    ahead = normalise(target - position)
    down = ahead.new_tensor((0.0, -1.0, 0.0)).expand_as(ahead)
    right = normalise(torch.linalg.cross(down, ahead))
    down = torch.linalg.cross(ahead, right)
    if roll is not None:
        cos, sin = torch.cos(roll)[..., None], torch.sin(roll)[..., None]
        right, down = cos * right - sin * down, sin * right + cos * down
    rotation = torch.stack((right, down, ahead), dim=-2)
    return rotation, -(rotation @ position[..., None])[..., 0]


def pixels_to_units(points: Tensor, image_size: tuple[int, int]) -> Tensor:
    """Image points (..., 2) in pixels from the top left corner, in image units.

    image_size is (width, height).
    """
    width, height = image_size
    centre = points.new_tensor((width / 2, height / 2))
    return (points - centre) / (max(width, height) / 2)


def units_to_pixels(points: Tensor, image_size: tuple[int, int]) -> Tensor:
    """The inverse of pixels_to_units."""
    width, height = image_size
    return points * (max(width, height) / 2) + points.new_tensor((width / 2, height / 2))


def degrees_across(focal_length: float) -> float:
    """Angle of view across the longer side of the image."""
    return math.degrees(2 * math.atan(1 / focal_length))
