"""What to try when memory is not enough: one candidate at a time, then the processor."""

from __future__ import annotations

import gc
from dataclasses import dataclass

import torch

from engine.generation import MAX_BATCH

ONE_BY_ONE = "There is too little memory for all candidates at once: they were made one by one"
ON_CPU = (
    "The graphics card has too little memory for this: it was made on the processor, which is "
    "slower. Fewer seconds or fewer candidates fit better"
)


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One way to do a job. The warning tells the artist that it was not the first."""

    max_batch: int = MAX_BATCH
    on_cpu: bool = False
    warning: str = ""


def attempts(*, count: int, is_on_cpu: bool) -> list[Attempt]:
    """The ways to try in turn, for `count` candidates."""
    found = [Attempt()]
    if count > 1:
        found.append(Attempt(max_batch=1, warning=ONE_BY_ONE))
    if not is_on_cpu:
        found.append(Attempt(max_batch=1, on_cpu=True, warning=ON_CPU))
    return found


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the error says that memory ran out.

    torch has a class for it on CUDA only; Metal, cuBLAS and the processor's allocator raise a
    RuntimeError with these words.
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    words = ("out of memory", "_ALLOC_FAILED", "can't allocate memory", "not enough memory")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)


def free_memory() -> None:
    """Give back what no tensor holds any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
