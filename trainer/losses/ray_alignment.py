"""Features against what they would be if the joints lay on their rays (VideoMDM).

Reprojection reaches only the features that joint positions come from. The others (steps, contacts)
learn from a pseudo-target: the prediction's own joints, moved onto their rays, written as features.
`ray_target` can hold the positions' own features against theirs as well: the error is the same that
the depth-weighted reprojection sees, but frame by frame in the body's frame, where it is learned
from far sooner than through a path that sums up all frames before.

Source: VideoMDM (arXiv 2606.13364), representation alignment. Shape letters: B clips, T frames,
F features.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from engine.motion import skeleton as sk
from engine.motion.ray_projection import NEAR, Sight, encode_frames, onto_rays
from engine.motion.representation import (
    DecodedMotion,
    Representation,
    estimate_heading,
    rotate_by_heading,
)

DERIVED = ("joint_velocities", "foot_contacts")  # what no position depends on
_SMOOTHED = 14  # last frames of a clip, whose estimated headings depend on what follows
_STEADY = 3  # frames over which corrections are averaged before feet are asked whether they stand


@dataclass(frozen=True, kw_only=True)
class Target:
    """Features to come near to, and how much each counts."""

    features: Tensor  # (B, T, F), not normalised, without a gradient
    weights: Tensor  # (B, T, F)


@torch.no_grad()
def ray_target(
    decoded: DecodedMotion,
    sight: Sight,
    weights: Tensor,
    mask: Tensor,
    representation: Representation,
    *,
    heading: str = "own",
    teacher: DecodedMotion | None = None,
) -> Target:
    """The decoded prediction with its joints on their rays, as features; nothing is learned here.

    Args:
        decoded: the prediction, (B, T).
        sight: what the camera saw, (B, T); all of each correction counts, however sure.
        weights: (B, T, 22) what each joint counts.
        mask: (B, T) bool, frames of the clips.
        representation: of the features.
        heading: "own" writes features in the facing frame that the prediction itself has (so
            that they differ by nothing but the correction); "estimated" in that of the moved
            joints, which also tells where the prediction should have faced.
        teacher: (B, T), whose place and facing the prediction is given before it goes onto the
            rays (`placed_as`). None leaves it where its own path has led: a body put on its rays at
            half its distance is half as large, off the floor where the camera looks down, and one
            seen from a wrong side is bent to what isn't there.
    """
    held = _held_index(mask)
    rows = torch.arange(len(mask), device=mask.device)[:, None]
    if teacher is not None:
        decoded = placed_as(decoded, teacher, sight)
    joints, own = decoded.joints.float()[rows, held], decoded.heading.float()[rows, held]
    full = Sight(
        camera=sight.camera,
        plane_points=sight.plane_points,
        confidence=torch.ones_like(sight.confidence),
    )
    moved = torch.where((weights > 0)[..., None], onto_rays(joints, full), joints)
    depth = sight.camera.to_camera(joints)[..., 2]
    weights = weights * (depth > NEAR)
    faced = own
    if heading == "estimated":
        estimated = estimate_heading(joints)
        # beyond a clip's end nothing is known that its headings could be smoothed with
        sure = _held_index(mask, but=_SMOOTHED)
        faced = own + (estimated - own)[rows, sure] + estimate_heading(moved) - estimated
    features = encode_frames(representation, moved, faced)
    # jitter of keypoints is no step
    steady = encode_frames(representation, joints + _averaged(moved - joints), faced)
    part = representation.part("foot_contacts")
    features[..., part] = steady[..., part]
    return Target(features=features, weights=feature_mask(weights, representation))


def placed_as(decoded: DecodedMotion, teacher: DecodedMotion, sight: Sight) -> DecodedMotion:
    """A motion (B, T) whose every frame faces as the teacher's and stands where that one is seen.

    The root is as far away as the teacher's, on its own ray where it is seen.
    """
    pose = decoded.joints - decoded.joints[..., :1, :]
    turned = rotate_by_heading(pose, (teacher.heading - decoded.heading)[..., None])
    root = teacher.joints[..., :1, :]
    seen = sight.camera.to_camera(root)
    ray = functional.pad(sight.plane_points[..., :1, :], (0, 1), value=1.0)
    off = (sight.confidence[..., :1, None] > 0) * (seen[..., 2:] * ray - seen)
    return DecodedMotion(
        joints=turned + root + off @ sight.camera.rotation,
        heading=teacher.heading,
        contacts=decoded.contacts,
    )


def feature_mask(weights: Tensor, representation: Representation) -> Tensor:
    """What each feature counts (B, T, F), by what each joint does (B, T, 22).

    A feature of two frames counts by both; none of the last frame does, for what comes after it
    isn't known.
    """
    after = functional.pad(weights[:, 1:], (0, 0, 0, 1))
    both = weights * after
    root, root_pair = weights[..., :1], both[..., :1]
    # where a body faces is told by hips and shoulders
    trunk = [sk.LEFT_HIP, sk.RIGHT_HIP, sk.LEFT_SHOULDER, sk.RIGHT_SHOULDER]
    masks = {
        "root_heading_rate": both[..., trunk].mean(-1, keepdim=True),
        "root_velocity": root_pair.expand(*root.shape[:-1], 2),
        "root_height": root,
        "joint_positions": weights[..., 1:].repeat_interleave(3, dim=-1),
        "joint_rotations": weights[..., 1:].repeat_interleave(6, dim=-1),
        "joint_velocities": both.repeat_interleave(3, dim=-1),
        "foot_contacts": both[..., list(sk.FOOT_JOINTS)],
    }
    return torch.cat([masks[block] for block in representation.blocks], dim=-1)


def alignment_loss(
    predicted: Tensor, target: Tensor, weights: Tensor, parts: tuple[slice, ...]
) -> Tensor:
    """Mean square over some features (B, T, F), both normalised, per clip (B,).

    L = sum_tf m_tf (x_tf - sg[y_tf])^2 / sum_tf m_tf        f in the parts
    """
    total = predicted.new_zeros(len(predicted))
    count = torch.zeros_like(total)
    for part in parts:
        error = (predicted[..., part].float() - target[..., part].detach()).square()
        total = total + (weights[..., part] * error).sum((-1, -2))
        count = count + weights[..., part].sum((-1, -2))
    return total / count.clamp(min=1e-6)


def _held_index(mask: Tensor, *, but: int = 1) -> Tensor:
    """Frames (B, T), those of the mask (B, T) but the last few; for later ones the last of them."""
    last = (mask.sum(-1, keepdim=True) - but).clamp(min=0)
    return torch.minimum(torch.arange(mask.shape[1], device=mask.device)[None], last)


def _averaged(points: Tensor) -> Tensor:
    """Points (B, T, 22, 3), each the mean of the frames around."""
    rows = points.flatten(2).transpose(1, 2)  # (B, 66, T)
    padded = functional.pad(rows, (_STEADY // 2, _STEADY // 2), mode="replicate")
    return functional.avg_pool1d(padded, _STEADY, 1).transpose(1, 2).reshape(points.shape)
