"""A person read in the frames in which nobody has looked.

Who isn't thought to be wanted is looked at a few times a second. If it turns out that they are, the
video is decoded once more, and they are read in the frames between: where they were before and
after is known, so frames don't wait for each other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.video.ahead import Ahead, threads
from engine.video.frames import Frame, Span, VideoReader
from engine.video.keypoints import Floats, KeypointDetector, Region, Sighting, distance
from engine.video.stretches import Person

_FRAMES_AHEAD = 3
_AT_ONCE = 2  # frames that are read side by side
_MAX_OFF = 0.25  # sizes that a reading may be off what lies between its neighbours
_UNSURE = 0.5  # of its confidence that a keypoint keeps which couldn't be read
_JUST_AFTER = 5e-4  # seconds: the last frame is one of them


def read_rest(
    path: Path,
    times: NDArray[np.float64],
    detector: KeypointDetector,
    person: Person,
    report: Callable[[int, int], None],
) -> Person:
    """The person with the frames read that were guesses.

    Args:
        path: of the video.
        times: (N,) seconds of the frames that were seen.
        detector: that has found the person.
        person: with keypoints in pixels of the pictures as they are decoded.
        report: is told of progress in frames; may raise to stop.

    Raises:
        VideoError: the video can't be read any more.
    """
    if not person.unread:
        return person
    places = {int(person.frames[index]): (index, region) for index, region in person.unread}
    first, last = min(places), max(places)
    start = float(times[first])
    span = Span(start=max(0.0, start), seconds=float(times[last]) - start + _JUST_AFTER)
    rest = _Rest(person, places, detector)
    count = int(getattr(detector, "num_parallel", 1))
    done = 0

    def tell() -> None:
        report(done, last - first + 1)

    with VideoReader(path) as reader, threads(min(count, _AT_ONCE), "people") as pool:
        frames = reader.frames(span)
        with Ahead(frames, most=_FRAMES_AHEAD, stop=reader.stop, waits=tell) as ahead:
            for frame in ahead:
                tell()
                done += 1
                number = int(np.abs(times - frame.time).argmin())
                if number in places:
                    rest.late.append((number, pool.submit(rest.read, number, frame)))
                while len(rest.late) > count:
                    rest.take()
        while rest.late:
            rest.take()
    return replace(person, keypoints=rest.keypoints, presences=rest.presences, unread=())


class _Rest:
    def __init__(
        self, person: Person, places: dict[int, tuple[int, Region]], detector: KeypointDetector
    ) -> None:
        self.keypoints, self.presences = person.keypoints.copy(), person.presences.copy()
        self.late: deque[tuple[int, Future[Sighting | None]]] = deque()
        self._places, self._detector = places, detector
        for index, _ in places.values():
            self.keypoints[index, :, 2] *= _UNSURE

    def read(self, number: int, frame: Frame) -> Sighting | None:
        """What is seen of the person in a frame."""
        index, region = self._places[number]
        sighting = self._detector.follow(frame.image, region)
        between: Floats = self.keypoints[index]
        if sighting is None or distance(sighting.keypoints, between) > _MAX_OFF:
            return None
        return sighting

    def take(self) -> None:
        """Wait for the earliest reading."""
        number, found = self.late.popleft()
        sighting, (index, _) = found.result(), self._places[number]
        if sighting is not None:
            self.keypoints[index] = sighting.keypoints
            self.presences[index] = sighting.presence
