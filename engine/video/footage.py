"""A part of a video watched: who is in it, where their keypoints are, how the camera turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.video.ahead import Ahead, Behind, patiently, threads
from engine.video.camera_motion import CameraMotion
from engine.video.frames import Frame, Span, VideoError, VideoInfo, VideoReader
from engine.video.keypoints import KeypointDetector
from engine.video.second_look import read_rest
from engine.video.stretches import Person, at_click, largest
from engine.video.tracks import Tracker

Report = Callable[[int, int], None]

_FRAMES_AHEAD, _FRAMES_LATE = 3, 3  # that are decoded, or wait for their background
_BACKGROUND_FPS = 30.0  # about as many frames a second tell how the camera turns
_COMMON_RATES = (23.976, 24.0, 25.0, 29.97, 30.0, 48.0, 50.0, 59.94, 60.0, 120.0, 240.0)
MOST_FPS, LEAST_FPS = 60.0, 15.0  # of keypoints on an even clock


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The one person of a video whose motion is wanted."""

    person: int = -1  # -1: the largest; 0, 1 …: in the order in which they appear
    click: tuple[float, float, float] | None = None  # seconds of the video, x and y in pixels

    def among(self, people: Sequence[Person], times: NDArray[np.float64]) -> int | None:
        """The number of the person; None if there is nobody of that number or at that place."""
        if self.click is not None:
            seconds, x, y = self.click
            return at_click(people, int(np.abs(times - seconds).argmin()), x, y)
        if self.person < 0:
            return largest(people) if people else None
        return self.person if self.person < len(people) else None


@dataclass(frozen=True, kw_only=True)
class Footage:
    """What was seen in a span of a video."""

    info: VideoInfo
    span: Span
    times: NDArray[np.float64]  # (N,) seconds of the frames, from the video's first
    people: tuple[Person, ...]  # in the order in which they appear
    layout: str
    camera: CameraMotion | None
    warnings: tuple[str, ...]
    seconds_taken: float
    detector_share: float  # of the time taken

    @property
    def fps(self) -> float:
        """The rate at which most frames follow each other, as an ordinary one if it is near."""
        return frame_rate(self.times, self.info.fps)


def watch(
    path: Path,
    span: Span,
    detector: KeypointDetector,
    report: Report,
    *,
    with_camera: bool = True,
    wanted: Wanted | None = None,
) -> Footage:
    """Decode, find and follow everybody.

    Args:
        path: of the video.
        span: which part of it.
        detector: finds people.
        report: is told of progress in frames after each of them; may raise to stop.
        with_camera: whether the background is watched.
        wanted: the only person who needs keypoints of every frame: of others they lie between those
            of frames before and after, which is faster.

    Raises:
        VideoError: the video can't be read, or has no frame in the span.
    """
    began = time.perf_counter()
    sighted = _Watching(
        VideoReader(path), span, detector, report, with_camera=with_camera, wanted=wanted
    )
    sighted.run()
    times, reader, tracker = sighted.times, sighted.reader, sighted.tracker
    if not times:
        raise VideoError(
            f"{path.name} has no frame from {span.start:g} s on"
            + ("" if span.seconds is None else f" for {span.seconds:g} s")
        )
    people = patiently(lambda _: tracker.people(), lambda step, steps: sighted.tell())
    if wanted is not None:
        people = sighted.with_rest(people)
    taken = time.perf_counter() - began
    return Footage(
        info=reader.info,
        span=span,
        times=np.array(times),
        people=tuple(person.scaled(sighted.scale) for person in people),
        layout=detector.layout,
        camera=sighted.camera,
        warnings=reader.warnings(span),
        seconds_taken=taken,
        detector_share=sighted.detecting / max(taken, 1e-9),
    )


