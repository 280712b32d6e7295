"""Skeletons: joint names, parents and rest offsets, and the built-in one.

The built-in skeleton has the 22 body joints in HumanML3D's order. Its rest pose is a T-pose:
standing upright, facing +z, arms along x, feet flat. The bone lengths are the symmetric means of
HumanML3D's uniform skeleton (Guo et al., Generating Diverse and Natural 3D Human Motions from
Text, CVPR 2022), the directions are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class Skeleton:
    """A tree of joints. Offsets are from the parent in the rest pose, in metres."""

    name: str
    joint_names: tuple[str, ...]
    parents: tuple[int, ...]  # -1 for the root; a parent always comes before its children
    rest_offsets: tuple[tuple[float, float, float], ...]

    def __post_init__(self) -> None:
        counts = {len(self.joint_names), len(self.parents), len(self.rest_offsets)}
        if len(counts) != 1:
            raise ValueError(f"Skeleton {self.name} has names, parents and offsets of {counts}")
        if self.parents[0] != -1 or any(not -1 < p < j for j, p in enumerate(self.parents) if j):
            raise ValueError(f"Skeleton {self.name} needs one root and parents before children")

    @property
    def num_joints(self) -> int:
        """Number of joints, J."""
        return len(self.joint_names)

    @cached_property
    def mirror_order(self) -> tuple[int, ...]:
        """For each joint the index of its twin on the other side (itself on the middle line)."""
        index = {name: j for j, name in enumerate(self.joint_names)}
        swap = {"left": "right", "right": "left"}

        def twin(name: str) -> int:
            side, _, rest = name.partition("_")
            return index[f"{swap[side]}_{rest}"] if side in swap else index[name]

        return tuple(twin(name) for name in self.joint_names)

    def children(self, joint: int) -> tuple[int, ...]:
        """Indices of the joints whose parent is `joint`."""
        return tuple(j for j, parent in enumerate(self.parents) if parent == joint)

    def offsets_like(self, tensor: Tensor) -> Tensor:
        """Rest offsets (J, 3) with the dtype and device of `tensor`."""
        return torch.tensor(self.rest_offsets, dtype=tensor.dtype, device=tensor.device)

    def rest_joints(self) -> tuple[tuple[float, float, float], ...]:
        """Joint positions in the rest pose with the root at the origin."""
        joints: list[tuple[float, float, float]] = []
        for parent, (x, y, z) in zip(self.parents, self.rest_offsets, strict=True):
            px, py, pz = joints[parent] if parent >= 0 else (0.0, 0.0, 0.0)
            joints.append((px + x, py + y, pz + z))
        return tuple(joints)

    def root_height(self) -> float:
        """Height of the root above the lowest joint in the rest pose, in metres."""
        return -min(y for _, y, _ in self.rest_joints())


PELVIS, LEFT_HIP, RIGHT_HIP, SPINE1, LEFT_KNEE, RIGHT_KNEE, SPINE2 = range(7)
LEFT_ANKLE, RIGHT_ANKLE, SPINE3, LEFT_FOOT, RIGHT_FOOT, NECK = range(7, 13)
LEFT_COLLAR, RIGHT_COLLAR, HEAD, LEFT_SHOULDER, RIGHT_SHOULDER = range(13, 18)
LEFT_ELBOW, RIGHT_ELBOW, LEFT_WRIST, RIGHT_WRIST = range(18, 22)

FOOT_JOINTS = (LEFT_ANKLE, LEFT_FOOT, RIGHT_ANKLE, RIGHT_FOOT)

SMPL_22 = Skeleton(
    name="smpl_22",
    joint_names=(
        "pelvis",
        "left_hip",
        "right_hip",
        "spine1",
        "left_knee",
        "right_knee",
        "spine2",
        "left_ankle",
        "right_ankle",
        "spine3",
        "left_foot",
        "right_foot",
        "neck",
        "left_collar",
        "right_collar",
        "head",
        "left_shoulder",
        "right_shoulder",
        "left_elbow",
        "right_elbow",
        "left_wrist",
        "right_wrist",
    ),
    parents=(-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19),
    rest_offsets=(
        (0.0, 0.0, 0.0),
        (0.075, -0.075, 0.0),
        (-0.075, -0.075, 0.0),
        (0.0, 0.132, 0.0),
        (0.0, -0.392, 0.0),
        (0.0, -0.392, 0.0),
        (0.0, 0.143, 0.0),
        (0.0, -0.429, 0.0),
        (0.0, -0.429, 0.0),
        (0.0, 0.057, 0.0),
        (0.0, -0.055, 0.134),
        (0.0, -0.055, 0.134),
        (0.0, 0.219, 0.0),
        (0.075, 0.115, -0.02),
        (-0.075, 0.115, -0.02),
        (0.0, 0.1, 0.02),
        (0.12, 0.04, 0.0),
        (-0.12, 0.04, 0.0),
        (0.26, 0.0, 0.0),
        (-0.26, 0.0, 0.0),
        (0.268, 0.0, 0.0),
        (-0.268, 0.0, 0.0),
    ),
)
