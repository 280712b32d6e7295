"""Figures of one motion: how long it is, and how much its feet slide, sink and shake.

Slide is measured where the motion's own `contacts` say that a foot stands, so the share of frames
in contact belongs beside it: a motion without contacts cannot slide.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.motion.motion import Motion
from engine.motion.skeleton import FOOT_JOINTS

DEEP_METRES = 0.03


@dataclass(frozen=True, kw_only=True)
class MotionQuality:
    """Speeds are horizontal; heights are above the floor y = 0."""

    seconds: float
    num_frames: int
    contact_share: float  # of all frames of the four foot joints, 0 to 1
    slide_m_per_s: float  # mean speed of foot joints in contact; 0 where there is none
    lowest_m: float  # height of the lowest joint of all frames
    deep_share: float  # share of frames with a joint deeper than 3 cm
    jitter_m_per_s3: float  # mean length of the third derivative of joint positions


def measure(motion: Motion) -> MotionQuality:
    """Measure one motion."""
    joints = motion.joints()  # (T, J, 3)
    lowest = joints[..., 1].amin(dim=1)  # (T,)
    return MotionQuality(
        seconds=motion.seconds,
        num_frames=motion.num_frames,
        contact_share=float(motion.contacts.mean()),
        slide_m_per_s=_slide(joints, motion.contacts, motion.fps),
        lowest_m=float(lowest.min()),
        deep_share=float((lowest < -DEEP_METRES).float().mean()),
        jitter_m_per_s3=_jitter(joints, motion.fps),
    )


def _slide(joints: Tensor, contacts: Tensor, fps: float) -> float:
    feet = joints[:, list(FOOT_JOINTS)][..., [0, 2]]  # (T, 4, 2)
    speed = (feet[1:] - feet[:-1]).norm(dim=-1) * fps  # (T - 1, 4)
    stands = (contacts[1:] > 0.5) & (contacts[:-1] > 0.5)
    return float(speed[stands].mean()) if bool(stands.any()) else 0.0


def _jitter(joints: Tensor, fps: float) -> float:
    if joints.shape[0] < 4:
        return 0.0
    return float(torch.diff(joints, n=3, dim=0).norm(dim=-1).mean() * fps**3)
