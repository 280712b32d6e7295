"""Copies are found, wherever they walk; new motion is far."""

from __future__ import annotations

import numpy as np
import pytest

from engine.motion.skeleton import SMPL_22
from trainer.data.corpus import Clip
from trainer.evaluation.novelty import TrainingIndex, facing_poses


def waving(num_frames: int, *, phase: float = 0.0, height: float = 1.0) -> np.ndarray:
    rest = np.array(SMPL_22.rest_joints(), dtype=np.float32)
    rest[:, 1] -= rest[:, 1].min()
    joints = np.repeat(rest[None], num_frames, axis=0)
    time = np.arange(num_frames) / 20
    joints[:, 20, 1] += np.sin(5 * time + phase).astype(np.float32) * 0.5 * height
    joints[:, 0:, 2] += time[:, None].astype(np.float32)
    return joints


def turned(joints: np.ndarray, angle: float, shift: tuple[float, float]) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    x, y, z = np.moveaxis(joints, -1, 0)
    moved = np.stack([cos * x + sin * z + shift[0], y, cos * z - sin * x + shift[1]], axis=-1)
    return moved.astype(np.float32)


def clip(name: str, joints: np.ndarray) -> Clip:
    return Clip(clip_id=name, joints=joints, captions=("a person waves",))


@pytest.fixture
def index() -> TrainingIndex:
    return TrainingIndex([clip("A", waving(90)), clip("B", waving(30, phase=2, height=-0.5))])


def test_a_turned_and_shifted_piece_is_recognised_as_a_copy(index: TrainingIndex) -> None:
    found = index.nearest(turned(waving(90)[17:77], 2.0, (3.0, -4.0)))
    # the heading is smoothed over time, so the ends of a cut differ a little
    assert found.distance < 1e-3
    assert found.clip == 0
    assert found.clip_start - found.start == 17


def test_another_motion_is_far_from_all(index: TrainingIndex) -> None:
    other = waving(60)
    other[:, 21, 1] += 1.0  # one joint of 22 is a metre away
    assert index.nearest(other).distance == pytest.approx(1 / 22, rel=0.05)


def test_half_a_copy_is_half_as_far(index: TrainingIndex) -> None:
    patchwork = waving(80)
    patchwork[40:, 21, 1] += 1.0
    found = index.nearest(patchwork)
    assert found.distance == pytest.approx(0.5 / 22, rel=0.1)
    assert found.window_distance < 1e-3
    assert found.start == 0


def test_a_short_motion_has_one_window(index: TrainingIndex) -> None:
    assert index.nearest(waving(30, phase=2, height=-0.5)).clip == 1


def test_facing_poses_do_not_depend_on_place_and_facing() -> None:
    joints = waving(50)
    there = facing_poses(turned(joints, -1.2, (5.0, 6.0)))
    assert there == pytest.approx(facing_poses(joints), abs=1e-4)
