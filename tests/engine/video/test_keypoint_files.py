"""Keypoints of other programs, in each of the forms in which they come."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.video.footage import Footage
from engine.video.frames import Span
from engine.video.keypoint_files import read_keypoints
from engine.video.keypoints import KeypointFileError
from tests.engine.video.made_videos import write_movie

FRAMES, SIZE = 8, (160, 120)


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
    return write_movie(tmp_path / "film.mp4", [noise] * FRAMES, [n / 25 for n in range(FRAMES)])


def _body(count: int, frame: int, x: float = 60.0) -> list[list[float]]:
    """Keypoints on a slope, which goes two pixels a frame."""
    return [[x + 2 * frame + k, 20.0 + 3 * k, 0.9] for k in range(count)]


def _flat(points: list[list[float]]) -> list[float]:
    return [value for point in points for value in point]


def _openpose(folder: Path, count: int, first: int = 0) -> Path:
    folder.mkdir()
    for frame in range(FRAMES):
        people = [{"pose_keypoints_2d": _flat(_body(count, frame))}]
        name = f"film_{frame + first:012d}_keypoints.json"
        (folder / name).write_text(json.dumps({"version": 1.3, "people": people}))
    return folder


def _list(file: Path, entries: list[dict[str, Any]], **more: object) -> Path:
    file.write_text(json.dumps({"annotations": entries, **more} if more else entries))
    return file


def _alphapose(count: int, who: Callable[[int], object]) -> list[dict[str, Any]]:
    return [
        {
            "image_id": f"{frame}.jpg",
            "keypoints": _flat(_body(count, frame, x)),
            "idx": who(number),
            "score": 2.9,
        }
        for frame in range(FRAMES)
        for number, x in enumerate((20.0, 100.0))
    ]


def _listed(number: int) -> list[float]:
    return [float(number)]


def _read(path: Path, movie: Path) -> Footage:
    return read_keypoints(path, movie, Span(), lambda step, steps: None)


@pytest.mark.parametrize(
    ("count", "layout"), [(25, "body_25"), (18, "coco_17"), (17, "coco_17"), (33, "blazepose_33")]
)
@pytest.mark.parametrize("first", [0, 1])
def test_openpose_folders(movie: Path, count: int, layout: str, first: int) -> None:
    footage = _read(_openpose(movie.parent / "points", count, first), movie)

    (person,) = footage.people
    assert footage.layout == layout
    assert person.frames.tolist() == list(range(FRAMES))
    assert person.keypoints[3, 0, 0] == pytest.approx(66.0)
    assert footage.warnings == ()


@pytest.mark.parametrize(
    ("count", "layout"), [(17, "coco_17"), (26, "halpe_26"), (133, "halpe_26"), (136, "halpe_26")]
)
@pytest.mark.parametrize("who", [int, float, _listed])
def test_alphapose_lists(
    movie: Path, count: int, layout: str, who: Callable[[int], object]
) -> None:
    file = _list(movie.parent / "alphapose-results.json", _alphapose(count, who))

    footage = _read(file, movie)

    assert footage.layout == layout
    assert [len(person.frames) for person in footage.people] == [FRAMES, FRAMES]
    left = min(footage.people, key=lambda one: float(one.keypoints[0, 0, 0]))
    toe = {133: 17, 136: 20, 26: 20}.get(count)
    if toe is not None:
        assert left.keypoints[0, 20, 0] == pytest.approx(20.0 + toe)


def test_coco_annotations_whose_images_have_numbers_of_their_own(movie: Path) -> None:
    entries: list[dict[str, Any]] = [
        {"image_id": 9000 + 7 * frame, "keypoints": _flat(_body(17, frame))}
        for frame in range(FRAMES)
    ]
    for entry in entries:
        entry["keypoints"][2] = 2  # seen
        entry["keypoints"][5] = 1  # hidden
        entry["keypoints"][8::3] = [2] * 15
    images = [{"id": 9000 + 7 * f, "file_name": f"film_{f:05d}.png"} for f in range(FRAMES)]

    (person,) = _read(_list(movie.parent / "coco.json", entries, images=images), movie).people

    assert person.frames.tolist() == list(range(FRAMES))
    assert person.keypoints[0, :3, 2] == pytest.approx([1.0, 0.4, 1.0])


def test_keypoints_from_0_to_1_are_parts_of_the_picture(movie: Path) -> None:
    entries = _alphapose(17, int)
    for entry in entries:
        entry["keypoints"][0::3] = [x / SIZE[0] for x in entry["keypoints"][0::3]]
        entry["keypoints"][1::3] = [y / SIZE[1] for y in entry["keypoints"][1::3]]

    footage = _read(_list(movie.parent / "a.json", entries), movie)

    assert min(float(one.keypoints[0, 0, 0]) for one in footage.people) == pytest.approx(20.0)


def test_keypoints_of_a_longer_video_are_told_of(movie: Path) -> None:
    entries = _alphapose(17, int)
    entries.append({**entries[-1], "image_id": "900.jpg"})

    footage = _read(_list(movie.parent / "a.json", entries), movie)

    assert "900" in footage.warnings[0]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("no json", "no JSON"),
        ("{}", "no list of people"),
        ("[]", "nobody"),
        ('[{"keypoints": []}]', "image_id"),
        ('[{"image_id": 0, "keypoints": [1, 2, 3]}]', "1 keypoints"),
        ('[{"image_id": 0, "keypoints": ["a", "b", "c"]}]', "numbers"),
    ],
)
def test_what_is_no_keypoint_file_gets_one_line(movie: Path, content: str, words: str) -> None:
    file = movie.parent / "points.json"
    file.write_text(content)

    with pytest.raises(KeypointFileError, match=words) as raised:
        _read(file, movie)

    assert "\n" not in str(raised.value)
