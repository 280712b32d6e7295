"""The rig at rest by joint, in figure space, and the joints that each of its bones follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .bone_match import BoneMatch
from .rest_alignment import rest_frames
from .rotations import FloatArray
from .source_motion import SIDES
from .target_rig import FigureSpace, TargetRig, end_point, find_figure_space, toe_point

# Of a foot whose toes can't be found, against the length of the leg: ahead of the ankle, height.
_TOE_AHEAD, _TOE_HEIGHT = 0.17, 0.02


@dataclass(frozen=True, kw_only=True, eq=False)
class TargetFigure:
    """The rig at rest by joint, in figure space.

    Points have also left_hand_end, where the forearm ends, and left_toe, where the toes bend.
    """

    rig: TargetRig
    match: BoneMatch
    space: FigureSpace
    points: dict[str, FloatArray]  # (3,)
    frames: dict[str, FloatArray]  # (3, 3), see rest_alignment

    def bone(self, joint: str) -> int:
        """Index of a joint's bone."""
        return self.rig.index[self.match.bones[joint]]

    @property
    def height(self) -> float:
        """Of the body in metres, from the floor to the crown; by its legs if it has no head."""
        if "head" not in self.points:
            return 2.0 * leg_length(self.points)
        # The head's joint is at the base of the skull: about 0.92 of a body's height.
        return max(float(self.points["head"][1]), 1e-6) / 0.92


def read_figure(rig: TargetRig, match: BoneMatch) -> TargetFigure:
    """Find the joints of a rig at rest."""
    space = find_figure_space(rig, match.bones)
    points = {j: space.from_armature(rig.heads[rig.index[b]]) for j, b in match.bones.items()}
    for side in SIDES:
        points[f"{side}_hand_end"] = _hand_end(rig, match, space, points, side)
        points[f"{side}_toe"] = _toe(rig, match, space, points, side)
    return TargetFigure(
        rig=rig, match=match, space=space, points=points, frames=rest_frames(points)
    )


def _hand_end(
    rig: TargetRig,
    match: BoneMatch,
    space: FigureSpace,
    points: Mapping[str, FloatArray],
    side: str,
) -> FloatArray:
    if f"{side}_wrist" in points:
        return points[f"{side}_wrist"]
    shoulder, elbow = (rig.index[match.bones[f"{side}_{j}"]] for j in ("shoulder", "elbow"))
    upper = float(np.linalg.norm(rig.heads[elbow] - rig.heads[shoulder]))
    end = end_point(rig, elbow, shortest=0.4 * upper, longest=2.5 * upper)
    if end is not None:
        return space.from_armature(end)
    return 2 * points[f"{side}_elbow"] - points[f"{side}_shoulder"]


def _toe(
    rig: TargetRig,
    match: BoneMatch,
    space: FigureSpace,
    points: Mapping[str, FloatArray],
    side: str,
) -> FloatArray:
    toe = toe_point(rig, match.bones, side)
    if toe is not None:
        return space.from_armature(toe)
    leg, ankle = leg_length(points), points[f"{side}_ankle"]
    return np.array([ankle[0], _TOE_HEIGHT * leg, ankle[2] + _TOE_AHEAD * leg])


def leg_length(points: Mapping[str, FloatArray]) -> float:
    """Thigh and shin, the mean of both sides."""
    lengths = [
        float(np.linalg.norm(points[f"{side}_{upper}"] - points[f"{side}_{lower}"]))
        for side in SIDES
        for upper, lower in (("hip", "knee"), ("knee", "ankle"))
    ]
    return sum(lengths) / 2
