"""The verbs in this process: what they refuse, and with which code."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine import __main__, __version__
from engine.checkpoint import save_checkpoint
from engine.commands import console, generate
from tests.fakes import FAKE_INFO

PROMPT = "a person walks forward"


def run(*words: str | Path) -> int:
    try:
        return __main__.main([str(word) for word in words])
    except SystemExit as end:  # argparse
        return int(end.code or 0)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with a model that can be listed but not run."""
    folder = tmp_path / "models"
    info = replace(FAKE_INFO, model_hash="", name="", licence="CC0-1.0")
    save_checkpoint(folder / "still.safetensors", info, {"model.weight": torch.zeros(2)})
    return folder


WRONG: dict[str, tuple[list[str], str]] = {
    "0 s": ([PROMPT, "--seconds", "0", "--out", "a.npz"], "0 seconds"),
    "500 s": ([PROMPT, "--seconds", "500", "--out", "a.npz"], "at most 60"),
    "negative": ([PROMPT, "--seconds", "-3", "--out", "a.npz"], "-3 seconds"),
    "not a number": ([PROMPT, "--seconds", "nan", "--out", "a.npz"], "nan seconds"),
    "seconds in words": ([PROMPT, "--seconds", "ten", "--out", "a.npz"], "ten"),
    "seconds and frames": ([PROMPT, "--seconds", "1", "--frames", "2", "--out", "a.npz"], "frames"),
    "no letters": (["123 !?", "--out", "a.npz"], "no letters"),
    "empty": (["", "--out", "a.npz"], "no letters"),
    "10,000 characters": (["walk " * 2_000, "--out", "a.npz"], "10000 characters"),
    "missing model": ([PROMPT, "--model", "gone", "--out", "a.npz"], "gone"),
    "model folder": ([PROMPT, "--models", "no-such-folder", "--out", "a.npz"], "no-such-folder"),
    "unknown ending": ([PROMPT, "--out", "a.fbx"], "needs .npz or .bvh"),
    "no ending": ([PROMPT, "--out", "a"], "needs .npz or .bvh"),
    "no candidates": ([PROMPT, "--count", "0", "--out", "a.npz"], "--count is 0"),
    "no out": ([PROMPT], "--out"),
    "no prompt": (["--out", "a.npz"], "PROMPT"),
    "device": ([PROMPT, "--device", "abacus", "--out", "a.npz"], "abacus"),
    "folder is a file": ([PROMPT, "--out", "taken.npz/a.npz"], "can't be written to"),
    "file exists": ([PROMPT, "--out", "taken.npz"], "taken.npz exists"),
    "numbered file exists": ([PROMPT, "--count", "2", "--out", "many.npz"], "many-2.npz exists"),
    "folder as file": ([PROMPT, "--overwrite", "--out", "folder.npz"], "folder.npz exists"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_words_are_one_line_and_exit_code_2(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken.npz").write_bytes(b"")
    Path("many-2.npz").write_bytes(b"")
    Path("folder.npz").mkdir()
    words, expected = WRONG[name]
    assert run("generate", *words) == console.WRONG_WORDS
    output = capsys.readouterr()
    assert output.out == ""
    assert expected in output.err
    assert output.err.count("\n") == 1
    assert Path("taken.npz").read_bytes() == b""


def test_an_unknown_verb_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("dance") == 2
    assert run() == 2
    assert "VERB" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["generate", "models", "describe", "serve"])
def test_every_verb_has_help_with_an_example(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(verb, "--help") == 0
    assert f"example: python -m engine {verb}" in " ".join(capsys.readouterr().out.split())


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out.strip() == __version__


@pytest.mark.parametrize(
    ("count", "names"),
    [(None, ["walk.npz"]), (1, ["walk-1.npz"]), (2, ["walk-1.npz", "walk-2.npz"])],
)
def test_files_are_numbered_with_a_count(count: int | None, names: list[str]) -> None:
    assert generate.output_files(Path("out/walk.npz"), count) == [Path("out") / n for n in names]


def test_models_as_json(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models", "--models", models, "--json") == 0
    listed = json.loads(capsys.readouterr().out)["models"]
    (entry,) = [entry for entry in listed if entry["name"] == "still"]
    assert entry["accepts"] == ["prompt"]
    assert entry["licence"] == "CC0-1.0"
    assert len(entry["model_hash"]) == 64
    assert entry["size_bytes"] == (models / "still.safetensors").stat().st_size


def test_models_as_a_table(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models", "--models", models) == 0
    assert "still" in capsys.readouterr().out


def test_describe_a_checkpoint(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("describe", models / "still.safetensors", "--json") == 0
    header = json.loads(capsys.readouterr().out)
    assert header["kind"] == "model"
    assert header["skeleton"]["joint_names"][0] == "pelvis"
    assert header["sampling"]["num_steps"] == 10
    assert run("describe", models / "still.safetensors") == 0
    assert "sampling.num_steps" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("absent.npz", None, "There is no file"),
        ("half.safetensors", b"\x10\0\0\0", "not a safetensors file"),
        ("half.npz", b"PK\x03\x04", "half.npz"),
        ("half.bvh", b"HIERARCHY\n", "half.bvh"),
        ("song.mp3", b"ID3", "needs one of .safetensors, .npz, .bvh"),
    ],
)
def test_describe_refuses_in_one_line(
    name: str,
    content: bytes | None,
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert run("describe", tmp_path / name) == 2
    output = capsys.readouterr()
    assert words in output.err
    assert output.err.count("\n") == 1


def test_serve_refuses_an_address_that_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "engine.json"
    assert run("serve", "--endpoint", "nonsense", "--connection-file", file) == 2
    assert "nonsense is no address that is free" in capsys.readouterr().err
    assert not file.exists()


def test_progress_without_a_terminal_is_a_line_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "LINE_INTERVAL_S", 0.0)
    with console.ProgressLine("Generating") as progress:
        progress.report(1, 10)
        progress.report(10, 10)
    output = capsys.readouterr()
    assert re.fullmatch(r"Generating: step 10 of 10, [\d.]+ steps/s, about 0 s left\n", output.err)
    assert output.out == ""
