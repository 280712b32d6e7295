"""Which performers a lifter learns from: all, or one half of them.

Two lifters, each trained on one half, lift each other's half: so no clip is ever lifted by a model
that has seen its performer in 3D (a teacher for learning from 2D must not have).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from zlib import crc32

from trainer.data.corpus import Clip

PARTS = ("all", "a", "b")


def performer_of(clip: Clip) -> str:
    """Who was recorded; clips of a source that doesn't say count as one performer's."""
    return clip.performer or f"someone in {clip.source}"


def halves(clips: Sequence[Clip]) -> dict[str, str]:
    """Each performer's half, "a" or "b": whole performers, as many frames in each as can be."""
    frames: dict[str, int] = defaultdict(int)
    for clip in clips:
        frames[performer_of(clip)] += len(clip.joints)
    totals = {"a": 0, "b": 0}
    half: dict[str, str] = {}
    for performer in sorted(frames, key=lambda name: (-frames[name], name)):
        lighter = min(totals, key=lambda name: (totals[name], name))
        half[performer] = lighter
        totals[lighter] += frames[performer]
    return half


def of_part(clips: Sequence[Clip], part: str) -> list[Clip]:
    """The clips of one part.

    Raises:
        ValueError: no such part.
    """
    if part not in PARTS:
        raise ValueError(f"performers is {part!r}, needs one of {', '.join(PARTS)}")
    if part == "all":
        return list(clips)
    half = halves(clips)
    return [clip for clip in clips if half[performer_of(clip)] == part]


def share_of(clips: Sequence[Clip], share: float) -> tuple[list[Clip], list[Clip]]:
    """A share of the clips, and the rest: the same at every run, a larger one holds a smaller."""
    ordered = sorted(clips, key=lambda clip: (crc32(clip.clip_id.encode()), clip.clip_id))
    count = round(share * len(ordered))
    return ordered[:count], ordered[count:]
