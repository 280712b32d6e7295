"""Which device a model runs on: the words of --device."""

from __future__ import annotations

import torch

from engine.methods.base import RequestError

DEVICES = ("auto", "cuda", "mps", "cpu")


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
