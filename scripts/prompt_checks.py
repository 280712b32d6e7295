"""Prompts worded unlike the captions, and simple measurements that tell if a motion does them.

Each check is a function of joint positions (T, 22, 3) in metres, y up, floor at y = 0, 20 frames
a second. `check_prompts.py` runs them on samples; with --validate on recorded clips, whose own
action should pass and whose other actions should mostly fail.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from engine.motion import skeleton as sk
from engine.motion.representation import estimate_heading, rotate_by_heading, unwrap
from trainer.data.actions import actions_of

Array = NDArray[np.float64]

FPS = 20.0
_FEET = (sk.LEFT_ANKLE, sk.LEFT_FOOT, sk.RIGHT_ANKLE, sk.RIGHT_FOOT)
_ARMS = (
    (sk.LEFT_SHOULDER, sk.LEFT_WRIST),
    (sk.RIGHT_SHOULDER, sk.RIGHT_WRIST),
)
_LEGS = ((sk.LEFT_HIP, sk.LEFT_KNEE, sk.LEFT_ANKLE), (sk.RIGHT_HIP, sk.RIGHT_KNEE, sk.RIGHT_ANKLE))
_ARM_LENGTH = 0.528  # metres, shoulder to wrist of the built-in skeleton
_STANDING_PELVIS = 0.95


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A motion's figures. Speeds in m/s, angles in degrees, left turns positive."""

    speed: float  # mean horizontal speed of the root
    fastest_speed: float  # of the fastest second
    forward_speed: float  # mean, along the facing direction
    forward_metres: float  # from start to end, along the first facing direction
    path_metres: float
    straightness: float  # distance from start to end over the path's length
    turn_degrees: float  # from the first to the last facing direction
    path_turn_degrees: float  # by which the direction of travel has turned while it moves
    air_metres: float  # height of the lowest foot joint when both feet are highest
    ground_share: float  # of frames with a foot within 12 cm of the floor
    rise_metres: float  # of the pelvis over its median
    wave_seconds: float  # with a wrist over its shoulder
    wave_swings: float  # reversals of a raised wrist that moves at least 4 cm each way
    kick_metres: float  # highest ankle that is half a metre from the pelvis, and out of its rest
    kick_speed: float  # of that ankle against the pelvis, fastest
    punch_reach: float  # share of an arm's length at the end of the fastest stretching
    punch_speed: float  # of a wrist from its shoulder while the arm stretches, fastest
    pelvis_metres: float  # height of the pelvis in its lowest second
    head_over_pelvis: float  # metres of height in between, median
    thigh_drop: float  # metres from hip down to knee in its most level second
    trunk_lean: float  # degrees from upright then
    activity: float  # mean speed of wrists and ankles against the pelvis
    overall_turning: float  # degrees of turning, both ways added
    low_share: float  # share of frames with the pelvis under 75 cm


def measure(joints: NDArray[np.float32]) -> Measurement:
    """Measure a motion of at least half a second."""
    positions = torch.as_tensor(joints, dtype=torch.float32)
    heading = estimate_heading(positions)
    facing_torch = rotate_by_heading(
        positions - positions[:, :1] * torch.tensor([1.0, 0.0, 1.0]), -heading[:, None]
    )
    world, facing = joints.astype(np.float64), facing_torch.double().numpy()
    return Measurement(
        **_root_figures(world[:, 0], heading.double().numpy()),
        **_leg_figures(world, facing),
        **_arm_figures(facing),
    )


