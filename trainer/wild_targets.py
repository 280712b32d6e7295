"""Targets in space for wild footage: the model's own lift of it, smoothed.

They are made when the stage begins and kept beside the run, so that a resumed run has the same
teacher: the model as it was then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from engine.motion.representation import Representation
from engine.networks.text_encoder import WIDTH, TextFeatures
from trainer.data.statistics import Statistics
from trainer.data.two_domain_examples import (
    FeatureBank,
    TwoDomainBatch,
    TwoDomainSampler,
    wild_azimuths,
)

log = logging.getLogger(__name__)

_CHUNK = 64  # clips lifted at once
_SMOOTHING = 1.0  # deviation in frames


class WildSampler:
    """A sampler that has targets made for wild clips before its first batch."""

    def __init__(
        self,
        sampler: TwoDomainSampler,
        bank: FeatureBank,
        make: Callable[[], Tensor],
        path: Path,
    ) -> None:
        """make() gives the targets (N, F) of the bank's flat clips; path is where they are kept."""
        self._sampler, self._bank, self._make, self._path = sampler, bank, make, path
        self.num_drawn = 0

    def draw(self, generator: torch.Generator) -> TwoDomainBatch:
        """The next batch."""
        if not self._bank.has_made_up:
            self._bank.set_made_up(self._targets())
        self.num_drawn += 1
        return self._sampler.draw(generator)

    def waiting(self) -> list[list[int]]:
        """What the sampler has waiting, and behind it the number of batches drawn."""
        return [*self._sampler.waiting(), [self.num_drawn]]

    def restore(self, waiting: list[list[int]]) -> None:
        """Take up what `waiting` gave."""
        *batches, [self.num_drawn] = waiting
        self._sampler.restore(batches)

    def _targets(self) -> Tensor:
        if self.num_drawn and self._path.is_file():
            return load_file(self._path)["targets"]
        targets = self._make().cpu()
        log.info("Lifted %d frames of wild footage", len(targets))
        partial = self._path.with_suffix(".partial")
        save_file({"targets": targets}, partial)
        partial.replace(self._path)
        return targets


def lift_wild(
    lift: Callable[[FeatureBank, TwoDomainBatch], Tensor],
    bank: FeatureBank,
    statistics: Statistics,
    representation: Representation,
) -> Tensor:
    """Targets (N, F), normalised, of all frames of the bank's flat clips.

    lift gives features (B, T, F), normalised, of a batch's views.
    """
    device = bank.device
    targets: list[Tensor] = []
    with torch.no_grad():
        for rows in torch.arange(bank.num_solid, bank.num_clips).split(_CHUNK):
            lengths = bank.lengths[rows]
            mask = torch.arange(int(lengths.max())) < lengths[:, None]
            batch = TwoDomainBatch(
                rows=rows.to(device),
                mask=mask.to(device),
                text=_no_text(len(rows), device),
                azimuth=wild_azimuths(rows).to(device),
                is_told=torch.zeros(len(rows), dtype=torch.bool, device=device),
            )
            found = statistics.restore(lift(bank, batch))
            smooth = statistics.normalise(smoothed(found, representation))
            targets.append(smooth[batch.mask])
    return torch.cat(targets)


def smoothed(features: Tensor, representation: Representation) -> Tensor:
    """Features (B, T, F), not normalised, of the motion whose joints are smoothed over time."""
    decoded = representation.decode(features)
    joints = decoded.joints.flatten(2).transpose(1, 2)  # (B, 66, T)
    offsets = torch.arange(-3, 4, device=joints.device, dtype=joints.dtype)
    weights = torch.exp(-0.5 * (offsets / _SMOOTHING).square())
    kernel = (weights / weights.sum()).expand(joints.shape[1], 1, -1)
    padded = functional.pad(joints, (3, 4), mode="replicate")  # and a frame that encoding takes
    moved = functional.conv1d(padded, kernel, groups=joints.shape[1])
    heading = torch.cat((decoded.heading, decoded.heading[:, -1:]), dim=1)
    return representation.encode(moved.transpose(1, 2).unflatten(2, (22, 3)), heading)


def _no_text(count: int, device: torch.device) -> TextFeatures:
    return TextFeatures(
        tokens=torch.zeros(count, 1, WIDTH, device=device),
        mask=torch.zeros(count, 1, dtype=torch.bool, device=device),
        sentence=torch.zeros(count, WIDTH, device=device),
    )
