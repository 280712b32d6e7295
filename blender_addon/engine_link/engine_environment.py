"""The environment that the add-on makes for the engine: where it is, whether it is whole.

`ROOT/engine` is the environment, beside it lie the log of its making and a lock. ROOT is the
user's data folder or one that the artist chose. What is read here is a few small files.
"""

from __future__ import annotations

import enum
import json
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from .make_environment import STAMP, UNFINISHED, python_of

ADDON_FOLDER = Path(__file__).resolve().parent.parent
RELEASE_FILE = "engine_release.json"  # in a built zip only


class EnvironmentState(enum.Enum):
    """What is in the folder."""

    MISSING = "missing"
    HALF = "half"  # its making was interrupted
    BROKEN = "broken"  # the Python that it was made from is gone
    OTHER_VERSION = "other version"
    READY = "ready"


@dataclass(frozen=True, kw_only=True)
class Device:
    """Something that the engine can compute on."""

    kind: str  # "cuda", "mps", "cpu"
    name: str
    memory_bytes: int = 0  # 0: unknown

    def __str__(self) -> str:
        memory = f", {self.memory_bytes / 2**30:.0f} GB" if self.memory_bytes else ""
        return f"{self.name}{memory}"


@dataclass(frozen=True, kw_only=True)
class EngineFacts:
    """What an engine says of itself: `python -m engine devices --json`."""

    engine_version: str = ""
    torch: str = ""
    devices: tuple[Device, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Release:
    """The engine's wheel that belongs to this add-on."""

    version: str
    wheel: str  # file name
    sha256: str = ""  # "": not known, as in a source checkout
    size_bytes: int = 0


@dataclass(frozen=True)
class EngineEnvironment:
    """The environment of one ROOT."""

    root: Path

    @property
    def folder(self) -> Path:
        """The environment itself."""
        return self.root / "engine"

    @property
    def log_path(self) -> Path:
        """What its making said."""
        return self.root / "engine-set-up.log"

    @property
    def python(self) -> Path:
        """The interpreter."""
        return python_of(self.folder)

    def stamp(self) -> dict[str, Any]:
        """What was written down when it was finished; {} if it was not."""
        try:
            stamp: object = json.loads((self.folder / STAMP).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return cast("dict[str, Any]", stamp) if isinstance(stamp, dict) else {}

    def facts(self) -> EngineFacts:
        """What the engine found when it was tried."""
        return facts_from_json(self.stamp())

    def state(self, version: str) -> EnvironmentState:
        """Whether an engine of this version can be started from it."""
        if (self.folder / UNFINISHED).exists():
            return EnvironmentState.HALF
        stamp = self.stamp()
        if not stamp:
            return EnvironmentState.MISSING
        if not self.python.is_file():
            return EnvironmentState.BROKEN
        is_same = stamp.get("version") == version
        return EnvironmentState.READY if is_same else EnvironmentState.OTHER_VERSION


def facts_from_json(values: dict[str, Any]) -> EngineFacts:
    """Read what `devices --json` printed; what can't be read is left out."""
    found: list[Device] = []
    listed: object = values.get("devices", [])
    for item in cast("list[object]", listed) if isinstance(listed, list) else []:
        if isinstance(item, dict):
            entry = cast("dict[str, Any]", item)
            memory: object = entry.get("memory_bytes", 0)
            found.append(
                Device(
                    kind=str(entry.get("kind", "")),
                    name=str(entry.get("name", "")),
                    memory_bytes=memory if isinstance(memory, int) else 0,
                )
            )
    return EngineFacts(
        engine_version=str(values.get("engine_version", "")),
        torch=str(values.get("torch", "")),
        devices=tuple(found),
    )


def release(folder: Path = ADDON_FOLDER) -> Release:
    """The engine that belongs to this add-on, as the build wrote it down, or by the manifest."""
    try:
        values = json.loads((folder / RELEASE_FILE).read_text(encoding="utf-8"))
        return Release(
            version=str(values["version"]),
            wheel=str(values["wheel"]),
            sha256=str(values["sha256"]),
            size_bytes=int(values["size_bytes"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        version = addon_version(folder)
        return Release(version=version, wheel=wheel_name(version))


def addon_version(folder: Path = ADDON_FOLDER) -> str:
    """The version in the manifest; "" where there is no manifest."""
    try:
        text = (folder / "blender_manifest.toml").read_text(encoding="utf-8")
        return str(tomllib.loads(text)["version"])
    except (OSError, ValueError, KeyError):
        return ""


def wheel_name(version: str) -> str:
    """The file name of the engine's wheel."""
    return f"marey-{version}-py3-none-any.whl"


def is_interpreter(path: Path) -> bool:
    """A program that may be run."""
    return path.is_file() and os.access(path, os.X_OK)
