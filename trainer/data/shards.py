"""Corpora that are larger than memory: features and encoded captions in shards, read as needed.

shards.json           what the shards hold: representation, splits, statistics, some captions
SPLIT-00000.safetensors …   each some thousands of clips:
    features (S, F)      float32, not normalised, clip after clip
    clip_ends (N,)       where in S each clip ends
    weights (N,)         how often it is drawn, against others
    caption_ends (N,)    where in C its captions end
    tokens (K, 384)      float16, token vectors of the captions, caption after caption
    token_ends (C,)      where in K each caption ends
    sentences (C, 384)   float32

A few shards are in memory at a time. Batches are drawn from them by weight, as many as they have
clips, before the next few are read; the order of the shards is drawn anew each time round.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.motion.representation import ROOT_LOCAL
from engine.networks.text_encoder import WIDTH, TextFeatures
from trainer.data.clip import READ_ERRORS, CorpusError
from trainer.data.examples import Batch, pad_features
from trainer.data.statistics import Statistics

log = logging.getLogger(__name__)

INDEX = "shards.json"
SHARD_BYTES = 64_000_000
NUM_OPEN = 4  # shards in memory at a time
KNOWN_CAPTIONS = 2_000  # that the index names: what a prompt is held against
_GROUP = 4  # batches drawn together, so that clips of like length share one

Encode = Callable[[list[str]], TextFeatures]


@dataclass(frozen=True, kw_only=True)
class ShardIndex:
    """What a folder of shards holds."""

    folder: Path
    splits: dict[str, list[str]]  # file names
    num_clips: dict[str, int]
    statistics: Statistics
    captions: list[str]


def is_shards(folder: Path) -> bool:
    """Whether the folder holds shards."""
    return (folder / INDEX).is_file()


def read_index(folder: Path) -> ShardIndex:
    """The index of a folder of shards.

    Raises:
        CorpusError: it is damaged, or of another representation.
    """
    try:
        values: dict[str, Any] = json.loads((folder / INDEX).read_text())
        if values["representation"] != ROOT_LOCAL.name:
            raise ValueError(f"its features are {values['representation']}")
        mean, deviation = (torch.tensor(values["statistics"][n]) for n in ("mean", "deviation"))
        return ShardIndex(
            folder=folder,
            splits={name: list(files) for name, files in values["splits"].items()},
            num_clips=dict(values["num_clips"]),
            statistics=Statistics(mean, deviation),
            captions=list(values["captions"]),
        )
    except READ_ERRORS as error:
        raise CorpusError(f"{folder / INDEX} can't be read: {error}") from error


class ShardWriter:
    """Writes clips into shards as they come; only one shard is in memory."""

    def __init__(self, folder: Path, encode: Encode, shard_bytes: int = SHARD_BYTES) -> None:
        """Encode turns captions into their vectors."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._encode, self._limit = folder, encode, shard_bytes
        self._splits: dict[str, list[str]] = {}
        self._num_clips: dict[str, int] = {}
        self._captions: dict[str, None] = {}
        self._clips: list[tuple[Tensor, tuple[str, ...], float]] = []
        self._split, self._bytes = "", 0
        width = ROOT_LOCAL.num_features
        self._count, self._sum = 0, torch.zeros(width, dtype=torch.float64)
        self._squares = torch.zeros(width, dtype=torch.float64)

    def add(
        self, split: str, features: Tensor, captions: tuple[str, ...], weight: float = 1.0
    ) -> None:
        """One clip: features (T, F), not normalised. Statistics are those of split "train"."""
        if split != self._split:
            self._flush()
            self._split = split
        self._clips.append((features, captions, weight))
        self._bytes += features.numel() * 4
        self._num_clips[split] = self._num_clips.get(split, 0) + 1
        if split == "train":
            exact = features.double()
            self._count += len(features)
            self._sum += exact.sum(0)
            self._squares += exact.square().sum(0)
            if len(self._captions) < KNOWN_CAPTIONS:
                self._captions |= dict.fromkeys(captions[:1])
        if self._bytes >= self._limit:
            self._flush()

    def close(self) -> ShardIndex:
        """Write what is left, and the index.

        Raises:
            CorpusError: there was no clip to train on.
        """
        self._flush()
        if self._count < 2:
            raise CorpusError("No clip in split 'train': nothing to make shards of")
        mean = self._sum / self._count
        spread = (self._squares / self._count - mean.square()).clamp(min=0)
        deviation = (spread * self._count / (self._count - 1)).sqrt()
        for block in ROOT_LOCAL.blocks:
            part = ROOT_LOCAL.part(block)
            deviation[part] = deviation[part].mean()
        values = {
            "representation": ROOT_LOCAL.name,
            "splits": self._splits,
            "num_clips": self._num_clips,
            "statistics": {
                "mean": mean.float().tolist(),
                "deviation": deviation.clamp(min=1e-6).float().tolist(),
            },
            "captions": list(self._captions),
        }
        partial = self._folder / (INDEX + ".partial")
        partial.write_text(json.dumps(values))
        partial.replace(self._folder / INDEX)
        return read_index(self._folder)

    def _flush(self) -> None:
        if not self._clips:
            return
        members, self._clips, self._bytes = self._clips, [], 0
        files = self._splits.setdefault(self._split, [])
        name = f"{self._split}-{len(files):05d}.safetensors"
        captions = list(dict.fromkeys(text for _, texts, _ in members for text in texts))
        vectors = self._encoded(captions)
        tokens, sentences = zip(
            *(vectors[t] for _, texts, _ in members for t in texts), strict=True
        )
        tensors = {
            "features": torch.cat([features for features, _, _ in members]).float(),
            "clip_ends": _ends(len(features) for features, _, _ in members),
            "weights": torch.tensor([weight for _, _, weight in members]),
            "caption_ends": _ends(len(texts) for _, texts, _ in members),
            "tokens": torch.cat(tokens),
            "token_ends": _ends(len(one) for one in tokens),
            "sentences": torch.stack(sentences),
        }
        partial = self._folder / (name + ".partial")
        save_file(tensors, partial)
        partial.replace(self._folder / name)
        files.append(name)

    def _encoded(self, captions: list[str]) -> dict[str, tuple[Tensor, Tensor]]:
        found: dict[str, tuple[Tensor, Tensor]] = {}
        ordered = sorted(captions, key=len)  # like lengths together waste no time on padding
        for start in range(0, len(ordered), 256):
            group = ordered[start : start + 256]
            text = self._encode(group)
            for k, caption in enumerate(group):
                found[caption] = (text.tokens[k, text.mask[k]].half(), text.sentence[k].float())
        return found


