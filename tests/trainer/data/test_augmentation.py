"""Augmentation: new motion keeps bones, sides and sense."""

from __future__ import annotations

import random

import numpy as np

from engine.motion.skeleton import SMPL_22
from tests.trainer.conftest import made_clip
from trainer.data.augmentation import (
    circling_walk,
    concatenate,
    extended,
    reversed_walk,
    sequence,
    straight_walk,
    stretched,
)
from trainer.data.corpus import Clip
from trainer.data.gestures import waving, with_gesture
from trainer.data.uniform_skeleton import SourceConstants, to_uniform_skeleton

LENGTHS = np.linalg.norm(np.array(SMPL_22.rest_offsets)[1:], axis=-1)


def clip(index: int = 3, frames: int = 60, caption: str = "a person walks forward") -> Clip:
    joints = to_uniform_skeleton(made_clip(index, frames), SourceConstants()).astype(np.float32)
    return Clip(clip_id="A", joints=joints, captions=(caption,))


def assert_bones(joints: np.ndarray) -> None:
    lengths = np.linalg.norm(joints[:, 1:] - joints[:, SMPL_22.parents[1:]], axis=-1)
    assert np.abs(lengths - LENGTHS).max() < 1e-4


def test_another_speed_keeps_path_and_bones() -> None:
    slow = stretched(clip(), 0.8)
    assert len(slow.joints) == 75
    assert_bones(slow.joints)
    ends = clip().joints[[0, -1], 0, ::2]
    np.testing.assert_allclose(slow.joints[[0, -1], 0, ::2], ends, atol=2e-3)


def test_someone_who_has_sat_down_stays_seated() -> None:
    bows = clip(3, frames=30, caption="a person sits down")
    upper = [3, 6, 9, *range(12, 22)]
    root = bows.joints[15:, :1]
    x, y, z = np.moveaxis(bows.joints[15:, upper] - root, -1, 0)
    bows.joints[15:, upper] = np.stack([x, -z, y], axis=-1) + root  # bent forward by 90 degrees
    longer = extended(bows, 80)
    assert len(longer.joints) == 80
    np.testing.assert_array_equal(longer.joints[-1], longer.joints[-20])
    np.testing.assert_array_equal(longer.joints[10:40], bows.joints)


def test_a_clip_that_closes_is_repeated_and_goes_on() -> None:
    period = round(2 * np.pi / 6 * 20) + 1
    longer = extended(clip(frames=period), 100)
    steps = np.diff(longer.joints[:, 0, 2])
    assert len(longer.joints) == 100
    assert steps.min() > 0.5 * np.median(steps)  # never stops at a seam
    assert_bones(longer.joints)


def test_a_run_of_one_stride_goes_on_running() -> None:
    stride = clip(frames=round(2 * np.pi / 6 * 20) + 6, caption="a person runs")
    longer = extended(stride, 120)
    speed = np.linalg.norm(np.diff(longer.joints[:, 0, ::2], axis=0), axis=-1)
    assert speed.min() > 0.5 * np.median(speed)
    assert_bones(longer.joints)


def test_an_action_that_comes_back_is_done_again() -> None:
    short = clip(3, frames=30, caption="a person punches")
    gap = np.linalg.norm(short.joints[0] - short.joints[-1])
    assert gap > 0.1  # it doesn't close by itself
    longer = extended(short, 100)
    assert len(longer.joints) == 100
    assert np.linalg.norm(np.diff(longer.joints, axis=0), axis=-1).max(axis=1).min() > 1e-4


def test_only_walks_are_made_straight_and_called_so() -> None:
    made = straight_walk(clip(3), 120)
    assert made is not None
    assert len(made.joints) == 120
    assert all("walk" in caption for caption in made.captions)
    assert any("straight" in caption for caption in made.captions)
    assert straight_walk(clip(3, caption="a person jumps forward"), 120) is None


def test_a_wave_raises_one_hand_over_the_shoulder_and_swings_it() -> None:
    body = clip(3)
    made = waving(body, "right", ["a person waves"], random.Random(0))
    others = [joint for joint in range(22) if joint not in (19, 21)]
    np.testing.assert_array_equal(made.joints[:, others], body.joints[:, others])
    assert (made.joints[25:, 21, 1] > made.joints[25:, 17, 1]).all()
    across = made.joints[25:, 21, 0] - made.joints[25:, 19, 0]
    assert across.max() - across.min() > 0.1
    assert_bones(made.joints)


def test_concatenation_has_no_jump() -> None:
    joined = concatenate(clip(1).joints, clip(6).joints, blend=12)
    step = np.linalg.norm(np.diff(joined, axis=0), axis=-1).max(axis=1)
    assert len(joined) == 119
    assert step[55:75].max() < 1.5 * step[:50].max()


def test_only_straight_walks_are_reversed() -> None:
    backward = reversed_walk(clip(3))
    assert backward is not None
    assert backward.joints[-1, 0, 2] < backward.joints[0, 0, 2]
    assert all("backward" in c or "back" in c or "reverse" in c for c in backward.captions)
    assert reversed_walk(clip(3, caption="a person jumps forward")) is None
    assert reversed_walk(clip(3, frames=12)) is None  # hardly moves


def test_a_gesture_changes_the_arms_only() -> None:
    body, gesture = clip(3), clip(6)
    made = with_gesture(body, gesture, ["a person walks and waves"])
    legs_and_spine = [j for j in range(22) if j not in (18, 19, 20, 21)]
    np.testing.assert_array_equal(made.joints[:, legs_and_spine], body.joints[:, legs_and_spine])
    assert np.abs(made.joints[:, 20] - body.joints[:, 20]).max() > 0.05
    assert_bones(made.joints)


def test_a_sequence_says_what_comes_first() -> None:
    second = clip(5, caption="someone sits down.")
    made = sequence(clip(3), second, random.Random(0))
    for caption in made.captions:
        assert caption.index("walks forward") < caption.index("sits down")
    assert_bones(made.joints)


def test_a_straight_walk_is_bent_to_the_side_that_is_said() -> None:
    for turn, side in ((6.0, "left"), (-6.0, "right")):
        made = circling_walk(clip(3), turn, 150)
        assert made is not None
        assert len(made.joints) == 150
        assert any(side in caption for caption in made.captions)
        x, z = made.joints[:, 0, 0], made.joints[:, 0, 2]
        area = (x[:-1] * z[1:] - x[1:] * z[:-1]).sum()  # left of +z is +x
        assert np.sign(area) == -np.sign(turn)
        assert_bones(made.joints)
    assert circling_walk(clip(3, caption="a person jumps"), 6.0, 150) is None
