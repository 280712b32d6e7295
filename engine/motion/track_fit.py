"""A lifted motion fitted to its keypoints, frame by frame, by least squares.

A lifter is right about the pose as a whole; keypoints are right about where a hand is in the
picture. Here rotations, the root's path and the lengths of the bones (one set for the clip) are
moved together until joints are seen where the keypoints are, as evenly as bodies move, with
standing feet in their places and not far from what the lifter has said. Keypoints that are far off
are mistakes and hardly count. Hard accelerations cost no more than their size: a kick keeps its
reach, where a filter would cut it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from engine.motion import proportions
from engine.motion import rotations as rot
from engine.motion import skeleton as sk
from engine.motion.camera import Camera
from engine.motion.contacts import rest_heights
from engine.motion.keypoint_layout import keypoints_of_pose
from engine.motion.motion import Motion
from engine.motion.skeleton import FOOT_JOINTS, SMPL_22

Report = Callable[[int, int], None]

CHUNK_FRAMES = 600  # fitted at once
OVERLAP_FRAMES = 24  # over which one chunk goes over into the next
_TRUNK = (sk.PELVIS, sk.SPINE1, sk.SPINE2, sk.SPINE3, sk.NECK, sk.LEFT_COLLAR, sk.RIGHT_COLLAR)


@dataclass(frozen=True, kw_only=True)
class FitDeviations:
    """How far off each kind of knowledge usually is; smaller counts more."""

    keypoint: float = 0.012  # of the person's height in the picture
    mistake: float = 0.06  # of it; a keypoint that is further off is rather wrong
    limb: float = 0.5  # radians from the lifter's pose
    trunk: float = 0.25
    bone: float = 0.1  # logarithm of a length
    acceleration: float = 20.0  # metres per second squared of a joint
    step: float = 0.06  # metres per second of a standing foot
    floor: float = 0.03  # metres of a standing foot over or under its height
    root: float = 0.5  # metres from the lifter's path
    turn_seconds: float = 0.04  # over which corrections of rotations are smooth
    move_seconds: float = 0.08  # and those of the path
    num_steps: int = 100
    rate: float = 0.03


def fit_to_keypoints(
    motion: Motion,
    keypoints: Tensor,
    report: Report,
    *,
    deviations: FitDeviations | None = None,
) -> Motion:
    """The motion moved onto the keypoints; its skeleton becomes the person's.

    Args:
        motion: (T frames) as lifted, with its camera and contacts, on the floor y = 0.
        keypoints: (T, 22, 3) image units and confidence, in the joints' order.
        report: is told of progress; may raise to stop.
        deviations: what to trust.

    Raises:
        ValueError: the motion has no camera or another tree, or the lengths differ.
    """
    if motion.camera is None or motion.skeleton.parents != SMPL_22.parents:
        raise ValueError("The motion needs a camera and the built-in tree to be fitted")
    if tuple(keypoints.shape) != (motion.num_frames, 22, 3):
        raise ValueError(
            f"keypoints has shape {tuple(keypoints.shape)}, needs ({motion.num_frames}, 22, 3)"
        )
    known = deviations or FitDeviations()
    starts = _chunk_starts(motion.num_frames)
    total = known.num_steps * len(starts)
    log_bones: Tensor | None = None
    fitted: list[Motion] = []
    for number, (start, stop) in enumerate(starts):

        def report_all(step: int, _: int, done: int = number) -> None:
            report(done * known.num_steps + step, total)

        part = _Fit(motion.crop(start, stop), keypoints[start:stop], known, log_bones)
        fitted.append(part.run(report_all))
        log_bones = part.log_bones() if log_bones is None else log_bones  # one body for the clip
    return _chained(fitted, starts)


class _Fit:
    """The unknowns of one chunk, and what is asked of them."""

    def __init__(
        self, motion: Motion, keypoints: Tensor, known: FitDeviations, log_bones: Tensor | None
    ) -> None:
        assert motion.camera is not None
        self._motion, self._known = motion, known
        self._camera: Camera = motion.camera
        self._start = rot.quaternion_to_matrix(motion.local_rotations)
        self._keypoints = keypoints.to(motion.root_translation)
        self._size = _seen_size(self._keypoints)
        self._bones = _log_bones(motion) if log_bones is None else log_bones
        self._has_bones = log_bones is not None
        like = motion.root_translation
        self._turns = torch.zeros(motion.num_frames, 22, 3).to(like).requires_grad_()
        self._moves = torch.zeros(motion.num_frames, 3).to(like).requires_grad_()
        self._growth = torch.zeros(proportions.NUM_BONES).to(like).requires_grad_()
        spread = like.new_full((22, 1), known.limb)
        spread[list(_TRUNK)] = known.trunk
        self._spread = spread

    def log_bones(self) -> Tensor:
        """The body that was found (13,)."""
        grown = self._growth.detach() * (0.0 if self._has_bones else 1.0)
        return proportions.centred(self._bones + grown)

    def run(self, report: Report) -> Motion:
        """Move everything until it fits."""
        unknowns = [self._turns, self._moves, *([] if self._has_bones else [self._growth])]
        with torch.inference_mode(mode=False), torch.enable_grad():
            optimiser = torch.optim.Adam(unknowns, lr=self._known.rate, betas=(0.9, 0.98))
            for step in range(self._known.num_steps):
                report(step, self._known.num_steps)
                part = step / self._known.num_steps
                optimiser.param_groups[0]["lr"] = self._known.rate * (1.0 - part) ** 2
                optimiser.zero_grad()
                self._loss().backward()
                optimiser.step()
        with torch.no_grad():
            quaternions = rot.matrix_to_quaternion(self._local(self._smooth_turns()))
        return replace(
            self._motion,
            skeleton=proportions.skeleton_of(self.log_bones()),
            root_translation=self._motion.root_translation + self._smooth_moves().detach(),
            local_rotations=rot.make_continuous(quaternions),
        )

    def _smooth_turns(self) -> Tensor:
        return _smooth(self._turns, self._known.turn_seconds * self._motion.fps)

    def _smooth_moves(self) -> Tensor:
        return _smooth(self._moves, self._known.move_seconds * self._motion.fps)

    def _local(self, turns: Tensor) -> Tensor:
        return self._start @ rot.quaternion_to_matrix(rot.axis_angle_to_quaternion(turns))

    def _loss(self) -> Tensor:
        known, motion = self._known, self._motion
        bones = proportions.centred(self._bones + self._growth)
        turns, moves = self._smooth_turns(), self._smooth_moves()
        joints, turned = proportions.pose_bodies(
            self._local(turns), proportions.rest_offsets(bones)
        )
        joints = joints + (motion.root_translation + moves)[:, None]
        seen = keypoints_of_pose(joints, turned[:, sk.HEAD])
        loss = self._keypoint_loss(seen)
        loss = loss + (turns / self._spread).square().mean((0, 2)).sum()
        loss = loss + (moves / known.root).square().mean(0).sum()
        loss = loss + (self._growth / known.bone).square().sum() / 10
        loss = loss + self._evenness(joints)
        return loss + self._standing(joints)

    def _keypoint_loss(self, seen: Tensor) -> Tensor:
        places, depth = self._camera.project(seen)
        off = (places - self._keypoints[..., :2]).square().sum(-1) / self._size.square()
        limit = self._known.mistake**2
        robust = limit * off / (limit + off) / self._known.keypoint**2
        weights = self._keypoints[..., 2] * (depth > 0.1)
        return (weights * robust).sum(-1).mean()

    def _evenness(self, joints: Tensor) -> Tensor:
        if len(joints) < 3:
            return joints.new_zeros(())
        second = torch.diff(joints, n=2, dim=0) * self._motion.fps**2
        size = (second.square().sum(-1) + 1e-6).sqrt() / self._known.acceleration
        return torch.where(size < 1, size.square(), 2 * size - 1).sum(-1).mean()

    def _standing(self, joints: Tensor) -> Tensor:
        contacts = self._motion.contacts
        feet = joints[:, list(FOOT_JOINTS)]
        heights = feet.new_tensor(rest_heights(self._motion.skeleton))
        off = contacts * ((feet[..., 1] - heights) / self._known.floor).square()
        loss = off.sum(-1).mean()
        if len(feet) < 2:
            return loss
        both = contacts[1:] * contacts[:-1]
        speed = torch.diff(feet, dim=0) * self._motion.fps / self._known.step
        return loss + (both * speed.square().sum(-1).clamp(max=25.0)).sum(-1).mean()


def _smooth(values: Tensor, frames: float) -> Tensor:
    """Values (T, ...) averaged over time; the ends are held."""
    reach = min(round(3 * frames), len(values) - 1)
    if reach < 1:
        return values
    offsets = torch.arange(-reach, reach + 1).to(values)
    weights = torch.exp(-0.5 * (offsets / frames).square())
    rows = values.flatten(1).T[:, None]
    padded = functional.pad(rows, (reach, reach), mode="replicate")
    averaged = functional.conv1d(padded, (weights / weights.sum())[None, None])
    return averaged[:, 0].T.reshape(values.shape)


def _seen_size(keypoints: Tensor) -> Tensor:
    """Heights (T, 1) of the person in the picture, steady over the clip."""
    sure = keypoints[..., 2:] > 0.2
    low = torch.where(sure, keypoints[..., :2], torch.inf).amin(1)
    high = torch.where(sure, keypoints[..., :2], -torch.inf).amax(1)
    size = (high - low).amax(-1)
    good = size[torch.isfinite(size) & (size > 0)]
    usual = good.median() if len(good) else keypoints.new_tensor(1.0)
    return torch.where(torch.isfinite(size), size, usual).clamp(min=0.5 * usual)[:, None]


def _log_bones(motion: Motion) -> Tensor:
    """The body (13,) that the motion's skeleton has, against the built-in one."""
    own = motion.skeleton.offsets_like(motion.root_translation).norm(dim=-1)[1:]
    usual = SMPL_22.offsets_like(motion.root_translation).norm(dim=-1)[1:]
    ratios = (own / usual).log()
    names = [name.removeprefix("left_").removeprefix("right_") for name in SMPL_22.joint_names[1:]]
    return torch.stack(
        [ratios[[i for i, name in enumerate(names) if name == bone]].mean() for bone in _BONES]
    )


