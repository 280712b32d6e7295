"""Training a lifter from the command line: it learns, resumes to the bit, and lifts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from engine.checkpoint import read_info
from engine.methods import load_method
from engine.methods.base import SampleOptions, VideoClip
from trainer.__main__ import main
from trainer.data.lifting_examples import LiftBatch
from trainer.methods.hmmr import HmmrTraining, stages
from trainer.presets import PRESETS


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(tmp_path / "cache")
    monkeypatch.setattr("trainer.data.pose_bank.user_cache_dir", lambda *_, **__: folder)


def train(corpus: Path, run: Path, *extra: str) -> int:
    return main(["train", "hmmr-smoke", "--data", str(corpus), "--out", str(run), *extra])


def figures(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]


def test_a_short_run_lowers_the_held_out_error_and_lifts(corpus: Path, tmp_path: Path) -> None:
    start, run = tmp_path / "start", tmp_path / "run"
    assert train(corpus, start, "--set", "loop.num_steps=1") == 0
    assert train(corpus, run, "--set", "loop.num_steps=60") == 0
    for name in ("validation", "single_frame"):
        first, last = (
            [row[name] for row in figures(folder) if name in row][-1] for folder in (start, run)
        )
        assert last < 0.8 * first
    assert any(row.get("generator/fooling", 0) > 0 for row in figures(run))
    assert any(row.get("critic/critic", 0) > 0 for row in figures(run))
    info = read_info(run / "best.safetensors")
    assert (info.method, info.accepts, info.training["datasets"]) == ("hmmr", ("video",), ["made"])
    method = load_method(run / "best.safetensors", torch.device("cpu"))
    clip = VideoClip(keypoints=torch.rand(30, 33, 3) * 500, fps=20.0)
    motion = method.run(clip, SampleOptions(num_frames=30, seed=0), lambda step, of: None)
    assert motion.joints().isfinite().all()


def test_a_resumed_run_is_the_run_that_never_stopped(corpus: Path, tmp_path: Path) -> None:
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    settings = ("--set", "adversarial_start=1")
    assert train(corpus, whole, *settings) == 0
    assert train(corpus, halves, *settings, "--minutes", "0") == 0  # stops after one step
    assert train(corpus, halves, *settings, "--resume") == 0
    expected = load_file(whole / "training-state.safetensors")
    found = load_file(halves / "training-state.safetensors")
    assert expected.keys() == found.keys()
    assert all(expected[name].equal(found[name]) for name in expected)


def test_clips_without_3d_are_learned_from_by_their_keypoints_alone(
    corpus: Path, tmp_path: Path
) -> None:
    training = PRESETS["hmmr-smoke"].training
    assert isinstance(training, HmmrTraining)
    stage = stages(training, [corpus], tmp_path)[0]
    batch = stage.batches.draw(torch.Generator().manual_seed(0))
    assert 0 < int(batch.has_truth.sum()) < len(batch.has_truth)
    player = stage.players[0]

    def terms(batch: LiftBatch) -> dict[str, torch.Tensor]:
        return player.loss(batch, torch.Generator().manual_seed(1))

    flat = replace(batch, has_truth=torch.zeros_like(batch.has_truth))
    garbled = replace(
        flat,
        joints=flat.joints.flip(1),
        local_rotations=flat.local_rotations.flip(1),
        root=flat.root + 1.0,
        up=flat.up.flip(-1),
        contacts=1 - flat.contacts,
        log_bones=flat.log_bones + 0.3,
    )
    first, second = terms(flat), terms(garbled)
    assert first["keypoints"] > 0
    for name in first:
        torch.testing.assert_close(first[name], second[name], msg=name)
    with_truth = terms(batch)
    assert with_truth["joints"] > 0
    assert first["joints"] == 0
    sum(first.values()).backward()
    gradients = [p.grad for p in player.module.parameters() if p.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    scene = player.module.scene.weight.grad  # up and contacts: what only 3D tells
    assert scene is None or scene.abs().max() == 0


def test_a_run_says_what_it_learned_from(corpus: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert train(corpus, run, "--set", "loop.num_steps=1") == 0
    assert read_info(run / "last.safetensors").training["supervision"] == "3d and 2d"
    assert train(corpus, tmp_path / "none", "--set", "truth_share=0") == 2


def test_the_halves_share_no_performer(corpus: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in (corpus / "index.jsonl").read_text().splitlines()]
    for number, row in enumerate(rows):
        row["performer"] = f"p{number % 3}"
    (corpus / "index.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    for part in ("a", "b"):
        run = tmp_path / part
        assert train(corpus, run, "--set", f"performers={part}", "--set", "loop.num_steps=1") == 0
        settings = read_info(run / "last.safetensors").training["settings"]
        assert settings["performers"] == part
