"""The pyzmq wheels that go into the extension: which, checked by hash, renamed for Blender.

Blender takes "abi3" to mean any Python 3 only while no wheel in the manifest names a version.
With cp311 and cp312-abi3 side by side it refuses the extension on Python 3.13. So the abi3 wheel
is renamed to say the versions that it runs on; its contents stay the same.

Standard library only.
"""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

PYZMQ = "pyzmq==27.3.0"
PYTHON_TAGS = "cp312.cp313.cp314"  # what the abi3 wheel is said to run on


class WheelError(Exception):
    """A wheel cannot be had or is not the one that it should be; str() is one line."""


@dataclass(frozen=True)
class Platform:
    """Blender's name of a platform, pip's, and the hashes of its two wheels."""

    name: str
    pip_name: str
    sha256_cp311: str
    sha256_abi3: str


PLATFORMS = {
    platform.name: platform
    for platform in (
        Platform(
            name="linux-x64",
            pip_name="manylinux_2_28_x86_64",
            sha256_cp311="477b8ad30d66fc905c5388351e83b9ac25824b00e82c0d052b72ea6392636dfd",
            sha256_abi3="858fe25231e0fd8612da142efde019faa5ef63fa150a821a27870e791b38c798",
        ),
        Platform(
            name="windows-x64",
            pip_name="win_amd64",
            sha256_cp311="df98c790f86b6aa2378b4bb94dec7b85b0adb195b880b41e429a4990aed2a8c9",
            sha256_abi3="3ea8e8fa5c097e68fef91d70b150fda96f307758103868018fc4deeb9c214122",
        ),
        Platform(
            name="windows-arm64",
            pip_name="win_arm64",
            sha256_cp311="652d68fb398e714540d8a577cef81c548c61394c721bc1b996b5a4028e89f73d",
            sha256_abi3="2187a5ca80691a5edb30690f02d9fb714e2c32d3dfdeb652e159ff5da2dd4283",
        ),
        Platform(
            name="macos-arm64",
            pip_name="macosx_10_15_universal2",
            sha256_cp311="86fb4408797aabb54a31e147176ae0f2474d99f1715a36a4564089eca9ef9ce8",
            sha256_abi3="15155fd8f308d3bd47f67a8f6cc809f9db90abbf63c514c384a17622e2cf080f",
        ),
        Platform(
            name="macos-x64",
            pip_name="macosx_10_15_universal2",
            sha256_cp311="86fb4408797aabb54a31e147176ae0f2474d99f1715a36a4564089eca9ef9ce8",
            sha256_abi3="15155fd8f308d3bd47f67a8f6cc809f9db90abbf63c514c384a17622e2cf080f",
        ),
    )
}


def fetch_wheels(platform: Platform, python: Path, cache: Path) -> list[Path]:
    """The platform's wheels in a cache folder, fetched with python's pip where they are not there.

    Raises:
        WheelError: pip cannot get one, or it is another file than it was.
    """
    wanted = (("3.11", "cp311", platform.sha256_cp311), ("3.13", "abi3", platform.sha256_abi3))
    return [
        _find(cache, digest) or _fetch(platform, python, cache, version, abi, digest)
        for version, abi, digest in wanted
    ]


def rename_abi3(wheel: Path, folder: Path) -> Path:
    """Copy a wheel; one for cp312-abi3 comes out as one for each of PYTHON_TAGS by name."""
    if "-cp312-abi3-" not in wheel.name:
        target = folder / wheel.name
        target.write_bytes(wheel.read_bytes())
        return target
    target = folder / wheel.name.replace("-cp312-abi3-", f"-{PYTHON_TAGS}-none-")
    with zipfile.ZipFile(wheel) as source, zipfile.ZipFile(target, "w") as copy:
        names = source.namelist()
        tags = next(name for name in names if name.endswith(".dist-info/WHEEL"))
        record = tags.replace("/WHEEL", "/RECORD")
        new_tags = _renamed_tags(source.read(tags).decode())
        for name in names:
            data = source.read(name)
            if name == tags:
                data = new_tags
            elif name == record:
                data = _with_record(data.decode(), tags, new_tags)
            copy.writestr(source.getinfo(name), data, zipfile.ZIP_DEFLATED)
    return target


def _renamed_tags(text: str) -> bytes:
    """The WHEEL file with a Tag line per Python version and platform."""
    lines: list[str] = []
    for line in text.splitlines():
        if not line.startswith("Tag: cp312-abi3-"):
            lines.append(line)
            continue
        platform = line.removeprefix("Tag: cp312-abi3-")
        lines += [f"Tag: {tag}-none-{platform}" for tag in PYTHON_TAGS.split(".")]
    return ("\n".join(lines) + "\n").encode()


def _with_record(record: str, name: str, data: bytes) -> bytes:
    """The RECORD file with the new hash and size of one entry."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    lines = [
        f"{name},sha256={digest},{len(data)}" if line.startswith(f"{name},") else line
        for line in record.splitlines()
    ]
    return ("\n".join(lines) + "\n").encode()


def _find(cache: Path, digest: str) -> Path | None:
    found = (path for path in sorted(cache.glob("pyzmq-*.whl")) if _sha256(path) == digest)
    return next(found, None)


def _fetch(
    platform: Platform, python: Path, cache: Path, version: str, abi: str, digest: str
) -> Path:
    cache.mkdir(parents=True, exist_ok=True)
    command = [str(python), "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
    command += ["--no-deps", "--only-binary=:all:", "--platform", platform.pip_name]
    command += ["--implementation", "cp", "--python-version", version, "--abi", abi]
    done = subprocess.run(
        [*command, "--dest", str(cache), PYZMQ], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")]
        raise WheelError(
            f"pip could not fetch {PYZMQ} for {platform.name}: {(errors or ['?'])[-1]}"
        )
    wheel = _find(cache, digest)
    if wheel is None:
        raise WheelError(
            f"The wheel of {PYZMQ} for {platform.name}, {abi}, is not the one with SHA-256 "
            f"{digest} that Marey was tried with"
        )
    return wheel


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def this_platform() -> str:
    """Blender's name of the platform that this runs on."""
    import platform

    machine = platform.machine().lower()
    processor = "arm64" if machine in ("arm64", "aarch64") else "x64"
    system = {"win32": "windows", "darwin": "macos"}.get(sys.platform, "linux")
    return f"{system}-{processor}"
