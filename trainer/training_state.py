"""The state that a run resumes from, to the bit on a CPU: safetensors and a JSON, no pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

TENSORS = "training-state.safetensors"
NUMBERS = "training-state.json"


def save_state(folder: Path, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
    """Write both files. The first holds the numbers too: a run killed in between resumes."""
    written = json.dumps(numbers)
    partial = folder / (TENSORS + ".partial")
    cloned = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    save_file(cloned, partial, metadata={"step": str(numbers["step"]), "numbers": written})
    partial.replace(folder / TENSORS)
    partial = folder / (NUMBERS + ".partial")
    partial.write_text(written)
    partial.replace(folder / NUMBERS)


def load_state(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """What save_state wrote, or None where there is nothing to resume from."""
    if not (folder / TENSORS).is_file() or not (folder / NUMBERS).is_file():
        return None
    with safe_open(folder / TENSORS, framework="pt") as file:
        metadata: dict[str, str] = file.metadata() or {}
    numbers = metadata.get("numbers") or (folder / NUMBERS).read_text()
    return load_file(folder / TENSORS), json.loads(numbers)


def optimizer_tensors(optimizer: torch.optim.Optimizer, prefix: str) -> dict[str, Tensor]:
    """An optimiser's state as tensors by name (moments and step counts)."""
    found: dict[str, Tensor] = {}
    for index, values in optimizer.state_dict()["state"].items():
        for key, value in values.items():
            found[f"{prefix}.{index}.{key}"] = torch.as_tensor(value)
    return found


def restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], prefix: str
) -> None:
    """The inverse of optimizer_tensors; learning rates stay as they are."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith(prefix + "."):
            index, key = name[len(prefix) + 1 :].split(".", 1)
            state.setdefault(int(index), {})[key] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
