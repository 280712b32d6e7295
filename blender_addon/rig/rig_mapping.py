"""A mapping: which bone names stand for which joints, as a file that people can share.

Families of rigs that Marey knows (families/*.json) and mappings that users save have one format,
JSON in UTF-8:

    marey_rig_mapping   1, the version of the format
    name                shown to the user
    source              where the names come from (optional)
    sides               what {side} stands for, left first, such as ["L", "R"]; a table that has it
                        says "{side}_knee" once instead of "left_knee" and "right_knee"
    prefix              regular expression of what may stand before each name (optional)
    needs               names of which each must be there for this family; a list means any of it
    bones               joint -> name, or a list of names, best first; joints are those of
                        bone_match.BODY_JOINTS
    spine, neck         names from the pelvis up; an entry may be a list of names, best first
    twist_bones         joint at the upper end of a segment -> helper bones that share its twist
    followers           bone -> joint whose rotation it copies
    still_bones         bones that are keyed in their rest pose
    location_bone       carries the root's path; without it the pelvis' bone does
    root_bone           name, or names, of a bone on the ground above all others
    properties          [bone, custom property, value] to key so that the bones move the rig
    ik                  bones (joint -> control), poles (joint -> pole), properties as above

All but the version, the name and the bones may be left out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TypeAlias, cast

from .bone_match import BODY_JOINTS, BoneMatch, IkControls, RigError

FORMAT_VERSION = 1
SUFFIX = ".json"
FAMILY_FOLDER = Path(__file__).parent / "families"

Names: TypeAlias = tuple[str, ...]  # of one bone, best first
Property: TypeAlias = tuple[str, str, float]

_FIELDS = frozenset(
    {
        *("marey_rig_mapping", "name", "source", "sides", "prefix", "needs", "bones", "spine"),
        *("neck", "twist_bones", "followers", "still_bones", "location_bone", "root_bone"),
        *("properties", "ik"),
    }
)


class MappingError(RigError):
    """A mapping file that can't be used; the message says what is wrong with it, for the user."""


@dataclass(frozen=True, kw_only=True)
class RigMapping:
    """One mapping with {side} filled in."""

    name: str
    bones: Mapping[str, Names]
    source: str = ""
    prefix: str = ""
    needs: tuple[Names, ...] = ()
    spine: tuple[Names, ...] = ()
    neck: tuple[Names, ...] = ()
    twist_bones: Mapping[str, Names] = field(default_factory=dict[str, Names])
    followers: Mapping[str, str] = field(default_factory=dict[str, str])
    still_bones: Names = ()
    location_bone: str = ""
    root_bone: Names = ()
    properties: tuple[Property, ...] = ()
    ik: IkControls | None = None


@cache
def known_families() -> tuple[RigMapping, ...]:
    """The families of rigs that Marey knows, by the order of their files' names."""
    return tuple(load_mapping(path) for path in sorted(FAMILY_FOLDER.glob(f"*{SUFFIX}")))


def load_mapping(path: Path) -> RigMapping:
    """Read a mapping file.

    Raises:
        MappingError: it can't be read, is no mapping, or is of a later version.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MappingError(f"{path.name} can't be read: {error}") from error
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise MappingError(f"{path.name} is no mapping: {error}") from error
    try:
        return mapping_from_data(data)
    except MappingError as error:
        raise MappingError(f"{path.name}: {error}") from error


def save_mapping(path: Path, match: BoneMatch, name: str) -> None:
    """Write the mapping of one rig, so that it can be used for others with the same names.

    Raises:
        MappingError: the file can't be written, or the match has no bones.
    """
    if not match.bones:
        raise MappingError("There is no mapping to save: pick bones first")
    text = json.dumps(data_from_match(match, name), ensure_ascii=False, indent=2) + "\n"
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise MappingError(f"{path.name} can't be written: {error}") from error


def load_user_mappings(folder: Path) -> tuple[tuple[RigMapping, ...], tuple[str, ...]]:
    """All mappings in a folder by name of file, and a sentence on each file that can't be used."""
    mappings: list[RigMapping] = []
    problems: list[str] = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            mappings.append(load_mapping(path))
        except MappingError as error:
            problems.append(str(error))
    return tuple(mappings), tuple(problems)


def data_from_match(match: BoneMatch, name: str) -> dict[str, object]:
    """The content of a mapping file for one match."""
    twists: dict[str, list[str]] = {}
    for bone, twist in match.twist_bones.items():
        twists.setdefault(twist.joint, []).append(bone)
    data: dict[str, object] = {
        "marey_rig_mapping": FORMAT_VERSION,
        "name": name,
        "source": f"saved by the user, from {match.map_name}" if match.map_name else "",
        "bones": dict(match.bones),
        "spine": list(match.spine),
        "neck": list(match.neck),
        "twist_bones": twists,
        "followers": dict(match.followers),
        "still_bones": list(match.still_bones),
        "location_bone": match.location_bone,
        "root_bone": match.root_bone,
        "properties": [list(item) for item in match.properties],
    }
    if match.ik is not None:
        data["ik"] = {
            "bones": dict(match.ik.bones),
            "poles": dict(match.ik.poles),
            "properties": [list(item) for item in match.ik.properties],
        }
    return {key: value for key, value in data.items() if value}


