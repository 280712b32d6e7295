"""What a method gives the training loop: stages and players.

A stage is a stretch of training with its own data and objective. A player is a set of parameters
with one optimiser and one loss. Adversarial training is two players in one stage; everything
else is one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

LossTerms = dict[str, Tensor]
"""Weighted terms by name; their sum is minimised."""


@dataclass(frozen=True, kw_only=True)
class Player:
    """Parameters with one optimiser and one loss(batch, generator) -> LossTerms."""

    name: str
    module: nn.Module
    optimizer: torch.optim.Optimizer
    loss: Callable[[Any, torch.Generator], LossTerms]


class BatchSource(Protocol):
    """Draws batches; its waiting list is part of what a resumed run needs."""

    def draw(self, generator: torch.Generator) -> Any:
        """The next batch; the same generator state gives the same batch."""
        ...

    def waiting(self) -> list[list[int]]:
        """What has been drawn from the generator and not handed out."""
        ...

    def restore(self, waiting: list[list[int]]) -> None:
        """Take up what `waiting` gave."""
        ...


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A stretch of training.

    `validate` gives figures by name; the one named "validation" decides which weights are kept,
    unless the stage keeps the last: where no held-out clip shows what it learns.
    `save` writes a checkpoint to sample from, with the EMA weights loaded into the players. Where
    there are several stages, the players of a later one hold all that an earlier one has trained.
    """

    name: str
    players: tuple[Player, ...]
    batches: BatchSource
    validate: Callable[[], Mapping[str, float]]
    save: Callable[[str, int, Mapping[str, float]], None]
    keeps_last: bool = False
    num_steps: int | None = None  # None: as many as the run has
    steps_before: int = 0  # of the stages before it: figures are told by the step in the run
