"""An animated rig as a motion to retarget: any armature or BVH whose bones were recognised.

What counts is how each bone turns away from the rig's own rest pose. Some files have no rest pose
that stands (each bone lies along an axis of its parent): there a frame of the motion takes its
place.

Shape letters: T frames, N bones of the rig, J joints of the motion.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from .bone_match import BoneMatch, RigError
from .foot_contacts import find_contacts, find_floor, standing_heights
from .rotations import FloatArray, angle_about_y, frame_from, unit
from .source_motion import SIDES, SourceMotion
from .target_figure import leg_length, read_figure
from .target_rig import TargetRig, find_figure_space

# What a rig without a unit is made to be: the legs of a body of 1.75 m, hip to ankle.
BODY_LEG_LENGTH = 0.82
# A rest pose stands when its legs go the other way from its trunk, within 60 degrees, and hips
# and shoulders the same way.
_STANDING_COSINE = 0.5
# Ends of limbs that a rig may lack bones for: the joint whose bone has them, the figure's point.
_ENDS = {"foot": ("ankle", "toe"), "wrist": ("elbow", "hand_end")}
# How far the floor of a recording may be off, metres for a body of 1.75 m.
_FLOOR_NOISE = 0.15
_LEVEL_SHARE = 0.04  # of a leg: how much higher one foot may be when both stand


class SourceError(ValueError):
    """A source of motion that can't be used; the message says why, for the user."""


@dataclass(frozen=True, kw_only=True, eq=False)
class AnimatedRig:
    """A rig and its poses. The rig's rest pose and the poses are in the same armature space."""

    rig: TargetRig
    poses: FloatArray  # (T, N, 4, 4) bone to armature space
    fps: float
    has_unit: bool = True  # off: the armature's unit is unknown, not metres by its object matrix
    has_own_rest: bool = True  # off: the rest pose was made out of poses

    @property
    def num_frames(self) -> int:
        """T."""
        return len(self.poses)

    def only(self, bones: Sequence[str]) -> AnimatedRig:
        """The same with some bones only; each hangs on its nearest ancestor among them."""
        rig = self.rig
        kept = [index for index, name in enumerate(rig.bone_names) if name in set(bones)]
        place = {bone: new for new, bone in enumerate(kept)}
        parents: list[int] = []
        for bone in kept:
            parent = int(rig.parents[bone])
            while parent >= 0 and parent not in place:
                parent = int(rig.parents[parent])
            parents.append(place.get(parent, -1))
        part = replace(
            rig,
            bone_names=tuple(rig.bone_names[bone] for bone in kept),
            parents=np.array(parents, dtype=np.int32),
            rest_matrices=rig.rest_matrices[kept],
            tails=rig.tails[kept],
            inherits_rotation=rig.inherits_rotation[kept],
            has_local_location=rig.has_local_location[kept],
            rotation_modes=tuple(rig.rotation_modes[bone] for bone in kept),
            carriers={},  # the poses have what constraints did
            connected=frozenset(),
            deforming=None,
            constrained={},
        )
        return replace(self, rig=part, poses=self.poses[:, kept])


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadSource:
    """A motion that was read from an animated rig, and what the user should know of it."""

    motion: SourceMotion
    match: BoneMatch
    notes: tuple[str, ...] = ()


def read_source(animated: AnimatedRig, find: Callable[[TargetRig], BoneMatch]) -> ReadSource:
    """Recognise an animated rig and take its motion.

    Args:
        animated: the rig and its poses.
        find: recognises a rig, or raises RigError.

    Raises:
        RigError: its bones are not known.
        SourceError: its legs have no length.
    """
    try:
        match = find(animated.rig)
    except RigError:
        # Where no rest pose stands the places of bones tell only in a frame of the motion.
        posed = replace(animated.rig, rest_matrices=animated.poses[0])
        match = find(posed)
    notes: list[str] = []
    if not has_standing_rest(animated.rig, match):
        animated = with_rest_from_motion(animated, match)
        with contextlib.suppress(RigError):  # surer, now that the shape agrees with the names
            match = find(animated.rig)
        notes.append("The source has no rest pose that stands: its own poses took the place of one")
    return ReadSource(motion=motion_of_rig(animated, match), match=match, notes=tuple(notes))