def _root_figures(root: Array, heading: Array) -> dict[str, float]:
    step = np.diff(root[:, (0, 2)], axis=0) * FPS
    speed = np.linalg.norm(step, axis=1)
    ahead = np.stack([np.sin(heading), np.cos(heading)], axis=1)
    moved = root[-1, (0, 2)] - root[0, (0, 2)]
    path = float(speed.sum() / FPS)
    low = _lowest_second(root[:, 1])
    return {
        "speed": float(speed.mean()),
        "fastest_speed": float(_smooth(speed, 20).max()),
        "forward_speed": float((step * ahead[:-1]).sum(1).mean()),
        "forward_metres": float(moved @ ahead[0]),
        "path_metres": path,
        "straightness": float(np.linalg.norm(moved) / max(path, 1e-6)),
        "turn_degrees": float(np.degrees(heading[-1] - heading[0])),
        "path_turn_degrees": _path_turn(step),
        "rise_metres": float(root[:, 1].max() - np.median(root[:, 1])),
        "pelvis_metres": low,
        "overall_turning": float(np.degrees(np.abs(np.diff(_smooth(heading, 5))).sum())),
        "low_share": float((root[:, 1] < 0.75).mean()),
    }


def _path_turn(velocity: Array) -> float:
    """Degrees by which the direction of travel turns, where the root moves at over 0.2 m/s."""
    smooth = np.stack([_smooth(velocity[:, axis], 9) for axis in (0, 1)], axis=1)
    smooth = smooth[np.linalg.norm(smooth, axis=1) > 0.2]
    if len(smooth) < 10:
        return 0.0
    direction = unwrap(torch.as_tensor(np.arctan2(smooth[:, 0], smooth[:, 1])))
    return float(np.degrees(float(direction[-1] - direction[0])))


def _leg_figures(world: Array, facing: Array) -> dict[str, float]:
    feet = world[:, _FEET, 1].min(axis=1)
    kick = [_kick(facing, leg) for leg in _LEGS]
    height, speed = max(kick)
    drop = np.mean([facing[:, hip, 1] - facing[:, knee, 1] for hip, knee, _ in _LEGS], axis=0)
    level = _smooth(drop, 20)
    trunk = facing[:, sk.NECK] - facing[:, 0]
    lean = np.degrees(np.arccos(trunk[:, 1] / np.linalg.norm(trunk, axis=1)))
    ends = np.diff(
        facing[:, (sk.LEFT_WRIST, sk.RIGHT_WRIST, sk.LEFT_ANKLE, sk.RIGHT_ANKLE)], axis=0
    )
    return {
        "air_metres": float(_smooth(feet, 2).max()),
        "ground_share": float((feet < 0.12).mean()),
        "head_over_pelvis": float(np.median(facing[:, sk.HEAD, 1] - facing[:, 0, 1])),
        "kick_metres": height,
        "kick_speed": speed,
        "thigh_drop": float(level.min()),
        "trunk_lean": float(_smooth(lean, 20)[level.argmin()]),
        "activity": float(np.linalg.norm(ends, axis=-1).mean() * FPS),
    }


def _kick(facing: Array, leg: tuple[int, int, int]) -> tuple[float, float]:
    """Highest place of an ankle on a stretched leg away from the body, and its fastest speed."""
    hip, knee, ankle = leg
    reach = facing[:, ankle] - facing[:, hip]
    length = np.linalg.norm(reach, axis=1)
    bones = np.linalg.norm(facing[:, knee] - facing[:, hip], axis=1) + np.linalg.norm(
        facing[:, ankle] - facing[:, knee], axis=1
    )
    out = np.linalg.norm(reach[:, (0, 2)], axis=1) > 0.35
    behind = (reach[:, 2] < 0) & (np.abs(reach[:, 0]) < 0.3)  # a running leg folds up behind
    is_kick = out & (length > 0.8 * bones) & ~behind
    speed = np.linalg.norm(np.diff(facing[:, ankle], axis=0), axis=1) * FPS
    if not is_kick.any():
        return 0.0, float(speed.max())
    return float(facing[is_kick, ankle, 1].max()), float(speed.max())


def _arm_figures(facing: Array) -> dict[str, float]:
    waves = [_wave(facing, shoulder, wrist) for shoulder, wrist in _ARMS]
    punches = [_punch(facing, shoulder, wrist) for shoulder, wrist in _ARMS]
    seconds, swings = max(waves)
    speed, reach = max(punches)
    return {
        "wave_seconds": seconds,
        "wave_swings": swings,
        "punch_speed": speed,
        "punch_reach": reach,
    }


