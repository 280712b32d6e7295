"""Shares of a batch: all together they are the batch, its random numbers too."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from trainer.shares import Share, SharedDraws, ShareError, batch_size
from trainer.stages import LossTerms, Player
from trainer.team import ALONE, Learner


@dataclass(frozen=True)
class Inner:
    tokens: Tensor
    names: tuple[str, ...]


@dataclass(frozen=True)
class Made:
    text: Inner
    features: Tensor
    weights: Tensor  # not of the clips
    number: int = 3


def made(size: int = 6) -> Made:
    rows = torch.arange(size).float()
    inner = Inner(rows[:, None].repeat(1, 2), tuple("abcdef"[:size]))
    return Made(inner, rows[:, None, None].expand(size, 4, 3), torch.ones(5))


def test_the_shares_of_a_batch_are_the_batch() -> None:
    batch = made()
    parts = [Share(i, 3).of(batch) for i in range(3)]
    assert batch_size(batch) == 6
    torch.testing.assert_close(torch.cat([part.features for part in parts]), batch.features)
    torch.testing.assert_close(torch.cat([part.text.tokens for part in parts]), batch.text.tokens)
    assert sum((part.text.names for part in parts), ()) == batch.text.names
    assert all(part.weights.equal(batch.weights) and part.number == 3 for part in parts)
    with pytest.raises(ShareError, match="6 can't be cut into 4"):
        Share(0, 4).of(batch)


def test_draws_of_a_share_are_cut_from_those_of_the_batch() -> None:
    def draws(count: int, generator: torch.Generator) -> list[Tensor]:
        return [
            torch.rand(count, generator=generator),
            torch.randn((count, 2, 3), generator=generator),
            torch.randn(count, 4, generator=generator),
            torch.randint(2, 9, (count,), generator=generator),
            torch.randint(9, size=(count, 2), generator=generator),
        ]

    whole = draws(8, torch.Generator().manual_seed(1))
    parts: list[list[Tensor]] = []
    for index in range(4):
        generator = torch.Generator().manual_seed(1)
        with SharedDraws(Share(index, 4), 8):
            parts.append(draws(2, generator))
            common = torch.rand(5, generator=generator)  # not one per clip: the same for all
        assert len(common) == 5
    for number, expected in enumerate(whole):
        torch.testing.assert_close(torch.cat([part[number] for part in parts]), expected)


@pytest.mark.parametrize("passes", [2, 3, 6])
def test_gradients_do_not_depend_on_the_number_of_passes(passes: int) -> None:
    def gradient(accumulate: int) -> tuple[Tensor, LossTerms, Tensor]:
        torch.manual_seed(0)
        module = torch.nn.Linear(3, 1)

        def loss(batch: Made, generator: torch.Generator) -> LossTerms:
            noise = torch.randn(batch.features.shape, generator=generator)
            return {"error": module(batch.features + noise).square().mean((1, 2)).mean()}

        player = Player(
            name="p",
            module=module,
            optimizer=torch.optim.SGD(module.parameters()),
            loss=loss,
        )
        generator = torch.Generator().manual_seed(5)
        terms = Learner(player, ALONE, accumulate).backward(made(), generator)
        assert module.weight.grad is not None
        return module.weight.grad.clone(), terms, generator.get_state()

    whole, parts = gradient(1), gradient(passes)
    torch.testing.assert_close(whole[0], parts[0])
    torch.testing.assert_close(whole[1], parts[1])
    assert whole[2].equal(parts[2])
