"""The processes that train together, started by torchrun; one process is a team of one.

Gradients are averaged by torch's DistributedDataParallel (gloo on CPUs, NCCL on CUDA). The first
process validates, writes and reports.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from trainer.device import training_device
from trainer.shares import Share, SharedDraws, batch_size
from trainer.stages import LossTerms, Player


@dataclass(frozen=True)
class Team:
    """This process among those of the run."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process reports and writes."""
        return self.rank == 0

    def mean(self, values: Tensor) -> Tensor:
        """The mean over the processes."""
        if self.size == 1:
            return values
        total = values.clone()
        dist.all_reduce(total)
        return total / self.size

    def agreed(self, answer: bool) -> bool:
        """The first process's answer."""
        if self.size == 1:
            return answer
        told = torch.tensor([int(answer)], device=training_device())
        dist.broadcast(told, src=0)
        return bool(told.item())

    @contextmanager
    def one_after_another(self) -> Generator[None]:
        """The first process passes this block before the others enter it: it fills their caches."""
        if self.size > 1 and not self.is_first:
            dist.barrier()
        try:
            yield
        finally:
            if self.size > 1 and self.is_first:
                dist.barrier()

    def gathered(self, state: Tensor) -> list[Tensor]:
        """A tensor of every process, in their order."""
        if self.size == 1:
            return [state]
        own = state.to(training_device())
        found = [torch.empty_like(own) for _ in range(self.size)]
        dist.all_gather(found, own)
        return [one.cpu() for one in found]


ALONE = Team()


class Learner:
    """Computes a player's gradients over a batch, its own share of it, in so many passes."""

    def __init__(self, player: Player, team: Team, accumulate: int) -> None:
        self._player, self._team, self._accumulate = player, team, accumulate
        self._parallel: DistributedDataParallel | None = None
        if team.size > 1:
            # parameters that a batch doesn't use have no gradient: some stages have such
            self._parallel = DistributedDataParallel(
                _LossModule(player), find_unused_parameters=True
            )

    def backward(self, batch: Any, generator: torch.Generator) -> LossTerms:
        """Leave the gradients of the whole batch's mean loss in the parameters; returns its terms.

        Every process, and every pass, takes the same numbers off the generator.
        """
        count = self._team.size * self._accumulate
        if count == 1:
            terms = self._player.loss(batch, generator)
            torch.stack(list(terms.values())).sum().backward()
            return terms
        before = generator.get_state()
        total: dict[str, Tensor] = {}
        for number in range(self._accumulate):
            generator.set_state(before)
            share = Share(self._team.rank * self._accumulate + number, count)
            part = share.of(batch)
            is_last = number == self._accumulate - 1
            with self._quiet(synchronise=is_last):
                with SharedDraws(share, batch_size(batch)):
                    terms = self._loss(part, generator)
                (torch.stack(list(terms.values())).sum() / self._accumulate).backward()
            for name, term in terms.items():
                total[name] = total.get(name, 0.0) + term.detach() / self._accumulate
        means = self._team.mean(torch.stack(list(total.values())))
        return dict(zip(total, means.unbind(), strict=True))

    def _loss(self, part: Any, generator: torch.Generator) -> LossTerms:
        if self._parallel is None:
            return self._player.loss(part, generator)
        return self._parallel(part, generator)

    def _quiet(self, *, synchronise: bool) -> AbstractContextManager[None]:
        """Gradients go to the other processes only after the last pass."""
        if self._parallel is None or synchronise:
            return nullcontext()
        return self._parallel.no_sync()


def learners_of(players: Sequence[Player], team: Team, accumulate: int) -> list[Learner]:
    """A learner for each player."""
    return [Learner(player, team, accumulate) for player in players]


class _LossModule(nn.Module):
    """A player's loss as a module, so that DistributedDataParallel sees its forward pass."""

    def __init__(self, player: Player) -> None:
        super().__init__()
        self.module = player.module
        self._loss = player.loss

    def forward(self, batch: Any, generator: torch.Generator) -> LossTerms:
        return self._loss(batch, generator)


def local_size() -> int:
    """How many processes of the team are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


@contextmanager
def joined() -> Generator[Team]:
    """The team that torchrun has put this process in, joined until the end of the block."""
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield ALONE
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield Team(rank, size)
    finally:
        dist.destroy_process_group()
