"""Presses Marey's buttons in a real Blender window: build, install, generate, look.

    python3 scripts/real_blender_session.py --out DIR [--session NAME] [--blender "COMMAND"]
        [--models DIR] [--movie FILE]

COMMAND starts Blender where it can open a window; the default wants xvfb-run and blender on this
computer. One that lives in a folder of its own, run by a program that takes a command:

    --blender "bash real_blender.sh run FOLDER xvfb-run -a -s '-screen 0 1600x900x24' blender"

The session `capture` needs a --movie with a person in it, and starts the engine itself, outside
Blender.

Needs ImageMagick's `import` beside Blender. Pictures of the screen go to --out: look at them.
Exit code 0 when the session passed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import build_addon
import environment
import environment_contents as contents

ROOT = contents.ROOT
BLENDER = "xvfb-run -a -s '-screen 0 1600x900x24' blender"
SESSIONS = {
    name: ROOT / "tests" / "real_blender" / f"session_{name}.py"
    for name in ("first_form", "set_up", "artist", "manners", "capture")
}
INSTALLS_ITSELF = "artist"  # the session that installs the zip by Blender's own operator
# No --factory-startup: the preferences have to know that the extension is on.
WINDOW = ["-noaudio", "--window-geometry", "0", "0", "1600", "900"]
TIMEOUT_S = 1800
ENGINE_WAIT_S = 300


def main() -> int:
    """Build the zip, install it into a configuration of its own, run the session."""
    environment.require_python()
    options = _parser().parse_args()
    out: Path = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    blender = shlex.split(options.blender)
    with tempfile.TemporaryDirectory(prefix="marey-session-") as scratch:
        # `env` inside the command: what starts Blender may clear the variables of this process.
        blender_at = blender.index("blender") if "blender" in blender else len(blender) - 1
        variables = ["env", f"BLENDER_USER_RESOURCES={scratch}/blender"]
        command = [*blender[:blender_at], *variables, *blender[blender_at:]]
        try:
            archive = build_addon.build_extension(build_addon.this_platform(), Path(scratch))
        except build_addon.BuildError as error:
            print(error, file=sys.stderr)
            return 1
        if options.session == INSTALLS_ITSELF:
            return _run_session(options, command, Path(scratch), out, archive)
        install = ["--command", "extension", "install-file", "-r", "user_default", "-e"]
        installed = subprocess.run(
            [*command, "--background", *install, str(archive)], check=False, timeout=TIMEOUT_S
        )
        if installed.returncode != 0:
            print("Blender could not install the extension", file=sys.stderr)
            return 1
        return _run_session(options, command, Path(scratch), out, archive)


def _run_session(
    options: argparse.Namespace, command: list[str], scratch: Path, out: Path, archive: Path
) -> int:
    request = scratch / "session.json"
    words = {
        "out": str(scratch),
        "archive": str(archive),
        "prompt": options.prompt,
        "engine_python": str(options.engine_python or environment.python_of(ROOT / ".venv")),
        "models": str(options.models.resolve()) if options.models else None,
        **_tiny_packages(scratch),
    }
    if options.session == "capture":
        if options.movie is None or not options.movie.is_file():
            print("The session capture needs --movie FILE with a person in it", file=sys.stderr)
            return 2
        # where whatever Blender runs in sees it too
        words["movie"] = str(shutil.copy(options.movie, scratch / options.movie.name))
        words["connection_file"] = str(scratch / "engine.json")
    request.write_text(json.dumps(words), encoding="utf-8")
    with _engine(words):
        return _press_buttons(options, command, scratch, out, request)


@contextlib.contextmanager
def _engine(words: dict[str, Any]) -> Generator[None]:
    """An engine for a session that connects to one; for the others nothing."""
    file = words.get("connection_file")
    if file is None:
        yield
        return
    models = ["--models", words["models"]] if words["models"] else []
    serve = [words["engine_python"], "-m", "engine", "serve", "--connection-file", file, *models]
    with subprocess.Popen([*serve, "--device", "cpu"], cwd=ROOT) as engine:
        try:
            deadline = time.monotonic() + ENGINE_WAIT_S
            while not Path(file).exists() and engine.poll() is None:
                if time.monotonic() > deadline:
                    break
                time.sleep(0.2)
            yield
        finally:
            engine.terminate()


def _press_buttons(
    options: argparse.Namespace, command: list[str], scratch: Path, out: Path, request: Path
) -> int:
    window = ["--enable-event-simulate", *WINDOW]
    done = subprocess.run(
        [*command, *window, "--python", str(SESSIONS[options.session]), "--", str(request)],
        check=False,
        timeout=TIMEOUT_S,
    )
    for picture in sorted([*scratch.glob("*.png"), *scratch.glob("places.json")]):
        (out / picture.name).write_bytes(picture.read_bytes())
        print(out / picture.name)
    print("passed" if done.returncode == 0 else f"FAILED with code {done.returncode}")
    return 0 if done.returncode == 0 else 1


def _tiny_packages(scratch: Path) -> dict[str, str]:
    """Wheels with the names of the engine's packages, for the session that sets an engine up."""
    sys.path.insert(0, str(ROOT))
    from tests import tiny_wheels

    folder = tiny_wheels.make(scratch / "packages", version=build_addon.version())
    wheel = next(folder.glob("marey-*.whl"))
    # Of another name: the zip knows the hash of the wheel that bears the right one.
    chosen = wheel.rename(wheel.with_name(wheel.name.replace("-py3-", "-1-py3-")))
    return {
        "packages": str(folder),
        "wheel": str(chosen),
        "text_encoder_sha256": tiny_wheels.text_encoder_sha256(),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Press Marey's buttons in a real Blender window.",
        epilog="Example: python3 scripts/real_blender_session.py --out session",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the screenshots")
    parser.add_argument("--session", choices=sorted(SESSIONS), default="first_form")
    parser.add_argument("--blender", default=BLENDER, help=f"command (default: {BLENDER})")
    parser.add_argument("--prompt", default="a person walks forward and waves")
    parser.add_argument("--models", type=Path, help="folder with more models")
    parser.add_argument("--movie", type=Path, help="what the session capture captures from")
    parser.add_argument("--engine-python", type=Path, help="the engine's Python (default: .venv)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
