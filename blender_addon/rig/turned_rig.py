"""Each bone turned as its joint is: rest poses aligned, spine and neck shared among their bones.

Figure space (see blender_addon.rig). Shape letters: T frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .moving_rig import MovingRig
from .rest_alignment import rest_alignments, rest_frames, side_alignment
from .rotations import FloatArray, blend_rotations
from .source_motion import SIDES, SourceMotion
from .target_figure import TargetFigure

_TRUNK_SIDES = {"pelvis": ("left_hip", "right_hip"), "chest": ("left_shoulder", "right_shoulder")}
# A bone that hangs on nothing that moves goes along with the first of these that does.
_CARRIERS = {
    "hip": ("pelvis",),
    "knee": ("hip",),
    "ankle": ("knee",),
    "foot": ("ankle",),
    "collar": ("chest", "pelvis"),
    "shoulder": ("collar", "chest", "pelvis"),
    "elbow": ("shoulder",),
    "wrist": ("elbow",),
    "head": ("chest", "pelvis"),
}


def turned_rig(source: SourceMotion, target: TargetFigure) -> MovingRig:
    """The rig with each bone turned as its joint is, in place."""
    rig, match = target.rig, target.match
    turns = _body_turns(source, target)
    turns |= _trunk_turns(source, target)
    followed = {
        rig.index[bone]: turns[rig.index[match.bones[joint]]]
        for bone, joint in match.followers.items()
        if joint in match.bones and rig.index[match.bones[joint]] in turns
    }
    location_bone = _location_bone(target)
    rest = target.space.from_armature(rig.heads[location_bone])
    moving = MovingRig(
        rig=rig,
        space=target.space,
        num_frames=source.num_frames,
        rotations=turns | followed,
        placed={location_bone: np.broadcast_to(rest, (source.num_frames, 3))},
    )
    moving.rotations.setdefault(location_bone, np.tile(np.eye(3), (source.num_frames, 1, 1)))
    moving.islands = _find_islands(moving, target, location_bone)
    return moving


def _location_bone(target: TargetFigure) -> int:
    """The bone that carries the figure; Blender ignores locations of connected bones."""
    rig = target.rig
    pelvis = rig.index[target.match.bones["pelvis"]]
    bone = rig.index.get(target.match.location_bone, pelvis)
    if not rig.is_below(pelvis, bone):
        bone = pelvis
    while bone in rig.connected and rig.parents[bone] >= 0:
        bone = int(rig.parents[bone])
    return bone


def _body_turns(source: SourceMotion, target: TargetFigure) -> dict[int, FloatArray]:
    """Rotations of pelvis, head and limbs, by bone."""
    points = source.rest_points
    for side in SIDES:
        points[f"{side}_hand_end"] = points[f"{side}_wrist"]
        points[f"{side}_toe"] = points[f"{side}_foot"]
    alignments = rest_alignments(rest_frames(points), target.frames)
    for part, pair in _TRUNK_SIDES.items():
        alignments[part] = side_alignment(points, target.points, *pair)
    for side in SIDES:
        alignments[f"{side}_collar"] = alignments["chest"]
    return {
        target.bone(joint): source.turn(joint) @ alignments.get(joint, np.eye(3))
        for joint in target.match.bones
        if source.has(joint)
    }


def _trunk_turns(source: SourceMotion, target: TargetFigure) -> dict[int, FloatArray]:
    """Rotations of spine and neck: each bone takes its place in the curve of the motion's."""
    match, index = target.match, target.rig.index
    points = source.rest_points
    pelvis, chest = (side_alignment(points, target.points, *p) for p in _TRUNK_SIDES.values())
    spine = [source.turn("pelvis") @ pelvis]
    for step, joint in enumerate(source.spine):
        share = np.array((step + 1) / len(source.spine))
        spine.append(source.turn(joint) @ blend_rotations(pelvis, chest, share))
    turns = dict(zip(match.spine, share_chain(spine, len(match.spine)), strict=True))

    neck = [spine[-1], *(source.turn(joint) for joint in source.neck)]
    if source.neck or not source.has("head"):
        shared = share_chain(neck, len(match.neck))
    else:
        shared = share_chain([*neck, source.turn("head")], len(match.neck) + 1)[:-1]
    turns |= dict(zip(match.neck, shared, strict=True))
    return {index[bone]: turn for bone, turn in turns.items()}


def share_chain(rotations: Sequence[FloatArray], count: int) -> list[FloatArray]:
    """Rotations (T, 3, 3) of `count` bones that bend as a chain of joints does.

    rotations: of what the chain stands on, then of its joints; the last bone takes the last one.
    """
    num_joints = len(rotations) - 1
    shared: list[FloatArray] = []
    for bone in range(count):
        place = (bone + 1) / count * num_joints
        low = min(int(place + 1e-9), num_joints)
        share = place - low
        if share < 1e-9:
            shared.append(rotations[low])
        else:
            weight = np.full(len(rotations[low]), share)
            shared.append(blend_rotations(rotations[low], rotations[low + 1], weight))
    return shared


def _find_islands(moving: MovingRig, target: TargetFigure, location_bone: int) -> dict[int, int]:
    """Mapped bones that hang on nothing that moves, and what they go along with."""
    match, index = target.match, target.rig.index
    by_joint = {joint: index[bone] for joint, bone in match.bones.items()}
    if match.spine:
        by_joint["chest"] = index[match.spine[-1]]
    carriers = _joint_carriers(by_joint)
    for chain in (match.spine, match.neck):
        base = "pelvis" if chain is match.spine else "chest"
        previous = by_joint.get(base, by_joint["pelvis"])
        for bone in chain:
            carriers.setdefault(index[bone], previous)
            previous = index[bone]
    return {
        bone: carrier
        for bone, carrier in carriers.items()
        if bone in moving.rotations
        and carrier in moving.rotations
        and bone != location_bone
        and moving.moving_parent(bone) < 0
        and not moving.rig.is_below(carrier, bone)
    }


def _joint_carriers(by_joint: Mapping[str, int]) -> dict[int, int]:
    carriers: dict[int, int] = {}
    for joint, bone in by_joint.items():
        side, _, part = joint.rpartition("_")
        for candidate in _CARRIERS.get(part, ()):
            name = f"{side}_{candidate}" if f"{side}_{candidate}" in by_joint else candidate
            if name in by_joint:
                carriers[bone] = by_joint[name]
                break
    return carriers
