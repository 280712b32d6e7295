"""Where our skeleton's joints are in the trunk of another body. NumPy only: Blender imports it too.

The bones of a rig's trunk begin where its maker liked; hips and shoulders are anatomy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Our 22 joints, in engine.motion.skeleton's order.
JOINTS = (
    *("pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2"),
    *("left_ankle", "right_ankle", "spine3", "left_foot", "right_foot", "neck", "left_collar"),
    *("right_collar", "head", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow"),
    *("left_wrist", "right_wrist"),
)
SPINE = ("spine1", "spine2", "spine3")
# The trunk of engine.motion.skeleton at rest: from the pelvis, metres, x to its left, y up.
HIP_HEIGHT, SHOULDER_HEIGHT = -0.075, 0.487
TRUNK = {
    "pelvis": (0.0, 0.0, 0.0),
    "spine1": (0.0, 0.132, 0.0),
    "spine2": (0.0, 0.275, 0.0),
    "spine3": (0.0, 0.332, 0.0),
    "left_collar": (0.075, 0.447, -0.02),
    "right_collar": (-0.075, 0.447, -0.02),
}


def our_trunk(rest: dict[str, Floats]) -> dict[str, Floats]:
    """Joints of TRUNK in a resting body, (3,) each: ours laid from its hips to its shoulders.

    Args:
        rest: places (3,) of left_hip, right_hip, left_shoulder and right_shoulder.
    """
    hips = (rest["left_hip"] + rest["right_hip"]) / 2
    up = (rest["left_shoulder"] + rest["right_shoulder"]) / 2 - hips
    size = np.linalg.norm(up) / (SHOULDER_HEIGHT - HIP_HEIGHT)
    up = up / np.linalg.norm(up)
    left = rest["left_hip"] - rest["right_hip"]
    left = left - up * (left @ up)
    left = left / np.linalg.norm(left)
    axes = np.stack([left, up, np.cross(left, up)]) * size
    return {
        joint: hips + (np.array(place) - (0.0, HIP_HEIGHT, 0.0)) @ axes
        for joint, place in TRUNK.items()
    }


def spread_spine(points: Floats) -> Floats:
    """Three joints (3, 3) between the ends of a chain (N, 3); a chain of five has them itself."""
    at = np.linspace(0, len(points) - 1, 5)[1:-1]
    before = np.minimum(at.astype(int), len(points) - 2)
    part = (at - before)[:, None]
    return (1 - part) * points[before] + part * points[before + 1]
