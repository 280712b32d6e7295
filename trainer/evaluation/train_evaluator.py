"""Train the evaluator: captions and motions that belong together are drawn near each other.

Each batch has clips with their mirrored twins, so the twin's caption, which differs in "left" and
"right" alone, is always among the wrong choices. Captions of the same action are not held
against a motion. Rare actions are drawn more often. The best state by retrieval on the
validation split is kept.
"""

from __future__ import annotations

import copy
import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from engine import __version__
from engine.checkpoint import CheckpointInfo, save_checkpoint
from engine.networks.text_encoder import NAME as TEXT_ENCODER
from engine.networks.text_encoder import SHA256, TextFeatures, encode_text
from trainer.data.actions import actions_of
from trainer.data.corpus import FPS, Clip
from trainer.evaluation.evaluator_network import (
    MAX_FRAMES,
    METHOD,
    REPRESENTATION,
    Evaluator,
    EvaluatorConfig,
    config_values,
    motion_features,
    pad_features,
)
from trainer.evaluation.metrics import r_precision
from trainer.evaluation.retrieval import hit_matrix

log = logging.getLogger(__name__)

REQUIRED_TOP3 = 0.6  # of real test motions in pools of 32: below it the evaluator is not fit
RETRIEVAL_REPEATS = 20


@dataclass(frozen=True, kw_only=True)
class EvaluatorTraining:
    """One run. A step sees 2 * num_pairs clips: originals and their mirrored twins."""

    minutes: float = 10.0
    max_steps: int = 4_000
    num_pairs: int = 40
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup_steps: int = 100
    steps_between_checks: int = 100
    patience: int = 12  # checks without a better one
    seed: int = 0

    def __post_init__(self) -> None:
        if self.minutes <= 0 or self.max_steps < 1 or self.num_pairs < 1:
            raise ValueError(f"minutes, max_steps and num_pairs must be above 0: {self}")


class TrainingSet:
    """Features and captions of clips, with originals and twins found from each other."""

    def __init__(self, clips: Sequence[Clip]) -> None:
        self.features = [motion_features(clip.joints) for clip in clips]
        by_id = {clip.clip_id: index for index, clip in enumerate(clips)}
        self.pairs = [  # a clip without a twin stands beside itself
            (index, by_id.get(f"M{clip.clip_id}", index))
            for index, clip in enumerate(clips)
            if not clip.is_mirrored
        ]
        captions = sorted({caption for clip in clips for caption in clip.captions})
        row = {caption: number for number, caption in enumerate(captions)}
        self.captions = [[row[caption] for caption in clip.captions] for clip in clips]
        actions = [actions_of(caption) for caption in captions]
        number = {action: k for k, action in enumerate(dict.fromkeys(actions))}
        self.action = torch.tensor([number[a] if a else -1 - k for k, a in enumerate(actions)])
        self.text = _half(encode_text(captions))
        self.weights = _rarity_weights(
            [actions[self.captions[first][0]] for first, _ in self.pairs]
        )

    def draw(
        self, num_pairs: int, generator: np.random.Generator
    ) -> tuple[Tensor, Tensor, TextFeatures, Tensor]:
        """A batch: padded features, mask, text, and the action number of each caption."""
        chosen = generator.choice(len(self.pairs), num_pairs, p=self.weights, replace=True)
        members = [self.pairs[i][side] for side in (0, 1) for i in chosen]
        rows = torch.tensor([generator.choice(self.captions[member]) for member in members])
        features = [_change_speed(self.features[member], generator) for member in members]
        text = self.text[rows]
        length = int(text.mask.sum(1).max())
        text = TextFeatures(
            tokens=text.tokens[:, :length].float(),
            mask=text.mask[:, :length],
            sentence=text.sentence.float(),
        )
        return *pad_features(features), text, self.action[rows]


def train_evaluator(
    training_clips: Sequence[Clip],
    validation_clips: Sequence[Clip],
    training: EvaluatorTraining,
    config: EvaluatorConfig,
    report: Callable[[int, float, float], None],
) -> Evaluator:
    """Train, and return the state that was best on the validation clips.

    `report(step, loss, top3)` is called at each check.
    """
    torch.manual_seed(training.seed)
    generator = np.random.default_rng(training.seed)
    data = TrainingSet(training_clips)
    evaluator = Evaluator(config)
    _set_statistics(evaluator, data.features)
    optimiser = torch.optim.AdamW(
        evaluator.parameters(), training.learning_rate, weight_decay=training.weight_decay
    )
    best, best_state, waited = -1.0, copy.deepcopy(evaluator.state_dict()), 0
    started, recent = time.monotonic(), 0.0
    for step in range(1, training.max_steps + 1):
        used = max(
            (time.monotonic() - started) / (60 * training.minutes), step / training.max_steps
        )
        rate = min(step / training.warmup_steps, 1.0) * (0.05 + 0.95 * max(0.0, 1 - used))
        for group in optimiser.param_groups:
            group["lr"] = training.learning_rate * rate
        loss = _loss(evaluator.train(), *data.draw(training.num_pairs, generator))
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(evaluator.parameters(), 1.0)
        optimiser.step()
        recent = loss.item() if step == 1 else 0.98 * recent + 0.02 * loss.item()
        if step % training.steps_between_checks and used < 1:
            continue
        score = _validation_score(evaluator.eval(), validation_clips)
        report(step, recent, score)
        waited = 0 if score > best else waited + 1
        if score > best:
            best, best_state = score, copy.deepcopy(evaluator.state_dict())
        if used >= 1 or waited >= training.patience:
            break
    evaluator.load_state_dict(best_state)
    return evaluator.eval()


