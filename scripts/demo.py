"""From a prompt to an animated character: sets up what is missing, then does the main job.

    python3 scripts/demo.py --prompt "a person walks forward" --out demo

Starts the engine, generates, keys the rig in Blender without a window, and writes motion.blend,
motion.bvh, sheet.png (poses over time) and motion.mp4. Standard library only: the engine and
Blender are processes of their own.

Exit code 0 done, 1 the work failed, 2 the words or a file given are wrong, 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

import environment
import environment_contents as contents

ROOT = contents.ROOT
FILES = ("motion.blend", "motion.bvh", "sheet.png", "motion.mp4")
RIG_ENDINGS = (".blend", ".glb", ".gltf", ".fbx", ".bvh")
DEFAULT_PROMPT = "a person walks forward and waves"
FPS = 24  # of a new scene in Blender
TIMEOUT_S = 900.0
ENGINE_WORD_S = 60.0  # for the engine to say what is wrong, after Blender has failed
WORD = "marey: "  # begins the lines that demo_in_blender.py has for people
DONE, FAILED, WRONG_WORDS, INTERRUPTED = 0, 1, 2, 130


class DemoError(Exception):
    """The demo cannot go on; str() is one line for the user."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def main() -> int:
    """Set up, generate, draw."""
    environment.require_python()
    options = _parser().parse_args()
    try:
        _check(options)
        out = _output_folder(options)
        _set_up(options)
        began = time.monotonic()
        _make(options, out)
    except DemoError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("Interrupted", file=sys.stderr)
        return INTERRUPTED
    print(f"Done in {time.monotonic() - began:.0f} s:")
    for name in FILES:
        print(f"  {out / name}")
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Animate a character from a prompt: a .blend, a .bvh, a picture and a movie.",
        epilog='Example: python3 scripts/demo.py --prompt "a person jumps" --seconds 4 --out jump',
    )
    parser.add_argument("--prompt", default=DEFAULT_PROMPT, help="what the character does")
    parser.add_argument("--rig", type=Path, help=f"your character ({', '.join(RIG_ENDINGS)})")
    parser.add_argument("--seconds", type=float, default=6.0, help="length (default: 6)")
    parser.add_argument("--seed", type=int, help="same seed, same motion (default: a random one)")
    parser.add_argument("--out", type=Path, help="folder for the four files (default: demo)")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    parser.add_argument("--model", default="", help="name of a model (default: the engine's)")
    parser.add_argument("--models", type=Path, help="folder with more models")
    parser.add_argument("--device", default="auto", choices=("auto", "cuda", "mps", "cpu"))
    parser.add_argument(
        "--blender", help="a Blender program, 4.2 or later (default: the bpy wheel)"
    )
    return parser


def _check(options: argparse.Namespace) -> None:
    """Refuse at once what can be seen without the engine; the engine judges the rest."""
    if not math.isfinite(options.seconds) or options.seconds <= 0:
        raise DemoError(f"--seconds is {options.seconds:g}, needs more than 0", WRONG_WORDS)
    rig: Path | None = options.rig
    if rig is not None and rig.suffix.lower() not in RIG_ENDINGS:
        raise DemoError(f"--rig {rig} needs to be one of {', '.join(RIG_ENDINGS)}", WRONG_WORDS)
    if rig is not None and not rig.is_file():
        raise DemoError(f"--rig {rig} is not there", WRONG_WORDS)
    if options.blender is not None and shutil.which(options.blender) is None:
        raise DemoError(f"--blender {options.blender} is not a program", WRONG_WORDS)


def _output_folder(options: argparse.Namespace) -> Path:
    """The folder given, unless that has a motion already; or a new one called demo."""
    out: Path = options.out or ROOT / "demo"
    number = 1
    while not options.overwrite and (there := [name for name in FILES if (out / name).exists()]):
        if options.out is not None:
            raise DemoError(
                f"{out / there[0]} exists: give another --out, or --overwrite", WRONG_WORDS
            )
        number += 1
        out = ROOT / f"demo-{number}"
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DemoError(f"--out {out} cannot be made: {error.strerror}", WRONG_WORDS) from error
    return out.resolve()


def _set_up(options: argparse.Namespace) -> None:
    parts = [contents.engine_part()]
    if options.blender is None:
        parts.append(contents.blender_part(contents.DEFAULT_BPY))
    environment.set_up(parts)


def _make(options: argparse.Namespace, out: Path) -> None:
    """Run the engine's own command for the .bvh beside Blender, which makes all else."""
    seed = secrets.randbelow(2**31) if options.seed is None else options.seed
    num_frames = max(1, round(options.seconds * FPS))
    print(f'Generating {num_frames / FPS:.1f} s of "{options.prompt}", seed {seed}', flush=True)
    with tempfile.TemporaryDirectory(prefix="marey-demo-") as scratch:
        engine_command = _engine_command(options, num_frames, seed, out)
        with _process(engine_command, Path(scratch) / "engine.log") as engine:
            request: dict[str, object] = {
                "prompt": options.prompt,
                "seconds": num_frames / FPS,
                "fps": FPS,
                "seed": seed,
                "model": options.model,
                "models": str(options.models.resolve()) if options.models else None,
                "device": options.device,
                "rig": str(options.rig.resolve()) if options.rig else None,
                "out": str(out),
                "engine_python": str(environment.python_of(ROOT / ".venv")),
                "root": str(ROOT),
                "scratch": scratch,
            }
            blender_command, blender_environment = _blender(options, request, Path(scratch))
            log = Path(scratch) / "blender.log"
            with _process(blender_command, log, blender_environment) as blender:
                _wait(engine, blender, Path(scratch))


