"""What Blender keys: rotations and locations in a bone's own space, by its rotation mode.

A pose bone's channels act between its parent's pose and its own rest matrix. With D the rotation
of a bone away from its rest pose, in armature space, and R its rest rotation:

    pose = D_bone R = D_parent R channel    so    channel = R^T D_parent^T D_bone R

Locations go along the parent's pose even where a bone does not inherit rotation; with "Local
Location" off along the parent's own axes instead of the bone's (BKE_bone_parent_transform_calc in
Blender's armature.cc).

Shape letters: T frames, M moving bones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .moving_rig import MovingRig
from .rotations import (
    FloatArray,
    continuous_quaternions,
    matrix_to_axis_angle,
    matrix_to_euler,
    matrix_to_quaternion,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class BoneKeys:
    """The channels of one pose bone in every frame."""

    bone: str
    data_path: str  # of the rotation: rotation_quaternion, rotation_euler, rotation_axis_angle
    rotation: FloatArray  # (T, 4) or (T, 3)
    location: FloatArray | None = None  # (T, 3) in the armature's units


def make_keys(moving: MovingRig, still_bones: Sequence[str]) -> tuple[BoneKeys, ...]:
    """The keys of all bones that move, and of those that must keep still."""
    keys = keys_of(moving, sorted(moving.rotations))
    return (*keys, *(_still_keys(moving, name) for name in still_bones))


def keys_of(moving: MovingRig, bones: Sequence[int]) -> tuple[BoneKeys, ...]:
    """The keys of some of the bones that move."""
    rig = moving.rig
    located = {*moving.placed, *moving.islands}
    channels = _rotation_channels(moving, bones)  # (T, M, 3, 3)
    quaternions = continuous_quaternions(matrix_to_quaternion(channels))
    # Of the two signs the one nearer to no rotation: layers and blends go the short way round.
    quaternions = quaternions * np.where(quaternions[..., 0].mean(axis=0) < 0, -1.0, 1.0)[:, None]
    return tuple(
        _bone_keys(
            rig.bone_names[bone],
            rig.rotation_modes[bone],
            channels[:, place],
            quaternions[:, place],
            location_channel(moving, bone) if bone in located else None,
        )
        for place, bone in enumerate(bones)
    )


def _rotation_channels(moving: MovingRig, bones: Sequence[int]) -> FloatArray:
    """Channel rotations (T, M, 3, 3) of all bones at once."""
    turned = np.stack([moving.rotations[bone] for bone in bones], axis=1)
    parents = np.stack([moving.inherited_rotation(bone) for bone in bones], axis=1)
    # Figure space to bone space in one matrix per bone, instead of two steps per frame.
    to_bone = moving.rig.rest_matrices[list(bones), :3, :3].swapaxes(-1, -2)
    to_bone = to_bone @ moving.space.rotation
    return to_bone @ parents.swapaxes(-1, -2) @ turned @ to_bone.swapaxes(-1, -2)


def location_channel(moving: MovingRig, bone: int) -> FloatArray:
    """Channel locations (T, 3) that put the bone's head where it is."""
    space, rig = moving.space, moving.rig
    offset = space.to_armature(moving.head(bone)) - space.to_armature(moving.inherited_head(bone))
    carrier = space.rotations_to_armature(moving.carrier_rotation(bone))
    inherited = (carrier.swapaxes(-1, -2) @ offset[..., None])[..., 0]
    if rig.has_local_location[bone]:
        return inherited @ rig.rest_matrices[bone, :3, :3]
    parent = int(rig.parents[bone])
    return inherited if parent < 0 else inherited @ rig.rest_matrices[parent, :3, :3]


def _bone_keys(
    bone: str,
    rotation_mode: str,
    rotation: FloatArray,
    quaternion: FloatArray,
    location: FloatArray | None,
) -> BoneKeys:
    """Write rotations (T, 3, 3) as the bone's own rotation mode has them."""
    if rotation_mode == "QUATERNION":
        values, data_path = quaternion, "rotation_quaternion"
    elif rotation_mode == "AXIS_ANGLE":
        values, data_path = matrix_to_axis_angle(rotation), "rotation_axis_angle"
    else:
        values, data_path = matrix_to_euler(rotation, rotation_mode), "rotation_euler"
    return BoneKeys(bone=bone, data_path=data_path, rotation=values, location=location)


def _still_keys(moving: MovingRig, bone: str) -> BoneKeys:
    frames = moving.num_frames
    mode = moving.rig.rotation_modes[moving.rig.index[bone]]
    none = np.broadcast_to(np.eye(3), (frames, 3, 3))
    quaternion = np.broadcast_to([1.0, 0.0, 0.0, 0.0], (frames, 4))
    return _bone_keys(bone, mode, none, quaternion, np.zeros((frames, 3)))
