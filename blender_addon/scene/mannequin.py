"""Marey's own mannequin: an armature of 22 joints with a wooden body, ready to be animated."""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Matrix, Vector

from .mannequin_body import JOINTS, PIECES, Point, piece_points, piece_triangles_and_quads

MANNEQUIN_NAME = "Marey Mannequin"

_WOOD = (0.78, 0.58, 0.37, 1.0)
_JOINT_WOOD = (0.30, 0.19, 0.11, 1.0)


def add_mannequin(context: bpy.types.Context) -> bpy.types.Object:
    """Add the mannequin at the 3D cursor's place on the ground, facing -y, and select it."""
    armature = bpy.data.armatures.new(MANNEQUIN_NAME)
    rig = bpy.data.objects.new(MANNEQUIN_NAME, armature)
    context.collection.objects.link(rig)
    rig.location = context.scene.cursor.location
    _add_bones(context, rig)
    _add_body(context, rig)
    armature.display_type = "STICK"
    rig.show_in_front = True
    return rig


def _to_blender(point: Point) -> Vector:
    x, y, z = point
    return Vector((x, -z, y))


def _add_bones(context: bpy.types.Context, rig: bpy.types.Object) -> None:
    if context.mode != "OBJECT":
        bpy.ops.object.mode_set(mode="OBJECT")
    for selected in context.selected_objects:
        selected.select_set(False)
    rig.select_set(True)
    context.view_layer.objects.active = rig
    bpy.ops.object.mode_set(mode="EDIT")
    edit_bones = rig.data.edit_bones
    for name, joint in JOINTS.items():
        bone = edit_bones.new(name)
        bone.head, bone.tail = _to_blender(joint.head), _to_blender(joint.tail)
        bone.align_roll(Vector((0.0, -1.0, 0.0)))
        if joint.parent:
            bone.parent = edit_bones[joint.parent]
    bpy.ops.object.mode_set(mode="OBJECT")


def _add_body(context: bpy.types.Context, rig: bpy.types.Object) -> None:
    body = bpy.data.objects.new(f"{MANNEQUIN_NAME} Body", _body_mesh())
    context.collection.objects.link(body)
    vertices_of_piece = len(body.data.vertices) // len(PIECES)
    for number, piece in enumerate(PIECES):
        group = body.vertex_groups.get(piece.bone) or body.vertex_groups.new(name=piece.bone)
        start = number * vertices_of_piece
        group.add(range(start, start + vertices_of_piece), 1.0, "REPLACE")
    body.parent = rig
    body.matrix_parent_inverse = Matrix()
    modifier = body.modifiers.new("Armature", "ARMATURE")
    modifier.object = rig


def _body_mesh() -> bpy.types.Mesh:
    points = np.concatenate([piece_points(piece) for piece in PIECES])
    points = points[:, [0, 2, 1]] * (1.0, -1.0, 1.0)
    triangles, quads = piece_triangles_and_quads()
    size = len(points) // len(PIECES)
    starts = (np.arange(len(PIECES)) * size)[:, None]
    corners_of_piece = np.concatenate([triangles.ravel(), quads.ravel()])
    sides_of_piece = np.repeat([3, 4], [len(triangles), len(quads)])
    corners = (starts + corners_of_piece).ravel().astype(np.int32)
    sides = np.tile(sides_of_piece, len(PIECES))

    mesh = bpy.data.meshes.new(f"{MANNEQUIN_NAME} Body")
    mesh.vertices.add(len(points))
    mesh.vertices.foreach_set("co", points.astype(np.float32).ravel())
    mesh.loops.add(len(corners))
    mesh.loops.foreach_set("vertex_index", corners)
    mesh.polygons.add(len(sides))
    loop_starts = np.concatenate([[0], np.cumsum(sides)[:-1]]).astype(np.int32)
    mesh.polygons.foreach_set("loop_start", loop_starts)
    is_joint = [int(piece.is_joint) for piece in PIECES]
    materials = np.repeat(is_joint, len(sides_of_piece)).astype(np.int32)
    mesh.materials.append(_material("Marey Wood", _WOOD))
    mesh.materials.append(_material("Marey Joint Wood", _JOINT_WOOD))
    # Through the attribute: polygons look it up by its name, one after the other.
    mesh.attributes.new("material_index", "INT", "FACE").data.foreach_set("value", materials)
    mesh.update(calc_edges=True)
    mesh.shade_smooth()
    return mesh


def _material(name: str, colour: tuple[float, float, float, float]) -> bpy.types.Material:
    material = bpy.data.materials.get(name)
    if material is None:
        material = bpy.data.materials.new(name)
        material.diffuse_color = colour  # what Workbench and solid view show
        if bpy.app.version < (5, 0, 0):
            material.use_nodes = True  # always on since 5.0, where setting it warns
        shader = material.node_tree.nodes.get("Principled BSDF")
        if shader is not None:
            shader.inputs["Base Color"].default_value = colour
            shader.inputs["Roughness"].default_value = 0.5
    return material