def motion_of_rig(animated: AnimatedRig, match: BoneMatch) -> SourceMotion:
    """The motion of a rig whose rest pose stands, by the bones of a match.

    Raises:
        RigError: the match lacks joints that a body needs.
        SourceError: legs without a length.
    """
    missing = match.missing_joints()
    if missing:
        raise RigError(f"The source has no bones for {', '.join(missing)}")
    figure = _Figure(animated, match)
    names = figure.joint_names
    rest = np.stack([figure.rest_point(joint) for joint in names])
    leg = leg_length(dict(zip(names, rest, strict=True)))
    if not leg > 0:
        raise SourceError("The legs of the source have no length in its rest pose")
    rotations = np.stack([figure.turn(joint) for joint in names], axis=1)
    positions = np.stack([figure.point(joint) for joint in names], axis=1)
    scale = 1.0 if animated.has_unit else BODY_LEG_LENGTH / leg
    feet = [names.index(f"{side}_{part}") for side in SIDES for part in ("ankle", "foot")]
    rest, positions, size = rest * scale, positions * scale, leg * scale / BODY_LEG_LENGTH
    standing = rest[feet, 1]
    if not animated.has_own_rest:
        standing = standing_heights(positions[:, feet], animated.fps, size)
    floor = find_floor(positions[:, feet], standing, animated.fps, size)
    is_far = floor is not None and abs(floor) > _FLOOR_NOISE * size
    if animated.has_unit and (floor is None or (is_far and figure.stands_on_origin)):
        floor = 0.0  # it swims, jumps or climbs: the rest pose tells where the floor is
    elif floor is None:
        floor = float((positions[:, feet, 1] - standing).min())
    positions[..., 1] -= floor
    return SourceMotion(
        fps=animated.fps,
        joint_names=names,
        positions=positions,
        rotations=rotations,
        rest=rest,
        contacts=find_contacts(positions[:, feet], standing, animated.fps, size),
    )


def has_standing_rest(rig: TargetRig, match: BoneMatch) -> bool:
    """Whether the rest pose is one of a standing figure: legs down, left and right apart."""
    points = {joint: rig.heads[rig.index[bone]] for joint, bone in match.bones.items()}
    trunk, legs, across = _trunk_and_legs(points)
    shoulders = points["left_shoulder"] - points["right_shoulder"]
    steps = [
        points[f"{side}_{lower}"] - points[f"{side}_{upper}"]
        for side in SIDES
        for upper, lower in (("hip", "knee"), ("knee", "ankle"))
    ]
    cosines = [
        *(float(unit(-step) @ unit(trunk)) for step in (legs, *steps)),
        float(unit(across) @ unit(shoulders)),
        1.0 - abs(float(unit(across) @ unit(trunk))),
    ]
    return min(cosines) > _STANDING_COSINE


def with_rest_from_motion(animated: AnimatedRig, match: BoneMatch) -> AnimatedRig:
    """The same motion of a rig whose rest pose is made of its poses, facing ahead.

    The body is as in the most upright frame. Unless it stands on both feet there, each foot is as
    in the frame in which it is lowest.
    """
    rig = animated.rig
    world = _rotation_part(rig.object_matrix[:3, :3])
    points = {
        joint: animated.poses[:, rig.index[bone], :3, 3] @ world.T
        for joint, bone in match.bones.items()
    }
    best = int(np.argmax(_uprightness(points)))
    rest = _facing_ahead(animated, match, best)
    feet = [(rig.index[match.bones[f"{s}_ankle"]], _toe_bone(rig, match, s)) for s in SIDES]
    heights = animated.poses[:, feet][..., :3, 3] @ world[2]  # (T, 2, 2) of ankle and toe by side
    leg = float(np.linalg.norm(_trunk_and_legs(points)[1][best]))
    if np.abs(heights[best, 0] - heights[best, 1]).max() > _LEVEL_SHARE * leg:
        for side, (ankle, _) in enumerate(feet):
            lowest = int(np.argmin(heights[:, side].sum(axis=-1)))
            planted = _facing_ahead(animated, match, lowest)
            foot = [bone for bone in range(len(rest)) if rig.is_below(bone, ankle)]
            planted[foot, :3, 3] += rest[ankle, :3, 3] - planted[ankle, :3, 3]
            rest[foot] = planted[foot]
    return replace(animated, rig=_with_rest(rig, rest), has_own_rest=False)


def _toe_bone(rig: TargetRig, match: BoneMatch, side: str) -> int:
    return rig.index[match.bones.get(f"{side}_foot", match.bones[f"{side}_ankle"])]


def _facing_ahead(animated: AnimatedRig, match: BoneMatch, frame: int) -> FloatArray:
    """The pose (N, 4, 4) of a frame, turned about the vertical to face -Y in the world."""
    rig, posed = animated.rig, animated.poses[frame].copy()
    posed[:, :3, :3] = _rotation_of(posed)
    world = _rotation_part(rig.object_matrix[:3, :3])
    facing = world @ find_figure_space(_with_rest(rig, posed), match.bones).rotation
    ahead = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # figure axes of who faces -Y
    heading = float(angle_about_y(ahead.T @ facing))
    posed[:, :3] = world.T @ _turn_about(facing[:, 1], -heading) @ world @ posed[:, :3]
    return posed


