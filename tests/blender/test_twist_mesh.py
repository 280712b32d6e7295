"""Twist bones on a mesh: sleeves of rings around upper arm and forearm twist evenly to the end."""

from __future__ import annotations

import math
from dataclasses import replace

import bpy
import numpy as np
import pytest
from mathutils import Vector

from blender_addon.protocol import JobResult
from blender_addon.rig.bone_match import TwistBone
from blender_addon.rig.retarget_options import RetargetOptions
from blender_addon.scene.action_writer import write_action
from blender_addon.scene.rest_pose import match_bones
from tests.blender.blender_rigs import build
from tests.blender_addon.rig import figures
from tests.blender_addon.rig.figures import RigShape

pytestmark = pytest.mark.blender

TURN = np.radians(80.0)
PARTS = {"left_shoulder": ("LeftArm", "LeftForeArm"), "left_elbow": ("LeftForeArm", "LeftHand")}
SHARES = (1 / 3, 2 / 3)
SIDES = 12  # of a ring


def twisted(joint: str) -> JobResult:
    """Stands in the T-pose, a joint of the left arm turned about the arm."""
    motion = figures.rest_motion(2)
    motion.local_rotations[:, figures.INDEX[joint]] = figures.axis_quaternion(0, TURN)
    return motion


def add_twist_bones(armature: bpy.types.Object, joint: str) -> dict[str, TwistBone]:
    """Two helpers beside a segment, at a third and two thirds of it, each with its own roll."""
    upper, lower = (f"mixamorig:{name}" for name in PARTS[joint])
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    bones = armature.data.edit_bones
    start, end = bones[upper].head.copy(), bones[lower].head.copy()
    found = {}
    for number, share in enumerate(SHARES):
        helper = bones.new(f"{joint} helper {number}")
        helper.parent = bones[upper]
        helper.head = start.lerp(end, share)
        helper.tail, helper.roll = helper.head + Vector((0.0, 0.0, 0.05)), 0.4 + number
        found[helper.name] = TwistBone(joint=joint, share=share)
    bpy.ops.object.mode_set(mode="OBJECT")
    return found


def add_sleeve(armature: bpy.types.Object, joint: str, twists: list[str]) -> bpy.types.Object:
    """Rings around a segment: at its upper end, at each helper, at its lower end."""
    upper, lower = (f"mixamorig:{name}" for name in PARTS[joint])
    start, end = (armature.data.bones[name].head_local for name in (upper, lower))
    along = (end - start).normalized()
    side = along.cross(Vector((0.0, 0.0, 1.0))).normalized()
    around = np.linspace(0, 2 * np.pi, SIDES, endpoint=False)
    # A forearm is not twisted at the elbow; an upper arm's whole twist is at its lower end.
    first, last = (upper, lower) if joint == "left_elbow" else (twists[0], upper)
    groups = [first, *twists, last]
    places = [0.0 if joint == "left_elbow" else SHARES[0], *SHARES, 1.0]
    points = [
        start.lerp(end, share) + 0.05 * (side * math.cos(a) + along.cross(side) * math.sin(a))
        for share in places
        for a in around
    ]
    mesh = bpy.data.meshes.new("Sleeve")
    mesh.from_pydata(points, [], [])
    sleeve = bpy.data.objects.new("Sleeve", mesh)
    bpy.context.scene.collection.objects.link(sleeve)
    sleeve.modifiers.new("Armature", "ARMATURE").object = armature
    for number, name in enumerate(groups):
        group = sleeve.vertex_groups.get(name) or sleeve.vertex_groups.new(name=name)
        group.add(list(range(number * SIDES, (number + 1) * SIDES)), 1.0, "REPLACE")
    return sleeve


def ring_turns(sleeve: bpy.types.Object, armature: bpy.types.Object, joint: str) -> list[float]:
    """How far each ring turns about the segment, in degrees, from the rest pose."""
    upper, lower = (f"mixamorig:{name}" for name in PARTS[joint])
    rest = np.array([vertex.co for vertex in sleeve.data.vertices]).reshape(-1, SIDES, 3)
    shown = sleeve.evaluated_get(bpy.context.evaluated_depsgraph_get()).data.vertices
    posed = np.array([vertex.co for vertex in shown]).reshape(-1, SIDES, 3)
    bones = armature.pose.bones
    along = np.array((bones[lower].head - bones[upper].head).normalized())
    turns = []
    for before, after in zip(rest, posed, strict=True):
        a, b = before[0] - before.mean(axis=0), after[0] - after.mean(axis=0)
        assert np.linalg.norm(b) == pytest.approx(0.05, rel=1e-3)  # no wrung-out wrist
        turns.append(np.degrees(np.arctan2(np.cross(a, b) @ along, a @ b)))
    return turns


@pytest.mark.parametrize("roll_seed", [None, 1, 2])
@pytest.mark.parametrize(
    ("joint", "turned", "wanted"),
    [
        ("left_elbow", "left_wrist", (0.0, 80 / 3, 160 / 3, 80.0)),
        ("left_shoulder", "left_shoulder", (80 / 3, 80 / 3, 160 / 3, 80.0)),
    ],
)
def test_a_sleeve_twists_evenly(
    roll_seed: int | None, joint: str, turned: str, wanted: tuple[float, ...]
) -> None:
    armature = build(RigShape(roll_seed=roll_seed))
    twists = add_twist_bones(armature, joint)
    sleeve = add_sleeve(armature, joint, list(twists))
    match = replace(match_bones(armature), twist_bones=twists)
    free = RetargetOptions(plant_feet=False, plant_toes=False, keep_above_floor=False)
    write_action(armature, twisted(turned), start_frame=1, options=free, match=match)
    bpy.context.scene.frame_set(1)
    assert ring_turns(sleeve, armature, joint) == pytest.approx(wanted, abs=1.0)
