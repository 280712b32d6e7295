"""A motion at another frame rate.

Shape letters: T frames, J joints.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from .rotations import continuous_quaternions, matrix_to_quaternion, quaternion_to_matrix
from .source_motion import SourceMotion


def resampled(motion: SourceMotion, fps: float) -> SourceMotion:
    """The motion with `fps` frames a second; its first frame stays, its length to half a frame.

    Positions go straight from frame to frame and rotations the short way; contacts are those of
    the nearest frame.
    """
    if math.isclose(fps, motion.fps, rel_tol=1e-4) or motion.num_frames < 2:
        return motion
    last = motion.num_frames - 1
    count = max(2, round(last * fps / motion.fps) + 1)
    times = np.minimum(np.arange(count) * (motion.fps / fps), last)
    before = np.minimum(times.astype(int), last - 1)
    share = times - before
    quaternions = continuous_quaternions(matrix_to_quaternion(motion.rotations))
    nearest = np.round(times).astype(int)

    def between(values: np.ndarray) -> np.ndarray:
        weight = share.reshape(-1, *(1,) * (values.ndim - 1))
        return values[before] * (1 - weight) + values[before + 1] * weight

    return replace(
        motion,
        fps=fps,
        positions=between(motion.positions),
        # Neighbouring frames are near: a straight line between quaternions is short of the arc
        # by less than 0.1 degrees in steps of up to 20 degrees.
        rotations=quaternion_to_matrix(between(quaternions)),
        contacts=motion.contacts[nearest],
    )