def retrieval_of_clips(
    evaluator: Evaluator, clips: Sequence[Clip], *, repeats: int = RETRIEVAL_REPEATS
) -> dict[str, list[float]]:
    """R-precision top 1 to 3 of real motions: strict, and with captions of the same action."""
    captions = [clip.captions[0] for clip in clips]
    motions = evaluator.embed_motions([clip.joints for clip in clips])
    texts = evaluator.embed_captions(captions)
    extra = hit_matrix(clips, captions)
    return {
        "strict": r_precision(texts, motions, repeats=repeats).tolist(),
        "same_action": r_precision(texts, motions, extra_hits=extra, repeats=repeats).tolist(),
    }


def save_evaluator(
    path: Path, evaluator: Evaluator, clips: Sequence[Clip], metrics: dict[str, Any], seed: int
) -> CheckpointInfo:
    """Write the evaluator in half precision with what it was trained on and how well it does."""
    info = CheckpointInfo(
        method=METHOD,
        method_config=config_values(evaluator.config),
        accepts=(),
        fps=FPS,
        feature_blocks=REPRESENTATION.sizes,
        text_encoder={"name": TEXT_ENCODER, "sha256": SHA256},
        training={"seed": seed, "num_clips": len(clips), "engine_version": __version__},
        licence="; ".join(sorted({clip.licence for clip in clips if clip.licence})),
        metrics=metrics,
    )
    tensors = {f"model.{name}": tensor for name, tensor in evaluator.state_dict().items()}
    return save_checkpoint(path, info, tensors, half=True)


def _loss(
    evaluator: Evaluator, features: Tensor, mask: Tensor, text: TextFeatures, action: Tensor
) -> Tensor:
    """InfoNCE both ways; a caption of the same action is no wrong choice.

    Source: Oord et al., Representation Learning with Contrastive Predictive Coding, equation 4.
    """
    motions = F.normalize(evaluator.encode_motions(features, mask), dim=-1)
    captions = F.normalize(evaluator.caption(text), dim=-1)
    logits = evaluator.log_scale.clamp(max=4.0).exp() * motions @ captions.T
    same = (action[:, None] == action[None]) & ~torch.eye(len(action), dtype=torch.bool)
    logits = logits.masked_fill(same, -torch.inf)
    target = torch.arange(len(action))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def _validation_score(evaluator: Evaluator, clips: Sequence[Clip]) -> float:
    """Mean of strict and same-action top 3: the second alone is soon at its ceiling."""
    scores = retrieval_of_clips(evaluator, clips, repeats=5)
    return (scores["strict"][2] + scores["same_action"][2]) / 2


def _set_statistics(evaluator: Evaluator, features: Sequence[Tensor]) -> None:
    """Mean per feature, one deviation per feature block."""
    frames = torch.cat(list(features))
    evaluator.mean.copy_(frames.mean(0))
    for block in REPRESENTATION.blocks:
        part = REPRESENTATION.part(block)
        evaluator.std[part] = frames[:, part].std(0).mean().clamp(min=1e-4)


def _rarity_weights(actions: Sequence[frozenset[str]]) -> NDArray[np.float64]:
    """Chance of each clip: one over the root of how many clips have its actions."""
    counts = Counter(actions)
    weights = np.array([counts[action] ** -0.5 for action in actions])
    return weights / weights.sum()


def _change_speed(features: Tensor, generator: np.random.Generator) -> Tensor:
    """Play up to a tenth faster or slower; steps per frame change with it."""
    speed = generator.uniform(0.9, 1.1)
    length = max(2, round(len(features) / speed))
    stretched = F.interpolate(features.T[None], length, mode="linear", align_corners=True)[0].T
    stretched = stretched.clone()
    for block in ("root_heading_rate", "root_velocity", "joint_velocities"):
        stretched[:, REPRESENTATION.part(block)] *= speed
    return stretched[:MAX_FRAMES]


def _half(text: TextFeatures) -> TextFeatures:
    """The same in half precision: thousands of captions stay in memory."""
    return TextFeatures(tokens=text.tokens.half(), mask=text.mask, sentence=text.sentence.half())
