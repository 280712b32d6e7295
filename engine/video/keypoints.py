"""Where people's joints are in a picture. Detectors plug in here (`KeypointDetector`).

A sighting is one person in one frame: the keypoints of the detector's own layout, in pixels, with
confidence. Nothing is smoothed: that is for whoever sees all frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.video.frames import Image

Floats = NDArray[np.float32]


class DetectorError(RuntimeError):
    """A detector or its files are missing. The message is one line for the user."""


class KeypointFileError(ValueError):
    """Keypoint files that can't be used. The message is one line for the user."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Region:
    """A square that holds a person: centre and side in pixels, turned by `angle` radians."""

    x: float
    y: float
    side: float
    angle: float = 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Sighting:
    """One person in one frame."""

    keypoints: Floats  # (K, 3) pixels and confidence 0 to 1
    presence: float  # how sure it is that somebody is there
    region: Region  # where to look for the same person in the next frame
    follows: int = -1  # which of those known before it is, where the detector can tell


class KeypointDetector(Protocol):
    """Finds people in pictures."""

    layout: str  # of engine.motion.keypoint_layout
    num_keypoints: int

    def detect(self, image: Image, *, near: Region | None = None) -> list[Sighting]:
        """The people in an RGB picture (H, W, 3), or only in a part of it."""
        ...

    def follow(self, image: Image, region: Region) -> Sighting | None:
        """The person who was in the region a frame ago; None if nobody is there any more."""
        ...


def extent(keypoints: Floats, *, least: float = 0.3) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of the keypoints (K, 3) that are seen at all."""
    seen = keypoints[keypoints[:, 2] > least]
    if len(seen) == 0:
        seen = keypoints
    low, high = seen[:, :2].min(0), seen[:, :2].max(0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def distance(first: Floats, second: Floats) -> float:
    """How far two poses (K, 3) are apart: the median over keypoints, in sizes of the larger one."""
    boxes = (extent(first), extent(second))
    size = max(max(right - left, bottom - top) for left, top, right, bottom in boxes)
    both = (first[:, 2] > 0.3) & (second[:, 2] > 0.3)
    if both.sum() < 4:
        both = np.ones(len(first), dtype=bool)
    apart = np.linalg.norm(first[both, :2] - second[both, :2], axis=-1)
    return float(np.median(apart)) / max(size, 1.0)


def without_doubles(sightings: Sequence[Sighting], *, least: float = 0.15) -> list[Sighting]:
    """The sightings without those of a person who is there already; earlier ones count."""
    kept: list[Sighting] = []
    for one in sightings:
        if all(distance(one.keypoints, other.keypoints) > least for other in kept):
            kept.append(one)
    return kept
