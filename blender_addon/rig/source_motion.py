"""A motion to retarget, whatever it came from: an engine's result, or another armature.

Metres, y up, the floor at y = 0. At rest the figure faces +z with its left on +x.

Shape letters: T frames, J joints.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..protocol import JobResult
from .bone_match import RigError
from .rotations import FloatArray, quaternion_to_matrix

SIDES = ("left", "right")
_NEEDED = (
    "pelvis",
    *(
        f"{side}_{joint}"
        for side in SIDES
        for joint in ("hip", "knee", "ankle", "foot", "shoulder", "elbow", "wrist")
    ),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class SourceMotion:
    """Joints over time, named as in bone_match.BODY_JOINTS, spine1, spine2 ... and neck, neck2 ...

    Each rotation turns the joint's bone from the source's rest pose to the frame's pose, in world
    axes. "left_foot" is where the toes bend.

    Raises:
        RigError: a joint is missing that every body needs.
        ValueError: the arrays' shapes don't agree.
    """

    fps: float
    joint_names: tuple[str, ...]
    positions: FloatArray  # (T, J, 3)
    rotations: FloatArray  # (T, J, 3, 3)
    rest: FloatArray  # (J, 3)
    contacts: FloatArray  # (T, 4) 1 where it stands: left ankle, left foot, right ankle, foot

    def __post_init__(self) -> None:
        missing = [name for name in _NEEDED if name not in self.joint_names]
        if missing:
            raise RigError(
                f"The motion has no joints {', '.join(missing)}; use another model or source"
            )
        frames, joints = len(self.positions), len(self.joint_names)
        shapes = {
            "positions": (frames, joints, 3),
            "rotations": (frames, joints, 3, 3),
            "rest": (joints, 3),
            "contacts": (frames, 4),
        }
        for name, shape in shapes.items():
            found = getattr(self, name).shape
            if found != shape:
                raise ValueError(f"SourceMotion.{name} has shape {found}, needs {shape}")
        if frames < 1 or self.fps <= 0:
            raise ValueError(f"SourceMotion has {frames} frames at {self.fps} fps")

    @property
    def num_frames(self) -> int:
        """T."""
        return len(self.positions)

    @property
    def spine(self) -> tuple[str, ...]:
        """Joints over the pelvis up to the chest, lowest first."""
        return tuple(name for name in self.joint_names if name.startswith("spine"))

    @property
    def neck(self) -> tuple[str, ...]:
        """Joints over the chest up to below the head, lowest first."""
        return tuple(name for name in self.joint_names if name.startswith("neck"))

    @property
    def rest_points(self) -> dict[str, FloatArray]:
        """Joint -> (3,) at rest."""
        return dict(zip(self.joint_names, self.rest, strict=True))

    def has(self, joint: str) -> bool:
        """Whether the motion has the joint."""
        return joint in self.joint_names

    def place(self, joint: str) -> FloatArray:
        """Positions (T, 3) of a joint."""
        return self.positions[:, self.joint_names.index(joint)]

    def turn(self, joint: str) -> FloatArray:
        """Rotations (T, 3, 3) of a joint."""
        return self.rotations[:, self.joint_names.index(joint)]


def source_from_result(result: JobResult) -> SourceMotion:
    """The motion of an engine's result, by forward kinematics.

    Raises:
        RigError: it lacks joints that a body needs.
    """
    local = quaternion_to_matrix(np.asarray(result.local_rotations, dtype=np.float64))
    offsets = np.asarray(result.rest_offsets, dtype=np.float64)
    rotations, rest = np.empty_like(local), np.zeros_like(offsets)
    positions = np.empty((*local.shape[:2], 3))
    for joint, parent in enumerate(result.parents):
        if parent < 0:
            rotations[:, joint] = local[:, joint]
            positions[:, joint] = result.root_translation
            continue
        rotations[:, joint] = rotations[:, parent] @ local[:, joint]
        positions[:, joint] = positions[:, parent] + rotations[:, parent] @ offsets[joint]
        rest[joint] = rest[parent] + offsets[joint]
    return SourceMotion(
        fps=result.fps,
        joint_names=tuple(result.joint_names),
        positions=positions,
        rotations=rotations,
        rest=rest,
        contacts=np.asarray(result.contacts, dtype=np.float64),
    )
