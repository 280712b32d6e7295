"""A lifted motion fitted to its keypoints, frame by frame, by least squares.

A lifter is right about the pose as a whole; keypoints are right about where a hand is in the
picture. Here rotations, the root's path and the lengths of the bones (one set for the clip) are
moved together until joints are seen where the keypoints are, as evenly as bodies move, with
standing feet in their places and not far from what the lifter has said. Keypoints that are far off
are mistakes and hardly count. Hard accelerations cost no more than their size: a kick keeps its
reach, where a filter would cut it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from engine.motion import proportions
from engine.motion import rotations as rot
from engine.motion.camera import Camera
from engine.motion.motion import Motion
from engine.motion.skeleton import SMPL_22
from engine.motion.track_loss import Corrections, FitDeviations, TrackLoss

Report = Callable[[int, int], None]

CHUNK_FRAMES = 600  # fitted at once
OVERLAP_FRAMES = 24  # over which one chunk goes over into the next
_MOMENTUM, _SPREAD, _LEAST = 0.9, 0.98, 1e-8  # of Adam: Kingma and Ba, arXiv 1412.6980


def fit_to_keypoints(
    motion: Motion,
    keypoints: Tensor,
    report: Report,
    *,
    deviations: FitDeviations | None = None,
    of_joints: bool = False,
    is_body_known: bool = False,
) -> Motion:
    """The motion moved onto the keypoints; its skeleton becomes the person's.

    Args:
        motion: (T frames) as lifted, with its camera and contacts, on the floor y = 0.
        keypoints: (T, 22, 3) image units and confidence, in the joints' order.
        report: is told of progress; may raise to stop.
        deviations: what to trust.
        of_joints: keypoints are those of the joints themselves, not a detector's.
        is_body_known: bones keep the lengths that they have.

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
    starts = chunk_starts(motion.num_frames, CHUNK_FRAMES, OVERLAP_FRAMES)
    total = known.num_steps * len(starts)
    log_bones = _log_bones(motion) if is_body_known else None
    fitted: list[Motion] = []
    for number, (start, stop) in enumerate(starts):

        def report_all(step: int, _: int, done: int = number) -> None:
            report(done * known.num_steps + step, total)

        part = _Fit(
            motion.crop(start, stop), keypoints[start:stop], known, log_bones, of_joints=of_joints
        )
        fitted.append(part.run(report_all))
        log_bones = part.log_bones() if log_bones is None else log_bones  # one body for the clip
    return chained(fitted, starts)


class _Fit:
    """The unknowns of one chunk, moved until they fit."""

    def __init__(
        self,
        motion: Motion,
        keypoints: Tensor,
        known: FitDeviations,
        log_bones: Tensor | None,
        *,
        of_joints: bool,
    ) -> None:
        self._motion, self._known = motion, known
        self._bones = _log_bones(motion) if log_bones is None else log_bones
        self._grows = 1.0 if log_bones is None else 0.0
        like = motion.root_translation
        self._loss = TrackLoss(motion, keypoints.to(like), self._bones, known, of_joints=of_joints)
        frames = motion.num_frames
        self._turning = _averages(frames, known.turn_seconds * motion.fps).to(like)
        self._moving = _averages(frames, known.move_seconds * motion.fps).to(like)
        sizes = (3 * 22 * frames, 3 * frames, proportions.NUM_BONES)
        # one row of numbers: one step for all of them
        self._unknowns = torch.zeros(sum(sizes)).to(like)
        self._sizes = sizes

    def log_bones(self) -> Tensor:
        """The body that was found (13,)."""
        return proportions.centred(self._bones + self._smooth().growth)

    def run(self, report: Report) -> Motion:
        """Move everything until it fits."""
        known, unknowns = self._known, self._unknowns
        mean, square = torch.zeros_like(unknowns), torch.zeros_like(unknowns)
        for step in range(known.num_steps):
            report(step, known.num_steps)
            slope = self._slope()
            mean.lerp_(slope, 1 - _MOMENTUM)
            square.lerp_(slope.square(), 1 - _SPREAD)
            rate = known.rate * (1.0 - step / known.num_steps) ** 2
            size = (square / (1 - _SPREAD ** (step + 1))).sqrt() + _LEAST
            unknowns -= rate / (1 - _MOMENTUM ** (step + 1)) * mean / size
        found = self._smooth()
        quaternions = rot.matrix_to_quaternion(self._loss.rotations(found.turns))
        return replace(
            self._motion,
            skeleton=proportions.skeleton_of(self.log_bones()),
            root_translation=self._motion.root_translation + found.moves.T,
            local_rotations=rot.make_continuous(quaternions),
        )

    def _smooth(self) -> Corrections:
        turns, moves, growth = self._unknowns.split(self._sizes)
        return Corrections(
            turns=turns.view(3, 22, -1) @ self._turning.T,
            moves=moves.view(3, -1) @ self._moving.T,
            growth=growth,
        )

    def _slope(self) -> Tensor:
        """How the loss changes with the unknowns."""
        slope = self._loss(self._smooth())[1]
        parts = (slope.turns @ self._turning, slope.moves @ self._moving, slope.growth)
        return torch.cat([part.flatten() for part in (*parts[:2], self._grows * parts[2])])


def _averages(num_frames: int, frames: float) -> Tensor:
    """(T, T): what each frame is the mean of, over a deviation of so many; the ends are held."""
    reach = min(round(3 * frames), num_frames - 1)
    if reach < 1:
        return torch.eye(num_frames)
    offsets = torch.arange(-reach, reach + 1)
    weights = torch.exp(-0.5 * (offsets / frames).square())
    rows = torch.arange(num_frames)[:, None].expand(-1, len(offsets))
    columns = (rows + offsets).clamp(0, num_frames - 1)
    result = torch.zeros(num_frames, num_frames)
    shares = (weights / weights.sum()).expand(num_frames, -1)
    return result.index_put((rows, columns), shares, accumulate=True)


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


def chunk_starts(num_frames: int, size: int, overlap: int) -> list[tuple[int, int]]:
    """First and past-the-last frame of each chunk of a clip; they overlap.

    The last may be a quarter longer than size, so that none is short.
    """
    chunks: list[tuple[int, int]] = []
    start = 0
    while True:
        stop = min(num_frames, start + size)
        if num_frames - stop < size // 4:
            stop = num_frames
        chunks.append((start, stop))
        if stop == num_frames:
            return chunks
        start = stop - overlap


def chained(parts: Sequence[Motion], starts: Sequence[tuple[int, int]]) -> Motion:
    """One motion of chunks: over their overlap the one goes over into the next.

    Args:
        parts: the chunks of `chunk_starts`, each with its camera.
        starts: first and past-the-last frame of each.
    """
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
