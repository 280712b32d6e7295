"""What names say, however they are written."""

from __future__ import annotations

import pytest

from blender_addon.rig.bone_names import NameIndex, name_key


@pytest.mark.parametrize(
    "names",
    [
        ("upper_arm.L", "UpperArm_L", "leftUpperArm", "l_upperarm", "L Upper Arm", "UPPERARM.L"),
        ("Bip01 R Thigh", "Bip001_R_Thigh", "bip1 Thigh.R"),
        ("左足ＩＫ", "足IK.L", "足IK_L"),
        ("spine_01", "Spine1", "spine.001", "SPINE 1"),
        ("LUpArmTwist", "UpArmTwist.L"),
    ],
)
def test_writings_of_one_name_mean_the_same(names: tuple[str, ...]) -> None:
    assert len({name_key(name) for name in names}) == 1


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("thigh.L", "left"),
        ("RightHand", "right"),
        ("lShldrBend", "left"),
        ("右腕", "right"),
        ("CC_Base_R_Calf", "right"),
        ("spine", ""),
        ("pelvis.L.R", ""),
        ("Roll", ""),
        ("Lip", ""),
    ],
)
def test_sides(name: str, side: str) -> None:
    assert name_key(name).side == side


def test_what_most_bones_share_is_left_out() -> None:
    index = NameIndex(tuple(f"hero:CC_Base_{part}_jnt" for part in ("Hip", "Head", "L_Calf")))
    assert index.plain["CC_Base_Hip"] == index.plain["Hip"] == "hero:CC_Base_Hip_jnt"
    assert index.meaning(["Calf.L"]) == "hero:CC_Base_L_Calf_jnt"
    assert index.meaning(["Tail"]) is None


def test_a_number_that_means_something_stays() -> None:
    index = NameIndex(("spine", "spine.001", "spine.002"))
    assert index.meaning(["spine.001"]) == "spine.001"
    assert index.meaning(["spine"]) == "spine"
    assert NameIndex(("Hips.001", "Head", "Spine")).meaning(["Hips"]) == "Hips.001"