def _uprightness(points: dict[str, FloatArray]) -> FloatArray:
    """How upright and how little twisted at the waist a figure is, by frame (T,)."""
    trunk, legs, across = _trunk_and_legs(points)
    shoulders = unit(points["left_shoulder"] - points["right_shoulder"])
    straight = np.sum(unit(across) * shoulders, axis=-1)
    return unit(trunk)[:, 2] - unit(legs)[:, 2] + straight


def _with_rest(rig: TargetRig, rest: FloatArray) -> TargetRig:
    """The rig with other rest matrices; bones keep their lengths."""
    in_bone = np.einsum("nji,nj->ni", rig.rest_matrices[:, :3, :3], rig.tails - rig.heads)
    tails = rest[:, :3, 3] + np.einsum("nij,nj->ni", rest[:, :3, :3], in_bone)
    return replace(rig, rest_matrices=rest, tails=tails)


def _rotation_part(linear: FloatArray) -> FloatArray:
    """The rotation, or reflection, that is nearest to a matrix with scale in it."""
    left, _, right = np.linalg.svd(linear)
    return left @ right


def _turn_about(axis: FloatArray, angle: float) -> FloatArray:
    """The rotation (3, 3) about an axis, by Rodrigues' formula."""
    x, y, z = unit(axis)
    across = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * across + (1 - np.cos(angle)) * across @ across


def _trunk_and_legs(points: dict[str, FloatArray]) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Vectors (..., 3) from hips to shoulders, from hips to ankles, from right to left hip."""
    middle = {
        joint: (points[f"left_{joint}"] + points[f"right_{joint}"]) / 2
        for joint in ("hip", "shoulder", "ankle")
    }
    across = points["left_hip"] - points["right_hip"]
    return middle["shoulder"] - middle["hip"], middle["ankle"] - middle["hip"], across


def _rotation_of(matrices: FloatArray) -> FloatArray:
    """Rotations (..., 3, 3) of matrices (..., 4, 4) with scale in them; the bone's axis counts."""
    frames = frame_from(matrices[..., :3, 1], matrices[..., :3, 2])  # columns y, z, x
    return frames[..., [2, 0, 1]]


class _Figure:
    """Joints of a match in figure space: at rest and in every frame."""

    def __init__(self, animated: AnimatedRig, match: BoneMatch) -> None:
        self._rig = animated.rig
        self._poses = animated.poses
        self._bones = _bones_of(match)
        self._figure = read_figure(animated.rig, match)

    @property
    def stands_on_origin(self) -> bool:
        """Whether the figure at rest stands where the origin of its object is."""
        space = self._figure.space
        origin = self._rig.object_matrix[:3, 3]
        leg = leg_length(self._figure.points)
        return bool(abs(space.axes[:, 1] @ (space.ground - origin)) < 1e-3 * leg)

    @cached_property
    def joint_names(self) -> tuple[str, ...]:
        """All joints that the match has, and the ends of arms and legs in any case."""
        ends = [f"{side}_{joint}" for side in SIDES for joint in _ENDS]
        return (*self._bones, *(joint for joint in ends if joint not in self._bones))

    def rest_point(self, joint: str) -> FloatArray:
        """(3,) at rest."""
        if joint in self._bones:
            head = self._rig.heads[self._rig.index[self._bones[joint]]]
            return self._figure.space.from_armature(head)
        side, end = joint.split("_")
        return self._figure.points[f"{side}_{_ENDS[end][1]}"]

    def point(self, joint: str) -> FloatArray:
        """(T, 3)."""
        space, bone = self._figure.space, self._bone(joint)
        rest = [*space.to_armature(self.rest_point(joint)), 1.0]
        in_bone = np.linalg.inv(self._rig.rest_matrices[bone]) @ rest
        return space.from_armature((self._poses[:, bone] @ in_bone)[:, :3])

    def turn(self, joint: str) -> FloatArray:
        """(T, 3, 3) away from the rest pose."""
        bone = self._bone(joint)
        turned = _rotation_of(self._poses[:, bone]) @ self._rig.rest_matrices[bone, :3, :3].T
        return self._figure.space.rotations_from_armature(turned)

    def _bone(self, joint: str) -> int:
        """The joint's bone; a foot without toes and an arm without a hand end in their last."""
        if joint not in self._bones:
            side, end = joint.split("_")
            joint = f"{side}_{_ENDS[end][0]}"
        return self._rig.index[self._bones[joint]]


def _bones_of(match: BoneMatch) -> dict[str, str]:
    """Bones by the joint names of a motion, chains numbered."""
    spine = {f"spine{number}": bone for number, bone in enumerate(match.spine, 1)}
    neck = {f"neck{number if number > 1 else ''}": b for number, b in enumerate(match.neck, 1)}
    return {**match.bones, **spine, **neck}
