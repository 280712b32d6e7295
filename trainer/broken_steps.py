"""Steps whose gradient isn't finite teach nothing, are told of, and end a run that is lost."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from torch import Tensor

_MOST_IN_A_ROW = 20

log = logging.getLogger(__name__)


class DivergedError(Exception):
    """No step of many in a row had a finite gradient."""


class BrokenSteps:
    """Keeps one bad batch from spoiling the weights for good.

    A gradient that is infinite or not a number would make every weight so, and the optimiser never
    recovers. Here it counts as zero. Whether it was so is read off its device when it is settled,
    one step late, so that a graphics card isn't waited for.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[Tensor, int]] = []
        self._in_a_row = 0
        self._last_broken = 0

    def leave_out(self, parameters: Iterable[Tensor], norm: Tensor, step: int) -> None:
        """Make the gradients zero if their norm () isn't finite."""
        is_whole = norm.isfinite()
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.masked_fill_(~is_whole, 0.0)
        self._waiting.append((is_whole, step))

    def settle(self) -> None:
        """Tell of the steps that were left out: waits for the device.

        Raises:
            DivergedError: twenty in a row were.
        """
        for is_whole, step in self._waiting:
            if is_whole.item() or step == self._last_broken:  # of two players one is enough
                continue
            self._in_a_row = self._in_a_row + 1 if step == self._last_broken + 1 else 1
            self._last_broken = step
            log.warning("Step %d taught nothing: its gradient isn't finite", step)
            if self._in_a_row >= _MOST_IN_A_ROW:
                raise DivergedError(
                    f"No gradient was finite since step {step - _MOST_IN_A_ROW + 1}: try a lower "
                    "learning_rate, and --resume from the last save"
                )
        self._waiting.clear()
