"""Training examples: features of clips with encoded captions, drawn into batches.

Rare actions are drawn more often, and clips of like length share a batch.
"""

from __future__ import annotations

import json
import logging
import os
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from platformdirs import user_cache_dir
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.motion.representation import Representation, estimate_heading
from engine.networks.text_encoder import SHA256, TextFeatures, encode_text
from trainer.data.actions import main_actions
from trainer.data.augmentation import (
    MAX_FRAMES,
    circling_walk,
    extended,
    reversed_walk,
    sequence,
    straight_walk,
    stretched,
)
from trainer.data.clip import Captioned
from trainer.data.corpus import Clip
from trainer.data.gestures import gestures
from trainer.data.paraphrase import paraphrases
from trainer.device import training_device

log = logging.getLogger(__name__)

_SHORT = 70  # frames below which a clip is also given longer
_OFTEN_ASKED = frozenset({"kick", "punch", "wave", "sit", "jump", "dance", "circle"})
_STRAIGHT_COPIES = 4  # of each straight walk, of other lengths: most recorded walks turn
_LENGTH_GROUP = 4  # batches drawn together, so that clips of like length share one


@dataclass(frozen=True, kw_only=True)
class Example:
    """One motion as features, and the rows of its captions in the text store."""

    features: Tensor  # (T, F) normalised
    captions: tuple[int, ...]
    weight: float


@dataclass(frozen=True, kw_only=True)
class Batch:
    """B clips padded to the longest."""

    features: Tensor  # (B, T, F) normalised, zero behind a clip's end
    mask: Tensor  # (B, T) bool
    text: TextFeatures


class TextStore:
    """Encoded captions, without their padding, in half precision.

    Encoding ten thousand captions takes a minute on two cores, so it is kept in the user's cache.
    """

    def __init__(self, captions: Sequence[str], cache: Path | None = None) -> None:
        self.captions = tuple(dict.fromkeys(captions))
        self.row = {caption: i for i, caption in enumerate(self.captions)}
        folder = cache or Path(user_cache_dir("marey", appauthor=False))
        path = folder / f"captions-{SHA256[:12]}.safetensors"
        known = _read_encoded(path)
        missing = [caption for caption in self.captions if caption not in known]
        if missing:
            log.info("Encoding %d captions", len(missing))
            known |= _encode_captions(missing)
            _write_encoded(path, known)
        self._tokens = [known[caption][0] for caption in self.captions]
        self.sentences = torch.stack([known[caption][1] for caption in self.captions])

    def gather(self, rows: Sequence[int], dropped: Sequence[bool]) -> TextFeatures:
        """Features of captions by row; a dropped one has no tokens."""
        longest = max(len(self._tokens[row]) for row in rows)
        tokens = torch.zeros(len(rows), longest, 384)
        mask = torch.zeros(len(rows), longest, dtype=torch.bool)
        for k, (row, is_dropped) in enumerate(zip(rows, dropped, strict=True)):
            if not is_dropped:
                tokens[k, : len(self._tokens[row])] = self._tokens[row].float()
                mask[k, : len(self._tokens[row])] = True
        return TextFeatures(tokens=tokens, mask=mask, sentence=self.sentences[list(rows)])


Encoded = dict[str, tuple[Tensor, Tensor]]  # caption: tokens (N, 384) half, sentence (384,)


def _encode_captions(captions: Sequence[str]) -> Encoded:
    encoded: Encoded = {}
    ordered = sorted(captions, key=len)  # like lengths together waste no time on padding
    for start in range(0, len(ordered), 256):
        group = ordered[start : start + 256]
        text = encode_text(group, device=training_device())
        for k, caption in enumerate(group):
            encoded[caption] = (text.tokens[k, text.mask[k]].half(), text.sentence[k].clone())
    return encoded


def _read_encoded(path: Path) -> Encoded:
    if not path.is_file():
        return {}
    stored = load_file(path)
    with safe_open(path, framework="pt") as file:
        captions: list[str] = json.loads(file.metadata()["captions"])
    tokens = stored["tokens"].split(stored["lengths"].tolist())
    return dict(zip(captions, zip(tokens, stored["sentences"], strict=True), strict=True))


