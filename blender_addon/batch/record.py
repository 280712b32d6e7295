"""What has been done already: found by what a motion was made from, never by a name.

A job's identity is everything that its keys depend on. It is written into the provenance of the
action, and beside an exported file as FILE.json, since these formats have no place for it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias, cast

import bpy

from ..scene.action_writer import PROVENANCE_KEY
from .report import write_text

BATCH_KEY = "batch"  # in the provenance

Identity: TypeAlias = dict[str, Any]


def find_action(identity: Identity) -> bpy.types.Action | None:
    """The action of this identity in the file; the hash of the model may be left out of it."""
    wanted = _as_json(identity)
    for action in bpy.data.actions:
        found = _identity_of(action)
        if found and all(found.get(key) == value for key, value in wanted.items()):
            return action
    return None


def provenance_of(action: bpy.types.Action) -> dict[str, Any]:
    """What is written on an action, not to be changed; {} where that is no provenance."""
    return _parsed(str(action.get(PROVENANCE_KEY, "")))


@functools.lru_cache(maxsize=4096)
def _parsed(text: str) -> dict[str, Any]:
    """Kept, because every job looks at every action."""
    with contextlib.suppress(ValueError):
        parsed: object = json.loads(text)
        if isinstance(parsed, dict):
            return cast("dict[str, Any]", parsed)
    return {}


def place_of(armature: str) -> list[float] | None:
    """Where an armature object stood before a batch first keyed it, as 16 numbers."""
    for action in bpy.data.actions:
        batch = provenance_of(action).get(BATCH_KEY)
        if isinstance(batch, dict) and _identity_of(action).get("armature") == armature:
            place: object = cast("dict[str, Any]", batch).get("place")
            if isinstance(place, list):
                return cast("list[float]", place)
    return None


def record(identity: Identity, place: list[float]) -> dict[str, Any]:
    """What goes into an action's provenance under BATCH_KEY."""
    return {"identity": _as_json(identity), "place": place}


def is_exported(path: Path, identity: Identity) -> bool:
    """The file is there, and it is the motion of this identity, untouched."""
    noted = _noted(path)
    if noted is None or not path.is_file():
        return False
    return noted.get("identity") == _as_json(identity) and noted.get("sha256") == _digest(path)


def is_from_batch(path: Path) -> bool:
    """A batch has written the file, and nobody has changed it since."""
    noted = _noted(path)
    return noted is not None and noted.get("sha256") == _digest(path)


def write_note(path: Path, identity: Identity, provenance: Mapping[str, Any]) -> None:
    """Write FILE.json beside an exported file.

    Raises:
        ReportError: it can't be written.
    """
    kept = {key: value for key, value in provenance.items() if key != BATCH_KEY}
    values = {"identity": identity, "provenance": kept, "sha256": _digest(path)}
    write_text(
        _note_path(path), json.dumps(values, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
    )


def provenance_of_export(path: Path) -> dict[str, Any]:
    """What FILE.json says of how the motion was made."""
    return (_noted(path) or {}).get("provenance", {})


def remove_note(path: Path) -> None:
    """Before a file is replaced: half a pair must not look like a whole one."""
    with contextlib.suppress(OSError):
        _note_path(path).unlink(missing_ok=True)


def _note_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _noted(path: Path) -> dict[str, Any] | None:
    try:
        parsed: object = json.loads(_note_path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return cast("dict[str, Any]", parsed) if isinstance(parsed, dict) else None


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _identity_of(action: bpy.types.Action) -> dict[str, Any]:
    batch = provenance_of(action).get(BATCH_KEY)
    identity: object = (
        cast("dict[str, Any]", batch).get("identity") if isinstance(batch, dict) else None
    )
    return cast("dict[str, Any]", identity) if isinstance(identity, dict) else {}


def _as_json(identity: Identity) -> Identity:
    """As it comes back from a file: tuples are lists there."""
    return json.loads(json.dumps(identity))
