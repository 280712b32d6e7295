"""What somebody wears: the colours of the trunk, to tell people apart where bodies can't."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.video.frames import Image
from engine.video.keypoints import Floats

_GRID = 12  # samples along each side of the trunk
_LIGHT_BINS, _HUE_BINS = 6, 12
_MIN_CONFIDENCE = 0.4
# A difference from which clothes are another person's: of one person in a street they differ by
# 0.1, now and then by 0.27, of two by 0.4 and more.
UNLIKE = 0.41


def clothes(image: Image, keypoints: Floats, corners: Sequence[int]) -> Floats | None:
    """A histogram of the trunk's colours, which sums to 1; None if the trunk isn't seen.

    corners are the keypoints of left shoulder, right shoulder, right hip, left hip.
    """
    quad = keypoints[list(corners)]
    if (quad[:, 2] < _MIN_CONFIDENCE).any():
        return None
    part = np.linspace(0.15, 0.85, _GRID)
    across, down = np.meshgrid(part, part)
    across, down = across[..., None], down[..., None]
    top = quad[0, :2] * (1 - across) + quad[1, :2] * across
    bottom = quad[3, :2] * (1 - across) + quad[2, :2] * across
    places = np.round(top * (1 - down) + bottom * down).astype(np.int64).reshape(-1, 2)
    inside = (places >= 0).all(-1) & (places < (image.shape[1], image.shape[0])).all(-1)
    if inside.mean() < 0.5:
        return None
    return _histogram(image[places[inside, 1], places[inside, 0]].astype(np.float64) / 255.0)


def difference(first: Floats | None, second: Floats | None) -> float:
    """How unlike two histograms are, 0 to 1; in between if one isn't known."""
    if first is None or second is None:
        return 0.4
    return float(np.sqrt(max(0.0, 1.0 - np.sqrt(first * second).sum())))


def _histogram(colours: NDArray[np.float64]) -> Floats:
    """Of RGB colours (N, 3): hue and colourfulness, and light. Soft edges between the bins."""
    light = colours.mean(-1)
    # two axes across the grey one: their angle is the hue
    red = colours[:, 0] - (colours[:, 1] + colours[:, 2]) / 2
    green = (colours[:, 1] - colours[:, 2]) * np.sqrt(3) / 2
    chroma = np.clip(np.hypot(red, green) * 3, 0.0, 1.0)
    hue = (np.arctan2(green, red) / (2 * np.pi) % 1.0) * _HUE_BINS
    hues = _soft_bins(hue, chroma, _HUE_BINS, wraps=True)
    lights = _soft_bins(light * (_LIGHT_BINS - 1), np.ones_like(light), _LIGHT_BINS, wraps=False)
    whole = np.concatenate((hues, lights))
    return (whole / whole.sum()).astype(np.float32)


def _soft_bins(
    values: NDArray[np.float64], weights: NDArray[np.float64], count: int, *, wraps: bool
) -> NDArray[np.float64]:
    below = np.floor(values).astype(np.int64)
    part = values - below
    result = np.zeros(count)
    for index, share in ((below, 1 - part), (below + 1, part)):
        bins = index % count if wraps else np.clip(index, 0, count - 1)
        np.add.at(result, bins, share * weights)
    return result
