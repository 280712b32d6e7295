"""Batches of any make-up reach the device whole."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.device import to_device


@dataclass(frozen=True)
class _Inner:
    rows: Tensor


@dataclass(frozen=True)
class _Batch:
    values: Tensor
    inner: _Inner
    named: dict[str, Tensor]
    pair: tuple[Tensor, int]
    word: str


def test_every_tensor_of_a_batch_is_moved_and_the_rest_is_kept() -> None:
    batch = _Batch(
        values=torch.ones(2),
        inner=_Inner(torch.zeros(3)),
        named={"a": torch.ones(1)},
        pair=(torch.ones(4), 7),
        word="walk",
    )
    moved = to_device(batch, torch.device("meta"))
    tensors = (moved.values, moved.inner.rows, moved.named["a"], moved.pair[0])
    assert all(tensor.device.type == "meta" for tensor in tensors)
    assert moved.pair[1] == 7
    assert moved.word == "walk"
    assert to_device(batch, torch.device("cpu")).values is batch.values
