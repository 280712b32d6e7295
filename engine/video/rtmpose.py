"""RTMPose through the package rtmlib, an extra: other people's networks behind our own interface.

It fetches its weights when it is first used. Source: Jiang et al., RTMPose, arXiv 2303.07399.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from engine.video.frames import Image
from engine.video.keypoints import (
    DetectorError,
    Floats,
    Region,
    Sighting,
    extent,
    without_doubles,
)

_MARGIN = 1.25
_SEEN = 0.3


class RtmPose:
    """Body and feet, 26 points."""

    layout = "halpe_26"
    num_keypoints = 26

    def __init__(self) -> None:
        """Load the networks.

        Raises:
            DetectorError: rtmlib isn't installed, or its weights can't be fetched.
        """
        try:
            import rtmlib  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise DetectorError(
                "The detector rtmpose needs the package rtmlib: pip install marey[video-rtmpose]"
            ) from error
        try:
            self._body: Any = rtmlib.BodyWithFeet(mode="balanced", backend="onnxruntime")
        except Exception as error:
            raise DetectorError(f"The weights of rtmpose can't be fetched: {error}") from error

    def detect(self, image: Image, *, near: Region | None = None) -> list[Sighting]:
        """The people in an RGB picture (H, W, 3), or only in a square part of it."""
        left, top, part = 0, 0, image
        if near is not None:
            half = near.side / 2
            left, top = max(0, int(near.x - half)), max(0, int(near.y - half))
            part = image[top : int(near.y + half), left : int(near.x + half)]
        if min(part.shape[:2]) < 8:
            return []
        places, scores = self._body(np.ascontiguousarray(part[..., ::-1]))
        found: list[Sighting] = []
        for points, score in zip(places, scores, strict=True):
            keypoints = np.column_stack((points + np.array((left, top)), np.clip(score, 0, 1)))
            found.append(_sighting(keypoints.astype(np.float32)))
        found = [one for one in found if one.presence > _SEEN]
        return without_doubles(sorted(found, key=lambda one: -one.presence))

    def follow(self, image: Image, region: Region) -> Sighting | None:
        """The person who was in the region a frame ago; None if nobody is there any more."""
        wide = Region(x=region.x, y=region.y, side=1.5 * region.side)
        found = self.detect(image, near=wide)
        middle = np.array((region.x, region.y))

        def away(one: Sighting) -> float:
            return float(np.hypot(*(middle - (one.region.x, one.region.y))))

        near = [one for one in found if away(one) < region.side / 2]
        return min(near, key=away, default=None)


def _sighting(keypoints: Floats) -> Sighting:
    left, top, right, bottom = extent(keypoints)
    side = _MARGIN * max(right - left, bottom - top, 1.0)
    return Sighting(
        keypoints=keypoints,
        presence=float(np.mean(keypoints[:, 2])),
        region=Region(x=(left + right) / 2, y=(top + bottom) / 2, side=side),
    )
