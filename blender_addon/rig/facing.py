"""Which way a body faces, from its bones, and how sure that is. Armature space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .bone_tree import BoneTree
from .rotations import FloatArray, cross, unit

_SURE_FOOT = 0.3  # how much of a foot's length goes forward; less may be a foot that points down


@dataclass(frozen=True, kw_only=True, eq=False)
class Facing:
    """Axes of a standing body, each (3,) and unit."""

    up: FloatArray
    forward: FloatArray
    left: FloatArray
    confidence: float  # of forward, and so of left


def find_facing(
    tree: BoneTree, hips: FloatArray, shoulders: FloatArray, feet: FloatArray | None
) -> Facing:
    """Find the facing from both hips and shoulders (2, 3), and feet from ankle to toe (2, 3).

    Without feet that tell it, the way that Blender's characters face, -y, is guessed.
    """
    up = unit(shoulders.mean(axis=0) - hips.mean(axis=0))
    across = unit(hips[0] - hips[1])
    ahead = unit(cross(across, up))  # or behind: that is the question
    confidence, sign = 0.3, 1.0 if float(ahead @ (0.0, -1.0, 0.0)) >= 0 else -1.0
    if feet is not None:
        shares = feet @ ahead / np.maximum(np.linalg.norm(feet, axis=-1), 1e-12)
        agree = bool(np.sign(shares[0]) == np.sign(shares[1]))
        if agree and float(np.abs(shares).min()) > 0.05:
            sign = float(np.sign(shares[0]))
            confidence = 0.95 if float(np.abs(shares).min()) > _SURE_FOOT else 0.55
    forward = sign * ahead
    return Facing(up=up, forward=forward, left=unit(cross(up, forward)), confidence=confidence)
