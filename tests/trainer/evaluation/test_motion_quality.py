"""Quality figures of motions that are simple enough to know them."""

from __future__ import annotations

import numpy as np
import pytest

from engine.motion.skeleton import SMPL_22
from trainer.evaluation import motion_quality as quality

FPS = 20.0


def standing(num_frames: int = 40) -> np.ndarray:
    rest = np.array(SMPL_22.rest_joints(), dtype=np.float32)
    rest[:, 1] -= rest[:, 1].min()
    return np.repeat(rest[None], num_frames, axis=0)


def moving(speed: float, num_frames: int = 40) -> np.ndarray:
    joints = standing(num_frames)
    joints[..., 2] += speed / FPS * np.arange(num_frames)[:, None]
    return joints


def test_standing_feet_do_not_slide_and_are_in_contact() -> None:
    slide, share = quality.foot_skate(standing(), FPS)
    assert slide == pytest.approx(0, abs=1e-3)
    assert share > 0.4  # toes certainly; the ankle joints are near 5 cm


def test_slow_drift_is_measured_in_millimetres_per_frame() -> None:
    slide, _ = quality.foot_skate(moving(0.1), FPS)
    assert slide == pytest.approx(5, rel=0.01)


def test_given_contacts_are_used() -> None:
    contacts = np.ones((40, 4), dtype=np.float32)
    slide, share = quality.foot_skate(moving(1.0), FPS, contacts)
    assert (slide, share) == (pytest.approx(50, rel=0.01), 1)


def test_without_contact_there_is_no_slide_to_speak_of() -> None:
    slide, share = quality.foot_skate(standing() + np.float32(1), FPS)
    assert np.isnan(slide)
    assert share == 0


def test_slide_near_the_floor_needs_no_contacts() -> None:
    assert quality.foot_skate_near_floor(moving(1.0)) == pytest.approx(50, rel=0.01)
    assert np.isnan(quality.foot_skate_near_floor(standing() + np.float32(1)))


def test_floor_penetration_is_a_share_of_frames() -> None:
    joints = standing(40)
    joints[:10, :, 1] -= 0.031
    joints[10:20, :, 1] -= 0.02
    assert quality.floor_penetration(joints) == 0.25


def test_jitter_of_a_cubic_path_is_its_third_derivative() -> None:
    time = np.arange(40) / FPS
    joints = standing().astype(np.float64)
    joints[..., 0] += (2 * time**3)[:, None]  # third derivative 12 m/s3
    assert quality.jitter(joints, FPS) == pytest.approx(0.12, rel=1e-6)
    assert quality.jitter(moving(1.0).astype(np.float64), FPS) == pytest.approx(0, abs=1e-3)


def test_a_stretched_bone_is_found() -> None:
    joints = standing()
    assert quality.bone_length_deviation(joints) == pytest.approx(0, abs=1e-3)
    joints[:20, 20, 0] += 0.02  # the left wrist, along the forearm, in half of the frames
    assert quality.bone_length_deviation(joints) == pytest.approx(10, rel=0.01)
