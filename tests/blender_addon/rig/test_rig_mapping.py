"""Mapping files: what ships is whole, what users save comes back, what is wrong is said."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from blender_addon.rig.bone_match import BODY_JOINTS, FoundBy
from blender_addon.rig.recognise import recognise, with_picks
from blender_addon.rig.rig_mapping import (
    FAMILY_FOLDER,
    MappingError,
    known_families,
    load_mapping,
    load_user_mappings,
    mapping_from_data,
    save_mapping,
)
from tests.blender_addon.rig.family_rigs import A_POSE, build, target_rig, with_names
from tests.blender_addon.rig.family_specs import FAMILIES

SMALL = {"marey_rig_mapping": 1, "name": "Mine", "bones": {"pelvis": "hip"}}


def test_every_family_is_whole() -> None:
    assert {family.name for family in known_families()} >= {
        family.name for family in FAMILIES.values()
    }
    for path in FAMILY_FOLDER.glob("*.json"):
        family = load_mapping(path)
        assert family.source, path.name
        missing = set(BODY_JOINTS) - set(family.bones)
        assert missing <= {"left_collar", "right_collar"}, path.name
        left = {joint[5:] for joint in family.bones if joint.startswith("left_")}
        assert left == {joint[6:] for joint in family.bones if joint.startswith("right_")}
        names = [names for slot in family.bones.values() for names in slot]
        assert len(names) == len(set(names)), path.name


@pytest.mark.parametrize("key", ["auto-rig pro", "unreal 5", "mmd", "biped"])
def test_what_is_saved_comes_back(key: str, tmp_path: Path) -> None:
    rig = target_rig(build(FAMILIES[key], A_POSE))
    match = recognise(rig)
    save_mapping(tmp_path / "mine.json", match, "My rig")
    again = recognise(rig, [load_mapping(tmp_path / "mine.json")])
    assert (again.map_name, again.found_by) == ("My rig", FoundBy.USER)
    for part in ("bones", "spine", "neck", "followers", "still_bones", "location_bone"):
        assert getattr(again, part) == getattr(match, part), part
    assert again.twist_bones == match.twist_bones
    assert (again.root_bone, again.properties, again.ik) == (
        match.root_bone,
        match.properties,
        match.ik,
    )
    assert again.overall_confidence > 0.9
    assert list(tmp_path.iterdir()) == [tmp_path / "mine.json"]


def test_a_saved_mapping_serves_rigs_with_other_bones_around(tmp_path: Path) -> None:
    """Names of nobody's, saved once, found again on the next character of that kind."""
    rig = target_rig(build(FAMILIES["unreal 4"], A_POSE))
    names = {name: f"q{place}" for place, name in enumerate(rig.bone_names)}
    strange = with_names(rig, names)
    first = with_picks(strange, recognise(strange), {"left_hip": names["thigh_l"]})
    save_mapping(tmp_path / "strange.json", first, "Strange")
    other = target_rig(build(FAMILIES["unreal 4"]), seed=3)
    mappings, problems = load_user_mappings(tmp_path)
    match = recognise(with_names(other, names), mappings)
    assert (match.map_name, problems) == ("Strange", ())
    assert match.bones["right_elbow"] == names["lowerarm_r"]


def test_a_mapping_of_another_rig_is_left_alone(tmp_path: Path) -> None:
    save_mapping(tmp_path / "a.json", recognise(target_rig(build(FAMILIES["vroid"]))), "V")
    rig = target_rig(build(FAMILIES["mixamo"]))
    assert recognise(rig, [load_mapping(tmp_path / "a.json")]).map_name == "Mixamo"


def test_sides_fill_joints_and_names() -> None:
    data = SMALL | {
        "sides": ["l", "r"],
        "bones": {"{side}_foot": ["{side}_foot", "toe.{side}"], "pelvis": "hip"},
        "followers": {"{side}_foot2": "{side}_foot"},
        "properties": [["hand.{side}", "fk", 1]],
    }
    mapping = mapping_from_data(data)
    assert mapping.bones["left_foot"] == ("l_foot", "toe.l")
    assert mapping.bones["right_foot"] == ("r_foot", "toe.r")
    assert mapping.followers == {"l_foot2": "left_foot", "r_foot2": "right_foot"}
    assert mapping.properties == (("hand.l", "fk", 1.0), ("hand.r", "fk", 1.0))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "the file must be a table"),
        ({"name": "x"}, "no rig mapping"),
        (SMALL | {"marey_rig_mapping": 2}, "version is 2, this Marey reads version 1"),
        (SMALL | {"bnoes": {}}, "unknown entries bnoes"),
        (SMALL | {"name": ""}, "no name"),
        (SMALL | {"bones": {"tentacle": "t"}}, "joints that Marey doesn't know: tentacle"),
        (SMALL | {"bones": {"pelvis": 3}}, r"bones\.pelvis must be a bone's name"),
        (SMALL | {"bones": {"{side}_hip": "h"}}, "has no sides"),
        (SMALL | {"sides": ["l"]}, "two words"),
        (SMALL | {"prefix": "("}, "prefix is no regular expression"),
        (SMALL | {"spine": "a"}, "spine must be a list"),
        (SMALL | {"properties": [["a", "b"]]}, r"must be \[bone, property, number\]"),
        (SMALL | {"ik": {"bones": {"nose": "n"}}}, "ik has joints that Marey doesn't know: nose"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(data: object, message: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(MappingError, match=f"wrong.json: .*{message}"):
        load_mapping(path)


def test_files_that_are_no_mappings_are_named_and_the_rest_is_used(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("{", encoding="utf-8")
    (tmp_path / "b.json").write_text(json.dumps(SMALL), encoding="utf-8")
    (tmp_path / "c.json").write_bytes(b"\xff\xfe\x00")
    mappings, problems = load_user_mappings(tmp_path)
    assert [mapping.name for mapping in mappings] == ["Mine"]
    assert [problem.split()[0] for problem in problems] == ["a.json", "c.json"]


def test_a_folder_that_is_not_there_has_no_mappings(tmp_path: Path) -> None:
    assert load_user_mappings(tmp_path / "none") == ((), ())


def test_nothing_is_saved_of_nothing(tmp_path: Path) -> None:
    empty = recognise(target_rig(build(FAMILIES["unreal 4"]), seed=1))
    nothing = with_picks(
        target_rig(build(FAMILIES["unreal 4"]), seed=1), empty, dict.fromkeys(empty.bones, "")
    )
    with pytest.raises(MappingError, match="no mapping to save"):
        save_mapping(tmp_path / "x.json", nothing, "X")
    with pytest.raises(MappingError, match="can't be written"):
        save_mapping(tmp_path / "no" / "x.json", empty, "X")
