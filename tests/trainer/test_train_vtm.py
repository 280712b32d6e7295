"""Training VTM from the command line: it learns in two stages, resumes in either, and lifts."""

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
from trainer.data.lifting_examples import LiftBatch, LiftSampler
from trainer.methods.vtm import VtmTraining, shortened, stages
from trainer.presets import PRESETS


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(tmp_path / "cache")
    monkeypatch.setattr("trainer.data.pose_bank.user_cache_dir", lambda *_, **__: folder)


def train(corpus: Path, run: Path, *extra: str) -> int:
    return main(["train", "vtm-smoke", "--data", str(corpus), "--out", str(run), *extra])


def figures(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]


def test_a_short_run_lowers_held_out_errors_in_both_stages_and_lifts(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    settings = ("loop.num_steps=60", "autoencoder_share=0.34", "loop.ema_decay=0.5")
    assert train(corpus, run, *(word for value in settings for word in ("--set", value))) == 0
    rows = figures(run)
    assert [row["step"] for row in rows if "validation" in row] == [10, 20, 30, 40, 50, 60]
    motions = [row["validation"] for row in rows if "validation" in row and row["step"] <= 20]
    assert motions[-1] < motions[0]
    lifted = [row for row in rows if "aligned" in row]
    losses = [row["loss"] for row in rows if "model/keypoints" in row]
    assert losses[-1] < 0.8 * losses[0]
    assert lifted[-1]["codes"] < lifted[0]["codes"]
    assert not any("model/alignment" in row for row in rows if row["step"] <= 20)
    assert "Wrote" in capsys.readouterr().out
    info = read_info(run / "best.safetensors")
    assert (info.method, info.accepts, info.training["datasets"]) == ("vtm", ("video",), ["made"])
    assert info.training["step"] > 20
    method = load_method(run / "best.safetensors", torch.device("cpu"))
    clip = VideoClip(keypoints=torch.rand(30, 33, 3) * 500, fps=20.0)
    motion = method.run(clip, SampleOptions(num_frames=30, seed=0), lambda step, of: None)
    assert motion.joints().isfinite().all()


def test_a_resumed_run_is_the_run_that_never_stopped_in_either_stage(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, stopped, killed = (tmp_path / name for name in ("whole", "stopped", "killed"))
    short = ("--set", "loop.num_steps=12", "--set", "loop.save_every=4")
    assert train(corpus, whole, *short) == 0
    assert train(corpus, stopped, *short, "--minutes", "0") == 0  # after a step of the first stage
    assert not (stopped / "best.safetensors").exists()
    assert train(corpus, stopped, *short, "--resume") == 0
    draw = LiftSampler.draw

    def draw_or_die(self: LiftSampler, generator: torch.Generator) -> LiftBatch:
        batch = draw(self, generator)
        if batch.number == 9:  # of twelve, the first three for the first stage
            raise KeyboardInterrupt
        return batch

    with monkeypatch.context() as patch:
        patch.setattr(LiftSampler, "draw", draw_or_die)
        assert train(corpus, killed, *short) == 130
    assert json.loads((killed / "training-state.json").read_text())["stage"] == "align"
    assert train(corpus, killed, *short, "--resume") == 0
    expected = load_file(whole / "training-state.safetensors")
    for run in (stopped, killed):
        found = load_file(run / "training-state.safetensors")
        assert expected.keys() == found.keys()
        assert all(expected[name].equal(found[name]) for name in expected)
        losses = [
            {row["step"]: row["loss"] for row in figures(folder) if "model/keypoints" in row}
            for folder in (whole, run)
        ]
        assert losses[0] == losses[1]


def objective_of(training: VtmTraining, corpus: Path, run: Path):
    """The second stage's batch and player."""
    stage = stages(training, [corpus], run)[-1]
    return stage.batches.draw(torch.Generator().manual_seed(0)), stage.players[0]


def test_every_parameter_learns_in_the_second_stage(corpus: Path, tmp_path: Path) -> None:
    training = PRESETS["vtm-smoke"].training
    assert isinstance(training, VtmTraining)
    batch, player = objective_of(training, corpus, tmp_path)
    generator = torch.Generator().manual_seed(1)
    terms = player.loss(batch, generator)
    assert {"alignment", "keypoints", "bones", "errors", "joints", "depth"} <= terms.keys()
    torch.stack(list(terms.values())).sum().backward()
    for name, parameter in player.module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    learned = {id(p) for group in player.optimizer.param_groups for p in group["params"]}
    assert learned == {id(p) for p in player.module.parameters()}


def test_without_alignment_nothing_else_is_different(corpus: Path, tmp_path: Path) -> None:
    full, without = (PRESETS[f"vtm-free{end}"].training for end in ("", "-no-alignment"))
    assert isinstance(full, VtmTraining)
    assert isinstance(without, VtmTraining)
    assert full.weights.alignment > without.weights.alignment == 0
    assert replace(full, weights=without.weights) == without
    smoke = PRESETS["vtm-smoke"].training
    assert isinstance(smoke, VtmTraining)
    ablated = replace(smoke, weights=replace(smoke.weights, alignment=0.0), autoencoder_share=0.0)
    assert len(stages(ablated, [corpus], tmp_path)) == 1
    batch, player = objective_of(ablated, corpus, tmp_path)
    assert "alignment" not in player.loss(batch, torch.Generator().manual_seed(1))


def test_some_windows_are_cut_to_one_frame_and_some_to_any_number(
    corpus: Path, tmp_path: Path
) -> None:
    training = PRESETS["vtm-smoke"].training
    assert isinstance(training, VtmTraining)
    training = replace(training, data=replace(training.data, batch_size=200))
    batch, _ = objective_of(training, corpus, tmp_path)
    generator = torch.Generator().manual_seed(2)
    lengths = shortened(batch, 0.5, generator).mask.sum(1)
    assert 0.15 < float((lengths == 1).float().mean()) < 0.4
    assert len(set(lengths.tolist())) > 10
    assert shortened(batch, 0.0, generator).mask.equal(batch.mask)


def test_an_odd_window_and_a_negative_weight_are_refused(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(corpus, tmp_path / "odd", "--set", "data.num_frames=22") == 2
    assert "multiple of 4" in capsys.readouterr().err
    assert train(corpus, tmp_path / "odd", "--set", "weights.bones=-1") == 2
    assert "needs 0 or more" in capsys.readouterr().err


def test_it_is_evaluated_beside_single_frames_and_the_mean_pose(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert train(corpus, run, "--set", "loop.num_steps=4") == 0
    capsys.readouterr()
    words = ["evaluate", str(run / "best.safetensors"), "--data", str(corpus), "--json"]
    assert main([*words, "--limit", "2"]) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    columns = set(report["figures"])
    assert {"best, noisy", "best, single frame, noisy", "best, exact", "mean pose"} <= columns
    assert report["figures"]["best, noisy"]["pa_mpjpe"]["value"] > 0
