"""The frames of a video file with the times at which they are shown.

Times come from the presentation time stamps of the frames: header counts and average rates lie,
and phones record at rates that vary. Frames are turned as the file says, have square pixels and no
more than MAX_SIDE pixels on their longer side. They are decoded one by one: an hour of video takes
no more memory than a second. What does not decode is left out and counted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

Image = NDArray[np.uint8]
MAX_SIDE = 1920  # pixels of a frame's longer side; larger ones are made smaller
_EARLY = 1e-4  # seconds by which a time may be early through rounding
_FILM_DIAGONAL = 43.27  # millimetres, of the film that "35 mm equivalent" speaks of
_MAX_SECONDS = 48 * 3600.0


class VideoError(ValueError):
    """A video that can't be read. The message is one line for the user."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """Which part of a video: from `start` on, for `seconds`; None is to its end."""

    start: float = 0.0
    seconds: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.start < _MAX_SECONDS:
            raise VideoError(f"The start is {self.start:g} s, needs 0 or more")
        if self.seconds is not None and not 0 < self.seconds < math.inf:
            raise VideoError(f"The length is {self.seconds:g} s, needs more than 0")

    @property
    def stop(self) -> float:
        """Where it ends, in seconds."""
        return math.inf if self.seconds is None else self.start + self.seconds


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """What the header says; lengths and rates are only expected ones."""

    path: Path
    image_size: tuple[int, int]  # width and height in pixels, as shown
    seconds: float | None
    fps: float
    focal_length: float | None  # pixels, where the camera has written it down


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One frame: `scale` times its pixels are pixels of the video as shown."""

    time: float  # seconds from the first frame of the video
    image: Image  # (H, W, 3) RGB, contiguous
    scale: float


class VideoReader:
    """An open video file. Use it in a `with`."""

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            VideoError: it isn't there, can't be read, or shows no pictures.
        """
        self.path = path
        self.num_read = 0  # frames that were given out
        self.num_lost = 0  # packets and frames that did not decode
        self.last_time = 0.0  # of the last frame that was given out
        self._is_stopped = False
        self._container = _open(path)
        try:
            self._stream = _video_stream(self._container, path)
            self._origin = _origin(self._stream)
            self._turns = 0
            self.info = self._read_info()
        except BaseException:
            self._container.close()
            raise

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._container.close()

    def frames(self, span: Span | None = None) -> Iterator[Frame]:
        """The frames of the span in the order in which they are shown."""
        span = span or Span()
        self._seek(span.start)
        before = -math.inf
        for shown in self._decoded():
            time = self._time_of(shown)
            if self._is_stopped or time >= span.stop - _EARLY:
                return
            if time < span.start - _EARLY or time <= before:
                continue
            before = time
            self.num_read += 1
            self.last_time = time
            yield self._frame(shown, time)

    def stop(self) -> None:
        """Let `frames` end with the frame at hand; another thread may ask for it."""
        self._is_stopped = True

    def warnings(self, span: Span | None = None) -> tuple[str, ...]:
        """What is to be said of the frames that were read, in lines for the user."""
        span = span or Span()
        told: list[str] = []
        if self.num_lost:
            told.append(
                f"{self.num_lost} of {self.num_lost + self.num_read} frames of {self.path.name} "
                "can't be decoded and are left out"
            )
        expected = min(span.stop, self.info.seconds or 0.0)
        missing = expected - self.last_time - 2.0 / self.info.fps
        if self.num_read and missing > max(0.25, 0.01 * expected):
            told.append(
                f"{self.path.name} breaks off: it is to last until {expected:.1f} s, "
                f"its frames end at {self.last_time:.1f} s"
            )
        return tuple(told)

    def _read_info(self) -> VideoInfo:
        first = self._first_frame()
        self._turns = round(first.rotation / 90) % 4
        width, height = _shown_size(first, self._stream)
        size = (height, width) if self._turns % 2 else (width, height)
        return VideoInfo(
            path=self.path,
            image_size=size,
            seconds=_header_seconds(self._container, self._stream),
            fps=float(self._stream.average_rate or self._stream.guessed_rate or 25),
            focal_length=_focal_length(self._container, self._stream, size),
        )

    def _first_frame(self) -> VideoFrame:
        first = next(self._decoded(), None)
        if first is None:
            raise VideoError(f"{self.path} has no frame that can be decoded")
        self._reopen()
        return first

    def _reopen(self) -> None:
        """From the beginning: not every format can seek back."""
        self._container.close()
        self._container = _open(self.path)
        self._stream = _video_stream(self._container, self.path)
        self.num_lost = 0

    def _seek(self, start: float) -> None:
        """Go to where decoding must begin for the frame at `start` to be whole."""
        self._reopen()
        if start < 1.0:
            return
        target = int(self._origin + start / float(_time_base(self._stream)))
        try:
            self._container.seek(target, stream=self._stream, backward=True)
            first = next(self._decoded(), None)
            if first is not None and self._time_of(first) <= start + _EARLY:
                self._container.seek(target, stream=self._stream, backward=True)
                self.num_lost = 0
                return
        except _errors():
            pass
        self._reopen()

    def _decoded(self) -> Iterator[VideoFrame]:
        """Frames that decode, from where the file stands."""
        broken = _errors()
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except broken:
                self.num_lost += 1
                return
            try:
                shown = packet.decode()
            except broken:
                self.num_lost += 1
                continue
            for frame in shown:
                if frame.is_corrupt:
                    self.num_lost += 1
                else:
                    yield frame

    def _time_of(self, frame: VideoFrame) -> float:
        stamp = frame.pts if frame.pts is not None else frame.dts
        if stamp is None:  # a bare stream has none: its rate is all there is
            return self.num_read / float(self._stream.guessed_rate or 25)
        return (stamp - self._origin) * float(frame.time_base or _time_base(self._stream))

    def _frame(self, frame: VideoFrame, time: float) -> Frame:
        width, height = self.info.image_size
        scale = max(1.0, max(width, height) / MAX_SIDE)
        if self._turns % 2:
            width, height = height, width
        size = (max(2, round(width / scale)), max(2, round(height / scale)))
        if (frame.width, frame.height) == size:
            pixels = frame.to_ndarray(format="rgb24")
        else:
            pixels = frame.to_ndarray(width=size[0], height=size[1], format="rgb24")
        image = pixels.astype(np.uint8, copy=False)
        if frame.interlaced_frame:
            image = _one_field(image)
        image = np.rot90(image, self._turns)
        return Frame(time=time, image=np.ascontiguousarray(image), scale=scale)