def _wave(facing: Array, shoulder: int, wrist: int) -> tuple[float, int]:
    """Seconds with the wrist above the shoulder, and how often it swings to and fro there."""
    raised = facing[:, wrist, 1] > facing[:, shoulder, 1]
    if raised.sum() < 6:
        return float(raised.sum() / FPS), 0
    path = (facing[:, wrist] - facing[:, shoulder])[raised]
    swings = max(_reversals(path[:, axis], 0.04) for axis in (0, 2))
    return float(raised.sum() / FPS), swings


def _reversals(path: Array, least: float) -> int:
    """How often a path turns round after moving at least `least`."""
    count, extreme, sign = 0, float(path[0]), 0
    for value in path:
        if (sign >= 0 and value > extreme) or (sign <= 0 and value < extreme):
            extreme = float(value) if sign else extreme
        if sign == 0 and abs(value - path[0]) > least:
            sign, extreme = (1 if value > path[0] else -1), float(value)
        elif sign and (extreme - value) * sign > least:
            count, sign, extreme = count + 1, -sign, float(value)
    return count


def _punch(facing: Array, shoulder: int, wrist: int) -> tuple[float, float]:
    """Fastest stretching of an arm ahead at chest to head height: speed, share of its length."""
    arm = facing[:, wrist] - facing[:, shoulder]
    length = np.linalg.norm(arm, axis=1)
    speed = np.diff(length) * FPS
    level = (np.abs(arm[1:, 1]) < 0.3) & (arm[1:, 2] > 0.15)
    speed = np.where(level, speed, 0.0)
    peak = int(speed.argmax())
    return float(speed[peak]), float(length[peak : peak + 5].max() / _ARM_LENGTH)


def _smooth(values: Array, frames: int) -> Array:
    """Means of stretches of so many frames, or of all if there are fewer."""
    frames = min(frames, len(values))
    return np.convolve(values, np.ones(frames) / frames, mode="valid")


def _lowest_second(height: Array) -> float:
    return float(_smooth(height, round(FPS * 0.5)).min())


@dataclass(frozen=True, kw_only=True)
class Check:
    """An action: prompts for it, the words that its captions have, and what must hold."""

    name: str
    prompts: tuple[str, ...]
    seconds: float
    holds: Callable[[Measurement], bool]
    figures: tuple[str, ...]  # the measurements to show
    actions: frozenset[str]  # that the captions of recorded clips name, which must pass
    phrase: str = ""  # instead, where the actions alone don't tell: found in one of the captions