def _ends(lengths: Any) -> Tensor:
    return torch.tensor(list(lengths), dtype=torch.int64).cumsum(0)


class Shard:
    """One shard in memory."""

    def __init__(self, path: Path) -> None:
        """Raises one of READ_ERRORS or SafetensorError where the file is damaged."""
        self._tensors = load_file(path)
        self.weights = self._tensors["weights"]
        self.num_clips = len(self.weights)
        ends = self._tensors["clip_ends"]
        self.lengths: list[int] = torch.diff(ends, prepend=ends.new_zeros(1)).tolist()
        if int(ends[-1]) != len(self._tensors["features"]) or min(self.lengths) < 2:
            raise ValueError("its clips aren't those of its features")
        if not bool(self._tensors["features"].isfinite().all()):
            raise ValueError("it has numbers that aren't finite")

    def features(self, clip: int) -> Tensor:
        """Features (T, F) of a clip, not normalised."""
        start, end = _span(self._tensors["clip_ends"], clip)
        return self._tensors["features"][start:end]

    def text(self, clip: int, pick: float) -> tuple[Tensor, Tensor]:
        """Tokens (N, 384) and sentence (384,) of one of a clip's captions; pick is 0 to 1."""
        first, stop = _span(self._tensors["caption_ends"], clip)
        caption = first + int(pick * (stop - first))
        start, end = _span(self._tensors["token_ends"], caption)
        return self._tensors["tokens"][start:end], self._tensors["sentences"][caption]


def _span(ends: Tensor, index: int) -> tuple[int, int]:
    return (int(ends[index - 1]) if index else 0), int(ends[index])


def open_shard(index: ShardIndex, name: str) -> Shard | None:
    """A shard, or None (and a warning that names it) where it can't be read."""
    try:
        return Shard(index.folder / name)
    except (*READ_ERRORS, SafetensorError, RuntimeError) as error:
        log.warning("Left out shard %s of %s: %s", name, index.folder, error)
        return None


