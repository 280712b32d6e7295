from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine.checkpoint import CheckpointError, save_checkpoint
from engine.methods.base import Method, RequestError
from engine.server.model_store import ModelStore, UnknownModelError, model_folders
from tests.fakes import FAKE_INFO, FakeMethod

CPU = torch.device("cpu")


class CountingLoader:
    """Loads fakes, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.loaded: list[str] = []

    def __call__(self, path: Path, device: torch.device) -> Method:
        assert device == CPU
        self.loaded.append(f"{path.parent.name}/{path.stem}")
        return FakeMethod(replace(FAKE_INFO, name=path.stem))


@pytest.fixture
def loader() -> CountingLoader:
    return CountingLoader()


@pytest.fixture
def store(tmp_path: Path, loader: CountingLoader) -> ModelStore:
    write_model(tmp_path / "mine" / "walker.safetensors")
    write_model(tmp_path / "mine" / "lifter.safetensors", accepts=("video",))
    write_model(tmp_path / "shipped" / "walker.safetensors")
    write_model(tmp_path / "shipped" / "runner.safetensors")
    folders = (tmp_path / "mine", tmp_path / "shipped", tmp_path / "absent")
    return ModelStore(folders, CPU, loader=loader)


def write_model(path: Path, accepts: tuple[str, ...] = ("prompt",)) -> None:
    info = replace(FAKE_INFO, accepts=accepts, model_hash="", name="")
    save_checkpoint(path, info, {"model.weight": torch.zeros(2)})


def test_models_are_listed_by_name_without_loading(
    store: ModelStore, loader: CountingLoader
) -> None:
    entries = store.entries()
    assert [info.name for info in entries] == ["lifter", "runner", "walker"]
    assert all(info.size_bytes > 0 and info.model_hash for info in entries)
    assert loader.loaded == []


def test_the_earlier_folder_counts(store: ModelStore, loader: CountingLoader) -> None:
    store.load("walker")
    assert loader.loaded == ["mine/walker"]


def test_the_default_is_mdm_free_or_the_first_for_prompts(
    store: ModelStore, tmp_path: Path
) -> None:
    assert store.default_name() == "runner"
    write_model(tmp_path / "shipped" / "mdm-free.safetensors")
    assert store.default_name() == "mdm-free"
    assert store.load("").info.name == "mdm-free"


def test_the_last_used_model_is_kept(store: ModelStore, loader: CountingLoader) -> None:
    first = store.load("walker")
    assert store.load("walker") is first
    assert store.load("walker.safetensors") is first
    store.load("runner")
    assert store.load("walker") is not first
    assert loader.loaded == ["mine/walker", "shipped/runner", "mine/walker"]


def test_a_file_that_changed_is_loaded_again(
    store: ModelStore, loader: CountingLoader, tmp_path: Path
) -> None:
    store.load("walker")
    os.utime(tmp_path / "mine" / "walker.safetensors", (1, 1))
    store.load("walker")
    assert loader.loaded == ["mine/walker", "mine/walker"]


@pytest.mark.parametrize("name", ["gone", "../shipped/runner", "/etc/passwd", "x" * 10_000])
def test_an_unknown_model_is_refused_with_the_names_there_are(store: ModelStore, name: str) -> None:
    with pytest.raises(UnknownModelError, match="needs one of: lifter, runner, walker") as caught:
        store.load(name)
    assert len(str(caught.value)) < 200


def test_without_any_model_the_folders_are_named(tmp_path: Path) -> None:
    store = ModelStore([tmp_path / "empty"], CPU)
    assert store.entries() == []
    assert store.default_name() == ""
    with pytest.raises(UnknownModelError, match=r"empty: put a .safetensors file there"):
        store.load("")


def test_a_broken_file_is_left_out_of_the_list(store: ModelStore, tmp_path: Path) -> None:
    (tmp_path / "mine" / "half.safetensors").write_bytes(b"\x10\0\0\0")
    assert [info.name for info in store.entries()] == ["lifter", "runner", "walker"]


def test_a_broken_file_is_refused_by_the_real_loader(tmp_path: Path) -> None:
    (tmp_path / "half.safetensors").write_bytes(b"\x10\0\0\0")
    with pytest.raises(CheckpointError):
        ModelStore([tmp_path], CPU).load("half")


def test_given_folders_come_first_and_must_exist(tmp_path: Path) -> None:
    folders = model_folders([tmp_path])
    assert folders[0] == tmp_path
    assert folders[-1].name == "models"
    assert len(folders) == 3
    with pytest.raises(RequestError, match="doesn't exist"):
        model_folders([tmp_path / "absent"])
