"""Keypoints of detectors, in one order: that of the skeleton's joints.

Every detector has points of its own. Here they become (T, 22, 3): for each joint of SMPL_22 where
it is seen and how surely, confidence 0 for what no detector shows (spine and collars). Pelvis and
neck are the middles of hips and shoulders, the head is the middle of the ears: points on the
body's surface, not joint centres. `keypoints_of_pose` says where a pose would be seen by such a
detector, so that a pose is never forced onto points that mean something else.

Sources: the layouts are the documented orders of MediaPipe Pose (33), COCO (17), OpenPose BODY_25
and Halpe (26).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.motion import skeleton as sk

OBSERVED_JOINTS = (0, 1, 2, 4, 5, 7, 8, 10, 11, 12, 15, 16, 17, 18, 19, 20, 21)
NUM_OBSERVED = len(OBSERVED_JOINTS)
# The middle of the ears from the head joint, in the head's frame, metres. The head joint of our
# skeleton is at the top of the neck.
EARS_OFFSET = (0.0, 0.06, 0.01)


@dataclass(frozen=True, kw_only=True)
class KeypointLayout:
    """Which of a detector's points stand for a joint: the mean of those named, in its order."""

    name: str
    num_keypoints: int
    sources: dict[int, tuple[int, ...]]  # joint to points
    fallbacks: dict[int, tuple[int, ...]] | None = None  # where the sources aren't seen


def _sides(left: tuple[int, ...], right: tuple[int, ...]) -> dict[int, tuple[int, ...]]:
    """Hip, knee, ankle, toe, shoulder, elbow, wrist of both sides; toes may be missing (-1)."""
    lefts = (sk.LEFT_HIP, sk.LEFT_KNEE, sk.LEFT_ANKLE, sk.LEFT_FOOT)
    lefts = (*lefts, sk.LEFT_SHOULDER, sk.LEFT_ELBOW, sk.LEFT_WRIST)
    rights = tuple(sk.SMPL_22.mirror_order[joint] for joint in lefts)
    pairs = [*zip(lefts, left, strict=True), *zip(rights, right, strict=True)]
    return {joint: (point,) for joint, point in pairs if point >= 0}


def _with_middles(
    sides: dict[int, tuple[int, ...]], ears: tuple[int, ...]
) -> dict[int, tuple[int, ...]]:
    hips = (*sides[sk.LEFT_HIP], *sides[sk.RIGHT_HIP])
    shoulders = (*sides[sk.LEFT_SHOULDER], *sides[sk.RIGHT_SHOULDER])
    return {**sides, sk.PELVIS: hips, sk.NECK: shoulders, sk.HEAD: ears}


LAYOUTS: dict[str, KeypointLayout] = {
    layout.name: layout
    for layout in (
        KeypointLayout(
            name="smpl_22",  # joints themselves, as of a projected motion
            num_keypoints=22,
            sources=_with_middles(
                _sides((1, 4, 7, 10, 16, 18, 20), (2, 5, 8, 11, 17, 19, 21)), ears=(15,)
            ),
        ),
        KeypointLayout(
            name="blazepose_33",
            num_keypoints=33,
            sources=_with_middles(
                _sides((23, 25, 27, 31, 11, 13, 15), (24, 26, 28, 32, 12, 14, 16)), ears=(7, 8)
            ),
            fallbacks={sk.HEAD: (0,)},
        ),
        KeypointLayout(
            name="coco_17",
            num_keypoints=17,
            sources=_with_middles(
                _sides((11, 13, 15, -1, 5, 7, 9), (12, 14, 16, -1, 6, 8, 10)), ears=(3, 4)
            ),
            fallbacks={sk.HEAD: (0,)},
        ),
        KeypointLayout(
            name="body_25",
            num_keypoints=25,
            sources=_with_middles(
                _sides((12, 13, 14, 19, 5, 6, 7), (9, 10, 11, 22, 2, 3, 4)), ears=(17, 18)
            ),
            fallbacks={sk.HEAD: (0,), sk.PELVIS: (8,), sk.NECK: (1,)},
        ),
        KeypointLayout(
            name="halpe_26",
            num_keypoints=26,
            sources=_with_middles(
                _sides((11, 13, 15, 20, 5, 7, 9), (12, 14, 16, 21, 6, 8, 10)), ears=(3, 4)
            ),
            fallbacks={sk.HEAD: (0,), sk.PELVIS: (19,), sk.NECK: (18,)},
        ),
        KeypointLayout(
            name="nba_16",  # MAS's AlphaPose set, right limbs first; nose and top of the head
            num_keypoints=16,
            sources=_with_middles(
                _sides((4, 5, 6, -1, 13, 14, 15), (1, 2, 3, -1, 10, 11, 12)), ears=(8, 9)
            ),
        ),
    )
}


