"""Rotations: quaternions, matrices, axis-angle and 6D, each made from the other.

Quaternions are wxyz and unit length; matrices act on column vectors; right-handed, radians.
Every function takes any leading axes ("...") and follows the dtype and device of its input.
Gradients are finite everywhere, at the identity and at half turns too; no argument is changed.
"""

from __future__ import annotations

import torch
from torch import Tensor

# Below this squared length a direction is unknown. float32 squares of 1e-6 m still lie above it.
_TINY = 1e-12


def _check(tensor: Tensor, name: str, *shape: int) -> None:
    if tuple(tensor.shape[-len(shape) :]) != shape:
        wanted = ", ".join(str(size) for size in shape)
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}, needs (..., {wanted})")


def normalise(vectors: Tensor) -> Tensor:
    """Vectors of unit length; a vector of no length stays near zero. (..., D) to (..., D)."""
    squared = (vectors * vectors).sum(-1, keepdim=True)
    return vectors * torch.rsqrt(squared.clamp(min=_TINY))


def identity_quaternions(*leading: int, like: Tensor) -> Tensor:
    """Identity quaternions (*leading, 4) with the dtype and device of `like`."""
    one = torch.tensor((1.0, 0.0, 0.0, 0.0), dtype=like.dtype, device=like.device)
    return one.expand(*leading, 4).clone()


def multiply(first: Tensor, second: Tensor) -> Tensor:
    """The quaternion that turns by `second` and then by `first`, (..., 4) each."""
    _check(first, "first", 4)
    _check(second, "second", 4)
    w1, x1, y1, z1 = first.unbind(-1)
    w2, x2, y2, z2 = second.unbind(-1)
    return torch.stack(
        (
            w1 * w2 - x1 * x2 - y1 * y2 - z1 * z2,
            w1 * x2 + x1 * w2 + y1 * z2 - z1 * y2,
            w1 * y2 - x1 * z2 + y1 * w2 + z1 * x2,
            w1 * z2 + x1 * y2 - y1 * x2 + z1 * w2,
        ),
        dim=-1,
    )


def inverse(quaternions: Tensor) -> Tensor:
    """The opposite turn of unit quaternions (..., 4)."""
    _check(quaternions, "quaternions", 4)
    return quaternions * quaternions.new_tensor((1.0, -1.0, -1.0, -1.0))


def rotate(quaternions: Tensor, vectors: Tensor) -> Tensor:
    """Vectors (..., 3) turned by unit quaternions (..., 4); leading axes broadcast."""
    _check(quaternions, "quaternions", 4)
    _check(vectors, "vectors", 3)
    w, axis = quaternions[..., :1], quaternions[..., 1:]
    axis, vectors = torch.broadcast_tensors(axis, vectors)
    twice = 2.0 * torch.linalg.cross(axis, vectors)
    return vectors + w * twice + torch.linalg.cross(axis, twice)


