"""Arms of one clip, or a made wave, on the body of another.

Few recorded people wave, and hardly one raises the hand to the head. A wave is simple enough to be
made: an upper arm held up, a forearm that swings to and fro over it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from engine.motion import skeleton as sk
from trainer.data.augmentation import MAX_FRAMES, clip_actions
from trainer.data.corpus import FPS, Clip
from trainer.data.uniform_skeleton import chest_frame

Array = NDArray[np.float32]

_ARMS = {
    "left": (sk.LEFT_SHOULDER, sk.LEFT_ELBOW, sk.LEFT_WRIST),
    "right": (sk.RIGHT_SHOULDER, sk.RIGHT_ELBOW, sk.RIGHT_WRIST),
}
_RAISING = 9  # frames from where the arm hangs to where it waves
_BODIES = {"stand": 60, "walk": 36, "run": 12, "sit": 8}  # clips to wave on, of each kind
_CAPTIONS = {
    "stand": (
        "a person waves",
        "a person waves the {side} hand",
        "someone waves hello with the {side} hand",
        "a standing person raises the {side} hand and waves",
        "a person greets somebody by waving",
        "someone waves goodbye",
    ),
    "walk": (
        "a person walks forward and waves",
        "a person walks and waves the {side} hand",
        "someone waves hello while walking",
    ),
    "run": ("a person runs and waves", "someone waves the {side} hand while running"),
    "sit": ("a person sits and waves the {side} hand", "a seated person waves"),
}


def with_gesture(body: Clip, gesture: Clip, captions: Sequence[str]) -> Clip:
    """The arms of one clip on the body of another, relative to the chest."""
    frames = min(len(body.joints), MAX_FRAMES)
    joints = body.joints[:frames].copy()
    source = _ping_pong(gesture.joints, frames)
    turn = chest_frame(joints) @ np.swapaxes(chest_frame(source), -1, -2)
    for shoulder, elbow, wrist in _ARMS.values():
        for start, end in ((shoulder, elbow), (elbow, wrist)):
            bone = np.einsum("tij,tj->ti", turn, source[:, end] - source[:, start])
            joints[:, end] = joints[:, start] + bone
    return replace(body, joints=joints.astype(np.float32), captions=tuple(captions))


def waving(body: Clip, side: str, captions: Sequence[str], generator: random.Random) -> Clip:
    """The body of a clip with the arm of a side raised to wave, from near its start to its end.

    Directions are in the chest's frame (x left, y up, z forward). The upper arm goes up to between
    a little under the horizontal and 40 degrees over it, the forearm swings 20 to 40 degrees to
    either side of upright, one to two times a second.
    """
    frames = min(len(body.joints), MAX_FRAMES)
    joints = body.joints[:frames].copy()
    chest = chest_frame(joints)
    outward = 1.0 if side == "left" else -1.0
    time = np.arange(frames) / FPS

    raised = np.radians(generator.uniform(-15, 40))
    forward = np.radians(generator.uniform(10, 50))
    upper = np.array(
        [
            outward * np.cos(raised) * np.cos(forward),
            np.sin(raised),
            np.cos(raised) * np.sin(forward),
        ]
    )
    swing = np.radians(generator.uniform(20, 40)) * np.sin(
        2 * np.pi * (generator.uniform(1.0, 2.0) * time + generator.random())
    )
    tilt = np.radians(generator.uniform(-5, 20)) + swing
    lean = np.full(frames, generator.uniform(0.0, 0.3))
    forearm = np.stack([outward * np.sin(tilt), np.cos(tilt), lean], axis=-1)

    start = generator.uniform(0, 12)
    share = np.clip((np.arange(frames) - start) / _RAISING, 0, 1)
    share = (share * share * (3 - 2 * share))[:, None]
    shoulder, elbow, wrist = _ARMS[side]
    hanging = {end: joints[:, end] - joints[:, first] for first, end in _bones(side)}
    for (first, end), target in zip(
        ((shoulder, elbow), (elbow, wrist)), (np.tile(upper, (frames, 1)), forearm), strict=True
    ):
        length = np.linalg.norm(hanging[end], axis=-1, keepdims=True)
        rest = np.einsum("tji,tj->ti", chest, hanging[end]) / length
        # an arm goes up in front of the body, never through it
        ahead = 2.8 * share * (1 - share) * np.array([0.0, 0.0, 1.0])
        way = (1 - share) * rest + share * _unit(target) + ahead
        joints[:, end] = joints[:, first] + np.einsum("tij,tj->ti", chest, length * _unit(way))
    return replace(body, joints=joints.astype(np.float32), captions=tuple(captions))


def gestures(clips: Sequence[Clip], generator: random.Random) -> list[Clip]:
    """Waves, made and recorded, on people who stand, walk, run or sit."""
    recorded = [c for c in clips if any("waves hello" in caption for caption in c.captions)]
    made: list[Clip] = []
    for verb, count in _BODIES.items():
        bodies = _bodies(clips, verb)
        for body in generator.choices(bodies, k=count) if bodies else ():
            side = generator.choice(("left", "right"))
            captions = [caption.format(side=side) for caption in _CAPTIONS[verb]]
            made.append(waving(body, side, captions, generator))
        sideless = [caption for caption in _CAPTIONS[verb] if "{side}" not in caption]
        for gesture in recorded:
            for body in generator.sample(bodies, min(6, len(bodies))):
                made.append(with_gesture(body, gesture, sideless))
    return made


def _bodies(clips: Sequence[Clip], verb: str) -> list[Clip]:
    """Clips of two seconds and more that do nothing else."""
    return [
        clip
        for clip in clips
        if len(clip.joints) >= 2 * FPS
        and verb in clip_actions(clip)
        and clip_actions(clip) <= {verb, "swing_arms", "look", "sway", "stand"}
    ]


def _bones(side: str) -> tuple[tuple[int, int], tuple[int, int]]:
    shoulder, elbow, wrist = _ARMS[side]
    return (shoulder, elbow), (elbow, wrist)


def _ping_pong(joints: Array, frames: int) -> Array:
    """Forward and back again until there are enough frames."""
    cycle = np.concatenate([joints, joints[-2:0:-1]])
    return np.tile(cycle, (-(-frames // len(cycle)), 1, 1))[:frames]


def _unit(vectors: Array) -> Array:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
