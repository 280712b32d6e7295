"""Real rigs, imported as users import them: found by their names and by their shape alone."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import bpy
import pytest

from blender_addon.rig.bone_match import SURE_ENOUGH, BoneMatch, FoundBy, RigError
from blender_addon.rig.recognise import recognise
from blender_addon.rig.target_rig import TargetRig
from blender_addon.scene import target
from blender_addon.scene.humanoid_table import humanoid_table
from blender_addon.scene.rest_pose import match_bones, read_rig, recognise_bones
from tests.blender import blender_rigs

pytestmark = pytest.mark.blender

UE = "Unreal mannequin (UE4)"
RIGS = {
    "human-male.glb": (UE, {"left_hip": "thigh_l", "right_wrist": "hand_r"}),
    "human-female.glb": (UE, {"left_knee": "calf_l", "head": "head"}),
    "human-zombie.glb": (UE, {"left_elbow": "lowerarm_l", "right_foot": "ball_r"}),
    "human-sintel.glb": (UE, {"right_collar": "clavicle_r", "pelvis": "pelvis"}),
    "rig-human.glb": (UE, {"left_shoulder": "upperarm_l", "pelvis": "pelvis"}),
    "human-base-animations_history.glb": (
        "Rigify deform bones",
        {"pelvis": "DEF-hips", "left_hip": "DEF-thigh.L", "head": "DEF-head"},
    ),
    "mixamo_xbot.glb": ("Mixamo", {"left_hip": "mixamorig:LeftUpLeg", "head": "mixamorig:Head"}),
    "mixamo_original.fbx": ("Mixamo", {"right_foot": "mixamorig:RightToeBase"}),
    "vrm_example.vrm": ("VRM humanoid names", {"left_knee": "lower_leg.L", "pelvis": "hips"}),
    "kaykit/manny_med_mod.gltf": ("KayKit", {"left_wrist": "wrist.l", "pelvis": "hips"}),
}
# Skeletons of recordings; the second says whether their zero pose is one that a body can have.
RECORDINGS = {
    "bandai_dataset-1_walk_active_001.bvh": ("Bandai-Namco BVH", False),
    "cmu_daz_train_data_bvh_standard.bvh": ("Daz Genesis 1 and 2, Poser", True),
    "cmu_iclone_007_12.bvh": ("Character Creator 3 and 4", False),
    "cmu_max_131_01.bvh": ("CMU BVH for 3ds Max", True),
}


def imported(path: Path, folder: Path) -> bpy.types.Object:
    ending = path.suffix.lower()
    if ending == ".vrm":
        path = Path(shutil.copy(path, folder / "vrm.glb"))
        ending = ".glb"
    if ending in (".glb", ".gltf"):
        bpy.ops.import_scene.gltf(filepath=str(path))
    elif ending == ".fbx":
        bpy.ops.import_scene.fbx(filepath=str(path))
    else:
        bpy.ops.import_anim.bvh(filepath=str(path))
    (armature,) = (one for one in bpy.context.scene.objects if one.type == "ARMATURE")
    return armature


def by_shape(rig: TargetRig) -> BoneMatch:
    """What is found with names that say nothing, by the rig's real names."""
    names = tuple(f"q{place * 7919 % 10007}" for place in range(len(rig.bone_names)))
    real = dict(zip(names, rig.bone_names, strict=True))
    match = recognise(replace(rig, bone_names=names))
    assert match.found_by is FoundBy.STRUCTURE
    return replace(
        match,
        bones={joint: real[bone] for joint, bone in match.bones.items()},
        spine=tuple(real[bone] for bone in match.spine),
        neck=tuple(real[bone] for bone in match.neck),
    )


