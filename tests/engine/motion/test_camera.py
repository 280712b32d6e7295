"""Cameras against hand-computed views, behind themselves, and in a moved world."""

from __future__ import annotations

import math

import pytest
import torch

from engine.motion import rotations as rot
from engine.motion.camera import (
    Camera,
    degrees_across,
    look_at,
    nearest_on_ray,
    pixels_to_units,
    units_to_pixels,
)


def camera_at(position: tuple[float, float, float], target=(0.0, 1.0, 0.0), focal=2.0) -> Camera:
    rotation, translation = look_at(torch.tensor(position), torch.tensor(target))
    return Camera(
        rotation=rotation,
        translation=translation,
        focal_length=torch.tensor(focal),
        principal_point=torch.tensor((0.1, -0.2)),
    )


def some_camera() -> Camera:
    return camera_at((2.0, 2.5, 3.0), target=(0.3, 0.9, -0.2))


def test_a_camera_in_front_sees_left_on_the_right_and_up_at_the_top() -> None:
    # a person at the origin facing +z, seen from 4 m ahead
    camera = camera_at((0.0, 1.0, 4.0))
    points = torch.tensor([[0.0, 1.0, 0.0], [0.5, 1.0, 0.0], [0.0, 1.8, 0.0], [0.0, 1.0, 2.0]])
    seen, depth = camera.project(points)
    expected = torch.tensor([[0.1, -0.2], [0.35, -0.2], [0.1, -0.6], [0.1, -0.2]])
    torch.testing.assert_close(seen, expected)
    torch.testing.assert_close(depth, torch.tensor([4.0, 4.0, 4.0, 2.0]))
    torch.testing.assert_close(camera.position, torch.tensor((0.0, 1.0, 4.0)))


def test_depth_is_signed_and_gradients_are_finite_everywhere() -> None:
    camera = camera_at((0.0, 1.0, 4.0))
    points = torch.tensor([[0.2, 1.0, 7.0], [0.2, 1.0, 4.0], [0.2, 1.0, 4.0 - 1e-9]])
    points.requires_grad_()
    seen, depth = camera.project(points)
    assert depth[0].item() == pytest.approx(-3.0)
    assert seen[0, 0].item() < 0.1  # mirrored: a point on the right comes out on the left
    seen.sum().backward()
    assert points.grad is not None
    assert points.grad.isfinite().all()


def test_rays_lead_back_to_the_points() -> None:
    camera = some_camera()
    points = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    seen, depth = camera.project(points)
    back = camera.position + depth[:, None] * camera.rays(seen)
    torch.testing.assert_close(back, points, atol=1e-5, rtol=1e-5)


def test_the_nearest_point_on_a_ray_is_seen_there_and_no_other_is_nearer() -> None:
    camera = some_camera()
    generator = torch.Generator().manual_seed(1)
    points = 0.5 * torch.randn(20, 3, generator=generator)
    image = 0.3 * torch.randn(20, 2, generator=generator)
    moved = camera.nearest_on_rays(points, image)
    torch.testing.assert_close(camera.project(moved)[0], image, atol=1e-5, rtol=1e-5)
    distance = (moved - points).norm(dim=-1)
    for step in (-0.01, 0.01):
        other = moved + step * camera.rays(image)
        assert ((other - points).norm(dim=-1) > distance).all()
    own, _ = camera.project(points)
    torch.testing.assert_close(camera.nearest_on_rays(points, own), points, atol=1e-5, rtol=1e-5)
    in_camera = nearest_on_ray(camera.to_camera(points), camera.to_plane(image))
    torch.testing.assert_close(in_camera, camera.to_camera(moved), atol=1e-5, rtol=1e-5)


def test_a_camera_goes_with_a_moved_world() -> None:
    camera = some_camera()
    points = torch.randn(5, 3, generator=torch.Generator().manual_seed(2))
    turn = rot.quaternion_to_matrix(rot.normalise(torch.tensor((0.3, -0.2, 0.8, 0.1))))
    shift = torch.tensor((1.0, -2.0, 0.5))
    moved = camera.in_moved_world(turn, shift)
    for found, expected in zip(
        moved.project(points @ turn.T + shift), camera.project(points), strict=True
    ):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_a_camera_per_frame_is_each_frames_camera() -> None:
    generator = torch.Generator().manual_seed(3)
    position = torch.randn(4, 3, generator=generator) + torch.tensor((0.0, 1.0, 5.0))
    rotation, translation = look_at(position, torch.zeros(4, 3), 0.2 * torch.arange(4.0))
    cameras = Camera(
        rotation=rotation,
        translation=translation,
        focal_length=torch.linspace(1, 2, 4),
        principal_point=torch.zeros(4, 2),
    )
    points = torch.randn(4, 7, 3, generator=generator)
    together = cameras.project(points)[0]
    for frame in range(4):
        torch.testing.assert_close(cameras[frame].project(points[frame])[0], together[frame])
    assert cameras[1:3].rotation.shape == (2, 3, 3)


def test_roll_turns_the_image_clockwise() -> None:
    position, target = torch.tensor((0.0, 0.0, 4.0)), torch.zeros(3)
    rotation, translation = look_at(position, target, torch.tensor(math.pi / 2))
    top = rotation @ torch.tensor((0.0, 1.0, 0.0)) + translation
    torch.testing.assert_close(top, torch.tensor((1.0, 0.0, 4.0)), atol=1e-6, rtol=0)
    assert torch.linalg.det(rotation) == pytest.approx(1.0, abs=1e-6)


def test_pixels_and_units_are_each_others_inverse() -> None:
    corners = torch.tensor([[0.0, 0.0], [1920.0, 1080.0], [960.0, 540.0]])
    units = pixels_to_units(corners, (1920, 1080))
    torch.testing.assert_close(units, torch.tensor([[-1, -0.5625], [1, 0.5625], [0, 0]]))
    torch.testing.assert_close(units_to_pixels(units, (1920, 1080)), corners)
    assert degrees_across(1.0) == pytest.approx(90.0)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="need"):
        Camera(
            rotation=torch.eye(4),
            translation=torch.zeros(3),
            focal_length=torch.tensor(1.0),
            principal_point=torch.zeros(2),
        )
