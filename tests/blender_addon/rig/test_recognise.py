"""Every family by name and by shape, in every rest pose; what is no body is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from blender_addon.rig.bone_match import REQUIRED_JOINTS, SURE_ENOUGH, BoneMatch, FoundBy, RigError
from blender_addon.rig.recognise import recognise, with_picks
from blender_addon.rig.target_rig import TargetRig
from tests.blender_addon.rig.creatures import CREATURES, creature_rig, winged
from tests.blender_addon.rig.family_builders import LEFT_RIGHT, LR, limbs
from tests.blender_addon.rig.family_rigs import (
    A_POSE,
    ARMS_DOWN,
    T_POSE,
    Family,
    FamilyRig,
    FloatArray,
    Posture,
    build,
    target_rig,
    with_names,
)
from tests.blender_addon.rig.family_specs import FAMILIES


def scaled(factor: float) -> FloatArray:
    return np.diag([factor, factor, factor, 1.0])


def turned(seed: int) -> FloatArray:
    """A rotation about some axis, and a place far from the origin."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]
    matrix[:3, 0] *= np.linalg.det(matrix[:3, :3])
    matrix[:3, 3] = (3.0, -2.0, 1.0)
    return matrix


Y_UP = np.eye(4)
Y_UP[:3, :3] = [[1, 0, 0], [0, 0, 1], [0, -1, 0]]
VARIANTS: dict[str, tuple[Posture, int | None, FloatArray]] = {
    "T": (T_POSE, None, np.eye(4)),
    "A, shuffled": (A_POSE, 1, np.eye(4)),
    "arms down": (ARMS_DOWN, 2, np.eye(4)),
    "0.01": (T_POSE, 3, scaled(0.01)),
    "100": (A_POSE, 4, scaled(100)),
    "y up": (T_POSE, 5, Y_UP),
    "turned": (A_POSE, 6, turned(1)),
    "stocky": (Posture(hands=1.8, legs=0.6, arms_down=0.4), 7, np.eye(4)),
    "child": (Posture(hands=1.3, legs=0.8, arms_down=0.6), 8, np.eye(4)),
}


def nonsense(rig: TargetRig) -> tuple[TargetRig, dict[str, str]]:
    """The rig with names that say nothing, and what each was."""
    names = {name: f"q{place * 7919 % 10007}" for place, name in enumerate(rig.bone_names)}
    return with_names(rig, names), {new: old for old, new in names.items()}


def wrong_joints(made: FamilyRig, match: BoneMatch, real: dict[str, str]) -> dict[str, str]:
    """Joints whose bone is another one, or starts elsewhere than the one that it should be."""
    found = {joint: real[bone] for joint, bone in match.bones.items()}
    return {
        joint: bone
        for joint, bone in found.items()
        if joint not in made.joints
        or np.abs(made.heads[bone] - made.heads[made.joints[joint]]).max() > 1e-9
    }


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_family_is_found_by_its_names(family: Family) -> None:
    for variant, (posture, seed, matrix) in VARIANTS.items():
        made = build(family, posture)
        match = recognise(target_rig(made, seed=seed, matrix=matrix))
        assert match.map_name == family.name, variant
        assert dict(match.bones) == made.joints, variant
        assert (match.spine, match.neck) == (family.spine, family.neck), variant
        assert set(match.twist_bones) == made.twists, variant
        assert match.found_by is FoundBy.NAMES
        assert match.overall_confidence > 0.9, (variant, match.notes)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_family_is_found_by_its_shape(family: Family) -> None:
    """With names that say nothing: right, or refused; wrong never."""
    found = 0
    for variant, (posture, seed, matrix) in VARIANTS.items():
        made = build(family, posture)
        rig, real = nonsense(target_rig(made, seed=seed, matrix=matrix))
        match = recognise(rig)
        if match.overall_confidence < SURE_ENOUGH:
            with pytest.raises(RigError):
                match.require_sure()
            continue
        assert match.found_by is FoundBy.STRUCTURE
        assert wrong_joints(made, match, real) == {}, variant
        assert set(match.bones) >= set(REQUIRED_JOINTS), variant
        found += 1
    assert found >= len(VARIANTS) - 2


def test_twist_bones_have_their_place() -> None:
    made = build(FAMILIES["unreal 5"])
    match = recognise(target_rig(made))
    places = [match.twist_bones[f"lowerarm_twist_0{n}_l"].share for n in (1, 2)]
    assert places == pytest.approx([1 / 3, 2 / 3], abs=1e-3)
    chain = recognise(target_rig(build(FAMILIES["rigify deform"])))
    assert chain.twist_bones["DEF-forearm.L.001"].share == pytest.approx(0.75, abs=1e-3)
    assert chain.twist_bones["DEF-forearm.L.001"].joint == "left_elbow"


