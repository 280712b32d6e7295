"""Rotations in NumPy: matrices act on column vectors, quaternions are wxyz and unit.

Shape letters: T frames; ... any leading axes.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]

_AXES = {"X": 0, "Y": 1, "Z": 2}
_EVEN_ORDERS = frozenset({"XYZ", "YZX", "ZXY"})


def quaternion_to_matrix(quaternion: FloatArray) -> FloatArray:
    """Quaternions (..., 4) to matrices (..., 3, 3); a zero quaternion is no rotation."""
    norm = length(quaternion)
    safe = np.where(norm > 1e-9, quaternion / np.maximum(norm, 1e-9), [1.0, 0.0, 0.0, 0.0])
    w, x, y, z = np.moveaxis(safe, -1, 0)
    matrix = np.empty((*quaternion.shape[:-1], 3, 3))
    matrix[..., 0, 0] = 1 - 2 * (y * y + z * z)
    matrix[..., 0, 1] = 2 * (x * y - w * z)
    matrix[..., 0, 2] = 2 * (x * z + w * y)
    matrix[..., 1, 0] = 2 * (x * y + w * z)
    matrix[..., 1, 1] = 1 - 2 * (x * x + z * z)
    matrix[..., 1, 2] = 2 * (y * z - w * x)
    matrix[..., 2, 0] = 2 * (x * z - w * y)
    matrix[..., 2, 1] = 2 * (y * z + w * x)
    matrix[..., 2, 2] = 1 - 2 * (x * x + y * y)
    return matrix


def matrix_to_quaternion(matrix: FloatArray) -> FloatArray:
    """Matrices (..., 3, 3) to quaternions (..., 4).

    Each of the four components can be the divisor; the largest one is taken, so that nothing is
    divided by a number near zero.
    """
    xx, yy, zz = matrix[..., 0, 0], matrix[..., 1, 1], matrix[..., 2, 2]
    # four times the products of the components: a row has one of them in common
    rows = np.empty((*matrix.shape[:-2], 4, 4))
    rows[..., 0, 0] = 1 + xx + yy + zz
    rows[..., 1, 1] = 1 + xx - yy - zz
    rows[..., 2, 2] = 1 - xx + yy - zz
    rows[..., 3, 3] = 1 - xx - yy + zz
    rows[..., 0, 1] = rows[..., 1, 0] = matrix[..., 2, 1] - matrix[..., 1, 2]
    rows[..., 0, 2] = rows[..., 2, 0] = matrix[..., 0, 2] - matrix[..., 2, 0]
    rows[..., 0, 3] = rows[..., 3, 0] = matrix[..., 1, 0] - matrix[..., 0, 1]
    rows[..., 1, 2] = rows[..., 2, 1] = matrix[..., 1, 0] + matrix[..., 0, 1]
    rows[..., 1, 3] = rows[..., 3, 1] = matrix[..., 0, 2] + matrix[..., 2, 0]
    rows[..., 2, 3] = rows[..., 3, 2] = matrix[..., 2, 1] + matrix[..., 1, 2]
    largest = np.argmax(np.diagonal(rows, axis1=-2, axis2=-1), axis=-1)
    quaternion = np.take_along_axis(rows, largest[..., None, None], axis=-2)[..., 0, :]
    return quaternion / length(quaternion)


def continuous_quaternions(quaternion: FloatArray) -> FloatArray:
    """The same rotations (T, ..., 4) with signs such that neighbours in time are close."""
    if len(quaternion) < 2:
        return quaternion
    agree = np.sum(quaternion[1:] * quaternion[:-1], axis=-1) >= 0
    signs = np.cumprod(np.where(agree, 1.0, -1.0), axis=0)
    return np.concatenate([quaternion[:1], quaternion[1:] * signs[..., None]])


def matrix_to_euler(matrix: FloatArray, order: str) -> FloatArray:
    """Matrices (T, 3, 3) to Euler angles (T, 3) in x, y, z, continuous in time.

    `order` names the axis that turns first on the left, as Blender's rotation modes do:
    "XYZ" is Rz @ Ry @ Rx.
    """
    i, j, k = (_AXES[letter] for letter in order)
    sign = 1.0 if order in _EVEN_ORDERS else -1.0
    cosine = np.hypot(matrix[:, i, i], matrix[:, j, i])
    regular = cosine > 1e-6
    angles = np.empty((len(matrix), 3))
    angles[:, i] = np.where(
        regular,
        np.arctan2(matrix[:, k, j], matrix[:, k, k]),
        np.arctan2(-matrix[:, j, k], matrix[:, j, j]),
    )
    angles[:, j] = np.arctan2(-matrix[:, k, i], cosine)
    angles[:, k] = np.where(regular, np.arctan2(matrix[:, j, i], matrix[:, i, i]), 0.0)
    return _continuous_euler(sign * angles, middle=j)


def _continuous_euler(angles: FloatArray, *, middle: int) -> FloatArray:
    """Choose between the two triples of angles that each rotation has, then unwrap.

    The other triple is (a + pi, pi - b, c + pi). The step to it from the frame before is as long
    as the step from the other triple before to this one, so that only the number of switches
    counts, and no loop over frames is needed.
    """
    other = angles + np.pi
    other[:, middle] = np.pi - angles[:, middle]
    stays = np.abs(_wrapped(angles[1:] - angles[:-1])).sum(axis=-1)
    switches = np.abs(_wrapped(other[1:] - angles[:-1])).sum(axis=-1)
    switched = np.concatenate([[0], np.cumsum(switches < stays - 1e-9)]) % 2 == 1
    return np.unwrap(np.where(switched[:, None], other, angles), axis=0)


def _wrapped(angle: FloatArray) -> FloatArray:
    return (angle + np.pi) % (2 * np.pi) - np.pi


def matrix_to_axis_angle(matrix: FloatArray) -> FloatArray:
    """Matrices (T, 3, 3) to angle and axis (T, 4) in Blender's order w, x, y, z."""
    quaternion = continuous_quaternions(matrix_to_quaternion(matrix))
    sine = np.linalg.norm(quaternion[:, 1:], axis=-1)
    angle = 2 * np.arctan2(sine, quaternion[:, 0])
    axis = np.where(sine[:, None] > 1e-9, quaternion[:, 1:] / np.maximum(sine, 1e-9)[:, None], 0.0)
    axis[sine <= 1e-9] = (0.0, 1.0, 0.0)
    return np.concatenate([angle[:, None], axis], axis=-1)


