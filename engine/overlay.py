"""A capture drawn over its video: what the detector sees, and where the motion's joints fall.

As a movie (.mp4), or as a sheet of pictures (.png). Keypoints are dots, pale where they are unsure;
the motion is lines: green on the person's left, orange on the right, white between.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.capture import Capture
from engine.motion.camera import units_to_pixels
from engine.video.footage import Footage, Report
from engine.video.frames import Frame, Image, VideoReader

ENDINGS = (".mp4", ".png")
_LEFT, _RIGHT, _MIDDLE, _DOT = (60, 220, 60), (255, 140, 0), (255, 255, 255), (40, 120, 255)
_MAX_SIDE = 1280  # pixels of the movie's longer side
_SHEET_PICTURES, _SHEET_COLUMNS, _SHEET_WIDTH = 24, 6, 400
_CLOCK = Fraction(1, 90_000)
# for looking at: a slower encoder would take longer than drawing does
_FAST = {"libx264": {"preset": "veryfast", "crf": "20"}}
_EARLY = 1e-4  # seconds by which a time may be early through rounding

Writer = Callable[[Path, Footage, Capture, Report], None]


class OverlayError(ValueError):
    """The overlay can't be written. The message is one line for the user."""


def write_overlay(
    path: Path, footage: Footage, capture: Capture, report: Report | None = None
) -> None:
    """Decode the footage again and write it with the capture drawn over it.

    report is told of progress in frames, and may raise to stop.

    Raises:
        OverlayError: another ending, or the file can't be written.
        VideoError: the video can't be read any more.
    """
    if path.suffix.lower() not in ENDINGS:
        raise OverlayError(f"{path} ends in {path.suffix!r}, needs {' or '.join(ENDINGS)}")
    write = _write_movie if path.suffix.lower() == ".mp4" else _write_sheet
    _write(write, path, footage, capture, report or _silent)


