"""Corpora of captioned motion: folders in any layout that is known, read onto one skeleton."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trainer.data.clip import FPS, MIN_FRAMES, Clip, CorpusError
from trainer.data.layouts import load_clips

__all__ = ["FPS", "MIN_FRAMES", "Clip", "CorpusError", "load_corpus"]


def load_corpus(folders: Sequence[Path], split: str, *, mirrored: bool = True) -> list[Clip]:
    """Read a split of one or more corpora; mirrored twins follow their originals.

    A clip that can't be read is left out with a warning that names it.

    Raises:
        CorpusError: a folder is no corpus, or no clip is left.
    """
    clips: list[Clip] = []
    for folder in folders:
        clips += load_clips(folder, split, mirrored=mirrored)
    if not clips:
        raise CorpusError(f"No clip in split {split!r} of {', '.join(map(str, folders))}")
    return clips