def length(vector: FloatArray) -> FloatArray:
    """Lengths (..., 1) of vectors (..., N)."""
    return np.sqrt(np.einsum("...i,...i->...", vector, vector))[..., None]


def unit(vector: FloatArray) -> FloatArray:
    """Vectors (..., 3) at length 1."""
    return vector / np.maximum(length(vector), 1e-12)


def cross(a: FloatArray, b: FloatArray) -> FloatArray:
    """Cross products (..., 3); np.cross takes five times as long on arrays of this size."""
    ax, ay, az = a[..., 0], a[..., 1], a[..., 2]
    bx, by, bz = b[..., 0], b[..., 1], b[..., 2]
    return np.stack([ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx], axis=-1)


def shortest_rotation(start: FloatArray, end: FloatArray) -> FloatArray:
    """The smallest rotation (..., 3, 3) that turns direction `start` into direction `end`."""
    start, end = np.broadcast_arrays(unit(start), unit(end))
    cosine = np.sum(start * end, -1, keepdims=True)
    quaternion = np.concatenate([1 + cosine, cross(start, end)], axis=-1)
    opposite = quaternion[..., 0] < 1e-8
    if np.any(opposite):  # half a turn about any axis across
        helper = np.where(np.abs(start[..., :1]) < 0.9, [1.0, 0.0, 0.0], [0.0, 1.0, 0.0])
        across = np.concatenate(
            [np.zeros_like(start[..., :1]), unit(cross(start, helper))], axis=-1
        )
        quaternion = np.where(opposite[..., None], across, quaternion)
    return quaternion_to_matrix(quaternion)


def frame_from(direction: FloatArray, hinge: FloatArray) -> FloatArray:
    """Right-handed frames (..., 3, 3): first column along, second the hinge made square to it."""
    first = unit(direction)
    second = unit(hinge - first * np.sum(first * hinge, axis=-1, keepdims=True))
    return np.stack([first, second, cross(first, second)], axis=-1)


def turn_about_y(angle: FloatArray) -> FloatArray:
    """Rotations (..., 3, 3) by `angle` radians about the y axis."""
    cosine, sine = np.cos(angle), np.sin(angle)
    zero, one = np.zeros_like(cosine), np.ones_like(cosine)
    rows = [cosine, zero, sine, zero, one, zero, -sine, zero, cosine]
    return np.stack(rows, axis=-1).reshape(*np.shape(angle), 3, 3)


def turn_about(axis: FloatArray, angle: FloatArray) -> FloatArray:
    """Rotations (..., 3, 3) by `angle` radians (...) about one unit axis (3,)."""
    return turn_about_axes(axis, angle)


def turn_about_axes(axis: FloatArray, angle: FloatArray) -> FloatArray:
    """Rotations (..., 3, 3) by `angle` radians (...), each about its own unit axis (..., 3)."""
    half = np.asarray(angle)[..., None] / 2
    return quaternion_to_matrix(np.concatenate([np.cos(half), np.sin(half) * axis], axis=-1))


def twist_about(matrix: FloatArray, axis: FloatArray) -> FloatArray:
    """How far rotations (..., 3, 3) turn about a unit axis (3,) that they turn first: radians.

    The rest of the rotation is the shortest way from `axis` to where the rotation takes it.
    """
    quaternion = matrix_to_quaternion(matrix)
    return _wrapped(2 * np.arctan2(quaternion[..., 1:] @ axis, quaternion[..., 0]))


def angle_about_y(matrix: FloatArray) -> FloatArray:
    """How far rotations (..., 3, 3) turn about the y axis, in radians: the twist's angle.

    Of a quaternion it is 2 atan2(y, w); the sine is of 4 w y, the cosine of 2 w^2 - 2 y^2.
    """
    sine = matrix[..., 0, 2] - matrix[..., 2, 0]
    return np.arctan2(sine, matrix[..., 0, 0] + matrix[..., 2, 2])


def blend_rotations(start: FloatArray, end: FloatArray, weight: FloatArray) -> FloatArray:
    """Rotations (T, 3, 3) on the way from `start` (weight 0) to `end` (weight 1)."""
    difference = matrix_to_quaternion(np.swapaxes(start, -1, -2) @ end)
    difference = np.where(difference[..., :1] < 0, -difference, difference)
    half = np.arctan2(np.linalg.norm(difference[..., 1:], axis=-1), difference[..., 0])
    part = half * weight
    scale = np.sin(part) / np.maximum(np.sin(half), 1e-9)
    vector = np.where((half > 1e-6)[..., None], difference[..., 1:] * scale[..., None], 0.0)
    return start @ quaternion_to_matrix(np.concatenate([np.cos(part)[..., None], vector], -1))
