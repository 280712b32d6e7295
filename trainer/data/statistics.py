"""Mean and deviation of features over a training corpus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class HasBlocks(Protocol):
    """Any representation: feature blocks in order."""

    @property
    def blocks(self) -> tuple[str, ...]:
        """Their names."""
        ...

    def part(self, block: str) -> slice:
        """Where a block stands."""
        ...


@dataclass(frozen=True)
class Statistics:
    """Normalised features are (features - mean) / deviation."""

    mean: Tensor  # (F,)
    deviation: Tensor  # (F,), one value per block, as HumanML3D does

    def to(self, device: torch.device) -> Statistics:
        """The same statistics on the device."""
        return Statistics(self.mean.to(device), self.deviation.to(device))

    def normalise(self, features: Tensor) -> Tensor:
        """Features with zero mean and unit deviation per block."""
        return (features - self.mean) / self.deviation

    def restore(self, normalised: Tensor) -> Tensor:
        """The inverse of normalise."""
        return normalised * self.deviation + self.mean


def measure_statistics(features: Sequence[Tensor], representation: HasBlocks) -> Statistics:
    """Mean per feature; deviation averaged over each block's features."""
    frames = torch.cat(list(features)).double()
    deviation = frames.std(dim=0)
    for block in representation.blocks:
        part = representation.part(block)
        deviation[part] = deviation[part].mean()
    return Statistics(frames.mean(dim=0).float(), deviation.clamp(min=1e-6).float())
