"""Made videos of a textured wall, and a detector that sees somebody before any that is lit."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from engine.video.keypoints import Region, Sighting
from trainer.data.video_corpus import VideoWork
from trainer.data.video_views import MadeVideo, read_video

Image = NDArray[np.uint8]
SIZE = (320, 240)  # width and height
_READING_S = 0.3  # of a made video, at least: so that a test can come in between


def wall(seed: int, *, zoom: float = 1.0, shift: float = 0.0) -> Image:
    """A texture, larger by zoom, moved by shift pixels."""
    rough = np.random.default_rng(seed).integers(40, 255, (15, 20, 3), dtype=np.uint8)
    width, height = SIZE
    whole = cv2.resize(rough, SIZE, interpolation=cv2.INTER_NEAREST)
    moved = np.array(
        ((zoom, 0, (1 - zoom) * width / 2 + shift), (0, zoom, (1 - zoom) * height / 2))
    )
    return np.asarray(cv2.warpAffine(whole, moved, SIZE, borderMode=cv2.BORDER_REFLECT), np.uint8)


def dark() -> Image:
    """Where nobody is."""
    return np.zeros((SIZE[1], SIZE[0], 3), np.uint8)


def write_video(path: Path, pictures: Sequence[Image], *, fps: int = 20) -> Path:
    """A small mp4."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height = SIZE
        stream.pix_fmt, stream.bit_rate = "yuv420p", 2_000_000
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


class WallDetector:
    """Somebody stands in the middle of every picture that isn't dark, and lifts a hand."""

    layout = "blazepose_33"
    num_keypoints = 33

    def __init__(self, *, height: float = 160.0) -> None:
        self._height = height

    def detect(self, image: Image, *, near: Region | None = None) -> list[Sighting]:
        found = self.follow(image, Region(x=160.0, y=120.0, side=200.0))
        return [] if found is None else [found]

    def follow(self, image: Image, region: Region) -> Sighting | None:
        if image.mean() < 20:
            return None
        places = _BODY * self._height + np.array((160.0, 120.0))
        points = np.column_stack((places, np.full(33, 0.95)))
        region = Region(x=160.0, y=120.0, side=1.25 * self._height)
        return Sighting(keypoints=points.astype(np.float32), presence=1.0, region=region)


def read_wall_work(work: VideoWork, report: Callable[[float], None]) -> MadeVideo:
    """What `prepare video` spreads, with the made detector; other processes find it by its name."""
    time.sleep(_READING_S)
    return read_video(work.source, work.settings, WallDetector(), report)


# number, x and y; the point after each is its opposite
_LEFT_POINTS = (
    (11, 0.12, -0.3),
    (13, 0.17, -0.15),
    (15, 0.18, 0.0),
    (17, 0.19, 0.04),
    (19, 0.19, 0.05),
    (21, 0.18, 0.04),
    (23, 0.08, 0.0),
    (25, 0.09, 0.25),
    (27, 0.09, 0.46),
    (29, 0.09, 0.48),
    (31, 0.12, 0.5),
)


def _body() -> NDArray[np.float64]:
    """33 points of somebody who stands, of height 1 around the middle."""
    places = np.zeros((33, 2))
    places[:11] = np.random.default_rng(0).normal((0.0, -0.45), 0.02, (11, 2))
    for left, x, y in _LEFT_POINTS:
        places[left], places[left + 1] = (x, y), (-x, y)
    return places


_BODY = _body()