def quaternion_to_matrix(quaternions: Tensor) -> Tensor:
    """Unit quaternions (..., 4) to rotation matrices (..., 3, 3)."""
    _check(quaternions, "quaternions", 4)
    w, x, y, z = quaternions.unbind(-1)
    rows = (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def matrix_to_quaternion(matrices: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) to unit quaternions (..., 4) with w not negative.

    Four candidates, each exact but for a factor that is one component of the quaternion; the one
    with the largest factor is taken, so that nothing is divided by less than 1/2.

    Source: Shepperd, Quaternion from Rotation Matrix, J. Guidance and Control 1(3), 1978.
    """
    _check(matrices, "matrices", 3, 3)
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = matrices.flatten(-2).unbind(-1)
    candidates = torch.stack(
        [
            torch.stack((1 + m00 + m11 + m22, m21 - m12, m02 - m20, m10 - m01), dim=-1),
            torch.stack((m21 - m12, 1 + m00 - m11 - m22, m10 + m01, m02 + m20), dim=-1),
            torch.stack((m02 - m20, m10 + m01, 1 - m00 + m11 - m22, m21 + m12), dim=-1),
            torch.stack((m10 - m01, m02 + m20, m21 + m12, 1 - m00 - m11 + m22), dim=-1),
        ],
        dim=-2,
    )  # (..., 4, 4)
    best = torch.diagonal(candidates, dim1=-2, dim2=-1).argmax(-1)
    index = best[..., None, None].expand(*best.shape, 1, 4)
    chosen = normalise(torch.gather(candidates, -2, index).squeeze(-2))
    return torch.where(chosen[..., :1] < 0, -chosen, chosen)


def axis_angle_to_quaternion(axis_angles: Tensor) -> Tensor:
    """Rotation vectors (..., 3), angle times unit axis, to unit quaternions (..., 4)."""
    _check(axis_angles, "axis_angles", 3)
    squared = (axis_angles * axis_angles).sum(-1, keepdim=True)
    is_small = squared < 1e-6
    angle = torch.where(is_small, torch.ones_like(squared), squared).sqrt()
    # sin(a / 2) / a; its series near zero, where the division has no gradient.
    factor = torch.where(is_small, 0.5 - squared / 48.0, torch.sin(angle / 2) / angle)
    cosine = torch.where(is_small, 1.0 - squared / 8.0, torch.cos(angle / 2))
    return torch.cat((cosine, axis_angles * factor), dim=-1)


def quaternion_to_axis_angle(quaternions: Tensor) -> Tensor:
    """Unit quaternions (..., 4) to rotation vectors (..., 3) with an angle of at most pi."""
    _check(quaternions, "quaternions", 4)
    quaternions = torch.where(quaternions[..., :1] < 0, -quaternions, quaternions)
    w, axis = quaternions[..., :1], quaternions[..., 1:]
    squared = (axis * axis).sum(-1, keepdim=True)
    is_small = squared < 1e-6
    sine = torch.where(is_small, torch.ones_like(squared), squared).sqrt()
    factor = torch.where(is_small, 2.0 + squared / 3.0, 2.0 * torch.atan2(sine, w) / sine)
    return axis * factor


def sixd_to_matrix(sixd: Tensor) -> Tensor:
    """First two columns, one after the other (..., 6), to rotation matrices (..., 3, 3).

    The first column keeps its direction; the second is made square to it.

    Source: Zhou et al., On the Continuity of Rotation Representations, CVPR 2019, section 4.2.
    """
    _check(sixd, "sixd", 6)
    first = normalise(sixd[..., :3])
    second = sixd[..., 3:]
    second = normalise(second - (first * second).sum(-1, keepdim=True) * first)
    third = torch.linalg.cross(first, second)
    return torch.stack((first, second, third), dim=-1)


def matrix_to_sixd(matrices: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) to their first two columns, one after the other (..., 6)."""
    _check(matrices, "matrices", 3, 3)
    return torch.cat((matrices[..., :, 0], matrices[..., :, 1]), dim=-1)


def quaternion_to_sixd(quaternions: Tensor) -> Tensor:
    """Unit quaternions (..., 4) to 6D (..., 6)."""
    return matrix_to_sixd(quaternion_to_matrix(quaternions))


def sixd_to_quaternion(sixd: Tensor) -> Tensor:
    """6D (..., 6) to unit quaternions (..., 4)."""
    return matrix_to_quaternion(sixd_to_matrix(sixd))


def slerp(start: Tensor, end: Tensor, fraction: Tensor) -> Tensor:
    """The quaternion `fraction` of the shorter way from `start` to `end`.

    Args:
        start, end: (..., 4) unit quaternions.
        fraction: (...) from 0 (start) to 1 (end).
    """
    _check(start, "start", 4)
    _check(end, "end", 4)
    end = torch.where((start * end).sum(-1, keepdim=True) < 0, -end, end)
    step = quaternion_to_axis_angle(multiply(inverse(start), end))
    turn = axis_angle_to_quaternion(step * fraction[..., None])
    return normalise(multiply(start, turn))


def shortest_arc(start: Tensor, end: Tensor) -> Tensor:
    """The smallest turn that takes direction `start` to direction `end`.

    Opposite directions have no one smallest turn: then it is half a turn about some axis square
    to `start`. Lengths don't matter. (..., 3) and (..., 3) to (..., 4).
    """
    _check(start, "start", 3)
    _check(end, "end", 3)
    start, end = torch.broadcast_tensors(normalise(start), normalise(end))
    real = 1.0 + (start * end).sum(-1, keepdim=True)
    arc = torch.cat((real, torch.linalg.cross(start, end)), dim=-1)
    # The axis for opposite directions: across the coordinate that `start` has least of.
    least = torch.nn.functional.one_hot(start.abs().argmin(-1), 3).to(start.dtype)
    half_turn = torch.cat((torch.zeros_like(real), torch.linalg.cross(start, least)), dim=-1)
    return normalise(torch.where(real < 1e-6, half_turn, arc))


def heading_to_quaternion(heading: Tensor) -> Tensor:
    """Turns (..., 4) about +y by heading (...): +z becomes (sin, 0, cos) of the heading."""
    zero = torch.zeros_like(heading)
    return torch.stack((torch.cos(heading / 2), zero, torch.sin(heading / 2), zero), dim=-1)


def quaternion_to_heading(quaternions: Tensor) -> Tensor:
    """Heading (...) of quaternions (..., 4): the direction that +z is turned to, seen from above.

    Looking straight up or down has no heading: there it is 0 and its gradient is 0.
    """
    _check(quaternions, "quaternions", 4)
    w, x, y, z = quaternions.unbind(-1)
    forward_x, forward_z = 2 * (x * z + w * y), 1 - 2 * (x * x + y * y)
    is_vertical = forward_x * forward_x + forward_z * forward_z < _TINY
    return torch.where(
        is_vertical,
        torch.zeros_like(forward_x),
        torch.atan2(forward_x, torch.where(is_vertical, torch.ones_like(forward_z), forward_z)),
    )


def make_continuous(quaternions: Tensor, *, dim: int = 0) -> Tensor:
    """The same turns with signs chosen so that neighbours along `dim` are near each other.

    The first keeps its sign. (..., 4) to (..., 4); `dim` is the axis of frames.
    """
    _check(quaternions, "quaternions", 4)
    if quaternions.shape[dim] < 2:
        return quaternions
    size = quaternions.shape[dim]
    before, after = quaternions.narrow(dim, 0, size - 1), quaternions.narrow(dim, 1, size - 1)
    dot = (before * after).sum(-1, keepdim=True).detach()
    flip = torch.where(dot < 0, -torch.ones_like(dot), torch.ones_like(dot))
    first = torch.ones_like(flip.narrow(dim, 0, 1))
    return quaternions * torch.cat((first, torch.cumprod(flip, dim=dim)), dim=dim)


def axes_to_matrix(primary: Tensor, secondary: Tensor) -> Tensor:
    """Frames (..., 3, 3): the first column is `primary`, the second is nearest `secondary`.

    Two such frames, of the same two directions before and after, give the turn between them:
    after @ before.T. (..., 3) each, of any length, not parallel.
    """
    primary, secondary = torch.broadcast_tensors(primary, secondary)
    return sixd_to_matrix(torch.cat((primary, secondary), dim=-1))


def turn_about_up(angles: Tensor) -> Tensor:
    """Rotations (..., 3, 3) about +y by angles (...) in radians; from +z to +x is positive."""
    zero, one = torch.zeros_like(angles), torch.ones_like(angles)
    cos, sin = torch.cos(angles), torch.sin(angles)
    rows = torch.stack((cos, zero, sin, zero, one, zero, -sin, zero, cos), dim=-1)
    return rows.unflatten(-1, (3, 3))