@pytest.mark.parametrize("name", RIGS)
def test_a_rig_is_found(name: str, real_data: Path, tmp_path: Path) -> None:
    armature = imported(real_data / "rigs" / name, tmp_path)
    family, some = RIGS[name]
    match = match_bones(armature)
    assert match.map_name == family
    assert match.overall_confidence > 0.9
    assert some.items() <= match.bones.items()
    assert match.notes == ()
    shape = by_shape(read_rig(armature))
    assert shape.overall_confidence >= SURE_ENOUGH
    assert shape.bones.items() <= match.bones.items()
    assert (shape.spine, shape.neck) == (match.spine, match.neck)


# Blender's importer leaves the file open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recordings_skeleton_is_found(name: str, real_data: Path, tmp_path: Path) -> None:
    armature = imported(real_data / "mocap_raw" / name, tmp_path)
    family, stands = RECORDINGS[name]
    match = match_bones(armature)
    assert match.map_name == family
    assert {"pelvis", "head", "left_wrist", "right_ankle"} <= set(match.bones)
    assert any("isn't a standing one" in note for note in match.notes) is not stands
    shape = by_shape(read_rig(armature))
    assert (shape.overall_confidence >= SURE_ENOUGH) is stands
    if stands:
        assert shape.bones.items() <= match.bones.items()


def test_rigifys_controls_come_before_its_deforming_bones() -> None:
    rig = blender_rigs.generate_rigify()
    match = match_bones(rig)
    assert (match.map_name, match.overall_confidence) == ("Rigify controls", 1.0)
    assert match.bones["left_hip"] == "thigh_fk.L"
    assert match.bones["pelvis"] == "spine_fk"
    assert match.spine == ("spine_fk.001", "spine_fk.002", "spine_fk.003")
    assert match.ik is not None
    for bone in (*match.ik.bones.values(), *match.ik.poles.values()):
        assert bone in rig.pose.bones
    for bone, name, _ in (*match.properties, *match.ik.properties):
        assert name in rig.pose.bones[bone]
    # Of 700 bones with names that say nothing no body is made up.
    assert by_shape(read_rig(rig)).overall_confidence < SURE_ENOUGH


@pytest.mark.parametrize("kind", ["human", "basic_human"])
def test_metarigs_are_found(kind: str) -> None:
    if "rigify" not in bpy.context.preferences.addons:
        bpy.ops.preferences.addon_enable(module="rigify")
    getattr(bpy.ops.object, f"armature_{kind}_metarig_add")()
    armature = bpy.context.object
    match = match_bones(armature)
    assert match.map_name == "Rigify metarig"
    assert match.bones["pelvis"] == "spine"
    assert match.neck == ("spine.004", "spine.005")
    shape = by_shape(read_rig(armature))
    assert shape.overall_confidence >= SURE_ENOUGH
    assert shape.bones.items() <= match.bones.items()


def test_rigifys_deforming_bones_alone_are_found_with_their_twist() -> None:
    rig = blender_rigs.generate_rigify()
    bpy.ops.object.mode_set(mode="EDIT")
    bones = rig.data.edit_bones
    for name in [bone.name for bone in bones if not bone.name.startswith("DEF-")]:
        # As exporters do: a deforming bone hangs on the next one above.
        bones.remove(bones[name])
    bones["DEF-thigh.L"].parent = bones["DEF-thigh.R"].parent = bones["DEF-spine"]
    for side in "LR":
        bones[f"DEF-shoulder.{side}"].parent = bones["DEF-spine.003"]
        bones[f"DEF-upper_arm.{side}"].parent = bones[f"DEF-shoulder.{side}"]
    bpy.ops.object.mode_set(mode="OBJECT")
    for bone in rig.pose.bones:
        for constraint in list(bone.constraints):
            bone.constraints.remove(constraint)
    match = match_bones(rig)
    assert match.map_name == "Rigify deform bones"
    twist = match.twist_bones["DEF-forearm.L.001"]
    assert (twist.joint, twist.share) == ("left_elbow", pytest.approx(0.75, abs=0.02))
    assert len(match.twist_bones) == 8


