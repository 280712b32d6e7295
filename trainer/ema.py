"""Exponential moving average of a module's parameters."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """Average with a decay that warms up: min(decay, (1 + step) / (10 + step)).

    Source: TensorFlow's ExponentialMovingAverage, num_updates.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.average = {name: p.detach().clone() for name, p in module.named_parameters()}

    def update(self, module: nn.Module, step: int) -> None:
        """Take in the parameters after optimiser step number `step` (from 1)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        with torch.no_grad():
            # all at once: hundreds of small steps would take as long as the rest of a step
            torch._foreach_lerp_(  # pyright: ignore[reportPrivateUsage]
                [self.average[name] for name, _ in module.named_parameters()],
                list(module.parameters()),
                1 - decay,
            )

    @contextmanager
    def applied(self, module: nn.Module) -> Generator[None]:
        """Have the module hold the average for a while."""
        raw = {name: p.detach().clone() for name, p in module.named_parameters()}
        self._load(module, self.average)
        try:
            yield
        finally:
            self._load(module, raw)

    @staticmethod
    def _load(module: nn.Module, values: dict[str, Tensor]) -> None:
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                parameter.copy_(values[name])
