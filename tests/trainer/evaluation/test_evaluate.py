"""Evaluation of methods that are known: one replays the test clips, one stands still."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from engine.methods.base import Prompt, SampleOptions
from engine.motion.skeleton import SMPL_22
from trainer.data.corpus import Clip
from trainer.evaluation import evaluate
from trainer.evaluation.evaluator_network import Evaluator, EvaluatorConfig


@dataclass
class ReplayedMotion:
    positions: torch.Tensor
    fps: float = 20.0

    def joints(self) -> torch.Tensor:
        return self.positions


class Replay:
    """Gives back the motion that is filed under the prompt."""

    def __init__(self, by_prompt: dict[str, np.ndarray], fps: float = 20.0) -> None:
        self.by_prompt, self.fps = by_prompt, fps
        self.asked: list[SampleOptions] = []

    def run(self, condition: Prompt, options: SampleOptions, report) -> ReplayedMotion:
        self.asked.append(options)
        return ReplayedMotion(torch.as_tensor(self.by_prompt[condition.text]), self.fps)


def clips(count: int = 40) -> list[Clip]:
    rest = np.array(SMPL_22.rest_joints(), dtype=np.float32) + np.float32([0, 0.95, 0])
    found: list[Clip] = []
    for k in range(count):
        generator = np.random.default_rng(k // 2)
        wander = np.cumsum(generator.normal(0, 0.02, (30 + k // 2, 22, 3)), axis=0)
        name = f"C{k // 2}" if k % 2 == 0 else f"MC{k // 2}"
        joints = (rest + wander).astype(np.float32) * (1 if k % 2 == 0 else np.float32([-1, 1, 1]))
        found.append(Clip(clip_id=name, joints=joints, captions=(f"caption x{'x' * k}",)))
    return found


@pytest.fixture
def evaluator(monkeypatch: pytest.MonkeyPatch) -> Evaluator:
    torch.manual_seed(0)
    built = Evaluator(EvaluatorConfig(width=32, embedding_width=4, num_layers=1)).eval()
    built.std.fill_(0.1)  # so that an untrained network minds its input
    captions = np.random.default_rng(0).normal(0, 1, (400, 4))
    monkeypatch.setattr(built, "embed_captions", lambda texts: captions[: len(texts)])
    return built


@pytest.fixture
def real(evaluator: Evaluator) -> evaluate.RealClips:
    return evaluate.prepare_real(clips(), evaluator)


def test_a_replayed_split_has_the_figures_of_the_real_clips(
    real: evaluate.RealClips, evaluator: Evaluator
) -> None:
    replay = Replay({clip.captions[0]: clip.joints for clip in real.clips})
    samples = [evaluate.sample_split(replay, real, seed, lambda: None) for seed in (0, 1)]
    figures = evaluate.measure_samples(real, samples, evaluator)
    expected = evaluate.measure_real(real)
    assert figures["fid"].value == pytest.approx(0, abs=1e-5)
    assert figures["kid"].value <= 0
    assert figures["multimodality"].value == 0
    assert figures["mm_distance"].value == pytest.approx(expected["mm_distance"].value)
    for name in ("foot_skate_mm", "contact_share", "jitter", "floor_penetration"):
        assert figures[name].value == pytest.approx(expected[name].value, nan_ok=True)


def test_other_motions_are_far_from_the_real_clips(
    real: evaluate.RealClips, evaluator: Evaluator
) -> None:
    lying = [clip.joints[:, :, (1, 0, 2)] * np.float32(0.5) for clip in real.clips]
    still = [np.repeat(joints[:1], len(joints), axis=0) for joints in lying]
    figures = evaluate.measure_samples(real, [still], evaluator)
    assert figures["fid"].value > 2 * evaluate.measure_floor(real)["fid"].value
    assert figures["jitter"].value == 0
    assert "multimodality" not in figures  # one seed says nothing of it


def test_every_clip_gives_its_length_and_seeds_of_its_own(real: evaluate.RealClips) -> None:
    replay = Replay({clip.captions[0]: clip.joints for clip in real.clips})
    done: list[int] = []
    for seed in (0, 1):
        evaluate.sample_split(replay, real, seed, lambda: done.append(1))
    frames = [options.num_frames for options in replay.asked[: len(real.clips)]]
    assert sorted(frames) == sorted(len(clip.joints) for clip in real.clips)
    assert len({options.seed for options in replay.asked}) == len(replay.asked) == len(done)


def test_another_frame_rate_is_refused(real: evaluate.RealClips) -> None:
    replay = Replay({clip.captions[0]: clip.joints for clip in real.clips}, fps=30.0)
    with pytest.raises(ValueError, match=r"30\.0 frames a second"):
        evaluate.sample_split(replay, real, 0, lambda: None)


def test_floor_keeps_a_clip_and_its_twin_in_one_half(
    real: evaluate.RealClips, monkeypatch: pytest.MonkeyPatch
) -> None:
    halves: list[tuple[int, int]] = []

    def count(first: np.ndarray, second: np.ndarray) -> float:
        halves.append((len(first), len(second)))
        return 0.0

    monkeypatch.setattr(evaluate.metrics, "frechet_distance", count)
    evaluate.measure_floor(real)
    assert set(halves) == {(20, 20)}


def test_a_method_that_can_samples_clips_of_like_length_together(
    real: evaluate.RealClips,
) -> None:
    sizes: list[int] = []

    class Batches(Replay):
        def run_batch(self, prompts, options, report) -> list[ReplayedMotion]:
            sizes.append(len(prompts))
            pairs = zip(prompts, options, strict=True)
            return [self.run(prompt, wanted, report) for prompt, wanted in pairs]

    by_prompt = {clip.captions[0]: clip.joints for clip in real.clips}
    together = evaluate.sample_split(Batches(by_prompt), real, 0, lambda: None)
    alone = evaluate.sample_split(Replay(by_prompt), real, 0, lambda: None)
    assert sizes == [16, 16, 8]
    assert all((a == b).all() for a, b in zip(together, alone, strict=True))
    assert (together[7] == real.clips[7].joints).all()
