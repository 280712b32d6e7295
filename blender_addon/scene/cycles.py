"""Loops in Blender: an action that goes on for ever, and how far it gets in each round."""

from __future__ import annotations

import bpy
import numpy as np

from ..protocol import JobResult
from ..rig.bone_match import BoneMatch
from ..rig.source_motion import source_from_result
from ..rig.target_figure import leg_length, read_figure
from .action_writer import curves_of
from .rest_pose import read_rig

STEP_KEY = "cycle_step"  # metres over the ground in a round, on the action; kept in place too


def make_cyclic(action: bpy.types.Action, *, repeat: bool) -> None:
    """Tell Blender that an action is a cycle; with repeat, its curves go on after it.

    A place goes on from where the round before has ended, a rotation begins anew.
    """
    action.use_frame_range = True
    action.frame_start, action.frame_end = action.frame_range
    action.use_cyclic = True
    curves = curves_of(action)
    if not repeat or curves is None:
        return
    for curve in curves.fcurves:
        if len(curve.keyframe_points) < 2:
            continue
        cycles = curve.modifiers.new(type="CYCLES")
        goes_on = curve.data_path.endswith("location")
        cycles.mode_before = "NONE"
        cycles.mode_after = "REPEAT_OFFSET" if goes_on else "REPEAT"


def cycle_step(armature: bpy.types.Object, match: BoneMatch, result: JobResult) -> float:
    """How far a character gets in one round of a looped motion, in metres over the ground."""
    figure = read_figure(read_rig(armature), match)
    ratio = leg_length(figure.points) / leg_length(source_from_result(result).rest_points)
    way = (result.root_translation[-1] - result.root_translation[0])[[0, 2]]
    return round(float(ratio * np.linalg.norm(way)), 4)
