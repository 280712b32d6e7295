"""What goes into the extension: its manifest, and wheels that Blender accepts."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import addon_wheels
import build_addon
import environment_contents as contents
from blender_addon.engine_link import engine_environment

MANIFEST = (contents.ROOT / "blender_addon" / "blender_manifest.toml").read_text(encoding="utf-8")
TAGS = "Wheel-Version: 1.0\nTag: cp312-abi3-manylinux_2_26_x86_64\nTag: cp312-abi3-manylinux_2_28\n"


def test_the_manifest_gets_version_wheels_and_platform() -> None:
    text = build_addon.filled_manifest(MANIFEST, wheels=["a.whl", "b.whl"], platform="linux-x64")

    filled, source = tomllib.loads(text), tomllib.loads(MANIFEST)
    assert filled["version"] == build_addon.version()
    assert filled["wheels"] == ["./wheels/a.whl", "./wheels/b.whl"]
    assert filled["platforms"] == ["linux-x64"]
    assert filled["permissions"] == source["permissions"]
    assert set(filled) == set(source) | {"wheels", "platforms"}


def test_a_manifest_without_a_version_is_refused() -> None:
    with pytest.raises(build_addon.BuildError, match="0 lines"):
        build_addon.filled_manifest('id = "marey"\n', wheels=[], platform="linux-x64")


def test_the_abi3_wheel_names_its_pythons(tmp_path: Path) -> None:
    wheel = _wheel(tmp_path / "pyzmq-27.3.0-cp312-abi3-manylinux_2_28_x86_64.whl")
    (tmp_path / "out").mkdir()

    renamed = addon_wheels.rename_abi3(wheel, tmp_path / "out")

    assert renamed.name == "pyzmq-27.3.0-cp312.cp313.cp314-none-manylinux_2_28_x86_64.whl"
    with zipfile.ZipFile(renamed) as archive:
        tags = archive.read("pyzmq-27.3.0.dist-info/WHEEL").decode()
        record = archive.read("pyzmq-27.3.0.dist-info/RECORD").decode()
        assert archive.read("zmq/__init__.py") == b"pass"
    assert "Tag: cp313-none-manylinux_2_26_x86_64" in tags
    assert "abi3" not in tags
    digest = base64.urlsafe_b64encode(hashlib.sha256(tags.encode()).digest()).rstrip(b"=").decode()
    assert f"pyzmq-27.3.0.dist-info/WHEEL,sha256={digest},{len(tags)}" in record.splitlines()


def test_a_wheel_of_one_version_stays_as_it_is(tmp_path: Path) -> None:
    wheel = _wheel(tmp_path / "pyzmq-27.3.0-cp311-cp311-win_amd64.whl")
    (tmp_path / "out").mkdir()

    copied = addon_wheels.rename_abi3(wheel, tmp_path / "out")

    assert copied.name == wheel.name
    assert copied.read_bytes() == wheel.read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for pip is a shell script")
@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'ERROR: no such version' >&2; exit 1", "no such version"),
        ("for last; do :; done; exit 0", "is not the one with SHA-256"),
    ],
)
def test_a_wheel_that_cannot_be_had_is_one_line(tmp_path: Path, script: str, words: str) -> None:
    pip = tmp_path / "python"
    pip.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    pip.chmod(0o755)

    with pytest.raises(addon_wheels.WheelError, match=words):
        addon_wheels.fetch_wheels(addon_wheels.PLATFORMS["linux-x64"], pip, tmp_path / "cache")


def test_this_platform_has_wheels_or_says_so(tmp_path: Path) -> None:
    if build_addon.this_platform() in addon_wheels.PLATFORMS:
        return
    with pytest.raises(build_addon.BuildError, match="There are no wheels"):
        build_addon.build_extension(build_addon.this_platform(), tmp_path)


def _wheel(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("zmq/__init__.py", "pass")
        archive.writestr("pyzmq-27.3.0.dist-info/WHEEL", TAGS)
        record = "zmq/__init__.py,sha256=x,4\npyzmq-27.3.0.dist-info/WHEEL,sha256=old,1\n"
        archive.writestr("pyzmq-27.3.0.dist-info/RECORD", record)
    return path


def test_the_release_names_the_wheel_and_its_hash(tmp_path: Path) -> None:
    wheel = tmp_path / "marey-0.1.0-py3-none-any.whl"
    wheel.write_bytes(b"wheel")
    assert build_addon.release(wheel) == {
        "version": build_addon.version(),
        "wheel": wheel.name,
        "sha256": hashlib.sha256(b"wheel").hexdigest(),
        "size_bytes": 5,
    }


def test_the_add_on_reads_what_the_build_writes(tmp_path: Path) -> None:
    wheel = tmp_path / engine_environment.wheel_name("1.2.3")
    wheel.write_bytes(b"wheel")
    text = json.dumps(build_addon.release(wheel))
    (tmp_path / build_addon.RELEASE_FILE).write_text(text, encoding="utf-8")
    assert vars(engine_environment.release(tmp_path)) == build_addon.release(wheel)


def test_without_a_build_the_manifest_says_the_version() -> None:
    known = engine_environment.release()
    assert (known.version, known.sha256) == (build_addon.version(), "")
    assert engine_environment.release(Path("/nowhere")).version == ""


def test_a_zip_that_grew_too_large_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(verb: str, *words: str) -> None:
        if verb == "build":
            Path(words[-1]).write_bytes(bytes(100))

    monkeypatch.setattr(build_addon, "MAX_ZIP_BYTES", 99)
    monkeypatch.setattr(build_addon, "_blender_ext", build)
    monkeypatch.setattr(build_addon, "_stage", lambda *_: None)
    monkeypatch.setattr(build_addon.environment, "set_up", lambda parts: None)
    with pytest.raises(build_addon.BuildError, match="needs"):
        build_addon.build_extension("linux-x64", tmp_path)
    assert list(tmp_path.glob("*.zip")) == []


@pytest.mark.slow
def test_the_same_source_is_the_same_wheel(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    one, other = build_addon.build_engine(first), build_addon.build_engine(second)
    assert hashlib.sha256(one.read_bytes()).digest() == hashlib.sha256(other.read_bytes()).digest()
    with zipfile.ZipFile(one) as archive:
        names = archive.namelist()
    assert "engine/models/mdm-free.safetensors" in names
    assert "engine/__main__.py" in names
    assert "blender_addon/protocol.py" in names


def test_every_platform_of_the_add_on_has_two_wheels() -> None:
    needed = {"linux-x64", "windows-x64", "macos-x64", "macos-arm64"}
    assert needed <= set(addon_wheels.PLATFORMS)
    for platform in addon_wheels.PLATFORMS.values():
        assert len({platform.sha256_cp311, platform.sha256_abi3}) == 2