def test_controls_bring_their_switches() -> None:
    match = recognise(target_rig(build(FAMILIES["auto-rig pro"])))
    switches = {(bone, value) for bone, name, value in match.properties if name == "ik_fk_switch"}
    assert switches == {(f"c_{part}_ik.{s}", 1.0) for part in ("hand", "foot") for s in "lr"}
    assert match.ik is not None
    assert match.ik.bones["left_ankle"] == "c_foot_ik.l"
    assert match.ik.poles["right_elbow"] == "c_arms_pole.r"
    assert {value for _, _, value in match.ik.properties} == {0.0}
    assert match.location_bone == "c_root_master.x"
    assert match.followers == {"c_root_master.x": "pelvis"}


def test_mmd_d_bones_go_with_their_legs() -> None:
    match = recognise(target_rig(build(FAMILIES["mmd"])))
    assert match.followers["左足D"] == "left_hip"
    assert match.location_bone == "センター"
    rig = target_rig(build(FAMILIES["mmd"]))
    held = {rig.index["左足D"]: "TRANSFORM"}
    assert "左足D" not in recognise(replace(rig, constrained=held)).followers
    assert match.root_bone == "全ての親"


def test_a_spine_bone_that_carries_the_legs_goes_with_the_pelvis() -> None:
    family = replace(FAMILIES["biped"], leg_parent="Bip01 Spine")
    made = build(replace(family, beside_pelvis=()), T_POSE)
    # Thighs come before the spine in the fixture; put them under it.
    rig = target_rig(made, seed=1)
    match = recognise(rig)
    assert match.followers == {"Bip01 Spine": "pelvis"}
    assert match.spine == ("Bip01 Spine1", "Bip01 Spine2")


# --- names written otherwise ------------------------------------------------------------


@cache
def built_once(key: str) -> tuple[FamilyRig, TargetRig]:
    made = build(FAMILIES[key], A_POSE)
    return made, target_rig(made, seed=1)


WRITINGS: dict[str, Callable[[str], str]] = {
    "in a file": lambda name: f"Armature|{name}",
    "namespace": lambda name: f"hero:{name}",
    "prefix": lambda name: f"char1_{name}",
    "suffix": lambda name: f"{name}_jnt",
    "a copy": lambda name: f"{name}.001",
    "lower case": str.lower,
    "upper case": str.upper,
    "underscores": lambda name: name.replace(".", "_").replace(" ", "_").replace(":", "_"),
    "dots": lambda name: name.replace("_", "."),
}


@pytest.mark.parametrize("writing", WRITINGS)
@pytest.mark.parametrize("key", FAMILIES)
def test_names_may_be_written_otherwise(key: str, writing: str) -> None:
    made, rig = built_once(key)
    names = {name: WRITINGS[writing](name) for name in rig.bone_names}
    if len(set(names.values())) < len(names):
        pytest.skip("two bones would have one name")
    match = recognise(with_names(rig, names))
    real = {new: old for old, new in names.items()}
    if match.overall_confidence >= SURE_ENOUGH:
        assert wrong_joints(made, match, real) == {}
    glued = writing in ("lower case", "upper case")  # which loses where a word begins
    assert glued or match.overall_confidence > 0.6


def custom(
    pattern: str, parts: str, trunk: str, signs: tuple[str, str] = LR, **more: object
) -> Family:
    """A rig of no family; `trunk`: pelvis, head, neck, and the spine from the lowest up."""
    pelvis, head, neck, *spine = trunk.split()
    start, end = pattern.split("*")
    return Family(
        name="",
        signs=signs,
        pelvis=pelvis,
        spine=tuple(spine),
        neck=(neck,),
        head=head,
        limbs=limbs(parts, start, end),
        **more,
    )


