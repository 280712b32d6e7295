"""`trainer evaluate` of a model that takes words and video: as either, with all its figures."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tests.engine.made_crossdiff import make_tiny_crossdiff
from trainer.__main__ import main


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return make_tiny_crossdiff(tmp_path / "tiny.safetensors")


def test_crossdiff_is_measured_by_its_words(
    checkpoint: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.evaluation.evaluate.FLOOR_SPLITS", 1)
    file = tmp_path / "report.json"
    words = ["evaluate", str(checkpoint), "--data", str(corpus), "--split", "train"]
    assert main([*words, "--seeds", "1", "--report", str(file)]) == 0
    report = json.loads(file.read_text())
    assert report["num_clips"] == 12  # four are mirrored
    assert set(report["figures"]) == {"real", "half against half", "tiny"}
    figures = {name: figure["value"] for name, figure in report["figures"]["tiny"].items()}
    for name in ("fid", "fid_upper", "fid_lower"):
        assert figures[name] > 1, name
    assert 0 <= figures["r_precision_1"] <= 1
    assert report["figures"]["real"]["r_precision_1"]["value"] > 0


def test_a_split_of_a_few_clips_is_measured_too(
    checkpoint: Path, corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "report.json"
    words = ["evaluate", str(checkpoint), "--data", str(corpus), "--seeds", "1"]
    assert main([*words, "--report", str(file)]) == 0
    figures = json.loads(file.read_text())["figures"]
    assert set(figures) == {"real", "tiny"}  # three recordings have no halves
    assert all(math.isfinite(f["value"]) for own in figures.values() for f in own.values())
    (corpus / "test.txt").write_text("A011\n")
    assert main(words) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "Split 'test' has 1 clip, a comparison needs 2 or more"
    )


def test_crossdiff_is_measured_as_a_lifter(
    checkpoint: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def folder(name: str, *, appauthor: bool) -> str:
        return str(tmp_path / "cache")

    monkeypatch.setattr("trainer.data.pose_bank.user_cache_dir", folder)
    file = tmp_path / "report.json"
    words = ["evaluate", str(checkpoint), "--data", str(corpus), "--lifting"]
    assert main([*words, "--report", str(file)]) == 0
    report = json.loads(file.read_text())
    assert report["num_clips"] == 3
    assert set(report["figures"]) == {"tiny, noisy", "tiny, exact", "mean pose"}
    figures = {name: figure["value"] for name, figure in report["figures"]["tiny, noisy"].items()}
    wanted = {"mpjpe", "pa_mpjpe", "acceleration", "path", "rotation", "bone_deviation", "fps"}
    assert wanted <= set(figures)
    assert all(map(math.isfinite, figures.values()))
    assert figures["pa_mpjpe"] < figures["mpjpe"] < 2_000
    assert figures["bone_deviation"] < 0.1
