"""Videos of odd kinds give motion or one clear line with exit code 1 or 2, never a traceback."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine import __main__
from engine.video.frames import Span, VideoReader
from tests.engine.video.made_videos import Image, pictures, turn, write_movie

FRAMES = 10


@pytest.fixture(scope="module")
def images(real_data: Path) -> list[Image]:
    movie = real_data / "video" / "gvhmr_tennis.mp4"
    if not movie.is_file():
        pytest.skip(f"{movie} is absent")
    return pictures(movie, FRAMES)


def _evenly(count: int, fps: float) -> list[float]:
    return [number / fps for number in range(count)]


def _truncated(path: Path, images: list[Image]) -> Path:
    # this container has its index in front of each picture: what is there can be read
    movie = write_movie(path.with_suffix(".avi"), images, _evenly(len(images), 25))
    content = movie.read_bytes()
    movie.write_bytes(content[: int(0.7 * len(content))])
    return movie


MADE: dict[str, Callable[[Path, list[Image]], Path]] = {
    "one frame": lambda path, images: write_movie(path, images[:1], [0.0]),
    "5 fps": lambda path, images: write_movie(path, images[::2], _evenly(len(images[::2]), 5)),
    "240 fps": lambda path, images: write_movie(path, images, _evenly(len(images), 240)),
    "a rate that varies": lambda path, images: write_movie(
        path, images, np.cumsum([0.01, 0.09] * (len(images) // 2)).tolist()
    ),
    "8K": lambda path, images: write_movie(path, images[:3], _evenly(3, 25), size=(7680, 4320)),
    "odd sizes": lambda path, images: write_movie(
        path, images, _evenly(len(images), 25), size=(405, 359)
    ),
    "turned": lambda path, images: turn(
        write_movie(
            path,
            [np.ascontiguousarray(np.rot90(image)) for image in images],
            _evenly(len(images), 25),
        )
    ),
    "interlaced": lambda path, images: write_movie(
        path.with_suffix(".mpg"),
        images,
        _evenly(len(images), 25),
        codec="mpeg2video",
        options={"flags": "+ildct+ilme"},
    ),
    "truncated": _truncated,
}


@pytest.mark.parametrize("name", MADE)
def test_an_odd_video_gives_motion(
    name: str, images: list[Image], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    movie = MADE[name](tmp_path / "film.mp4", images)

    code = __main__.main(["capture", str(movie), "--out", str(tmp_path / "a.npz"), "--json"])

    told = capsys.readouterr()
    assert code == 0, told.err
    found = json.loads(told.out)
    assert found["num_frames"] >= 1
    assert len(found["people"]) >= 1
    # motions in between 15 and 60 frames a second, whatever the video's rate is
    assert 15 <= found["fps"] <= 60
    with np.load(tmp_path / "a.npz") as arrays:
        assert all(
            np.isfinite(arrays[key]).all() for key in arrays if arrays[key].dtype.kind == "f"
        )


@pytest.mark.parametrize("name", ["a text", "nothing", "absent", "nobody", "a folder"])
def test_what_has_nobody_in_it_gets_one_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    movie = tmp_path / "film.mp4"
    if name == "a text":
        movie.write_text("no film at all\n" * 100)
    elif name == "nothing":
        movie.touch()
    elif name == "a folder":
        movie.mkdir()
    elif name == "nobody":
        noise = np.random.default_rng(0).integers(0, 255, (5, 120, 160, 3), dtype=np.uint8)
        write_movie(movie, list(noise), _evenly(5, 25))

    code = __main__.main(["capture", str(movie), "--out", str(tmp_path / "a.npz")])

    told = capsys.readouterr()
    assert code in (1, 2)
    lines = [line for line in told.err.splitlines() if line.strip() and "Capturing" not in line]
    assert len(lines) == 1, told.err
    assert "film.mp4" in lines[0]
    assert "Traceback" not in told.err
    assert not (tmp_path / "a.npz").exists()


def test_a_turned_video_is_shown_upright(images: list[Image], tmp_path: Path) -> None:
    lying = [np.ascontiguousarray(np.rot90(image)) for image in images[:2]]
    movie = turn(write_movie(tmp_path / "film.mp4", lying, [0.0, 0.04]))

    with VideoReader(movie) as reader:
        shown = next(reader.frames(Span())).image
        assert reader.info.image_size == (shown.shape[1], shown.shape[0])

    assert shown.shape == images[0].shape
    # mpeg4 loses detail, not more than some units on the average
    assert np.abs(shown.astype(float) - images[0].astype(float)).mean() < 12
