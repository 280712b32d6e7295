"""Which points of a path are hip, knee and ankle, or shoulder, elbow and wrist.

Each choice of three points has a cost, the sum of what is unlike a limb: segments of different
lengths, a joint beside the line, a foot that doesn't turn off. Armature space; P points of a path.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from math import log

import numpy as np

from .bone_tree import BonePath
from .rotations import FloatArray

_FOOT_TURN = np.radians(55.0)  # a foot that turns off the shin by this much is one for certain
_STRAIGHT_ON = np.radians(35.0)
_USUAL_DIFFERENCE = 0.15  # logarithm of the ratio of a limb's segments
# What leaves a wrist: fingers, or one bone that is short against the forearm.
_LONGEST_HAND = 0.75
_LONGEST_FINGERS = 1.7  # with the hand, against the forearm


@dataclass(frozen=True, kw_only=True)
class LimbFit:
    """Three places in a path, and what is unlike a limb there."""

    places: tuple[int, int, int]  # indices of points, in both paths of a pair
    cost: float
    margin: float  # how much worse the best choice of other bones is


@dataclass(frozen=True, eq=False)
class _Measures:
    """Lengths and angles in one path, each measured once: every choice of points asks again."""

    path: BonePath

    @cached_property
    def apart(self) -> list[list[float]]:
        """Between each two points."""
        points = self.path.points
        return np.linalg.norm(points[:, None] - points[None], axis=-1).tolist()

    @cached_property
    def along(self) -> list[float]:
        """From the first point to each, on the path."""
        steps = np.linalg.norm(np.diff(self.path.points, axis=0), axis=-1)
        return [0.0, *np.cumsum(steps).tolist()]

    @cached_property
    def _segments(self) -> dict[tuple[int, int], tuple[float, bool]]:
        return {}

    def length(self, start: int, end: int) -> float:
        """On the path."""
        return self.along[end] - self.along[start]

    def segment(self, start: int, end: int) -> tuple[float, bool]:
        """How far points between two others lie off their line, against its length; and whether
        they divide it unlike twist bones do.
        """
        if (start, end) not in self._segments:
            points = self.path.points[start : end + 1]
            self._segments[start, end] = _beside_line(points), _is_uneven(points)
        return self._segments[start, end]

    def turn(self, place: int, before: int) -> float:
        """The angle between the way into a point and the way on from it, radians."""
        points = self.path.points
        into, on = points[place] - points[before], points[place + 1] - points[place]
        size = self.apart[place][before] * self.apart[place][place + 1]
        return float(np.arccos(np.clip(into @ on / size, -1, 1))) if size > 1e-12 else 0.0


_Cost = Callable[[_Measures, int, int, int], float]


def fit_leg(paths: Sequence[BonePath]) -> LimbFit | None:
    """Hip, knee and ankle in the paths of both legs; None where there are too few points."""
    return _fit(paths, _leg_cost)


def fit_arm(paths: Sequence[BonePath], middle: FloatArray) -> LimbFit | None:
    """Shoulder, elbow and wrist in the paths of both arms; `middle` (3,) is between them."""

    def cost(limb: _Measures, first: int, second: int, third: int) -> float:
        return _arm_cost(limb, first, second, third, middle)

    return _fit(paths, cost)


def _fit(paths: Sequence[BonePath], cost: _Cost) -> LimbFit | None:
    count = min(len(path.points) for path in paths)
    limbs = [_Measures(path) for path in paths]
    found: list[tuple[float, tuple[int, int, int]]] = []
    for places in combinations(range(count), 3):
        if any(places[1] >= len(path.bones) for path in paths):
            continue
        costs = [cost(limb, *places) for limb in limbs]
        found.append((sum(costs) / len(costs), places))
    if not found:
        return None
    found.sort()
    best, second = found[0], found[1] if len(found) > 1 else (found[0][0] + 1.0, ())
    return LimbFit(places=best[1], cost=best[0], margin=second[0] - best[0])


def _beside_line(points: FloatArray) -> float:
    along = points[-1] - points[0]
    length = float(np.linalg.norm(along))
    if length < 1e-12:
        return 1.0
    between = points[1:-1] - points[0]
    off = between - np.outer(between @ along, along) / length**2
    return float(np.linalg.norm(off, axis=-1).max(initial=0.0)) / length


def _is_uneven(points: FloatArray) -> bool:
    parts = np.linalg.norm(np.diff(points, axis=0), axis=-1)
    return bool(parts.min() < 0.5 * parts.mean())


def _segments_cost(limb: _Measures, first: int, second: int, third: int) -> float:
    """What both kinds of limb have in common."""
    upper, lower = limb.apart[first][second], limb.apart[second][third]
    if min(upper, lower) < 1e-9:
        return 9.0
    cost = 1.2 * max(0.0, abs(log(upper / lower)) - _USUAL_DIFFERENCE)
    for beside, uneven in (limb.segment(first, second), limb.segment(second, third)):
        cost += 3.0 * beside + 0.4 * uneven
    cost += 2.0 * max(0.0, 0.8 - limb.apart[first][third] / (upper + lower))
    # Skipped points are twist bones, which is a weaker reading than having none.
    return cost + 0.05 * (third - first - 2)


def _leg_cost(limb: _Measures, hip: int, knee: int, ankle: int) -> float:
    path, cost = limb.path, _segments_cost(limb, hip, knee, ankle)
    last, leg = len(path.points) - 1, max(limb.length(hip, ankle), 1e-9)
    # A bone from the pelvis to the hip is short.
    cost += 1.2 * limb.length(0, hip) / leg
    if ankle == last:
        return cost + 0.5  # no foot that could show where the ankle is
    cost += max(0.0, _FOOT_TURN - limb.turn(ankle, knee))
    cost += 2.0 * max(0.0, limb.length(ankle, last) / leg - 0.5)
    # Points before the ankle go on straight; a turn there would be the ankle itself.
    for place in range(hip + 1, ankle):
        cost += max(0.0, limb.turn(place, place - 1) - _STRAIGHT_ON)
    # Five fingers on a leg make it an arm; toes are single bones.
    if path.fans[min(ankle, len(path.fans) - 1)] >= 3:
        cost += 0.3
    return cost


def _arm_cost(limb: _Measures, shoulder: int, elbow: int, wrist: int, middle: FloatArray) -> float:
    path, cost = limb.path, _segments_cost(limb, shoulder, elbow, wrist)
    upper, lower = max(limb.apart[shoulder][elbow], 1e-9), max(limb.apart[elbow][wrist], 1e-9)
    cost += max(0.0, limb.length(0, shoulder) / upper - 0.9)
    if shoulder == 0:
        # An arm that starts at the spine starts with a collar bone.
        beside = float(np.linalg.norm(path.points[0] - middle)) / upper
        cost += 2.0 * max(0.0, 0.45 - beside)
    if wrist >= len(path.bones):
        return cost + 0.25  # no hand: the forearm's end is the wrist
    if wrist + 1 < len(path.points):
        hand = limb.length(wrist, len(path.points) - 1) / lower
        cost += 2.0 * max(0.0, hand - _LONGEST_FINGERS)
        cost += 2.0 * max(0.0, limb.apart[wrist][wrist + 1] / lower - _LONGEST_HAND)
    else:
        cost += 0.15
    return cost + _fingers_cost(path.fans, elbow, wrist)


def _fingers_cost(fans: tuple[int, ...], elbow: int, wrist: int) -> float:
    """What branches off: fingers at the hand, and before it nothing but single helper bones."""
    cost = 0.4 * sum(1 for fan in fans[elbow + 1 : wrist] if fan >= 2)
    if fans[wrist] >= 2:
        return cost - (0.5 if fans[wrist] >= 3 else 0.3)
    if max(fans[wrist:], default=0) >= 3:
        # Fingers leave the palm, one bone after the wrist.
        return cost - (0.2 if max(fans[wrist : wrist + 2]) >= 3 else -0.3)
    return cost
