"""A motion at another rate is the same motion in between."""

from __future__ import annotations

import numpy as np
import pytest

from blender_addon.rig.resampling import resampled
from blender_addon.rig.source_motion import source_from_result
from tests.blender_addon.rig.figures import random_motion, walk_motion


@pytest.mark.parametrize("fps", [12.0, 24.0, 30.0, 59.94])
def test_the_same_times_have_the_same_poses(fps: float) -> None:
    """Against the motion made at that rate: what is between frames is off by little."""
    found = resampled(source_from_result(walk_motion(240, fps=120.0)), fps)
    wanted = source_from_result(walk_motion(found.num_frames, fps=fps))
    assert found.fps == fps
    assert found.num_frames == round(239 / 120 * fps) + 1
    inside = slice(0, found.num_frames - 1)  # the last may lie half a frame beyond the end
    assert np.abs(found.positions - wanted.positions)[inside].max() < 2e-3
    assert np.abs(found.rotations - wanted.rotations)[inside].max() < 2e-3


def test_rotations_stay_rotations() -> None:
    found = resampled(source_from_result(random_motion(30)), 31.0)
    identity = found.rotations @ np.swapaxes(found.rotations, -1, -2)
    assert np.abs(identity - np.eye(3)).max() < 1e-9


def test_the_same_rate_changes_nothing() -> None:
    motion = source_from_result(walk_motion(10))
    assert resampled(motion, 20.0) is motion


def test_contacts_stay_yes_or_no() -> None:
    found = resampled(source_from_result(walk_motion(80)), 47.0)
    assert set(np.unique(found.contacts)) == {0.0, 1.0}
