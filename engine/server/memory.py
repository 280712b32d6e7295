"""What to try when memory is not enough: one candidate at a time, then the processor.

And how what a job has used goes back to the system when it is over.
"""

from __future__ import annotations

import ctypes
import gc
import sys
from dataclasses import dataclass
from typing import Any

import torch

from engine.generation import MAX_BATCH

ONE_BY_ONE = "There is too little memory for all candidates at once: they were made one by one"
ON_CPU = (
    "The graphics card has too little memory for this: it was made on the processor, which is "
    "slower. Fewer seconds or fewer candidates fit better"
)

_M_ARENA_MAX, _MOST_HEAPS = -8, 2  # of glibc's malloc.h


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
    trim = _of_c_library("malloc_trim")
    if trim is not None:
        trim(0)


def use_few_heaps() -> None:
    """Call this once, before threads are started.

    glibc gives each of the first threads a heap of its own. Pictures come in one thread and are let
    go in another, so that every heap keeps gaps which the others can't use: an engine would grow
    by three megabytes with each capture.
    """
    set_option = _of_c_library("mallopt")
    if set_option is not None:
        set_option(_M_ARENA_MAX, _MOST_HEAPS)


def _of_c_library(name: str) -> Any:
    """A function of the C library, None where there is none: it is glibc's own."""
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), name, None)
