from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import pytest
import torch

from engine.device import choose_device
from engine.generation import (
    GenerationRequest,
    LaterPrompt,
    draw_seed,
    fit_frames,
    generate,
    model_frames,
)
from engine.methods.base import Cancelled, Prompt, PromptSequence, RequestError
from tests.fakes import FAKE_INFO, FakeMethod, sine_motion


def make_request(**changes: object) -> GenerationRequest:
    values = {"prompt": Prompt("a person walks"), "num_frames": 30, "fps": 30.0, "seed": 1}
    return GenerationRequest(**(values | changes))


def ignore(step: int, num_steps: int) -> None:
    del step, num_steps


@pytest.mark.parametrize(
    ("num_frames", "fps", "expected"),
    [(1, 24, 1), (2, 20, 2), (25, 24, 21), (26, 24, 22), (3, 8, 8), (1440, 24, 1200)],
)
def test_the_model_makes_just_enough_frames(num_frames: int, fps: float, expected: int) -> None:
    assert model_frames(num_frames, fps, 20.0) == expected


@pytest.mark.parametrize("fps", [8.0, 10.0, 23.976, 24.0, 29.97, 60.0, 120.0])
@pytest.mark.parametrize("num_frames", [1, 2, 3, 47, 240])
def test_every_rate_and_length_comes_out_exactly(num_frames: int, fps: float) -> None:
    motion = sine_motion(model_frames(num_frames, fps, 20.0))
    fitted = fit_frames(motion, num_frames, fps)
    assert (fitted.num_frames, fitted.fps) == (num_frames, fps)
    last = (num_frames - 1) / fps  # it walks 1 m/s along z
    assert float(fitted.root_translation[-1, 2]) == pytest.approx(last, abs=1e-4)


def test_the_models_own_rate_is_left_as_it_is() -> None:
    motion = sine_motion(10)
    fitted = fit_frames(motion, 10, 20.0)
    assert torch.equal(fitted.root_translation, motion.root_translation)
    assert torch.equal(fitted.local_rotations, motion.local_rotations)


def test_progress_counts_the_steps_of_all_candidates() -> None:
    steps: list[tuple[int, int]] = []
    method = FakeMethod(num_steps=2)
    motions = list(generate(method, make_request(count=2), lambda s, n: steps.append((s, n))))
    assert [motion.provenance["seed"] for motion in motions] == [1, 2]
    assert steps == [(0, 4), (1, 4), (2, 4), (2, 4), (3, 4), (4, 4)]


def test_cancelled_passes_through() -> None:
    def cancel(step: int, num_steps: int) -> None:
        raise Cancelled

    with pytest.raises(Cancelled):
        list(generate(FakeMethod(), make_request(), cancel))


def test_a_model_of_video_refuses_words() -> None:
    method = FakeMethod(replace(FAKE_INFO, accepts=("video",)))
    with pytest.raises(RequestError, match="makes motion from video, not from words"):
        list(generate(method, make_request(), ignore))


@pytest.mark.parametrize(
    "changes",
    [
        {"num_frames": 0},
        {"num_frames": 60 * 30 + 1},
        {"fps": 0.0},
        {"fps": float("nan")},
        {"count": 0},
    ],
)
def test_numbers_that_cannot_be_served_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(RequestError):
        make_request(**changes)


def test_a_minute_is_served() -> None:
    assert make_request(num_frames=60 * 30).num_frames == 1800


def test_seeds_drawn_fit_blenders_fields() -> None:
    seeds = {draw_seed() for _ in range(100)}
    assert len(seeds) > 95
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_devices() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(RequestError, match="needs one of this machine's: auto"):
        choose_device("abacus")


def test_a_loop_keeps_both_ends_at_any_rate() -> None:
    (motion,) = generate(FakeMethod(), make_request(num_frames=50, fps=24.0, loop=True), ignore)
    assert (motion.num_frames, motion.fps) == (50, 24.0)
    # 41 frames at the model's 20: its last pose comes last, not a frame before the end
    assert float(motion.root_translation[-1, 2]) == pytest.approx(41 / 20 * 1.01, abs=0.06)


def test_later_prompts_share_the_frames() -> None:
    then = (LaterPrompt(Prompt("someone sits"), 12), LaterPrompt(Prompt("he waves"), 6))
    request = make_request(num_frames=30, fps=30.0, then=then)
    condition = request.condition(20)
    assert isinstance(condition, PromptSequence)
    assert condition.num_frames == (8, 8, 4)
    assert request.part_frames() == (12, 12, 6)
    with pytest.raises(RequestError, match="1 or more for each"):
        make_request(num_frames=18, then=then)


def test_a_model_that_can_makes_the_candidates_side_by_side() -> None:
    class Batched(FakeMethod):
        sizes: ClassVar[list[int]] = []

        def run_batch(self, conditions, options, report):
            self.sizes.append(len(conditions))
            report(1, 1)
            return [self.run(c, o, ignore) for c, o in zip(conditions, options, strict=True)]

    steps: list[tuple[int, int]] = []
    motions = list(generate(Batched(), make_request(count=11), lambda s, n: steps.append((s, n))))
    assert Batched.sizes == [8, 3]
    assert [motion.provenance["seed"] for motion in motions] == list(range(1, 12))
    assert steps[-1] == (11, 11)
