"""Losses of predicted features against true ones.

Shape letters: B batch, T frames, F features.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from engine.motion import skeleton as sk
from engine.motion.representation import Representation, rotate_by_heading

FEATURE_WEIGHTS = {
    "root_heading_rate": 10.0,
    "root_velocity": 6.0,
    "root_height": 4.0,
    "joint_positions": 1.0,
    "joint_rotations": 1.0,
    "joint_velocities": 0.8,
    "foot_contacts": 1.0,
}
_PATH_WINDOWS = ((20, 0.35, 0.3), (60, 0.8, 0.7))  # frames, radians, metres
_FOOT_WEIGHT = 4.0  # of a foot joint's step against another joint's


def feature_weights(representation: Representation) -> Tensor:
    """Weight of each feature (F,), with mean 1: the few root numbers decide where all joints go."""
    sizes = dict(representation.sizes)
    weights = torch.cat(
        [torch.full((sizes[block],), FEATURE_WEIGHTS[block]) for block in representation.blocks]
    )
    return weights / weights.mean()


def feature_loss(predicted: Tensor, true: Tensor, mask: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean square over the features (B, T, F) of real frames, as a mean per clip (B,)."""
    error = ((predicted - true).square() * weights).mean(-1) * mask  # (B, T)
    return error.sum(-1) / mask.sum(-1)


def step_loss(
    predicted: Tensor,
    true: Tensor,
    mask: Tensor,
    representation: Representation,
    step_scale: float,
) -> Tensor:
    """Steps of joints as positions and root give them, against the true ones, per clip (B,).

    Features say a joint's step twice: as joint_velocities, and as what positions do between two
    frames while the root moves. Only the second is seen in the end. Squares are in units of
    step_scale (metres per frame); foot joints count more, since a sliding foot shows.

    Args:
        predicted, true: (B, T, F), not normalised.
        mask: (B, T) bool.
    """
    steps = joint_steps(predicted, representation)  # (B, T - 1, 22, 3)
    target = true[:, :-1, representation.part("joint_velocities")].unflatten(-1, (22, 3))
    weight = torch.ones(22, device=predicted.device)
    weight[list(sk.FOOT_JOINTS)] = _FOOT_WEIGHT
    error = ((steps - target) / step_scale).square().sum(-1)  # (B, T - 1, 22)
    valid = mask[:, 1:]
    error = (error * weight).sum(-1) / (3 * weight.sum()) * valid
    return error.sum(-1) / valid.sum(-1).clamp(min=1)


def path_loss(
    predicted: Tensor, true: Tensor, mask: Tensor, representation: Representation
) -> Tensor:
    """How far turns and ways over about 1 and 3 seconds are from the true ones, per clip (B,).

    A walk that bends to the left turns by a hundredth of a radian a frame, less than the noise of
    spins and sways; what tells left from right is the sum over many frames. Turns are in units of
    the window's turn scale, ways (in the facing frames, so a detour counts) of its way scale;
    errors beyond one unit count linearly, or a few fast spins would drown all slow turns.

    Args:
        predicted, true: (B, T, F), not normalised.
        mask: (B, T) bool.
    """
    rate = representation.part("root_heading_rate")
    velocity = representation.part("root_velocity")
    error = torch.cat(
        [
            -2.0 * (predicted[..., rate] - true[..., rate]),
            predicted[..., velocity] - true[..., velocity],
        ],
        dim=-1,
    )
    total = torch.cumsum(error * mask[..., None], dim=1)  # (B, T, 3)
    loss = error.new_zeros(len(error))
    for frames, turn_scale, way_scale in _PATH_WINDOWS:
        if frames >= error.shape[1]:
            continue
        sums = total[:, frames:] - total[:, :-frames]
        scale = sums.new_tensor([turn_scale, way_scale, way_scale])
        valid = mask[:, frames:]
        off = functional.smooth_l1_loss(sums / scale, torch.zeros_like(sums), reduction="none")
        loss = loss + (off.mean(-1) * valid).sum(-1) / valid.sum(-1).clamp(min=1)
    return loss / len(_PATH_WINDOWS)


def joint_steps(features: Tensor, representation: Representation) -> Tensor:
    """Steps of all joints to the next frame in this frame's facing frame: (B, T - 1, 22, 3)."""
    height = features[..., representation.part("root_height")]
    local = features[..., representation.part("joint_positions")].unflatten(-1, (21, 3))
    zero = torch.zeros_like(height)
    root = torch.cat([zero, height, zero], dim=-1)[..., None, :]
    pose = torch.cat([root, local], dim=-2)  # (B, T, 22, 3) in each frame's facing frame
    turn = -2.0 * features[..., representation.part("root_heading_rate")][:, :-1]  # (B, T - 1, 1)
    ahead = features[..., representation.part("root_velocity")][:, :-1]
    moved = torch.stack([ahead[..., 0], torch.zeros_like(ahead[..., 0]), ahead[..., 1]], dim=-1)
    following = rotate_by_heading(pose[:, 1:] + moved[..., None, :], turn)
    return following - pose[:, :-1]
