"""Contacts and floor out of the paths of feet alone."""

from __future__ import annotations

import numpy as np
import pytest

from blender_addon.rig.foot_contacts import find_contacts, find_floor, standing_heights

STANDING = np.array([0.08, 0.02, 0.08, 0.02])


def steps(fps: float, *, floor: float = 0.0, size: float = 1.0, noise: float = 0.0) -> np.ndarray:
    """Feet (T, 4, 3): the left stands in the first second and swings in the second one."""
    frames = int(2 * fps)
    feet = np.zeros((frames, 4, 3))
    feet[..., 1] = STANDING
    swing = np.clip((np.arange(frames) / fps - 1.0), 0, None)[:, None]
    feet[:, :2, 1] += 0.15 * np.sin(np.pi * swing)
    feet[:, :2, 2] = 1.2 * swing
    feet *= size
    feet[..., 1] += floor
    return feet + np.random.default_rng(0).normal(scale=noise * size, size=feet.shape)


@pytest.mark.parametrize("fps", [20.0, 30.0, 120.0])
@pytest.mark.parametrize("size", [0.06, 1.0, 6.0])
def test_feet_stand_and_swing(fps: float, size: float) -> None:
    feet = steps(fps, size=size)
    contacts = find_contacts(feet, STANDING * size, fps, size)
    second = int(fps)
    assert np.all(contacts[: second - 1, :2] == 1)
    assert np.all(contacts[second + 3 : -4, :2] == 0)
    assert np.all(contacts[:, 2:] == 1)


def test_noise_at_a_high_rate_does_not_lift_feet() -> None:
    feet = steps(120.0, noise=0.0005)
    assert find_contacts(feet, STANDING, 120.0)[:115, :2].mean() > 0.9


def test_a_high_foot_does_not_stand_however_slow() -> None:
    feet = np.zeros((30, 4, 3))
    feet[..., 1] = STANDING + np.array([0.3, 0.3, 0, 0])
    contacts = find_contacts(feet, STANDING, 30.0)
    assert np.all(contacts[:, :2] == 0)
    assert np.all(contacts[:, 2:] == 1)


def test_a_short_stop_is_no_contact() -> None:
    feet = np.zeros((21, 4, 3))
    feet[..., 1] = STANDING
    feet[:, :2, 2] = 0.1 * np.abs(np.arange(21) - 10)[:, None]
    feet[10:12, :2, 2] = 0
    assert find_contacts(feet, STANDING, 20.0)[:, :2].sum() == 0


@pytest.mark.parametrize("floor", [-0.9, 0.0, 0.35])
def test_the_floor_is_where_feet_rest(floor: float) -> None:
    found = find_floor(steps(30.0, floor=floor), STANDING, 30.0)
    assert found == pytest.approx(floor, abs=0.01)


def test_kneeling_does_not_lower_the_floor() -> None:
    """The right foot stands, the left one lies on its back with the ankle near the floor."""
    feet = np.zeros((40, 4, 3))
    feet[..., 1] = STANDING
    feet[:, 0, 1] = 0.01
    assert find_floor(feet, STANDING, 20.0) == pytest.approx(0.0, abs=1e-9)


def test_feet_in_the_air_know_no_floor() -> None:
    feet = np.zeros((30, 4, 3))
    feet[..., 1] = 1.0
    feet[..., 2] = np.arange(30)[:, None]
    assert find_floor(feet, STANDING, 30.0) is None


def test_standing_heights_come_from_the_motion() -> None:
    heights = standing_heights(steps(30.0, floor=2.0), 30.0)
    assert heights == pytest.approx([0.08, 0.02, 0.08, 0.02], abs=0.005)


def test_one_frame_is_enough() -> None:
    feet = steps(30.0)[:1]
    assert find_contacts(feet, STANDING, 30.0).shape == (1, 4)
