"""A video watched shot by shot: who is in each shot, and how its camera moves.

At a cut everything begins anew: nobody is followed into the next shot. A cut is a frame that is
unlike the one before, far more than frames of this shot usually are: in its pixels and in the
pattern that they make.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.video.camera_motion import CameraMotion
from engine.video.frames import Image, Span, VideoError, VideoInfo, VideoReader
from engine.video.keypoints import KeypointDetector
from engine.video.stretches import Person
from engine.video.tracks import Tracker

Floats = NDArray[np.float64]

_SIZE = (48, 27)  # of the pictures that are compared
_LEAST_CHANGE = 0.08  # mean difference of grey, of the whole range
_TIMES_USUAL = 4.0
_MAX_LIKENESS = 0.6  # correlation
_USUAL_FRAMES = 30


@dataclass(frozen=True, kw_only=True)
class Shot:
    """What was seen between two cuts."""

    times: Floats  # (N,) seconds of the frames, from the video's first
    people: tuple[Person, ...]
    camera: WatchedCamera


class WatchedCamera(CameraMotion):
    """A camera whose background is watched; also tells what turning doesn't explain."""

    def growth(self) -> Floats:
        """How large the background is in each frame (N,), against the first."""
        if not self._overlays:
            return np.ones(1)
        turned = np.stack(self._overlays)[:, :2, :2]
        return np.sqrt(np.abs(np.linalg.det(turned)))


class CutFinder:
    """Tells where a new shot begins. Give it the frames in order."""

    def __init__(self) -> None:
        self._before: Floats | None = None
        self._changes: deque[float] = deque(maxlen=_USUAL_FRAMES)

    def is_cut(self, image: Image) -> bool:
        """Whether this frame is the first of a shot; the video's first isn't."""
        import cv2

        small = cv2.resize(image, _SIZE, interpolation=cv2.INTER_AREA)
        here = np.asarray(small, dtype=np.float64).mean(-1) / 255.0
        before, self._before = self._before, here
        if before is None:
            return False
        change = float(np.abs(here - before).mean())
        usual = float(np.median(self._changes)) if self._changes else 0.0
        is_far = change > max(_LEAST_CHANGE, _TIMES_USUAL * usual)
        if is_far and _likeness(here, before) < _MAX_LIKENESS:
            self._changes.clear()
            return True
        self._changes.append(change)
        return False


def watch_shots(
    path: Path,
    span: Span,
    detector: KeypointDetector,
    report: Callable[[float], object],
) -> tuple[VideoInfo, list[Shot], tuple[str, ...]]:
    """Decode, find and follow everybody; also what is to be said of the file.

    Args:
        path: of the video.
        span: which part of it.
        detector: finds people.
        report: is told which share of the span is done.

    Raises:
        VideoError: the video can't be read, or has no frame in the span.
    """
    shots: list[Shot] = []
    with VideoReader(path) as reader:
        one, cuts = _Watched(detector, reader.info.fps), CutFinder()
        expected = _expected(reader.info, span)
        scale = 1.0
        for frame in reader.frames(span):
            if cuts.is_cut(frame.image):
                shots += one.ended(scale)
                one = _Watched(detector, reader.info.fps)
            one.see(frame.image, frame.time)
            scale = frame.scale
            report(min(1.0, (frame.time - span.start) / expected))
        shots += one.ended(scale)
        if not shots:
            raise VideoError(f"{path.name} has no frame from {span.start:g} s on")
        return reader.info, shots, reader.warnings(span)


class _Watched:
    """A shot under way."""

    def __init__(self, detector: KeypointDetector, fps: float) -> None:
        self._times: list[float] = []
        self._tracker = Tracker(detector, fps)
        self._camera = WatchedCamera()

    def see(self, image: Image, time: float) -> None:
        self._tracker.see(image)
        self._camera.see(image, self._tracker.seen_now())
        self._times.append(time)

    def ended(self, scale: float) -> Iterator[Shot]:
        if self._times:
            people = tuple(person.scaled(scale) for person in self._tracker.people())
            yield Shot(times=np.array(self._times), people=people, camera=self._camera)


def _expected(info: VideoInfo, span: Span) -> float:
    """Seconds that there are to see, by the header."""
    seconds = (info.seconds or 60.0) - span.start
    return max(0.04, seconds if span.seconds is None else min(seconds, span.seconds))


def _likeness(first: Floats, second: Floats) -> float:
    """Correlation of two small pictures, -1 to 1; of flat ones 0."""
    a, b = first - first.mean(), second - second.mean()
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / size if size > 1e-6 else 0.0
