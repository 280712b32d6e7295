"""Jobs with a movie: how frames are counted, who is picked, what the answer carries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from blender_addon import protocol
from engine.capture import Capture
from engine.capture_quality import CaptureQuality
from engine.methods.base import RequestError
from engine.motion.camera import Camera
from engine.server.movie_jobs import MovieClock, capture_to_result, checked_overlay
from engine.video.frames import VideoError
from tests.fakes import sine_motion

REQUEST = protocol.VideoRequest(job_id="a", path="a.mp4", first_frame=0, num_frames=48, fps=24.0)
GOOD = CaptureQuality(
    reprojection_error=0.01,
    seen_share=1.0,
    num_swaps=0,
    slide_mm_per_frame=0.0,
    contact_share=0.5,
    jitter=0.001,
    raw_jitter=0.01,
)


def write_movie(path: Path, stamps: Sequence[int], *, rate: int = 30) -> Path:
    """A movie of grey pictures that are shown at stamps / rate seconds."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for stamp in stamps:
            pixels = np.full((48, 64, 3), stamp % 200, dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts = stamp
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def a_capture(num_frames: int, fps: float, *, start: float = 0.0) -> Capture:
    """A motion that walks past a camera which goes along."""
    motion = sine_motion(num_frames, fps=fps)
    translation = -motion.root_translation + torch.tensor((0.0, 0.0, 4.0))
    camera = Camera(
        rotation=torch.eye(3).expand(num_frames, 3, 3),
        translation=translation,
        focal_length=torch.full((num_frames,), 2.0),
        principal_point=torch.tensor((0.1, 0.0)).expand(num_frames, 2),
    )
    return Capture(
        motion=replace(motion, camera=camera),
        keypoints=np.zeros((num_frames, 33, 3), dtype=np.float32),
        layout="blazepose_33",
        image_size=(1280, 720),
        start=start,
        quality=GOOD,
    )


def test_frames_are_counted_as_blender_counts_them(tmp_path: Path) -> None:
    # every second stamp: Blender may take it for a movie of 60 frames a second
    path = write_movie(tmp_path / "a.mp4", range(0, 120, 2), rate=60)
    clock = MovieClock(str(path), 60.0)
    span = clock.span(30, 60)
    assert (span.start, span.stop) == pytest.approx((0.5, 1.5), abs=1e-3)
    assert clock.frame_at(0.5) == 30
    one_by_one = MovieClock(str(path), 0.0)
    assert one_by_one.span(30, 60).start == pytest.approx(1.0, abs=1e-3)
    assert one_by_one.frame_at(1.0) == 30


def test_a_frame_that_is_still_shown_is_read(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "a.mp4", [0, 3, 6, 30, 33, 36])
    span = MovieClock(str(path), 30.0).span(16, 15)
    assert span.start == pytest.approx(0.2, abs=1e-3)  # frame 6 is shown until frame 30 is
    assert span.stop == pytest.approx(31 / 30, abs=1e-3)


def test_a_strip_after_the_movies_end_is_refused(tmp_path: Path) -> None:
    path = write_movie(tmp_path / "a.mp4", range(30))
    with pytest.raises(VideoError, match=r"has 1.00 s of frames"):
        MovieClock(str(path), 30.0).span(60, 10)


def test_a_result_begins_where_it_was_asked_to() -> None:
    # watched from 0.9 s on, asked for from frame 30 of 30 a second: 1.0 s, less an offset
    request = replace(REQUEST, first_frame=30, movie_fps=30.0, offset=-0.05, length=20, fps=20.0)
    result = capture_to_result(request, a_capture(60, 20.0, start=0.9), 0)
    assert len(result.root_translation) == 20
    way = 1.0  # metres a second, along z
    np.testing.assert_allclose(
        result.root_translation[:, 2], (0.05 + np.arange(20) / 20) * way, 1e-4
    )


def test_the_camera_comes_along_at_the_same_frames() -> None:
    request = replace(REQUEST, offset=0.1, length=12, fps=24.0)
    result = protocol.decode(protocol.encode(capture_to_result(request, a_capture(60, 20.0), 0)))
    assert isinstance(result, protocol.JobResult)
    assert result.image_size == [1280, 720]
    assert result.focal_length == pytest.approx(1280)
    assert result.principal_point == pytest.approx([704, 360])
    assert result.camera.shape == (12, 3, 4)
    in_camera = result.camera[:, :, :3] @ result.root_translation[..., None]
    in_camera = in_camera[..., 0] + result.camera[:, :, 3]
    np.testing.assert_allclose(in_camera, np.tile((0, 0, 4), (12, 1)), atol=1e-4)


def test_advice_stands_with_its_figure() -> None:
    poor = replace(GOOD, reprojection_error=0.08, num_swaps=9)
    result = capture_to_result(REQUEST, replace(a_capture(48, 24.0), quality=poor), 0)
    assert '"num_swaps": "Left and right were exchanged 9 times' in result.provenance
    assert '"reprojection_error": "The motion is 8.0%' in result.provenance
    assert '"seen_share": "' not in result.provenance


@pytest.mark.parametrize(
    ("name", "words"),
    [("there.mp4", "is there already"), ("a.avi", "needs .mp4"), ("gone/b.mp4", "no folder")],
)
def test_an_overlay_never_replaces_by_itself(tmp_path: Path, name: str, words: str) -> None:
    movie = tmp_path / "a.mp4"
    movie.write_bytes(b"movie")
    (tmp_path / "there.mp4").write_bytes(b"kept")
    request = replace(REQUEST, path=str(movie), overlay=str(tmp_path / name))
    with pytest.raises(RequestError, match=words):
        checked_overlay(request)
    assert (tmp_path / "there.mp4").read_bytes() == b"kept"


def test_an_overlay_may_replace_if_asked_but_not_the_movie(tmp_path: Path) -> None:
    movie, other = tmp_path / "a.mp4", tmp_path / "b.mp4"
    movie.write_bytes(b"movie")
    other.write_bytes(b"old")
    request = replace(REQUEST, path=str(movie), overlay=str(other), overlay_replace=True)
    assert checked_overlay(request) == other
    with pytest.raises(RequestError, match="is the movie itself"):
        checked_overlay(replace(request, overlay=str(movie)))
    assert checked_overlay(REQUEST) is None
