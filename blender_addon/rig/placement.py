"""Where a motion's own world lies in the scene, once its motion is on a rig.

What belongs to the motion but not to its body, such as the camera that has seen it, goes there.

Shape letters: T frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .retarget_options import RetargetOptions, RootMode
from .rotations import FloatArray
from .source_motion import SourceMotion
from .target_figure import TargetFigure, leg_length

_STEADY = 0.2  # of a leg: what planting feet moves the hips by, and less than any path


@dataclass(frozen=True, kw_only=True, eq=False)
class Placement:
    """A point x of the motion's world in frame t is at scale * turn @ x + shift[t] in the scene."""

    scale: float
    turn: FloatArray  # (3, 3)
    shift: FloatArray  # (T, 3)

    @property
    def is_still(self) -> bool:
        """The motion's world doesn't move through the scene."""
        return bool((self.shift == self.shift[0]).all())


def find_placement(
    source: SourceMotion,
    target: TargetFigure,
    hips: FloatArray,
    *,
    turn: FloatArray,
    options: RetargetOptions,
) -> Placement:
    """Lay the motion's world so that its hips are where the rig's are, at the rig's size.

    It lies still, unless the motion's path was left out or made larger or smaller on the way: then
    it moves along with the rig.

    Args:
        source: the motion as it came.
        target: the rig at rest.
        hips: (T, 3) where the rig's hips are, in figure space.
        turn: (3, 3) by which the motion was turned in figure space.
        options: how the motion was retargeted.
    """
    scale = leg_length(target.points) / leg_length(source.rest_points)
    turn = target.space.axes @ turn
    own = (source.place("left_hip") + source.place("right_hip")) / 2
    shift = target.space.to_world(hips) - scale * own @ turn.T
    middle = np.median(shift, axis=0)
    strays = np.linalg.norm(shift - middle, axis=-1)
    is_whole = options.root is not RootMode.IN_PLACE and options.scale in (None, scale)
    if is_whole or strays.max() < _STEADY * leg_length(target.points):
        shift = np.broadcast_to(middle, shift.shape).copy()
    return Placement(scale=float(scale), turn=turn, shift=shift)
