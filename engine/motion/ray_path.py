"""Where a decoded motion walks and which way it faces, put right by the rays it was seen along.

Features tell steps and turns; whoever sums them up drifts, and a motion that has drifted along a
ray and is then moved onto it becomes smaller or larger. So before joints go onto their rays, the
whole body is shifted and turned about the vertical in every frame, as evenly as bodies move.

Shape letters: T frames; leading axes ("...") are free.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.motion.ray_projection import Sight, start_shift
from engine.motion.rotations import turn_about_up

_STEP_WEIGHT = 1.0  # of a change of shift (metres) or turn (radians) to the next frame, squared
_PULL = 1e-3  # of the shifts and turns themselves: where nothing is seen there are none
_PASSES = 2  # turning is linear for small turns only


def follow_rays(joints: Tensor, sight: Sight) -> tuple[Tensor, Tensor]:
    """A motion placed and turned, frame by frame, as its rays ask.

    The error that a ray tells of, (E_x - u_x E_z, E_y - u_y E_z) of a joint E in the camera's axes,
    is linear in the body's shift and for small angles in its turn: least squares over all frames
    together, with a price on uneven corrections.

    Args:
        joints: (..., T, 22, 3) world metres, y up.
        sight: (..., T), of the same world.

    Returns:
        joints: (..., T, 22, 3).
        turns: (..., T) radians about the vertical that were added to the headings.
    """
    placed = joints + start_shift(joints, sight)[..., None, None, :]
    turns = torch.zeros_like(placed[..., 0, 0])
    for _ in range(_PASSES):
        found = _corrections(placed, sight)  # (..., T, 4)
        turns = turns + found[..., 3]
        root = placed[..., :1, :]
        turned = (placed - root) @ turn_about_up(found[..., 3]).mT
        placed = root + turned + found[..., None, :3]
    return placed, turns


def _corrections(joints: Tensor, sight: Sight) -> Tensor:
    """Shift and turn (..., T, 4) that bring joints nearest their rays."""
    num_frames = joints.shape[-3]
    points, rotation = sight.plane_points, sight.camera.rotation
    away = joints - joints[..., :1, :]
    # how a joint moves as its body turns: up x away
    swing = torch.stack((away[..., 2], torch.zeros_like(away[..., 0]), -away[..., 0]), dim=-1)
    columns = [rotation[..., None, :, axis].expand(joints.shape) for axis in range(3)]
    columns.append(swing @ rotation.mT)
    slopes = torch.stack([_off_ray(column, points) for column in columns], dim=-1)  # (..., 22,2,4)
    off = _off_ray(sight.camera.to_camera(joints), points)
    weighted = slopes * (sight.confidence / joints.shape[-2])[..., None, None]
    matrix = torch.einsum("...jac,...jad->...cd", weighted, slopes)
    right = -torch.einsum("...jac,...ja->...c", weighted, off)

    unit = torch.eye(4).to(joints)
    matrix = matrix + _PULL * unit
    steps = torch.eye(num_frames).to(joints).diff(dim=0)
    even = _STEP_WEIGHT * steps.mT @ steps  # (T, T)
    frames = torch.eye(num_frames).to(joints)
    whole = frames[:, None, :, None] * matrix[..., :, :, None, :]  # (..., T, 4, T, 4)
    whole = whole + even[:, None, :, None] * unit[:, None, :]
    # Cholesky, not linalg.solve: LU of a batch fails where a thread count was set (PyTorch 142815)
    factor = torch.linalg.cholesky(whole.flatten(-4, -3).flatten(-2))
    solved = torch.cholesky_solve(right.flatten(-2)[..., None], factor).squeeze(-1)
    return solved.unflatten(-1, (num_frames, 4))


def _off_ray(vectors: Tensor, points: Tensor) -> Tensor:
    """(E_x - u_x E_z, E_y - u_y E_z) of vectors (..., 3) in the camera's axes."""
    return vectors[..., :2] - points * vectors[..., 2:]
