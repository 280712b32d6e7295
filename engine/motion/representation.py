"""Motion as named feature blocks, HumanML3D's 263 numbers a frame, both ways.

A representation is a list of blocks. `HUMANML3D` has all seven; `ROOT_LOCAL`, what our models
see, leaves out the joint rotations, which follow from the positions.

    root_heading_rate  1   minus half the growth of the heading per frame
    root_velocity      2   x and z step of the root to the next frame, in that frame's facing frame
    root_height        1   metres
    joint_positions   63   joints 1 to 21 less the root's x and z, in the facing frame
    joint_rotations  126   6D, first two columns, of joints 1 to 21 (shortest arcs, no twist)
    joint_velocities  66   step of every joint to the next frame, in this frame's facing frame
    foot_contacts      4   left ankle, left foot, right ankle, right foot: 1 if the step is short

Lengths are in metres, steps are per frame at the clip's rate (20 fps in HumanML3D).
Source: Guo et al., Generating Diverse and Natural 3D Human Motions from Text, CVPR 2022,
section 4 and its released features.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.motion import skeleton as sk
from engine.motion.rotations import matrix_to_sixd, quaternion_to_matrix, shortest_arc

BLOCK_SIZES = {
    "root_heading_rate": 1,
    "root_velocity": 2,
    "root_height": 1,
    "joint_positions": 63,
    "joint_rotations": 126,
    "joint_velocities": 66,
    "foot_contacts": 4,
}
CONTACT_STEP_SQUARED = 0.002  # m2 per frame2 at 20 fps; HumanML3D's threshold, without a height

_CHAINS = (
    (0, 2, 5, 8, 11),
    (0, 1, 4, 7, 10),
    (0, 3, 6, 9, 12, 15),
    (9, 14, 17, 19, 21),
    (9, 13, 16, 18, 20),
)
# HumanML3D's rest directions of the bone that ends in each joint: arms hang down.
_REST_DIRECTIONS = {
    **dict.fromkeys((sk.LEFT_HIP, sk.LEFT_COLLAR), (1.0, 0.0, 0.0)),
    **dict.fromkeys((sk.RIGHT_HIP, sk.RIGHT_COLLAR), (-1.0, 0.0, 0.0)),
    **dict.fromkeys((sk.SPINE1, sk.SPINE2, sk.SPINE3, sk.NECK), (0.0, 1.0, 0.0)),
    **dict.fromkeys((sk.LEFT_FOOT, sk.RIGHT_FOOT, sk.HEAD), (0.0, 0.0, 1.0)),
    **dict.fromkeys((4, 5, 7, 8, 16, 17, 18, 19, 20, 21), (0.0, -1.0, 0.0)),
}


@dataclass(frozen=True)
class Representation:
    """A choice of feature blocks, in order."""

    name: str
    blocks: tuple[str, ...]

    @property
    def num_features(self) -> int:
        """Features per frame, F."""
        return sum(BLOCK_SIZES[block] for block in self.blocks)

    @property
    def sizes(self) -> tuple[tuple[str, int], ...]:
        """Blocks with their sizes, as a checkpoint's header spells them out."""
        return tuple((block, BLOCK_SIZES[block]) for block in self.blocks)

    def part(self, block: str) -> slice:
        """Where a block stands in the vector."""
        start = 0
        for name in self.blocks:
            if name == block:
                return slice(start, start + BLOCK_SIZES[name])
            start += BLOCK_SIZES[name]
        raise ValueError(f"The representation {self.name} has no block {block}")

    def encode(self, joints: Tensor, heading: Tensor) -> Tensor:
        """Features of a motion, one frame fewer than the motion has.

        Args:
            joints: (..., T, 22, 3) metres.
            heading: (..., T) radians; from `estimate_heading`, or the one that a decoded
                prediction carries, so that encoding it again changes nothing.

        Returns:
            (..., T - 1, F)

        Raises:
            ValueError: the shapes are others, or T is below 2.
        """
        if joints.ndim < 3 or joints.shape[-2:] != (22, 3) or joints.shape[-3] < 2:
            raise ValueError(
                f"joints has shape {tuple(joints.shape)}, needs (..., 2 or more, 22, 3)"
            )
        if heading.shape != joints.shape[:-2]:
            raise ValueError(f"heading has shape {tuple(heading.shape)}, needs {joints.shape[:-2]}")
        blocks = _encode_blocks(joints, heading, rotations="joint_rotations" in self.blocks)
        return torch.cat([blocks[block] for block in self.blocks], dim=-1)

    def decode(self, features: Tensor) -> DecodedMotion:
        """Joint positions, heading and contacts of features; starts at the origin, facing +z.

        Args:
            features: (..., T, F), not normalised.

        Raises:
            ValueError: F is another.

        Source: HumanML3D's recovery from root and local positions; only the first 67 numbers
        matter for it.
        """
        if features.shape[-1] != self.num_features:
            raise ValueError(
                f"features has {features.shape[-1]} numbers a frame, {self.name} needs "
                f"{self.num_features}"
            )
        rate = features[..., self.part("root_heading_rate")][..., 0]
        step = features[..., self.part("root_velocity")]
        height = features[..., self.part("root_height")][..., 0]
        local = features[..., self.part("joint_positions")].unflatten(-1, (21, 3))

        heading = _exclusive_sum(-2.0 * rate)
        # root_velocity of frame t is turned by the heading of frame t + 1
        moved = rotate_by_heading(_with_zero_y(step), heading - 2.0 * rate)
        root = _exclusive_sum(moved, dim=-2)
        ground = root * root.new_tensor([1.0, 0.0, 1.0])
        joints = rotate_by_heading(local, heading[..., None]) + ground[..., None, :]
        root = torch.stack([ground[..., 0], height, ground[..., 2]], dim=-1)
        joints = torch.cat([root[..., None, :], joints], dim=-2)
        return DecodedMotion(joints, heading, features[..., self.part("foot_contacts")])


