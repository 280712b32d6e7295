"""`trainer prepare views` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from trainer.__main__ import main
from trainer.data.corpus import CorpusError
from trainer.data.views_corpus import read_views


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(tmp_path / "cache")
    monkeypatch.setattr("trainer.data.pose_bank.user_cache_dir", lambda *_, **__: folder)


def prepare(corpus: Path, out: Path, *extra: str) -> int:
    return main(["prepare", "views", str(corpus), "--out", str(out), *extra])


def test_views_are_written_and_read_with_captions_and_cameras(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "views"
    assert prepare(corpus, out, "--count", "2", "--truth", "--noise", "0", "--json") == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    views = [view for split in ("train", "val", "test") for view in read_views(out, split)]
    assert found["views"] == len(views) == 2 * (14 + 6)  # six of the clips have twins
    view = views[0]
    assert view.captions == ("a person walks and turns right", "someone walks")
    assert (view.fps, view.row["source"], view.row["licence"]) == (20.0, "made", "CC0")
    assert view.joints is not None
    seen, _ = view.camera.project(view.joints)
    knees = [4, 5]
    is_there = view.keypoints[:, knees, 2] > 0
    error = (seen - view.keypoints[..., :2])[:, knees].norm(dim=-1)
    assert is_there.any()
    assert error[is_there].max() < 1e-4
    assert view.camera.translation.shape == (len(view.keypoints), 3)


def test_the_truth_is_left_out_and_the_seed_decides(corpus: Path, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "two", "other")]
    for folder, seed in zip(folders, ("3", "3", "4"), strict=True):
        assert prepare(corpus, folder, "--split", "test", "--seed", seed) == 0
    one, two, other = (next(read_views(folder, "test")) for folder in folders)
    assert one.joints is None
    assert one.keypoints.equal(two.keypoints)
    assert not torch.equal(one.camera.rotation, other.camera.rotation)


def test_wrong_words_give_one_line(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(tmp_path / "nothing", tmp_path / "out") == 2
    assert "is no corpus" in capsys.readouterr().err
    assert prepare(corpus, tmp_path / "out", "--count", "0") == 2
    assert "needs 1 or more" in capsys.readouterr().err
    assert prepare(corpus, tmp_path / "out", "--split", "val") == 0
    assert prepare(corpus, tmp_path / "out", "--split", "val") == 2
    assert "--overwrite" in capsys.readouterr().err
    with pytest.raises(CorpusError, match="no corpus of views"):
        next(read_views(corpus, "train2"))
