"""Who walks out of the picture goes on until nothing of them would be inside."""

from __future__ import annotations

import numpy as np

from engine.video.keypoints import Floats
from engine.video.leaving import GUESS_CONFIDENCE, going_on

SIZE = (100, 80)


def _walk(xs: list[float]) -> Floats:
    body = np.array([(-10.0, 0, 1), (0, 10, 1), (10, 20, 1)])
    return np.stack([body + np.array((x, 30.0, 0.0)) for x in xs]).astype(np.float32)


def test_somebody_leaves_at_the_right() -> None:
    after = going_on(_walk([80, 85, 90, 95]), SIZE, 30.0)

    # the leftmost point is at 85 and goes 5 a frame: 90 and 95 are inside, 100 is not
    assert len(after) == 2
    assert np.allclose(after[0, :, 0], [90, 100, 110])
    assert np.allclose(after[:, :, 2], GUESS_CONFIDENCE)


def test_somebody_comes_in_by_the_reversed_frames() -> None:
    before = going_on(_walk([5, 10, 15, 20])[::-1], SIZE, 30.0)

    # the rightmost point is at 15: 10, 5 and 0 are inside
    assert len(before) == 3
    assert np.allclose(before[1, :, 0], [-15, -5, 5])


def test_who_stays_inside_stands_or_comes_back_does_not_leave() -> None:
    for walk in ([40, 45, 50, 55], [95, 95, 95, 95], [105, 100, 96, 92], [50]):
        assert len(going_on(_walk([float(x) for x in walk]), SIZE, 30.0)) == 0


def test_nobody_leaves_for_longer_than_half_a_second() -> None:
    slow = _walk([89.0, 89.6, 90.2, 90.8])

    assert len(going_on(slow, SIZE, 10.0)) == 5