_BONES = proportions.BONES


def _chunk_starts(num_frames: int) -> list[tuple[int, int]]:
    """First and past-the-last frame of each chunk; they overlap."""
    chunks: list[tuple[int, int]] = []
    start = 0
    while True:
        stop = min(num_frames, start + CHUNK_FRAMES)
        if num_frames - stop < CHUNK_FRAMES // 4:
            stop = num_frames
        chunks.append((start, stop))
        if stop == num_frames:
            return chunks
        start = stop - OVERLAP_FRAMES


def _chained(parts: list[Motion], starts: list[tuple[int, int]]) -> Motion:
    """One motion of chunks: over their overlap the one goes over into the next."""
    whole = parts[0]
    for part, (start, _) in zip(parts[1:], starts[1:], strict=True):
        overlap = whole.num_frames - start
        share = torch.linspace(0, 1, overlap + 2)[1:-1].to(whole.root_translation)
        mixed_root = torch.lerp(
            whole.root_translation[start:], part.root_translation[:overlap], share[:, None]
        )
        mixed = rot.slerp(
            whole.local_rotations[start:],
            part.local_rotations[:overlap],
            share[:, None].expand(-1, whole.skeleton.num_joints),
        )
        whole = _appended(whole.crop(0, start), mixed_root, mixed, part, overlap)
    return replace(whole, local_rotations=rot.make_continuous(whole.local_rotations))


def _appended(head: Motion, root: Tensor, rotations: Tensor, part: Motion, overlap: int) -> Motion:
    """Frames of head, of the mixture, and of the part after its overlap."""
    assert head.camera is not None
    assert part.camera is not None
    first, second = head.joint_confidence, part.joint_confidence
    confidence = None if first is None or second is None else torch.cat((first, second))
    return replace(
        head,
        root_translation=torch.cat((head.root_translation, root, part.root_translation[overlap:])),
        local_rotations=torch.cat(
            (head.local_rotations, rotations, part.local_rotations[overlap:])
        ),
        contacts=torch.cat((head.contacts, part.contacts)),
        joint_confidence=confidence,
        camera=Camera(
            rotation=torch.cat((head.camera.rotation, part.camera.rotation)),
            translation=torch.cat((head.camera.translation, part.camera.translation)),
            focal_length=torch.cat((head.camera.focal_length, part.camera.focal_length)),
            principal_point=torch.cat((head.camera.principal_point, part.camera.principal_point)),
        ),
    )
