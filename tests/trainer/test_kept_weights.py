"""Which of a stage's validated weights are kept as its best."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from trainer.loop import LoopSettings, train_stage
from trainer.stages import Player, Stage

FIGURES = (0.4, 0.2, 0.3)


class Nothing:
    """Batches of nothing."""

    def draw(self, generator: torch.Generator) -> torch.Tensor:
        return torch.zeros(())

    def waiting(self) -> list[list[int]]:
        return []

    def restore(self, waiting: list[list[int]]) -> None:
        pass


@pytest.mark.parametrize(("keeps_last", "kept"), [(False, [1, 2]), (True, [1, 2, 3])])
def test_the_best_is_kept_or_the_last(keeps_last: bool, kept: list[int], tmp_path: Path) -> None:
    module = torch.nn.Linear(1, 1)
    player = Player(
        name="one",
        module=module,
        optimizer=torch.optim.AdamW(module.parameters()),
        loss=lambda batch, generator: {"error": module(torch.ones(1, 1)).square().mean()},
    )
    figures = iter(FIGURES)
    saved: list[tuple[str, int]] = []
    stage = Stage(
        name="all",
        players=(player,),
        batches=Nothing(),
        validate=lambda: {"validation": next(figures)},
        save=lambda name, step, figures: saved.append((name, step)),
        keeps_last=keeps_last,
    )

    settings = LoopSettings(num_steps=len(FIGURES), warmup_steps=1, validate_every=1)
    told = train_stage(stage, settings, tmp_path, resume=False, minutes=None)

    assert [step for name, step in saved if name == "best"] == kept
    assert told["validation"] == FIGURES[-1]
