"""Rigs to retarget onto: those of a data folder, Rigify's generated human, and made ones."""

# pyright: basic, reportMissingModuleSource=false, reportAttributeAccessIssue=false
# pyright: reportOptionalMemberAccess=false, reportArgumentType=false, reportCallIssue=false

from __future__ import annotations

import math
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix, Vector

FILES = {
    "unreal-male": "human-male.glb",
    "unreal-bare": "rig-human.glb",
    "rigify-deform": "human-base-animations_history.glb",
    "sintel": "human-sintel.glb",
    "kaykit": "kaykit/manny_med_mod.gltf",
    "vrm": "vrm_example.vrm",
    "mixamo-glb": "mixamo_xbot.glb",
    "mixamo-fbx": "mixamo_original.fbx",
}


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How a made rig is built. Names are Mixamo's."""

    arms_down: float = 0.0  # degrees from the T-pose
    legs_apart: float = 0.0  # degrees
    elbow_bend: float = 0.0  # degrees, forward, at rest
    roll_seed: int | None = None
    height: float = 1.8  # metres in the world
    object_scale: float = 1.0  # the bones are as much larger
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0)  # degrees, of the object
    mirrored: bool = False  # the object is scaled by -1 in x
    parents: int = 0  # empties over the object, each turned, moved and scaled
    leave_out: tuple[str, ...] = ()


MADE = {
    "made-t": Shape(),
    "made-t-rolled": Shape(roll_seed=1),
    "made-a-rolled": Shape(arms_down=45, elbow_bend=20, roll_seed=2),
    "made-down-rolled": Shape(arms_down=83, roll_seed=3),
    "made-star": Shape(arms_down=-25, legs_apart=22, roll_seed=4),
    "made-hundredth": Shape(arms_down=40, object_scale=0.01, roll_seed=5),
    "made-hundred": Shape(arms_down=40, object_scale=100.0, roll_seed=6),
    "made-turned": Shape(arms_down=30, turn=(0, 0, 130), roll_seed=7),
    "made-mirrored": Shape(arms_down=30, mirrored=True, roll_seed=8),
    "made-nested": Shape(arms_down=30, parents=2, roll_seed=9),
    "made-10cm": Shape(arms_down=45, height=0.1, roll_seed=10),
    "made-10m": Shape(arms_down=45, height=10.0, roll_seed=11),
    "made-few-bones": Shape(
        arms_down=30,
        roll_seed=12,
        leave_out=(
            *("Spine1", "Spine2", "Neck"),
            *(f"{side}{bone}" for side in ("Left", "Right") for bone in ("Shoulder", "ToeBase")),
        ),
    ),
}

_PARENTS = {
    "Spine": "Hips",
    "Spine1": "Spine",
    "Spine2": "Spine1",
    "Neck": "Spine2",
    "Head": "Neck",
    "Shoulder": "Spine2",
    "Arm": "Shoulder",
    "ForeArm": "Arm",
    "Hand": "ForeArm",
    "UpLeg": "Hips",
    "Leg": "UpLeg",
    "Foot": "Leg",
    "ToeBase": "Foot",
}


