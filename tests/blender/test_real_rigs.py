"""Rigs that artists download, and a recorded walk: what the retargeting promises on each.

Everything is measured on what Blender evaluates, by scripts/retarget_measures.py.
"""

from __future__ import annotations

from pathlib import Path

import bpy
import pytest

import retarget_rigs
from blender_addon.protocol import JobResult
from blender_addon.rig.source_motion import source_from_result
from blender_addon.scene.action_writer import write_action
from blender_addon.scene.rest_pose import match_bones
from check_retargeting import keeps_limits, measure_action
from tests.blender_addon.rig.rig_parts import FREE

pytestmark = pytest.mark.blender

RIGS = (*retarget_rigs.FILES, *retarget_rigs.MADE)


@pytest.mark.parametrize("name", RIGS)
def test_a_recorded_walk_keeps_to_the_limits(
    name: str, real_walk: JobResult, real_data: Path
) -> None:
    armature = retarget_rigs.load(name, real_data)
    bpy.context.scene.render.fps = 20
    source, match = source_from_result(real_walk), match_bones(armature)
    write_action(armature, source, start_frame=1, options=FREE, match=match)
    free = measure_action(armature, name, match, source)
    write_action(armature, source, start_frame=1, match=match)
    planted = measure_action(armature, name, match, source)
    assert planted.contacts > 0.2  # or nothing was measured
    assert keeps_limits(free, planted), (free, planted)


def test_the_measures_see_what_is_wrong(real_walk: JobResult, real_data: Path) -> None:
    """The same figures on a rig that does not follow the motion."""
    armature = retarget_rigs.load("made-t", real_data)
    bpy.context.scene.render.fps = 20
    source, match = source_from_result(real_walk), match_bones(armature)
    write_action(armature, source, start_frame=1, options=FREE, match=match)
    free = measure_action(armature, "made-t", match, source)
    assert not keeps_limits(free, free)  # nothing is planted: feet slide
    arm = armature.pose.bones["mixamorig:LeftArm"]
    arm.constraints.new("LIMIT_ROTATION").use_limit_x = True
    arm.constraints[0].owner_space = "LOCAL"
    assert measure_action(armature, "made-t", match, source).max_direction > 10
