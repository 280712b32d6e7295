"""The training loop: one function that reads top to bottom, for any list of stages."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainer.broken_steps import BrokenSteps
from trainer.device import to_device, training_device
from trainer.ema import Ema
from trainer.report import RunReport
from trainer.stages import LossTerms, Player, Stage
from trainer.team import ALONE, Team, learners_of
from trainer.training_state import load_state, optimizer_tensors, restore_optimizer, save_state

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """How long and how. Counts are optimiser steps."""

    num_steps: int
    warmup_steps: int = 200
    decay_fraction: float = 0.3  # of the steps at the end, in which the rate falls to a twentieth
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    validate_every: int = 250
    save_every: int = 250
    log_every: int = 50
    accumulate: int = 1  # passes that a batch is computed in, where memory is short
    seed: int = 0

    def __post_init__(self) -> None:
        if self.accumulate < 1:
            raise ValueError(f"accumulate is {self.accumulate}, needs 1 or more")

    def rate_factor(self, step: int) -> float:
        """What the learning rate is multiplied by at a step (from 1): up, level, down."""
        up = min(1.0, step / max(1, self.warmup_steps))
        decay_steps = max(1, round(self.decay_fraction * self.num_steps))
        left = min(1.0, (self.num_steps - step) / decay_steps)
        return up * (0.05 + 0.95 * left)


class RunningMean:
    """The mean of about the last 50 losses; a loss is read off its device when it is settled."""

    def __init__(self, value: float = 0.0) -> None:
        self.value = value
        self._waiting: list[tuple[Tensor, int]] = []

    def add(self, loss: Tensor, step: int) -> None:
        """The loss () of a step, from 1."""
        self._waiting.append((loss, step))

    def settle(self) -> float:
        """The mean with all that was added and is finite: waits for the device."""
        for loss, step in self._waiting:
            if math.isfinite(value := loss.item()):
                self.value += (value - self.value) / min(step, 50)
        self._waiting.clear()
        return self.value


def train_stages(
    stages: Sequence[Stage],
    settings: LoopSettings,
    folder: Path,
    *,
    resume: bool,
    minutes: float | None,
    team: Team = ALONE,
) -> dict[str, Mapping[str, float]]:
    """Train the stages in turn; see train_stage. Returns the last figures of those that ran."""
    started = time.monotonic()
    names = [stage.name for stage in stages]
    state = load_state(folder) if resume else None
    first = 0 if state is None else names.index(state[1].get("stage", names[0]))
    figures: dict[str, Mapping[str, float]] = {}
    for number, stage in enumerate(stages[first:], start=first):
        left = None if minutes is None else minutes - (time.monotonic() - started) / 60
        if left is not None and left <= 0 and number > first:
            break
        own = replace(settings, num_steps=stage.num_steps or settings.num_steps)
        figures[stage.name] = train_stage(
            stage, own, folder, resume=resume and number == first, minutes=left, team=team
        )
    return figures


def train_stage(
    stage: Stage,
    settings: LoopSettings,
    folder: Path,
    *,
    resume: bool,
    minutes: float | None,
    team: Team = ALONE,
) -> Mapping[str, float]:
    """Train one stage to its end, or until the minutes are over.

    A run that was stopped, at any step, goes on with `resume` from its last save and gives the same
    numbers as one that never stopped (on a CPU). All processes of the team draw the same batches
    and each computes its share of them, so that their number changes nothing but dropout, and the
    order of sums. Returns the last validation figures (of the first process; none of the others).

    Raises:
        DivergedError: twenty steps in a row had no finite gradient.
    """
    # --- Initialise ---
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(settings.seed + team.rank)  # dropout: every process has its own
    device = training_device()
    generator = torch.Generator().manual_seed(settings.seed)
    emas = _emas(stage, settings.ema_decay)
    base_rates = _rates(stage)
    first_step, best, losses = 0, float("inf"), RunningMean()
    broken = BrokenSteps()
    figures: dict[str, float] = {}

    # --- Resume ---
    state = load_state(folder) if resume else None
    if state is not None:
        tensors, numbers = state
        first_step, best = int(numbers["step"]), float(numbers["best"])
        losses = RunningMean(float(numbers.get("mean_loss", 0.0)))
        stage.batches.restore(numbers["waiting"])
        _restore(stage, emas, tensors)
        generator.set_state(tensors["generator"])
        torch.set_rng_state(tensors[_dropout_state(team.rank, tensors)])
        log.info("Resuming at step %d", first_step)
    learners = learners_of(stage.players, team, settings.accumulate)

    # --- Loop ---
    started, step = time.monotonic(), first_step
    before = stage.steps_before
    steps = (settings.num_steps, first_step, before)
    with RunReport(folder, *steps, is_silent=not team.is_first) as report:
        for step in range(first_step + 1, settings.num_steps + 1):
            batch = stage.batches.draw(generator)
            losses.settle()  # now: a graphics card was busy with the step before until here
            broken.settle()
            batch = to_device(batch, device)
            for player, learner, rates in zip(stage.players, learners, base_rates, strict=True):
                for group, rate in zip(player.optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * settings.rate_factor(step)
                player.module.train()
                player.optimizer.zero_grad(set_to_none=True)
                terms = learner.backward(batch, generator)
                norm = nn.utils.clip_grad_norm_(player.module.parameters(), settings.clip_norm)
                broken.leave_out(player.module.parameters(), norm, step)
                player.optimizer.step()
                emas[player.name].update(player.module, step)
                losses.add(torch.stack(list(terms.values())).detach().sum(), step)
                if step % settings.log_every == 0:
                    named = _named(player, terms)
                    report.figures(
                        before + step, {**named, "loss": losses.settle(), "gradient": norm.item()}
                    )
            elapsed = time.monotonic() - started
            report.step(step, elapsed / (step - first_step), losses.value)

            # --- Validate and save ---
            is_last = step == settings.num_steps
            is_over = minutes is not None and team.agreed(elapsed > 60 * minutes)
            is_due = step % settings.validate_every == 0 or is_last or is_over
            if is_due and team.is_first:
                figures = _validate(stage, emas)
                report.figures(before + step, {**figures, "seconds": elapsed})
                _save(stage, emas, "last", step, figures)
                if stage.keeps_last or figures["validation"] < best:
                    best = figures["validation"]
                    _save(stage, emas, "best", step, figures)
            if step % settings.save_every == 0 or is_last or is_over:
                state_tensors = _state_tensors(stage, emas)
                state_tensors["generator"] = generator.get_state()
                state_tensors |= _dropout_states(team)
                numbers: dict[str, Any] = {"stage": stage.name, "step": step, "best": best}
                numbers |= {"mean_loss": losses.settle(), "waiting": stage.batches.waiting()}
                _write(team, folder, state_tensors, numbers)
            if is_over:
                log.info("Stopped after %.1f minutes at step %d; --resume goes on", minutes, step)
                break
    broken.settle()
    return figures


def _write(
    team: Team, folder: Path, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]
) -> None:
    if team.is_first:
        save_state(folder, tensors, numbers)


def _named(player: Player, terms: LossTerms) -> dict[str, float]:
    return {f"{player.name}/{name}": value.item() for name, value in terms.items()}


def _emas(stage: Stage, decay: float) -> dict[str, Ema]:
    return {player.name: Ema(player.module, decay) for player in stage.players}


def _rates(stage: Stage) -> list[list[float]]:
    """The learning rates that the players' optimisers are made with."""
    return [[group["lr"] for group in p.optimizer.param_groups] for p in stage.players]


