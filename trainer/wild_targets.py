"""Targets in space for wild footage: the model's own lift of it, smoothed and set onto the floor.

They are made when the stage begins and kept beside the run, so that a resumed run has the same
teacher: the model as it was then.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional

from engine.motion.representation import Representation
from engine.motion.skeleton import FOOT_JOINTS
from engine.networks.text_encoder import WIDTH, TextFeatures
from trainer.data.corpus import CorpusError
from trainer.data.feature_bank import FeatureBank, hold_last
from trainer.data.statistics import Statistics
from trainer.data.two_domain_examples import TwoDomainBatch, TwoDomainSampler, wild_azimuths

log = logging.getLogger(__name__)

_CHUNK = 64  # clips lifted at once
_SMOOTHING = 1.0  # deviation in frames
_LOWEST = 0.05  # of a clip's frames in which a foot may be under the floor: lifted feet shake


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
        """The next batch.

        Raises:
            CorpusError: this is a run gone on with, and its targets are gone.
        """
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
        if self.num_drawn:
            if not self._path.is_file():
                raise CorpusError(
                    f"{self._path} is missing: it has the targets that this run began its wild "
                    "stage with; put it back, or train anew"
                )
            return load_file(self._path)["targets"]
        targets = self._make().cpu()
        log.info("Lifted %d frames of wild footage", len(targets))
        # several processes may train, all with the same targets
        partial = self._path.with_name(f"{self._path.name}.{os.getpid()}.partial")
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
                is_footage=torch.zeros(len(rows), dtype=torch.bool, device=device),
            )
            found = statistics.restore(lift(bank, batch))
            smooth = smoothed(found, batch.mask, representation)
            standing = on_the_floor(smooth, batch.mask, representation)
            targets.append(statistics.normalise(standing)[batch.mask])
    return torch.cat(targets)


def smoothed(features: Tensor, mask: Tensor, representation: Representation) -> Tensor:
    """Features (B, T, F), not normalised, of the motion whose joints are smoothed over time.

    What stands behind a clip's end (mask (B, T)) changes nothing of it: its last frame is held.
    """
    decoded = representation.decode(features)
    joints = hold_last(decoded.joints, mask).flatten(2).transpose(1, 2)  # (B, 66, T)
    offsets = torch.arange(-3, 4, device=joints.device, dtype=joints.dtype)
    weights = torch.exp(-0.5 * (offsets / _SMOOTHING).square())
    kernel = (weights / weights.sum()).expand(joints.shape[1], 1, -1)
    padded = functional.pad(joints, (3, 4), mode="replicate")  # and a frame that encoding takes
    moved = functional.conv1d(padded, kernel, groups=joints.shape[1])
    held = hold_last(decoded.heading[..., None], mask)[..., 0]
    heading = torch.cat((held, held[:, -1:]), dim=1)
    return representation.encode(moved.transpose(1, 2).unflatten(2, (22, 3)), heading)


def on_the_floor(features: Tensor, mask: Tensor, representation: Representation) -> Tensor:
    """Features (B, T, F), not normalised, of motions that stand on the floor at some time.

    How high somebody is can't be told by a camera that isn't known, but nearly every clip touches
    the floor: the twentieth of its frames (mask (B, T)) in which a foot is lowest is put there.
    """
    decoded = representation.decode(features)
    lowest = decoded.joints[..., list(FOOT_JOINTS), 1].amin(-1).masked_fill(~mask, torch.nan)
    floor = lowest.nanquantile(_LOWEST, dim=1)[:, None, None]
    standing = features.clone()
    standing[..., representation.part("root_height")] -= floor
    standing[..., representation.part("joint_positions")][..., 1::3] -= floor  # over the ground too
    return standing


def _no_text(count: int, device: torch.device) -> TextFeatures:
    return TextFeatures(
        tokens=torch.zeros(count, 1, WIDTH, device=device),
        mask=torch.zeros(count, 1, dtype=torch.bool, device=device),
        sentence=torch.zeros(count, WIDTH, device=device),
    )