@dataclass(frozen=True)
class DecodedMotion:
    """What features say: positions with the heading that the features carry."""

    joints: Tensor  # (..., T, 22, 3) metres
    heading: Tensor  # (..., T) radians, 0 at the first frame
    contacts: Tensor  # (..., T, 4) as in the features, not rounded


HUMANML3D = Representation("humanml3d_263", tuple(BLOCK_SIZES))
ROOT_LOCAL = Representation(
    "root_local", tuple(block for block in BLOCK_SIZES if block != "joint_rotations")
)


def estimate_heading(joints: Tensor, smoothing: float = 4.0) -> Tensor:
    """Heading (..., T) in radians, continuous in time, from hips and shoulders.

    The facing direction is smoothed over time with a Gaussian of `smoothing` frames, so that the
    sway of the hips in a walk does not turn the frame that features are written in.
    """
    left, right = (sk.LEFT_HIP, sk.LEFT_SHOULDER), (sk.RIGHT_HIP, sk.RIGHT_SHOULDER)
    across = joints[..., left, :].sum(-2) - joints[..., right, :].sum(-2)
    facing = torch.stack([-across[..., 2], across[..., 0]], dim=-1)  # across x up, as (x, z)
    facing = facing / facing.norm(dim=-1, keepdim=True).clamp(min=1e-8)
    if smoothing > 0:
        facing = _smooth_over_time(facing, smoothing)
    return unwrap(torch.atan2(facing[..., 0], facing[..., 1]))


def unwrap(angle: Tensor) -> Tensor:
    """Angles (..., T) without jumps of a full turn between frames."""
    step = torch.diff(angle, dim=-1)
    wrapped = torch.remainder(step + torch.pi, 2 * torch.pi) - torch.pi
    return torch.cat([angle[..., :1], angle[..., :1] + torch.cumsum(wrapped, -1)], dim=-1)