SENSIBLE = {
    "joints": custom(
        "*_{s}_JNT",
        "hip knee ankle toe clavicle shoulder elbow wrist",
        "pelvis_JNT head_JNT neck_JNT spine_01_JNT spine_02_JNT chest_JNT",
    ),
    "words apart": custom(
        "{s}_*",
        "Leg_Upper Leg_Lower Foot Toe Collarbone Arm_Upper Arm_Lower Hand",
        "Hips Head Neck Torso Chest",
        ("Lft", "Rgt"),
    ),
    "numbers": custom(
        "*.{s}",
        "Leg1 Leg2 Foot Toes Shoulder Arm1 Arm2 Hand",
        "Hips Head Neck Spine1 Spine2 Spine3",
    ),
    "one word for two": custom(
        "*.{s}", "thigh leg foot toe clavicle arm forearm hand", "pelvis head neck back chest"
    ),
    "glued": custom(
        "{s}*",
        "thigh calf foot toe clavicle upperarm forearm hand",
        "pelvis head neck spine1 spine2",
        ("l", "r"),
    ),
    "a name before": custom(
        "SK_Hero_*_{s}",
        "UpLeg LoLeg Foot Ball Clav UpArm LoArm Hand",
        "SK_Hero_Pelvis SK_Hero_Head SK_Hero_Neck SK_Hero_Spine_A SK_Hero_Spine_B",
    ),
    "second life": custom(
        "m*",
        "Hip{s} Knee{s} Ankle{s} Foot{s} Collar{s} Shoulder{s} Elbow{s} Wrist{s}",
        "mPelvis mHead mNeck mTorso mChest",
        LEFT_RIGHT,
    ),
    "cmu asf": custom(
        "{s}*",
        "femur tibia foot toes clavicle humerus radius wrist",
        "root head upperneck lowerback upperback thorax",
        ("l", "r"),
        before_hip=("{s}hipjoint",),
    ),
    "ankle and foot": custom(
        "{s}_*",
        "thigh knee ankle foot clavicle upperarm elbow hand",
        "hips head neck spine chest",
        ("left", "right"),
    ),
    "no family's language": custom(
        "*_{s}",
        "Oberschenkel Unterschenkel Fuss Zehen Schluesselbein Oberarm Unterarm Hand",
        "Becken Kopf Hals Wirbel1 Wirbel2",
    ),
}


@pytest.mark.parametrize("family", SENSIBLE.values(), ids=SENSIBLE)
@pytest.mark.parametrize("posture", [T_POSE, A_POSE, ARMS_DOWN])
def test_sensible_names_of_no_family(family: Family, posture: Posture) -> None:
    made = build(family, posture)
    match = recognise(target_rig(made, seed=4))
    match.require_sure()
    assert dict(match.bones) == made.joints
    assert (match.spine, match.neck) == (family.spine, family.neck)


def test_shape_fills_in_what_names_leave_open() -> None:
    made = build(FAMILIES["mixamo"], A_POSE)
    rig = target_rig(made, seed=2)
    lost = {"mixamorig:LeftForeArm": "Bone.007", "mixamorig:RightLeg": "thing"}
    match = recognise(with_names(rig, {name: lost.get(name, name) for name in rig.bone_names}))
    match.require_sure()
    assert match.map_name == "Mixamo"
    assert match.bones["left_elbow"] == "Bone.007"
    assert match.bones["right_knee"] == "thing"
    assert SURE_ENOUGH <= match.confidence["left_elbow"] < match.confidence["right_elbow"]


# --- names that lie ------------------------------------------------------------------


def swapped(rig: TargetRig, pairs: dict[str, str]) -> TargetRig:
    both = pairs | {second: first for first, second in pairs.items()}
    return with_names(rig, {name: both.get(name, name) for name in rig.bone_names})


def test_swapped_sides_are_refused() -> None:
    rig = target_rig(build(FAMILIES["unreal 4"], A_POSE))
    pairs = {n: f"{n[:-2]}_r" for n in rig.bone_names if n.endswith("_l")}
    with pytest.raises(RigError, match="left bones are on its right side"):
        recognise(swapped(rig, pairs)).require_sure()


def test_a_swapped_knee_is_refused() -> None:
    rig = target_rig(build(FAMILIES["mixamo, no prefix"], A_POSE))
    with pytest.raises(RigError, match="left hip hangs below the left knee"):
        recognise(swapped(rig, {"LeftUpLeg": "LeftLeg"})).require_sure()


def test_swapped_arms_are_refused() -> None:
    rig = target_rig(build(FAMILIES["daz genesis 2"], A_POSE))
    pairs = {f"l{part}": f"r{part}" for part in ("Collar", "Shldr", "ForeArm", "Hand")}
    with pytest.raises(RigError, match="left arm is on the side of the right leg"):
        recognise(swapped(rig, pairs)).require_sure()


def test_a_mirrored_object_changes_nothing() -> None:
    rig = target_rig(build(FAMILIES["unreal 4"], A_POSE), seed=1)
    mirrored = replace(rig, object_matrix=np.diag([-1.0, 1.0, 1.0, 1.0]))
    assert recognise(mirrored) == recognise(rig)
    blank, _ = nonsense(rig)
    assert recognise(replace(blank, object_matrix=mirrored.object_matrix)) == recognise(blank)


def test_bones_that_constraints_drive_are_refused() -> None:
    rig = target_rig(build(FAMILIES["unreal 4"]))
    held = {rig.index["upperarm_l"]: "COPY_ROTATION"}
    with pytest.raises(RigError, match="Constraints drive left shoulder"):
        recognise(replace(rig, constrained=held)).require_sure()
    match = recognise(replace(rig, constrained={rig.index["calf_l"]: "IK"}))
    match.require_sure()
    assert any("Inverse kinematics drives left knee" in note for note in match.notes)


