"""Batches for learning from motion in space and from its views at once.

A clip either has 3D, or is told by its views alone (flat). Views are not stored: they are made in
each batch from the clip's motion, by the published four cameras, by one at any azimuth, or as
footage by a camera and a detector that may be anything. Shape letters: B clips, T frames.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from zlib import crc32

import torch
from torch import Tensor

from engine.motion.representation import Representation, estimate_heading, rotate_by_heading
from engine.motion.representation_2d import FOUR_AZIMUTHS, VIEW, see
from engine.motion.seen_points import shown_points, view_points
from engine.networks.text_encoder import TextFeatures
from trainer.data.augmentation import MAX_FRAMES, clip_actions
from trainer.data.corpus import Clip
from trainer.data.detector_noise import NoiseSettings, detect, image_heights
from trainer.data.examples import Example, TextStore, balanced_weights, encode_clip
from trainer.data.paraphrase import paraphrases, plain_captions
from trainer.data.performers import share_of
from trainer.data.statistics import Statistics, measure_statistics
from trainer.data.virtual_views import ViewSettings, sample_cameras

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
        if not 0 < self.solid_share <= 1 or not 0 <= self.flat_share <= 1:
            raise ValueError("solid_share needs above 0 to 1, flat_share 0 to 1")
        if self.num_views not in (0, 1, 2, 3, 4):
            raise ValueError(f"num_views is {self.num_views}, needs 0 to 4")
        if not 0 <= self.footage_share <= 1 or not 0 <= self.unknown_share <= 1:
            raise ValueError("footage_share and unknown_share need to be 0 to 1")
        if not 0 < self.seen_share <= 1:
            raise ValueError(f"seen_share is {self.seen_share}, needs above 0 to 1")

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

    def part(self, rows: slice) -> TwoDomainBatch:
        """Some clips of the batch, as long as the longest of all."""
        return TwoDomainBatch(
            rows=self.rows[rows],
            mask=self.mask[rows],
            text=self.text[rows],
            azimuth=self.azimuth[rows],
            is_told=self.is_told[rows],
        )


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """The features of a batch."""

    solid: Tensor  # (B, T, F) normalised; of a flat clip a made-up target, or zeros
    flat: Tensor  # (B, T, 134) normalised
    has_solid: Tensor  # (B,) bool
    is_made_up: Tensor  # (B,) bool: a lifted target, not a recorded one
    view: Tensor  # (B, 3) code of the camera


def split_clips(
    clips: Sequence[Clip], settings: TwoDomainDataSettings
) -> tuple[list[Clip], list[Clip]]:
    """Clips with 3D, and clips that are told by their views; mirrored twins go together."""
    held = {_family(c) for c in clips if settings.held_out and settings.held_out in clip_actions(c)}
    originals = [c for c in clips if not c.is_mirrored and c.clip_id not in held]
    solid, others = share_of(originals, settings.solid_share)
    flat, _ = share_of(others, settings.flat_share)
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
    groups: Sequence[Sequence[Clip]],
    statistics: Statistics,
    representation: Representation,
    rewordings: int,
) -> tuple[list[Example], list[str]]:
    """Examples of groups of clips, one after the other, and the texts that captions are rows of.

    A caption's rewordings are its own, and how often a clip is drawn is its group's, whatever
    others there are.
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
        features = statistics.normalise(encode_clip(clip, representation))
        examples.append(Example(features=features, captions=rows, weight=weight))
    return examples, texts


