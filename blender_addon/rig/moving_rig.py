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

    Bones that are not in `rotations` stay at rest relative to their parents.
    """

    rig: TargetRig
    space: FigureSpace
    rotations: dict[int, FloatArray]  # bone -> (T, 3, 3), figure space
    location_bone: int
    translation: FloatArray  # (T, 3) of the location bone's head away from its rest place
    heads: dict[int, FloatArray] = field(default_factory=dict[int, FloatArray])  # (T, 3)

    def moving_parent(self, bone: int) -> int:
        """The nearest ancestor that moves, -1 for none."""
        parent = int(self.rig.parents[bone])
        while parent >= 0 and parent not in self.rotations:
            parent = int(self.rig.parents[parent])
        return parent

    def inherited_rotation(self, bone: int) -> FloatArray:
        """The rotation (T, 3, 3) that the bone has from its ancestors, figure space."""
        chain, stop = bone, self.moving_parent(bone)
        while chain >= 0 and chain != stop:
            if not self.rig.inherits_rotation[chain]:
                stop = -1
            chain = int(self.rig.parents[chain])
        if stop < 0:
            return np.broadcast_to(np.eye(3), (len(self.translation), 3, 3))
        return self.rotations[stop]

    def rest_head(self, bone: int) -> FloatArray:
        """The bone's head (3,) at rest."""
        return self.space.from_armature(self.rig.heads[bone])

    def point(self, bone: int, rest_point: FloatArray) -> FloatArray:
        """Where a point (3,) fixed to a moving bone is, (T, 3)."""
        offset = rest_point - self.rest_head(bone)
        return self.head(bone) + self.rotations[bone] @ offset

    def head(self, bone: int) -> FloatArray:
        """Where the head of a moving bone is, (T, 3)."""
        if bone not in self.heads:
            self.heads[bone] = self._find_head(bone)
        return self.heads[bone]

    def _find_head(self, bone: int) -> FloatArray:
        parent, rest = self.moving_parent(bone), self.rest_head(bone)
        head = np.broadcast_to(rest, self.translation.shape)
        if parent >= 0:
            head = self.point(parent, rest)
        return head + self.translation if bone == self.location_bone else head

    def move_by(self, offset: FloatArray) -> None:
        """Move the whole figure by (T, 3)."""
        self.translation = self.translation + offset
        self.heads.clear()

    def turn(self, rotations: Mapping[int, FloatArray]) -> None:
        """Replace rotations of bones."""
        self.rotations.update(rotations)
        self.heads.clear()
