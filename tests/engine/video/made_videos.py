"""Videos of the odd kinds, made of a few pictures; and keypoints of somebody in a video."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import Interpolation
from numpy.typing import NDArray

from engine.video.frames import Span, VideoReader

Image = NDArray[np.uint8]
_ONE = 1 << 16  # in the fixed-point numbers of an mp4's matrix
UPRIGHT = (_ONE, 0, 0, 0, _ONE, 0, 0, 0, 1 << 30)
QUARTER_TURN = (0, _ONE, 0, -_ONE, 0, 0, 0, 0, 1 << 30)  # to be shown turned clockwise
# COCO's 17 points of somebody who stands, 100 pixels high
STANDING = [
    *((0, -50), (2, -52), (-2, -52), (4, -51), (-4, -51)),  # nose, eyes, ears
    *((10, -38), (-10, -38), (14, -20), (-14, -20), (15, -4), (-15, -4)),  # arms
    *((7, 0), (-7, 0), (7, 24), (-7, 24), (7, 46), (-7, 46)),  # legs
]


def pictures(movie: Path, count: int) -> list[Image]:
    """The first pictures of a movie."""
    with VideoReader(movie) as reader:
        return [frame.image for frame, _ in zip(reader.frames(Span()), range(count), strict=False)]


def write_movie(
    path: Path,
    images: Sequence[Image],
    times: Sequence[float],
    *,
    size: tuple[int, int] | None = None,
    codec: str = "mpeg4",
    options: dict[str, str] | None = None,
) -> Path:
    """A movie that shows each picture at its time, in seconds."""
    height, width = images[0].shape[:2]
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height = size or (width, height)
        stream.pix_fmt, stream.bit_rate = "yuv420p", 8_000_000
        if codec == "mpeg4":
            stream.codec_context.time_base = Fraction(1, 10_000)
        base = stream.codec_context.time_base or Fraction(1, 25)
        for image, time in zip(images, times, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame = frame.reformat(
                width=stream.width, height=stream.height, interpolation=Interpolation.BILINEAR
            )
            frame.time_base, frame.pts = base, round(time / base)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_swaying(folder: Path, *, count: int, fps: float) -> tuple[Path, Path]:
    """A grey movie with nobody in it, and a file of the keypoints of somebody who sways."""
    images = [np.full((240, 320, 3), 90, dtype=np.uint8)] * count
    movie = write_movie(folder / "grey.mp4", images, [number / fps for number in range(count)])
    people: list[dict[str, Any]] = []
    for number in range(count):
        points = np.array(STANDING) + np.array((160 + 20 * np.sin(number / 5), 130))
        listed = np.column_stack((points, np.full(17, 0.9))).reshape(-1).tolist()
        people.append({"image_id": number, "keypoints": listed})
    keypoints = folder / "person.json"
    keypoints.write_text(json.dumps(people), encoding="utf-8")
    return movie, keypoints


def turn(movie: Path) -> Path:
    """Write into an mp4 that it is to be shown turned by a quarter."""
    content = movie.read_bytes()
    upright, turned = (struct.pack(">9i", *matrix) for matrix in (UPRIGHT, QUARTER_TURN))
    place = content.index(upright, content.index(b"tkhd"))
    movie.write_bytes(content[:place] + turned + content[place + len(turned) :])
    return movie
