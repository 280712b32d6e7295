"""Shares of a batch: what one process, or one pass of gradient accumulation, computes of it.

Every process draws the whole batch and all its random numbers from the same generator, and keeps
its share of both. So the sum over all shares is the batch of one process that computes it whole,
draw for draw, however many shares there are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class ShareError(ValueError):
    """A batch that can't be shared out as the settings ask for."""


@dataclass(frozen=True)
class Share:
    """Part number `index` of `count` equal parts of a batch."""

    index: int
    count: int

    def of(self, batch: Any) -> Any:
        """The part of every tensor of the batch whose first axis is that of the clips.

        Raises:
            ShareError: the batch can't be cut into so many equal parts.
        """
        size = batch_size(batch)
        if size % self.count:
            raise ShareError(
                f"A batch of {size} can't be cut into {self.count} equal shares (processes times "
                "loop.accumulate)"
            )
        return _cut(batch, size, self.rows(size))

    def rows(self, size: int) -> slice:
        """Which rows of a batch of that size."""
        each = size // self.count
        return slice(self.index * each, (self.index + 1) * each)


class SharedDraws(TorchFunctionMode):
    """While active, random tensors with a row per clip of the share are cut from the batch's.

    torch.rand, randn and randint with a `generator`, whose first axis is as long as the share, are
    drawn for the whole batch; other draws are the same in every share. Source: PyTorch's
    torch.overrides.TorchFunctionMode.
    """

    def __init__(self, share: Share, size: int) -> None:
        """The share, and the size of the whole batch."""
        super().__init__()
        self._share, self._size = share, size

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Draw for the whole batch, and keep the share's rows."""
        named = dict(kwargs or {})
        if func in _DRAWS and named.get("generator") is not None:
            bounds, shape = _shape_of(func, args, named)
            if shape and shape[0] * self._share.count == self._size:
                named.pop("size", None)
                drawn = func(*bounds, (self._size, *shape[1:]), **named)
                return drawn[self._share.rows(self._size)]
        return func(*args, **named)


_DRAWS = (torch.rand, torch.randn, torch.randint)


def batch_size(batch: Any) -> int:
    """The length of the first axis of the first tensor that is found.

    Raises:
        ValueError: there is no tensor.
    """
    found = _first_tensor(batch)
    if found is None:
        raise ValueError("The batch has no tensor, needs one with a row per clip")
    return len(found)


def _shape_of(
    func: Callable[..., Any], args: tuple[Any, ...], named: Mapping[str, Any]
) -> tuple[tuple[Any, ...], tuple[int, ...]]:
    """Bounds (of randint) and shape of a draw."""
    if "size" in named:
        return args, tuple(named["size"])
    if func is torch.randint:
        return args[:-1], tuple(args[-1])
    if len(args) == 1 and not isinstance(args[0], int):
        return (), tuple(args[0])
    return (), tuple(args)


def _first_tensor(value: Any) -> Tensor | None:
    if isinstance(value, Tensor):
        return value if value.ndim else None
    for part in _parts(value):
        found = _first_tensor(part)
        if found is not None:
            return found
    return None


def _parts(value: Any) -> list[Any]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, field.name) for field in dataclasses.fields(value)]
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, tuple | list) else []


def _cut(value: Any, size: int, rows: slice) -> Any:
    if isinstance(value, Tensor):
        return value[rows] if value.ndim and len(value) == size else value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if field.init]
        return dataclasses.replace(
            value, **{name: _cut(getattr(value, name), size, rows) for name in names}
        )
    if isinstance(value, Mapping):
        return {key: _cut(item, size, rows) for key, item in value.items()}
    if isinstance(value, tuple | list):
        if len(value) == size and not any(isinstance(item, Tensor) for item in value):
            return value[rows]
        return type(value)(_cut(item, size, rows) for item in value)
    return value