CHECKS: tuple[Check, ...] = (
    Check(
        name="walk forward",
        prompts=("a man is strolling straight on", "somebody goes for a walk, always straight on"),
        seconds=5,
        holds=lambda m: (
            m.forward_metres > 1.2 and 0.35 < m.speed < 2.0 and abs(m.turn_degrees) < 60
        ),
        figures=("forward_metres", "speed", "turn_degrees"),
        actions=frozenset({"walk"}),
    ),
    Check(
        name="walk backward",
        prompts=("a man is walking in reverse", "somebody takes some steps rearwards"),
        seconds=4,
        holds=lambda m: m.forward_speed < -0.15 and m.forward_metres < -0.5,
        figures=("forward_speed", "forward_metres"),
        actions=frozenset({"walk", "backward"}),
    ),
    Check(
        name="walk in a circle",
        prompts=("a man walks round in a circle", "somebody is walking along a large ring"),
        seconds=8,
        holds=lambda m: (
            abs(m.path_turn_degrees) > 200 and m.path_metres > 2.5 and m.straightness < 0.6
        ),
        figures=("path_turn_degrees", "path_metres", "straightness"),
        actions=frozenset({"walk", "circle"}),
        phrase=r"walks (?:in a|a full) (?:big )?circle|circles (?:left|right) while walking",
    ),
    Check(
        name="run",
        prompts=("a man is running quickly", "somebody sprints off as fast as they can"),
        seconds=4,
        holds=lambda m: m.fastest_speed > 1.9,
        figures=("fastest_speed", "speed"),
        actions=frozenset({"run"}),
    ),
    Check(
        name="jump",
        prompts=("a man jumps into the air", "somebody does a big leap upwards"),
        seconds=4,
        holds=lambda m: m.air_metres > 0.1 and m.rise_metres > 0.1 and m.ground_share > 0.3,
        figures=("air_metres", "rise_metres", "ground_share"),
        actions=frozenset({"jump"}),
    ),
    Check(
        name="turn left",
        prompts=("a man turns towards his left", "somebody walks on and makes a left-hand turn"),
        seconds=4,
        holds=lambda m: m.turn_degrees > 40,
        figures=("turn_degrees",),
        actions=frozenset({"walk", "turn_left"}),
    ),
    Check(
        name="turn right",
        prompts=("a man turns towards his right", "somebody walks on and makes a right-hand turn"),
        seconds=4,
        holds=lambda m: m.turn_degrees < -40,
        figures=("turn_degrees",),
        actions=frozenset({"walk", "turn_right"}),
    ),
    Check(
        name="wave",
        prompts=("a man waves at somebody", "somebody says hi with a wave of the right hand"),
        seconds=4,
        holds=lambda m: m.wave_seconds > 0.5 and m.wave_swings >= 2,
        figures=("wave_seconds", "wave_swings"),
        actions=frozenset({"wave_right"}),
    ),
    Check(
        name="kick",
        prompts=("a man gives a kick", "somebody kicks out at something ahead of them"),
        seconds=4,
        holds=lambda m: m.kick_metres > 0.3 and m.kick_speed > 2.5,
        figures=("kick_metres", "kick_speed"),
        actions=frozenset({"kick"}),
    ),
    Check(
        name="punch",
        prompts=("a man is throwing punches", "somebody hits out with their fists like a boxer"),
        seconds=4,
        holds=lambda m: m.punch_speed > 2.0 and m.punch_reach > 0.8,
        figures=("punch_speed", "punch_reach"),
        actions=frozenset({"punch"}),
    ),
    Check(
        name="crouch",
        prompts=("a man crouches down low", "somebody squats close to the ground"),
        seconds=4,
        holds=lambda m: 0.2 < m.pelvis_metres < 0.75 and m.head_over_pelvis > 0.25,
        figures=("pelvis_metres", "head_over_pelvis"),
        actions=frozenset({"crouch"}),
    ),
    Check(
        name="sit",
        prompts=("a man is sitting down", "somebody takes a seat and stays there"),
        seconds=4,
        holds=lambda m: m.thigh_drop < 0.22 and m.low_share > 0.2 and m.head_over_pelvis > 0.25,
        figures=("thigh_drop", "low_share", "head_over_pelvis"),
        actions=frozenset({"sit"}),
    ),
    Check(
        name="dance",
        prompts=("a man is dancing around", "somebody dances with much feeling"),
        seconds=6,
        holds=lambda m: m.activity > 0.5 and m.straightness < 0.6 and m.overall_turning > 50,
        figures=("activity", "straightness", "overall_turning"),
        actions=frozenset({"dance"}),
    ),
)


def has_action(check: Check, captions: Sequence[str]) -> bool:
    """Say whether a recorded clip is of the check's action: most captions name it, all no other."""
    if check.phrase:
        return any(re.search(check.phrase, caption) for caption in captions)
    named = [actions_of(caption) for caption in captions]
    return sum(actions == check.actions for actions in named) * 2 > len(named)


def lacks_action(check: Check, captions: Sequence[str]) -> bool:
    """Say whether no caption of a recorded clip names all of the check's actions."""
    return not any(actions_of(caption) >= check.actions for caption in captions)