def load(name: str, data: Path) -> bpy.types.Object:
    """An empty file with one rig in it, its armature object active."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    if name == "rigify":
        armature = _rigify()
    elif name in MADE:
        armature = build(MADE[name])
    else:
        armature = _imported(data / "rigs" / FILES[name])
    _forget_animation(armature)
    return armature


def load_file(path: Path) -> bpy.types.Object:
    """An empty file with the rig of an .fbx, .glb, .gltf or .vrm in it, as load() does.

    Raises:
        ValueError: the file has no armature, or can't be read.
    """
    bpy.ops.wm.read_factory_settings(use_empty=True)
    try:
        armature = _imported(path)
    except StopIteration:
        raise ValueError(f"{path} has no armature") from None
    except RuntimeError as error:
        raise ValueError(f"{path} can't be read: {str(error).strip()}") from error
    _forget_animation(armature)
    return armature


def _forget_animation(armature: bpy.types.Object) -> None:
    """The armature in its rest pose, and active."""
    if armature.animation_data is not None:  # its drivers are Rigify's and stay
        armature.animation_data.action = None
        for track in list(armature.animation_data.nla_tracks):
            armature.animation_data.nla_tracks.remove(track)
    for bone in armature.pose.bones:
        bone.matrix_basis = Matrix()
    bpy.context.view_layer.objects.active = armature
    bpy.context.view_layer.update()


def _rigify() -> bpy.types.Object:
    if "rigify" not in bpy.context.preferences.addons:
        bpy.ops.preferences.addon_enable(module="rigify")
    bpy.ops.object.armature_human_metarig_add()
    bpy.ops.pose.rigify_generate()
    armature = bpy.context.object
    assert armature is not None  # Rigify makes what it generated active
    return armature


def _imported(path: Path) -> bpy.types.Object:
    if path.suffix == ".fbx":
        bpy.ops.import_scene.fbx(filepath=str(path))
    else:
        with tempfile.TemporaryDirectory() as folder:
            source = path
            if path.suffix == ".vrm":  # the same format by another name
                source = Path(folder) / f"{path.stem}.glb"
                shutil.copy(path, source)
            bpy.ops.import_scene.gltf(filepath=str(source))
    return next(one for one in bpy.context.scene.objects if one.type == "ARMATURE")


def build(shape: Shape) -> bpy.types.Object:
    """Make an armature object that faces -Y, of 22 bones less those left out."""
    armature = bpy.data.objects.new("Rig", bpy.data.armatures.new("Rig"))
    bpy.context.scene.collection.objects.link(armature)
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    generator = np.random.default_rng(shape.roll_seed)
    size = shape.height / 1.84 / shape.object_scale
    for name, (head, tail) in _points(shape).items():
        if name in shape.leave_out:
            continue
        edit = armature.data.edit_bones.new(f"mixamorig:{name}")
        edit.head, edit.tail = Vector(head) * size, Vector(tail) * size
        if shape.roll_seed is not None:
            edit.roll = float(generator.uniform(-math.pi, math.pi))
        parent = _parent(name, shape.leave_out)
        edit.parent = armature.data.edit_bones[f"mixamorig:{parent}"] if parent else None
    bpy.ops.object.mode_set(mode="OBJECT")
    armature.rotation_euler = [math.radians(angle) for angle in shape.turn]
    armature.scale = [shape.object_scale] * 3
    if shape.mirrored:
        armature.scale.x *= -1
    _nest(armature, shape.parents)
    return armature


def _nest(armature: bpy.types.Object, count: int) -> None:
    """Hang the object on empties that are turned, moved and scaled, to 1 in all."""
    child = armature
    for number in range(count):
        empty = bpy.data.objects.new(f"Parent {number}", None)
        bpy.context.scene.collection.objects.link(empty)
        empty.rotation_euler.z = math.radians(50 + 30 * number)
        empty.location = (1.0 + number, -2.0, 0.0)
        empty.scale = [4.0 if number == 0 else 0.25] * 3
        child.parent = empty
        child = empty


def _parent(name: str, left_out: tuple[str, ...]) -> str:
    side = next((s for s in ("Left", "Right") if name.startswith(s)), "")
    parent = _PARENTS.get(name.removeprefix(side), "")
    if parent in ("Shoulder", "Arm", "ForeArm", "UpLeg", "Leg", "Foot"):
        parent = side + parent
    return _parent(parent, left_out) if parent in left_out else parent


def _points(shape: Shape) -> dict[str, tuple[tuple[float, ...], tuple[float, ...]]]:
    """Head and tail of each bone: z up, facing -Y, 1.84 m tall."""
    points: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
        "Hips": ((0, 0, 1.05), (0, 0, 1.15)),
        "Spine": ((0, 0.01, 1.15), (0, 0.01, 1.26)),
        "Spine1": ((0, 0.01, 1.26), (0, 0, 1.38)),
        "Spine2": ((0, 0, 1.38), (0, 0, 1.53)),
        "Neck": ((0, 0, 1.53), (0, -0.02, 1.63)),
        "Head": ((0, -0.02, 1.63), (0, -0.02, 1.84)),
    }
    down, bend = math.radians(shape.arms_down), math.radians(shape.elbow_bend)
    apart = math.radians(shape.legs_apart)
    for side, sign in (("Left", 1.0), ("Right", -1.0)):
        upper = np.array([sign * math.cos(down), 0.0, -math.sin(down)])
        lower = upper * math.cos(bend) + np.array([0.0, -math.sin(bend), 0.0])
        shoulder = np.array([sign * 0.19, 0.0, 1.47])
        elbow = shoulder + 0.27 * upper
        wrist = elbow + 0.26 * lower
        arm = [(sign * 0.05, -0.01, 1.46), shoulder, elbow, wrist, wrist + 0.1 * lower]
        thigh = np.array([sign * math.sin(apart), -0.02, -math.cos(apart)])
        shin = np.array([sign * math.sin(apart), 0.05, -math.cos(apart)])
        hip = np.array([sign * 0.1, 0.0, 0.98])
        knee = hip + 0.44 * thigh / np.linalg.norm(thigh)
        ankle = knee + 0.44 * shin / np.linalg.norm(shin)
        toe = np.array([ankle[0] + sign * 0.02, ankle[1] - 0.14, ankle[2] - 0.08])
        leg = [hip, knee, ankle, toe, toe + np.array([0.0, -0.07, 0.0])]
        names = ("Shoulder", "Arm", "ForeArm", "Hand"), ("UpLeg", "Leg", "Foot", "ToeBase")
        for chain, joints in zip(names, (arm, leg), strict=True):
            for name, head, tail in zip(chain, joints[:-1], joints[1:], strict=True):
                points[side + name] = (tuple(head), tuple(tail))
    return points
