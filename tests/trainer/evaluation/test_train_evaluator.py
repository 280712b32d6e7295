"""Training pulls captions and their motions together."""

from __future__ import annotations

import numpy as np
import pytest

from engine.motion.skeleton import SMPL_22
from trainer.data.corpus import Clip
from trainer.evaluation.evaluator_network import EvaluatorConfig
from trainer.evaluation.retrieval import hit_matrix
from trainer.evaluation.train_evaluator import (
    EvaluatorTraining,
    TrainingSet,
    retrieval_of_clips,
    train_evaluator,
)

ACTIONS = ("a person walks forward", "a person raises the left hand", "a person crouches down")


def clip(number: int) -> Clip:
    generator = np.random.default_rng(number)
    rest = np.array(SMPL_22.rest_joints(), dtype=np.float32) + np.float32([0, 0.95, 0])
    joints = np.repeat(rest[None], generator.integers(30, 60), axis=0)
    time = np.linspace(0, 1, len(joints), dtype=np.float32)
    kind = number % len(ACTIONS)
    if kind == 0:
        joints[..., 2] += 2 * time[:, None]
    elif kind == 1:
        joints[:, 20] += time[:, None] * np.float32([0, 0.6, 0])
    else:
        joints[:, :, 1] *= (1 - 0.5 * time)[:, None]
    noise = generator.normal(0, 0.003, joints.shape).astype(np.float32)
    return Clip(clip_id=f"C{number}", joints=joints + noise, captions=(ACTIONS[kind],))


def test_hits_are_captions_of_the_same_action() -> None:
    clips = [clip(0), clip(1)]
    captions = ["someone strolls ahead", "a person lifts the left arm", "a purple idea"]
    assert hit_matrix(clips, captions).tolist() == [[True, False, False], [False, True, False]]


def test_a_batch_has_originals_first_and_then_their_twins() -> None:
    original = clip(0)
    twin = Clip(clip_id="MC0", joints=original.joints, captions=original.captions)
    data = TrainingSet([original, twin, clip(1)])
    assert data.pairs == [(0, 1), (2, 2)]
    features, mask, text, action = data.draw(5, np.random.default_rng(0))
    assert features.shape[0] == mask.shape[0] == len(text.tokens) == len(action) == 10
    assert (action[:5] == action[5:]).all()


@pytest.mark.slow
def test_training_finds_the_right_caption() -> None:
    training, test = [clip(k) for k in range(24)], [clip(k) for k in range(100, 112)]
    config = EvaluatorConfig(width=32, embedding_width=8, num_layers=1)
    options = EvaluatorTraining(
        minutes=30, max_steps=60, num_pairs=8, warmup_steps=5, steps_between_checks=20
    )
    seen: list[int] = []
    evaluator = train_evaluator(
        training, test, options, config, lambda step, loss, score: seen.append(step)
    )
    assert seen == [20, 40, 60]
    assert retrieval_of_clips(evaluator, test)["same_action"][0] > 0.9


def test_a_run_without_time_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        EvaluatorTraining(minutes=0)