def mapping_from_data(data: object) -> RigMapping:
    """Check and read the content of a mapping file.

    Raises:
        MappingError: something in it has the wrong form; the message says what.
    """
    table = _as_table(data, "the file")
    if "marey_rig_mapping" not in table:
        raise MappingError("this is no rig mapping (it has no marey_rig_mapping)")
    version = table["marey_rig_mapping"]
    if version != FORMAT_VERSION:
        raise MappingError(f"its version is {version}, this Marey reads version {FORMAT_VERSION}")
    unknown = sorted(set(table) - _FIELDS)
    if unknown:
        raise MappingError(f"unknown entries {', '.join(unknown)}")
    name = table.get("name")
    if not isinstance(name, str) or not name:
        raise MappingError("it has no name")
    sides = _sides(table)
    bones = sides.by_joint(_names_by_key(table, "bones"))
    _check_joints(bones, "bones")
    twists = sides.by_joint(_names_by_key(table, "twist_bones"))
    _check_joints(twists, "twist_bones")
    followers = {
        bone: joints[0]
        for bone, joints in sides.by_bone(_names_by_key(table, "followers")).items()
        if joints
    }
    _check_joints(dict.fromkeys(followers.values()), "followers")
    return RigMapping(
        name=name,
        source=_text(table, "source"),
        prefix=_pattern(table),
        needs=_name_lists(table, "needs"),
        bones=bones,
        spine=_name_lists(table, "spine"),
        neck=_name_lists(table, "neck"),
        twist_bones=twists,
        followers=followers,
        still_bones=_names(table.get("still_bones", ()), "still_bones"),
        location_bone=_text(table, "location_bone"),
        root_bone=_names(table.get("root_bone", ()), "root_bone"),
        properties=_properties(table, sides),
        ik=_ik(table, sides),
    )


@dataclass(frozen=True)
class _Sides:
    """What {side} stands for: left and right in joints, the file's own signs in bone names."""

    signs: Mapping[str, str]  # {"left": "L", "right": "R"}; empty where the file has none

    def by_joint(self, entries: Mapping[str, Names]) -> dict[str, Names]:
        """Joint -> bones, filled in."""
        return {
            joint.replace("{side}", side): tuple(name.replace("{side}", sign) for name in names)
            for joint, names in entries.items()
            for side, sign in self._needed(joint, *names)
        }

    def by_bone(self, entries: Mapping[str, Names]) -> dict[str, Names]:
        """Bone -> joints, filled in."""
        return {
            bone.replace("{side}", sign): tuple(joint.replace("{side}", side) for joint in joints)
            for bone, joints in entries.items()
            for side, sign in self._needed(bone, *joints)
        }

    def of_bone(self, bone: str) -> Names:
        """The one or two bones of a name."""
        return tuple(bone.replace("{side}", sign) for _, sign in self._needed(bone))

    def _needed(self, *texts: str) -> tuple[tuple[str, str], ...]:
        if not any("{side}" in text for text in texts):
            return (("", ""),)
        if not self.signs:
            raise MappingError(f"{texts[0]} has {{side}}, but the file has no sides")
        return tuple(self.signs.items())


def _sides(table: Mapping[str, object]) -> _Sides:
    signs = _names(table.get("sides", ()), "sides")
    if len(signs) not in (0, 2):
        raise MappingError("sides must be two words, left first")
    return _Sides(dict(zip(("left", "right"), signs, strict=False)))


def _as_table(data: object, place: str) -> dict[str, object]:
    if not isinstance(data, dict):
        raise MappingError(f"{place} must be a table of names")
    return cast(dict[str, object], data)


def _text(table: Mapping[str, object], key: str) -> str:
    value = table.get(key, "")
    if not isinstance(value, str):
        raise MappingError(f"{key} must be a word")
    return value


def _pattern(table: Mapping[str, object]) -> str:
    prefix = _text(table, "prefix")
    try:
        re.compile(prefix)
    except re.error as error:
        raise MappingError(f"prefix is no regular expression: {error}") from error
    return prefix


def _names(value: object, place: str) -> Names:
    """A name, or a list of names."""
    if isinstance(value, str):
        return (value,) if value else ()
    if isinstance(value, list | tuple):
        items = cast(list[object], value)
        if all(isinstance(item, str) for item in items):
            return tuple(cast(list[str], items))
    raise MappingError(f"{place} must be a bone's name or a list of names")


def _name_lists(table: Mapping[str, object], key: str) -> tuple[Names, ...]:
    value = table.get(key, ())
    if not isinstance(value, list | tuple):
        raise MappingError(f"{key} must be a list")
    return tuple(_names(item, key) for item in cast(list[object], value))


def _names_by_key(table: Mapping[str, object], key: str) -> dict[str, Names]:
    entries = _as_table(table.get(key, {}), key)
    return {entry: _names(value, f"{key}.{entry}") for entry, value in entries.items()}


def _check_joints(joints: Mapping[str, object], place: str) -> None:
    unknown = sorted(set(joints) - set(BODY_JOINTS))
    if unknown:
        raise MappingError(f"{place} has joints that Marey doesn't know: {', '.join(unknown)}")


def _properties(table: Mapping[str, object], sides: _Sides) -> tuple[Property, ...]:
    value = table.get("properties", ())
    if not isinstance(value, list | tuple):
        raise MappingError("properties must be a list")
    properties: list[Property] = []
    for item in cast(list[object], value):
        match item:
            case [str() as bone, str() as name, int() | float() as number]:
                properties += [(one, name, float(number)) for one in sides.of_bone(bone)]
            case _:
                raise MappingError("each of properties must be [bone, property, number]")
    return tuple(properties)


def _ik(table: Mapping[str, object], sides: _Sides) -> IkControls | None:
    if "ik" not in table:
        return None
    ik = _as_table(table["ik"], "ik")
    bones = sides.by_joint(_names_by_key(ik, "bones"))
    poles = sides.by_joint(_names_by_key(ik, "poles"))
    _check_joints(bones | poles, "ik")
    return IkControls(
        bones={joint: names[0] for joint, names in bones.items() if names},
        poles={joint: names[0] for joint, names in poles.items() if names},
        properties=_properties(ik, sides),
    )