def collate(
    clips: Sequence[tuple[Shard, int]],
    statistics: Statistics,
    picks: Sequence[float],
    drops: Sequence[bool],
) -> Batch:
    """A batch of clips of shards; a dropped prompt has no tokens."""
    features, mask = pad_features([statistics.normalise(s.features(clip)) for s, clip in clips])
    texts = [shard.text(clip, pick) for (shard, clip), pick in zip(clips, picks, strict=True)]
    longest = max(len(tokens) for tokens, _ in texts)
    tokens = torch.zeros(len(texts), longest, WIDTH)
    told = torch.zeros(len(texts), longest, dtype=torch.bool)
    for k, ((found, _), is_dropped) in enumerate(zip(texts, drops, strict=True)):
        if not is_dropped:
            tokens[k, : len(found)] = found.float()
            told[k, : len(found)] = True
    sentences = torch.stack([sentence for _, sentence in texts])
    text = TextFeatures(tokens=tokens, mask=told, sentence=sentences)
    return Batch(features=features, mask=mask, text=text)


def all_batches(index: ShardIndex, split: str, size: int = 32, most: int = 64) -> list[Batch]:
    """A split's clips with their first captions, in batches of like length; at most so many.

    Raises:
        CorpusError: the split has no clip.
    """
    batches: list[Batch] = []
    for name in index.splits.get(split, []):
        shard = open_shard(index, name)
        if shard is None:
            continue
        rows = sorted(range(shard.num_clips), key=shard.lengths.__getitem__)
        for start in range(0, len(rows), size):
            group = [(shard, row) for row in rows[start : start + size]]
            none = [0.0] * len(group)
            batches.append(collate(group, index.statistics, none, [False] * len(group)))
    if not batches:
        raise CorpusError(f"No clip in split {split!r} of {index.folder}")
    return batches[:: max(1, len(batches) // most)][:most]


class ShardSampler:
    """Draws batches off shards; the same generator state draws the same batch."""

    def __init__(self, index: ShardIndex, *, batch_size: int, prompt_dropout: float) -> None:
        """Raises CorpusError where no shard can be read."""
        self._index, self._files = index, index.splits.get("train", [])
        self._batch_size, self._prompt_dropout = batch_size, prompt_dropout
        self._order: list[int] = []
        self._start = self._stop = 0  # of the shards in memory, in the order
        self._rounds = 0  # groups of batches that are still drawn from them
        self._groups: list[list[int]] = []
        self._clips: list[tuple[Shard, int]] = []
        self._weights = torch.zeros(0)
        if not self._files:
            raise CorpusError(f"No shard in split 'train' of {index.folder}")

    def draw(self, generator: torch.Generator) -> Batch:
        """The next batch.

        Raises:
            CorpusError: none of the shards can be read.
        """
        if not self._groups:
            if not self._rounds:
                self._open_next(generator)
            self._rounds -= 1
            count = self._batch_size * _GROUP
            drawn = torch.multinomial(self._weights, count, True, generator=generator)
            rows: list[int] = sorted(drawn.tolist(), key=self._length)
            groups = [rows[i : i + self._batch_size] for i in range(0, count, self._batch_size)]
            self._groups = [groups[i] for i in torch.randperm(_GROUP, generator=generator).tolist()]
        clips = [self._clips[row] for row in self._groups.pop()]
        picks = torch.rand(len(clips), generator=generator).tolist()
        drops = torch.rand(len(clips), generator=generator) < self._prompt_dropout
        return collate(clips, self._index.statistics, picks, drops.tolist())

    def waiting(self) -> list[list[int]]:
        """Which shards are open, in which order the others come, and what was drawn of them."""
        return [self._order, [self._start, self._stop, self._rounds], *self._groups]

    def restore(self, waiting: list[list[int]]) -> None:
        """Take up what `waiting` gave."""
        self._order, (self._start, self._stop, self._rounds), *self._groups = waiting
        self._open()

    def _open_next(self, generator: torch.Generator) -> None:
        for _ in range(len(self._files) + 1):
            if self._stop >= len(self._order):
                self._order = torch.randperm(len(self._files), generator=generator).tolist()
                self._stop = 0
            self._start, self._stop = self._stop, min(self._stop + NUM_OPEN, len(self._order))
            self._open()
            if self._clips:
                self._rounds = max(1, len(self._clips) // (self._batch_size * _GROUP))
                return
        raise CorpusError(f"No shard of {self._index.folder} can be read")

    def _open(self) -> None:
        self._clips = []  # first let go of those that were open
        shards: list[Shard] = []
        for number in self._order[self._start : self._stop]:
            shard = open_shard(self._index, self._files[number])
            if shard is not None:
                shards.append(shard)
        self._clips = [(shard, row) for shard in shards for row in range(shard.num_clips)]
        self._weights = torch.cat([s.weights for s in shards]) if shards else torch.zeros(0)

    def _length(self, row: int) -> int:
        shard, clip = self._clips[row]
        return shard.lengths[clip]