def _write_encoded(path: Path, encoded: Encoded) -> None:
    tensors = {
        "tokens": torch.cat([tokens for tokens, _ in encoded.values()]),
        "lengths": torch.tensor([len(tokens) for tokens, _ in encoded.values()]),
        "sentences": torch.stack([sentence for _, sentence in encoded.values()]),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    # several runs may start at once
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    save_file(tensors, partial, metadata={"captions": json.dumps(list(encoded))})
    partial.replace(path)


def encode_clip(clip: Clip, representation: Representation) -> Tensor:
    """Features (T - 1, F) of a clip, not normalised, at most 9.8 s."""
    joints = torch.from_numpy(clip.joints[:MAX_FRAMES])
    return representation.encode(joints, estimate_heading(joints))


def augmented(clips: Sequence[Clip], generator: random.Random) -> list[Clip]:
    """The clips and what can be made of them; see trainer.data.augmentation."""
    result = list(clips)
    for clip in clips:
        result.append(stretched(clip, generator.uniform(0.82, 0.95)))
        result.append(stretched(clip, generator.uniform(1.06, 1.22)))
        if len(clip.joints) < _SHORT:
            result += [extended(clip, generator.randint(_SHORT, 150)) for _ in range(2)]
            result.append(extended(stretched(clip, generator.uniform(0.8, 1.1)), 110))
        for _ in range(_STRAIGHT_COPIES):
            if straight := straight_walk(clip, generator.randint(80, MAX_FRAMES)):
                result += [straight, stretched(straight, generator.uniform(0.85, 1.15))]
        if backward := reversed_walk(clip):
            result += [backward, stretched(backward, generator.uniform(0.75, 0.95))]
    result += gestures(clips, generator) + _sequences(clips, generator)
    return result + _circles(clips, random.Random(0))


def _circles(clips: Sequence[Clip], generator: random.Random) -> list[Clip]:
    """Every straight walk bent to the left and to the right."""
    made = [
        circling_walk(clip, side * generator.uniform(4.5, 7.0), generator.randint(90, MAX_FRAMES))
        for clip in clips
        for side in (1, -1)
    ]
    return [clip for clip in made if clip is not None]


def _sequences(clips: Sequence[Clip], generator: random.Random) -> list[Clip]:
    """Pairs of short clips as "A, then B"; one for every four clips."""
    short = [clip for clip in clips if len(clip.joints) <= 110]
    if len(short) < 2:
        return []
    pairs = [generator.sample(short, 2) for _ in range(len(clips) // 4)]
    return [sequence(first, second, generator) for first, second in pairs]


def balanced_weights(clips: Sequence[Captioned], power: float = 0.65) -> list[float]:
    """How often to draw each clip: its rarest main action's share in the corpus, to -power.

    What people ask for first is drawn twice as often as the rest.
    """
    named = [main_actions(clip.captions) for clip in clips]
    counts = Counter(action for actions in named for action in actions)
    total = len(clips)
    weights: list[float] = []
    for actions in named:
        rarest = min((counts[action] for action in actions), default=total // 4)
        # rarer than 8 clips is drawn no more often than 8: it would be learned by heart
        asked = 2.0 if actions & _OFTEN_ASKED else 1.0
        weights.append(asked * (max(rarest, 8) / total) ** -power)
    return weights


class ExampleSampler:
    """Draws batches from examples; the same generator state draws the same batch."""

    def __init__(
        self,
        examples: Sequence[Example],
        texts: TextStore,
        *,
        batch_size: int,
        prompt_dropout: float,
    ) -> None:
        self._examples = examples
        self._texts = texts
        self._weights = torch.tensor([example.weight for example in examples])
        self._batch_size = batch_size
        self._prompt_dropout = prompt_dropout
        self._waiting: list[list[int]] = []

    def draw(self, generator: torch.Generator) -> Batch:
        """The next batch."""
        if not self._waiting:
            count = self._batch_size * _LENGTH_GROUP
            drawn = torch.multinomial(self._weights, count, True, generator=generator)
            rows: list[int] = [int(row) for row in drawn]
            rows.sort(key=lambda row: len(self._examples[row].features))
            groups = [rows[i : i + self._batch_size] for i in range(0, count, self._batch_size)]
            order = torch.randperm(_LENGTH_GROUP, generator=generator).tolist()
            self._waiting = [groups[i] for i in order]
        return self._collate(self._waiting.pop(), generator)

    def waiting(self) -> list[list[int]]:
        """Batches drawn but not handed out: part of the state that a resumed run needs."""
        return [list(rows) for rows in self._waiting]

    def restore(self, waiting: list[list[int]]) -> None:
        """Take up what `waiting` gave."""
        self._waiting = [list(rows) for rows in waiting]

    def _collate(self, rows: list[int], generator: torch.Generator) -> Batch:
        examples = [self._examples[row] for row in rows]
        features, mask = pad_features([example.features for example in examples])
        picks = torch.rand(len(rows), generator=generator).tolist()
        drops = torch.rand(len(rows), generator=generator) < self._prompt_dropout
        captions = [
            example.captions[int(pick * len(example.captions))]
            for example, pick in zip(examples, picks, strict=True)
        ]
        text = self._texts.gather(captions, drops.tolist())
        return Batch(features=features, mask=mask, text=text)


def pad_features(features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Clips (T, F) as (B, T, F) padded with zeros, and the mask (B, T) of real frames."""
    longest = max(len(clip) for clip in features)
    padded = torch.zeros(len(features), longest, features[0].shape[1])
    mask = torch.zeros(len(features), longest, dtype=torch.bool)
    for k, clip in enumerate(features):
        padded[k, : len(clip)] = clip
        mask[k, : len(clip)] = True
    return padded, mask


def reworded(clips: Sequence[Clip], count: int, generator: random.Random) -> dict[str, list[str]]:
    """Rewordings of every caption; the caption itself comes first."""
    captions = dict.fromkeys(caption for clip in clips for caption in clip.captions)
    return {caption: [caption, *paraphrases(caption, count, generator)] for caption in captions}
