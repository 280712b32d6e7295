"""Videos to a model in one command: its steps, how far it is, going on, beginning anew."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import pytest

from engine.checkpoint import read_info
from trainer.__main__ import main
from trainer.commands import prepare_video
from trainer.commands.teach_status import TeachStatus
from trainer.data import replay

SET = ("loop.warmup_steps=1", "loop.validate_every=2", "loop.save_every=2", "loop.log_every=1")


@pytest.fixture(autouse=True)
def _fast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.data.examples.user_cache_dir", lambda *_, **__: str(tmp_path))
    monkeypatch.setattr(replay, "_LENGTHS", (24, 30))


@pytest.fixture
def base(corpus: Path, tmp_path: Path) -> Path:
    words = ["--data", str(corpus), "--out", str(tmp_path / "base")]
    assert main(["train", "mdm-smoke", *words, "--set", "loop.num_steps=2"]) == 0
    return tmp_path / "base" / "best.safetensors"


@pytest.fixture
def watched(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Views of made motions in the place of videos; takes the folders that were written."""
    written: list[str] = []

    def run(args: argparse.Namespace) -> int:
        words = [str(corpus), "--out", str(args.out), "--moving", "0", "--noise", "0"]
        assert main(["prepare", "views", *words, "--overwrite"]) == 0
        index = args.out / "index.jsonl"
        rows = [json.loads(line) for line in index.read_text().splitlines()]
        told = {"source": "video", "camera": "estimated", "captions": [args.caption]}
        index.write_text("".join(json.dumps({**row, **told}) + "\n" for row in rows))
        written.append(str(args.out))
        return 0

    monkeypatch.setattr(prepare_video, "run", run)
    return written


def teach(base: Path, tmp_path: Path, *words: str, caption: str = "a person hops") -> int:
    fixed = ["movie.mp4", "--caption", caption, "--name", "hop", "--out", str(tmp_path / "lesson")]
    fixed += ["--models", str(tmp_path / "models"), "--init", str(base), "--steps", "2"]
    for one in (*SET, "replay_clips=4", "precision=float32"):
        fixed += ["--set", one]
    return main(["teach", *fixed, *words])


@pytest.mark.slow
def test_videos_become_a_model_and_again_nothing_is_done_twice(
    base: Path, watched: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert teach(base, tmp_path, "--json") == 0
    model = tmp_path / "models" / "hop.safetensors"
    lesson = tmp_path / "lesson"
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["model"] == str(model)
    info = read_info(model)
    assert (info.name, info.method) == ("hop", "video_mdm")
    assert "a person hops" in info.extra["captions"]
    status = json.loads((lesson / "status.json").read_text())
    assert (status["phase"], status["share"], status["model"]) == ("done", 1.0, str(model))
    assert watched == [str(lesson / "views")]

    assert teach(base, tmp_path) == 2
    assert "is there already" in capsys.readouterr().err
    lifted = (lesson / "lifted" / "clips.npz").stat().st_mtime_ns
    assert teach(base, tmp_path, "--overwrite") == 0
    assert (lesson / "lifted" / "clips.npz").stat().st_mtime_ns == lifted
    assert teach(base, tmp_path, "--overwrite", caption="a person leaps") == 0
    assert (lesson / "lifted" / "clips.npz").stat().st_mtime_ns > lifted
    assert "a person leaps" in read_info(model).extra["captions"]


def test_what_fails_is_said_and_kept_in_the_status(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr(prepare_video, "run", lambda args: 1)
    assert teach(base, tmp_path) == 1
    assert json.loads((tmp_path / "lesson" / "status.json").read_text())["phase"] == "failed"
    assert teach(base, tmp_path, "--name", "../up") == 2
    assert "needs a name" in capsys.readouterr().err
    assert teach(base, tmp_path, "--steps", "0") == 2


def test_the_status_is_seen_from_what_the_steps_leave(tmp_path: Path) -> None:
    with TeachStatus(tmp_path, parent_pid=os.getppid()) as status:
        for name in ("views/parts", "lifted/parts", "run"):
            (tmp_path / name).mkdir(parents=True)
        (tmp_path / "views" / "train.txt").write_text("a\nb\nc\nd\n")
        (tmp_path / "lifted" / "parts" / "a.npz").write_text("")
        text, share = status._lifting()
        assert (text, share) == ("Lifting clip 2", 0.25)
        assert status._training() == ("Practising what the model knows", 0.0)
        (tmp_path / "run" / replay.FILE).write_text("")
        (tmp_path / "run" / "config.json").write_text(json.dumps({"loop": {"num_steps": 40}}))
        (tmp_path / "run" / "stats.jsonl").write_text('{"step": 20}\n')
        text, share = status._training()
        assert text == "Learning: step 20 of 40"
        assert share == pytest.approx(0.55)
    assert json.loads((tmp_path / "status.json").read_text())["phase"] == "failed"
