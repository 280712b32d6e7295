"""A made motion in which everything that readers measure shows: it walks, turns and bends."""

from __future__ import annotations

import numpy as np
import pytest

from engine.motion.skeleton import SMPL_22


def _walk(frames: int, turn: float) -> np.ndarray:
    time = np.arange(frames) / 20
    pose = np.repeat(np.array(SMPL_22.rest_joints(), np.float32)[None], frames, axis=0)
    pose[..., 1] += SMPL_22.root_height()
    swing = 0.15 * np.sin(5 * time)
    for knee, ankle, foot, sign in ((4, 7, 10, 1), (5, 8, 11, -1)):
        pose[:, knee, 2] += 0.12 + 0.5 * sign * swing  # always bent, forwards
        pose[:, (ankle, foot), 2] += sign * swing[:, None]
    pose[:, 20:22, 1] -= 0.2
    heading = turn * time
    cos, sin = np.cos(heading), np.sin(heading)
    zero, one = 0 * cos, 0 * cos + 1
    matrix = np.stack([cos, zero, sin, zero, one, zero, -sin, zero, cos], -1).reshape(-1, 3, 3)
    pose = np.einsum("tij,tkj->tki", matrix, pose)
    ahead = np.cumsum(np.stack([sin, zero, cos], -1), axis=0) * 0.03
    return (pose + (ahead - ahead[:1])[:, None]).astype(np.float32)


@pytest.fixture
def walk() -> np.ndarray:
    """Joints (120, 22, 3) in metres at 20 fps, y up, that turn twice round."""
    return _walk(120, 2.1)


@pytest.fixture
def short_walk() -> np.ndarray:
    """Joints (60, 22, 3) that go nearly straight on."""
    return _walk(60, 0.1)