def to_joint_keypoints(keypoints: Tensor, layout: str) -> Tensor:
    """A detector's keypoints (..., K, 3) as (..., 22, 3): place and confidence of each joint.

    A point that is the middle of several has the least of their confidences. Points without
    confidence, or whose numbers aren't finite, are zeros.

    Raises:
        ValueError: the layout isn't one of LAYOUTS, or K isn't its number of keypoints.
    """
    if layout not in LAYOUTS:
        raise ValueError(f"The keypoint layout is {layout!r}, needs one of {', '.join(LAYOUTS)}")
    chosen = LAYOUTS[layout]
    if keypoints.ndim < 2 or tuple(keypoints.shape[-2:]) != (chosen.num_keypoints, 3):
        raise ValueError(
            f"keypoints has shape {tuple(keypoints.shape)}, {layout} needs "
            f"(..., {chosen.num_keypoints}, 3)"
        )
    is_seen = torch.isfinite(keypoints).all(-1, keepdim=True) & (keypoints[..., 2:] > 0)
    keypoints = torch.where(is_seen, keypoints, torch.zeros_like(keypoints))
    joints = keypoints.new_zeros(*keypoints.shape[:-2], 22, 3)
    for joint, points in chosen.sources.items():
        found = _middle(keypoints, points)
        if chosen.fallbacks and joint in chosen.fallbacks:
            other = _middle(keypoints, chosen.fallbacks[joint])
            found = torch.where(found[..., 2:] > 0, found, other)
        joints[..., joint, :] = found
    return joints


def _middle(keypoints: Tensor, points: tuple[int, ...]) -> Tensor:
    chosen = keypoints[..., list(points), :]
    confidence = chosen[..., 2:].amin(-2)
    middle = torch.cat((chosen[..., :2].mean(-2), confidence), dim=-1)
    return torch.where(confidence > 0, middle, torch.zeros_like(middle))


def keypoints_of_pose(
    joints: Tensor, head_rotations: Tensor, offsets: Tensor | None = None
) -> Tensor:
    """Where a detector's points are on a body, (..., 22, 3) metres.

    Args:
        joints: (..., 22, 3) metres.
        head_rotations: (..., 3, 3) of the head joint, in the frame of the joints.
        offsets: (..., 22, 3) metres, a detector's own idea of where each joint is, in the
            frame of the joints; added before middles are taken.
    """
    if offsets is not None:
        joints = joints + offsets
    ears = (head_rotations @ joints.new_tensor(EARS_OFFSET)[:, None])[..., 0]
    columns = list(joints.unbind(-2))
    columns[sk.PELVIS] = (columns[sk.LEFT_HIP] + columns[sk.RIGHT_HIP]) / 2
    columns[sk.NECK] = (columns[sk.LEFT_SHOULDER] + columns[sk.RIGHT_SHOULDER]) / 2
    columns[sk.HEAD] = columns[sk.HEAD] + ears
    return torch.stack(columns, dim=-2)
