"""Teacher corpora: what goes in comes out; what can't be lifted is named and left out."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.checkpoint import CheckpointInfo, save_checkpoint
from engine.methods import load_method
from engine.methods.hmmr import HmmrConfig, HmmrNetwork
from engine.motion.camera import look_at
from trainer.__main__ import main
from trainer.data.corpus import CorpusError, load_corpus
from trainer.data.performers import halves, performer_of
from trainer.data.teacher_corpus import (
    PARTS,
    TeacherClip,
    load_teacher_clips,
    pack,
    unit_camera,
    write_part,
)
from trainer.data.teacher_motions import Lifters, TeacherError


def made_clip(name: str, *, is_told: bool = True) -> TeacherClip:
    generator = torch.Generator().manual_seed(len(name))
    frames = 30
    walk = torch.cumsum(0.05 * torch.randn(frames, 22, 3, generator=generator), 0)
    camera = unit_camera(
        *look_at(
            torch.tensor([2.0, 1.5, 4.0]).expand(frames, 3),
            torch.tensor([0.0, 1.0, 0.0]).expand(frames, 3),
        )
    )
    return TeacherClip(
        clip_id=name,
        captions=("a person walks",),
        teacher=walk,
        truth=walk + 0.1 if is_told else None,
        plane_points=0.3 * torch.randn(frames, 22, 2, generator=generator),
        confidence=torch.rand(frames, 22, generator=generator),
        given=camera if is_told else None,
        estimated=camera,
        row={"id": name, "captions": ["a person walks"], "performer": "p", "source": "s"},
    )


@pytest.fixture
def lifters(tmp_path: Path) -> list[Path]:
    """Two untrained lifters that claim one half of the performers each."""
    config = HmmrConfig(width=16, regressor_width=16, dilations=(1,))
    network = HmmrNetwork(config)
    paths: list[Path] = []
    for half in ("a", "b"):
        info = CheckpointInfo(
            method="hmmr",
            method_config=asdict(config),
            accepts=("video",),
            fps=20.0,
            feature_blocks=(),
            training={"settings": {"performers": half}},
            licence="none: a test",
        )
        path = tmp_path / f"lifter-{half}.safetensors"
        save_checkpoint(path, info, {f"model.{n}": p for n, p in network.named_parameters()})
        paths.append(path)
    return paths


@pytest.fixture
def views(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cache = str(tmp_path / "cache")
    monkeypatch.setattr("trainer.data.pose_bank.user_cache_dir", lambda *_, **__: cache)
    out = tmp_path / "views"
    words = ["--noise", "0", "--moving", "0", "--truth"]
    assert main(["prepare", "views", str(corpus), "--out", str(out), *words]) == 0
    return out


def test_clips_come_out_as_they_went_in_to_half_a_millimetre(tmp_path: Path) -> None:
    clips = [made_clip("one"), made_clip("three", is_told=False)]
    for clip in clips:
        write_part(tmp_path / PARTS / f"{clip.clip_id}.npz", clip)
    assert pack(tmp_path, {"train": ["one", "three"], "val": []}) == 2
    found = load_teacher_clips([tmp_path], "train")
    for wrote, read in zip(clips, found, strict=True):
        assert torch.allclose(read.teacher, wrote.teacher, atol=6e-4)
        assert torch.allclose(read.plane_points, wrote.plane_points, atol=2e-4)
        assert torch.allclose(read.confidence, wrote.confidence, atol=9e-3)
        assert read.estimated.rotation.equal(wrote.estimated.rotation)
        assert read.captions == wrote.captions
    first, second = found
    assert first.truth is not None
    assert torch.allclose(first.truth, clips[0].truth, atol=4e-4)
    assert first.sight("given").camera.translation.equal(clips[0].estimated.translation)
    assert second.truth is None
    with pytest.raises(CorpusError, match="isn't given"):
        second.sight("given")
    with pytest.raises(CorpusError, match="No clip in split 'val'"):
        load_teacher_clips([tmp_path], "val")


def test_a_folder_without_teachers_says_what_it_needs(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="prepare teacher"):
        load_teacher_clips([tmp_path], "train")
    (tmp_path / "index.jsonl").write_text('{"id": "a", "frames": 3, "split": "train"}\n')
    (tmp_path / "clips.npz").write_bytes(b"not a zip")
    with pytest.raises(CorpusError, match="can't be read"):
        load_teacher_clips([tmp_path], "train")


def test_no_lifter_lifts_a_performer_that_it_knows(lifters: list[Path], corpus: Path) -> None:
    learned = load_corpus([corpus], "train", mirrored=False)
    models = [load_method(path, torch.device("cpu")) for path in lifters]
    chosen = Lifters.of(models, learned)
    for performer, half in halves(learned).items():
        model = chosen.for_performer(performer)
        assert model.info.training["settings"]["performers"] != half
    assert chosen.for_performer("a stranger") is models[0]
    only = Lifters.of(models[:1], learned)
    known = performer_of(learned[0])
    other = "b" if halves(learned)[known] == "a" else "a"
    assert Lifters(models[:1], {known: other}).for_performer(known) is models[0]
    with pytest.raises(TeacherError, match="has learned from its performer"):
        Lifters(models[:1], {known: "a"}).for_performer(known)
    assert only.half_of == halves(learned)


def test_prepare_names_bad_clips_goes_on_where_it_stopped_and_refuses(
    views: Path, lifters: list[Path], corpus: Path, tmp_path: Path, capsys, caplog
) -> None:
    out = tmp_path / "teacher"
    names = (views / "train.txt").read_text().split()
    (views / "views" / f"{names[0]}.npz").write_bytes(b"PK damaged")
    with np.load(views / "views" / f"{names[1]}.npz") as file:
        arrays = dict(file)
    arrays["keypoints"] = 0 * arrays["keypoints"]
    np.savez(views / "views" / f"{names[1]}.npz", **arrays)
    words = ["prepare", "teacher", str(views), "--out", str(out), "--limit", "3", "--json"]
    words += ["--model", *map(str, lifters)]
    assert main(words) == 2
    assert "--learned" in capsys.readouterr().err
    words += ["--learned", str(corpus)]
    marked = made_clip(names[2])
    write_part(out / PARTS / f"{names[2]}.npz", marked)  # as if stopped after this one
    (out / PARTS / "begun.json").write_text('{"cameras": "estimated"}')
    assert main(words) == 2
    assert "was begun with other views, cameras, lifters or --on-rays" in capsys.readouterr().err
    (out / PARTS / "begun.json").unlink()
    assert main(words) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["left_out"] == 2
    assert names[0] in caplog.text
    assert f"Left out clip {names[1]}: the person is seen in 0 frames" in caplog.text
    clips = load_teacher_clips([out], "train")
    assert torch.allclose(clips[0].teacher, marked.teacher, atol=6e-4)
    test = load_teacher_clips([out], "test")[0]
    assert test.truth is not None
    seen, _ = test.sight("given").camera.project(test.truth)
    off = (seen - test.plane_points).norm(dim=-1)[test.confidence > 0.5]
    assert off.median() < 0.03
    assert main(words) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main(["prepare", "teacher", str(tmp_path), *words[3:], "--overwrite"]) == 2
