"""What the retargeting needs to know of a rig, and the space that it works in.

Armature space is Blender's: the armature's own axes and units. Figure space is described in
blender_addon.rig; it has y up like the motion. This is the one place that turns one into the other.

Shape letters: N bones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from .rotations import FloatArray, length, unit

# The figure stands upright in the world unless its rest pose leans further than this: then the
# user has laid the object down, and the motion lies with it.
_MAX_LEAN_COSINE = float(np.cos(np.radians(40.0)))
# Heights over the floor against the length of a leg, where the rig doesn't tell.
_TOE_HEIGHT, _ANKLE_HEIGHT = 0.02, 0.1


@dataclass(frozen=True, kw_only=True, eq=False)
class TargetRig:
    """An armature at rest. Parents come before their children."""

    bone_names: tuple[str, ...]
    parents: npt.NDArray[np.int32]  # (N,) -1 for none
    rest_matrices: FloatArray  # (N, 4, 4) bone to armature space
    tails: FloatArray  # (N, 3) armature space
    inherits_rotation: npt.NDArray[np.bool_]  # (N,)
    has_local_location: npt.NDArray[np.bool_]  # (N,)
    rotation_modes: tuple[str, ...]  # of the pose bones: QUATERNION, AXIS_ANGLE, XYZ ...
    object_matrix: FloatArray  # (4, 4) armature space to world
    # The bone that each goes along with where that isn't its parent (by an Armature constraint).
    carriers: Mapping[int, int] = field(default_factory=dict[int, int])
    connected: frozenset[int] = frozenset()  # bones whose location channels Blender ignores
    deforming: frozenset[int] | None = None  # bones that meshes follow; None: not known
    constrained: Mapping[int, str] = field(default_factory=dict[int, str])  # bone -> constraint

    def carrier(self, bone: int) -> int:
        """The bone that `bone` goes along with, -1 for none."""
        return self.carriers.get(bone, int(self.parents[bone]))

    def is_below(self, bone: int, ancestor: int) -> bool:
        """Whether `bone` goes along with `ancestor`, directly or through others."""
        while bone >= 0 and bone != ancestor:
            bone = self.carrier(bone)
        return bone >= 0

    @cached_property
    def index(self) -> dict[str, int]:
        """Bone name to its index."""
        return {name: i for i, name in enumerate(self.bone_names)}

    @property
    def heads(self) -> FloatArray:
        """(N, 3) armature space."""
        return self.rest_matrices[:, :3, 3]


@dataclass(frozen=True, kw_only=True, eq=False)
class FigureSpace:
    """Figure space of one rig: point = to_figure @ (armature_point - origin)."""

    to_figure: FloatArray  # (3, 3) with the object's scale
    origin: FloatArray  # (3,) armature space
    rotation: FloatArray  # (3, 3) orthogonal; figure axes as columns in armature space
    axes: FloatArray  # (3, 3) orthogonal; figure axes as columns in world space
    ground: FloatArray  # (3,) the origin of figure space in the world

    def from_armature(self, points: FloatArray) -> FloatArray:
        """Points (..., 3) of armature space to figure space."""
        return (points - self.origin) @ self.to_figure.T

    def to_armature(self, points: FloatArray) -> FloatArray:
        """Points (..., 3) of figure space to armature space."""
        return points @ np.linalg.inv(self.to_figure).T + self.origin

    def to_world(self, points: FloatArray) -> FloatArray:
        """Points (..., 3) of figure space to the world."""
        return points @ self.axes.T + self.ground

    def from_world(self, points: FloatArray) -> FloatArray:
        """Points (..., 3) of the world to figure space."""
        return (points - self.ground) @ self.axes

    def rotations_to_armature(self, rotations: FloatArray) -> FloatArray:
        """Rotations (..., 3, 3) that act in figure space, as they act in armature space."""
        return self.rotation @ rotations @ self.rotation.T

    def rotations_from_armature(self, rotations: FloatArray) -> FloatArray:
        """Rotations (..., 3, 3) that act in armature space, as they act in figure space."""
        return self.rotation.T @ rotations @ self.rotation


def find_figure_space(rig: TargetRig, bones: Mapping[str, str]) -> FigureSpace:
    """Find where the character faces and stands, from the rest pose and the object's matrix."""
    linear, world_origin = rig.object_matrix[:3, :3], rig.object_matrix[:3, 3]
    world = {j: rig.heads[rig.index[b]] @ linear.T + world_origin for j, b in bones.items()}
    turn = _orthogonal_part(linear)
    axes = _figure_axes(world, turn, _toe_direction(rig, bones) @ linear.T)
    up = axes[:, 1]
    hips = (world["left_hip"] + world["right_hip"]) / 2
    floor = _floor_height(rig, bones, up)
    ground = hips + up * (floor - hips @ up)
    to_armature = np.linalg.inv(linear)
    return FigureSpace(
        to_figure=axes.T @ linear,
        origin=to_armature @ (ground - world_origin),
        rotation=turn.T @ axes,
        axes=axes,
        ground=ground,
    )


