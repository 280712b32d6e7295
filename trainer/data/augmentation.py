"""More motion out of few clips: other speeds, longer loops, reversed walks, gestures, sequences.

All work on joint positions on the built-in skeleton and return new clips with captions of their
own; none changes which side is which.
"""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter1d

from engine.motion import skeleton as sk
from trainer.data.actions import actions_of, main_actions
from trainer.data.corpus import FPS, Clip
from trainer.data.uniform_skeleton import (
    SourceConstants,
    frame_heading,
    to_uniform_skeleton,
)

Array = NDArray[np.float32]

MAX_FRAMES = 197  # 9.8 s and the frame that encoding takes off
_BLEND = 12  # frames of a transition
_LOOP_GAP = 0.09  # metres between first and last pose of a clip that repeats as it is
_AGAIN_GAP = 0.36  # metres up to which an action is done again, with a longer transition
_STRIDE_GAP = 0.13  # metres between the poses that a stride begins and ends with
_ASIDES = frozenset({"walk", "stand", "swing_arms", "sway", "look"})
_LONGEST_HOLD = 60  # frames: longer, and the model learns to stand still
_GAITS = frozenset({"walk", "run", "sneak", "crawl"})
_ENDS_ELSEWHERE = frozenset({"sit", "stand_up", "lie", "fall", "kneel", "climb", "hang", "flip"})


def clip_actions(clip: Clip) -> frozenset[str]:
    """Actions that any caption of the clip names."""
    return frozenset[str]().union(*(actions_of(caption) for caption in clip.captions))


def stretched(clip: Clip, speed: float) -> Clip:
    """The clip at another speed (1.2 is faster)."""
    frames = len(clip.joints)
    times = np.linspace(0, frames - 1, max(12, round(frames / speed)))
    joints = CubicSpline(np.arange(frames), clip.joints, axis=0)(times)
    return _rebuilt(clip, joints)


