"""The benchmark says what is too slow, and times a method by its reports."""

from __future__ import annotations

import time

import pytest

from benchmark import PEER_SECONDS, Speed, _failures, _measure
from engine.methods.base import Prompt, SampleOptions


def speed(times_faster: float) -> Speed:
    return Speed(
        motion_seconds=PEER_SECONDS,
        num_steps=10,
        is_default=True,
        ms_per_step=1.0,
        seconds=1.0,
        times_faster_than_peer=times_faster,
    )


def keying(milliseconds: float) -> dict[str, object]:
    return {"blender": "5.0", "fastest_milliseconds": milliseconds}


def test_a_fast_model_has_no_failures() -> None:
    assert _failures([speed(12)], [keying(20)]) == []


def test_every_slow_thing_is_named() -> None:
    failures = _failures([speed(9)], [keying(20), keying(70)])
    assert len(failures) == 2
    assert "9.0 times" in failures[0]
    assert "70 ms" in failures[1]


class Sleeper:
    """A method whose every step takes 10 ms."""

    class info:  # noqa: N801  # stands for an attribute
        sampling = {"num_steps": 4}  # noqa: RUF012
        fps = 20.0

    def run(self, condition: Prompt, options: SampleOptions, report) -> None:
        for step in range(options.num_steps or 4):
            time.sleep(0.01)
            report(step + 1, options.num_steps)


@pytest.mark.slow
def test_steps_and_motions_are_timed() -> None:
    peer_ms, speeds = _measure(Sleeper(), 1, "cpu")
    default = speeds[0]
    assert default.is_default
    assert default.num_steps == 4
    # sleeping never ends early; a loaded machine may add to it
    assert 10 <= default.ms_per_step < 60
    assert default.seconds >= 0.04
    assert default.times_faster_than_peer == pytest.approx(50 * peer_ms / 1_000 / default.seconds)
    assert [s.num_steps for s in speeds] == [4, 4, 5, 10, 20, 50]
