"""Which captions count as right for which clips."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.data.actions import actions_of
from trainer.data.corpus import Clip


def hit_matrix(clips: Sequence[Clip], captions: Sequence[str]) -> NDArray[np.bool_]:
    """(clips, captions): True where a caption names the action of one of the clip's own captions.

    A caption without a known action is right for the clips that have that very caption only.
    """
    asked = [actions_of(caption) for caption in captions]
    hits = np.zeros((len(clips), len(captions)), dtype=bool)
    for row, clip in enumerate(clips):
        own = {actions for caption in clip.captions if (actions := actions_of(caption))}
        words = set(clip.captions)
        for column, (caption, actions) in enumerate(zip(captions, asked, strict=True)):
            hits[row, column] = actions in own or caption in words
    return hits
