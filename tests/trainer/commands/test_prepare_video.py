"""Videos to a corpus from the command line: the same bytes however it is spread; bad files."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.trainer.made_videos import dark, read_wall_work, wall, write_video
from tests.trainer.test_spread import two_nodes
from trainer.__main__ import main
from trainer.commands import prepare_video
from trainer.data.views_corpus import read_views

PROJECT = Path(__file__).resolve().parents[3]
TIMEOUT_S = 120.0
NAMES = ("gvhmr_tennis.mp4", "openpose_examples_video.avi")


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def prepare(videos: Path, out: Path, *words: str) -> int:
    return main(["prepare", "video", str(videos), "--out", str(out), *words])


@pytest.fixture
def bad_videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    write_video(folder / "hops.mp4", [dark()] * 50)
    write_video(folder / "IMG_7.mp4", [wall(1)] * 50)
    (folder / "text.mp4").write_text("not a video")
    (folder / "jump.mp4").write_bytes(b"")
    return folder


def test_bad_files_never_stop_it_and_nothing_left_is_a_failure(
    bad_videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert prepare(bad_videos, out, "--json", "--caption", "a person") == 1
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    reasons = {row["video"]: row["reason"] for row in told["left_out"]}
    assert set(reasons) == {"hops.mp4", "IMG_7.mp4", "text.mp4", "jump.mp4"}
    assert "is not a video" in reasons["text.mp4"]
    assert "0 bytes" in reasons["jump.mp4"]
    assert "nobody" in reasons["hops.mp4"]
    assert (told["videos"], told["clips"], told["read_before"]) == (4, 0, 0)
    assert prepare(bad_videos, out, "--json", "--overwrite", "--caption", "a person") == 1
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["read_before"] == 4


def test_wrong_words_give_a_line(
    bad_videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    used = tmp_path / "used"
    used.mkdir()
    (used / "index.jsonl").write_text("")
    for videos, out, words, message in (
        (tmp_path / "none", tmp_path / "o", (), "no file or folder"),
        (bad_videos, used, (), "holds a corpus already"),
        (bad_videos, tmp_path / "o", ("--jobs", "0"), "--jobs is 0"),
        (bad_videos, tmp_path / "o", ("--captions", str(tmp_path / "no.csv")), "can't be read"),
        (bad_videos, tmp_path / "o", ("--min-seconds", "9"), "needs"),
        (bad_videos, tmp_path / "o", ("--ray", "127.0.0.1:1"), "ay"),
    ):
        assert prepare(videos, out, *words) == 2
        assert message in capsys.readouterr().err


@pytest.fixture
def real_videos(real_data: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "real"
    folder.mkdir()
    rows = ["video,caption,start,end,split"]
    for name in NAMES:
        source = real_data / "video" / name
        if not source.is_file():
            pytest.skip(f"{source} isn't there")
        (folder / name).symlink_to(source)
    rows += [f"{NAMES[0]},a person plays tennis,{start},{start + 2.2}," for start in (0, 4)]
    rows += [f"{NAMES[1]},a person walks,0,2.2,val"]
    (folder / "captions.csv").write_text("\n".join(rows) + "\n")
    (folder / "broken.mp4").write_text("not a video")
    return folder


@pytest.fixture
def made_videos(tmp_path: Path) -> Path:
    """Eight short ones, in which the made detector sees somebody, and one that is broken."""
    folder = tmp_path / "made"
    folder.mkdir()
    for number in range(8):
        pictures = [wall(number)] * (45 + number)
        write_video(folder / f"stand_{number}.mp4", [*pictures, dark(), *pictures])
    (folder / "broken.mp4").write_text("not a video")
    return folder


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_the_same_bytes_from_one_process_from_two_and_from_a_cluster(
    made_videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepare_video, "read_work", read_wall_work)
    assert prepare(made_videos, tmp_path / "one") == 0
    expected = contents(tmp_path / "one")
    assert sum(name.endswith(".npz") for name in expected) == 16
    assert prepare(made_videos, tmp_path / "two", "--jobs", "2") == 0
    assert contents(tmp_path / "two") == expected
    with two_nodes() as address:
        assert prepare(made_videos, tmp_path / "ray", "--ray", address) == 0
    assert contents(tmp_path / "ray") == expected


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_real_videos_give_the_same_bytes_however_they_are_read(
    real_videos: Path, tmp_path: Path
) -> None:
    words = ("--captions", str(real_videos / "captions.csv"))
    assert prepare(real_videos, tmp_path / "one", *words) == 0
    expected = contents(tmp_path / "one")
    [first, second] = read_views(tmp_path / "one", "train")
    assert first.captions == ("a person plays tennis",)
    assert 40 <= len(first.keypoints) <= 45
    assert (first.keypoints[..., 2] > 0.3).float().mean() > 0.7
    assert second.row["start"] == pytest.approx(4.0, abs=0.1)
    assert len(list(read_views(tmp_path / "one", "val"))) >= 1
    assert prepare(real_videos, tmp_path / "two", *words, "--jobs", "2") == 0
    assert contents(tmp_path / "two") == expected
    with two_nodes() as address:
        assert prepare(real_videos, tmp_path / "ray", *words, "--ray", address) == 0
    assert contents(tmp_path / "ray") == expected


@pytest.mark.slow
def test_killed_again_and_again_it_goes_on_to_the_same_bytes(
    made_videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, words = tmp_path / "killed", ("--jobs", "2")
    left: list[dict[Path, int]] = []
    for parts in (2, 5):
        kill_when_read(made_videos, out, words, parts)
        assert not (out / "index.jsonl").exists()
        left.append({path: path.stat().st_mtime_ns for path in (out / "parts").glob("*.json")})
    assert parts <= len(left[-1]) < 9
    monkeypatch.setattr(prepare_video, "read_work", read_wall_work)
    assert prepare(made_videos, out, *words) == 0
    assert prepare(made_videos, tmp_path / "unbroken") == 0
    assert contents(out) == contents(tmp_path / "unbroken")
    for known in left:
        assert all(path.stat().st_mtime_ns == changed for path, changed in known.items())


def kill_when_read(videos: Path, out: Path, words: tuple[str, ...], parts: int) -> None:
    """Prepare in a process of its own, which is killed as soon as so many videos are read."""
    command = [sys.executable, "-m", "tests.trainer.prepare_walls", "prepare", "video"]
    command += [str(videos), "--out", str(out), *words]
    process = subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while len(list((out / "parts").glob("*.json"))) < parts:
            assert process.poll() is None, "it ended before it was killed"
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait(TIMEOUT_S)


@pytest.mark.slow
def test_stopped_it_goes_on_and_reads_no_video_twice(
    real_videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--captions", str(real_videos / "captions.csv"))
    assert prepare(real_videos, tmp_path / "whole", *words) == 0
    expected = contents(tmp_path / "whole")
    kept = prepare_video.keep_part
    written: list[str] = []

    def keep(folder: Path, work: prepare_video.VideoWork, made: object) -> object:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(work.source.name)
        return kept(folder, work, made)

    monkeypatch.setattr(prepare_video, "keep_part", keep)
    assert prepare(real_videos, tmp_path / "halves", *words) == 130
    before = list(written)
    written.clear()
    monkeypatch.setattr(prepare_video, "keep_part", kept)
    again = tmp_path / "halves" / "parts"
    times = {path.name: path.stat().st_mtime_ns for path in again.iterdir()}
    assert prepare(real_videos, tmp_path / "halves", *words) == 0
    assert contents(tmp_path / "halves") == expected
    assert len(before) == 2
    assert all((again / name).stat().st_mtime_ns == changed for name, changed in times.items())
