"""Rigs in Blender for the tests: with Mixamo's names, and Rigify's generated human."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Matrix, Vector

from tests.blender_addon.rig.figures import RigShape, bone_parent, make_rig


def build(shape: RigShape) -> bpy.types.Object:
    """An armature object with the bones of figures.make_rig, rolls included."""
    rig = make_rig(shape)
    armature = bpy.data.objects.new("Rig", bpy.data.armatures.new("Rig"))
    bpy.context.scene.collection.objects.link(armature)
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    plain = tuple(name.removeprefix(shape.prefix) for name in rig.bone_names)
    for bone, name in enumerate(rig.bone_names):
        edit = armature.data.edit_bones.new(name)
        edit.head, edit.tail = Vector(rig.heads[bone]), Vector(rig.tails[bone])
        length = edit.length
        edit.matrix = Matrix(rig.rest_matrices[bone].tolist())
        edit.length = length
        parent = bone_parent(plain[bone], plain)
        if parent:
            edit.parent = armature.data.edit_bones[shape.prefix + parent]
    bpy.ops.object.mode_set(mode="OBJECT")
    for bone in armature.pose.bones:
        bone.rotation_mode = shape.rotation_mode
    bpy.context.view_layer.update()
    return armature


def add_root(armature: bpy.types.Object) -> None:
    """A bone on the ground, of any roll, on which the hips hang."""
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    bones = armature.data.edit_bones
    root = bones.new("root")
    root.tail, root.roll = (0.1, 0.3, 0.05), 0.7
    bones["mixamorig:Hips"].parent = root
    bpy.ops.object.mode_set(mode="OBJECT")


def generate_rigify() -> bpy.types.Object:
    if "rigify" not in bpy.context.preferences.addons:
        bpy.ops.preferences.addon_enable(module="rigify")
    bpy.ops.object.armature_human_metarig_add()
    bpy.ops.pose.rigify_generate()
    bpy.context.view_layer.update()
    return bpy.context.object


def world_points(
    armature: bpy.types.Object, points: dict[str, tuple[str, str]], frames: range
) -> dict[str, np.ndarray]:
    """Points (T, 3) in world space: name -> (bone, "head" or "tail"), in each scene frame."""
    found: dict[str, list[Vector]] = {name: [] for name in points}
    for frame in frames:
        bpy.context.scene.frame_set(frame)
        for name, (bone, end) in points.items():
            place = getattr(armature.pose.bones[bone], end)
            found[name].append(armature.matrix_world @ place)
    return {name: np.array(places) for name, places in found.items()}
