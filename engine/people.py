"""A quick look at who is in a part of a video, so that somebody can be chosen.

A few frames a second are enough to tell people apart and to say when they are there; what is
measured comes from all frames later (engine.capture). So nobody has a number here: a person is
named by a place in a frame where they are seen well, which means the same to both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.video.frames import Image, Span, VideoError, VideoReader, frame_times
from engine.video.keypoints import Floats, KeypointDetector, extent
from engine.video.stretches import Person
from engine.video.tracks import Tracker

Report = Callable[[int, int], None]

MOST_PEOPLE = 24
_LOOKS_PER_SECOND = 6.0
_LEAST_LOOKS_PER_SECOND = 3.0  # in between the same person could be anywhere
_MOST_LOOKS = 900
_AROUND = 1.25  # side of a picture, in sizes of the person
_CROWDING = 0.5  # how much a frame counts less in which another person is in front or behind


@dataclass(frozen=True, kw_only=True, eq=False)
class SeenPerson:
    """Somebody in a video. Times are seconds from the video's first frame."""

    start: float  # when the person is first seen
    end: float  # and last
    share: float  # of the frames looked at between them in which the person is seen
    height: float  # in shares of the picture's height, the median
    click_time: float  # when the person is seen best
    click_x: float  # of the person's middle there, in shares of the picture's width
    click_y: float  # in shares of its height, from the top
    picture: Image  # (S, S, 3) RGB


@dataclass(frozen=True, kw_only=True, eq=False)
class _Look:
    """The frames that were looked at."""

    times: NDArray[np.float64]  # (N,) seconds
    image_size: tuple[int, int]  # width and height of the pictures that were looked at


def find_people(
    path: Path,
    span: Span,
    detector: KeypointDetector,
    report: Report,
    *,
    picture_side: int = 128,
) -> tuple[list[SeenPerson], tuple[str, ...]]:
    """Who is in a part of a video, the largest first, and what is to be said of the file.

    Args:
        path: of the video.
        span: which part.
        detector: finds people.
        report: is told of progress; may raise to stop.
        picture_side: pixels of the square pictures.

    Raises:
        VideoError: the video can't be read, or has no such frame.
    """
    look, people, warnings = _watch(path, span, detector, report)
    ranked = sorted(people, key=lambda person: -person.size)[:MOST_PEOPLE]
    best = [_best_frame(person, people, look) for person in ranked]
    found = [
        _seen(person, index, look, _picture(path, look, person, index, picture_side))
        for person, index in zip(ranked, best, strict=True)
    ]
    return found, warnings


def _watch(
    path: Path, span: Span, detector: KeypointDetector, report: Report
) -> tuple[_Look, list[Person], tuple[str, ...]]:
    """Follow everybody through a few frames a second."""
    times = frame_times(path)
    inside = times[(times >= span.start - 1e-4) & (times < span.stop - 1e-4)]
    fps = len(inside) / max(float(np.ptp(inside)) if len(inside) else 0.0, 0.04)
    step = _step(len(inside), fps)
    seen_times: list[float] = []
    size = (1, 1)
    with VideoReader(path) as reader:
        tracker = Tracker(detector, fps / step)
        for count, frame in enumerate(reader.frames(span)):
            report(count, max(len(inside), count + 1))
            if count % step:
                continue
            tracker.see(frame.image)
            seen_times.append(frame.time)
            size = (frame.image.shape[1], frame.image.shape[0])
        warnings = reader.warnings(span)
    if not seen_times:
        raise VideoError(f"{path.name} has no frame from {span.start:g} s on")
    look = _Look(times=np.array(seen_times), image_size=size)
    return look, tracker.people(), warnings


def _step(num_frames: int, fps: float) -> int:
    """From one frame that is looked at to the next."""
    seconds = num_frames / fps
    rate = min(_LOOKS_PER_SECOND, max(_LEAST_LOOKS_PER_SECOND, _MOST_LOOKS / max(seconds, 0.1)))
    return max(1, round(fps / rate))


def _best_frame(person: Person, people: Sequence[Person], look: _Look) -> int:
    """Where among their frames a person is seen best: large, surely, whole, and alone."""
    width, height = look.image_size
    scores: list[float] = []
    for frame, points, presence in zip(
        person.frames, person.keypoints, person.presences, strict=True
    ):
        left, top, right, bottom = extent(points)
        is_whole = left >= 0 and top >= 0 and right <= width and bottom <= height
        score = (bottom - top) * float(presence) * float(points[:, 2].mean())
        crowd = (one for one in people if one is not person)
        others = (_at(one, int(frame)) for one in crowd)
        if any(one is not None and _overlap(points, one) for one in others):
            score *= 1.0 - _CROWDING
        scores.append(score * (1.0 if is_whole else 0.6))
    return int(np.argmax(scores))


def _at(person: Person, frame: int) -> Floats | None:
    index = np.flatnonzero(person.frames == frame)
    return person.keypoints[index[0]] if len(index) else None


def _overlap(first: Floats, second: Floats) -> bool:
    left, top, right, bottom = extent(first)
    low_x, low_y, high_x, high_y = extent(second)
    return min(right, high_x) > max(left, low_x) and min(bottom, high_y) > max(top, low_y)


def _seen(person: Person, index: int, look: _Look, picture: Image) -> SeenPerson:
    width, height = look.image_size
    times = look.times[person.frames]
    left, top, right, bottom = extent(person.keypoints[index])
    heights = [box[3] - box[1] for box in map(extent, person.keypoints)]
    between = int(person.frames[-1] - person.frames[0]) + 1
    return SeenPerson(
        start=float(times[0]),
        end=float(times[-1]),
        share=min(1.0, len(person.frames) / between),
        height=float(np.median(heights)) / height,
        click_time=float(times[index]),
        click_x=float(np.clip((left + right) / 2 / width, 0.0, 1.0)),
        click_y=float(np.clip((top + bottom) / 2 / height, 0.0, 1.0)),
        picture=picture,
    )


def _picture(path: Path, look: _Look, person: Person, index: int, side: int) -> Image:
    """The person cut out of the frame where they are seen best; grey beyond the picture's edge."""
    import cv2

    time = float(look.times[person.frames[index]])
    with VideoReader(path) as reader:
        frames = reader.frames(Span(start=max(0.0, time - 1e-3), seconds=10.0))
        image = next((frame.image for frame in frames), None)
    if image is None:
        return np.full((side, side, 3), 90, dtype=np.uint8)
    left, top, right, bottom = extent(person.keypoints[index])
    scale = side / (_AROUND * max(right - left, bottom - top, 8.0))
    middle = ((left + right) / 2, (top + bottom) / 2)
    if scale < 1.0:  # smooth first: a picture that is only sampled flickers
        image = cv2.GaussianBlur(image, (0, 0), 0.4 / scale)
    moved = np.array(
        (
            (scale, 0.0, side / 2 - scale * middle[0]),
            (0.0, scale, side / 2 - scale * middle[1]),
        )
    )
    cut = cv2.warpAffine(
        image,
        moved,
        (side, side),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(90.0, 90.0, 90.0),
    )
    return np.asarray(cut, dtype=np.uint8)
