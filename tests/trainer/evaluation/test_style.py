"""Distances of motions to held-out clips, and what models know from before."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.checkpoint import CheckpointInfo, save_checkpoint
from engine.motion.representation import ROOT_LOCAL
from tests.trainer.conftest import made_clip
from tests.trainer.made_teachers import make_teacher_corpus
from trainer.__main__ import main
from trainer.commands.evaluate_style import alike, with_base
from trainer.evaluation.style import (
    HeldOut,
    aligned_distance,
    facing_poses,
    motion_distances,
    old_captions,
)


def test_a_motion_is_at_no_distance_from_itself_wherever_it_goes() -> None:
    joints = made_clip(2, 60)
    turn = np.array(((0, 0, 1), (0, 1, 0), (-1, 0, 0)), np.float32)
    moved = joints @ turn.T + np.array((3, 0, -2), np.float32)
    found = motion_distances(joints, moved)
    assert all(value == pytest.approx(0.0, abs=0.02) for value in found.values()), found


def test_a_slower_motion_is_near_at_matching_times_and_other_in_speed() -> None:
    joints = made_clip(2, 120)
    slow = np.repeat(joints, 2, axis=0)[:120]
    first, second = facing_poses(joints[:60]), facing_poses(slow)
    apart = np.linalg.norm(first - second[:60], axis=-1).mean()
    assert aligned_distance(first, second) < 0.25 * apart
    # 3 cm a frame at 20 frames a second, against half of it
    assert motion_distances(slow, joints)["root_speed"] == pytest.approx(0.3, rel=0.03)


def test_another_pose_is_told_in_millimetres() -> None:
    joints = made_clip(2, 60)
    lifted = joints.copy()
    lifted[:, 20, 1] += 0.22  # one of 22 joints
    found = motion_distances(lifted, joints)
    assert found["pose_mm"] == pytest.approx(220 / np.sqrt(22), rel=1e-3)
    assert found["aligned_mm"] == pytest.approx(10.0, rel=0.02)


def test_old_prompts_are_those_that_all_know_and_none_teaches() -> None:
    known = [f"caption {number}" for number in range(100)]
    found = old_captions([known, known[10:]], ["caption 50"], 40)
    assert len(found) == 40
    assert "caption 50" not in found
    assert not set(found) & set(known[:10])
    assert old_captions([known, known[:20]], [], 40) == []


@pytest.mark.slow
def test_taught_clips_are_measured_from_the_command_line(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    monkeypatch.setattr("trainer.data.examples.user_cache_dir", lambda *_, **__: str(tmp_path))
    lessons = make_teacher_corpus(tmp_path / "lessons")
    words = ["--data", str(corpus), "--out", str(tmp_path / "base"), "--set", "loop.num_steps=2"]
    assert main(["train", "mdm-smoke", *words]) == 0
    capsys.readouterr()
    model = str(tmp_path / "base" / "best.safetensors")
    words = ["evaluate", model, "--data", str(lessons), "--seeds", "2", "--json"]
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    figures = told["figures"]
    assert set(figures) == {"best", "its training clips"}
    assert set(figures["best"]) == set(figures["its training clips"])  # it knows few old prompts
    assert all(0 < figure["value"] < 1e4 for figure in figures["best"].values())
    assert told["num_clips"] == 3
    sheet = tmp_path / "sheet.png"
    assert main([*words, "--sheet", str(sheet)]) == 0
    assert sheet.read_bytes().startswith(b"\x89PNG")
    assert main([*words, "--sheet", str(sheet)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert main([*words, "--sheet", str(tmp_path / "sheet.txt")]) == 2
    assert "ends in .png" in capsys.readouterr().err
    lifter = Path(__file__).parents[3] / "engine" / "models" / "hmmr-free.safetensors"
    assert main([*words[:1], model, *words[2:], "--compare", str(lifter)]) == 2
    assert "takes no prompt" in capsys.readouterr().err
    named = ["evaluate", str(lifter), *words[2:], "--sheet", str(tmp_path / "other.png")]
    assert main(named) == 2
    assert "no lifter" in capsys.readouterr().err


def test_a_taught_model_is_held_against_its_base_while_that_is_there(tmp_path: Path) -> None:
    base, taught = tmp_path / "base.safetensors", tmp_path / "taught.safetensors"
    info = CheckpointInfo(
        method="video_mdm",
        method_config={},
        accepts=("prompt",),
        fps=20.0,
        feature_blocks=ROOT_LOCAL.sizes,
    )
    tensors = {"model.weight": torch.zeros(1)}
    save_checkpoint(base, info, tensors)
    save_checkpoint(taught, replace(info, training={"settings": {"base": str(base)}}), tensors)
    assert with_base([base]) == [base]
    assert with_base([taught]) == [taught, base]
    base.unlink()
    assert with_base([taught]) == [taught]


def test_a_clip_is_held_against_the_training_clips_of_its_caption() -> None:
    walk, wave, jump = (
        HeldOut(joints=np.zeros((3, 22, 3), np.float32), captions=(caption,))
        for caption in ("walk", "wave", "jump")
    )
    assert alike(walk, [wave, walk]) == [walk]
    assert alike(jump, [wave, walk]) == [wave, walk]
