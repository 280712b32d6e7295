"""Checkpoints: there and back, and files that are none."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from engine.checkpoint import (
    METADATA_KEY,
    CheckpointError,
    CheckpointInfo,
    load_checkpoint,
    read_info,
    save_checkpoint,
    update_metrics,
)
from engine.methods import load_method
from engine.server.model_store import SHIPPED_MODELS

INFO = CheckpointInfo(
    method="mdm",
    method_config={"width": 4},
    accepts=("prompt",),
    fps=20.0,
    feature_blocks=(("root_height", 1), ("joint_positions", 63)),
    training={"step": 3},
    licence="test",
)
SHIPPED = sorted(SHIPPED_MODELS.glob("*.safetensors"))
TENSORS = {"model.a": torch.linspace(0, 1, 7), "statistics.mean": torch.tensor([0.1, 1 / 3])}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "small.safetensors"
    save_checkpoint(path, INFO, TENSORS, half=True)
    return path


def test_header_and_tensors_come_back(checkpoint: Path) -> None:
    info, tensors = load_checkpoint(checkpoint)
    assert replace(info, model_hash="", name="", size_bytes=0) == INFO
    assert (info.name, info.size_bytes) == ("small", checkpoint.stat().st_size)
    torch.testing.assert_close(tensors["model.a"], TENSORS["model.a"], atol=1e-3, rtol=0)
    assert tensors["statistics.mean"].equal(TENSORS["statistics.mean"])  # not halved
    assert not list(checkpoint.parent.glob("*.partial"))


def test_metrics_do_not_change_the_hash(checkpoint: Path) -> None:
    before = read_info(checkpoint)
    update_metrics(checkpoint, {"fid": 1.5})
    after, tensors = load_checkpoint(checkpoint)
    assert after.metrics == {"fid": 1.5}
    assert after.model_hash == before.model_hash
    assert set(tensors) == set(TENSORS)


def test_other_weights_have_another_hash(tmp_path: Path, checkpoint: Path) -> None:
    other = save_checkpoint(
        tmp_path / "b.safetensors", INFO, {**TENSORS, "model.a": torch.zeros(7)}, half=True
    )
    assert other.model_hash != read_info(checkpoint).model_hash


def test_half_a_file_is_refused(checkpoint: Path) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes()[:-10])
    with pytest.raises(CheckpointError, match="only half"):
        read_info(checkpoint)


def test_foreign_files_are_refused(tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.safetensors"
    save_file({"a": torch.zeros(1)}, foreign)
    with pytest.raises(CheckpointError, match="not one of Marey's"):
        read_info(foreign)
    with pytest.raises(CheckpointError, match="no model file"):
        read_info(tmp_path / "missing.safetensors")
    (tmp_path / "text.safetensors").write_text("hello")
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        read_info(tmp_path / "text.safetensors")


@pytest.mark.parametrize(
    ("change", "message"), [({"format": 9}, "format is 9"), ({"fps": None, "skeleton": {}}, "name")]
)
def test_headers_of_other_versions_are_refused(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    path = tmp_path / "other.safetensors"
    header = {**INFO.header(), **change}
    save_file({"a": torch.zeros(1)}, path, metadata={METADATA_KEY: json.dumps(header)})
    with pytest.raises(CheckpointError, match=message):
        read_info(path)


def test_another_skeleton_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bones.safetensors"
    offsets = ((0.0, 0.0, 0.0), (9.0, 0.0, 0.0), *INFO.skeleton.rest_offsets[2:])
    save_checkpoint(
        path, replace(INFO, skeleton=replace(INFO.skeleton, rest_offsets=offsets)), TENSORS
    )
    with pytest.raises(CheckpointError, match="was trained on the skeleton"):
        load_checkpoint(path)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_model_is_small_and_says_what_it_is(path: Path) -> None:
    info = read_info(path)
    assert info.size_bytes <= 20e6
    assert info.licence
    assert info.accepts


def test_crossdiff_takes_words_and_video() -> None:
    (path,) = [path for path in SHIPPED if path.stem == "crossdiff-free"]
    info = read_info(path)
    assert info.method == "crossdiff"
    assert set(info.accepts) == {"prompt", "video"}
    assert load_method(path, torch.device("cpu")).accepts == {"prompt", "video"}


def test_a_checkpoint_is_readable_like_any_new_file(checkpoint: Path, tmp_path: Path) -> None:
    plain = tmp_path / "plain.txt"
    plain.write_text("x")
    assert checkpoint.stat().st_mode == plain.stat().st_mode
