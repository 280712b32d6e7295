"""The training loop: one function that reads top to bottom, for any list of stages."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainer.device import to_device, training_device
from trainer.ema import Ema
from trainer.report import RunReport
from trainer.stages import Stage
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
    seed: int = 0

    def rate_factor(self, step: int) -> float:
        """What the learning rate is multiplied by at a step (from 1): up, level, down."""
        up = min(1.0, step / max(1, self.warmup_steps))
        decay_steps = max(1, round(self.decay_fraction * self.num_steps))
        left = min(1.0, (self.num_steps - step) / decay_steps)
        return up * (0.05 + 0.95 * left)


def train_stages(
    stages: Sequence[Stage],
    settings: LoopSettings,
    folder: Path,
    *,
    resume: bool,
    minutes: float | None,
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
            stage, own, folder, resume=resume and number == first, minutes=left
        )
    return figures


def train_stage(
    stage: Stage, settings: LoopSettings, folder: Path, *, resume: bool, minutes: float | None
) -> Mapping[str, float]:
    """Train one stage to its end, or until the minutes are over.

    A run that was stopped, at any step, goes on with `resume` from its last save and gives the same
    numbers as one that never stopped (on a CPU). Returns the last validation figures.
    """
    # --- Initialise ---
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(settings.seed)
    device = training_device()
    generator = torch.Generator().manual_seed(settings.seed)
    emas = {p.name: Ema(p.module, settings.ema_decay) for p in stage.players}
    base_rates = [[g["lr"] for g in p.optimizer.param_groups] for p in stage.players]
    first_step, best = 0, float("inf")
    figures: dict[str, float] = {}

    # --- Resume ---
    state = load_state(folder) if resume else None
    if state is not None:
        tensors, numbers = state
        first_step, best = int(numbers["step"]), float(numbers["best"])
        stage.batches.restore(numbers["waiting"])
        _restore(stage, emas, tensors)
        generator.set_state(tensors["generator"])
        torch.set_rng_state(tensors["global_generator"])
        log.info("Resuming at step %d", first_step)

    # --- Loop ---
    started, step, mean_loss = time.monotonic(), first_step, 0.0
    before = stage.steps_before
    with RunReport(folder, settings.num_steps, first_step, before) as report:
        for step in range(first_step + 1, settings.num_steps + 1):
            batch = to_device(stage.batches.draw(generator), device)
            for player, rates in zip(stage.players, base_rates, strict=True):
                for group, rate in zip(player.optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * settings.rate_factor(step)
                player.module.train()
                terms = player.loss(batch, generator)
                loss = torch.stack(list(terms.values())).sum()
                player.optimizer.zero_grad(set_to_none=True)
                loss.backward()
                norm = nn.utils.clip_grad_norm_(player.module.parameters(), settings.clip_norm)
                player.optimizer.step()
                emas[player.name].update(player.module, step)
                mean_loss += (loss.item() - mean_loss) / min(step - first_step, 50)
                if step % settings.log_every == 0:
                    named = {f"{player.name}/{k}": v.item() for k, v in terms.items()}
                    report.figures(
                        before + step, {**named, "loss": mean_loss, "gradient": norm.item()}
                    )
            elapsed = time.monotonic() - started
            report.step(step, elapsed / (step - first_step), mean_loss)

            # --- Validate and save ---
            is_last = step == settings.num_steps
            is_over = minutes is not None and elapsed > 60 * minutes
            if step % settings.validate_every == 0 or is_last or is_over:
                figures = _validate(stage, emas)
                report.figures(before + step, {**figures, "seconds": elapsed})
                _save(stage, emas, "last", step, figures)
                if figures["validation"] < best:
                    best = figures["validation"]
                    _save(stage, emas, "best", step, figures)
            if step % settings.save_every == 0 or is_last or is_over:
                state_tensors = _state_tensors(stage, emas)
                state_tensors["generator"] = generator.get_state()
                state_tensors["global_generator"] = torch.get_rng_state()
                numbers: dict[str, Any] = {"stage": stage.name, "step": step, "best": best}
                numbers["waiting"] = stage.batches.waiting()
                save_state(folder, state_tensors, numbers)
            if is_over:
                log.info("Stopped after %.1f minutes at step %d; --resume goes on", minutes, step)
                break
    return figures


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