# --- what is no body ------------------------------------------------------------------


@pytest.mark.parametrize("creature", CREATURES)
def test_what_is_no_human_is_refused(creature: str) -> None:
    rig = creature_rig(CREATURES[creature]())
    with pytest.raises(RigError):
        recognise(rig).require_sure()


@pytest.mark.parametrize("posture", [T_POSE, A_POSE, ARMS_DOWN])
def test_wings_are_no_arms(posture: Posture) -> None:
    made = winged(build(replace(FAMILIES["unreal 4"], extras=()), posture))
    rig, real = nonsense(target_rig(made, seed=1))
    match = recognise(rig)
    if match.overall_confidence >= SURE_ENOUGH:
        assert wrong_joints(made, match, real) == {}


LACKING = {
    "collars": ("collar",),
    "hands": ("wrist",),
    "toes": ("foot",),
    "collars and hands": ("collar", "wrist"),
    "all of them": ("collar", "wrist", "foot"),
}


@pytest.mark.parametrize("lacking", LACKING.values(), ids=LACKING)
def test_bones_may_be_missing(lacking: tuple[str, ...]) -> None:
    """Without toes nothing tells which way it faces: then names do, and shape refuses."""
    family = replace(FAMILIES["unreal 4"], extras=(), side_twists={})
    if "wrist" in lacking:
        family = replace(family, fingers=())
    kept = {part: name for part, name in family.limbs.items() if part not in lacking}
    made = build(replace(family, limbs=kept), A_POSE)
    rig = target_rig(made, seed=1)
    match = recognise(rig)
    match.require_sure()
    assert dict(match.bones) == made.joints
    blank, real = nonsense(rig)
    match = recognise(blank)
    assert (match.overall_confidence >= SURE_ENOUGH) == ("foot" not in lacking)
    if "foot" not in lacking:
        assert wrong_joints(made, match, real) == {}


def test_bones_that_no_mesh_follows_may_tie_the_body_together() -> None:
    """Helpers that no mesh follows don't count, unless nothing is left without them."""
    made = build(FAMILIES["unreal 4"], A_POSE)
    rig, real = nonsense(target_rig(made, seed=1))
    everything = set(range(len(rig.bone_names)))
    helpers = {rig.index[name] for name in rig.bone_names if real[name].startswith("ik_")}
    trunk = {rig.index[name] for name in rig.bone_names if real[name] in ("pelvis", "root")}
    for left_out in (helpers, trunk, helpers | trunk):
        match = recognise(replace(rig, deforming=frozenset(everything - left_out)))
        match.require_sure()
        assert wrong_joints(made, match, real) == {}


# --- by hand ---------------------------------------------------------------------------


def test_picked_bones_are_sure() -> None:
    rig = target_rig(build(FAMILIES["unreal 4"], A_POSE))
    pairs = {n: f"{n[:-2]}_r" for n in rig.bone_names if n.endswith("_l")}
    unsure = recognise(swapped(rig, pairs))
    picks = {joint: unsure.bones[joint] for joint in unsure.unsure_joints()}
    picked = with_picks(rig, unsure, picks)
    picked.require_sure()
    assert picked.found_by is FoundBy.USER
    assert picked.bones == unsure.bones


def test_a_pick_replaces_and_removes() -> None:
    rig = target_rig(build(FAMILIES["unreal 4"]))
    match = recognise(rig)
    other = with_picks(
        rig, match, {"left_foot": "", "spine": ["spine_02", "spine_03"], "head": "neck_01"}
    )
    assert "left_foot" not in other.bones
    assert other.spine == ("spine_02", "spine_03")
    assert (other.bones["head"], other.neck) == ("neck_01", ())
    twisted = with_picks(rig, match, {"left_elbow": "lowerarm_twist_01_l"})
    assert "lowerarm_twist_01_l" not in twisted.twist_bones


@pytest.mark.parametrize(
    ("picks", "message"),
    [
        ({"left_knee": "no_such_bone"}, "no bone no_such_bone"),
        ({"left_knee": "thigh_l"}, "thigh_l is picked for left_hip and for left_knee"),
        ({"left_wing": "thigh_l"}, "can't be picked for left_wing"),
    ],
)
def test_a_pick_that_cannot_be_is_refused(picks: dict[str, str], message: str) -> None:
    rig = target_rig(build(FAMILIES["unreal 4"]))
    with pytest.raises(RigError, match=message):
        with_picks(rig, recognise(rig), picks)
