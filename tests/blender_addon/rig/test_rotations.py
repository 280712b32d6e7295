"""Rotations: round trips, and angles that are continuous in time."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from blender_addon.rig.rotations import (
    angle_about_y,
    blend_rotations,
    continuous_quaternions,
    cross,
    frame_from,
    matrix_to_axis_angle,
    matrix_to_euler,
    matrix_to_quaternion,
    quaternion_to_matrix,
    shortest_rotation,
    turn_about_y,
)
from tests.blender_addon.rig.figures import euler_matrix

EXACT = 1e-9  # float64, a few operations


def random_quaternions(count: int) -> np.ndarray:
    quaternions = np.random.default_rng(1).normal(size=(count, 4))
    return quaternions / np.linalg.norm(quaternions, axis=-1, keepdims=True)


def test_quaternion_and_matrix_round_trip() -> None:
    quaternions = random_quaternions(200)
    back = matrix_to_quaternion(quaternion_to_matrix(quaternions))
    assert np.abs(np.abs(np.sum(back * quaternions, axis=-1)) - 1).max() < EXACT


def test_half_turns_have_a_quaternion() -> None:
    for axis in np.eye(4)[1:]:
        back = matrix_to_quaternion(quaternion_to_matrix(axis[None]))
        assert abs(abs(back[0] @ axis) - 1) < EXACT


def test_continuous_quaternions_never_jump() -> None:
    angle = np.linspace(0, 6 * np.pi, 100)
    quaternions = np.stack([np.cos(angle / 2), np.sin(angle / 2), 0 * angle, 0 * angle], axis=-1)
    flipped = quaternions * np.where(np.arange(100) % 3 == 0, -1.0, 1.0)[:, None]
    steps = np.diff(continuous_quaternions(flipped), axis=0)
    assert np.linalg.norm(steps, axis=-1).max() < 0.2


@pytest.mark.parametrize("order", ["".join(letters) for letters in permutations("XYZ")])
def test_euler_angles_give_the_rotation_back(order: str) -> None:
    matrices = quaternion_to_matrix(random_quaternions(100))
    assert np.abs(euler_matrix(matrix_to_euler(matrices, order), order) - matrices).max() < EXACT


@pytest.mark.parametrize("order", ["".join(letters) for letters in permutations("XYZ")])
def test_euler_angles_are_continuous(order: str) -> None:
    """Turning about each axis in turn for more than a full turn, past the gimbal."""
    time = np.linspace(0, 1, 400)
    for axis in range(3):
        angles = np.zeros((400, 3)) + 0.3
        angles[:, axis] = 9 * time
        matrices = euler_matrix(angles, order)
        found = matrix_to_euler(matrices, order)
        assert np.abs(np.diff(found, axis=0)).max() < 0.1
        assert np.abs(euler_matrix(found, order) - matrices).max() < EXACT


def test_axis_angle_is_the_rotation() -> None:
    matrices = quaternion_to_matrix(random_quaternions(50))
    values = matrix_to_axis_angle(matrices)
    half = values[:, :1] / 2
    quaternions = np.concatenate([np.cos(half), np.sin(half) * values[:, 1:]], axis=-1)
    assert np.abs(quaternion_to_matrix(quaternions) - matrices).max() < EXACT


def test_shortest_rotation_reaches_its_end() -> None:
    generator = np.random.default_rng(2)
    start, end = generator.normal(size=(2, 50, 3))
    end[0] = -start[0]  # half a turn
    end[1] = start[1]
    turned = (shortest_rotation(start, end) @ start[..., None])[..., 0]
    difference = turned / np.linalg.norm(turned, axis=-1, keepdims=True)
    difference -= end / np.linalg.norm(end, axis=-1, keepdims=True)
    assert np.abs(difference).max() < 1e-6


def test_frames_are_right_handed() -> None:
    frame = frame_from(np.array([0.0, -2.0, 0.0]), np.array([1.0, 0.5, 0.0]))
    assert np.abs(frame.T @ frame - np.eye(3)).max() < EXACT
    assert np.linalg.det(frame) == pytest.approx(1)
    assert np.abs(cross(frame[:, 0], frame[:, 1]) - frame[:, 2]).max() < EXACT


def test_turns_about_y() -> None:
    angle = np.linspace(-3, 3, 20)
    assert np.abs(angle_about_y(turn_about_y(angle)) - angle).max() < EXACT


def test_blend_goes_the_short_way() -> None:
    start, end = turn_about_y(np.array([3.0, 0.2])), turn_about_y(np.array([-3.0, 0.6]))
    middle = angle_about_y(blend_rotations(start, end, np.array([0.5, 0.25])))
    assert abs(abs(middle[0]) - np.pi) < 1e-6
    assert middle[1] == pytest.approx(0.3)
    assert np.abs(blend_rotations(start, end, np.ones(2)) - end).max() < EXACT
