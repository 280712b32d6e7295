"""Halves of performers, and shares of clips."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.data.corpus import Clip
from trainer.data.performers import halves, of_part, performer_of, share_of


def clip(number: int, performer: str, frames: int, source: str = "s") -> Clip:
    joints = np.zeros((frames, 22, 3), np.float32)
    return Clip(
        clip_id=f"A{number}", joints=joints, captions=(), source=source, performer=performer
    )


CLIPS = [clip(i, f"p{i % 5}", 20 + 10 * (i % 7)) for i in range(40)]
CLIPS += [clip(100 + i, "", 30, source) for i, source in enumerate("xxyy")]


def test_each_performer_is_in_one_half_and_the_halves_are_of_like_length() -> None:
    first, second = of_part(CLIPS, "a"), of_part(CLIPS, "b")
    assert len(first) + len(second) == len(CLIPS) == len(of_part(CLIPS, "all"))
    assert not {performer_of(c) for c in first} & {performer_of(c) for c in second}
    frames = [sum(len(c.joints) for c in part) for part in (first, second)]
    assert max(frames) < 1.4 * min(frames)


def test_a_source_that_names_nobody_counts_as_one_performer() -> None:
    half = halves(CLIPS)
    assert {"someone in x", "someone in y"} <= set(half)


def test_a_larger_share_holds_a_smaller_whatever_the_order() -> None:
    small, rest = share_of(CLIPS, 0.25)
    large, _ = share_of(CLIPS[::-1], 0.5)
    assert {c.clip_id for c in small} < {c.clip_id for c in large}
    assert len(small) == 11
    assert len(rest) == 33


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(ValueError, match="needs one of"):
        of_part(CLIPS, "c")
