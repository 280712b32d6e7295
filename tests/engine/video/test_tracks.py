"""People followed by a detector that sees discs of colour."""

from __future__ import annotations

import numpy as np
import pytest

from engine.video.cleaning import clean
from engine.video.footage import clock_rate, frame_rate, on_clock
from engine.video.frames import Image
from engine.video.keypoints import Floats, Region, Sighting
from engine.video.stretches import at_click, largest
from engine.video.tracks import Tracker

BODY = np.random.default_rng(0).uniform(-1.0, 1.0, (33, 2)) * (18, 40)
BODY[[11, 12, 24, 23]] = [(10, -20), (-10, -20), (-8, 5), (8, 5)]  # shoulders and hips


class FakeDetector:
    """Whoever is in `places`, by the colour that they wear."""

    layout = "blazepose_33"
    num_keypoints = 33

    def __init__(self) -> None:
        self.places: list[tuple[float, float]] = []

    def detect(self, image: Image, *, near: Region | None = None) -> list[Sighting]:
        return [self._sighting(x, y) for x, y in self.places]

    def follow(self, image: Image, region: Region) -> Sighting | None:
        there = [p for p in self.places if np.ptp(image[int(p[1]), int(p[0])]) > 0]
        near = [p for p in there if np.hypot(p[0] - region.x, p[1] - region.y) < 40]
        nearest = min(near, key=lambda p: np.hypot(p[0] - region.x, p[1] - region.y), default=None)
        return None if nearest is None else self._sighting(*nearest)

    def _sighting(self, x: float, y: float) -> Sighting:
        points = np.column_stack((BODY + np.array((x, y)), np.ones(33))).astype(np.float32)
        return Sighting(keypoints=points, presence=1.0, region=Region(x=x, y=y, side=100.0))


def _see(paths: list[list[tuple[float, float] | None]]) -> Tracker:
    detector = FakeDetector()
    tracker = Tracker(detector, 25.0)
    for places in zip(*paths, strict=True):
        image = np.full((240, 320, 3), 90, dtype=np.uint8)
        for place, colour in zip(places, ((220, 30, 30), (30, 30, 220)), strict=False):
            if place is not None:
                x, y = (int(value) for value in place)
                image[max(0, y - 40) : y + 40, max(0, x - 20) : x + 20] = colour
        detector.places = [place for place in places if place is not None]
        tracker.see(image)
    return tracker


def test_two_people_keep_their_numbers() -> None:
    left: list[tuple[float, float] | None] = [(60 + t, 120) for t in range(40)]
    right: list[tuple[float, float] | None] = [(240, 120)] * 40
    people = _see([left, right]).people()

    assert [len(person.frames) for person in people] == [40, 40]
    assert people[0].keypoints[-1, :, 0].mean() == pytest.approx(99 + BODY[:, 0].mean(), abs=1)
    assert at_click(people, 20, 240, 120) == 1
    assert at_click(people, 20, 150, 20) is None
    assert largest(people) in (0, 1)


def test_who_is_lost_for_a_while_is_the_same_person() -> None:
    path: list[tuple[float, float] | None] = [(100 + t, 120) for t in range(60)]
    path[25:35] = [None] * 10
    (person,) = _see([path]).people()

    assert len(person.frames) == 50
    assert not set(range(25, 35)) & set(person.frames.tolist())


