"""Which way is up, and which side is left: measured on data whose papers don't say.

A person stands more often than not, and knees bend forwards. That is all that is used here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
_SURE = 3.0  # standard errors from even odds
_LEAST_BEND = 0.02  # of the leg's length: a straighter knee shows no direction


@dataclass(frozen=True)
class Measured:
    """A yes-or-no question put to the frames of a data set."""

    share: float  # of the votes for yes, weighted
    votes: float

    @property
    def is_sure(self) -> bool:
        """Whether the share is too far from one half for chance."""
        return abs(self.share - 0.5) > _SURE * 0.5 / max(self.votes, 1e-9) ** 0.5

    @property
    def answer(self) -> bool:
        """Yes or no; means something only if sure."""
        return self.share > 0.5

    def __str__(self) -> str:
        return f"{100 * self.share:.0f} % of {self.votes:.0f} frames"


def count_votes(values: Array) -> Measured:
    """Positive values vote yes, negative ones no, zeros don't vote."""
    votes = values[np.isfinite(values) & (values != 0)]
    share = float((votes > 0).mean()) if len(votes) else 0.5
    # frames of a clip are much alike: one in ten counts as a vote of its own
    return Measured(share, len(votes) / 10)


def up_axis(feet: Array, head: Array) -> Array:
    """The axis (3,), with its sign, along which the head is mostly above the feet.

    Args:
        feet: (N, 3) middle of the ankles.
        head: (N, 3).
    """
    mean = np.median(head - feet, axis=0)
    axis = np.zeros(3, np.float32)
    axis[int(np.abs(mean).argmax())] = np.sign(mean[np.abs(mean).argmax()])
    return axis


def to_y_up(axis: Array) -> Array:
    """The rotation (3, 3) that takes a signed axis to +y and keeps handedness."""
    up = int(np.abs(axis).argmax())
    if up == 1:
        return np.diag([1.0, axis[1], axis[1]]).astype(np.float32)
    rows = np.zeros((3, 3), np.float32)
    rows[1] = axis
    rows[0, 0 if up == 2 else 2] = 1.0
    rows[2] = np.cross(rows[0], rows[1])
    return rows


def first_leg_is_left(hips: Array, knees: Array, ankles: Array, up: Array) -> Measured:
    """Whether the first of two legs is the left one, in 3D: knees bend forwards.

    Forward is where the knee is off the line from hip to ankle; left is up x forward.

    Args:
        hips, knees, ankles: (N, 2, 3), of the two legs.
        up: (3,) unit.
    """
    line = ankles - hips
    length = np.linalg.norm(line, axis=-1, keepdims=True)
    along = line / np.maximum(length, 1e-6)
    bend = knees - hips
    bend = bend - (bend * along).sum(-1, keepdims=True) * along
    bent = np.linalg.norm(bend, axis=-1) > _LEAST_BEND * length[..., 0]
    left = np.cross(np.broadcast_to(up, bend.shape), bend)
    towards_first = (hips[:, 0] - hips[:, 1])[:, None]
    side = np.where(bent, (left * towards_first).sum(-1), 0.0).sum(-1)
    return count_votes(side.astype(np.float32))


def first_leg_is_left_in_images(hips: Array, knees: Array, ankles: Array) -> Measured:
    """The same of image points, seen by cameras that look down, as broadcast cameras do.

    Who faces the image's right shows it by the knees' bend, and has the left hip farther away,
    which from above is higher in the image: bend to the right times height of the left hip over
    the right one is positive. (Seen level and from afar both answers fit the image equally well.)

    Args:
        hips, knees, ankles: (N, 2, 2), x to the right and y up; not a number where not seen.
    """
    line = ankles - hips
    length = np.linalg.norm(line, axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        # how far the knee is to the right of the line from hip to ankle
        part = (knees[..., 1] - hips[..., 1]) / line[..., 1]
        bend = knees[..., 0] - (hips[..., 0] + part * line[..., 0])
        upright = (-line[..., 1] > 0.5 * length) & (np.abs(bend) > _LEAST_BEND * length)
    bend = np.where(upright, bend / np.maximum(length, 1e-9), 0.0).sum(-1)
    higher = hips[:, 0, 1] - hips[:, 1, 1]
    return count_votes((bend * higher).astype(np.float32))


def same_side(first_pair: Array, second_pair: Array) -> Measured:
    """Whether pairs (N, 2, D) are in the same order: shoulders stand over the hips of their side.

    Not a number where not seen.
    """
    hips = first_pair[:, 0] - first_pair[:, 1]
    shoulders = second_pair[:, 0] - second_pair[:, 1]
    return count_votes((hips * shoulders).sum(-1).astype(np.float32))
