"""How badly a corrected motion fits what is known of it, and which way it gets better.

The gradient is written out: a force on a joint turns every joint above it, as torques do, so one
sum over the tree takes the place of a way back through every rotation. It is several times faster
than what automatic differentiation makes of the same sums.

Shape letters: J 22 joints, P 23 points (the joints, and the middle of the ears), T frames. Axes of
space come first and frames last: sums over the tree are then products with one small matrix.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.motion import proportions
from engine.motion import skeleton as sk
from engine.motion.contacts import rest_heights
from engine.motion.keypoint_layout import EARS_OFFSET
from engine.motion.motion import Motion
from engine.motion.rotations import quaternion_to_matrix
from engine.motion.skeleton import FOOT_JOINTS, SMPL_22

_EARS = 22  # the last point
_FEET = list(FOOT_JOINTS)
_TRUNK = (sk.PELVIS, sk.SPINE1, sk.SPINE2, sk.SPINE3, sk.NECK, sk.LEFT_COLLAR, sk.RIGHT_COLLAR)
_LEAST_DEPTH = 0.1  # metres; what is nearer to the camera isn't compared
_MOST_STEP = 25.0  # squared deviations of a step, from which a foot may as well be moving


@dataclass(frozen=True, kw_only=True)
class FitDeviations:
    """How far off each kind of knowledge usually is; smaller counts more."""

    keypoint: float = 0.012  # of the person's height in the picture
    mistake: float = 0.06  # of it; a keypoint that is further off is rather wrong
    limb: float = 0.5  # radians from the lifter's pose, about the camera's direction
    trunk: float = 0.25
    depth: float = 0.1  # as a share of these: radians that turn towards the camera or away
    bone: float = 0.1  # logarithm of a length
    acceleration: float = 20.0  # metres per second squared of a joint; costs by its size
    tremble: float = 6.0  # of it; smaller ones cost by their square
    step: float = 0.06  # metres per second of a standing foot
    floor: float = 0.03  # metres of a standing foot over or under its height
    root: float = 0.5  # metres from the lifter's path
    turn_seconds: float = 0.04  # over which corrections of rotations are smooth
    move_seconds: float = 0.08  # and those of the path
    num_steps: int = 100
    rate: float = 0.03


@dataclass(frozen=True, kw_only=True)
class Corrections:
    """What is added to a motion, or how the loss changes with each of these numbers."""

    turns: Tensor  # (3, J, T) radians about the axes of each joint, after its rotation
    moves: Tensor  # (3, T) metres of the root
    growth: Tensor  # (13,) logarithms of bone lengths


class TrackLoss:
    """The loss of one motion and its keypoints."""

    def __init__(
        self,
        motion: Motion,
        keypoints: Tensor,
        log_bones: Tensor,
        known: FitDeviations,
        *,
        of_joints: bool = False,
    ) -> None:
        """Take what doesn't change.

        Args:
            motion: (T frames) with its camera and contacts, of the built-in tree.
            keypoints: (T, 22, 3) image units and confidence.
            log_bones: (13,) the body before it grows.
            known: what to trust.
            of_joints: keypoints are those of the joints themselves, not a detector's.
        """
        assert motion.camera is not None
        self._known, self._fps = known, motion.fps
        self._bones = log_bones
        self._start = _matrices(motion.local_rotations)  # (3, 3, J, T)
        self._root = motion.root_translation.T  # (3, T)
        self._contacts = motion.contacts.T  # (4, T)
        self._heights = log_bones.new_tensor(rest_heights(motion.skeleton))[:, None]
        self._camera_axes = motion.camera.rotation.permute(1, 2, 0)  # (3, 3, T)
        self._camera_place = motion.camera.translation.T
        self._focal = motion.camera.focal_length
        self._centre = motion.camera.principal_point.T[:, None]
        self._targets = keypoints[..., :2].permute(2, 1, 0)  # (2, J, T)
        self._sure = keypoints[..., 2].T  # (J, T)
        self._inverse_size = 1.0 / _seen_size(keypoints)[:, 0]  # (T,)
        spread = log_bones.new_full((22,), known.limb)
        spread[list(_TRUNK)] = known.trunk
        self._trust = 1.0 / spread.square()[:, None]
        self._trust_depth = self._trust / known.depth**2
        self._below = log_bones.new_tensor(_BELOW)
        self._seen_from = log_bones.new_tensor(_JOINTS if of_joints else _SEEN_FROM)
        self._ears = log_bones.new_tensor(EARS_OFFSET)[:, None]
        self._ahead = self._ahead_of_joints()  # (3, J, T)

    def __call__(self, corrections: Corrections) -> tuple[Tensor, Corrections]:
        """The loss (), and how it changes with the corrections."""
        turns = corrections.turns
        bones = proportions.centred(self._bones + corrections.growth)
        placed, turned = self._posed(turns, proportions.rest_offsets(bones))
        points = placed + (self._root + corrections.moves)[:, None]
        loss, force = self._seen(points)
        for part, pull in (self._even(points[:, :_EARS]), self._standing(points[:, _FEET])):
            loss = loss + part
            where = _FEET if pull.shape[1] == len(_FEET) else list(range(pull.shape[1]))
            force[:, where] += pull
        below = self._below @ force  # (3, J, T) all forces on what is below a joint
        torque = self._below @ _cross(points, force) - _cross(points[:, :_EARS], below)
        bend = (turned * torque[:, None]).sum(0)
        about = self._ahead * (self._ahead * turns).sum(0)
        held = turns * self._trust_depth + about * (self._trust - self._trust_depth)
        count = turns.shape[-1]
        loss = loss + (turns * held).sum() / (3 * count)
        loss = loss + (corrections.moves / self._known.root).square().sum() / count
        loss = loss + (corrections.growth / self._known.bone).square().sum() / 10
        stretched = (self._arms(points) * below[:, 1:]).sum((0, 2))
        growth = self._bones.new_zeros(proportions.NUM_BONES)
        growth = growth.index_add(0, torch.tensor(proportions.BONE_OF_JOINT[1:]), stretched)
        return loss, Corrections(
            turns=_to_axis_angle(turns, bend) + 2 * held / (3 * count),
            moves=force.sum(1) + 2 * corrections.moves / (count * self._known.root**2),
            growth=proportions.centred(growth)
            + 2 * corrections.growth / (10 * self._known.bone**2),
        )

    def rotations(self, turns: Tensor) -> Tensor:
        """The motion's rotations with the turns (3, J, T): (T, 22, 3, 3)."""
        return _multiply(self._start, _exponential(turns)).permute(3, 2, 0, 1)

    def _ahead_of_joints(self) -> Tensor:
        """Where the camera looks, in each joint's axes (3, J, T), before anything is corrected.

        A turn about it shows fully in the picture; one across it hardly does, and keypoints that
        are a little off ask for large ones: there the lifter knows better.
        """
        frames = self._start.shape[-1]
        turns = self._start.new_zeros(3, 22, frames)
        turned = self._posed(turns, proportions.rest_offsets(self._bones))[1]
        return (turned * self._camera_axes[2][:, None, None]).sum(0)

    def _posed(self, turns: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
        """Points (3, P, T) from the root, and rotations (3, 3, J, T) to the motion's world."""
        local = _multiply(self._start, _exponential(turns))
        turned = torch.empty_like(local)
        placed = turns.new_zeros(3, _EARS + 1, turns.shape[-1])
        turned[:, :, 0] = local[:, :, 0]
        for level in proportions.LEVELS:
            here, above = list(level), [SMPL_22.parents[joint] for joint in level]
            frames = turned[:, :, above]  # (3, 3, n, T)
            arms = (frames * offsets[here].T[None, :, :, None]).sum(1)
            placed[:, here] = placed[:, above] + arms
            turned[:, :, here] = _multiply(frames, local[:, :, here])
        ears = (turned[:, :, sk.HEAD] * self._ears).sum(1)
        placed[:, _EARS] = placed[:, sk.HEAD] + ears
        return placed, turned

    def _arms(self, points: Tensor) -> Tensor:
        return points[:, 1:_EARS] - points[:, list(SMPL_22.parents[1:])]

    def _seen(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """How far points (3, P, T) are seen from the keypoints, and the force on each."""
        known = self._known
        shown = self._seen_from @ points  # (3, J, T)
        here = (self._camera_axes[:, :, None] * shown).sum(1) + self._camera_place[:, None]
        depth = here[2]
        weights = self._sure * (depth > _LEAST_DEPTH) / depth.shape[-1]
        scale = self._focal / depth.clamp(min=_LEAST_DEPTH)
        off = here[:2] * scale + self._centre - self._targets
        far = off.square().sum(0) * self._inverse_size.square()
        limit = known.mistake**2
        share = limit / (limit + far)
        loss = (weights * share * far).sum() / known.keypoint**2
        strength = 2 * weights * (share / known.keypoint * self._inverse_size).square() * scale
        pull = off * strength  # (2, J, T)
        inward = -(pull * here[:2]).sum(0) / depth.clamp(min=_LEAST_DEPTH)
        pull = torch.cat((pull, inward[None]))
        back = (self._camera_axes[:, :, None] * pull[:, None]).sum(0)
        return loss, self._seen_from.T @ back

    def _even(self, joints: Tensor) -> tuple[Tensor, Tensor]:
        """How hard joints (3, J, T) accelerate."""
        force = torch.zeros_like(joints)
        count = joints.shape[-1] - 2
        if count < 1:
            return force.sum(), force
        unit = self._fps**2 / self._known.tremble
        weight = 2 * self._known.tremble / self._known.acceleration / count
        second = (joints[..., 2:] - 2 * joints[..., 1:-1] + joints[..., :-2]) * unit
        size = (1 + second.square().sum(0)).sqrt()
        loss = weight * (size - 1).sum()
        pull = second * (weight * unit / size)
        force[..., 2:] += pull
        force[..., 1:-1] -= 2 * pull
        force[..., :-2] += pull
        return loss, force

    def _standing(self, feet: Tensor) -> tuple[Tensor, Tensor]:
        """How far standing feet (3, 4, T) are off the floor, and how fast they are."""
        count = feet.shape[-1]
        force = torch.zeros_like(feet)
        off = (feet[1] - self._heights) / self._known.floor
        loss = (self._contacts * off.square()).sum() / count
        force[1] = 2 * self._contacts * off / (self._known.floor * count)
        if count < 2:
            return loss, force
        both = self._contacts[:, 1:] * self._contacts[:, :-1] / (count - 1)
        unit = self._fps / self._known.step
        speed = (feet[..., 1:] - feet[..., :-1]) * unit
        square = speed.square().sum(0)
        loss = loss + (both * square.clamp(max=_MOST_STEP)).sum()
        pull = speed * (2 * unit * both * (square < _MOST_STEP))
        force[..., 1:] += pull
        force[..., :-1] -= pull
        return loss, force


def _seen_size(keypoints: Tensor) -> Tensor:
    """Heights (T, 1) of the person in the picture, steady over the clip."""
    sure = keypoints[..., 2:] > 0.2
    low = torch.where(sure, keypoints[..., :2], torch.inf).amin(1)
    high = torch.where(sure, keypoints[..., :2], -torch.inf).amax(1)
    size = (high - low).amax(-1)
    good = size[torch.isfinite(size) & (size > 0)]
    usual = good.median() if len(good) else keypoints.new_tensor(1.0)
    return torch.where(torch.isfinite(size), size, usual).clamp(min=0.5 * usual)[:, None]


def _matrices(quaternions: Tensor) -> Tensor:
    return quaternion_to_matrix(quaternions).permute(2, 3, 1, 0).contiguous()


def _multiply(first: Tensor, second: Tensor) -> Tensor:
    """Products (3, 3, ...) of matrices whose axes come first."""
    return (first[:, :, None] * second[None]).sum(1)


def _cross(first: Tensor, second: Tensor) -> Tensor:
    """Cross products (3, ...) of vectors whose axes come first."""
    return torch.linalg.cross(first, second, dim=0)


def _factors(turns: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """sin a / a, (1 - cos a) / a² and (a - sin a) / a³ of the angles of turns (3, ...)."""
    square = turns.square().sum(0)
    angle = square.clamp(min=1e-8).sqrt()
    sine, half = torch.sin(angle) / angle, torch.sin(angle / 2) / angle
    near = square < 1e-3
    third = torch.where(near, 1 / 6 - square / 120, (1 - sine) / square.clamp(min=1e-8))
    return sine, 2 * half.square(), third


def _exponential(turns: Tensor) -> Tensor:
    """Rotation matrices (3, 3, ...) about axes and by angles of turns (3, ...)."""
    sine, bend, _ = _factors(turns)
    x, y, z = turns
    sx, sy, sz = sine * x, sine * y, sine * z
    bx, by, bz = bend * x, bend * y, bend * z
    rows = (
        torch.stack((1 - by * y - bz * z, bx * y - sz, bx * z + sy)),
        torch.stack((bx * y + sz, 1 - bx * x - bz * z, by * z - sx)),
        torch.stack((bx * z - sy, by * z + sx, 1 - bx * x - by * y)),
    )
    return torch.stack(rows)


def _to_axis_angle(turns: Tensor, bend: Tensor) -> Tensor:
    """What a change of the rotation's own axes (3, ...) is as a change of the turns.

    Source: the transposed right Jacobian of SO(3), e.g. Solà et al., arXiv 1812.01537, eq. 143.
    """
    _, second, third = _factors(turns)
    once = _cross(turns, bend)
    return bend + second * once + third * _cross(turns, once)


def _points_below() -> list[list[float]]:
    """(J, P) which points move with a joint, itself among them."""
    rows = [[0.0] * (_EARS + 1) for _ in range(22)]
    for point in range(_EARS + 1):
        joint = sk.HEAD if point == _EARS else point
        rows[joint][point] = 1.0
        while joint > 0:
            joint = SMPL_22.parents[joint]
            rows[joint][point] = 1.0
    return rows


def _joint_points() -> list[list[float]]:
    """(J, P) every joint is seen as itself."""
    return [[float(point == joint) for point in range(_EARS + 1)] for joint in range(22)]


def _shown_points() -> list[list[float]]:
    """(J, P) which points a keypoint is the mean of."""
    means = {
        sk.PELVIS: (sk.LEFT_HIP, sk.RIGHT_HIP),
        sk.NECK: (sk.LEFT_SHOULDER, sk.RIGHT_SHOULDER),
        sk.HEAD: (_EARS,),
    }
    rows = [[0.0] * (_EARS + 1) for _ in range(22)]
    for joint, row in enumerate(rows):
        points = means.get(joint, (joint,))
        for point in points:
            row[point] = 1.0 / len(points)
    return rows


_BELOW, _SEEN_FROM, _JOINTS = _points_below(), _shown_points(), _joint_points()
