"""The turning of a camera is found from the background, whatever people in front of it do."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from engine.video.camera_motion import CameraMotion
from engine.video.frames import Image
from engine.video.keypoints import Floats

SIZE, FRAMES, FPS, FOCAL = (320, 180), 30, 25.0, 2.3


@pytest.fixture(scope="module")
def wall() -> Image:
    noise = np.random.default_rng(0).integers(0, 255, (40, 100, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(noise, (800, 320), interpolation=cv2.INTER_CUBIC), np.uint8)


def _watched(wall: Image, places: list[tuple[int, int]], *, every: int = 1) -> CameraMotion:
    """A picture of the wall from each place, with a body in its middle that sways."""
    motion = CameraMotion(every=every)
    for number, (x, y) in enumerate(places):
        image = wall[y : y + SIZE[1], x : x + SIZE[0]].copy()
        left = 140 + round(12 * np.sin(number))
        image[50:170, left : left + 40] = (30, 30, 200)
        body: Floats = np.array([(left, 50, 1), (left + 40, 170, 1)] * 3, dtype=np.float32)
        motion.see(image, [body])
    return motion


def test_a_pan_is_found(wall: Image) -> None:
    turns = _watched(wall, [(20 + 6 * n, 60 + n) for n in range(FRAMES)]).rotations(FOCAL, FPS)

    assert turns is not None
    steps = Rotation.from_matrix(turns[1:] @ turns[:-1].transpose(0, 2, 1)).as_rotvec()[5:-5]
    # the wall moves 6 pixels to the left a frame, half the longer side is 160 pixels; it is flat,
    # so that the same step is a smaller turn further on
    assert np.linalg.norm(steps, axis=-1).mean() == pytest.approx(6 / 160 / FOCAL, rel=0.25)
    assert np.abs(steps[:, 1]).min() > 3 * np.abs(steps[:, 0]).max()
    # what is straight ahead at first goes to the left of the picture when the camera turns right
    ahead = turns[FRAMES - 1] @ np.array([0.0, 0.0, 1.0])
    wanted = -6 * (FRAMES - 1) / 160 / FOCAL
    assert ahead[0] / ahead[2] == pytest.approx(wanted, rel=0.1)


def test_of_fast_frames_every_second_tells_as_much(wall: Image) -> None:
    places = [(20 + 6 * n, 60 + n) for n in range(FRAMES)]
    all_frames = _watched(wall, places).rotations(FOCAL, FPS)
    half = _watched(wall, places, every=2).rotations(FOCAL, FPS)

    assert all_frames is not None
    assert half is not None
    assert len(half) == FRAMES
    off = Rotation.from_matrix(half @ all_frames.transpose(0, 2, 1)).magnitude()
    # a frame of the pan is 0.9 degrees, all of it 27
    assert np.degrees(off).max() < 0.6


def test_a_camera_that_stands_still_has_no_turns(wall: Image) -> None:
    assert _watched(wall, [(100, 60)] * FRAMES).rotations(FOCAL, FPS) is None


def test_a_picture_without_corners_is_a_camera_that_stands(wall: Image) -> None:
    plain = np.full_like(wall, 90)

    assert _watched(plain, [(6 * n, 60) for n in range(FRAMES)]).rotations(FOCAL, FPS) is None


def test_a_fast_pan_all_the_way_round(hall: Image) -> None:
    """As of somebody who skates past: the picture moves by 7 % of its width a frame, blurred."""
    count, step = 66, 3.3
    motion = CameraMotion()
    yaws = np.radians(step) * np.maximum(0, np.arange(count) - 5)
    for number, yaw in enumerate(yaws):
        views = [_turned_view(hall, yaw - part * np.radians(step)) for part in (0.0, 0.2, 0.4)]
        image = np.mean(views if number > 5 else views[:1], axis=0).astype(np.uint8)
        image[50:170, 140:180] = (30, 30, 200)
        body: Floats = np.array([(140, 50, 1), (180, 170, 1)] * 3, dtype=np.float32)
        motion.see(image, [body])
    turns = motion.rotations(FOCAL, FPS)

    assert turns is not None
    steps = Rotation.from_matrix(turns[1:] @ turns[:-1].transpose(0, 2, 1)).as_rotvec()
    assert np.degrees(steps[:, 1].sum()) == pytest.approx(-step * (count - 6), rel=0.05)
    assert np.degrees(np.abs(steps[:, 1] - steps[30, 1])[12:-3]).max() < 0.7


@pytest.fixture(scope="module")
def hall() -> Image:
    """All around, a degree in 6 pixels."""
    noise = np.random.default_rng(1).integers(0, 255, (30, 270, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(noise, (2160, 240), interpolation=cv2.INTER_CUBIC), np.uint8)


def _turned_view(hall: Image, yaw: float) -> Image:
    """What a camera sees that is turned to the right by so many radians."""
    x, y = np.meshgrid((np.arange(SIZE[0]) - 160) / 160, (np.arange(SIZE[1]) - 90) / 160)
    around = np.degrees(np.arctan2(x, FOCAL) + yaw) % 360 * 6
    height = np.degrees(np.arctan2(y, np.hypot(x, FOCAL))) * 6 + 120
    seen = cv2.remap(
        hall,
        around.astype(np.float32),
        height.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_WRAP,
    )
    return np.asarray(seen, np.uint8)