def _engine_command(
    options: argparse.Namespace, num_frames: int, seed: int, out: Path
) -> list[str]:
    command = [str(environment.python_of(ROOT / ".venv")), "-m", "engine", "generate"]
    command += [options.prompt, "--frames", str(num_frames), "--fps", str(FPS)]
    command += ["--seed", str(seed), "--device", options.device, "--overwrite"]
    command += ["--out", str(out / "motion.bvh")]
    if options.model:
        command += ["--model", options.model]
    if options.models:
        command += ["--models", str(options.models)]
    return command


def _blender(
    options: argparse.Namespace, request: dict[str, object], scratch: Path
) -> tuple[list[str], dict[str, str]]:
    """The command that runs demo_in_blender.py in the bpy wheel or in a Blender program."""
    script = str(ROOT / "scripts" / "demo_in_blender.py")
    request_file = scratch / "request.json"
    request_file.write_text(json.dumps(request), encoding="utf-8")
    if options.blender is None:
        python = environment.python_of(ROOT / f".venv-bpy-{contents.DEFAULT_BPY}")
        return [str(python), script, "--", str(request_file)], dict(os.environ)
    # An extension as an artist installs it, in a configuration of its own.
    user_files = {"BLENDER_USER_RESOURCES": str(scratch / "blender")}
    _install_extension(options.blender, scratch, {**os.environ, **user_files})
    words = ["--background", "--python-exit-code", "1", "--python", script]
    return [options.blender, *words, "--", str(request_file)], {**os.environ, **user_files}


def _install_extension(program: str, scratch: Path, variables: dict[str, str]) -> None:
    import build_addon

    print("  building and installing the extension", flush=True)
    try:
        archive = build_addon.build_extension(build_addon.this_platform(), scratch)
    except build_addon.BuildError as error:
        raise DemoError(str(error)) from error
    words = ["--command", "extension", "install-file", "-r", "user_default", "-e", str(archive)]
    done = subprocess.run(
        [program, "--background", *words],
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise DemoError(f"{program} could not install the extension: {_last_line(done.stderr)}")


@contextlib.contextmanager
def _process(
    command: list[str], log: Path, variables: dict[str, str] | None = None
) -> Generator[subprocess.Popen[bytes]]:
    """A process that writes to a log and does not outlive the block."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT, env=variables
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait(engine: subprocess.Popen[bytes], blender: subprocess.Popen[bytes], scratch: Path) -> None:
    """Wait for both, pass on Blender's words; the first failure ends the wait."""
    deadline = time.monotonic() + TIMEOUT_S
    running = {"engine": engine, "blender": blender}
    shown = 0
    while running:
        shown = _pass_on_words(scratch / "blender.log", shown)
        for name, process in list(running.items()):
            code = process.poll()
            if code is None:
                continue
            del running[name]
            if code != 0:
                _pass_on_words(scratch / "blender.log", shown)
                if _engine_refuses(engine):  # Blender was told the same, but has no code for it
                    name, code = "engine", WRONG_WORDS
                raise _failure(name, code, scratch / f"{name}.log")
        if time.monotonic() > deadline:
            raise DemoError(f"Not done after {TIMEOUT_S / 60:.0f} minutes: stopped")
        time.sleep(0.1)
    _pass_on_words(scratch / "blender.log", shown)


def _engine_refuses(engine: subprocess.Popen[bytes]) -> bool:
    with contextlib.suppress(subprocess.TimeoutExpired):
        return engine.wait(ENGINE_WORD_S) == WRONG_WORDS
    return False


def _pass_on_words(log: Path, start: int) -> int:
    """Print the whole lines for people that came after byte `start`; return where to go on."""
    text = log.read_bytes()[start:]
    whole = text[: text.rfind(b"\n") + 1]
    for line in whole.decode(errors="replace").splitlines():
        if line.startswith(WORD):
            print(f"  {line.removeprefix(WORD)}", flush=True)
    return start + len(whole)


def _failure(name: str, code: int, log: Path) -> DemoError:
    text = log.read_text(encoding="utf-8", errors="replace")
    if code == WRONG_WORDS:
        return DemoError(_last_line(text), WRONG_WORDS)
    kept = Path(tempfile.gettempdir()) / f"marey-demo-{name}.log"
    shutil.copy(log, kept)
    return DemoError(f"The {name} ended with code {code}: {_last_line(text)} (log: {kept})")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no word why"


if __name__ == "__main__":
    sys.exit(main())
