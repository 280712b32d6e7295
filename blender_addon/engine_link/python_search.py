"""What this computer has for an engine: Pythons that can make an environment, an NVIDIA GPU.

Each is asked in a process of its own, and nothing here waits: poll() is called again and again
until `is_done`. Asking may take seconds (a driver that wakes up), so it happens when the artist
presses a button and never while Blender draws.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from .engine_packages import LEAST_PYTHON, MOST_PYTHON
from .process import clean_environment, hidden_window

TIMEOUT_S = 20.0
END_WAIT_S = 0.5  # a killed process is gone within milliseconds; this is for a busy machine

# What an environment needs of its Python. On Windows venv copies a launcher, which Blender's own
# Python may lack (python/cpython #79825); Debian keeps ensurepip in a package of its own.
_QUESTION = """
import json, os, sys
lacks = []
try:
    import venv
    if os.name == "nt":
        folder = os.path.join(os.path.dirname(venv.__file__), "scripts", "nt")
        if not any(os.path.exists(os.path.join(folder, name))
                   for name in ("venvlauncher.exe", "python.exe")):
            lacks.append("venv's launcher")
except ImportError:
    lacks.append("venv")
try:
    import ensurepip
except ImportError:
    lacks.append("ensurepip")
print(json.dumps({
    "program": getattr(sys, "_base_executable", None) or sys.executable,
    "version": list(sys.version_info[:3]),
    "bits": 64 if sys.maxsize > 2**32 else 32,
    "lacks": lacks,
}))
"""


@dataclass(frozen=True, kw_only=True)
class FoundPython:
    """A Python that answered."""

    program: Path
    version: tuple[int, int, int]
    why_not: str = ""  # why it can't make the engine's environment; "" if it can

    def __str__(self) -> str:
        return f"Python {'.'.join(map(str, self.version))}"


@dataclass(frozen=True, kw_only=True)
class MachineFacts:
    """What was found."""

    pythons: tuple[FoundPython, ...] = ()
    nvidia_gpu: str = ""  # its name; "" if there is none

    @property
    def best_python(self) -> FoundPython | None:
        """The first that fits, in the order in which they were asked."""
        return next((python for python in self.pythons if not python.why_not), None)


class MachineSearch:
    """Asks the candidates, one process each."""

    def __init__(
        self,
        candidates: Sequence[Path],
        gpu_command: Sequence[str] | None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.facts = MachineFacts()
        self.is_done = False
        self._clock = clock
        self._deadline = clock() + TIMEOUT_S
        self._waiting = list(candidates)
        self._asked: list[subprocess.Popen[bytes]] = []
        self._gpu = _start(gpu_command) if gpu_command else None

    def poll(self) -> bool:
        """Go on asking, one new process a call. True when all have answered or time is up."""
        if self._waiting and not self.is_done:
            process = _start([str(self._waiting.pop(0)), "-I", "-c", _QUESTION])
            if process is not None:
                self._asked.append(process)
        running = [one for one in (*self._asked, self._gpu) if one and one.poll() is None]
        is_late = self._clock() > self._deadline
        if not self.is_done and ((not running and not self._waiting) or is_late):
            self.facts = self._collect()
            self.close()
            self.is_done = True
        return self.is_done

    def close(self) -> None:
        """End what still runs."""
        for process in (*self._asked, self._gpu):
            if process is not None:
                _end(process)

    def _collect(self) -> MachineFacts:
        found: dict[Path, FoundPython] = {}
        for process in self._asked:
            python = _read_answer(_output(process))
            if python is not None:
                found.setdefault(_resolved(python.program), python)
        lines = _output(self._gpu).splitlines() if self._gpu is not None else []
        has_gpu = bool(lines) and self._gpu is not None and self._gpu.returncode == 0
        gpu = lines[0].strip() if has_gpu else ""
        return MachineFacts(pythons=tuple(found.values()), nvidia_gpu=gpu)


def python_candidates(blender_python: Path, chosen: Path | None = None) -> list[Path]:
    """Programs that may be a Python: only the chosen one, or those of the usual places.

    Blender's own comes last: an environment made from it ends to work with that Blender.
    """
    if chosen is not None:
        return [chosen]
    versions = range(LEAST_PYTHON[1], MOST_PYTHON[1] + 1)
    places: list[Path] = []
    for minor in versions:
        places += _places(minor)
    places += [Path(found) for name in ("python3", "python") if (found := shutil.which(name))]
    places.append(blender_python)
    unique: dict[Path, Path] = {}
    for place in places:
        if place.is_file():
            unique.setdefault(_resolved(place), place)
    return list(unique.values())


def nvidia_command() -> list[str] | None:
    """How to ask for the name of the graphics card; None where no NVIDIA driver is installed."""
    program = shutil.which("nvidia-smi")
    if program is None and sys.platform == "win32":
        system = Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32" / "nvidia-smi.exe"
        program = str(system) if system.is_file() else None
    if program is None:
        return None
    return [program, "--query-gpu=name", "--format=csv,noheader"]


def _places(minor: int) -> list[Path]:
    """Where Python 3.minor usually is; a Blender from the desktop has but a short PATH."""
    name = f"python3.{minor}"
    on_path = shutil.which(name)
    places = [Path(on_path)] if on_path else []
    if sys.platform == "win32":
        for variable, folder in (
            ("LOCALAPPDATA", f"Programs/Python/Python3{minor}"),
            ("ProgramFiles", f"Python3{minor}"),
        ):
            if root := os.environ.get(variable):
                places.append(Path(root) / folder / "python.exe")
    elif sys.platform == "darwin":
        framework = Path(f"/Library/Frameworks/Python.framework/Versions/3.{minor}/bin")
        places += [folder / name for folder in (framework, Path("/opt/homebrew/bin"))]
    places += [Path("/usr/local/bin") / name, Path("/usr/bin") / name]
    return places


def _resolved(path: Path) -> Path:
    with contextlib.suppress(OSError):
        return path.resolve()
    return path


def _start(command: Sequence[str]) -> subprocess.Popen[bytes] | None:
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,  # an answer is a line: it fits the pipe
            stderr=subprocess.DEVNULL,
            env=clean_environment(),
            creationflags=hidden_window(),
        )
    except OSError:
        return None


def _output(process: subprocess.Popen[bytes]) -> str:
    """What an ended process has said; nothing of one that still runs."""
    if process.poll() is None:
        return ""
    with contextlib.suppress(subprocess.TimeoutExpired):
        output, _ = process.communicate(timeout=1.0)
        return output.decode(errors="replace")
    return ""


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(END_WAIT_S)
    if process.stdout is not None:
        process.stdout.close()


def _read_answer(text: str) -> FoundPython | None:
    try:
        answer = cast("dict[str, Any]", json.loads(text.strip().splitlines()[-1]))
        major, minor, micro = (int(number) for number in answer["version"])
        program, bits = Path(str(answer["program"])), int(answer["bits"])
        lacks = ", ".join(str(word) for word in answer["lacks"])
    except (IndexError, KeyError, TypeError, ValueError):
        return None  # no Python, such as the stub that opens the Windows store
    version = (major, minor, micro)
    return FoundPython(program=program, version=version, why_not=_why_not(version, bits, lacks))


def _why_not(version: tuple[int, int, int], bits: int, lacks: str) -> str:
    if not LEAST_PYTHON <= version[:2] <= MOST_PYTHON:
        least, most = (".".join(map(str, one)) for one in (LEAST_PYTHON, MOST_PYTHON))
        return f"needs {least} to {most}"
    if bits != 64:
        return "has 32 bits, needs 64"
    if lacks == "ensurepip" and sys.platform.startswith("linux"):
        return f"lacks ensurepip: install python3.{version[1]}-venv"
    return f"lacks {lacks}" if lacks else ""
