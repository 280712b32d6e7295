"""A batch as people start it: a process of its own, a real engine, a tiny model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bpy
import pytest

from blender_addon.scene.mannequin import add_mannequin
from tests.blender.test_batch import digest_of_file

pytestmark = [
    pytest.mark.blender,
    pytest.mark.end_to_end,
    pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals"),
]

REPOSITORY = Path(__file__).resolve().parents[2]
TIMEOUT_S = 300.0  # importing torch and transformers on a machine that is busy training


@pytest.fixture(scope="module")
def models(engine_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    words = ["scripts/make_tiny_checkpoint.py", "--out", str(folder / "tiny.safetensors")]
    made = subprocess.run(
        [str(engine_python), *words],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    if b"TextEncoderError" in made.stderr:
        pytest.skip("needs MiniLM's weights")
    assert made.returncode == 0, made.stderr.decode()
    return folder


@pytest.fixture(scope="module")
def connection_file(
    engine_python: Path, models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """Of a real engine that serves all tests of this file but one."""
    file = tmp_path_factory.mktemp("engine") / "engine.json"
    words = ["serve", "--connection-file", str(file), "--models", str(models), "--device", "cpu"]
    with subprocess.Popen([str(engine_python), "-m", "engine", *words], cwd=REPOSITORY) as engine:
        deadline = time.monotonic() + TIMEOUT_S
        while not file.exists():
            assert engine.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield file
        engine.kill()


@pytest.fixture
def shot(tmp_path: Path) -> Path:
    add_mannequin(bpy.context).name = "Ann"
    path = tmp_path / "shot.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    return path


def ten_jobs(**slow: Any) -> list[dict[str, Any]]:
    """The fifth takes the longest."""
    jobs = [
        {"prompt": f"a person walks {number} steps", "armature": "Ann", "seconds": 0.5}
        for number in range(10)
    ]
    return [{**job, "model": "tiny", **(slow if i == 4 else {})} for i, job in enumerate(jobs)]


def start(shot: Path, jobs: list[dict[str, Any]], *words: object) -> subprocess.Popen[str]:
    file = shot.with_name("jobs.json")
    file.write_text(json.dumps(jobs))
    command = [sys.executable, "-m", "blender_addon", "batch", shot, file, *words]
    return subprocess.Popen(
        [str(word) for word in command],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(shot: Path, jobs: list[dict[str, Any]], *words: object) -> tuple[int, list[Any], str]:
    """Exit code, the lines of standard output, and the text of standard error."""
    with start(shot, jobs, *words) as process:
        try:
            out, errors = process.communicate(timeout=TIMEOUT_S)
        finally:
            process.kill()
    return process.returncode, [json.loads(line) for line in out.splitlines()], errors


def test_ten_jobs_with_an_engine_of_its_own_which_ends(
    shot: Path, models: Path, engine_python: Path, tmp_path: Path
) -> None:
    words = ["--engine", engine_python, "--models", models, "--device", "cpu"]
    process = start(shot, ten_jobs(), "--save", tmp_path / "done.blend", *words)
    out, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, errors
    lines = [json.loads(line) for line in out.splitlines()]  # nothing else is on standard output
    assert [(line["job"], line["state"], line["model"]) for line in lines] == [
        (number, "done", "tiny") for number in range(1, 11)
    ]
    assert len(set(digest_of_file(tmp_path / "done.blend").values())) == 10
    assert engines_of(process.pid) == []


def engines_of(pid: int) -> list[str]:
    """Command lines of engines that were started by a process."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = file.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if "--parent-pid" in words and words[words.index("--parent-pid") + 1] == str(pid):
            found.append(" ".join(words))
    return found


def test_a_killed_batch_goes_on_and_ends_as_if_it_had_not_been(
    shot: Path, connection_file: Path, tmp_path: Path
) -> None:
    jobs = ten_jobs(steps=300, seconds=20)
    words = ["--connection-file", connection_file]
    killed, whole = tmp_path / "killed.blend", tmp_path / "whole.blend"
    process = start(shot, jobs, "--save", killed, *words)
    assert process.stdout is not None
    assert process.stderr is not None
    for _ in range(4):
        assert json.loads(process.stdout.readline())["done"]
    process.kill()
    process.wait(TIMEOUT_S)
    process.stdout.close()
    process.stderr.close()
    code, lines, errors = run(shot, jobs, "--save", killed, *words)
    assert code == 0, errors
    assert [line["state"] for line in lines] == ["skipped"] * 4 + ["done"] * 6
    code, lines, errors = run(shot, jobs, "--save", whole, *words)
    assert [line["state"] for line in lines] == ["done"] * 10, errors
    digests = digest_of_file(whole)
    assert digest_of_file(killed) == digests  # so the same file twice gives the same keys, too
    assert bpy.data.objects["Ann"].animation_data.action.name == "a person walks 9 steps"


def test_an_interrupt_ends_with_130(shot: Path, connection_file: Path, tmp_path: Path) -> None:
    jobs = ten_jobs(steps=1000, seconds=60)
    words = ["--connection-file", connection_file, "--save", tmp_path / "done.blend"]
    process = start(shot, jobs, *words)
    assert process.stdout is not None
    for _ in range(4):
        process.stdout.readline()
    time.sleep(0.3)  # it is at the fifth, which takes seconds
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    states = [json.loads(line)["state"] for line in out.splitlines()]
    assert states == ["interrupted"] * 6
    assert len(digest_of_file(tmp_path / "done.blend")) == 4
