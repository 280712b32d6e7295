"""Builds what is given to users: the extension zip with its wheels, and the engine's wheel.

    python3 scripts/build_addon.py [--out DIR] [--platform P]

The zip is validated by Blender's own tool; an index beside it makes the folder an extension
repository of one's own. Names and versions come from pyproject.toml.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import addon_wheels
import environment
import environment_contents as contents
from addon_wheels import PLATFORMS, WheelError

ROOT = contents.ROOT
WHEEL_CACHE = ROOT / ".marey" / "wheels"
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", "wheels")


class BuildError(Exception):
    """Something could not be built; str() is one line for the user."""


def main() -> int:
    """Build for the platforms asked for, write the index, build the engine's wheel."""
    environment.require_python()
    options = _parser().parse_args()
    out: Path = options.out.resolve()
    platforms = list(PLATFORMS) if options.platform == "all" else [options.platform]
    if any(platform not in PLATFORMS for platform in platforms):
        known = ", ".join(PLATFORMS)
        print(f"--platform is {options.platform}: needs all, or one of {known}", file=sys.stderr)
        return 2
    out.mkdir(parents=True, exist_ok=True)
    try:
        built = [build_extension(platform, out) for platform in platforms]
        built += [_write_index(out), _build_engine(out)]
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    for path in built:
        print(f"{path}  {path.stat().st_size / 1e6:.1f} MB")
    return 0


def this_platform() -> str:
    """Blender's name of the platform that this runs on."""
    return addon_wheels.this_platform()


def build_extension(platform: str, out: Path) -> Path:
    """Build and validate the zip of one platform; makes the environments for that if need be.

    Raises:
        BuildError: a wheel cannot be had, or Blender's tool refuses the extension.
    """
    if platform not in PLATFORMS:
        raise BuildError(f"There are no wheels for {platform}, only for {', '.join(PLATFORMS)}")
    environment.set_up([contents.engine_part(), contents.blender_part(contents.DEFAULT_BPY)])
    archive = out / f"marey-{version()}-{platform.replace('-', '_')}.zip"
    with tempfile.TemporaryDirectory(prefix="marey-build-") as scratch:
        source = Path(scratch) / "marey"
        _stage(source, platform)
        partial = Path(scratch) / archive.name
        _blender_ext("build", "--source-dir", str(source), "--output-filepath", str(partial))
        _blender_ext("validate", str(partial))
        shutil.move(partial, archive)
    return archive


def version() -> str:
    """The one version, of pyproject.toml."""
    return str(contents.project()["project"]["version"])


def filled_manifest(text: str, *, wheels: list[str], platform: str) -> str:
    """The manifest with the project's version, the wheels and the platform that they are for."""
    text, count = re.subn(r'(?m)^version = ".*"$', f'version = "{version()}"', text)
    if count != 1:
        raise BuildError(f"blender_manifest.toml has {count} lines with the version, needs 1")
    lines = [f'platforms = ["{platform}"]', "wheels = ["]
    lines += [f'    "./wheels/{name}",' for name in wheels]
    head, table, rest = text.partition("\n[")  # keys of the whole come before the first table
    return f"{head.rstrip()}\n" + "\n".join([*lines, "]", ""]) + table + rest


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Build the extension zip(s) and the engine's wheel.",
        epilog="Example: python3 scripts/build_addon.py --out dist --platform all",
    )
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder (default: dist)")
    parser.add_argument(
        "--platform",
        default=this_platform(),
        help=f"{', '.join(PLATFORMS)} or all (default: this one, {this_platform()})",
    )
    return parser


def _stage(source: Path, platform: str) -> None:
    """The add-on's folder as it goes into the zip."""
    shutil.copytree(ROOT / "blender_addon", source, ignore=LEFT_OUT)
    shutil.copy(ROOT / "LICENSE", source)
    folder = source / "wheels"
    folder.mkdir()
    python = environment.python_of(ROOT / ".venv")
    try:
        fetched = addon_wheels.fetch_wheels(PLATFORMS[platform], python, WHEEL_CACHE)
    except WheelError as error:
        raise BuildError(str(error)) from error
    wheels = [addon_wheels.rename_abi3(wheel, folder).name for wheel in fetched]
    manifest = source / "blender_manifest.toml"
    text = filled_manifest(manifest.read_text(encoding="utf-8"), wheels=wheels, platform=platform)
    manifest.write_text(text, encoding="utf-8")


def _blender_ext(*arguments: str) -> None:
    """Run Blender's extension tool, which the bpy wheel has as a script of its own."""
    wheel = ROOT / f".venv-bpy-{contents.DEFAULT_BPY}"
    found = list(wheel.rglob("bl_pkg/cli/blender_ext.py"))
    if not found:
        raise BuildError(f"{wheel} has no blender_ext.py: delete that folder and run this again")
    python = environment.python_of(ROOT / ".venv")
    done = subprocess.run(
        [str(python), "-I", str(found[0]), *arguments], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        words = (done.stdout + done.stderr).strip().splitlines()
        raise BuildError(f"Blender's tool refuses the extension ({arguments[0]}): {words[-1]}")


def _write_index(out: Path) -> Path:
    """index.json: the folder served over HTTP is an extension repository."""
    _blender_ext("server-generate", "--repo-dir", str(out))
    return out / "index.json"


def _build_engine(out: Path) -> Path:
    """The wheel of engine and trainer, with the models inside."""
    with tempfile.TemporaryDirectory(prefix="marey-build-") as scratch:
        source = Path(scratch) / "source"
        source.mkdir()
        for package in ("engine", "trainer", "blender_addon"):
            shutil.copytree(ROOT / package, source / package, ignore=LEFT_OUT)
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, source)
        python = environment.python_of(ROOT / ".venv")
        command = [str(python), "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
        command += ["--no-deps", "--no-build-isolation", "--wheel-dir", str(out), str(source)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ}
        )
    if done.returncode != 0:
        words = (done.stdout + done.stderr).strip().splitlines()
        raise BuildError(f"The engine's wheel could not be built: {words[-1]}")
    return out / f"marey-{version()}-py3-none-any.whl"


if __name__ == "__main__":
    sys.exit(main())
