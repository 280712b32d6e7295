"""Which device a model runs on: the words of --device."""

from __future__ import annotations

import contextlib
import os
import platform
from dataclasses import dataclass
from pathlib import Path

import torch

from engine.methods.base import RequestError

DEVICES = ("auto", "cuda", "mps", "cpu")


@dataclass(frozen=True, kw_only=True)
class FoundDevice:
    """Something that models can run on."""

    kind: str  # as --device says it
    name: str
    memory_bytes: int  # 0: unknown


def list_devices() -> list[FoundDevice]:
    """The devices of this machine, the one that auto takes first."""
    found: list[FoundDevice] = []
    for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
        facts = torch.cuda.get_device_properties(index)
        found.append(
            FoundDevice(kind="cuda", name=str(facts.name), memory_bytes=int(facts.total_memory))
        )
    memory = _memory_bytes()
    if torch.backends.mps.is_available():
        found.append(FoundDevice(kind="mps", name="Apple graphics", memory_bytes=memory))
    return [*found, FoundDevice(kind="cpu", name=_processor_name(), memory_bytes=memory)]


def choose_device(word: str) -> torch.device:
    """The device that the word means; auto takes the fastest kind that is there.

    Raises:
        RequestError: there is no such device here.
    """
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if word == "auto":
        word = next((name for name, is_there in present.items() if is_there), "cpu")
    kind = word.split(":")[0]
    if kind not in DEVICES or not present.get(kind, True):
        usable = ", ".join(["auto", *(name for name in present if present[name]), "cpu"])
        raise RequestError(f"The device is {word!r}, needs one of this machine's: {usable}")
    return torch.device(word)


def _processor_name() -> str:
    with contextlib.suppress(OSError):  # Linux; platform.processor() says little there
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        return 0
