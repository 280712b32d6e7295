"""Figures of one motion: how long it is, and how much its feet slide, sink and shake.

Slide is measured where the motion's own `contacts` say that a foot stands, so the share of frames
in contact belongs beside it: a motion without contacts cannot slide.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.motion.contacts import floor_penetration, foot_slide
from engine.motion.motion import Motion
from engine.motion.skeleton import SMPL_22

DEEP_METRES = 0.03


@dataclass(frozen=True, kw_only=True)
class MotionQuality:
    """Lengths in metres, the floor is y = 0. None where the skeleton's feet are not known."""

    seconds: float
    num_frames: int
    contact_share: float | None  # of all frames of the four foot joints, 0 to 1
    slide_m_per_s: float | None  # mean horizontal speed of foot joints in contact
    penetration_m: float  # the deepest joint of all frames; 0 if none is under the floor
    deep_share: float  # share of frames with a joint deeper than 3 cm
    jitter_m_per_s3: float  # mean length of the third derivative of joint positions


def measure(motion: Motion) -> MotionQuality:
    """Measure one motion."""
    joints = motion.joints()  # (T, J, 3)
    depth = floor_penetration(joints)  # (T,)
    has_feet = motion.skeleton.joint_names == SMPL_22.joint_names
    slide = foot_slide(joints, motion.contacts, motion.fps) if has_feet else None
    return MotionQuality(
        seconds=motion.seconds,
        num_frames=motion.num_frames,
        contact_share=slide.contact_share if slide is not None else None,
        slide_m_per_s=slide.metres_per_second if slide is not None else None,
        penetration_m=float(depth.max()),
        deep_share=float((depth > DEEP_METRES).float().mean()),
        jitter_m_per_s3=_jitter(joints, motion.fps),
    )


def _jitter(joints: Tensor, fps: float) -> float:
    if joints.shape[0] < 4:
        return 0.0
    return float(torch.diff(joints, n=3, dim=0).norm(dim=-1).mean() * fps**3)
