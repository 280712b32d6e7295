"""Frames by presentation time, and one line for what is no video."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from engine.video.frames import Span, VideoError, VideoReader, frame_times, span_of_frames

TIMES = [0.0, 0.04, 0.08, 0.2, 0.21, 0.4, 0.44, 0.48]  # a rate that varies


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    path = tmp_path / "movie.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 62, 34, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for number, time in enumerate(TIMES):
            picture = np.full((34, 62, 3), 20 * number, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(1000 * time), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_frames_come_with_the_times_at_which_they_are_shown(movie: Path) -> None:
    with VideoReader(movie) as reader:
        frames = list(reader.frames())
        assert reader.info.image_size == (62, 34)
        assert reader.warnings() == ()

    assert [frame.time for frame in frames] == pytest.approx(TIMES, abs=2e-3)
    # mpeg4 is lossy: a grey level is kept to a few units
    assert [int(frame.image.mean()) for frame in frames] == pytest.approx(
        [20 * number for number in range(len(TIMES))], abs=6
    )
    assert all(frame.image.flags.c_contiguous for frame in frames)


def test_a_span_has_exactly_its_frames(movie: Path) -> None:
    with VideoReader(movie) as reader:
        times = [frame.time for frame in reader.frames(Span(start=0.08, seconds=0.32))]

    assert times == pytest.approx([0.08, 0.2, 0.21], abs=2e-3)


def test_frames_are_counted_in_the_order_shown(movie: Path) -> None:
    assert frame_times(movie) == pytest.approx(TIMES, abs=2e-3)
    span = span_of_frames(movie, 2, 3)
    with VideoReader(movie) as reader:
        times = [frame.time for frame in reader.frames(span)]
    assert times == pytest.approx([0.08, 0.2, 0.21], abs=2e-3)
    with pytest.raises(VideoError, match="8 frames"):
        span_of_frames(movie, 8, 1)


@pytest.mark.parametrize(
    ("content", "words"), [(None, "no file"), (b"", "0 bytes"), (b"just text\n" * 9, "not a video")]
)
def test_what_is_no_video_gets_one_line(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "film.mp4"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(VideoError, match=words) as raised:
        VideoReader(path)

    assert "\n" not in str(raised.value)


def test_real_videos_have_the_frames_that_they_have(real_data: Path) -> None:
    path = real_data / "video" / "gvhmr_tennis.mp4"
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    with VideoReader(path) as reader:
        times = [frame.time for frame in reader.frames(Span(start=2.0, seconds=0.5))]

    wanted = frame_times(path)
    wanted = wanted[(wanted >= 2.0 - 1e-4) & (wanted < 2.5 - 1e-4)]
    assert times == pytest.approx(wanted.tolist(), abs=1e-6)
