"""People on their way out of the picture, or into it.

Of somebody who walks out a detector still finds half a body, then nothing, while a leg is to be
seen for some frames more. Whoever was cut off by the picture's edge and moved across it goes on for
as long as anything of them would be inside: guessed, and little trusted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.video.keypoints import Floats

GUESS_CONFIDENCE = 0.3  # of a keypoint that goes on beyond where it was seen
_STEPS = 4  # frames by which the way is known
_MAX_SECONDS = 0.5
_SEEN = 0.3  # confidence of keypoints that count
_SLOWEST = 0.5  # pixels a frame: slower, and nobody leaves


def going_on(keypoints: Floats, image_size: tuple[int, int], fps: float) -> Floats:
    """What follows (N, K, 3) after the last of keypoints (T, K, 3), or nothing.

    Reversed keypoints give what was before the first, the last of it first.
    """
    empty = keypoints[:0]
    steps = min(_STEPS, len(keypoints) - 1)
    if steps < 1:
        return empty
    last, before = keypoints[-1], keypoints[-1 - steps]
    sure = last[:, 2] > _SEEN
    if sure.sum() < 2 or _is_inside(last[sure], image_size).all():
        return empty
    step = np.median(last[sure, :2] - before[sure, :2], axis=0) / steps
    if np.hypot(*step) < _SLOWEST or not _leads_out(step, last[sure], image_size):
        return empty
    found: list[Floats] = []
    for count in range(1, max(1, round(_MAX_SECONDS * fps)) + 1):
        moved = last.copy()
        moved[:, :2] += count * step
        if not _is_inside(moved[sure], image_size).any():
            break
        moved[:, 2] *= GUESS_CONFIDENCE
        found.append(moved)
    return np.stack(found) if found else empty


def _is_inside(points: Floats, image_size: tuple[int, int]) -> NDArray[np.bool_]:
    places = points[:, :2]
    return np.logical_and.reduce((places >= 0) & (places < np.array(image_size)), axis=-1)


def _leads_out(step: NDArray[np.floating], points: Floats, image_size: tuple[int, int]) -> bool:
    """Whether the step goes over an edge that cuts the points off."""
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    over = ((low < 0) & (step < 0)) | ((high >= np.array(image_size)) & (step > 0))
    return bool((over & (np.abs(step) >= 0.5 * np.abs(step).max())).any())