def test_a_bone_that_a_constraint_drives_is_refused(mannequin: bpy.types.Object) -> None:
    constraint = mannequin.pose.bones["left_elbow"].constraints.new("COPY_ROTATION")
    constraint.target, constraint.subtarget = mannequin, "head"
    with pytest.raises(RigError, match="Constraints drive left elbow"):
        match_bones(mannequin)
    assert recognise_bones(mannequin).unsure_joints() == ("left_elbow",)
    constraint.mute = True
    match_bones(mannequin)


class _Node(bpy.types.PropertyGroup):
    bone_name: bpy.props.StringProperty()


class _HumanBone(bpy.types.PropertyGroup):
    bone: bpy.props.StringProperty()
    node: bpy.props.PointerProperty(type=_Node)


class _Humanoid(bpy.types.PropertyGroup):
    human_bones: bpy.props.CollectionProperty(type=_HumanBone)


class _Vrm0(bpy.types.PropertyGroup):
    humanoid: bpy.props.PointerProperty(type=_Humanoid)


class _Extension(bpy.types.PropertyGroup):
    spec_version: bpy.props.StringProperty(default="0.0")
    vrm0: bpy.props.PointerProperty(type=_Vrm0)


def test_the_vrm_addons_table_is_read(mannequin: bpy.types.Object) -> None:
    """A stand-in for the VRM add-on: the same properties on the armature, with strange names."""
    classes = (_Node, _HumanBone, _Humanoid, _Vrm0, _Extension)
    for one in classes:
        bpy.utils.register_class(one)
    bpy.types.Armature.vrm_addon_extension = bpy.props.PointerProperty(type=_Extension)
    try:
        table = mannequin.data.vrm_addon_extension.vrm0.humanoid.human_bones
        human = {"hips": "pelvis", "head": "head", "spine": "spine1", "chest": "spine2"}
        for side in ("left", "right"):
            human |= {
                f"{side}UpperLeg": f"{side}_hip",
                f"{side}LowerLeg": f"{side}_knee",
                f"{side}Foot": f"{side}_ankle",
                f"{side}UpperArm": f"{side}_shoulder",
                f"{side}LowerArm": f"{side}_elbow",
            }
        for place, (name, joint) in enumerate(human.items()):
            mannequin.data.bones[joint].name = f"q{place}"
            entry = table.add()
            entry.bone, entry.node.bone_name = name, f"q{place}"
        match = match_bones(mannequin)
        assert match.map_name == "VRM humanoid"
        assert target.find_match(mannequin) == match  # and so the panel and the operators have it
        assert {joint: match.bones[joint] for joint in human.values() if joint in match.bones} == {
            joint: f"q{place}"
            for place, joint in enumerate(human.values())
            if joint not in ("spine1", "spine2")
        }
        assert match.spine == ("q2", "q3")
    finally:
        del bpy.types.Armature.vrm_addon_extension
        for one in reversed(classes):
            bpy.utils.unregister_class(one)


def test_the_vrm_addons_table_of_version_1_is_read() -> None:
    human = {"hips": "h", "head": "", "left_upper_leg": "ll", "right_hand": "rh", "spine": "s"}
    bones = {n: SimpleNamespace(node=SimpleNamespace(bone_name=b)) for n, b in human.items()}
    humanoid = SimpleNamespace(human_bones=SimpleNamespace(**bones))
    extension = SimpleNamespace(spec_version="1.0", vrm1=SimpleNamespace(humanoid=humanoid))
    table = humanoid_table(SimpleNamespace(data=SimpleNamespace(vrm_addon_extension=extension)))
    assert table is not None
    assert table.bones == {"pelvis": ("h",), "left_hip": ("ll",), "right_wrist": ("rh",)}
    assert table.spine == (("s",),)


def test_an_armature_without_the_vrm_addon_has_no_table(mannequin: bpy.types.Object) -> None:
    assert humanoid_table(mannequin) is None