class LateDetector(FakeDetector):
    """Finds the second person of `places` long after they can be followed; looks at pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.is_late, self.num_followed = True, 0

    def detect(self, image: Image, *, near: Region | None = None) -> list[Sighting]:
        found = super().detect(image, near=near)
        return found[:1] if self.is_late else found

    def follow(self, image: Image, region: Region) -> Sighting | None:
        self.num_followed += 1
        for colour in ((220, 30, 30), (30, 30, 220)):
            columns = np.flatnonzero((image == colour).all(-1).any(0))
            x = columns.mean() if len(columns) else np.inf
            if abs(x - region.x) < 40:
                return self._sighting(float(x), 120.0)
        return None


def test_who_is_not_wanted_is_followed_backwards_in_strides() -> None:
    detector = LateDetector()
    tracker = Tracker(detector, 50.0, wanted=-1)
    count, came, found = 63, 38, 48
    num_followed: list[int] = []
    for frame in range(count):
        image = np.full((240, 320, 3), 90, dtype=np.uint8)
        image[80:160, 40:80] = (220, 30, 30)
        places: list[tuple[float, float]] = [(60, 120), (200 + frame, 120)]
        image[80:160, 180 + frame : 220 + frame] = (30, 30, 220) if frame >= came else 90
        detector.places, detector.is_late = places, frame < found
        tracker.see(image)
        num_followed.append(detector.num_followed)

    other = tracker.people()[1]
    assert other.frames.tolist() == list(range(came, count))
    assert 0 < len(other.unread) < count - came - 3
    middles = [float(points[:, 0].mean() - BODY[:, 0].mean()) for points in other.keypoints]
    seen = found + 1 - came
    wanted = [200 + frame for frame in range(came, found + 1)]
    assert middles[:seen] == pytest.approx(wanted, abs=0.6)
    # the wanted one, the new one, and fewer than the ten frames in which they were there before
    assert num_followed[found] - num_followed[found - 1] < 2 + 10


def test_legs_that_are_exchanged_for_some_frames_are_put_right() -> None:
    frames = np.arange(60)
    keypoints = np.zeros((60, 33, 3), dtype=np.float32)
    keypoints[:, :, :2] = BODY * 4 + (400, 300)
    keypoints[:, :, 2] = 1.0
    swing = 60 * np.sin(frames / 8)
    for points, sign in (([25, 27, 29, 31], 1), ([26, 28, 30, 32], -1)):
        keypoints[:, points, 0] = 400 + sign * swing[:, None]
        keypoints[:, points, 1] = np.array((380, 440, 450, 455))
    truth = keypoints.copy()
    keypoints[20:24, 25:33] = truth[20:24][:, [26, 25, 28, 27, 30, 29, 32, 31]]

    cleaned = clean(keypoints, "blazepose_33", (800, 600), 30.0)

    assert cleaned.num_swaps == 1
    assert np.abs(cleaned.keypoints[..., :2] - truth[..., :2]).max() < 1e-3


def test_a_limb_that_is_also_somebody_elses_is_trusted_less() -> None:
    keypoints = np.zeros((30, 33, 3), dtype=np.float32)
    keypoints[:, :, :2] = BODY * 4 + (400, 300)
    keypoints[:, :, 2] = 1.0
    other = keypoints + np.array((200.0, 0.0, 0.0), dtype=np.float32)
    other[10:20, 27] = keypoints[10:20, 28]  # one ankle of both

    cleaned = clean(keypoints, "blazepose_33", (800, 600), 30.0, others=[other]).keypoints

    assert cleaned[10:20, 28, 2].max() < 0.3
    assert cleaned[:10, 28, 2].min() > 0.9
    assert cleaned[10:20, 25, 2].min() > 0.9


def test_rates_and_the_clock() -> None:
    times = np.arange(50) / 30 + np.random.default_rng(1).uniform(0, 1e-5, 50)
    assert frame_rate(times, 25.0) == 30.0
    assert [clock_rate(fps) for fps in (5.0, 30.0, 240.0)] == [15.0, 30.0, 60.0]
    values: Floats = np.zeros((3, 1, 3), dtype=np.float32)
    values[:, 0] = [(0, 0, 1), (1, 0, 1), (0, 0, 0)]
    found = on_clock(values, np.array([0.0, 0.1, 0.2]), np.array([0.0, 0.05, 0.12, 0.2]))
    assert found[:, 0, 0] == pytest.approx([0.0, 0.5, 1.0, 0.0])
    assert found[:, 0, 2] == pytest.approx([1.0, 1.0, 1.0, 0.0])


def test_of_two_side_by_side_both_are_found_by_their_clothes() -> None:
    left: list[tuple[float, float] | None] = [(140, 120)] * 40
    # nearer than two readings of one body may be apart
    right: list[tuple[float, float] | None] = [(155, 120) if t >= 12 else None for t in range(40)]
    people = _see([left, right]).people()

    assert [(int(one.frames[0]), len(one.frames)) for one in people] == [(0, 40), (12, 28)]