def frame_times(path: Path) -> NDArray[np.float64]:
    """Times in seconds of all frames by their packets, in the order shown. Nothing is decoded.

    Raises:
        VideoError: the file isn't there, can't be read, or shows no pictures.
    """
    stamps: list[int] = []
    with _open(path) as container:
        stream = _video_stream(container, path)
        origin, base = _origin(stream), float(_time_base(stream))
        try:
            for packet in container.demux(stream):
                stamp = packet.pts if packet.pts is not None else packet.dts
                if stamp is not None and packet.size and not packet.is_discard:
                    stamps.append(stamp)
        except _errors():
            pass  # a file that breaks off has the frames up to there
    shown = np.unique(np.array(stamps, dtype=np.int64)) - origin
    return shown.astype(np.float64) * base


def span_of_frames(path: Path, first: int, count: int) -> Span:
    """Frames `first` to `first + count`, counted from 0 in the order shown, as a span of time.

    Raises:
        VideoError: the video can't be read, or is over before the first of them.
    """
    times = frame_times(path)
    if first >= len(times):
        raise VideoError(
            f"{path.name} has {len(times)} frames, the strip begins after {first} of them"
        )
    last = min(len(times), first + count) - 1
    gap = float(np.median(np.diff(times))) if len(times) > 1 else 0.04
    end = float(times[last + 1]) if last + 1 < len(times) else float(times[last]) + gap
    start = max(0.0, float(times[first]))
    return Span(start=start, seconds=end - start)


def _errors() -> tuple[type[BaseException], ...]:
    import av

    return (av.FFmpegError, ValueError)


def _open(path: Path) -> InputContainer:
    import av

    if not path.exists():
        raise VideoError(f"There is no file {path}")
    if not path.is_file():
        raise VideoError(f"{path} is no file, needs a video")
    if path.stat().st_size == 0:
        raise VideoError(f"{path} is empty (0 bytes), needs a video")
    try:
        return av.open(str(path), metadata_errors="ignore")
    except (av.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise VideoError(f"{path} is not a video that can be read ({reason})") from error


def _video_stream(container: InputContainer, path: Path) -> VideoStream:
    found: list[Any] = list(container.streams.video)
    # a codec that this FFmpeg lacks has no context
    streams: list[VideoStream] = [one for one in found if one.codec_context is not None]
    if not streams:
        raise VideoError(f"{path} has no pictures in it, needs a video")
    stream = streams[0]
    stream.thread_type = "AUTO"
    return stream


def _time_base(stream: VideoStream) -> Fraction:
    return stream.time_base or Fraction(1, 1000)


def _origin(stream: VideoStream) -> int:
    return stream.start_time or 0


def _shown_size(frame: VideoFrame, stream: VideoStream) -> tuple[int, int]:
    """Width and height with square pixels, before the frame is turned."""
    aspect = stream.sample_aspect_ratio
    if not aspect or not 0.2 < aspect < 5:
        return frame.width, frame.height
    return round(frame.width * float(aspect)), frame.height


def _header_seconds(container: InputContainer, stream: VideoStream) -> float | None:
    import av

    if stream.duration:
        return float(stream.duration * _time_base(stream))
    return container.duration / av.time_base if container.duration else None


def _focal_length(
    container: InputContainer, stream: VideoStream, image_size: tuple[int, int]
) -> float | None:
    """Pixels, from what the camera says it would be on film."""
    found: dict[str, Any] = {**container.metadata, **stream.metadata}
    for name, value in found.items():
        words = name.lower().replace("-", "_")
        if "focal" not in words or "35" not in words:
            continue
        try:
            millimetres = float(str(value).split()[0])
        except (ValueError, IndexError):
            continue
        if 5 < millimetres < 2000:
            return film_to_pixels(millimetres, image_size)
    return None


def film_to_pixels(millimetres: float, image_size: tuple[int, int]) -> float:
    """A focal length as on 35 mm film, which has the same angle across the diagonal, in pixels."""
    return millimetres / _FILM_DIAGONAL * math.hypot(*image_size)


def _one_field(image: Image) -> Image:
    """Every second line and the means between them: the lines between are of another moment."""
    result = image.copy()
    count = (len(image) - 1) // 2
    above = image[0 : 2 * count : 2].astype(np.uint16)
    below = image[2 : 2 * count + 1 : 2].astype(np.uint16)
    result[1 : 2 * count : 2] = (above + below) // 2
    return result