def _write(write: Writer, path: Path, footage: Footage, capture: Capture, report: Report) -> None:
    """Write beside the path first, so that no half overlay stays."""
    partial = path.with_name(f"{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        write(partial, footage, capture, report)
        partial.replace(path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise OverlayError(f"{path} can't be written ({reason})") from error
    finally:
        partial.unlink(missing_ok=True)


def _silent(_step: int, _num_steps: int) -> None:
    """Nobody wants to know."""


def drawn_frames(footage: Footage, capture: Capture) -> Iterator[tuple[float, Image]]:
    """Times and pictures of the footage with the capture over them."""
    points = _seen_joints(capture)
    with VideoReader(footage.info.path) as reader:
        for frame in reader.frames(footage.span):
            index = round((frame.time - capture.start) * capture.motion.fps)
            index = min(max(index, 0), capture.motion.num_frames - 1)
            yield frame.time, _drawn(frame, capture, points[index], index)


def _seen_joints(capture: Capture) -> NDArray[np.float64]:
    """(T, 22, 2) pixels; not finite behind the camera."""
    motion = capture.motion
    assert motion.camera is not None
    places, depth = motion.camera.project(motion.joints())
    pixels = units_to_pixels(places, capture.image_size)
    return torch.where(depth[..., None] > 0.1, pixels, torch.nan).double().cpu().numpy()


def _drawn(frame: Frame, capture: Capture, joints: NDArray[np.float64], index: int) -> Image:
    import cv2

    image = frame.image.copy()
    width = max(1, round(max(image.shape) / 480))
    skeleton = capture.motion.skeleton
    keypoints = capture.keypoints[index]
    is_seen = bool((keypoints[:, 2] > 0).any())
    for joint, parent in enumerate(skeleton.parents):
        ends = joints[[joint, parent]] / frame.scale
        if parent < 0 or not is_seen or not np.isfinite(ends).all():
            continue
        name = skeleton.joint_names[joint]
        colour = {"left": _LEFT, "right": _RIGHT}.get(name.split("_")[0], _MIDDLE)
        start, end = (tuple(int(value) for value in np.clip(one, -9999, 9999)) for one in ends)
        cv2.line(image, start, end, colour, width, cv2.LINE_AA)
    for x, y, confidence in keypoints:
        if confidence > 0:
            place = (int(x / frame.scale), int(y / frame.scale))
            colour = _DOT if confidence > 0.5 else (150, 150, 150)
            cv2.circle(image, place, width + 1, colour, -1, cv2.LINE_AA)
    return image


def write_even_overlay(
    path: Path,
    footage: Footage,
    capture: Capture,
    report: Report,
    *,
    start: float,
    fps: float,
    num_frames: int,
) -> None:
    """Write an overlay movie of num_frames at an even rate: what is shown at start, start + 1 / fps
    and so on, in seconds of the video.

    Raises:
        OverlayError: the file can't be written.
        VideoError: the video can't be read any more.
    """

    def write(partial: Path, footage: Footage, capture: Capture, report: Report) -> None:
        moments = start + np.arange(num_frames) / fps
        rate = Fraction(fps).limit_denominator(10_000)
        shown = _shown_at(moments, drawn_frames(footage, capture))
        _encode(partial, _reported(shown, num_frames, report), rate, 1 / rate)

    _write(write, path, footage, capture, report)


def _shown_at(
    moments: NDArray[np.float64], pictures: Iterator[tuple[float, Image]]
) -> Iterator[tuple[int, Image]]:
    """The picture that is shown at each moment: the last that has begun, else the first."""
    shown: Image | None = None
    number = 0
    for time, image in pictures:
        while shown is not None and number < len(moments) and moments[number] < time - _EARLY:
            yield number, shown
            number += 1
        shown = image
    while shown is not None and number < len(moments):
        yield number, shown
        number += 1


def _write_movie(path: Path, footage: Footage, capture: Capture, report: Report) -> None:
    shown = (
        (round((time - capture.start) / float(_CLOCK)), image)
        for time, image in drawn_frames(footage, capture)
    )
    rate = Fraction(footage.fps).limit_denominator()
    _encode(path, _reported(shown, len(footage.times), report), rate, _CLOCK)


def _reported(
    pictures: Iterator[tuple[int, Image]], num_pictures: int, report: Report
) -> Iterator[tuple[int, Image]]:
    for number, picture in enumerate(pictures):
        report(number, num_pictures)
        yield picture


def _encode(
    path: Path, pictures: Iterator[tuple[int, Image]], rate: Fraction, clock: Fraction
) -> None:
    """Write pictures that are shown at so many ticks of a clock."""
    import av
    import cv2

    codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
    with av.open(str(path), "w") as container:
        stream: Any = None
        for ticks, image in pictures:
            height, width = image.shape[:2]
            scale = min(1.0, _MAX_SIDE / max(width, height))
            size = (int(width * scale) // 2 * 2, int(height * scale) // 2 * 2)
            if stream is None:
                stream = container.add_stream(codec, rate=rate, options=_FAST.get(codec, {}))
                stream.width, stream.height = size
                stream.pix_fmt = "yuv420p"
                stream.codec_context.time_base = clock
            small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(small, dtype=np.uint8), format="rgb24"
            )
            frame.time_base = clock
            frame.pts = ticks
            container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode())


def _write_sheet(path: Path, footage: Footage, capture: Capture, report: Report) -> None:
    import cv2

    every = max(1, len(footage.times) // _SHEET_PICTURES)
    pictures: list[Image] = []
    for number, (time, image) in enumerate(drawn_frames(footage, capture)):
        report(number, len(footage.times))
        if number % every or len(pictures) >= _SHEET_PICTURES:
            continue
        scale = _SHEET_WIDTH / image.shape[1]
        small = np.asarray(cv2.resize(image, None, fx=scale, fy=scale), dtype=np.uint8)
        cv2.putText(small, f"{time:.2f} s", (6, 18), 0, 0.5, _MIDDLE, 1, cv2.LINE_AA)
        pictures.append(small)
    columns = min(_SHEET_COLUMNS, len(pictures))
    while len(pictures) % columns:
        pictures.append(np.zeros_like(pictures[0]))
    rows = [np.hstack(pictures[i : i + columns]) for i in range(0, len(pictures), columns)]
    sheet = cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR)
    coded = cv2.imencode(".png", sheet)[1]
    path.write_bytes(coded.tobytes())
