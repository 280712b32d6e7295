"""`python -m engine` as a user starts it: a real process, a real (tiny, random) checkpoint."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from blender_addon import protocol
from blender_addon.engine_link.client import EngineClient
from blender_addon.engine_link.process import EngineCommand, EngineProcess

pytestmark = pytest.mark.end_to_end

REPOSITORY = Path(__file__).resolve().parent.parent.parent
TIMEOUT_S = 400.0  # importing torch and transformers on a machine that is busy training


@pytest.fixture(scope="module")
def models(engine_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    made = run_python(
        engine_python, "scripts/make_tiny_checkpoint.py", "--out", folder / "tiny.safetensors"
    )
    if b"TextEncoderError" in made.stderr:
        pytest.skip("needs MiniLM's weights")
    assert made.returncode == 0, made.stderr.decode()
    return folder


def run_python(python: Path, *words: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [str(python), *map(str, words)],
        cwd=REPOSITORY,
        env=engine_environment(),
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def engine_environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY)}


def receive_end(client: EngineClient) -> protocol.Message:
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        assert not client.refusal, client.refusal
        for message in client.receive(0.02):
            if isinstance(message, protocol.JobResult | protocol.JobFailed | protocol.JobCancelled):
                return message
        time.sleep(0.01)
    raise AssertionError("timed out")


def test_a_prompt_over_the_socket_and_on_the_command_line_are_one_motion(
    engine_python: Path, models: Path, tmp_path: Path
) -> None:
    process = EngineProcess.start(
        EngineCommand(
            python=engine_python,
            folder=tmp_path,
            engine_root=REPOSITORY,
            device="cpu",
            model_folders=(models,),
        )
    )
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while (connection := process.connection()) is None:
            process.check_running()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        client = EngineClient(connection.endpoint, connection.token)
        client.send(
            protocol.PromptRequest(
                job_id="a", model="tiny", prompt="a person waves", num_frames=48, fps=24.0, seed=7
            )
        )
        result = receive_end(client)
        assert isinstance(result, protocol.JobResult), result
        client.send(protocol.Shutdown())
        client.close()
        assert process.wait(TIMEOUT_S)
        assert process.exit_code == 0
    finally:
        process.kill()
        process.wait(TIMEOUT_S)
    out = tmp_path / "wave.npz"
    words = ["--frames", 48, "--fps", 24, "--seed", 7, "--models", models, "--model", "tiny"]
    made = run_python(
        engine_python, "-m", "engine", "generate", "a person waves", *words, "--device", "cpu",
        "--out", out,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr.decode()
    with np.load(out) as file:
        np.testing.assert_allclose(file["root_translation"], result.root_translation, atol=1e-3)
        np.testing.assert_allclose(file["local_rotations"], result.local_rotations, atol=1e-3)
        provenance = json.loads(str(file["provenance"]))
    assert provenance == json.loads(result.provenance)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["generate", "123", "--out", "a.npz"], b"no letters"),
        (["generate", "walk", "--seconds", "0", "--out", "a.npz"], b"0 seconds"),
        (["generate", "walk", "--out", "a.npz", "--model", "gone"], b"gone"),
        (["describe", "absent.npz"], b"absent.npz"),
    ],
)
def test_wrong_words_leave_no_traceback(
    engine_python: Path, words: list[str], expected: bytes
) -> None:
    ended = run_python(engine_python, "-m", "engine", *words)
    assert ended.returncode == 2
    assert ended.stdout == b""
    assert expected in ended.stderr
    assert ended.stderr.count(b"\n") == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_an_interrupt_ends_with_130_and_leaves_no_file(
    engine_python: Path, models: Path, tmp_path: Path
) -> None:
    words = ["generate", "a person walks", "--seconds", "60", "--steps", "50", "--count", "1000"]
    process = subprocess.Popen(
        [str(engine_python), "-m", "engine", *words, "--models", str(models), "--model", "tiny",
         "--out", str(tmp_path / "out" / "a.npz")],
        cwd=REPOSITORY,
        env=engine_environment(),
        stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while not list(tmp_path.glob("out/a-1.npz")):  # it is at work on the next ones
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=TIMEOUT_S)
    finally:
        process.kill()
    assert process.returncode == 130
    assert b"interrupted" in errors
    assert b"Traceback" not in errors
    assert list(tmp_path.glob("out/*.partial")) == []
