"""Which table is chosen for which names."""

from __future__ import annotations

import pytest

from blender_addon.rig.bone_maps import (
    BONE_MAPS,
    MAREY_MANNEQUIN,
    MIXAMO,
    RIGIFY_CONTROLS,
    BoneMap,
    RigError,
    choose_bone_map,
)


def names_of(bone_map: BoneMap, prefix: str = "") -> list[str]:
    extra = [*bone_map.followers, *bone_map.still_bones, *(p[0] for p in bone_map.properties)]
    return [prefix + names[0] for names in bone_map.bones.values()] + extra


@pytest.mark.parametrize("bone_map", BONE_MAPS, ids=lambda bone_map: bone_map.name)
def test_a_rig_of_the_family_is_recognised(bone_map: BoneMap) -> None:
    match = choose_bone_map([*names_of(bone_map), "prop", "tail.001"])
    assert match.map_name == bone_map.name
    assert match.score == 1
    assert set(match.bones) == set(bone_map.bones)


@pytest.mark.parametrize("prefix", ["mixamorig:", "mixamorig1:", "mixamorig12:", "mixamorig_", ""])
def test_mixamo_with_and_without_prefix(prefix: str) -> None:
    match = choose_bone_map(names_of(MIXAMO, prefix))
    assert match.bones["left_hip"] == f"{prefix}LeftUpLeg"
    assert match.location_bone == f"{prefix}Hips"


def test_left_and_right_of_every_map_are_twins() -> None:
    for bone_map in BONE_MAPS:
        left = {j.removeprefix("left_") for j in bone_map.bones if j.startswith("left_")}
        right = {j.removeprefix("right_") for j in bone_map.bones if j.startswith("right_")}
        assert left == right


def test_rigify_keys_the_switches_to_fk() -> None:
    match = choose_bone_map(names_of(RIGIFY_CONTROLS))
    assert match.location_bone == "torso"
    assert match.followers == {"torso": "pelvis"}
    switched = {bone for bone, name, value in match.properties if name == "IK_FK" and value == 1}
    assert switched == {f"{limb}_parent.{s}" for limb in ("upper_arm", "thigh") for s in "LR"}


def test_an_older_rigify_toe_is_found() -> None:
    names = [name.replace("toe_fk.", "toe.") for name in names_of(RIGIFY_CONTROLS)]
    assert choose_bone_map(names).bones["left_foot"] == "toe.L"


def test_joints_without_a_bone_are_left_out() -> None:
    names = [name for name in names_of(MIXAMO) if "Toe" not in name and "Shoulder" not in name]
    match = choose_bone_map(names)
    assert "left_foot" not in match.bones
    assert match.score < 1


def test_a_missing_leg_is_named() -> None:
    names = [name for name in names_of(MAREY_MANNEQUIN) if name != "left_knee"]
    with pytest.raises(RigError, match=r"looks like Marey mannequin .* left_knee"):
        choose_bone_map(names)


def test_a_rig_of_no_family_is_refused() -> None:
    with pytest.raises(RigError, match="no rig that Marey knows"):
        choose_bone_map(["Bone", "Bone.001", "wheel"])
