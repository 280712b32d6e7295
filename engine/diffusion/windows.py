"""Motions longer than a model has learned, of several prompts, or closed to a loop: by windows.

A motion is cut into overlapping windows that the model denoises side by side in one batch; after
every step they are joined again, each frame the mean of the windows that cover it. Features are
told in the facing frame of each frame, so they can be averaged. Every window has one prompt;
windows of a loop go on from its end to its start.

Source: the joining of overlapping pieces at every step is that of Bar-Tal et al., MultiDiffusion,
ICML 2023, section 3; for prompts in time, Shafir et al., PriorMDM (DoubleTake), ICLR 2024.

Shape letters: B motions, W windows, T frames, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

WINDOW_FRAMES = 196  # as long as the longest clip that was learned: 9.8 s at 20 fps
OVERLAP_FRAMES = 50
TRANSITION_FRAMES = 20  # in which one prompt gives way to the next


@dataclass(frozen=True)
class Window:
    """A stretch of a motion that is denoised with one of its prompts."""

    start: int  # its first frame; a loop's may be before 0
    length: int
    prompt: int  # index of the prompt


def plan_windows(part_frames: Sequence[int], *, loop: bool = False) -> list[Window]:
    """The windows of one motion, whose parts have these numbers of frames and a prompt each."""
    total = sum(part_frames)
    if loop and len(part_frames) == 1:
        length = min(total, WINDOW_FRAMES)
        count = max(2, -(-total // (WINDOW_FRAMES - OVERLAP_FRAMES)))
        return [Window(round(i * total / count), length, 0) for i in range(count)]
    windows: list[Window] = []
    start = 0
    for part, frames in enumerate(part_frames):
        before = _reach(part_frames, part - 1, loop=loop)
        length = before + frames + _reach(part_frames, part, loop=loop)
        windows += [
            Window(start - before + first, min(length, WINDOW_FRAMES), part)
            for first in window_starts(length, WINDOW_FRAMES, OVERLAP_FRAMES)
        ]
        start += frames
    return windows


def _reach(part_frames: Sequence[int], part: int, *, loop: bool) -> int:
    """How far the parts around the end of a part go into each other."""
    if not loop and part in (-1, len(part_frames) - 1):
        return 0
    neighbours = part_frames[part], part_frames[(part + 1) % len(part_frames)]
    return min(TRANSITION_FRAMES // 2, min(neighbours) // 3)


def window_starts(num_frames: int, length: int, overlap: int) -> list[int]:
    """First frames of windows that cover num_frames and overlap by at least `overlap`."""
    if num_frames <= length:
        return [0]
    last = num_frames - length
    count = -(-last // (length - overlap)) + 1
    return [round(i * last / (count - 1)) for i in range(count)]


class WindowBatch:
    """The windows of several motions as one batch."""

    def __init__(self, lengths: Sequence[int], plans: Sequence[Sequence[Window]]) -> None:
        self._lengths = tuple(lengths)
        self.pairs = [(row, window) for row, plan in enumerate(plans) for window in plan]
        self._longest = max(window.length for _, window in self.pairs)
        self._frames = [
            (window.start + torch.arange(window.length)) % lengths[row]
            for row, window in self.pairs
        ]

    def mask(self) -> Tensor:
        """(W, T) bool: real frames of every window."""
        sizes = torch.tensor([window.length for _, window in self.pairs])
        return torch.arange(self._longest) < sizes[:, None]

    def cut(self, x: Tensor) -> Tensor:
        """(B, T, F) to (W, T, F), zeros behind a window's end."""
        parts = x.new_zeros(len(self.pairs), self._longest, x.shape[-1])
        for k, ((row, window), frames) in enumerate(zip(self.pairs, self._frames, strict=True)):
            parts[k, : window.length] = x[row, frames.to(x.device)]
        return parts

    def join(self, parts: Tensor) -> Tensor:
        """(W, T, F) to (B, T, F): means, weighted by a ramp that falls towards windows' ends."""
        shape = (len(self._lengths), max(self._lengths))
        total = parts.new_zeros(*shape, parts.shape[-1])
        weights = parts.new_zeros(*shape, 1)
        for k, ((row, window), frames) in enumerate(zip(self.pairs, self._frames, strict=True)):
            ramp = torch.arange(1, window.length + 1, dtype=parts.dtype, device=parts.device)
            weight = torch.minimum(ramp, ramp.flip(0))[:, None]
            place = frames.to(parts.device)  # no frame twice: a window is no longer than its loop
            total[row, place] += parts[k, : window.length] * weight
            weights[row, place] += weight
        return total / weights.clamp(min=1e-6)
