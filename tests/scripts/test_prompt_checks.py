"""The checks of prompts on motions that are made up to pass or to fail them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import prompt_checks
from check_prompts import PromptResult, judge
from engine.motion.skeleton import SMPL_22

CHECKS = {check.name: check for check in prompt_checks.CHECKS}
SECONDS = 5.0


def standing(seconds: float = SECONDS) -> np.ndarray:
    """Arms hanging, feet on the floor."""
    rest = np.array(SMPL_22.rest_joints(), dtype=np.float32)
    rest[:, 1] -= rest[:, 1].min()
    for side in (0, 1):
        shoulder, elbow, wrist = (16 + side, 18 + side, 20 + side)
        rest[elbow] = rest[shoulder] - (0, 0.26, 0)
        rest[wrist] = rest[elbow] - (0, 0.268, 0)
    return np.repeat(rest[None], round(seconds * 20), axis=0)


def along(path: np.ndarray, heading: np.ndarray) -> np.ndarray:
    """A standing figure moved along a path (T, 2) of x and z, turned by heading (T,)."""
    joints = standing(len(path) / 20)
    cos, sin = np.cos(heading)[:, None], np.sin(heading)[:, None]
    x, y, z = joints[..., 0], joints[..., 1], joints[..., 2]
    turned = np.stack([cos * x + sin * z, y, cos * z - sin * x], axis=-1)
    turned[..., 0] += path[:, :1]
    turned[..., 2] += path[:, 1:]
    return turned.astype(np.float32)


def straight(speed: float) -> np.ndarray:
    time = np.arange(100) / 20
    return along(np.stack([0 * time, speed * time], axis=1), 0 * time)


def arc(degrees: float, radius: float = 0.8) -> np.ndarray:
    angle = np.radians(np.linspace(0, degrees, 160))
    turn = np.sign(degrees) * radius
    path = np.stack([turn * (1 - np.cos(angle)), turn * np.sin(angle)], axis=1)
    return along(path, angle)


def jumping() -> np.ndarray:
    joints = standing()
    joints[40:52, :, 1] += np.sin(np.linspace(0, np.pi, 12))[:, None].astype(np.float32) * 0.3
    return joints


def waving() -> np.ndarray:
    joints = standing()
    swing = 0.15 * np.sin(np.arange(100) / 20 * 2 * np.pi * 1.5)
    joints[:, 21] = joints[:, 17] + np.float32([-0.2, 0.3, 0.1])
    joints[:, 21, 0] += swing.astype(np.float32)
    return joints


def kicking() -> np.ndarray:
    joints = standing()
    swing = np.sin(np.linspace(0, np.pi, 16)) * 1.5  # radians that the leg lifts ahead
    for joint in (5, 8, 11):
        down = joints[40:56, 2, 1] - joints[40:56, joint, 1]
        joints[40:56, joint, 1] += (down * (1 - np.cos(swing))).astype(np.float32)
        joints[40:56, joint, 2] += (down * np.sin(swing)).astype(np.float32)
    return joints


def punching() -> np.ndarray:
    joints = standing()
    reach = np.float32(0.1) + np.zeros(100, dtype=np.float32)
    reach[50:54] = [0.2, 0.35, 0.5, 0.5]
    joints[:, 20] = joints[:, 16] + np.stack([0 * reach, 0 * reach, reach], axis=1)
    return joints


def lowered(metres: float) -> np.ndarray:
    joints = standing()
    upper = [j for j in range(22) if j not in (7, 8, 10, 11)]
    joints[40:, upper, 1] -= np.float32(metres)
    joints[40:, (4, 5), 1] += np.float32(metres) * 0.9  # the knees stay up
    return joints


GOOD = {
    "walk forward": straight(1.2),
    "walk backward": straight(-0.7),
    "walk in a circle": arc(330),
    "run": straight(3.0),
    "jump": jumping(),
    "turn left": arc(90),
    "turn right": arc(-90),
    "wave": waving(),
    "kick": kicking(),
    "punch": punching(),
    "crouch": lowered(0.4),
    "sit": lowered(0.4),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_check_holds_for_its_action(name: str) -> None:
    check = CHECKS[name]
    measured = prompt_checks.measure(GOOD[name])
    assert check.holds(measured), [(f, getattr(measured, f)) for f in check.figures]


@pytest.mark.parametrize("name", CHECKS)
def test_no_check_holds_for_standing_still(name: str) -> None:
    assert not CHECKS[name].holds(prompt_checks.measure(standing()))


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("walk forward", "walk backward"),
        ("walk backward", "walk forward"),
        ("run", "walk forward"),
        ("turn left", "turn right"),
        ("turn right", "turn left"),
        ("walk in a circle", "turn left"),
        ("jump", "run"),
        ("wave", "punch"),
        ("kick", "jump"),
        ("punch", "wave"),
        ("crouch", "kick"),
        ("sit", "jump"),
        ("dance", "walk in a circle"),
    ],
)
def test_a_check_fails_for_another_action(name: str, other: str) -> None:
    assert not CHECKS[name].holds(prompt_checks.measure(GOOD[other]))


def test_a_left_turn_counts_positive() -> None:
    assert prompt_checks.measure(arc(90)).turn_degrees == pytest.approx(90, abs=8)
    assert prompt_checks.measure(arc(-330)).path_turn_degrees == pytest.approx(-330, abs=25)


def result(name: str, joints: np.ndarray, passed: tuple[bool, ...]) -> PromptResult:
    measured = tuple(prompt_checks.measure(joints) for _ in passed)
    return PromptResult(name=name, prompt=name, passed=passed, measured=measured)


def test_one_weak_prompt_spoils_a_good_mean() -> None:
    good = result("jump", jumping(), (True,) * 5)
    weak = result("kick", standing(), (True, False, False, False, False))
    verdict = judge([good] * 9 + [weak])
    assert verdict.share == pytest.approx(46 / 50)
    assert not verdict.passed
    assert judge([good] * 9).passed


def test_running_must_be_faster_than_walking() -> None:
    walks = result("walk forward", straight(1.5), (True,) * 5)
    assert judge([walks, result("run", straight(3), (True,) * 5)]).passed
    assert not judge([walks, result("run", straight(1.6), (True,) * 5)]).passed


def test_turns_the_wrong_way_are_counted() -> None:
    right = result("turn left", arc(90), (True,) * 5)
    wrong = result("turn right", arc(90), (True,) * 5)
    assert judge([right]).wrong_turns == 0
    assert judge([right, wrong]).wrong_turns == 0.5


@pytest.mark.parametrize("corpus", ["free", "nc"])
def test_no_prompt_is_a_caption(real_data: Path, corpus: str) -> None:
    files = (real_data / "motion" / corpus / "texts").glob("*.txt")
    lines = {line.split("#")[0] for file in files for line in file.read_text().splitlines()}
    prompts = {prompt for check in prompt_checks.CHECKS for prompt in check.prompts}
    assert not prompts & lines
