"""The bones of a rig as a tree of points, for finding limbs by their shape alone.

Armature space. Shape letters: N bones, P points of one path.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np

from .rotations import FloatArray
from .target_rig import TargetRig

_SAME_PLACE = 2e-3  # of the rig's size: heads that are nearer stand for one point
_SHORTEST_LIMB = 0.12  # of the rig's size
_TWIN_TOLERANCE = 0.12  # difference of lengths between a left and a right limb
_LEAST_ALIKE = 0.35  # of the longer one: how far two branches must be alike
_SHORTEST_BRANCH = 8e-3  # of the rig's size: shorter ones are helpers, not fingers
_LEAST_DEFORMING = 12  # fewer deforming bones than this are no body, or the flags say nothing


@dataclass(frozen=True, kw_only=True, eq=False)
class BonePath:
    """A way down the tree, without bones that start where the one before does."""

    bones: tuple[int, ...]
    points: FloatArray  # (P, 3) heads, and where it is known the end of the last bone
    fans: tuple[int, ...]  # by bone: how many branches of several bones leave it

    @property
    def has_end(self) -> bool:
        """Whether the last point is the end of the last bone."""
        return len(self.points) > len(self.bones)


@dataclass(frozen=True, kw_only=True, eq=False)
class TwinPair:
    """Two branches of one bone that are alike: legs, arms, but also skirts, wings and hair."""

    junction: int  # the bone that both leave
    paths: tuple[BonePath, BonePath]
    length: float  # mean of both
    is_whole: bool  # alike to the end; else only as far as the paths go


@dataclass(frozen=True, eq=False)
class BoneTree:
    """A rig's bones by parent; those that no mesh follows are left out where that is known."""

    rig: TargetRig
    with_all: bool = False  # bones that no mesh follows too

    @cached_property
    def used(self) -> frozenset[int]:
        """The bones that count."""
        deforming = self.rig.deforming
        if self.with_all or deforming is None or len(deforming) < _LEAST_DEFORMING:
            return frozenset(range(len(self.rig.bone_names)))
        return frozenset(deforming)

    @cached_property
    def parents(self) -> dict[int, int]:
        """Bone -> the nearest bone above that counts, -1 for none."""
        parents: dict[int, int] = {}
        for bone in self.used:
            parent = int(self.rig.parents[bone])
            while parent >= 0 and parent not in self.used:
                parent = int(self.rig.parents[parent])
            parents[bone] = parent
        return parents

    @cached_property
    def children(self) -> dict[int, list[int]]:
        """Bone -> its branches, in the rig's order; -1 has the roots."""
        children: dict[int, list[int]] = {bone: [] for bone in (-1, *self.used)}
        for bone in sorted(self.used):
            children[self.parents[bone]].append(bone)
        return children

    @cached_property
    def size(self) -> float:
        """How large the rig is: the diagonal of the box around all heads."""
        heads = self.rig.heads[sorted(self.used)]
        return float(np.linalg.norm(heads.max(axis=0) - heads.min(axis=0))) if len(heads) else 0.0

    @cached_property
    def _reach(self) -> dict[int, tuple[float, int]]:
        """Bone -> length of the longest way down from its head, and the branch it takes."""
        reach: dict[int, tuple[float, int]] = {}
        for bone in sorted(self.used, reverse=True):  # children come after their parents
            reach[bone] = max(
                (
                    (self.distance(bone, child) + reach[child][0], child)
                    for child in self.children[bone]
                ),
                default=(0.0, -1),
                key=lambda way: way[0],
            )
        return reach

    def distance(self, a: int, b: int) -> float:
        """Between the heads of two bones."""
        return float(np.linalg.norm(self.rig.heads[a] - self.rig.heads[b]))

    def reach(self, bone: int) -> float:
        """Length of the longest way down from a bone's head."""
        return self._reach[bone][0]

    def ancestors(self, bone: int) -> Iterator[int]:
        """The bones above, nearest first."""
        bone = self.parents[bone]
        while bone >= 0:
            yield bone
            bone = self.parents[bone]

    def is_below(self, bone: int, ancestor: int) -> bool:
        """Whether a bone is another one or hangs on it."""
        return bone == ancestor or ancestor in self.ancestors(bone)

    def depth(self, bone: int) -> int:
        """How many bones are above."""
        return sum(1 for _ in self.ancestors(bone))

    def path_between(self, top: int, bottom: int) -> tuple[int, ...]:
        """The bones below `top` down to `bottom`, which is the last; empty if it isn't below."""
        path = [bottom]
        for bone in self.ancestors(bottom):
            if bone == top:
                return tuple(reversed(path))
            path.append(bone)
        return ()

    def common_ancestor(self, a: int, b: int) -> int:
        """The lowest bone that both hang on or are, -1 for none."""
        above = {a, *self.ancestors(a)}
        return next((bone for bone in (b, *self.ancestors(b)) if bone in above), -1)

    def longest_path(self, bone: int) -> BonePath:
        """The longest way down from a bone."""
        bones, points = [bone], [self.rig.heads[bone]]
        fans = [self._fan(bone)]
        while self._reach[bone][1] >= 0:
            bone = self._reach[bone][1]
            if np.linalg.norm(self.rig.heads[bone] - points[-1]) < _SAME_PLACE * self.size:
                fans[-1] = max(fans[-1], self._fan(bone))
                continue
            bones.append(bone)
            points.append(self.rig.heads[bone])
            fans.append(self._fan(bone))
        tail = self.rig.tails[bone]
        last = float(np.linalg.norm(tail - points[-1]))
        before = float(np.linalg.norm(points[-1] - points[-2])) if len(points) > 1 else 0.0
        # Importers that don't know where a last bone ends make something up.
        if 0.1 * before < last < 1.2 * before:
            points.append(tail)
        return BonePath(bones=tuple(bones), points=np.array(points), fans=tuple(fans))

    def _fan(self, bone: int) -> int:
        shortest = _SHORTEST_BRANCH * self.size
        return sum(1 for child in self.children[bone] if self.reach(child) > shortest)

    @cached_property
    def twin_pairs(self) -> tuple[TwinPair, ...]:
        """All pairs of branches that are alike and long enough for a limb."""
        shortest = _SHORTEST_LIMB * self.size
        pairs: list[TwinPair] = []
        for junction, children in self.children.items():
            limbs = [child for child in children if self.reach(child) >= shortest]
            paths = [self.longest_path(child) for child in limbs]
            for a, b in combinations(paths, 2):
                twins = self._twins(a, b)
                if twins is not None:
                    length = sum(float(_lengths(path).sum()) for path in twins) / 2
                    reach = [self.reach(path.bones[0]) for path in (a, b)]
                    is_whole = abs(reach[0] - reach[1]) < 1.5 * _TWIN_TOLERANCE * max(reach)
                    pairs.append(
                        TwinPair(junction=junction, paths=twins, length=length, is_whole=is_whole)
                    )
        return tuple(pairs)

    def _twins(self, a: BonePath, b: BonePath) -> tuple[BonePath, BonePath] | None:
        """Both paths as far as they are alike; None if that isn't most of them.

        A sword in one hand makes that side's longest way down leave the arm at the hand.
        """
        lengths = [_lengths(path) for path in (a, b)]
        longest = max(float(part.sum()) for part in lengths)
        count = min(len(part) for part in lengths)
        unlike = np.abs(lengths[0][:count] - lengths[1][:count]) > _TWIN_TOLERANCE * longest
        alike = int(np.argmax(unlike)) if unlike.any() else count
        matched = min(float(part[:alike].sum()) for part in lengths)
        if matched < _LEAST_ALIKE * longest or matched < _SHORTEST_LIMB * self.size:
            return None
        if alike < count:
            a, b = _cut(a, alike + 1), _cut(b, alike + 1)
        elif len(lengths[0]) != len(lengths[1]):  # a sword lengthens one arm
            a, b = (
                path if len(path.bones) == count + 1 else _cut(path, count + 1) for path in (a, b)
            )
        apart = np.linalg.norm(a.points[[0, -1]] - b.points[[0, -1]], axis=-1)
        return (a, b) if float(apart.max()) > 10 * _SAME_PLACE * self.size else None


def _cut(path: BonePath, count: int) -> BonePath:
    """The first bones of a path."""
    return BonePath(bones=path.bones[:count], points=path.points[:count], fans=path.fans[:count])


def _lengths(path: BonePath) -> FloatArray:
    points = path.points[: len(path.bones)]
    return np.linalg.norm(np.diff(points, axis=0), axis=-1)
