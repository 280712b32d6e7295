"""Alignment of codes: nothing at the truth, nothing to gain from collapsing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.losses.code_alignment import alignment_loss


def codes(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


MASK = torch.ones(6, 5, dtype=torch.bool)


def test_equal_codes_cost_nothing_and_a_mean_costs_one() -> None:
    leading = codes(0, 6, 5, 8)
    assert float(alignment_loss(leading, leading, MASK)) == 0
    mean = leading.mean((0, 1), keepdim=True).expand_as(leading)
    assert float(alignment_loss(mean, leading, MASK)) == pytest.approx(1.0, rel=1e-4)


@pytest.mark.parametrize("scale", [1e-2, 0.5, 7.0])
def test_smaller_codes_cost_the_same(scale: float) -> None:
    led, leading = codes(1, 6, 5, 8), codes(2, 6, 5, 8)
    expected = float(alignment_loss(led, leading, MASK))
    shrunk = float(alignment_loss(scale * led, scale * leading, MASK))
    assert shrunk == pytest.approx(expected, rel=2e-2)


def test_codes_that_ran_together_cost_no_less() -> None:
    together = codes(3, 1, 1, 8).expand(6, 5, 8)
    noise = [together + 1e-3 * codes(seed, 6, 5, 8) for seed in (4, 5)]
    assert float(alignment_loss(noise[0], noise[1], MASK)) > 1.5


def test_what_is_masked_does_not_count_and_gradients_are_finite() -> None:
    led, leading = codes(6, 6, 5, 8), codes(7, 6, 5, 8)
    mask = MASK.clone()
    mask[:, 3:] = False
    expected = alignment_loss(led[:, :3], leading[:, :3], mask[:, :3])
    torch.testing.assert_close(alignment_loss(led, leading, mask), expected)
    one = torch.zeros(1, 1, 8, requires_grad=True)
    alignment_loss(one, 2 * one + 1, torch.ones(1, 1, dtype=torch.bool)).backward()
    assert one.grad is not None
    assert one.grad.isfinite().all()
    assert float(alignment_loss(led, leading, torch.zeros_like(mask))) == 0


def spread_after(loss, steps: int = 100) -> tuple[float, float]:
    """Spread of the leading codes before and after two encoders learn by the loss alone."""
    torch.manual_seed(8)
    seen, made = nn.Linear(4, 8), nn.Linear(4, 8)
    things, noise = codes(9, 64, 1, 4), codes(10, 64, 1, 4)
    mask = torch.ones(64, 1, dtype=torch.bool)
    optimizer = torch.optim.Adam([*seen.parameters(), *made.parameters()], lr=0.03)

    def normalised(encoder: nn.Module, inputs: Tensor) -> Tensor:
        return functional.layer_norm(encoder(inputs), (8,))

    spreads: list[float] = []
    for _ in range(steps):
        leading = normalised(made, things)
        spreads.append(float(leading.detach().var(0).mean()))
        value = loss(normalised(seen, things + noise), leading, mask)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    return spreads[0], spreads[-1]


def test_learning_by_alignment_alone_does_not_collapse_where_a_plain_distance_does() -> None:
    def plain(led: Tensor, leading: Tensor, mask: Tensor) -> Tensor:
        return (led - leading).square().mean()

    before, after = spread_after(alignment_loss)
    assert after > 0.7 * before
    before, after = spread_after(plain)
    assert after < 0.3 * before
