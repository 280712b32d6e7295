"""Training CrossDiff: all four paths learn, a run resumes to the bit, flags do what they say."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from engine.checkpoint import read_info
from engine.methods import load_method
from engine.methods.base import SampleOptions, VideoClip
from engine.networks.two_domain import TwoDomainConfig
from trainer.__main__ import main
from trainer.data.corpus import load_corpus
from trainer.data.examples import Example
from trainer.data.feature_bank import FeatureBank
from trainer.data.footage import load_footage
from trainer.data.statistics import Statistics
from trainer.data.two_domain_examples import measure_views, split_clips
from trainer.methods.crossdiff import CrossDiffTraining, stages
from trainer.presets import PRESETS
from trainer.stages import Stage

PATHS = ("3d-3d", "2d-3d", "3d-2d", "2d-2d")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def folder(name: str, *, appauthor: bool) -> str:
        return str(tmp_path / "cache")

    monkeypatch.setattr("trainer.data.examples.user_cache_dir", folder)


def smoke(**changes: object) -> CrossDiffTraining:
    training = PRESETS["crossdiff-smoke"].training
    assert isinstance(training, CrossDiffTraining)
    return replace(training, precision="float32", **changes)


def train(corpus: Path, run: Path, *extra: str) -> int:
    words = ["train", "crossdiff-smoke", "--data", str(corpus), "--out", str(run)]
    return main([*words, "--set", "precision=float32", *extra])


def figures(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]


def take(stage: Stage, count: int) -> list[dict[str, float]]:
    """The terms of `count` optimiser steps."""
    generator = torch.Generator().manual_seed(0)
    player = stage.players[0]
    told: list[dict[str, float]] = []
    for _ in range(count):
        terms = player.loss(stage.batches.draw(generator), generator)
        player.optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        player.optimizer.step()
        told.append({name: value.item() for name, value in terms.items()})
    return told


def test_one_clip_is_learned_by_heart_along_all_paths(corpus: Path, tmp_path: Path) -> None:
    (corpus / "train.txt").write_text("A000\n")
    plain = smoke()
    model = replace(
        plain.model,
        unified=TwoDomainConfig(
            width=32,
            num_heads=2,
            feedforward=64,
            private_layers=1,
            shared_layers=2,
            detail_width=24,
            dropout=0.0,
        ),
    )
    training = replace(
        plain,
        model=model,
        data=replace(plain.data, footage_share=0.0, unknown_share=0.0, num_views=1),
        weights=replace(plain.weights, tie=0.0, steps=0.0, path=0.0),
        learning_rate=6e-3,
        noisiest_share=0.0,
        lift_share=0.0,
        text_noise=0.0,
    )
    told = take(stages(training, [corpus], tmp_path)[0], 80)
    for path in PATHS:
        last = sum(terms[path] for terms in told[-8:]) / 8
        assert last < 0.1 * told[0][path], path


def test_a_resumed_run_is_the_run_that_never_stopped(corpus: Path, tmp_path: Path) -> None:
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    few = (
        *("--set", "loop.num_steps=4", "--set", "wild_stage=0.5"),
        *("--set", "data.solid_share=0.6", "--set", "data.flat_share=1"),
    )
    assert train(corpus, whole, *few) == 0
    assert train(corpus, halves, *few, "--minutes", "0") == 0  # stops after one step
    assert train(corpus, halves, *few, "--resume") == 0
    expected = load_file(whole / "training-state.safetensors")
    found = load_file(halves / "training-state.safetensors")
    assert expected.keys() == found.keys()
    assert all(expected[name].equal(found[name]) for name in expected)
    told = read_info(whole / "best.safetensors")
    assert (told.method, told.training["stage"], told.training["step"]) == ("crossdiff", "wild", 4)
    assert told.accepts == ("prompt", "video")
    assert told.training["validation"] == pytest.approx(figures(whole)[-1]["3d-3d"])
    assert all(path in figures(whole)[-1] for path in PATHS)
    method = load_method(whole / "best.safetensors", torch.device("cpu"))
    clip = VideoClip(keypoints=torch.rand(30, 33, 3) * 500, fps=20.0)
    motion = method.run(clip, SampleOptions(num_frames=30, seed=0), lambda step, of: None)
    assert motion.joints().isfinite().all()


def test_clips_told_by_views_alone_teach_no_more_than_that(corpus: Path, tmp_path: Path) -> None:
    plain = smoke()
    data = replace(plain.data, solid_share=0.5, flat_share=1.0)
    stage = stages(replace(plain, data=data), [corpus], tmp_path)[0]
    batch = stage.batches.draw(torch.Generator().manual_seed(0))
    solid, _ = split_clips(load_corpus([corpus], "train"), data)
    is_flat = batch.rows >= len(solid)
    assert 0 < int(is_flat.sum()) < len(is_flat)
    flat = replace(
        batch, **{f.name: getattr(batch, f.name)[is_flat] for f in dataclasses.fields(batch)}
    )
    player = stage.players[0]
    terms = player.loss(flat, torch.Generator().manual_seed(1))
    assert terms["2d-2d"] > 0
    # how a lift is seen is known of it, and nothing of a motion in space that isn't there
    assert terms["tie 2d-3d"] > 0
    for name, value in terms.items():
        assert name in ("2d-2d", "tie 2d-3d") or value == 0, name
    torch.stack([v for name, v in terms.items() if name != "tie 2d-3d"]).sum().backward()
    for name, parameter in player.module.named_parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all()
        if name.startswith("decoders.3d"):
            assert parameter.grad is None or parameter.grad.abs().max() == 0, name


def test_a_control_in_space_alone_never_sees_a_view(corpus: Path, tmp_path: Path) -> None:
    alone = [
        word
        for name in ("flat_solid", "solid_flat", "flat_flat")
        for word in ("--set", f"weights.{name}=0")
    ]
    run = tmp_path / "run"
    assert train(corpus, run, "--set", "loop.num_steps=3", *alone) == 0
    info = read_info(run / "best.safetensors")
    assert (info.training["supervision"], info.accepts) == ("3d", ("prompt",))
    assert "2d-2d" not in figures(run)[-1]


def test_only_the_end_of_a_batch_is_seen_where_so_set(corpus: Path, tmp_path: Path) -> None:
    training = smoke()
    data = replace(training.data, seen_share=0.5, footage_share=0.5)
    stage = stages(replace(training, data=data), [corpus], tmp_path)[0]
    calls: list[tuple[tuple[str, ...], int]] = []

    def note(module: torch.nn.Module, given: tuple[dict[str, torch.Tensor], torch.Tensor]) -> None:
        calls.append((tuple(given[0]), len(given[1])))

    stage.players[0].module.register_forward_pre_hook(note)  # pyright: ignore[reportArgumentType]
    told = take(stage, 40)
    assert set(calls) == {(("3d", "2d"), 4), (("3d",), 4)}
    sums = [sum(terms[path] for path in PATHS) for terms in told]
    assert sum(sums[-10:]) < 0.8 * sum(sums[:10])
    batch = stage.batches.draw(torch.Generator().manual_seed(1))
    assert not batch.is_told[6:].any()  # footage: half of the four that are seen
    assert batch.is_told[:6].any()


def test_the_published_network_trains_too(corpus: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    words = ("model.network=published", "model.representation=humanml3d_263", "loop.num_steps=2")
    assert train(corpus, run, *(w for word in words for w in ("--set", word))) == 0
    method = load_method(run / "best.safetensors", torch.device("cpu"))
    clip = VideoClip(keypoints=torch.rand(12, 33, 3) * 500, fps=20.0)
    motion = method.run(clip, SampleOptions(num_frames=12, seed=0), lambda step, of: None)
    assert motion.joints().isfinite().all()


def test_shares_that_leave_nothing_are_refused(corpus: Path, tmp_path: Path) -> None:
    assert train(corpus, tmp_path / "a", "--set", "data.solid_share=0") == 2
    assert train(corpus, tmp_path / "b", "--set", "data.held_out=walk") == 2
    assert train(corpus, tmp_path / "c", "--set", "wild_stage=0.9") == 2


@pytest.mark.parametrize(
    ("setting", "answer"),
    [
        ("wild_stage=0.25", "wild_stage is 0.25, but every clip has 3D"),
        ("data.held_out=kik", "data.held_out is 'kik', which no caption names"),
        ("data.held_out=walk", "No clip is left with 3D: data.held_out is 'walk'"),
        ("data.flat_share=2", "flat_share is 2.0, needs 0 to 1"),
        ("model.network=published", "takes 263 features a frame"),
        ("model.representation=humanml3d_263", "model.unified.solid_features=263"),
        ("model.unified.max_frames=100", "model.unified.max_frames is 100, needs 196 or more"),
    ],
)
def test_settings_that_do_not_fit_are_told(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], setting: str, answer: str
) -> None:
    assert train(corpus, tmp_path / "run", "--set", setting) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert answer in told[-1]


def test_footage_without_any_motion_is_learned_from_by_its_lift(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    views, run = tmp_path / "views", tmp_path / "run"
    made = ["prepare", "views", str(corpus), "--out", str(views), "--count", "1"]
    assert main(made) == 0
    index = views / "index.jsonl"
    index.write_text(index.read_text().replace("someone walks", "someone does a cartwheel"))
    wild = ("--set", "wild_stage=0.5", "--set", "loop.num_steps=4")
    both = ["train", "crossdiff-smoke", "--data", str(corpus), str(views), "--out", str(run)]
    assert main([*both, *wild, "--set", "precision=float32"]) == 0
    info = read_info(run / "best.safetensors")
    assert (info.training["stage"], info.training["datasets"]) == ("wild", ["made", "views"])
    assert "someone does a cartwheel" in info.extra["captions"]
    targets = load_file(run / "wild.safetensors")["targets"]
    frames = [len(clip.views) for clip in load_footage([views], "train")]
    assert len(targets) == sum(frames)
    assert targets.abs().amax() > 0.1

    alone = ["train", "crossdiff-smoke", "--data", str(views), "--out", str(tmp_path / "alone")]
    assert main(alone) == 2
    assert "a corpus of it is needed" in capsys.readouterr().err


def test_footage_is_seen_as_it_is_and_from_no_side(corpus: Path, tmp_path: Path) -> None:
    views = tmp_path / "views"
    assert main(["prepare", "views", str(corpus), "--out", str(views), "--count", "1"]) == 0
    footage = load_footage([views], "train")
    training = smoke()
    data = replace(training.data, unknown_share=0.0, footage_share=0.0)
    stage = stages(replace(training, data=data), [corpus, views], tmp_path)[0]
    batch = stage.batches.draw(torch.Generator().manual_seed(0))
    num_solid = len(load_corpus([corpus], "train"))
    is_shot = batch.rows >= num_solid
    assert 0 < int(is_shot.sum()) < len(is_shot)
    assert batch.is_told.equal(~is_shot)

    statistics = measure_views(load_corpus([corpus], "train"))
    even = Statistics(mean=torch.zeros(137), deviation=torch.ones(137))
    empty = [
        Example(features=torch.zeros(len(clip.views), 137), captions=(0,), weight=1.0)
        for clip in footage
    ]
    bank = FeatureBank(
        empty,
        0,
        {"3d": even, "2d": statistics},
        training.model.solid,
        data,
        torch.device("cpu"),
        footage,
    )
    shot = replace(
        batch, **{f.name: getattr(batch, f.name)[is_shot] for f in dataclasses.fields(batch)}
    )
    numbers = shot.rows - num_solid
    found = bank.gather(replace(shot, rows=numbers), torch.Generator())
    assert not found.has_solid.any()
    for row, number in enumerate(numbers.tolist()):
        own = footage[number].views
        torch.testing.assert_close(found.flat[row, : len(own)], statistics.normalise(own))
        assert found.flat[row, len(own) :].abs().sum() == 0