class _Watching:
    """The frames of a span on their way: decoded in one thread, looked at here, and the background
    followed in another."""

    def __init__(
        self,
        reader: VideoReader,
        span: Span,
        detector: KeypointDetector,
        report: Report,
        *,
        with_camera: bool,
        wanted: Wanted | None,
    ) -> None:
        self.reader, self._span, self._report = reader, span, report
        self.times: list[float] = []
        self.detecting = 0.0  # seconds
        self.scale = 1.0
        every = max(1, round(reader.info.fps / _BACKGROUND_FPS))
        self.camera = CameraMotion(every=every) if with_camera else None
        self._detector, self._wanted = detector, wanted
        self._click = None if wanted is None else wanted.click  # until its frame has come
        self._rest = (0, 1)  # frames read afterwards, and how many there are
        self.tracker = Tracker(detector, reader.info.fps)

    def run(self) -> None:
        """See every frame."""
        num_parallel = int(getattr(self._detector, "num_parallel", 1))
        with self.reader as reader, threads(1, "camera") as one, threads(2, "people") as two:
            self.tracker = Tracker(
                self._detector,
                reader.info.fps,
                pool=two if num_parallel > 1 else None,
                wanted=None if self._wanted is None else self._wanted.person,
            )
            behind = Behind(one, most=_FRAMES_LATE)
            frames = reader.frames(self._span)
            ahead = Ahead(frames, most=_FRAMES_AHEAD, stop=reader.stop, waits=self.tell)
            with ahead:
                for frame in ahead:
                    self.tell()
                    self._see(frame, behind)
            behind.finish()
            if self.camera is not None:
                self.camera.finish()

    def tell(self) -> None:
        expected = _expected(self.reader.info, self._span)
        step, steps = len(self.times), max(expected, len(self.times) + 1)
        if self._may_read_again:
            self._report(step + int(0.5 * step * self._rest[0] / self._rest[1]), steps + steps // 2)
        else:
            self._report(step, steps)

    def with_rest(self, people: Sequence[Person]) -> list[Person]:
        """The people, the wanted one read in every frame."""
        assert self._wanted is not None
        found = list(people)
        number = self._wanted.among([one.scaled(self.scale) for one in found], np.array(self.times))
        if number is None:
            return found
        started = time.perf_counter()

        def tell_rest(step: int, steps: int) -> None:
            self._rest = (step, max(steps, 1))
            self.tell()

        times = np.array(self.times)
        path = self.reader.info.path
        found[number] = read_rest(path, times, self._detector, found[number], tell_rest)
        self.detecting += time.perf_counter() - started
        return found

    @property
    def _may_read_again(self) -> bool:
        """Whether it isn't the largest person who is wanted, whom following takes for granted."""
        wanted = self._wanted
        return wanted is not None and (wanted.click is not None or wanted.person >= 0)

    def _see(self, frame: Frame, behind: Behind) -> None:
        started = time.perf_counter()
        self.tracker.see(frame.image)
        self.detecting += time.perf_counter() - started
        if self.camera is not None:
            seeing, people = self.camera, self.tracker.seen_now()
            behind.call(lambda: seeing.see(frame.image, people))
        self.times.append(frame.time)
        self.scale = frame.scale
        if self._click is not None and frame.time >= self._click[0] - 0.5 / self.reader.info.fps:
            self.tracker.want(self._click[1] / frame.scale, self._click[2] / frame.scale)
            self._click = None


def frame_rate(times: NDArray[np.float64], otherwise: float) -> float:
    """Frames per second by the times of frames."""
    if len(times) < 2:
        return otherwise if 0 < otherwise < 1000 else 25.0
    rate = 1.0 / max(float(np.median(np.diff(times))), 1e-3)
    near = min(_COMMON_RATES, key=lambda one: abs(rate / one - 1))
    return near if abs(rate / near - 1) < 0.002 else round(rate, 3)


def clock_rate(fps: float) -> float:
    """The rate of the result: the video's, or a part or multiple of it that serves motion."""
    if fps > MOST_FPS * 1.01:
        return fps / np.ceil(fps / MOST_FPS)
    if fps < LEAST_FPS:
        return fps * np.ceil(LEAST_FPS / fps)
    return fps


def on_clock(
    values: NDArray[np.float32], times: NDArray[np.float64], clock: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Keypoints (N, K, 3) at times (N,), at the times of a clock (T,).

    Between two frames that both have a keypoint it is in between; where only one has it, it counts
    as long as that one is the nearer. A gap in the video stays one.
    """
    if len(times) == 1:
        return np.repeat(values, len(clock), axis=0)
    after = np.clip(np.searchsorted(times, clock), 1, len(times) - 1)
    before = after - 1
    gap = times[after] - times[before]
    part = np.clip((clock - times[before]) / np.maximum(gap, 1e-9), 0.0, 1.0)[:, None, None]
    first, second = values[before], values[after]
    between = (1 - part) * first + part * second
    between[..., 2] = np.minimum(first[..., 2], second[..., 2])
    nearest = np.where(part < 0.5, first, second)
    both = (first[..., 2:] > 0) & (second[..., 2:] > 0)
    usual = float(np.median(np.diff(times)))
    is_gap = (gap > max(4 * usual, 0.25))[:, None, None] & (part > 0) & (part < 1)
    result = np.where(both & ~is_gap, between, np.where(is_gap, 0.0, nearest))
    return result.astype(np.float32)


def _expected(info: VideoInfo, span: Span) -> int:
    """About how many frames there will be."""
    seconds = (info.seconds or 0.0) - span.start
    if span.seconds is not None:
        seconds = min(seconds, span.seconds) if info.seconds else span.seconds
    return max(1, round(seconds * info.fps))
