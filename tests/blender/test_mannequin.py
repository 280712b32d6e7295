"""The mannequin: bones where the joints are, and a body on them."""

from __future__ import annotations

import bpy
import numpy as np
import pytest

from blender_addon.scene.mannequin_body import JOINTS
from blender_addon.scene.rest_pose import match_bones
from tests.blender_addon.rig.figures import JOINT_NAMES, REST_OFFSETS

pytestmark = pytest.mark.blender


def body_of(armature: bpy.types.Object) -> bpy.types.Object:
    (body,) = armature.children
    return body


def test_it_is_recognised_completely(mannequin: bpy.types.Object) -> None:
    match = match_bones(mannequin)
    assert (match.map_name, match.overall_confidence) == ("Marey mannequin", 1.0)
    assert not match.unmapped_joints()
    assert len(mannequin.data.bones) == 22


def test_its_proportions_are_those_of_the_motions(mannequin: bpy.types.Object) -> None:
    for name, offset in list(zip(JOINT_NAMES, REST_OFFSETS, strict=True))[1:]:
        bone = mannequin.data.bones[name]
        x, y, z = bone.head_local - bone.parent.head_local
        assert np.abs(np.array([x, z, -y]) - offset).max() < 1e-5, name


def test_every_vertex_hangs_on_one_bone(mannequin: bpy.types.Object) -> None:
    body = body_of(mannequin)
    assert {group.name for group in body.vertex_groups} == set(JOINTS)
    weights = [[group.weight for group in vertex.groups] for vertex in body.data.vertices]
    assert all(weight == [1.0] for weight in weights)


def test_the_body_stands_on_the_floor_and_faces_the_front(mannequin: bpy.types.Object) -> None:
    body = body_of(mannequin)
    places = np.array([vertex.co for vertex in body.data.vertices])
    assert places[:, 2].min() == pytest.approx(0.0, abs=1e-6)
    assert 1.75 < places[:, 2].max() < 1.9
    feet = places[places[:, 2] < 0.05]
    assert -feet[:, 1].min() > feet[:, 1].max()  # toes are further out than heels, towards -y


def test_faces_look_outwards(mannequin: bpy.types.Object) -> None:
    mesh = body_of(mannequin).data
    centre_of = {}
    for polygon in mesh.polygons:
        piece = polygon.vertices[0] * len(JOINTS) // len(mesh.vertices)
        centre_of.setdefault(piece, []).append(polygon.center)
    volume = sum(polygon.center.dot(polygon.normal) * polygon.area for polygon in mesh.polygons)
    assert volume > 0  # the divergence theorem: positive when normals point out


def test_the_operator_puts_it_at_the_cursor_and_selects_it(addon: None) -> None:
    bpy.context.scene.cursor.location = (1, 2, 0)
    assert bpy.ops.motion.add_mannequin() == {"FINISHED"}
    armature = bpy.context.object
    assert armature.type == "ARMATURE"
    assert tuple(armature.location) == (1, 2, 0)
    assert bpy.context.mode == "OBJECT"


def test_two_mannequins_share_their_materials(addon: None) -> None:
    bpy.ops.motion.add_mannequin()
    bpy.ops.motion.add_mannequin()
    assert len([m for m in bpy.data.materials if m.name.startswith("Marey")]) == 2


def test_its_mesh_has_nothing_to_repair(mannequin: bpy.types.Object) -> None:
    assert not body_of(mannequin).data.validate(verbose=True)
