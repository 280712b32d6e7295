"""Motion: what a model makes and a file holds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypedDict

from torch import Tensor

from engine.motion.camera import Camera
from engine.motion.kinematics import forward_kinematics
from engine.motion.skeleton import Skeleton


@dataclass(frozen=True, kw_only=True)
class Motion:
    """T frames of one character.

    `contacts` are 1 where left ankle, left foot, right ankle, right foot stand still on the
    floor. A motion that was seen by a camera has that camera, and says how sure each joint is.
    `provenance` holds what is needed to make the motion again, as JSON values.
    `warnings` are lines for the person who asked.
    """

    fps: float
    skeleton: Skeleton
    root_translation: Tensor  # (T, 3) metres
    local_rotations: Tensor  # (T, J, 4) wxyz, relative to the parent
    contacts: Tensor  # (T, 4)
    provenance: Mapping[str, object] = field(default_factory=dict[str, object])
    warnings: tuple[str, ...] = ()
    camera: Camera | None = None  # (T,)
    joint_confidence: Tensor | None = None  # (T, J) 0 to 1

    def __post_init__(self) -> None:
        frames, joints = self.root_translation.shape[0], self.skeleton.num_joints
        expected = {"root_translation": (frames, 3), "local_rotations": (frames, joints, 4)}
        expected["contacts"] = (frames, 4)
        if self.joint_confidence is not None:
            expected["joint_confidence"] = (frames, joints)
        for name, shape in expected.items():
            found = tuple(getattr(self, name).shape)
            if found != shape:
                raise ValueError(f"{name} has shape {found}, needs {shape}")
        if frames < 1:
            raise ValueError("The motion has 0 frames, needs 1 or more")
        if not 0 < self.fps < math.inf:
            raise ValueError(f"fps is {self.fps}, needs more than 0")

    @property
    def num_frames(self) -> int:
        """Number of frames, T."""
        return self.root_translation.shape[0]

    @property
    def seconds(self) -> float:
        """Length in seconds: every frame lasts 1 / fps."""
        return self.num_frames / self.fps

    def joints(self) -> Tensor:
        """Joint positions (T, J, 3) in metres, by forward kinematics."""
        return forward_kinematics(self.local_rotations, self.root_translation, self.skeleton)[0]

    def crop(self, start: int, stop: int) -> Motion:
        """Frames start to stop (excluded)."""
        return replace(
            self,
            root_translation=self.root_translation[start:stop],
            local_rotations=self.local_rotations[start:stop],
            contacts=self.contacts[start:stop],
            **_seen_at(self, slice(start, stop)),
        )


class _Seen(TypedDict):
    camera: Camera | None
    joint_confidence: Tensor | None


def _seen_at(motion: Motion, frames: slice | Tensor) -> _Seen:
    camera, confidence = motion.camera, motion.joint_confidence
    return {
        "camera": None if camera is None else camera[frames],
        "joint_confidence": None if confidence is None else confidence[frames],
    }
