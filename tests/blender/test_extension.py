"""The built zip, not the source tree: it installs into this Blender, runs, and leaves cleanly."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.blender, pytest.mark.slow]

REPOSITORY = Path(__file__).resolve().parents[2]
TIMEOUT_S = 300


@pytest.fixture(scope="module")
def dist(engine_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `build_addon.py` writes for this platform."""
    out = tmp_path_factory.mktemp("dist")
    script = REPOSITORY / "scripts" / "build_addon.py"
    done = subprocess.run(
        [str(engine_python), str(script), "--out", str(out)],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    if done.returncode != 0 and "could not fetch" in done.stderr:
        pytest.skip(f"needs the pyzmq wheels: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def archive(dist: Path) -> Path:
    (found,) = dist.glob("*.zip")
    return found


@pytest.fixture(scope="module")
def installed(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a fresh Blender of this version says after installing it."""
    scratch = tmp_path_factory.mktemp("blender")
    report = scratch / "report.json"
    variables = {
        **os.environ,
        "BLENDER_USER_RESOURCES": str(scratch / "user"),
        "XDG_DATA_HOME": str(scratch / "data"),
        "LOCALAPPDATA": str(scratch / "data"),
    }
    variables.pop("PYTHONPATH", None)
    probe = Path(__file__).with_name("extension_probe.py")
    done = subprocess.run(
        [sys.executable, str(probe), str(archive), str(report)],
        cwd=scratch,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert report.is_file(), done.stdout + done.stderr
    return json.loads(report.read_text(encoding="utf-8"))


def test_it_is_small_and_has_what_it_needs(archive: Path) -> None:
    assert archive.stat().st_size < 8_000_000
    with zipfile.ZipFile(archive) as opened:
        names = opened.namelist()
        manifest = tomllib.loads(opened.read("blender_manifest.toml").decode())
    assert {f"./{name}" for name in names if name.endswith(".whl")} == set(manifest["wheels"])
    assert len(manifest["wheels"]) == 2  # one for Python 3.11, one for the later ones
    assert not any("abi3" in wheel for wheel in manifest["wheels"])
    assert {"files", "network"} <= set(manifest["permissions"])
    assert "LICENSE" in names
    assert not [name for name in names if "__pycache__" in name or name.startswith("engine/")]


def test_this_blender_s_own_tool_validates_it(archive: Path) -> None:
    import bpy

    (tool,) = Path(bpy.utils.resource_path("LOCAL")).rglob("bl_pkg/cli/blender_ext.py")
    done = subprocess.run(
        [sys.executable, "-I", str(tool), "validate", str(archive)],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_index_lists_it(dist: Path, archive: Path) -> None:
    index = json.loads((dist / "index.json").read_text(encoding="utf-8"))
    (entry,) = index["data"]
    assert entry["id"] == "marey"
    assert entry["archive_url"] == f"./{archive.name}"
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    assert entry["archive_hash"] == f"sha256:{digest}"


def test_it_installs_and_finds_its_wheels(installed: dict[str, Any]) -> None:
    assert installed["has_preferences"]
    assert ".local" in installed["zmq"] or "site-packages" in installed["zmq"]
    assert "marey" in installed["user_folder"]


def test_it_knows_the_engine_s_wheel_beside_it(dist: Path, installed: dict[str, Any]) -> None:
    (wheel,) = dist.glob("*.whl")
    known = installed["release"]
    assert known["wheel"] == wheel.name
    assert known["sha256"] == hashlib.sha256(wheel.read_bytes()).hexdigest()
    assert known["size_bytes"] == wheel.stat().st_size


def test_without_an_engine_it_says_what_to_press(installed: dict[str, Any]) -> None:
    assert installed["state"] == "missing"
    assert "press Set Up Engine in the preferences" in installed["error"]


def test_it_brings_nothing_heavy_and_leaves_nothing(installed: dict[str, Any]) -> None:
    assert installed["heavy"] == []
    assert installed["left"] == []
