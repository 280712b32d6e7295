"""The whole demo, with a tiny model of random weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import environment
import environment_contents as contents

pytestmark = [pytest.mark.end_to_end, pytest.mark.slow]

DEMO = [sys.executable, str(contents.ROOT / "scripts" / "demo.py")]
TIMEOUT_S = 400


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one tiny model."""
    pytest.importorskip("torch", reason="the demo is run from the engine's Python")
    for part in (contents.engine_part(), contents.blender_part(contents.DEFAULT_BPY)):
        if not environment.is_ready(part):
            pytest.skip(f"{part.folder.name} was not made by the set-up: run scripts/test.py")
    from make_tiny_checkpoint import make_tiny_checkpoint

    folder = tmp_path_factory.mktemp("models")
    make_tiny_checkpoint(folder / "tiny.safetensors")
    return folder


def test_the_demo_leaves_four_files(models: Path, tmp_path: Path) -> None:
    words = ["--prompt", "a person waves", "--seconds", "1", "--seed", "5"]
    words += ["--models", str(models), "--model", "tiny", "--device", "cpu"]
    done = subprocess.run(
        [*DEMO, *words, "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )

    assert done.returncode == 0, done.stderr
    heads = {path.name: path.read_bytes()[:16] for path in tmp_path.iterdir()}
    assert set(heads) == {"motion.blend", "motion.bvh", "sheet.png", "motion.mp4"}
    assert heads["motion.bvh"].startswith(b"HIERARCHY")
    assert heads["sheet.png"].startswith(b"\x89PNG")
    assert heads["motion.mp4"][4:8] == b"ftyp"
    assert str(tmp_path / "sheet.png") in done.stdout


@pytest.mark.parametrize(
    "words", [["--prompt", "123 !!"], ["--seconds", "500"], ["--model", "no-such"]]
)
def test_words_that_the_engine_refuses_are_one_line(
    models: Path, tmp_path: Path, words: list[str]
) -> None:
    command = [*DEMO, "--models", str(models), "--device", "cpu", "--out", str(tmp_path), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)

    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not [path for path in tmp_path.iterdir() if "partial" not in path.name]
