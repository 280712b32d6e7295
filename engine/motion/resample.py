"""Motions at another frame rate or with another number of frames.

A motion of T frames at f frames per second lasts T / f seconds; its last frame starts at
(T - 1) / f. Resampling keeps the first and last pose and, as nearly as whole frames allow, that
time. Root and rotations go through every frame along cubics (rotations in the tangent space of the
frame before, always the shorter way round), so that speed has no steps; turns at an even rate stay
even. Contacts are taken from the nearest frame.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from engine.motion import rotations as rot
from engine.motion.camera import Camera
from engine.motion.motion import Motion


def resample(motion: Motion, fps: float) -> Motion:
    """The same motion at `fps`: same poses at the same times in seconds.

    Frame i of the result is the pose at i / fps; the number of frames is the duration times fps,
    rounded. Frames past the last pose, less than one frame of the source away, hold it.

    Raises:
        ValueError: fps is not a positive number.
    """
    if not 0 < fps < float("inf"):
        raise ValueError(f"fps is {fps}, needs more than 0")
    if fps == motion.fps:
        return motion
    num_frames = max(1, round(motion.num_frames * fps / motion.fps))
    return replace(_sample(motion, _times(motion, num_frames) * motion.fps / fps), fps=fps)


def sample_at(motion: Motion, fps: float, *, start: float, num_frames: int) -> Motion:
    """The poses at `start`, start + 1 / fps ... in seconds from the motion's first frame.

    Before the first and after the last frame their poses are held.

    Raises:
        ValueError: fps or num_frames is not above 0.
    """
    if not 0 < fps < float("inf"):
        raise ValueError(f"fps is {fps}, needs more than 0")
    if num_frames < 1:
        raise ValueError(f"num_frames is {num_frames}, needs 1 or more")
    seconds = start + _times(motion, num_frames) / fps
    return replace(_sample(motion, seconds * motion.fps), fps=fps)


def resample_to_frames(motion: Motion, num_frames: int) -> Motion:
    """The motion with exactly `num_frames` frames, stretched in frames, at the same fps.

    The first and last pose stay the first and last.

    Raises:
        ValueError: num_frames is under 1.
    """
    if num_frames < 1:
        raise ValueError(f"num_frames is {num_frames}, needs 1 or more")
    if num_frames == motion.num_frames:
        return motion
    factor = (motion.num_frames - 1) / max(1, num_frames - 1)
    return _sample(motion, _times(motion, num_frames) * factor)


def _times(motion: Motion, num_frames: int) -> Tensor:
    # double: at frame 3,000 float32 is a ten-thousandth of a frame off
    return torch.arange(num_frames, dtype=torch.float64, device=motion.root_translation.device)


def _sample(motion: Motion, times: Tensor) -> Motion:
    """Poses at times (N,) counted in frames of the motion; held beyond its last frame."""
    last = motion.num_frames - 1
    if last < 1:
        return motion.crop(0, 1) if len(times) == 1 else _hold(motion, len(times))
    times = times.clamp(0.0, float(last))
    before = times.floor().long().clamp(max=last - 1)
    fraction = (times - before).to(motion.root_translation.dtype)
    quaternions = rot.make_continuous(motion.local_rotations)
    # Steps as rotation vectors: the axis of a turn is the same seen before and after it.
    steps = rot.quaternion_to_axis_angle(
        rot.multiply(rot.inverse(quaternions[:-1]), quaternions[1:])
    )
    turns = _cubic(steps, before, fraction[:, None, None])
    moves = _cubic(torch.diff(motion.root_translation, dim=0), before, fraction[:, None])
    turned = rot.multiply(quaternions[before], rot.axis_angle_to_quaternion(turns))
    nearest = times.round().long()
    confidence = motion.joint_confidence
    return replace(
        motion,
        camera=None if motion.camera is None else _between(motion.camera, before, fraction),
        joint_confidence=None if confidence is None else confidence[nearest],
        root_translation=motion.root_translation[before] + moves,
        local_rotations=rot.make_continuous(rot.normalise(turned)),
        contacts=motion.contacts[nearest],
    )


def _between(camera: Camera, before: Tensor, fraction: Tensor) -> Camera:
    """The camera at a fraction of the way from frame `before` to the next."""
    first, second = camera[before], camera[before + 1]
    part = fraction[:, None]
    turned = rot.slerp(
        rot.matrix_to_quaternion(first.rotation),
        rot.matrix_to_quaternion(second.rotation),
        fraction,
    )
    rotation = rot.quaternion_to_matrix(turned)
    position = torch.lerp(first.position, second.position, part)
    return Camera(
        rotation=rotation,
        translation=-(rotation @ position[..., None])[..., 0],
        focal_length=torch.lerp(first.focal_length, second.focal_length, fraction),
        principal_point=torch.lerp(first.principal_point, second.principal_point, part),
    )


def _cubic(steps: Tensor, before: Tensor, fraction: Tensor) -> Tensor:
    """Way gone from frame `before` at a fraction of its step: Hermite, mean steps as slopes.

    Steps (T - 1, ...) lead from frame to frame. Equal steps give a straight, even way.
    """
    slopes = torch.cat((steps[:1], (steps[:-1] + steps[1:]) / 2, steps[-1:]))
    squared, cubed = fraction * fraction, fraction * fraction * fraction
    return (
        (cubed - 2 * squared + fraction) * slopes[before]
        + (3 * squared - 2 * cubed) * steps[before]
        + (cubed - squared) * slopes[before + 1]
    )


def _hold(motion: Motion, num_frames: int) -> Motion:
    """The one frame of the motion, num_frames times."""
    confidence = motion.joint_confidence
    return replace(
        motion,
        camera=None if motion.camera is None else motion.camera.repeated(num_frames),
        joint_confidence=None if confidence is None else confidence.repeat(num_frames, 1),
        root_translation=motion.root_translation.repeat(num_frames, 1),
        local_rotations=motion.local_rotations.repeat(num_frames, 1, 1),
        contacts=motion.contacts.repeat(num_frames, 1),
    )
