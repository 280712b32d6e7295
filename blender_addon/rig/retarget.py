"""Retarget: from the joints of a motion to the bones of a rig.

In this order: the motion's rotations by forward kinematics, aligned with the rig's rest pose;
the hips at their height by the length of the legs; feet planted where the motion says that they
stand; everything as the channels that Blender keys. No loop over frames.

Shape letters: T frames, J joints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..protocol import JobResult
from .bone_maps import BoneMatch, RigError
from .channels import BoneKeys, make_keys
from .foot_plants import FootPath, FootPose, plan_foot
from .leg_ik import LegPose, pelvis_drop, solve_leg
from .moving_rig import MovingRig
from .rest_alignment import rest_alignments, rest_frames
from .rotations import FloatArray, quaternion_to_matrix
from .target_rig import FigureSpace, TargetRig, find_figure_space, toe_point

_SIDES = ("left", "right")
_CONTACT_COLUMNS = {"left": [0, 1], "right": [2, 3]}  # ankle, toe
_DROP_SMOOTHING_S = 0.2  # the hips come down for a planted foot over this time, not at once


@dataclass(frozen=True, kw_only=True, eq=False)
class RigMotion:
    """A motion as the keys of one rig, T frames."""

    fps: float
    bone_keys: tuple[BoneKeys, ...]
    properties: tuple[tuple[str, str, float], ...]  # bone, custom property, value
    map_name: str
    unmapped_joints: tuple[str, ...]
    foot_points: Mapping[str, FloatArray]  # left_ankle, left_foot ...: (T, 3) in figure space


@dataclass(frozen=True, kw_only=True, eq=False)
class _Source:
    """The motion by joint: positions (T, 3), and rotations (T, 3, 3) away from the rest pose."""

    positions: dict[str, FloatArray]
    rotations: dict[str, FloatArray]
    rest: dict[str, FloatArray]  # (3,)
    contacts: FloatArray  # (T, 4)
    fps: float


@dataclass(frozen=True, kw_only=True, eq=False)
class _Target:
    """The rig at rest by joint, in figure space."""

    rig: TargetRig
    match: BoneMatch
    space: FigureSpace
    points: dict[str, FloatArray]  # (3,)
    frames: dict[str, FloatArray]  # (3, 3)

    def bone(self, joint: str) -> int:
        """Index of a joint's bone."""
        return self.rig.index[self.match.bones[joint]]


def retarget(
    result: JobResult, rig: TargetRig, match: BoneMatch, *, plant_feet: bool = True
) -> RigMotion:
    """Turn a motion into keys for a rig.

    The figure starts where it stands at rest, and faces where it faces there.

    Raises:
        RigError: the motion lacks joints that a body needs.
    """
    source = _read_source(result)
    target = _read_target(rig, match)
    moving = _turned_rig(source, target)
    _place_hips(moving, source, target)
    if plant_feet:
        _plant_feet(moving, source, target)
    return RigMotion(
        fps=result.fps,
        bone_keys=make_keys(moving, match.still_bones),
        properties=match.properties,
        map_name=match.map_name,
        unmapped_joints=tuple(name for name in result.joint_names if name not in match.bones),
        foot_points=_foot_points(moving, target),
    )


def _read_source(result: JobResult) -> _Source:
    """Forward kinematics of the motion, by joint name."""
    needed = {f"{side}_{j}" for side in _SIDES for j in ("hip", "knee", "ankle", "foot")}
    needed |= {f"{side}_{j}" for side in _SIDES for j in ("shoulder", "elbow", "wrist")}
    missing = sorted((needed | {"pelvis"}) - set(result.joint_names))
    if missing:
        raise RigError(f"The motion has no joints {', '.join(missing)}; use another model")
    local = quaternion_to_matrix(np.asarray(result.local_rotations, dtype=np.float64))
    offsets = np.asarray(result.rest_offsets, dtype=np.float64)
    rotations: list[FloatArray] = []
    positions: list[FloatArray] = []
    rest: list[FloatArray] = []
    for joint, parent in enumerate(result.parents):
        if parent < 0:
            rotations.append(local[:, joint])
            positions.append(np.asarray(result.root_translation, dtype=np.float64))
            rest.append(np.zeros(3))
            continue
        rotations.append(rotations[parent] @ local[:, joint])
        positions.append(positions[parent] + rotations[parent] @ offsets[joint])
        rest.append(rest[parent] + offsets[joint])
    names = result.joint_names
    return _Source(
        positions=dict(zip(names, positions, strict=True)),
        rotations=dict(zip(names, rotations, strict=True)),
        rest=dict(zip(names, rest, strict=True)),
        contacts=np.asarray(result.contacts, dtype=np.float64),
        fps=result.fps,
    )


def _read_target(rig: TargetRig, match: BoneMatch) -> _Target:
    space = find_figure_space(rig, match.bones)
    points = {j: space.from_armature(rig.heads[rig.index[b]]) for j, b in match.bones.items()}
    for side in _SIDES:
        elbow = rig.index[match.bones[f"{side}_elbow"]]
        end = points.get(f"{side}_wrist", space.from_armature(rig.tails[elbow]))
        points[f"{side}_hand_end"] = end
        points[f"{side}_toe"] = space.from_armature(toe_point(rig, match.bones, side))
    return _Target(rig=rig, match=match, space=space, points=points, frames=rest_frames(points))


