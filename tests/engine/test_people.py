"""A quick look at who is in a video, by a detector that sees discs of colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.methods.base import Cancelled
from engine.people import find_people
from engine.video.frames import Image, Span
from engine.video.keypoints import Region, Sighting

BODY = np.random.default_rng(0).uniform(-1.0, 1.0, (33, 2)) * (18, 40)
BODY[[11, 12, 24, 23]] = [(10, -20), (-10, -20), (-8, 5), (8, 5)]  # shoulders and hips
FPS, SECONDS = 24, 4


class ColourDetector:
    """Whoever wears red or blue, in the middle of their colour."""

    layout = "blazepose_33"
    num_keypoints = 33

    def detect(self, image: Image, *, near: Region | None = None) -> list[Sighting]:
        found: list[Sighting] = []
        for channel in (0, 2):
            wearing = (image[..., channel] > 150) & (image[..., 1] < 100)
            rows, columns = np.nonzero(wearing)
            if len(rows) > 200:
                x, y = float(columns.mean()), float(rows.mean())
                points = np.column_stack((BODY + np.array((x, y)), np.ones(33)))
                region = Region(x=x, y=y, side=100.0)
                found.append(
                    Sighting(keypoints=points.astype(np.float32), presence=1.0, region=region)
                )
        return found

    def follow(self, image: Image, region: Region) -> Sighting | None:
        near = [one for one in self.detect(image) if abs(one.region.x - region.x) < 40]
        return min(near, key=lambda one: abs(one.region.x - region.x), default=None)


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Red stands left all the time, blue walks on the right in the second half."""
    import av

    path = tmp_path_factory.mktemp("people") / "two.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.bit_rate = 2_000_000
        for number in range(FPS * SECONDS):
            image = np.full((240, 320, 3), 90, dtype=np.uint8)
            image[80:160, 60:100] = (230, 20, 20)
            if number >= FPS * SECONDS // 2:
                left = 180 + number
                image[80:160, left : left + 40] = (20, 20, 230)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def silent(_step: int, _num_steps: int) -> None:
    """Nobody wants to know."""


def test_everybody_is_found_with_a_picture_and_a_place(movie: Path) -> None:
    progress: list[tuple[int, int]] = []

    def note(step: int, num_steps: int) -> None:
        progress.append((step, num_steps))

    found, warnings = find_people(movie, Span(), ColourDetector(), note, picture_side=64)
    assert warnings == ()
    red, blue = found
    assert (red.start, red.end) == pytest.approx((0.0, SECONDS), abs=0.3)
    assert (blue.start, blue.end) == pytest.approx((SECONDS / 2, SECONDS), abs=0.3)
    assert red.share == blue.share == 1.0
    assert (red.click_x * 320, red.click_y * 240) == pytest.approx((80, 120), abs=6)
    assert red.height == pytest.approx(80 / 240, abs=0.05)
    for person, channel in ((red, 0), (blue, 2)):
        assert person.picture.shape == (64, 64, 3)
        assert np.argmax(person.picture[24:40, 28:36].mean((0, 1))) == channel
    assert [step for step, _ in progress] == list(range(FPS * SECONDS))


def test_only_the_part_is_looked_at(movie: Path) -> None:
    (red,), _ = find_people(movie, Span(start=0.5, seconds=1.0), ColourDetector(), silent)
    assert 0.5 <= red.start <= 0.7
    assert 1.2 <= red.end < 1.5
    assert 0.5 <= red.click_time < 1.5


def test_nobody_is_an_empty_list(movie: Path) -> None:
    class Blind(ColourDetector):
        def detect(self, image: Image, *, near: Region | None = None) -> list[Sighting]:
            return []

    assert find_people(movie, Span(), Blind(), silent) == ([], ())


def test_it_can_be_stopped(movie: Path) -> None:
    def stop(step: int, _num_steps: int) -> None:
        if step == 10:
            raise Cancelled

    with pytest.raises(Cancelled):
        find_people(movie, Span(), ColourDetector(), stop)
