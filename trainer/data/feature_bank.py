"""Features of all clips that CrossDiff learns from, and the views that are made of them.

Views are not stored: they are made in each batch from the clip's motion, by the published four
cameras, by one at any azimuth, or as footage by a camera and a detector that may be anything. Of
clips that were footage from the start there is no motion to make views of; theirs are kept. Shape
letters: B clips, T frames, F features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.motion.representation import Representation, rotate_by_heading
from engine.motion.representation_2d import VIEW, see
from engine.motion.seen_points import shown_points, view_points
from trainer.data.detector_noise import detect, image_heights
from trainer.data.examples import Example
from trainer.data.footage import Footage
from trainer.data.statistics import Statistics
from trainer.data.two_domain_examples import TwoDomainBatch, TwoDomainDataSettings
from trainer.data.virtual_views import sample_cameras


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """The features of a batch."""

    solid: Tensor  # (B, T, F) normalised; of a flat clip a made-up target, or zeros
    flat: Tensor  # (B, T, 134) normalised
    has_solid: Tensor  # (B,) bool
    is_made_up: Tensor  # (B,) bool: a lifted target, not a recorded one
    view: Tensor  # (B, 3) code of the camera


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
        footage: Sequence[Footage] = (),
    ) -> None:
        """The first num_solid examples have 3D, the last are footage; statistics of "3d", "2d"."""
        self.lengths = torch.tensor([len(example.features) for example in examples])
        self.num_clips, self.num_solid, self.device = len(examples), num_solid, device
        self._frames = torch.cat([example.features for example in examples]).to(device)
        self._starts = (self.lengths.cumsum(0) - self.lengths).to(device)
        self._made_up: Tensor | None = None  # (N, F) lifted features of all flat clips
        self._statistics = {d: s.to(device) for d, s in statistics.items()}
        self._first_footage = len(examples) - len(footage)
        self._footage_views = (  # (N, 134)
            self._statistics["2d"].normalise(torch.cat([clip.views for clip in footage]).to(device))
            if footage
            else None
        )
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
            lifted = self._of_the_last(self._made_up, self.num_solid, batch)
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
        rows = batch.is_footage.nonzero()[:, 0]
        if len(rows):
            shot = self._as_footage(joints[rows], batch.mask[rows], generator)
            points = points.index_copy(0, rows, shot)
            # where each point is a frame later; the last stays
            after = after.index_copy(0, rows, torch.cat((shot[:, 1:], shot[:, -1:]), dim=1))
        views = self._statistics["2d"].normalise(VIEW.encode_steps(points, after))
        views = views * batch.mask[..., None]
        if self._footage_views is None:
            return views
        kept = self._of_the_last(self._footage_views, self._first_footage, batch)
        return torch.where((batch.rows >= self._first_footage)[:, None, None], kept, views)

    def _of_the_last(self, frames: Tensor, first: int, batch: TwoDomainBatch) -> Tensor:
        """What frames (N, F) of the clips from number `first` on have for a batch, (B, T, F).

        Of other clips it is anything.
        """
        places = (self._places(batch) - self._starts[first]).clamp(0, len(frames) - 1)
        return frames[places] * batch.mask[..., None]

    def _as_footage(self, joints: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
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


def _hold_last(values: Tensor, mask: Tensor) -> Tensor:
    """Values (B, T, ...) that stay as they are behind a clip's end; mask (B, T) ends with it."""
    index = torch.arange(mask.shape[1], device=mask.device)
    frames = torch.minimum(index, mask.sum(1, keepdim=True) - 1)
    spread = frames.reshape(*frames.shape, *(1,) * (values.ndim - 2))
    return torch.gather(values, 1, spread.expand_as(values))
