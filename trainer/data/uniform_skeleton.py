"""Clips of many skeletons, moved onto one.

Conversions of motion capture disagree on where the pelvis, collars, toes and head joints sit. A
model that sees them all spends itself on telling them apart, so every clip is rebuilt on the
built-in skeleton: frames of pelvis and chest from hips, spine and shoulders, limbs by their
directions, the root path scaled by leg length. Two constants per source are taken out: the angle
of a flat foot and the resting direction of the head.

The result has exact bone lengths, and hips and shoulders rigid in their frames, so that joint
rotations solved from it reproduce it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.motion import skeleton as sk
from engine.motion.skeleton import SMPL_22

Array = NDArray[np.float32]

_OFFSETS: Array = np.array(SMPL_22.rest_offsets, dtype=np.float32)
_LENGTHS: Array = np.linalg.norm(_OFFSETS, axis=-1).astype(np.float32)
_FLAT_FOOT_PITCH = float(np.arcsin(-_OFFSETS[sk.LEFT_FOOT, 1] / _LENGTHS[sk.LEFT_FOOT]))
_RAISED = 0.12  # metres above the source's floor that are taken for standing on something
_LEGS = (
    (sk.LEFT_HIP, sk.LEFT_KNEE, sk.LEFT_ANKLE, sk.LEFT_FOOT),
    (sk.RIGHT_HIP, sk.RIGHT_KNEE, sk.RIGHT_ANKLE, sk.RIGHT_FOOT),
)
_ARMS = (
    (sk.LEFT_COLLAR, sk.LEFT_SHOULDER, sk.LEFT_ELBOW, sk.LEFT_WRIST),
    (sk.RIGHT_COLLAR, sk.RIGHT_SHOULDER, sk.RIGHT_ELBOW, sk.RIGHT_WRIST),
)


@dataclass(frozen=True)
class SourceConstants:
    """What one conversion of motion capture adds to every clip of its own."""

    flat_foot_pitch: float = _FLAT_FOOT_PITCH  # radians below the horizon of a standing foot
    head_direction: tuple[float, float, float] = (0.0, 0.98, 0.196)  # in the chest's frame
    floor_height: float = 0.0  # metres, as the clips have it


def to_uniform_skeleton(joints: Array, source: SourceConstants) -> Array:
    """Rebuild a clip on the built-in skeleton.

    Args:
        joints: (T, 22, 3) metres, y up.
        source: from `measure_source` over clips of the same conversion.

    Returns:
        (T, 22, 3), standing on the floor y = 0.
    """
    scale = _leg_length(_OFFSETS[None]) / _leg_length(joints, from_positions=True)
    pelvis, chest = _pelvis_frame(joints), chest_frame(joints)
    result = np.zeros_like(joints)

    hips = (joints[:, sk.LEFT_HIP] + joints[:, sk.RIGHT_HIP]) / 2 * scale
    middle = (_OFFSETS[sk.LEFT_HIP] + _OFFSETS[sk.RIGHT_HIP]) / 2
    result[:, sk.PELVIS] = hips - pelvis @ middle
    for joint in (sk.LEFT_HIP, sk.RIGHT_HIP, sk.SPINE1):
        result[:, joint] = result[:, sk.PELVIS] + pelvis @ _OFFSETS[joint]
    for parent, joint in ((sk.SPINE1, sk.SPINE2), (sk.SPINE2, sk.SPINE3)):
        _place(result, joint, parent, _direction(joints, parent, joint))
    for joint in (sk.NECK, sk.LEFT_COLLAR, sk.RIGHT_COLLAR):
        result[:, joint] = result[:, sk.SPINE3] + chest @ _OFFSETS[joint]
    for collar, shoulder, elbow, wrist in _ARMS:
        result[:, shoulder] = result[:, collar] + chest @ _OFFSETS[shoulder]
        _place(result, elbow, shoulder, _direction(joints, shoulder, elbow))
        _place(result, wrist, elbow, _direction(joints, elbow, wrist))
    for hip, knee, ankle, toe in _LEGS:
        shin = _direction(joints, knee, ankle)
        _place(result, knee, hip, _direction(joints, hip, knee))
        _place(result, ankle, knee, shin)
        foot = _direction(joints, ankle, toe)
        _place(result, toe, ankle, _pitch(foot, shin, _FLAT_FOOT_PITCH - source.flat_foot_pitch))
    rest: Array = _unit(_OFFSETS[sk.HEAD])
    nod = _rotation_between(np.array(source.head_direction, np.float32), rest)
    turn = (chest @ nod @ _transpose(chest)).astype(np.float32)
    _place(result, sk.HEAD, sk.NECK, _apply(turn, _direction(joints, sk.NECK, sk.HEAD)))
    # a clip that stays up on something keeps its height over its source's floor
    raised = _lowest(joints) - source.floor_height
    result[..., 1] -= _lowest(result) - (raised * scale if raised > _RAISED else 0.0)
    return result


def measure_source(clips: list[Array]) -> SourceConstants:
    """Constants of a conversion, medians over its clips."""
    pitches: list[float] = []
    heads: list[Array] = []
    for joints in clips:
        heads.append(
            np.median(
                _apply(_transpose(chest_frame(joints)), _direction(joints, sk.NECK, sk.HEAD)), 0
            )
        )
        pitches.extend(_standing_pitches(joints))
    pitch = float(np.median(pitches)) if len(pitches) >= 20 else _FLAT_FOOT_PITCH
    head = _unit(np.median(np.stack(heads), axis=0))
    floor = float(np.median([_lowest(joints) for joints in clips]))
    return SourceConstants(pitch, (float(head[0]), float(head[1]), float(head[2])), floor)


def mirror_joints(joints: Array) -> Array:
    """The clip seen in a mirror: left is right."""
    mirrored = joints[:, list(SMPL_22.mirror_order)] * np.array([-1.0, 1.0, 1.0], np.float32)
    return mirrored.astype(np.float32)


def _standing_pitches(joints: Array) -> list[float]:
    """Pitch below the horizon of feet that stand still near the clip's lowest point."""
    found: list[float] = []
    floor = np.percentile(joints[:, sk.FOOT_JOINTS, 1], 2)
    for _, _, ankle, toe in _LEGS:
        step = np.linalg.norm(np.diff(joints[:, (ankle, toe)], axis=0), axis=-1).max(-1)
        still = (step < 0.006) & (joints[:-1, toe, 1] < floor + 0.04)
        direction = _direction(joints, ankle, toe)[:-1][still]
        found.extend(float(value) for value in np.arcsin(np.clip(-direction[:, 1], -1, 1)))
    return found


