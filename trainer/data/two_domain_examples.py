"""Batches for learning from motion in space and from its views at once.

A clip either has 3D, or is told by its views alone (flat): its 3D is held back, or it was footage
from the start. trainer.data.feature_bank has the features. Shape letters: B clips, T frames.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from zlib import crc32

import torch
from torch import Tensor

from engine.motion.representation import Representation, estimate_heading, rotate_by_heading
from engine.motion.representation_2d import FOUR_AZIMUTHS, VIEW, see
from engine.networks.text_encoder import TextFeatures
from trainer.data.augmentation import MAX_FRAMES, clip_actions
from trainer.data.corpus import Clip, CorpusError
from trainer.data.detector_noise import NoiseSettings
from trainer.data.examples import Example, TextStore, balanced_weights, encode_clip
from trainer.data.footage import Footage
from trainer.data.paraphrase import paraphrases, plain_captions
from trainer.data.performers import share_of
from trainer.data.statistics import Statistics, measure_statistics
from trainer.data.virtual_views import ViewSettings

_LENGTH_GROUP = 4  # batches drawn together, so that clips of like length share one


@dataclass(frozen=True, kw_only=True)
class TwoDomainDataSettings:
    """Which clips have 3D, and how views are made."""

    solid_share: float = 1.0  # of the recordings that have 3D
    flat_share: float = 0.0  # of the other recordings that are learned from by their views
    held_out: str = ""  # an action whose clips have no 3D, whatever the shares
    seen_share: float = 1.0  # of a batch that is learned from with its views, else in space alone
    num_views: int = 4  # cameras, from the front one on; 0: any azimuth
    footage_share: float = 0.0  # of views that are made as footage, by cameras that aren't known
    unknown_share: float = 0.1  # of the other views that don't say their azimuth
    views: ViewSettings = field(default_factory=lambda: ViewSettings(moving_share=0.3))
    noise: NoiseSettings = field(default_factory=NoiseSettings)

    def __post_init__(self) -> None:
        for name in ("flat_share", "footage_share", "unknown_share"):
            if not 0 <= (share := getattr(self, name)) <= 1:
                raise ValueError(f"{name} is {share}, needs 0 to 1")
        for name in ("solid_share", "seen_share"):
            if not 0 < (share := getattr(self, name)) <= 1:
                raise ValueError(f"{name} is {share}, needs above 0 to 1")
        if self.num_views not in (0, 1, 2, 3, 4):
            raise ValueError(f"num_views is {self.num_views}, needs 0 to 4")

    def num_seen(self, count: int) -> int:
        """How many clips at the end of a batch of count are learned from with their views."""
        return max(1, round(self.seen_share * count))

    def num_footage(self, num_seen: int) -> int:
        """How many at the end of num_seen clips are seen as footage."""
        return round(self.footage_share * num_seen)


@dataclass(frozen=True, kw_only=True)
class TwoDomainBatch:
    """Which clips, and how they are seen; the bank has their features."""

    rows: Tensor  # (B,)
    mask: Tensor  # (B, T) bool
    text: TextFeatures
    azimuth: Tensor  # (B,) radians, of the camera to the clip's first facing direction
    is_told: Tensor  # (B,) bool: whether the model is told the azimuth
    is_footage: Tensor  # (B,) bool: whether it is seen as footage, not from the azimuth

    def part(self, rows: slice) -> TwoDomainBatch:
        """Some clips of the batch, as long as the longest of all."""
        return TwoDomainBatch(
            rows=self.rows[rows],
            mask=self.mask[rows],
            text=self.text[rows],
            azimuth=self.azimuth[rows],
            is_told=self.is_told[rows],
            is_footage=self.is_footage[rows],
        )


def split_clips(
    clips: Sequence[Clip], settings: TwoDomainDataSettings
) -> tuple[list[Clip], list[Clip]]:
    """Clips with 3D, and clips that are told by their views; mirrored twins go together.

    Raises:
        CorpusError: no clip names the action to be held out, or none is left with 3D.
    """
    held = {_family(c) for c in clips if settings.held_out and settings.held_out in clip_actions(c)}
    if settings.held_out and not held:
        named = sorted(frozenset[str]().union(*(clip_actions(clip) for clip in clips)))
        raise CorpusError(
            f"data.held_out is {settings.held_out!r}, which no caption names; they name "
            f"{', '.join(named)}"
        )
    originals = [c for c in clips if not c.is_mirrored and c.clip_id not in held]
    solid, others = share_of(originals, settings.solid_share)
    flat, _ = share_of(others, settings.flat_share)
    if not solid:
        raise CorpusError(
            f"No clip is left with 3D: data.held_out is {settings.held_out!r}, data.solid_share is "
            f"{settings.solid_share}"
        )
    solid_names = {clip.clip_id for clip in solid}
    flat_names = {clip.clip_id for clip in flat} | (held if settings.flat_share > 0 else set())
    return (
        [clip for clip in clips if _family(clip) in solid_names],
        [clip for clip in clips if _family(clip) in flat_names],
    )


def wild_azimuths(rows: Tensor) -> Tensor:
    """The one side (B,) that each wild clip is seen from."""
    return torch.tensor(FOUR_AZIMUTHS, device=rows.device)[rows % len(FOUR_AZIMUTHS)]


def _family(clip: Clip) -> str:
    return clip.clip_id.removeprefix("M")


def measure_views(clips: Sequence[Clip]) -> Statistics:
    """Statistics of clips as seen by the four cameras."""
    views: list[Tensor] = []
    for clip in clips:
        joints = torch.from_numpy(clip.joints[:MAX_FRAMES])
        # as in space, a clip begins at the origin and faces +z
        start = joints[0, 0] * joints.new_tensor((1.0, 0.0, 1.0))
        turned = rotate_by_heading(joints - start, -estimate_heading(joints)[0])
        azimuths = torch.tensor(FOUR_AZIMUTHS)
        points = see(turned.expand(len(azimuths), *turned.shape), azimuths)
        views.append(VIEW.encode(points).flatten(0, 1))
    return measure_statistics(views, VIEW)


def make_examples(
    groups: Sequence[Sequence[Clip | Footage]],
    statistics: Statistics,
    representation: Representation,
    rewordings: int,
) -> tuple[list[Example], list[str]]:
    """Examples of groups of clips, one after the other, and the texts that captions are rows of.

    A caption's rewordings are its own, and how often a clip is drawn is its group's, whatever
    others there are. The features of footage, which has none in space, are zeros.
    """
    clips = [clip for group in groups for clip in group]
    plain = {clip.captions: plain_captions(clip.captions) for clip in clips}
    said: dict[str, list[str]] = {}
    for clip in clips:
        for caption, count in (
            *((caption, rewordings) for caption in clip.captions),
            *((caption, 2 * rewordings) for caption in plain[clip.captions]),
        ):
            if caption not in said:
                draw = random.Random(crc32(caption.encode()))
                said[caption] = [caption, *paraphrases(caption, count, draw)]
    texts = list(dict.fromkeys(text for group in said.values() for text in group))
    row = {text: number for number, text in enumerate(texts)}
    examples: list[Example] = []
    weights = [weight for group in groups for weight in balanced_weights(group)]
    for clip, weight in zip(clips, weights, strict=True):
        captions = (*clip.captions, *plain[clip.captions])
        rows = tuple(row[text] for caption in captions for text in said[caption])
        if isinstance(clip, Footage):
            features = torch.zeros(len(clip.views), representation.num_features)
        else:
            features = statistics.normalise(encode_clip(clip, representation))
        examples.append(Example(features=features, captions=rows, weight=weight))
    return examples, texts


class TwoDomainSampler:
    """Draws batches; the same generator state draws the same batch."""

    def __init__(
        self,
        examples: Sequence[Example],
        texts: TextStore,
        settings: TwoDomainDataSettings,
        *,
        batch_size: int,
        prompt_dropout: float,
        num_solid: int,
        first_footage: int | None = None,
        wild_share: float | None = None,
    ) -> None:
        """Draw from examples of which the first num_solid have 3D.

        Those from number first_footage on were footage from the start. With wild_share, all
        without 3D are wild: that share of what is drawn, each seen from one side only, which isn't
        told.
        """
        self._captions = [example.captions for example in examples]
        self._lengths = torch.tensor([len(example.features) for example in examples])
        self._weights = torch.tensor([example.weight for example in examples])
        first_footage = len(examples) if first_footage is None else first_footage
        self._first_wild = first_footage if wild_share is None else num_solid
        if wild_share is not None and num_solid < len(examples):
            for part, share in (
                (slice(0, num_solid), 1 - wild_share),
                (slice(num_solid, None), wild_share),
            ):
                self._weights[part] *= share / self._weights[part].sum()
        self._texts, self._settings = texts, settings
        self._batch_size, self._prompt_dropout = batch_size, prompt_dropout
        self._waiting: list[list[int]] = []

    def draw(self, generator: torch.Generator) -> TwoDomainBatch:
        """The next batch."""
        if not self._waiting:
            count = self._batch_size * _LENGTH_GROUP
            drawn = torch.multinomial(self._weights, count, True, generator=generator)
            rows = drawn[self._lengths[drawn].argsort(stable=True)]
            order = torch.randperm(_LENGTH_GROUP, generator=generator)
            groups = rows.unflatten(0, (_LENGTH_GROUP, -1))[order]
            self._waiting = groups.tolist()
        rows = torch.tensor(self._waiting.pop())
        # not in the order of lengths: some places in the batch are made as footage
        return self._collate(rows[torch.randperm(len(rows), generator=generator)], generator)

    def waiting(self) -> list[list[int]]:
        """Batches drawn but not handed out: part of the state that a resumed run needs."""
        return [list(rows) for rows in self._waiting]

    def restore(self, waiting: list[list[int]]) -> None:
        """Take up what `waiting` gave."""
        self._waiting = [list(rows) for rows in waiting]

    def _collate(self, rows: Tensor, generator: torch.Generator) -> TwoDomainBatch:
        settings, count = self._settings, len(rows)
        picks = torch.rand(count, generator=generator).tolist()
        drops = torch.rand(count, generator=generator) < self._prompt_dropout
        options = [self._captions[row] for row in rows.tolist()]
        chosen = [own[int(pick * len(own))] for own, pick in zip(options, picks, strict=True)]
        draw = torch.rand(count, generator=generator)
        if settings.num_views:
            azimuth = torch.tensor(FOUR_AZIMUTHS)[(draw * settings.num_views).long()]
        else:
            azimuth = 2 * torch.pi * draw
        is_told = torch.rand(count, generator=generator) >= settings.unknown_share
        is_wild = rows >= self._first_wild
        azimuth = torch.where(is_wild, wild_azimuths(rows), azimuth)
        num_footage = settings.num_footage(settings.num_seen(count))
        is_footage = (torch.arange(count) >= count - num_footage) & ~is_wild
        lengths = self._lengths[rows]
        return TwoDomainBatch(
            rows=rows,
            mask=torch.arange(int(lengths.max())) < lengths[:, None],
            text=self._texts.gather(chosen, drops.tolist()),
            azimuth=azimuth,
            is_told=is_told & ~is_wild & ~is_footage,
            is_footage=is_footage,
        )
