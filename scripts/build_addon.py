"""Builds what is given to users: the extension zip with its wheels, and the engine's wheel.

    python3 scripts/build_addon.py [--out DIR] [--platform P] [--packages BUILD]

The zip is validated by Blender's own tool; an index beside it makes the folder an extension
repository of one's own. The engine's wheel lies beside both, and the zip knows its hash. With
--packages a folder with every package of the engine is made too, for computers that are not
online. Names and versions come from pyproject.toml.
"""

from __future__ import annotations

import argparse
import hashlib
import json
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
RELEASE_FILE = "engine_release.json"  # as blender_addon/engine_link/engine_environment.py reads it
MAX_ZIP_BYTES = 8_000_000
# Files in a wheel get this time, zip's first: the same source is the same wheel.
SOURCE_DATE_EPOCH = "315532800"
PACKAGE_INDEXES = {"cpu": environment.CPU_INDEX, "cuda": None}


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
        environment.set_up([contents.engine_part(), contents.blender_part(contents.DEFAULT_BPY)])
        engine = build_engine(out)
        built = [build_extension(platform, out, engine) for platform in platforms]
        built += [_write_index(out), engine]
        if options.packages:
            built.append(collect_packages(out, engine, options.packages))
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    for path in built:
        print(f"{path}  {_size(path) / 1e6:.1f} MB")
    return 0


def this_platform() -> str:
    """Blender's name of the platform that this runs on."""
    return addon_wheels.this_platform()


def build_extension(platform: str, out: Path, engine: Path | None = None) -> Path:
    """Build and validate the zip of one platform; makes the environments for that if need be.

    With the engine's wheel given, the zip knows its hash and takes no other.

    Raises:
        BuildError: a wheel cannot be had, or Blender's tool refuses the extension.
    """
    if platform not in PLATFORMS:
        raise BuildError(f"There are no wheels for {platform}, only for {', '.join(PLATFORMS)}")
    environment.set_up([contents.engine_part(), contents.blender_part(contents.DEFAULT_BPY)])
    archive = out / f"marey-{version()}-{platform.replace('-', '_')}.zip"
    with tempfile.TemporaryDirectory(prefix="marey-build-") as scratch:
        source = Path(scratch) / "marey"
        _stage(source, platform, engine)
        partial = Path(scratch) / archive.name
        _blender_ext("build", "--source-dir", str(source), "--output-filepath", str(partial))
        _blender_ext("validate", str(partial))
        if partial.stat().st_size > MAX_ZIP_BYTES:
            raise BuildError(
                f"{archive.name} has {partial.stat().st_size / 1e6:.1f} MB, needs "
                f"{MAX_ZIP_BYTES / 1e6:.0f} or less"
            )
        shutil.move(partial, archive)
    return archive


def build_engine(out: Path) -> Path:
    """The wheel of engine and trainer, with the models inside. The same source is the same file.

    Raises:
        BuildError: pip could not build it.
    """
    with tempfile.TemporaryDirectory(prefix="marey-build-") as scratch:
        source = Path(scratch) / "source"
        source.mkdir()
        for package in ("engine", "trainer", "blender_addon"):
            shutil.copytree(ROOT / package, source / package, ignore=LEFT_OUT)
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, source)
        words = ["--no-deps", "--no-build-isolation", "--wheel-dir", str(out), str(source)]
        _run(_pip("wheel", *words), "The engine's wheel could not be built")
    return out / f"marey-{version()}-py3-none-any.whl"


def release(engine: Path) -> dict[str, object]:
    """What the zip says of the engine's wheel."""
    return {
        "version": version(),
        "wheel": engine.name,
        "sha256": hashlib.sha256(engine.read_bytes()).hexdigest(),
        "size_bytes": engine.stat().st_size,
    }


def collect_packages(out: Path, engine: Path, build: str) -> Path:
    """A folder with the engine's wheel and every package that it needs, by `pip download`.

    Raises:
        BuildError: one cannot be had.
    """
    folder = out / f"marey-{version()}-packages-{this_platform()}-{build}"
    folder.mkdir(exist_ok=True)
    words = ["--dest", str(folder), "--constraint", str(contents.CONSTRAINTS)]
    index = PACKAGE_INDEXES[build]
    torch = next(one for one in contents.engine_part().requirements if one.startswith("torch"))
    what = "The engine's packages could not be collected"
    if index is not None and sys.platform.startswith("linux") and environment.is_reachable(index):
        _run(_pip("download", *words, "--index-url", index, torch), what)
        words += ["--find-links", str(folder)]
    _run(_pip("download", *words, f"marey[engine] @ {engine.as_uri()}"), what)
    for pinned in contents.PINNED_FILES:
        _run(_pip("download", *words, "--no-deps", pinned.requirement), what)
    return folder


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
    parser.add_argument(
        "--packages",
        choices=sorted(PACKAGE_INDEXES),
        help="also collect the engine's packages for this platform and Python 3.11, with this "
        "build of torch: an engine can then be set up without a network",
    )
    return parser


def _stage(source: Path, platform: str, engine: Path | None) -> None:
    """The add-on's folder as it goes into the zip."""
    shutil.copytree(ROOT / "blender_addon", source, ignore=LEFT_OUT)
    shutil.copy(ROOT / "LICENSE", source)
    if engine is not None:
        (source / RELEASE_FILE).write_text(json.dumps(release(engine), indent=1), encoding="utf-8")
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


def _pip(verb: str, *words: str) -> list[str]:
    python = environment.python_of(ROOT / ".venv")
    return [str(python), "-m", "pip", "--disable-pip-version-check", verb, "--quiet", *words]


def _run(command: list[str], what: str) -> None:
    variables = {**os.environ, "SOURCE_DATE_EPOCH": SOURCE_DATE_EPOCH}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    if done.returncode != 0:
        words = (done.stdout + done.stderr).strip().splitlines() or ["no word why"]
        errors = [line for line in words if line.startswith("ERROR:")]
        raise BuildError(f"{what}: {(errors or words)[-1]}")


def _size(path: Path) -> int:
    files = path.iterdir() if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)


if __name__ == "__main__":
    sys.exit(main())