def _lowest(joints: Array) -> float:
    """Height of the ground as the clip has it; a few frames that dip through it don't count."""
    return float(np.percentile(joints[..., 1].min(axis=1), 5))


def _pelvis_frame(joints: Array) -> Array:
    return _frame(
        joints[:, sk.LEFT_HIP] - joints[:, sk.RIGHT_HIP],
        joints[:, sk.SPINE1] - joints[:, sk.PELVIS],
    )


def frame_heading(pose: Array) -> float:
    """Heading of one pose (22, 3) in radians, from hips and shoulders."""
    left, right = (sk.LEFT_HIP, sk.LEFT_SHOULDER), (sk.RIGHT_HIP, sk.RIGHT_SHOULDER)
    across = pose[left, :].sum(0) - pose[right, :].sum(0)
    return float(np.arctan2(-across[2], across[0]))


def chest_frame(joints: Array) -> Array:
    """Rotation (T, 3, 3) of the chest: columns left, up, forward."""
    across = joints[:, sk.LEFT_SHOULDER] - joints[:, sk.RIGHT_SHOULDER]
    return _frame(across, joints[:, sk.NECK] - joints[:, sk.SPINE3])


def _frame(left: Array, up: Array) -> Array:
    """(T, 3, 3) with columns left, up, forward; up is kept, left made square to it."""
    y = _unit(up)
    x = _unit(left - (left * y).sum(-1, keepdims=True) * y)
    return np.stack([x, y, np.cross(x, y)], axis=-1)


def _place(result: Array, joint: int, parent: int, direction: Array) -> None:
    result[:, joint] = result[:, parent] + direction * _LENGTHS[joint]


def _direction(joints: Array, start: int, end: int) -> Array:
    return _unit(joints[:, end] - joints[:, start])


def _pitch(foot: Array, shin: Array, angle: float) -> Array:
    """Turn the foot towards the shin by an angle, in the plane of the two."""
    across = _unit(shin - (shin * foot).sum(-1, keepdims=True) * foot)
    return np.cos(angle) * foot + np.sin(angle) * across


def _leg_length(joints: Array, *, from_positions: bool = False) -> float:
    if not from_positions:
        return float(_LENGTHS[sk.LEFT_KNEE] + _LENGTHS[sk.LEFT_ANKLE])
    lengths = [
        np.linalg.norm(joints[:, knee] - joints[:, hip], axis=-1)
        + np.linalg.norm(joints[:, ankle] - joints[:, knee], axis=-1)
        for hip, knee, ankle, _ in _LEGS
    ]
    return float(np.mean(lengths))


def _unit(vector: Array) -> Array:
    return vector / np.maximum(np.linalg.norm(vector, axis=-1, keepdims=True), 1e-8)


def _apply(rotation: Array, vector: Array) -> Array:
    return np.einsum("tij,tj->ti", rotation, vector)


def _transpose(rotation: Array) -> Array:
    return np.swapaxes(rotation, -1, -2)


def _rotation_between(start: Array, end: Array) -> Array:
    """Shortest rotation (3, 3) from one direction to another (Rodrigues)."""
    axis, cosine = np.cross(start, end), float(start @ end)
    skew = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return (np.eye(3) + skew + skew @ skew / (1 + cosine)).astype(np.float32)