def rotate_by_heading(points: Tensor, heading: Tensor) -> Tensor:
    """Turn points (..., 3) about the up axis by heading (...): +z goes to the heading."""
    cos, sin = torch.cos(heading), torch.sin(heading)
    x, y, z = points.unbind(-1)
    return torch.stack([cos * x + sin * z, y, cos * z - sin * x], dim=-1)


def _encode_blocks(joints: Tensor, heading: Tensor, *, rotations: bool) -> dict[str, Tensor]:
    step = joints[..., 1:, :, :] - joints[..., :-1, :, :]
    root = joints[..., 0, :]
    turn = torch.diff(heading, dim=-1)
    local = joints - root[..., None, :] * root.new_tensor([1.0, 0.0, 1.0])
    local = rotate_by_heading(local, -heading[..., None])
    root_step = rotate_by_heading(step[..., 0, :], -heading[..., 1:])
    feet = step[..., sk.FOOT_JOINTS, :]
    blocks = {
        # arcsin(sin(x)) keeps HumanML3D's range for turns of more than half a circle a frame
        "root_heading_rate": torch.asin(torch.sin(-turn / 2))[..., None],
        "root_velocity": root_step[..., (0, 2)],
        "root_height": root[..., :-1, 1:2],
        "joint_positions": local[..., :-1, 1:, :].flatten(-2),
        "joint_velocities": rotate_by_heading(step, -heading[..., :-1, None]).flatten(-2),
        "foot_contacts": (feet.square().sum(-1) < CONTACT_STEP_SQUARED).to(joints.dtype),
    }
    if rotations:
        sixd = shortest_arc_rotations(joints[..., :-1, :, :], heading[..., :-1])
        blocks["joint_rotations"] = sixd.flatten(-2)
    return blocks


def shortest_arc_rotations(joints: Tensor, heading: Tensor) -> Tensor:
    """HumanML3D's joint rotations (..., T, 21, 6): a feature, not an animation.

    Every chain, the arms' too, starts from the rotation of the root; a bone's rotation is the
    shortest arc from its rest direction, relative to that of the bone before it. HumanML3D's root
    rotation takes the world to the facing frame, so it turns by minus the heading.
    """
    half = -heading / 2
    zero = torch.zeros_like(half)
    root = quaternion_to_matrix(torch.stack([half.cos(), zero, half.sin(), zero], dim=-1))
    result = joints.new_zeros((*joints.shape[:-2], 21, 6))
    for chain in _CHAINS:
        parent = root
        for start, end in itertools.pairwise(chain):
            bone = joints[..., end, :] - joints[..., start, :]
            rest = bone.new_tensor(_REST_DIRECTIONS[end]).expand_as(bone)
            world = quaternion_to_matrix(shortest_arc(rest, bone))
            result[..., end - 1, :] = matrix_to_sixd(parent.transpose(-1, -2) @ world)
            parent = world
    return result


def _exclusive_sum(steps: Tensor, dim: int = -1) -> Tensor:
    """Running sum that starts at zero: element t is the sum of the steps before t."""
    total = torch.cumsum(steps, dim=dim)
    return total - steps


def _with_zero_y(ground: Tensor) -> Tensor:
    x, z = ground.unbind(-1)
    return torch.stack([x, torch.zeros_like(x), z], dim=-1)


def _smooth_over_time(values: Tensor, sigma: float) -> Tensor:
    """Gaussian over the frames (..., T, C), the end frames repeated beyond the ends."""
    frames, channels = values.shape[-2:]
    radius = max(1, round(3 * sigma))
    offsets = torch.arange(-radius, radius + 1, dtype=values.dtype, device=values.device)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    index = torch.arange(-radius, frames + radius, device=values.device).clamp(0, frames - 1)
    padded = values[..., index, :].reshape(-1, frames + 2 * radius, channels)
    windows = padded.unfold(1, 2 * radius + 1, 1)  # (N, T, C, 2 radius + 1)
    return torch.einsum("ntck,k->ntc", windows, kernel).reshape(values.shape)
