"""Foot contacts: when a foot stands still on the floor, and how well it does.

The floor is y = 0. A standing ankle is not on the floor but its rest height above it (about 5 cm
over the toes in the built-in skeleton), so the height of every foot joint is counted from where
it is in the rest pose with the feet on the floor. The four columns of contacts are left ankle,
left foot, right ankle, right foot.

These contacts are for locking feet and for measuring slide. The representation's contact block is
another thing: HumanML3D's, by speed alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.motion.skeleton import FOOT_JOINTS, SMPL_22, Skeleton

MAX_HEIGHT = 0.05  # metres above the joint's height in the rest pose
MAX_SPEED = 0.15  # metres per second
MIN_FRAMES = 3
# Once in contact a foot stays until it is clearly off: this much over the limits.
RELEASE_FACTOR = 1.6


@dataclass(frozen=True, kw_only=True)
class FootSlide:
    """Horizontal slide of foot joints while in contact."""

    metres_per_frame: float  # mean over pairs of frames in contact, 0 where there is none
    metres_per_second: float
    contact_share: float  # of all frames of the four foot joints, 0 to 1


def rest_heights(skeleton: Skeleton = SMPL_22) -> tuple[float, ...]:
    """Heights in metres of the four foot joints over the lowest joint of the rest pose."""
    heights = [position[1] for position in skeleton.rest_joints()]
    lowest = min(heights)
    return tuple(heights[joint] - lowest for joint in FOOT_JOINTS)


def detect_contacts(joints: Tensor, fps: float, skeleton: Skeleton = SMPL_22) -> Tensor:
    """Where feet stand: low, slow, with hysteresis, for at least three frames.

    Args:
        joints: (T, J, 3) metres, on the floor y = 0.
        fps: frames per second of the joints.
        skeleton: gives the standing height of the ankles.

    Returns:
        contacts: (T, 4) float, 0 or 1.
    """
    feet = _feet(joints, fps)
    height = feet[..., 1] - feet.new_tensor(rest_heights(skeleton))
    speed = _speeds(feet, fps)
    enters = (height < MAX_HEIGHT) & (speed < MAX_SPEED)
    stays = (height < MAX_HEIGHT * RELEASE_FACTOR) & (speed < MAX_SPEED * RELEASE_FACTOR)
    return hysteresis(enters, stays, min_frames=MIN_FRAMES).to(joints.dtype)


def hysteresis(enters: Tensor, stays: Tensor, *, min_frames: int) -> Tensor:
    """Stretches of `stays` with an `enters` in them, from that on, at least min_frames long.

    Both (T, C) bool, `enters` within `stays`; the result is (T, C) bool. A stretch that is too
    short is dropped; clips that are shorter than min_frames have none.
    """
    enters_rows, stays_rows = enters.cpu().tolist(), stays.cpu().tolist()
    num_frames, num_columns = enters.shape
    result = torch.zeros(num_frames, num_columns, dtype=torch.bool)
    for column in range(num_columns):
        start = -1
        for frame in range(num_frames + 1):
            goes_on = frame < num_frames and (
                stays_rows[frame][column] if start >= 0 else enters_rows[frame][column]
            )
            if goes_on and start < 0:
                start = frame
            elif not goes_on and start >= 0:
                if frame - start >= min_frames:
                    result[start:frame, column] = True
                start = -1
    return result.to(enters.device)


def spans(contacts: Tensor) -> list[tuple[int, int]]:
    """First and past-the-last frame of each stretch over 0.5 in one column (T,)."""
    is_on = [False, *(contacts > 0.5).tolist(), False]
    edges = [frame for frame in range(1, len(is_on)) if is_on[frame] != is_on[frame - 1]]
    return [(first - 1, last - 1) for first, last in zip(edges[::2], edges[1::2], strict=True)]


def foot_slide(joints: Tensor, contacts: Tensor, fps: float) -> FootSlide:
    """How far foot joints (T, J, 3) move over the floor between frames that are both in contact.

    The contacts (T, 4) are best those of a source motion: a motion's own have been picked for
    being slow.
    """
    feet = _feet(joints, fps)
    if contacts.shape != feet.shape[:2]:
        raise ValueError(
            f"contacts has shape {tuple(contacts.shape)}, needs {tuple(feet.shape[:2])}"
        )
    moved = torch.linalg.vector_norm(torch.diff(feet[..., [0, 2]], dim=0), dim=-1)
    stands = (contacts[1:] > 0.5) & (contacts[:-1] > 0.5)
    mean = float(moved[stands].mean()) if bool(stands.any()) else 0.0
    share = float((contacts > 0.5).to(feet.dtype).mean())
    return FootSlide(metres_per_frame=mean, metres_per_second=mean * fps, contact_share=share)


def floor_penetration(joints: Tensor) -> Tensor:
    """Depth in metres of the lowest joint under the floor, (..., J, 3) to (...); 0 above it."""
    return (-joints[..., 1].amin(dim=-1)).clamp(min=0.0)


def _feet(joints: Tensor, fps: float) -> Tensor:
    if joints.ndim != 3 or joints.shape[1] <= max(FOOT_JOINTS) or joints.shape[2] != 3:
        raise ValueError(f"joints has shape {tuple(joints.shape)}, needs (T, 22, 3)")
    if fps <= 0:
        raise ValueError(f"fps is {fps}, needs more than 0")
    return joints[:, list(FOOT_JOINTS)]


def _speeds(feet: Tensor, fps: float) -> Tensor:
    """Speeds (T, 4) in metres per second, the slower of the steps to and from each frame."""
    if len(feet) < 2:
        return torch.zeros_like(feet[..., 0])
    steps = torch.linalg.vector_norm(torch.diff(feet, dim=0), dim=-1) * fps
    return torch.minimum(torch.cat((steps[:1], steps)), torch.cat((steps, steps[-1:])))
