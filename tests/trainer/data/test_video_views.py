"""Made videos as clips: cuts, lengths, gaps, cameras, and what is left out with a reason."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.video.frames import VideoError
from tests.trainer.made_videos import WallDetector, dark, wall, write_video
from trainer.data.video_shots import CutFinder
from trainer.data.video_sources import Part, VideoSource
from trainer.data.video_views import ClipSettings, MadeVideo, read_video

WHOLE = (Part(start=0.0, end=None, captions=("a person stands",)),)


def read(path: Path, parts: tuple[Part, ...] = WHOLE, **settings: object) -> MadeVideo:
    source = VideoSource(path=path, name=path.name, video_id="v-made", parts=parts)
    shares: list[float] = []
    detector = WallDetector()
    made = read_video(source, ClipSettings(**settings), detector, shares.append)
    assert shares == sorted(shares)
    assert shares[-1] <= 1.0
    return made


def lengths(made: MadeVideo) -> list[int]:
    return [len(clip.arrays["keypoints"]) for clip in made.clips]


def test_one_shot_gives_clips_of_even_length(tmp_path: Path) -> None:
    made = read(write_video(tmp_path / "v.mp4", [wall(1)] * 450))
    assert lengths(made) == [150, 150, 150]
    assert made.left_out == ()
    arrays = made.clips[0].arrays
    keypoints = arrays["keypoints"]
    assert keypoints.shape == (150, 22, 3)
    # the left ankle: image units are half the longer side, from the middle
    assert keypoints[75, 7] == pytest.approx((0.09, 0.46, 0.95), abs=1e-3)
    assert np.abs(arrays["rotation"][40] - np.diag((1, -1, -1))).max() < 1e-6
    row = made.clips[1].row
    assert (row["part"], row["start"], row["camera"]) == (0, 7.5, "estimated")
    assert (row["focal_length"], row["is_camera_moving"]) == ("assumed", False)


def test_frames_come_at_twenty_a_second(tmp_path: Path) -> None:
    assert lengths(read(write_video(tmp_path / "v.mp4", [wall(1)] * 180, fps=60))) == [60]
    slow = read(write_video(tmp_path / "slow.mp4", [wall(1)] * 30, fps=5))
    assert lengths(slow) == []
    assert "5 frames a second" in slow.left_out[0]


def test_a_cut_begins_a_clip_anew(tmp_path: Path) -> None:
    made = read(write_video(tmp_path / "v.mp4", [wall(1)] * 60 + [wall(2)] * 50 + [wall(3)] * 20))
    assert lengths(made) == [60, 50]
    assert "lasts 1.0 s, needs 2" in made.left_out[0]
    assert made.clips[1].row["start"] == pytest.approx(3.0, abs=0.06)


def test_a_camera_that_pans_makes_no_cut() -> None:
    cuts = CutFinder()
    pans = [wall(1, shift=3.0 * frame) for frame in range(30)]
    assert not any(cuts.is_cut(picture) for picture in pans)
    assert cuts.is_cut(wall(2))
    assert not cuts.is_cut(wall(2))


def test_gaps_part_a_stretch_and_short_ones_dont(tmp_path: Path) -> None:
    pictures = [wall(1)] * 50 + [dark()] * 30 + [wall(1)] * 30
    made = read(write_video(tmp_path / "v.mp4", pictures))
    assert lengths(made) == [50]
    assert made.left_out


def test_a_camera_that_turns_is_taken_along(tmp_path: Path) -> None:
    pictures = [wall(1, shift=1.5 * frame) for frame in range(60)]
    made = read(write_video(tmp_path / "v.mp4", pictures))
    assert made.clips[0].row["is_camera_moving"] is True
    turn = made.clips[0].arrays["rotation"]
    apart = np.linalg.norm(turn[-1] @ turn[0].T - np.eye(3))
    assert apart > 0.1


def test_a_camera_that_zooms_is_left_out(tmp_path: Path) -> None:
    pictures = [wall(1, zoom=1.0 + 0.012 * frame) for frame in range(60)]
    made = read(write_video(tmp_path / "v.mp4", pictures))
    assert made.clips == ()
    assert "zooms or travels" in made.left_out[0]


def test_parts_have_their_own_captions(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", [wall(1)] * 200)
    parts = (
        Part(start=0.0, end=3.0, captions=("a person waves",)),
        Part(start=4.0, end=9.0, captions=("a person bows",)),
    )
    made = read(path, parts)
    assert lengths(made) == [60, 100]
    assert [clip.row["part"] for clip in made.clips] == [0, 1]
    with pytest.raises(VideoError, match="no frame from 20 s"):
        read(path, (Part(start=20.0, end=None, captions=("late",)),))


def test_nobody_and_somebody_too_small_are_left_out(tmp_path: Path) -> None:
    made = read(write_video(tmp_path / "v.mp4", [dark()] * 60))
    assert "nobody was found" in made.left_out[0]
    path = write_video(tmp_path / "small.mp4", [wall(1)] * 60)
    source = VideoSource(path=path, name="small.mp4", video_id="v-small", parts=WHOLE)
    small = read_video(source, ClipSettings(), WallDetector(height=30.0), lambda share: None)
    assert "pixels high, needs 48" in small.left_out[0]


@pytest.mark.parametrize("wrong", [{"people": "some"}, {"least_frames": 150}, {"most_frames": 300}])
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="needs"):
        ClipSettings(**wrong)