def _dropout_states(team: Team) -> dict[str, Tensor]:
    states = team.gathered(torch.get_rng_state())
    return {_dropout_state(rank): state for rank, state in enumerate(states)}


def _dropout_state(rank: int, among: Mapping[str, Tensor] | None = None) -> str:
    """The name of a process's generator of dropout; the first one's, if it has none of its own."""
    name = "global_generator" if rank == 0 else f"global_generator.{rank}"
    return name if among is None or name in among else "global_generator"


def _validate(stage: Stage, emas: Mapping[str, Ema]) -> dict[str, float]:
    with _with_averages(stage, emas), torch.no_grad():
        return dict(stage.validate())


def _save(
    stage: Stage, emas: Mapping[str, Ema], name: str, step: int, figures: Mapping[str, float]
) -> None:
    with _with_averages(stage, emas):
        stage.save(name, step, figures)


def _with_averages(stage: Stage, emas: Mapping[str, Ema]) -> ExitStack:
    """All players hold their averages and are in evaluation mode."""
    stack = ExitStack()
    for player in stage.players:
        player.module.eval()
        stack.enter_context(emas[player.name].applied(player.module))
    return stack


def _state_tensors(stage: Stage, emas: Mapping[str, Ema]) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for player in stage.players:
        parameters: dict[str, Any] = dict(player.module.named_parameters())
        tensors |= {f"model.{player.name}.{n}": p for n, p in parameters.items()}
        tensors |= {f"ema.{player.name}.{n}": p for n, p in emas[player.name].average.items()}
        tensors |= optimizer_tensors(player.optimizer, f"optimizer.{player.name}")
    return tensors


def _restore(stage: Stage, emas: Mapping[str, Ema], tensors: Mapping[str, Tensor]) -> None:
    for player in stage.players:
        with torch.no_grad():
            for name, parameter in player.module.named_parameters():
                parameter.copy_(tensors[f"model.{player.name}.{name}"])
        for name, average in emas[player.name].average.items():
            average.copy_(tensors[f"ema.{player.name}.{name}"])
        restore_optimizer(player.optimizer, tensors, f"optimizer.{player.name}")
