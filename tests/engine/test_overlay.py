"""Overlay movies: what they show at which moment, and that nothing half is left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.methods.base import Cancelled
from engine.overlay import write_even_overlay, write_overlay
from engine.video.footage import Footage
from engine.video.frames import Span, VideoReader
from tests.engine.server.test_movie_jobs import a_capture

FPS, COUNT, STEPS = 25, 50, 7


def silent(_step: int, _num_steps: int) -> None:
    """Nobody wants to know."""


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grey pictures, as light as their number says, which begins anew after STEPS."""
    import av

    path = tmp_path_factory.mktemp("overlay") / "grey.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.bit_rate = 4_000_000
        for number in range(COUNT):
            pixels = np.full((64, 96, 3), 20 + 30 * (number % STEPS), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def a_footage(movie: Path) -> Footage:
    with VideoReader(movie) as reader:
        times = np.array([frame.time for frame in reader.frames()])
        info = reader.info
    return Footage(
        info=info,
        span=Span(),
        times=times,
        people=(),
        layout="blazepose_33",
        camera=None,
        warnings=(),
        seconds_taken=1.0,
        detector_share=0.5,
    )


def numbers_shown(path: Path) -> list[int]:
    """The frame of the movie that each frame of an overlay shows, as far as its light tells."""
    with VideoReader(path) as reader:
        return [round((float(np.median(f.image)) - 20) / 30) for f in reader.frames()]


def test_each_moment_shows_what_the_movie_shows_then(movie: Path, tmp_path: Path) -> None:
    path, footage = tmp_path / "overlay.mp4", a_footage(movie)
    capture = a_capture(COUNT, float(FPS))
    steps: list[tuple[int, int]] = []

    def note(step: int, num_steps: int) -> None:
        steps.append((step, num_steps))

    write_even_overlay(path, footage, capture, note, start=0.2, fps=60.0, num_frames=90)
    shown = numbers_shown(path)
    moments = 0.2 + np.arange(90) / 60
    assert shown == [int(moment * FPS + 1e-6) % STEPS for moment in moments]
    assert steps == [(number, 90) for number in range(90)]
    with VideoReader(path) as reader:
        assert reader.info.fps == pytest.approx(60)


def test_what_lies_outside_the_movie_holds_its_ends(movie: Path, tmp_path: Path) -> None:
    path, capture = tmp_path / "overlay.mp4", a_capture(COUNT, float(FPS))
    write_even_overlay(path, a_footage(movie), capture, silent, start=-0.2, fps=25.0, num_frames=60)
    held = [0] * 5 + list(range(COUNT)) + [COUNT - 1] * 5
    assert numbers_shown(path) == [number % STEPS for number in held]


def test_the_motion_is_drawn_where_the_person_is_seen(movie: Path, tmp_path: Path) -> None:
    capture = a_capture(COUNT, float(FPS))
    keypoints = np.zeros((COUNT, 33, 3), dtype=np.float32)
    keypoints[:, 0] = (10, 10, 1)
    seen = replace(capture, keypoints=keypoints, image_size=(96, 64))
    write_overlay(tmp_path / "a.mp4", a_footage(movie), seen)
    write_overlay(tmp_path / "b.mp4", a_footage(movie), replace(capture, image_size=(96, 64)))
    with VideoReader(tmp_path / "a.mp4") as reader:
        drawn = next(iter(reader.frames())).image
    with VideoReader(tmp_path / "b.mp4") as reader:
        plain = next(iter(reader.frames())).image
    assert np.ptp(drawn.astype(int), axis=-1).max() > 60  # a blue dot, lines in colours
    assert np.ptp(plain.astype(int), axis=-1).max() < 20  # nobody is seen: nothing is drawn


def test_stopping_leaves_no_half_overlay(movie: Path, tmp_path: Path) -> None:
    def stop(step: int, _num_steps: int) -> None:
        if step == 5:
            raise Cancelled

    capture = a_capture(COUNT, float(FPS))
    path = tmp_path / "overlay.mp4"
    with pytest.raises(Cancelled):
        write_even_overlay(path, a_footage(movie), capture, stop, start=0, fps=25.0, num_frames=50)
    assert list(tmp_path.iterdir()) == []
