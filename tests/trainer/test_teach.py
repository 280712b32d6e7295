"""Teaching a model a few clips more: what it starts from, what holds it, and going on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from engine.checkpoint import load_checkpoint, read_info
from engine.methods import load_method
from engine.methods.base import Prompt, SampleOptions
from tests.trainer.made_teachers import make_teacher_corpus
from trainer.__main__ import main
from trainer.config import apply_overrides
from trainer.data import replay
from trainer.methods import teach
from trainer.methods.teach import TeachTraining, shipped_base
from trainer.presets import PRESETS


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.data.examples.user_cache_dir", lambda *_, **__: str(tmp_path))
    monkeypatch.setattr(replay, "_LENGTHS", (24, 30))


@pytest.fixture
def base(corpus: Path, tmp_path: Path) -> Path:
    """A tiny model that has learned from another corpus."""
    words = ["--data", str(corpus), "--out", str(tmp_path / "base")]
    assert main(["train", "mdm-smoke", *words, "--set", "loop.num_steps=3"]) == 0
    return tmp_path / "base" / "best.safetensors"


@pytest.fixture
def lessons(tmp_path: Path) -> Path:
    return make_teacher_corpus(tmp_path / "lessons")


SHORT = ("loop.num_steps=6", "loop.warmup_steps=1", "loop.validate_every=3", "loop.save_every=3")
WORDS = [
    word
    for one in (*SHORT, "loop.log_every=1", "replay_clips=6", "precision=float32")
    for word in ("--set", one)
]


def train(base: Path, lessons: Path, run: Path, *extra: str) -> int:
    words = ["--data", str(lessons), "--out", str(run), "--init", str(base), *WORDS]
    return main(["train", "video-mdm-teach", *words, *extra])


def settings(base: Path, *overrides: str) -> TeachTraining:
    training = PRESETS["video-mdm-teach"].training
    assert isinstance(training, TeachTraining)
    fixed = (f"base={base}", "replay_clips=6", "precision=float32", "text_noise=0")
    return apply_overrides(training, [*fixed, *overrides])


def test_what_was_taught_is_a_model_with_the_bases_statistics(
    base: Path, lessons: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert train(base, lessons, run) == 0
    (before, old), (after, new) = (load_checkpoint(p) for p in (base, run / "best.safetensors"))
    for name in ("statistics.mean", "statistics.std"):
        assert old[name].equal(new[name])
    assert after.method == "video_mdm"
    assert after.method_config == before.method_config
    assert after.licence.startswith(before.licence)
    known = after.extra["captions"]
    assert known[: len(before.extra["captions"])] == before.extra["captions"]
    assert "a person walks number 1" in known
    assert len(new["captions.sentences"]) == len(known)
    assert any(not old[name].equal(new[name]) for name in old if name.startswith("model."))
    config = json.loads((run / "config.json").read_text())
    assert config["base"] == str(base)
    method = load_method(run / "best.safetensors", torch.device("cpu"))
    options = SampleOptions(num_frames=30, seed=1, num_steps=2)
    motion = method.run(Prompt("a person walks number 1"), options, lambda step, of: None)
    assert motion.joints().isfinite().all()
    rows = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    assert {"validation", "known"} <= rows[-1].keys()


def test_it_starts_as_its_base_and_only_drift_counts_on_what_is_known(
    base: Path, lessons: Path, tmp_path: Path
) -> None:
    [stage] = teach.stages(settings(base), [lessons], tmp_path / "run")
    [player] = stage.players
    player.module.eval()
    batch = stage.batches.draw(torch.Generator().manual_seed(0))
    assert len(batch.known.features) == len(batch.new.features)
    terms = player.loss(batch, torch.Generator().manual_seed(0))
    assert terms["known"].item() == pytest.approx(0.0, abs=1e-10)
    assert terms["reprojection"].item() > 0
    with torch.no_grad():
        for parameter in player.module.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
        moved = player.loss(batch, torch.Generator().manual_seed(0))
        assert moved["known"].item() > 1e-3
        assert stage.validate()["known"] > 1e-3
    [without] = teach.stages(settings(base, "replay_weight=0"), [lessons], tmp_path / "other")
    assert "known" not in without.players[0].loss(batch, torch.Generator().manual_seed(0))


def test_a_resumed_run_is_the_run_that_never_stopped(
    base: Path, lessons: Path, tmp_path: Path
) -> None:
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    assert train(base, lessons, whole) == 0
    assert train(base, lessons, halves, "--minutes", "0") == 0
    sampled = (halves / replay.FILE).stat().st_mtime_ns
    assert train(base, lessons, halves, "--resume") == 0
    assert (halves / replay.FILE).stat().st_mtime_ns == sampled
    expected = load_file(whole / "training-state.safetensors")
    found = load_file(halves / "training-state.safetensors")
    assert all(expected[name].equal(found[name]) for name in expected)


def test_a_corpus_stands_for_what_is_known_where_there_is_one(
    base: Path, lessons: Path, corpus: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    [stage] = teach.stages(settings(base, f"replay={corpus}"), [lessons], run)
    assert not (run / replay.FILE).exists()
    assert stage.batches.draw(torch.Generator()).known.mask.any()


def test_few_clips_without_any_held_out_are_enough(base: Path, tmp_path: Path) -> None:
    lessons = make_teacher_corpus(tmp_path / "few", num_train=3)
    rows = [json.loads(line) for line in (lessons / "index.jsonl").read_text().splitlines()]
    rows = [{**row, "split": "train"} for row in rows]
    (lessons / "index.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert train(base, lessons, tmp_path / "run") == 0


def test_wrong_bases_give_a_line(
    base: Path, lessons: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lifter = shipped_base().with_name("hmmr-free.safetensors")
    assert train(lifter, lessons, tmp_path / "a") == 2
    assert "needs a text-to-motion model" in capsys.readouterr().err
    assert train(tmp_path / "none.safetensors", lessons, tmp_path / "b") == 2
    assert "none.safetensors" in capsys.readouterr().err
    assert train(base, lessons, tmp_path / "c", "--set", "replay_weight=-1") == 2
    assert "0 or more" in capsys.readouterr().err
    run = tmp_path / "run"
    assert train(base, lessons, run, "--minutes", "0") == 0
    assert train(shipped_base(), lessons, run, "--resume") == 2
    assert "begun from another model" in capsys.readouterr().err


def test_the_base_that_ships_is_the_default(lessons: Path, tmp_path: Path, capsys) -> None:
    words = ["--data", str(lessons), "--out", str(tmp_path), "--dry-run"]
    assert main(["train", "video-mdm-teach", *words]) == 0
    assert json.loads(capsys.readouterr().out)["base"] == str(shipped_base())
    assert read_info(shipped_base()).accepts == ("prompt",)
    assert np.isfinite(read_info(shipped_base()).fps)
