"""Two people of whom one is wanted: red walks, blue walks further away and shakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.video.footage import Footage, Wanted, watch
from engine.video.frames import Image, Span
from engine.video.keypoints import Floats, Region, Sighting
from tests.engine.video.made_videos import write_movie

BODY = np.random.default_rng(0).uniform(-1.0, 1.0, (33, 2)) * (18, 40)
BODY[[11, 12, 24, 23]] = [(10, -20), (-10, -20), (-8, 5), (8, 5)]  # shoulders and hips
FPS, COUNT = 30, 60
RED, BLUE = 0, 2  # channels


class ColourDetector:
    """Whoever wears red or blue; counts how often somebody is followed."""

    layout = "blazepose_33"
    num_keypoints = 33

    def __init__(self) -> None:
        self.followed = {RED: 0, BLUE: 0}

    def detect(self, image: Image, *, near: Region | None = None) -> list[Sighting]:
        seen = (_seen(image, channel) for channel in (RED, BLUE))
        return [one for one in seen if one is not None]

    def follow(self, image: Image, region: Region) -> Sighting | None:
        for channel in (RED, BLUE):
            one = _seen(image, channel)
            if one is not None and np.hypot(one.region.x - region.x, one.region.y - region.y) < 40:
                self.followed[channel] += 1
                return one
        return None


def _seen(image: Image, channel: int) -> Sighting | None:
    rows, columns = np.nonzero((image[..., channel] > 150) & (image[..., 1] < 100))
    if len(rows) < 200:
        return None
    x, y = float(columns.mean()), float(rows.mean())
    size = float(np.ptp(rows)) / 80
    points = np.column_stack((size * BODY + np.array((x, y)), np.ones(33))).astype(np.float32)
    return Sighting(keypoints=points, presence=1.0, region=Region(x=x, y=y, side=100.0))


def _blue_x(number: int) -> int:
    return 200 + (8 if number % 2 else 0)


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Red is the larger one."""
    images: list[Any] = []
    for number in range(COUNT):
        image = np.full((240, 320, 3), 90, dtype=np.uint8)
        image[80:180, 40 + number : 80 + number] = (230, 20, 20)
        image[100:160, _blue_x(number) : _blue_x(number) + 30] = (20, 20, 230)
        images.append(image)
    times = [number / FPS for number in range(COUNT)]
    return write_movie(tmp_path_factory.mktemp("wanted") / "two.mp4", images, times)


def _watch(movie: Path, wanted: Wanted | None) -> tuple[Footage, ColourDetector]:
    detector = ColourDetector()
    told: list[tuple[int, int]] = []

    def note(step: int, steps: int) -> None:
        told.append((step, steps))

    footage = watch(movie, Span(), detector, note, with_camera=False, wanted=wanted)
    assert told == sorted(told)
    assert all(step < steps for step, steps in told)
    return footage, detector


def _middles(points: Floats) -> list[float]:
    return [float(x) for x in points[:, :, 0].mean(-1)]


def test_who_is_not_wanted_is_looked_at_now_and_then(movie: Path) -> None:
    everybody, busy = _watch(movie, None)
    footage, rested = _watch(movie, Wanted())

    assert busy.followed[BLUE] >= COUNT - 1
    assert rested.followed[BLUE] < 0.5 * COUNT  # searches among them
    assert rested.followed[RED] >= COUNT - 1
    red, blue = footage.people
    assert [len(one.frames) for one in (red, blue)] == [COUNT, COUNT]
    assert (red.keypoints == everybody.people[0].keypoints).all()
    assert not red.unread
    # blue's shaking is lost between the looks, not the place
    apart = np.abs(blue.keypoints[..., 0] - everybody.people[1].keypoints[..., 0])
    assert 1.0 < apart.max() < 12.0


@pytest.mark.parametrize(
    "wanted", [Wanted(person=1), Wanted(click=(1.5, 215.0, 130.0))], ids=["number", "click"]
)
def test_whoever_is_wanted_has_every_frame(movie: Path, wanted: Wanted) -> None:
    everybody, _ = _watch(movie, None)
    footage, _ = _watch(movie, wanted)

    red, blue = footage.people
    assert red.unread
    assert not blue.unread
    assert np.allclose(blue.keypoints, everybody.people[1].keypoints)
    assert np.abs(np.diff(_middles(blue.keypoints))).min() > 5  # it shakes in each frame


def test_nobody_at_a_click_is_no_error_here(movie: Path) -> None:
    footage, _ = _watch(movie, Wanted(click=(0.5, 5.0, 5.0)))
    assert len(footage.people) == 2
    assert Wanted(click=(0.5, 5.0, 5.0)).among(footage.people, footage.times) is None
    assert Wanted(person=2).among(footage.people, footage.times) is None
    assert Wanted().among((), footage.times) is None