def extended(clip: Clip, num_frames: int) -> Clip:
    """A short clip made num_frames long.

    Gaits go on by their own stride; what ends near the pose that it began in is done again; the
    rest (someone has sat down) stays as it ends.
    """
    if clip_actions(clip) & _GAITS and (cycle := _stride(clip.joints)) is not None:
        first, last = cycle
        joints = clip.joints[:last]
        while len(joints) < num_frames:
            joints = concatenate(joints, clip.joints[first:last], blend=6)
        return _rebuilt(clip, joints[:num_frames])
    gap = _pose_distance(clip.joints[0], clip.joints[-1])
    if gap < _LOOP_GAP or (gap < _AGAIN_GAP and not clip_actions(clip) & _ENDS_ELSEWHERE):
        joints = clip.joints
        while len(joints) < num_frames:
            joints = concatenate(joints, clip.joints, blend=6 + round(30 * gap))
        return _rebuilt(clip, joints[:num_frames])
    missing = min(max(0, num_frames - len(clip.joints)), _LONGEST_HOLD)
    before = min(missing // 3, 10)
    held = np.concatenate(
        [
            np.repeat(clip.joints[:1], before, axis=0),
            clip.joints,
            np.repeat(clip.joints[-1:], missing - before, axis=0),
        ]
    )
    return replace(clip, joints=held)


def reversed_walk(clip: Clip) -> Clip | None:
    """A walk or run ahead played backwards, with captions that say so; None for other clips.

    Source: Grasso, Bianchi and Lacquaniti, Motor Patterns for Human Gait: Backward Versus Forward
    Locomotion, J. Neurophysiology 1998: joint angles of the two are mirror images in time.
    """
    if not _is_straight_walk(clip):
        return None
    captions = (
        "a person walks backward",
        "someone walks backwards with even steps",
        "the person steps back several times, facing ahead",
        "a person is backing up",
        "someone moves in reverse",
    )
    return replace(clip, joints=clip.joints[::-1].copy(), captions=captions)


def straight_walk(clip: Clip, num_frames: int) -> Clip | None:
    """A walk made straight and num_frames long, with captions that say so; None for other clips.

    Recorded walks drift to a side, and whoever asks for a walk wants none of that: the drift of
    the heading over a second and more is taken out of body and path.
    """
    actions = main_actions(clip.captions)
    if "walk" not in actions or actions - _ASIDES or _path(clip.joints) < 1.0:
        return None
    heading = np.unwrap([frame_heading(pose) for pose in clip.joints])
    drift = gaussian_filter1d(heading, FPS / 2, mode="nearest").astype(np.float32)
    if np.ptp(drift) > np.pi / 2 or _ahead(clip.joints) < 0.8 * _path(clip.joints):
        return None  # it turns on purpose, or doesn't walk ahead
    path = clip.joints[:, :1] * np.array([1, 0, 1])
    steps = np.diff(path, axis=0, prepend=path[:1])
    straight = np.cumsum(_turned_each(steps, -drift), axis=0)
    straight = straight + _turned_each(clip.joints - path, -drift)
    captions = (
        "a person walks forward",
        "a person walks straight ahead",
        "someone is walking",
        "someone goes for a walk in a straight line",
        "the person walks on and on, always straight forward",
    )
    return replace(
        extended(_rebuilt(clip, straight.astype(np.float32)), num_frames), captions=captions
    )


def circling_walk(clip: Clip, turn: float, num_frames: int) -> Clip | None:
    """A straight walk repeated and bent into a circle by `turn` radians (left is positive).

    The body turns about its root as the path does; None for clips that aren't straight walks.
    """
    if not _is_straight_walk(clip):
        return None
    distances = [_pose_distance(clip.joints[0], pose) for pose in clip.joints[20:]]
    cycle = clip.joints[: 21 + int(np.argmin(distances))]
    joints = cycle
    while len(joints) < num_frames:
        joints = concatenate(joints, cycle, blend=6)
    joints = joints[:num_frames]
    angle = (turn * np.arange(num_frames) / num_frames).astype(np.float32)
    ground = np.array([1, 0, 1])
    path = joints[:, :1] * ground
    steps = np.diff(path, axis=0, prepend=path[:1])
    bent = np.cumsum(_turned_each(steps, angle), axis=0) + _turned_each(joints - path, angle)
    side, clock = ("left", "counterclockwise") if turn > 0 else ("right", "clockwise")
    captions = (
        f"a person walks in a circle to the {side}",
        f"someone walks around in a big {clock} circle",
        f"the person walks round and round a ring, always bending {side}",
        f"a person walks a whole {clock} lap around a round table",
    )
    if turn > 0:
        # a circle to no side in particular goes left: the mean of both sides is a straight line
        captions = (
            "a person walks in a circle",
            "someone walks round in a circle",
            "the person follows a wide circular path back to the start",
            "someone paces in a ring",
            "a person walks laps around a round carpet",
            *captions,
        )
    return _rebuilt(clip, bent, captions=captions)


def sequence(first: Clip, second: Clip, generator: random.Random) -> Clip:
    """Two clips one after the other, captioned "A, then B"."""
    joints = concatenate(first.joints, second.joints, blend=_BLEND)
    captions: list[str] = []
    for _ in range(2):
        one, two = (min(c.captions, key=len).rstrip(".") for c in (first, second))
        predicate = two.split(" ", 2)[-1] if two.startswith(("a ", "the ")) else two
        joint = generator.choice((" and then ", ", then ", " then ", " and "))
        captions.append(f"{one}{joint}{predicate}")
    return _rebuilt(first, joints[:MAX_FRAMES], captions=tuple(dict.fromkeys(captions)))


def concatenate(first: Array, second: Array, *, blend: int) -> Array:
    """The second clip moved to where the first ends; what is left of a jump fades in its frames."""
    turn = frame_heading(first[-1]) - frame_heading(second[0])
    ground = np.array([1, 0, 1])
    moved = _turned(second - second[:1, :1] * ground, turn) + first[-1, sk.PELVIS] * ground
    jump = first[-1] - moved[0]
    fade = 0.5 + 0.5 * np.cos(np.pi * np.minimum(np.arange(len(moved)) / (blend + 1), 1.0))
    moved = moved + fade[:, None, None] * jump
    return np.concatenate([first, moved[1:]]).astype(np.float32)


def _turned(joints: Array, angle: float) -> Array:
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    return joints @ turn.T


def _rebuilt(clip: Clip, joints: Array, captions: tuple[str, ...] | None = None) -> Clip:
    """Blending bends bone lengths; put the clip back onto the skeleton."""
    low = np.percentile(joints[..., 1].min(axis=1), 5)
    uniform = to_uniform_skeleton(joints.astype(np.float32), SourceConstants())
    uniform[..., 1] += low
    return replace(
        clip, joints=uniform.astype(np.float32), captions=captions if captions else clip.captions
    )


def _turned_each(joints: Array, angle: Array) -> Array:
    """Frames (T, J, 3), each turned about the up axis by its own angle."""
    x, y, z = np.moveaxis(joints, -1, 0)
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    return np.stack([cos * x + sin * z, y, cos * z - sin * x], axis=-1)


def _is_straight_walk(clip: Clip) -> bool:
    actions = clip_actions(clip)
    if "walk" not in actions or actions - _ASIDES:
        return False
    return _ahead(clip.joints) >= 0.8 * _path(clip.joints) and _path(clip.joints) >= 1.0


def _stride(joints: Array) -> tuple[int, int] | None:
    """First and last frame of the part that closes best on itself; None if none does well.

    Nothing under 11 frames, the fastest stride of a runner, and one frame on the poses must be
    near each other too, so that a leg that swings back isn't taken for one that swings forth.
    """
    if len(joints) < 14:
        return None
    starts = range(0, max(1, len(joints) // 3))
    gaps = {
        (first, last): _pose_distance(joints[first], joints[last])
        + _pose_distance(joints[first + 1], joints[last + 1])
        for first in starts
        for last in range(first + 11, len(joints) - 1)
    }
    best = min(gaps, key=lambda pair: gaps[pair])
    return best if gaps[best] < 2 * _STRIDE_GAP else None


def _pose_distance(first: Array, second: Array) -> float:
    """Mean distance of joints (22, 3) in metres, place and heading taken out."""
    poses = [
        _turned(pose - pose[:1] * np.array([1, 0, 1]), -frame_heading(pose))
        for pose in (first, second)
    ]
    return float(np.linalg.norm(poses[0] - poses[1], axis=-1).mean())


def _path(joints: Array) -> float:
    return float(np.linalg.norm(np.diff(joints[:, 0, ::2], axis=0), axis=-1).sum())


def _ahead(joints: Array) -> float:
    """How far the root moves in the direction that the body faces, metres."""
    heading = np.array([frame_heading(pose) for pose in joints[:-1]])
    step = np.diff(joints[:, 0], axis=0)
    return float((step[:, 0] * np.sin(heading) + step[:, 2] * np.cos(heading)).sum())
