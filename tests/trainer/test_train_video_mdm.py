"""VideoMDM from the command line, at the truth, and as MDM in disguise."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from engine.capture_job import better_by
from engine.checkpoint import read_info
from engine.methods import load_method
from engine.methods.base import Prompt, SampleOptions
from engine.methods.video_mdm import RefineOptions, VideoMdm
from engine.motion.representation import ROOT_LOCAL
from engine.networks.denoiser import Denoiser
from tests.trainer.made_teachers import camera_around, make_teacher_corpus
from trainer.__main__ import main
from trainer.config import apply_overrides
from trainer.data.corpus import CorpusError
from trainer.data.examples import ExampleSampler, encode_clip
from trainer.data.statistics import measure_statistics
from trainer.data.teacher_corpus import load_teacher_clips
from trainer.data.video_examples import VideoBatch, as_clip, crop
from trainer.evaluation.refinement import measure_refinement
from trainer.losses.ray_losses import see_joints
from trainer.methods import video_mdm
from trainer.methods.mdm import MdmObjective, make_examples
from trainer.methods.video_mdm import VideoMdmObjective, VideoMdmTraining
from trainer.presets import PRESETS


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.data.examples.user_cache_dir", lambda *_, **__: str(tmp_path))


@pytest.fixture
def teachers(tmp_path: Path) -> Path:
    return make_teacher_corpus(tmp_path / "teachers")


def smoke(*overrides: str) -> VideoMdmTraining:
    training = PRESETS["video-mdm-smoke"].training
    assert isinstance(training, VideoMdmTraining)
    return apply_overrides(training, ["precision=float32", *overrides])


def train(folder: Path, run: Path, *extra: str) -> int:
    words = ["--data", str(folder), "--out", str(run), "--set", "precision=float32"]
    return main(["train", "video-mdm-smoke", *words, *extra])


def first_batch(training: VideoMdmTraining, folder: Path, run: Path) -> VideoBatch:
    [stage] = video_mdm.stages(training, [folder], run)
    return stage.batches.draw(torch.Generator().manual_seed(0))


def test_a_run_lowers_its_losses_is_sampled_and_betters_a_lift(
    teachers: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert train(teachers, run, "--set", "loop.num_steps=40") == 0
    rows = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    validation = [row["validation"] for row in rows if "validation" in row]
    assert validation[-1] < 0.9 * validation[0]
    info = read_info(run / "best.safetensors")
    assert (info.method, info.training["supervision"]) == ("video_mdm", "2d lifted")
    method = load_method(run / "best.safetensors", torch.device("cpu"))
    assert isinstance(method, VideoMdm)
    options = SampleOptions(num_frames=30, seed=1, num_steps=2)
    motion = method.run(Prompt("a person walks"), options, lambda step, of: None)
    assert motion.joints().isfinite().all()

    # windows of ten seconds, each in three parts, are one way
    told: list[float] = []
    camera = camera_around(0.0, 30)
    keypoints = torch.cat((camera.project(motion.joints())[0], torch.ones(30, 22, 1)), dim=-1)
    twice = torch.arange(220).clamp(max=29)
    long = replace(
        motion,
        root_translation=motion.root_translation[twice],
        local_rotations=motion.local_rotations[twice],
        contacts=motion.contacts[twice],
        camera=camera[twice],
    )
    bettered = better_by(method, None, 0)(
        long, keypoints[twice], lambda step, steps: told.append(step / steps)
    )
    assert bettered.num_frames == 220
    assert told == sorted(told)
    assert told[0] < 0.1
    assert 0.99 < told[-1] <= 1.0

    clips = load_teacher_clips([teachers], "test")
    reported: list[None] = []
    figures = measure_refinement(
        method,
        clips,
        RefineOptions(num_steps=2, start=4.0),
        with_prompt=True,
        report=lambda: reported.append(None),
    )
    assert len(reported) == len(clips)
    # the made walker has other bones than the built-in body: nothing is gained, nor blown up
    assert 0.0 < figures["lift_mpjpe"].value < 3 * figures["teacher_mpjpe"].value
    gain = 1 - figures["lift_world_mpjpe"].value / figures["teacher_world_mpjpe"].value
    assert figures["lift_world_gain"].value == pytest.approx(gain)
    clips[0] = replace(clips[0], truth=None)
    with pytest.raises(CorpusError, match="isn't told"):
        measure_refinement(method, clips)


def test_a_resumed_run_is_the_run_that_never_stopped(teachers: Path, tmp_path: Path) -> None:
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    words = ("--set", "low_noise.scheme=curriculum", "--set", "crop_frames=22")
    assert train(teachers, whole, *words) == 0
    assert train(teachers, halves, *words, "--minutes", "0") == 0
    assert train(teachers, halves, *words, "--resume") == 0
    expected = load_file(whole / "training-state.safetensors")
    found = load_file(halves / "training-state.safetensors")
    assert all(expected[name].equal(found[name]) for name in expected)


def test_all_terms_are_zero_at_the_truth_and_learned_from_otherwise(
    teachers: Path, tmp_path: Path
) -> None:
    training = smoke("losses.floor=1", "losses.contact=1", "teacher=truth")
    batch = first_batch(training, teachers, tmp_path)
    clips = load_teacher_clips([teachers], "train")
    truths = [encode_clip(as_clip(clip, clip.truth), ROOT_LOCAL) for clip in clips]
    statistics = measure_statistics(truths, ROOT_LOCAL)
    objective = VideoMdmObjective(Denoiser(training.model.denoiser), statistics, training)
    terms = objective.terms(batch.features, batch)
    own = {name: float(v) for name, v in terms.items() if name not in ("floor", "contact")}
    # positions are kept to a quarter of a millimetre
    assert own == pytest.approx(dict.fromkeys(own, 0.0), abs=4e-3)
    assert len(own) == 6
    off = batch.features + 0.5 * torch.randn(batch.features.shape)
    off = off.requires_grad_(True)
    worse = objective.terms(off, batch)
    assert all(worse[name] > 5 * terms[name] for name in terms if name not in ("floor", "contact"))
    torch.stack(list(worse.values())).sum().backward()
    assert off.grad is not None
    assert off.grad.isfinite().all()
    assert off.grad[~batch.mask].abs().max() == 0
    nothing = replace(batch, sight=replace(batch.sight, confidence=0 * batch.sight.confidence))
    unseen = objective.terms(off, nothing)
    seen_terms = ("reprojection", "velocity", "alignment", "features")
    assert all(unseen[name].item() == 0 for name in seen_terms)
    torch.stack(list(unseen.values())).sum().backward()
    assert off.grad.isfinite().all()


def test_without_alignment_what_no_position_depends_on_learns_nothing(
    teachers: Path, tmp_path: Path
) -> None:
    training = smoke("losses.alignment=0")
    batch = first_batch(training, teachers, tmp_path)
    clips = load_teacher_clips([teachers], "train")
    features = [encode_clip(as_clip(clip, clip.teacher), ROOT_LOCAL) for clip in clips]
    statistics = measure_statistics(features, ROOT_LOCAL)
    model = Denoiser(training.model.denoiser)
    parts = [ROOT_LOCAL.part(block) for block in ("joint_velocities", "foot_contacts")]
    for weight, is_learned in ((0.0, False), (1.0, True)):
        changed = replace(training, losses=replace(training.losses, alignment=weight))
        x0 = (batch.features + 0.1).requires_grad_(True)
        terms = VideoMdmObjective(model, statistics, changed).terms(x0, batch)
        torch.stack(list(terms.values())).sum().backward()
        assert x0.grad is not None
        assert all(bool((x0.grad[..., part] != 0).any()) == is_learned for part in parts)


def test_with_the_truth_for_a_teacher_and_3d_supervision_it_is_mdm(
    teachers: Path, tmp_path: Path
) -> None:
    training = smoke("teacher=truth", "supervision=3d")
    [stage] = video_mdm.stages(training, [teachers], tmp_path)
    [player] = stage.players
    clips = [as_clip(c, c.truth) for c in load_teacher_clips([teachers], "train")]
    encoded = [encode_clip(clip, ROOT_LOCAL) for clip in clips]
    statistics = measure_statistics(encoded, ROOT_LOCAL)
    features = [statistics.normalise(clip) for clip in encoded]
    examples, texts = make_examples(clips, features, training, random.Random(0))
    sampler = ExampleSampler(
        examples, texts, batch_size=training.batch_size, prompt_dropout=training.prompt_dropout
    )
    objective = MdmObjective(player.module, statistics, training)
    player.module.eval()
    one, other = (torch.Generator().manual_seed(7) for _ in range(2))
    for _ in range(3):
        found = player.loss(stage.batches.draw(one), one)
        expected = objective.loss(sampler.draw(other), other)
        assert found.keys() == expected.keys()
        assert all(found[name].equal(expected[name]) for name in expected)


def test_a_crop_sees_its_motion_where_the_whole_clip_saw_it(teachers: Path, tmp_path: Path) -> None:
    training = smoke("teacher=truth")
    batch = first_batch(training, teachers, tmp_path)
    features = [
        encode_clip(as_clip(c, c.truth), ROOT_LOCAL)
        for c in load_teacher_clips([teachers], "train")
    ]
    statistics = measure_statistics(features, ROOT_LOCAL)
    starts = torch.arange(len(batch.mask)) % 5
    part = crop(batch, starts, 20)
    decoded = ROOT_LOCAL.decode(statistics.restore(part.features))
    seen = see_joints(decoded.joints, part.sight.camera)
    off = (seen.plane - part.sight.plane_points).norm(dim=-1)[part.mask]
    assert decoded.joints[:, 0, 0, [0, 2]].abs().max() < 1e-6
    assert off.max() < 2e-3
    row = int(starts.argmax())
    assert part.sight.plane_points[row, 0].equal(batch.sight.plane_points[row, int(starts[row])])


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (("--set", "cameras=none"), "needs one of given, estimated"),
        (("--set", "low_noise.scheme=x"), "needs one of off"),
        (("--set", "losses.rays=-1"), "needs 0 or more"),
    ],
)
def test_wrong_words_give_a_line(teachers, tmp_path: Path, capsys, extra, message: str) -> None:
    assert train(teachers, tmp_path / "run", *extra) == 2
    assert message in capsys.readouterr().err
    assert (
        main(["train", "video-mdm-smoke", "--data", str(tmp_path), "--out", str(tmp_path / "r")])
        == 2
    )
    assert "prepare teacher" in capsys.readouterr().err
    assert train(teachers, tmp_path / "run", "--dry-run") == 0
    assert json.loads(capsys.readouterr().out)["low_noise"]["t_star"] == 12
