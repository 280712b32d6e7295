"""A step whose gradient isn't finite, and a run of nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from trainer.broken_steps import BrokenSteps, DivergedError
from trainer.loop import LoopSettings, train_stage
from trainer.stages import LossTerms, Player, Stage

STEPS = 30
SETTINGS = LoopSettings(num_steps=STEPS, warmup_steps=1, log_every=STEPS)


class Batches:
    """The numbers from 1."""

    def __init__(self) -> None:
        self.drawn = 0

    def draw(self, generator: torch.Generator) -> torch.Tensor:
        self.drawn += 1
        return torch.tensor(float(self.drawn))

    def waiting(self) -> list[list[int]]:
        return []

    def restore(self, waiting: list[list[int]]) -> None:
        pass


def stage_of(broken: set[int]) -> Stage:
    """Learns to answer 1; the batches named are not numbers, in loss and gradient."""
    module = torch.nn.Linear(1, 1)

    def loss(batch: torch.Tensor, generator: torch.Generator) -> LossTerms:
        error = (module(torch.ones(1, 1)) - 1).square().mean()
        return {"error": error * torch.tensor(float("nan")) if int(batch) in broken else error}

    return Stage(
        name="all",
        players=(
            Player(
                name="one",
                module=module,
                optimizer=torch.optim.AdamW(module.parameters(), lr=0.05),
                loss=loss,
            ),
        ),
        batches=Batches(),
        validate=lambda: {"validation": float((module(torch.ones(1, 1)) - 1).abs())},
        save=lambda name, step, figures: None,
    )


def test_a_broken_step_is_left_out_told_of_and_spoils_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stage = stage_of({4, 30})
    train_stage(stage, SETTINGS, tmp_path, resume=False, minutes=None)
    assert all(p.isfinite().all() for p in stage.players[0].module.parameters())
    assert "Step 4 taught nothing" in caplog.text
    assert "Step 30 taught nothing" in caplog.text
    assert caplog.text.count("taught nothing") == 2
    told = json.loads((tmp_path / "stats.jsonl").read_text().splitlines()[0])
    assert told["loss"] < 10  # the mean of those that were finite


def test_a_run_whose_steps_all_break_ends_with_what_to_do(tmp_path: Path) -> None:
    stage = stage_of(set(range(5, STEPS + 1)))
    with pytest.raises(DivergedError, match=r"since step 5: .*learning_rate.*--resume"):
        train_stage(stage, SETTINGS, tmp_path, resume=False, minutes=None)
    assert all(p.isfinite().all() for p in stage.players[0].module.parameters())


def test_of_two_players_one_that_is_lost_ends_the_run() -> None:
    broken = BrokenSteps()
    lost, well = torch.tensor(float("inf")), torch.tensor(1.0)
    for step in range(1, 20):
        broken.leave_out([], lost, step)
        broken.leave_out([], well, step)
        broken.settle()
    broken.leave_out([], lost, 20)
    with pytest.raises(DivergedError, match="since step 1:"):
        broken.settle()


def test_broken_steps_far_apart_end_nothing() -> None:
    broken = BrokenSteps()
    for step in range(2, 100, 2):
        broken.leave_out([], torch.tensor(float("nan")), step)
        broken.settle()