def _turned_rig(source: _Source, target: _Target) -> MovingRig:
    """The rig with each bone turned as its joint is, in place."""
    source_rest = dict(source.rest)
    for side in _SIDES:
        source_rest[f"{side}_hand_end"] = source.rest[f"{side}_wrist"]
        source_rest[f"{side}_toe"] = source.rest[f"{side}_foot"]
    alignments = rest_alignments(rest_frames(source_rest), target.frames)
    match, index = target.match, target.rig.index
    joints = {bone: joint for joint, bone in match.bones.items()} | dict(match.followers)
    rotations = {
        index[bone]: source.rotations[joint] @ alignments.get(joint, np.eye(3))
        for bone, joint in joints.items()
        if joint in source.rotations
    }
    return MovingRig(
        rig=target.rig,
        space=target.space,
        rotations=rotations,
        location_bone=index[match.location_bone],
        translation=np.zeros_like(source.positions["pelvis"]),
    )


def _place_hips(moving: MovingRig, source: _Source, target: _Target) -> None:
    """Move the figure so that its hips take the motion's path, scaled by the legs' length."""
    scale = leg_length(target.points) / leg_length(source.rest)
    hips = (source.positions["left_hip"] + source.positions["right_hip"]) / 2
    wanted = scale * (hips - hips[0])
    ankle_height = (target.points["left_ankle"][1] + target.points["right_ankle"][1]) / 2
    wanted[:, 1] = ankle_height + scale * (hips[:, 1] - _standing_ankle_height(source))
    found = (moving.head(target.bone("left_hip")) + moving.head(target.bone("right_hip"))) / 2
    moving.move_by(wanted - found)


def leg_length(points: Mapping[str, FloatArray]) -> float:
    """Thigh and shin, the mean of both sides."""
    lengths = [
        float(np.linalg.norm(points[f"{side}_{upper}"] - points[f"{side}_{lower}"]))
        for side in _SIDES
        for upper, lower in (("hip", "knee"), ("knee", "ankle"))
    ]
    return sum(lengths) / 2


def _standing_ankle_height(source: _Source) -> float:
    """How high the motion's ankles are over its floor while they stand on it."""
    heights = [
        source.positions[f"{side}_ankle"][source.contacts[:, column] > 0.5, 1]
        for side, column in (("left", 0), ("right", 2))
    ]
    standing = np.concatenate(heights)
    if len(standing) == 0:  # never stands: the height of the ankle over the toes at rest
        return float(source.rest["left_ankle"][1] - source.rest["left_foot"][1])
    return float(np.median(standing))


def _plant_feet(moving: MovingRig, source: _Source, target: _Target) -> None:
    """Bend the legs so that the feet stay on the floor, and lower the hips where they must be."""
    paths = {side: plan_foot(_foot_pose(moving, source, target, side)) for side in _SIDES}
    drops = [pelvis_drop(_leg_pose(moving, target, side), paths[side].ankle) for side in _SIDES]
    drop = _smooth_from_above(np.maximum(*drops), round(_DROP_SMOOTHING_S * source.fps))
    moving.move_by(drop[:, None] * (0.0, -1.0, 0.0))
    for side, path in paths.items():
        _bend_leg(moving, target, side, path)


def _foot_pose(moving: MovingRig, source: _Source, target: _Target, side: str) -> FootPose:
    ankle = target.bone(f"{side}_ankle")
    contacts = source.contacts[:, _CONTACT_COLUMNS[side]] > 0.5
    return FootPose(
        ankle=moving.head(ankle),
        rotation=moving.rotations[ankle],
        ankle_contact=contacts[:, 0],
        toe_contact=contacts[:, 1],
        ankle_to_toe=target.points[f"{side}_toe"] - target.points[f"{side}_ankle"],
        ankle_height=float(target.points[f"{side}_ankle"][1]),
        fps=source.fps,
        leg_length=leg_length(target.points),
    )


def _leg_pose(moving: MovingRig, target: _Target, side: str) -> LegPose:
    thigh = target.bone(f"{side}_hip")
    return LegPose(
        hip=moving.head(thigh),
        knee=moving.head(target.bone(f"{side}_knee")),
        ankle=moving.head(target.bone(f"{side}_ankle")),
        hinge=moving.rotations[thigh] @ target.frames[f"{side}_hip"][:, 1],
    )


def _bend_leg(moving: MovingRig, target: _Target, side: str, path: FootPath) -> None:
    thigh_turn, shin_turn = solve_leg(_leg_pose(moving, target, side), path.ankle)
    thigh, shin = target.bone(f"{side}_hip"), target.bone(f"{side}_knee")
    turned = {
        thigh: thigh_turn @ moving.rotations[thigh],
        shin: shin_turn @ moving.rotations[shin],
        target.bone(f"{side}_ankle"): path.rotation,
    }
    if f"{side}_foot" in target.match.bones:
        turned[target.bone(f"{side}_foot")] = path.toe_rotation
    moving.turn(turned)


def _smooth_from_above(values: FloatArray, radius: int) -> FloatArray:
    """A smooth curve (T,) that is nowhere below `values`: widen the peaks, then average."""
    if radius < 1 or not values.any():
        return values
    window = np.hanning(2 * radius + 3)[1:-1]
    padded = np.pad(values, 2 * radius, mode="edge")
    widened = np.lib.stride_tricks.sliding_window_view(padded, 2 * radius + 1).max(axis=-1)
    return np.convolve(widened, window / window.sum(), mode="valid")


def _foot_points(moving: MovingRig, target: _Target) -> dict[str, FloatArray]:
    points: dict[str, FloatArray] = {}
    for side in _SIDES:
        ankle = target.bone(f"{side}_ankle")
        points[f"{side}_ankle"] = moving.head(ankle)
        points[f"{side}_foot"] = moving.point(ankle, target.points[f"{side}_toe"])
    return points