def _orthogonal_part(linear: FloatArray) -> FloatArray:
    """The rotation, or reflection, that is nearest to a matrix with scale in it."""
    left, _, right = np.linalg.svd(linear)
    return left @ right


def _figure_axes(
    world: Mapping[str, FloatArray], turn: FloatArray, toe_direction: FloatArray
) -> FloatArray:
    """Axes left, up and forward of the standing character, as columns in world space."""
    shoulders = (world["left_shoulder"] + world["right_shoulder"]) / 2
    lean = unit(shoulders - (world["left_ankle"] + world["right_ankle"]) / 2)
    up = np.array([0.0, 0.0, 1.0])
    if lean @ up < _MAX_LEAN_COSINE:
        candidates = np.concatenate([turn.T, -turn.T])
        up = candidates[np.argmax(candidates @ lean)]
    left = unit(world["left_hip"] - world["right_hip"])
    left = left + unit(world["left_shoulder"] - world["right_shoulder"])
    left = unit(left - up * (left @ up))
    forward = np.cross(left, up)
    # An object scaled by a negative number has its left bones on the right: then the whole
    # motion is mirrored with it.
    if np.linalg.det(turn) < 0 and toe_direction @ forward < 0:
        forward = -forward
    return np.stack([left, up, forward], axis=-1)


def _toe_direction(rig: TargetRig, bones: Mapping[str, str]) -> FloatArray:
    direction = np.zeros(3)
    for side in ("left", "right"):
        toe = toe_point(rig, bones, side)
        if toe is not None:
            direction = direction + toe - rig.heads[rig.index[bones[f"{side}_ankle"]]]
    return direction


def toe_point(rig: TargetRig, bones: Mapping[str, str], side: str) -> FloatArray | None:
    """Where the toes bend, in armature space: the toe's bone, else the end of the foot's.

    None where the foot's end can't be told: importers give bones without children any length.
    """
    if f"{side}_foot" in bones:
        return rig.heads[rig.index[bones[f"{side}_foot"]]]
    hip, knee, ankle = (rig.index[bones[f"{side}_{j}"]] for j in ("hip", "knee", "ankle"))
    leg = length(rig.heads[knee] - rig.heads[hip]) + length(rig.heads[ankle] - rig.heads[knee])
    return end_point(rig, ankle, shortest=0.06 * float(leg[0]), longest=0.5 * float(leg[0]))


def end_point(rig: TargetRig, bone: int, *, shortest: float, longest: float) -> FloatArray | None:
    """Where a bone (3,) ends: its tail, or the head of a child; armature space.

    shortest, longest: distances from its head that are believed; None where no end has one.
    """
    children = np.flatnonzero(rig.parents == bone)
    for end in (rig.tails[bone], *rig.heads[children]):
        if shortest <= float(np.linalg.norm(end - rig.heads[bone])) <= longest:
            return end
    return None


def _floor_height(rig: TargetRig, bones: Mapping[str, str], up: FloatArray) -> float:
    """Height of the floor under the rest pose along the world direction `up`.

    Characters stand on the origin of their object; where that can't be (it is at the hips, or far
    below), the lowest point of the feet tells.
    """
    linear, world_origin = rig.object_matrix[:3, :3], rig.object_matrix[:3, 3]
    feet = [rig.heads[rig.index[bones[j]]] for j in ("left_ankle", "right_ankle")]
    toes = [toe_point(rig, bones, side) for side in ("left", "right")]
    feet += [toe for toe in toes if toe is not None]
    lowest = min(float((point @ linear.T + world_origin) @ up) for point in feet)
    hips = rig.heads[rig.index[bones["left_hip"]]] @ linear.T + world_origin
    leg = float(hips @ up) - lowest
    origin = float(world_origin @ up)
    if -0.03 * leg <= lowest - origin <= 0.15 * leg:
        return origin
    sole = _TOE_HEIGHT if len(feet) > 2 else _ANKLE_HEIGHT
    return lowest - sole * leg
