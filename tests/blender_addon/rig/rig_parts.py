"""Bones added to a made rig, and motions turned or mirrored, for the tests of retargeting."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from blender_addon.protocol import JobResult
from blender_addon.rig.retarget_options import RetargetOptions
from blender_addon.rig.target_rig import TargetRig
from tests.blender_addon.rig.figures import INDEX, JOINT_NAMES, axis_quaternion, multiply

FREE = RetargetOptions(plant_feet=False, plant_toes=False, keep_above_floor=False)


def with_bone(
    rig: TargetRig,
    name: str,
    parent: str,
    head: np.ndarray,
    tail: np.ndarray,
    *,
    children: tuple[str, ...] = (),
) -> TargetRig:
    """The rig with one more bone, of any roll; `children` hang on it instead of on their own.

    Parents stay before their children: the new bone comes right after its own.
    """
    place = rig.index[parent] + 1 if parent else 0
    along = (tail - head) / np.linalg.norm(tail - head)
    helper = np.array([0.3, 0.8, -0.5])
    side = np.cross(along, helper) / np.linalg.norm(np.cross(along, helper))
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([side, along, np.cross(side, along)], axis=-1)
    matrix[:3, 3] = head
    names = [*rig.bone_names[:place], name, *rig.bone_names[place:]]
    parents = {own: rig.bone_names[p] if p >= 0 else "" for own, p in _parents(rig)}
    parents |= {name: parent} | dict.fromkeys(children, name)
    return replace(
        rig,
        bone_names=tuple(names),
        parents=np.array([names.index(parents[n]) if parents[n] else -1 for n in names]),
        rest_matrices=np.insert(rig.rest_matrices, place, matrix, axis=0),
        tails=np.insert(rig.tails, place, tail, axis=0),
        inherits_rotation=np.insert(rig.inherits_rotation, place, True),
        has_local_location=np.insert(rig.has_local_location, place, True),
        rotation_modes=(*rig.rotation_modes[:place], "QUATERNION", *rig.rotation_modes[place:]),
    )


def _parents(rig: TargetRig) -> list[tuple[str, int]]:
    return list(zip(rig.bone_names, rig.parents.tolist(), strict=True))


def turned(motion: JobResult, angle: float) -> JobResult:
    """The motion turned about the vertical through its origin."""
    turn = axis_quaternion(1, angle)
    rotations = motion.local_rotations.astype(np.float64).copy()
    rotations[:, 0] = multiply(np.broadcast_to(turn, rotations[:, 0].shape), rotations[:, 0])
    return replace(
        motion,
        local_rotations=rotations.astype(np.float32),
        root_translation=(motion.root_translation @ about_y(angle).T).astype(np.float32),
    )


def about_y(angle: float) -> np.ndarray:
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])


def mirrored(motion: JobResult) -> JobResult:
    """The motion in a mirror, left and right swapped."""
    partners = [INDEX[swapped(name)] for name in JOINT_NAMES]
    return replace(
        motion,
        local_rotations=motion.local_rotations[:, partners] * np.float32([1, 1, -1, -1]),
        root_translation=motion.root_translation * np.float32([-1, 1, 1]),
        contacts=motion.contacts[:, [2, 3, 0, 1]],
    )


def swapped(name: str) -> str:
    """The name of the joint on the other side."""
    if name.startswith("left_"):
        return name.replace("left_", "right_")
    return name.replace("right_", "left_")
