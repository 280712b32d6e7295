"""Videos of the odd kinds, made of a few pictures."""

from __future__ import annotations

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


def turn(movie: Path) -> Path:
    """Write into an mp4 that it is to be shown turned by a quarter."""
    content = movie.read_bytes()
    upright, turned = (struct.pack(">9i", *matrix) for matrix in (UPRIGHT, QUARTER_TURN))
    place = content.index(upright, content.index(b"tkhd"))
    movie.write_bytes(content[:place] + turned + content[place + len(turned) :])
    return movie
