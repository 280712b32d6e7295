"""Physical quality of one motion: sliding feet, floor, jitter, bones.

Joints are (T, 22, 3) metres, y up, floor at y = 0.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from engine.motion.contacts import detect_contacts, foot_slide
from engine.motion.skeleton import FOOT_JOINTS, SMPL_22

Joints = NDArray[np.float32]

FLOOR_TOLERANCE = 0.03  # metres that a joint may be under the floor


def foot_skate(joints: Joints, fps: float, contacts: Joints | None = None) -> tuple[float, float]:
    """Slide of planted feet: mean horizontal step in mm per frame, and the share in contact.

    Contacts are those of the motion itself unless given (T, 4). Counted are steps between two
    frames of which both are in contact. The slide is NaN where no foot ever is.
    """
    positions = torch.as_tensor(joints)
    planted = detect_contacts(positions, fps) if contacts is None else torch.as_tensor(contacts)
    slide = foot_slide(positions, planted, fps)
    millimetres = slide.metres_per_frame * 1_000 if slide.contact_share > 0 else float("nan")
    return millimetres, slide.contact_share


def foot_skate_near_floor(joints: Joints, *, height: float = 0.05) -> float:
    """Mean horizontal step in mm per frame of toes that are below `height` in both frames.

    Needs no contacts, so a motion can't look good by declaring none. NaN if no toe is low.

    Source: after He et al., NeMF, NeurIPS 2022, supplement (without its weighting by height).
    """
    toes = joints[:, (FOOT_JOINTS[1], FOOT_JOINTS[3])]
    low = toes[..., 1] < height
    held = low[1:] & low[:-1]
    step = np.linalg.norm(np.diff(toes[..., (0, 2)], axis=0), axis=-1)
    return float(step[held].mean() * 1_000) if held.any() else float("nan")


def floor_penetration(joints: Joints, *, tolerance: float = FLOOR_TOLERANCE) -> float:
    """Share of frames that have a joint more than `tolerance` metres under the floor."""
    return float((joints[..., 1].min(axis=-1) < -tolerance).mean())


def jitter(joints: Joints, fps: float) -> float:
    """Mean length of the third derivative of joint positions, in units of 100 m/s3.

    Source: Yi et al., TransPose, SIGGRAPH 2021, section 5.1.
    """
    if len(joints) < 4:
        return 0.0
    return float(np.linalg.norm(np.diff(joints, n=3, axis=0), axis=-1).mean() * fps**3 / 100)


def bone_length_deviation(joints: Joints) -> float:
    """Largest deviation of a bone's length over time, in millimetres."""
    parents = np.array(SMPL_22.parents[1:])
    lengths = np.linalg.norm(joints[:, 1:] - joints[:, parents], axis=-1)
    return float(lengths.std(axis=0).max() * 1_000)
