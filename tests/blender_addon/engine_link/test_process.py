"""EngineProcess with stand-ins for the engine: a few lines of Python each."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from blender_addon.engine_link.client import EngineLinkError
from blender_addon.engine_link.process import EngineCommand, EngineProcess, read_connection

TIMEOUT_S = 20.0
CONNECTION = {"endpoint": "tcp://127.0.0.1:1", "token": "t", "pid": 1, "protocol_version": 1}

WELL = f"""
import pathlib, sys, time
print("hello from the engine", flush=True)
path = pathlib.Path(sys.argv[sys.argv.index("--connection-file") + 1])
path.with_suffix(".tmp").write_text({json.dumps(json.dumps(CONNECTION))})
path.with_suffix(".tmp").replace(path)
time.sleep(60)
"""
BROKEN = """
print("Traceback: no module named torch", flush=True)
raise SystemExit(3)
"""


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[EngineProcess]]:
    processes: list[EngineProcess] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait(TIMEOUT_S)


def start(tmp_path: Path, source: str, started: list[EngineProcess]) -> EngineProcess:
    (tmp_path / "stand_in.py").write_text(source)
    command = EngineCommand(
        python=Path(sys.executable),
        folder=tmp_path / "data",
        engine_root=tmp_path,
        module="stand_in",
    )
    process = EngineProcess.start(command)
    started.append(process)
    return process


def wait_until(true: object, seconds: float = TIMEOUT_S) -> None:
    assert callable(true)
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.02)


def test_a_process_that_listens(tmp_path: Path, started: list[EngineProcess]) -> None:
    process = start(tmp_path, WELL, started)
    wait_until(process.connection)
    connection = process.connection()
    assert connection is not None
    assert (connection.endpoint, connection.token) == ("tcp://127.0.0.1:1", "t")
    process.check_running()
    assert "hello from the engine" in process.log_tail()
    process.terminate()
    wait_until(lambda: not process.is_running)
    process.remove_connection_file()
    assert process.connection() is None


def test_a_process_that_ends_at_once_says_why(tmp_path: Path, started: list[EngineProcess]) -> None:
    process = start(tmp_path, BROKEN, started)
    wait_until(lambda: not process.is_running)
    assert process.exit_code == 3
    with pytest.raises(EngineLinkError, match=r"ended with code 3: .*no module named torch"):
        process.check_running()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_process_that_was_killed_says_so(tmp_path: Path, started: list[EngineProcess]) -> None:
    process = start(tmp_path, WELL, started)
    process.kill()
    wait_until(lambda: not process.is_running)
    with pytest.raises(
        EngineLinkError, match="was killed by signal 9, as happens when the computer has no memory"
    ):
        process.check_running()


def test_an_interpreter_that_is_not_there_is_told_in_words(tmp_path: Path) -> None:
    command = EngineCommand(python=tmp_path / "no-python", folder=tmp_path)
    with pytest.raises(EngineLinkError, match="Check the engine's Python in the preferences"):
        EngineProcess.start(command)


def test_starting_holds_the_caller_for_less_than_a_frame(
    tmp_path: Path, started: list[EngineProcess]
) -> None:
    spent: list[float] = []
    for _ in range(3):
        before = time.monotonic()
        process = start(tmp_path, WELL, started)
        spent.append(time.monotonic() - before)
        process.kill()
        wait_until(lambda process=process: not process.is_running)
    assert min(spent) < 0.02


def test_the_command_line_names_folders_and_parent(tmp_path: Path) -> None:
    command = EngineCommand(
        python=Path("python"), folder=tmp_path, device="cpu", model_folders=(Path("a"), Path("b"))
    )
    words = command.arguments(tmp_path / "c.json")
    # Never the `engine` of the folder that Blender runs in: unless its source was asked for.
    assert words[1:6] == ["-P", "-u", "-m", "engine", "serve"]
    of_source = replace(command, engine_root=tmp_path).arguments(tmp_path / "c.json")
    assert of_source[1:5] == ["-u", "-m", "engine", "serve"]
    assert words[words.index("--parent-pid") + 1] == str(os.getpid())
    assert words.count("--models") == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "can't be read"),
        ("[]", "protocol version None"),
        (json.dumps(CONNECTION | {"protocol_version": 9}), "protocol version 9"),
        (json.dumps({"protocol_version": 1}), "is no connection file"),
        (json.dumps(CONNECTION | {"pid": "x"}), "is no connection file"),
    ],
)
def test_a_bad_connection_file_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "engine.json"
    path.write_text(text)
    with pytest.raises(EngineLinkError, match=words):
        read_connection(path)


def test_no_connection_file_is_nothing_yet(tmp_path: Path) -> None:
    assert read_connection(tmp_path / "engine.json") is None


def test_old_logs_are_removed(tmp_path: Path, started: list[EngineProcess]) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for i in range(20):
        (folder / f"engine-{i}.log").write_text("old")
        os.utime(folder / f"engine-{i}.log", (i, i))
    start(tmp_path, BROKEN, started)
    assert len(list(folder.glob("engine-*.log"))) == 6
