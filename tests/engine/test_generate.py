"""`engine generate` with real, tiny checkpoints, in this process."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from engine import __main__, __version__
from engine.motion.files import read_motion
from engine.networks.text_encoder import TextEncoderError, find_weights
from scripts.make_tiny_checkpoint import make_tiny_checkpoint
from tests.engine.made_crossdiff import make_tiny_crossdiff

PROMPT = "a person walks forward"


def _has_text_encoder() -> bool:
    try:
        find_weights()
    except TextEncoderError:
        return False
    return True


pytestmark = pytest.mark.skipif(not _has_text_encoder(), reason="needs MiniLM's weights")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_tiny_checkpoint(folder / "tiny.safetensors")
    make_tiny_crossdiff(folder / "both.safetensors")
    return folder


def generate(models: Path, out: Path, *words: str, prompt: str = PROMPT) -> int:
    given = ["generate", prompt, "--models", str(models), "--model", "tiny", "--device", "cpu"]
    return __main__.main([*given, "--out", str(out), *words])


def test_an_npz_has_everything_that_is_promised(models: Path, tmp_path: Path) -> None:
    out = tmp_path / "new folder" / "walk.npz"
    assert generate(models, out, "--seconds", "2", "--seed", "5") == 0
    with np.load(out) as file:
        assert file["joints"].shape == (40, 22, 3)
        assert file["joints"].dtype == np.float32
        assert file["local_rotations"].shape == (40, 22, 4)
        assert file["root_translation"].shape == (40, 3)
        assert file["contacts"].shape == (40, 4)
        assert float(file["fps"]) == 20
        provenance = json.loads(str(file["provenance"]))
    assert provenance["prompt"] == PROMPT
    assert provenance["seed"] == 5
    assert provenance["model"] == "tiny"
    assert len(provenance["model_hash"]) == 64
    assert provenance["engine_version"] == __version__
    assert (provenance["num_steps"], provenance["guidance_scale"]) == (4, 2.5)


@pytest.mark.parametrize("ending", [".npz", ".bvh"])
def test_the_same_command_writes_the_same_bytes(models: Path, tmp_path: Path, ending: str) -> None:
    files = [tmp_path / f"{name}{ending}" for name in "abc"]
    for file, seed in zip(files, ("5", "5", "6"), strict=True):
        assert generate(models, file, "--seconds", "2", "--seed", seed) == 0
    first, same, other = [file.read_bytes() for file in files]
    assert first == same
    assert first != other


def test_emoji_are_ignored(models: Path, tmp_path: Path) -> None:
    assert generate(models, tmp_path / "a.npz", "--seed", "5") == 0
    assert generate(models, tmp_path / "b.npz", "--seed", "5", prompt=f"🙂 {PROMPT} 🚶‍♀️") == 0
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize("seconds", [1, 4, 10, 30])
def test_lengths(models: Path, tmp_path: Path, seconds: int) -> None:
    out = tmp_path / "walk.npz"
    assert generate(models, out, "--seconds", str(seconds), "--steps", "2", "--seed", "1") == 0
    motion = read_motion(out)
    assert motion.num_frames == seconds * 20
    assert bool(motion.local_rotations.isfinite().all())


def test_frames_are_counted_at_the_rate_of_the_result(models: Path, tmp_path: Path) -> None:
    out = tmp_path / "walk.npz"
    assert generate(models, out, "--frames", "31", "--fps", "24") == 0
    motion = read_motion(out)
    assert (motion.num_frames, motion.fps) == (31, 24)


def test_candidates_are_numbered_and_have_the_seeds_that_follow(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--seconds", "2", "--seed", "5", "--count", "2", "--json")
    assert generate(models, tmp_path / "walk.npz", *words) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["files"] == [str(tmp_path / f"walk-{i}.npz") for i in (1, 2)]
    assert summary["seeds"] == [5, 6]
    assert generate(models, tmp_path / "alone.npz", "--seconds", "2", "--seed", "6") == 0
    alone, second = read_motion(tmp_path / "alone.npz"), read_motion(tmp_path / "walk-2.npz")
    distance = (alone.joints() - second.joints()).norm(dim=-1).max()
    assert float(distance) < 1e-3


def test_json_is_the_only_thing_on_standard_output(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--seconds", "1", "--json")
    assert generate(models, tmp_path / "a.npz", *words, prompt="interest rates fall") == 0
    output = capsys.readouterr()
    summary = json.loads(output.out)
    assert output.out.count("\n") == 1
    assert summary["num_frames"] == 20
    assert summary["provenance"]["seed"] == summary["seeds"][0] >= 0
    (warning,) = summary["warnings"]  # the model knows two captions
    assert "a person stands still" in warning
    assert warning in output.err


def test_overwrite(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a.npz"
    out.write_bytes(b"precious")
    assert generate(models, out, "--seconds", "1") == 2
    assert out.read_bytes() == b"precious"
    assert generate(models, out, "--seconds", "1", "--overwrite") == 0
    assert read_motion(out).num_frames == 20
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz"]


def test_prompts_one_after_the_other_and_loops(models: Path, tmp_path: Path) -> None:
    out = tmp_path / "script.npz"
    assert generate(models, out, "--seconds", "2", "--then", "a person sits", "1.5") == 0
    with np.load(out) as file:
        assert len(file["joints"]) == 70
        provenance = json.loads(str(file["provenance"]))
    assert provenance["prompts"] == [
        {"prompt": PROMPT, "num_frames": 40},
        {"prompt": "a person sits", "num_frames": 30},
    ]
    assert generate(models, tmp_path / "loop.npz", "--frames", "41", "--loop", "--fps", "24") == 0
    with np.load(tmp_path / "loop.npz") as file:
        turns = file["local_rotations"]
    assert np.abs((turns[0, 1:] * turns[-1, 1:]).sum(-1)).min() > 1 - 1e-5


def test_a_mixture_says_so_and_is_another_motion(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--frames", "24", "--seed", "5", "--mixture", "0.5")
    mixed, plain = tmp_path / "mixed.npz", tmp_path / "plain.npz"
    assert generate(models, mixed, "--model", "both", *words) == 0
    assert generate(models, plain, "--model", "both", *words[:-2]) == 0
    first, second = read_motion(mixed), read_motion(plain)
    assert (first.num_frames, first.provenance["model"]) == (24, "both")
    assert first.provenance["mixture"] == 0.5
    assert "mixture" not in second.provenance
    assert float((first.joints() - second.joints()).norm(dim=-1).max()) > 1e-3
    capsys.readouterr()
    assert generate(models, tmp_path / "none.npz", *words) == 2
    assert "The model tiny can't sample mixtures" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ("--model", "both", "--mixture", "1.5"),
        ("--model", "both", "--mixture", "-0.1"),
        ("--model", "both", "--mixture", "nan"),
        ("--steps", "0"),
        ("--loop", "--seconds", "0.5"),
        ("--then", "a person sits", "long"),
        ("--then", "a person sits", "0"),
        ("--steps", "5000"),
        ("--guidance", "-1"),
        ("--seed", "-1"),
        ("--seed", str(2**63)),
        ("--fps", "0"),
        ("--fps", "nan"),
        ("--fps", "inf"),
        ("--frames", "0"),
        ("--frames", "100000"),
    ],
    ids=" ".join,
)
def test_numbers_that_the_model_cannot_serve(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    assert generate(models, tmp_path / "a.npz", *words) == 2
    output = capsys.readouterr()
    assert output.err.count("\n") == 1
    assert "needs" in output.err
    assert list(tmp_path.iterdir()) == []


def test_describe_a_motion(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a.npz"
    assert generate(models, out, "--seconds", "2", "--seed", "3") == 0
    capsys.readouterr()
    assert __main__.main(["describe", str(out), "--json"]) == 0
    described = json.loads(capsys.readouterr().out)
    assert described["provenance"]["seed"] == 3
    assert described["quality"]["seconds"] == 2
    assert {"contact_share", "slide_m_per_s", "penetration_m"} <= described["quality"].keys()
