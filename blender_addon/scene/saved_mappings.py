"""The artist's own mappings: JSON files in Blender's folder for presets, kept over versions.

The list is read when something changes it, and on request; drawing sees what was read last.
"""

from __future__ import annotations

import re
from pathlib import Path

import bpy

from ..rig.rig_mapping import SUFFIX, RigMapping, load_user_mappings

_FOLDER = "presets/marey/mappings"
_NOT_IN_FILE_NAMES = re.compile(r'[\\/:*?"<>|\x00-\x1f]+')

_names: tuple[str, ...] = ()
_mappings: tuple[RigMapping, ...] = ()


def folder() -> Path:
    """Where mappings are saved; made if need be."""
    return _user_folder(create=True)


def known_names() -> tuple[str, ...]:
    """Names of the saved mappings, as read last."""
    return _names


def known_mappings() -> tuple[RigMapping, ...]:
    """The saved mappings, as read last; files that can't be read are left out."""
    return _mappings


def refresh() -> tuple[str, ...]:
    """Read the folder anew. Returns a sentence on each file that can't be used."""
    global _names, _mappings
    files = sorted(_user_folder(create=False).glob(f"*{SUFFIX}"))
    _names = tuple(sorted((file.stem for file in files), key=str.casefold))
    _mappings, problems = load_user_mappings(files[0].parent) if files else ((), ())
    return problems


def path_of(name: str) -> Path:
    """The file of a mapping, whatever signs its name has."""
    return folder() / f"{_NOT_IN_FILE_NAMES.sub('_', name).strip(' .') or 'mapping'}{SUFFIX}"


def _user_folder(*, create: bool) -> Path:
    return Path(bpy.utils.user_resource("SCRIPTS", path=_FOLDER, create=create))
