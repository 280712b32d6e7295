"""Models that are evaluated side by side, told apart by their names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from engine.methods import load_method
from engine.methods.base import Method


def load_compared(paths: Sequence[Path], device: torch.device) -> list[Method]:
    """Load the models; of files of one name, as runs leave them, each gets its folder's before it.

    Raises:
        CheckpointError: one can't be read.
    """
    methods = [load_method(path, device) for path in paths]
    counts = Counter(path.stem for path in paths)
    for path, method in zip(paths, methods, strict=True):
        if counts[path.stem] > 1:
            method.info = replace(method.info, name=f"{path.resolve().parent.name}/{path.stem}")
    return methods
