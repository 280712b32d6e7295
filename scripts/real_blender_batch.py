"""Runs batches in a real Blender without a window: ten jobs, twice, with a broken one, and killed.

    python3 scripts/real_blender_batch.py [--blender "COMMAND"]
    python3 scripts/real_blender_batch.py --bpy 4.2

COMMAND starts Blender; see real_blender_session.py for one that lives in a folder of its own (which
needs the system's folder for temporary files in common with it). --bpy does the same with a bpy
wheel, whose environment scripts/test.py makes. The engine is this project's, with the model that
ships. Exit code 0 when all holds.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import build_addon
import environment
import environment_contents as contents

ROOT = contents.ROOT
FILES = ROOT / "tests" / "real_blender" / "batch_files.py"
MARK = "keys: "
TIMEOUT_S = 600
PROMPTS = (
    "a person walks forward",
    "a person waves with the right hand",
    "someone runs",
    "a person jumps up",
    "a person sits down",
    "a person turns left",
    "a person walks backward",
    "someone kicks with the right leg",
    "a person dances",
    "a person crouches",
)


def main() -> int:
    """Build, install, run; 0 when every check holds."""
    environment.require_python()
    parser = argparse.ArgumentParser(description="Run batches in a real Blender.")
    parser.add_argument("--blender", default="blender", help="command (default: blender)")
    parser.add_argument("--bpy", metavar="VERSION", help="a bpy wheel instead: 4.2, 4.5 or 5.0")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="marey-batch-") as folder:
        if options.bpy:
            blender: Runtime = BpyWheel(options.bpy)
        else:
            blender = RealBlender(shlex.split(options.blender), Path(folder))
        with _engine(Path(folder)) as connection_file:
            return 0 if _holds(blender, Path(folder), connection_file) else 1


class Runtime(Protocol):
    """Where batches run."""

    def make(self, shot: Path) -> None:
        """Save a file with a character."""
        ...

    def keys_of(self, file: Path) -> dict[str, str]:
        """A hash over all F-curves of each action of a file."""
        ...

    def start_batch(self, shot: Path, jobs: Path, *words: str) -> subprocess.Popen[str]:
        """A batch on its way."""
        ...

    def batch(self, shot: Path, jobs: Path, *words: str) -> tuple[int, list[dict[str, Any]]]:
        """Exit code of a batch, and its lines of JSON."""
        process = self.start_batch(shot, jobs, *words)
        out, _ = process.communicate(timeout=TIMEOUT_S)
        lines = [line for line in out.splitlines() if line.startswith("{")]
        return process.returncode, [json.loads(line) for line in lines]


class RealBlender(Runtime):
    """A Blender with a configuration of its own, in which the extension is installed."""

    def __init__(self, words: list[str], folder: Path) -> None:
        at = words.index("blender") if "blender" in words else len(words) - 1
        # `env` inside the command: what starts Blender may clear the variables of this process.
        own = ["env", f"BLENDER_USER_RESOURCES={folder}/blender"]
        self._command = [*words[:at], *own, *words[at:], "--background"]
        archive = build_addon.build_extension(build_addon.this_platform(), folder)
        install = ["--command", "extension", "install-file", "-r", "user_default", "-e"]
        _output_of([*self._command, *install, str(archive)])

    def make(self, shot: Path) -> None:
        self._run_script("make", str(shot))

    def keys_of(self, file: Path) -> dict[str, str]:
        return _keys_in(self._run_script("digest", str(file)))

    def start_batch(self, shot: Path, jobs: Path, *words: str) -> subprocess.Popen[str]:
        return _start([*self._command, str(shot), "--command", "marey", "batch", str(jobs), *words])

    def _run_script(self, *words: str) -> str:
        run = [*self._command, "--python-exit-code", "1", "--python", str(FILES)]
        return _output_of([*run, "--", *words])


class BpyWheel(Runtime):
    """Blender as a Python module: the add-on is a plain module too."""

    def __init__(self, version: str) -> None:
        self._python = environment.python_of(ROOT / f".venv-bpy-{version}")
        if not self._python.exists():
            raise SystemExit(f"{self._python} is not there: scripts/test.py --blender {version}")

    def make(self, shot: Path) -> None:
        _output_of([str(self._python), str(FILES), "--", "make", str(shot)])

    def keys_of(self, file: Path) -> dict[str, str]:
        return _keys_in(_output_of([str(self._python), str(FILES), "--", "digest", str(file)]))

    def start_batch(self, shot: Path, jobs: Path, *words: str) -> subprocess.Popen[str]:
        batch = ["-m", "blender_addon", "batch", str(shot), str(jobs)]
        return _start([str(self._python), *batch, *words])


def _start(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True, cwd=ROOT
    )


def _output_of(command: list[str]) -> str:
    """Standard output of a command; ends the check where it fails."""
    done = subprocess.run(command, check=False, timeout=TIMEOUT_S, stdout=subprocess.PIPE, cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"{done.stdout.decode()}\nfailed: {' '.join(command)}")
    return done.stdout.decode()


def _keys_in(out: str) -> dict[str, str]:
    line = next(line for line in out.splitlines() if line.startswith(MARK))
    return json.loads(line.removeprefix(MARK))


@contextmanager
def _engine(folder: Path) -> Generator[Path]:
    file = folder / "engine.json"
    python = environment.python_of(ROOT / ".venv")
    words = [str(python), "-m", "engine", "serve", "--connection-file", str(file)]
    with subprocess.Popen(words, cwd=ROOT) as engine:
        deadline = time.monotonic() + TIMEOUT_S
        while not file.exists():
            if engine.poll() is not None or time.monotonic() > deadline:
                raise SystemExit("The engine did not start")
            time.sleep(0.1)
        yield file
        engine.terminate()


def _holds(blender: Runtime, folder: Path, connection_file: Path) -> bool:
    shot, jobs, broken = folder / "shot.blend", folder / "jobs.json", folder / "broken.json"
    blender.make(shot)
    listed = [{"prompt": text, "armature": "Ann", "seconds": 2} for text in PROMPTS]
    jobs.write_text(json.dumps(listed))
    broken.write_text(json.dumps([*listed[:4], {**listed[4], "armature": "Nobody"}, *listed[5:]]))
    words = ["--connection-file", str(connection_file)]
    files = {name: folder / f"{name}.blend" for name in ("first", "second", "broken", "killed")}

    found: list[bool] = []
    code, lines = blender.batch(shot, jobs, "--save", str(files["first"]), *words)
    states = [line["state"] for line in lines]
    found.append(_check("ten jobs are done", code == 0 and states == ["done"] * 10, states))
    blender.batch(shot, jobs, "--save", str(files["second"]), *words)
    first = blender.keys_of(files["first"])
    same = len(first) == 10 and blender.keys_of(files["second"]) == first
    found.append(_check("the same keys twice", same, len(first)))

    code, lines = blender.batch(shot, broken, "--save", str(files["broken"]), *words)
    states = [line["state"] for line in lines]
    expected = ["done"] * 4 + ["failed"] + ["done"] * 5
    found.append(_check("a broken job fails alone", code == 1 and states == expected, states))

    process = blender.start_batch(shot, jobs, "--save", str(files["killed"]), *words)
    assert process.stdout is not None
    done = 0
    while done < 4 and (line := process.stdout.readline()):
        done += line.startswith("{")
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    code, lines = blender.batch(shot, jobs, "--save", str(files["killed"]), *words)
    states = [line["state"] for line in lines]
    resumed = code == 0 and states[:4] == ["skipped"] * 4 and states.count("done") >= 5
    found.append(_check("a killed batch goes on", resumed, states))
    same = blender.keys_of(files["killed"]) == first
    found.append(_check("and ends as if it had not been killed", same, ""))
    return all(found)


def _check(name: str, holds: bool, seen: object) -> bool:
    print(f"{'holds' if holds else 'FAILS'}  {name}  {seen}", flush=True)
    return holds


if __name__ == "__main__":
    sys.exit(main())