class FeatureBank:
    """Features of all clips on the device that trains, one after the other."""

    def __init__(
        self,
        examples: Sequence[Example],
        num_solid: int,
        statistics: Mapping[str, Statistics],
        representation: Representation,
        settings: TwoDomainDataSettings,
        device: torch.device,
    ) -> None:
        """The first num_solid examples have 3D; statistics are of "3d" and "2d"."""
        self.lengths = torch.tensor([len(example.features) for example in examples])
        self.num_clips, self.num_solid, self.device = len(examples), num_solid, device
        self._frames = torch.cat([example.features for example in examples]).to(device)
        self._starts = (self.lengths.cumsum(0) - self.lengths).to(device)
        self._made_up: Tensor | None = None  # (N, F) lifted features of all flat clips
        self._statistics = {d: s.to(device) for d, s in statistics.items()}
        self._representation = representation
        self.settings = settings

    def set_made_up(self, features: Tensor) -> None:
        """Give flat clips targets (N, F), normalised, all their frames one after the other."""
        self._made_up = features.to(self._frames.device)

    @property
    def has_made_up(self) -> bool:
        """Whether flat clips have targets."""
        return self._made_up is not None

    def gather(
        self, batch: TwoDomainBatch, generator: torch.Generator, *, with_flat: bool = True
    ) -> Gathered:
        """The features of a batch; without with_flat views are zeros."""
        true = self._true(batch)
        is_solid = batch.rows < self.num_solid
        solid = torch.where(is_solid[:, None, None], true, torch.zeros_like(true))
        has_solid = is_solid
        if self._made_up is not None:
            first = self._starts[self.num_solid]
            places = (self._places(batch) - first).clamp(0, len(self._made_up) - 1)
            lifted = self._made_up[places] * batch.mask[..., None]
            solid = torch.where(is_solid[:, None, None], true, lifted)
            has_solid = torch.ones_like(is_solid)
        code = torch.stack(
            (batch.azimuth.sin(), batch.azimuth.cos(), torch.ones_like(batch.azimuth)), dim=-1
        )
        return Gathered(
            solid=solid,
            flat=self.flat(true, batch, generator) if with_flat else true[..., :0],
            has_solid=has_solid,
            is_made_up=~is_solid & has_solid,
            view=code * batch.is_told[:, None],
        )

    def flat(self, true: Tensor, batch: TwoDomainBatch, generator: torch.Generator) -> Tensor:
        """Views (B, T, 134), normalised, of normalised features (B, T, F)."""
        joints, following = self._joints(true)
        points, after = see(joints, batch.azimuth), see(following, batch.azimuth)
        count = self.settings.num_footage(len(points))
        if count:  # those at the end of a batch, which are no clips in particular
            mask = batch.mask[-count:]
            shot = self._footage(joints[-count:], mask, generator)
            # where each point is a frame later; the last stays
            later = torch.cat((shot[:, 1:], shot[:, -1:]), dim=1)
            points = torch.cat((points[:-count], shot))
            after = torch.cat((after[:-count], later))
        features = self._statistics["2d"].normalise(VIEW.encode_steps(points, after))
        return features * batch.mask[..., None]

    def _footage(self, joints: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
        """Joints (B, T, 22, 3) as an unknown camera and a detector see them, (B, T, 22, 2)."""
        held = _hold_last(joints, mask)
        camera, extents = sample_cameras(held, mask, self.settings.views, generator)
        seen, depths = camera.project(shown_points(held))
        heights = image_heights(depths[..., 0], camera.focal_length)
        keypoints = detect(seen, heights, extents, self.settings.noise, generator)
        return view_points(keypoints * mask[..., None, None])

    def _true(self, batch: TwoDomainBatch) -> Tensor:
        return self._frames[self._places(batch)] * batch.mask[..., None]

    def _places(self, batch: TwoDomainBatch) -> Tensor:
        """Where each frame (B, T) of a batch stands; behind a clip's end at its last."""
        index = torch.arange(batch.mask.shape[1], device=batch.mask.device)
        last = batch.mask.sum(1, keepdim=True) - 1
        return self._starts[batch.rows][:, None] + torch.minimum(index, last)

    def _joints(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Joints (B, T, 22, 3), from the origin and facing +z, and where each is a frame later."""
        restored = self._statistics["3d"].restore(features)
        decoded = self._representation.decode(restored)
        step = restored[..., self._representation.part("joint_velocities")].unflatten(-1, (22, 3))
        moved = rotate_by_heading(step, decoded.heading[..., None])
        return decoded.joints, decoded.joints + moved


def _hold_last(joints: Tensor, mask: Tensor) -> Tensor:
    """Joints (B, T, 22, 3) that stay as they are at the end of a clip."""
    index = torch.arange(mask.shape[1], device=mask.device)
    frames = torch.minimum(index, mask.sum(1, keepdim=True) - 1)
    return torch.gather(joints, 1, frames[..., None, None].expand_as(joints))


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
        wild_share: float | None = None,
    ) -> None:
        """Draw from examples of which the first num_solid have 3D.

        With wild_share, the others are wild footage: that share of what is drawn, each seen from
        one side only, which isn't told.
        """
        self._captions = [example.captions for example in examples]
        self._lengths = torch.tensor([len(example.features) for example in examples])
        self._weights = torch.tensor([example.weight for example in examples])
        self._num_wild_from = len(examples) if wild_share is None else num_solid
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
        is_wild = rows >= self._num_wild_from
        azimuth = torch.where(is_wild, wild_azimuths(rows), azimuth)
        is_told &= ~is_wild
        num_footage = settings.num_footage(settings.num_seen(count))
        is_told[count - num_footage :] = False
        lengths = self._lengths[rows]
        return TwoDomainBatch(
            rows=rows,
            mask=torch.arange(int(lengths.max())) < lengths[:, None],
            text=self._texts.gather(chosen, drops.tolist()),
            azimuth=azimuth,
            is_told=is_told,
        )
