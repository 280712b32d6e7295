"""The rig while it moves: rotations of its bones, and where their heads are then.

Figure space (see blender_addon.rig). Shape letters: T frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from .rotations import FloatArray
from .target_rig import FigureSpace, TargetRig


@dataclass(kw_only=True, eq=False)
class MovingRig:
    """Bones that move, each with its rotation away from the rest pose.

    Bones that are not in `rotations` stay at rest relative to what carries them.
    """

    rig: TargetRig
    space: FigureSpace
    num_frames: int
    rotations: dict[int, FloatArray]  # bone -> (T, 3, 3), figure space
    placed: dict[int, FloatArray]  # bone -> (T, 3) of its head, keyed as a location
    # Bones that hang on nothing that moves, and the bone that they go along with all the same.
    islands: dict[int, int] = field(default_factory=dict[int, int])
    _heads: dict[int, FloatArray] = field(default_factory=dict[int, FloatArray])

    def moving_parent(self, bone: int) -> int:
        """The nearest carrier that moves, -1 for none."""
        parent = self.rig.carrier(bone)
        while parent >= 0 and parent not in self.rotations:
            parent = self.rig.carrier(parent)
        return parent

    def inherited_rotation(self, bone: int) -> FloatArray:
        """The rotation (T, 3, 3) that the bone has from what carries it, figure space."""
        if not self.rig.inherits_rotation[bone]:
            return self._unturned()
        return self.carrier_rotation(bone)

    def carrier_rotation(self, bone: int) -> FloatArray:
        """The rotation (T, 3, 3) of what carries the bone, whether it inherits that or not."""
        carrier = self.rig.carrier(bone)
        while carrier >= 0:
            if carrier in self.rotations:
                return self.rotations[carrier]
            if not self.rig.inherits_rotation[carrier]:
                break
            carrier = self.rig.carrier(carrier)
        return self._unturned()

    def _unturned(self) -> FloatArray:
        return np.broadcast_to(np.eye(3), (self.num_frames, 3, 3))

    def rest_head(self, bone: int) -> FloatArray:
        """The bone's head (3,) at rest."""
        return self.space.from_armature(self.rig.heads[bone])

    def point(self, bone: int, rest_point: FloatArray) -> FloatArray:
        """Where a point (3,) fixed to a moving bone is, (T, 3)."""
        offset = rest_point - self.rest_head(bone)
        return self.head(bone) + self.rotations[bone] @ offset

    def head(self, bone: int) -> FloatArray:
        """Where the head of a moving bone is, (T, 3)."""
        if bone not in self._heads:
            self._heads[bone] = self._find_head(bone)
        return self._heads[bone]

    def _find_head(self, bone: int) -> FloatArray:
        if bone in self.placed:
            return self.placed[bone]
        if bone in self.islands:
            return self.point(self.islands[bone], self.rest_head(bone))
        return self.inherited_head(bone)

    def inherited_head(self, bone: int) -> FloatArray:
        """Where the bone's head (T, 3) would be without location keys of its own."""
        return self._carried(self.rig.carrier(bone), self.rest_head(bone))

    def _carried(self, carrier: int, rest_point: FloatArray) -> FloatArray:
        """Where a point (3,) is that goes along with a bone, which may keep still itself."""
        if carrier < 0:
            return np.broadcast_to(rest_point, (self.num_frames, 3))
        if carrier in self.rotations:
            return self.point(carrier, rest_point)
        if self.rig.inherits_rotation[carrier]:
            return self._carried(self.rig.carrier(carrier), rest_point)
        # It keeps its heading, but its head goes along.
        head = self.rest_head(carrier)
        return self._carried(self.rig.carrier(carrier), head) + (rest_point - head)

    def move_by(self, offset: FloatArray) -> None:
        """Move the whole figure by (T, 3)."""
        self.place({bone: head + offset for bone, head in self.placed.items()})

    def place(self, heads: Mapping[int, FloatArray]) -> None:
        """Put heads (T, 3) of bones that carry a location."""
        self.placed.update(heads)
        self._heads.clear()

    def turn(self, rotations: Mapping[int, FloatArray]) -> None:
        """Replace rotations of bones, or let bones move that did not."""
        self.rotations.update(rotations)
        self._heads.clear()
