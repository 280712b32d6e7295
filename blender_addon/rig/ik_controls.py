"""IK controls keyed so that the solved limb is the FK limb: hands, feet and poles.

Figure space (see blender_addon.rig). Shape letters: T frames.
"""

from __future__ import annotations

import numpy as np

from .bone_match import IkControls
from .channels import BoneKeys, keys_of
from .leg_ik import LegPose
from .moving_rig import MovingRig
from .rotations import FloatArray, frame_from, unit
from .target_figure import TargetFigure

# The joint in the middle of a limb, and those at its ends.
_LIMBS = {"knee": ("hip", "ankle"), "elbow": ("shoulder", "wrist")}


def control_keys(moving: MovingRig, target: TargetFigure, ik: IkControls) -> tuple[BoneKeys, ...]:
    """The keys of all IK controls of a rig that has just been moved by its FK bones.

    A control goes along with the joint's bone as if it were fixed to it. A pole keeps its place
    in the plane of the limb, as it has it at rest.
    """
    index = target.rig.index
    rotations: dict[int, FloatArray] = {}
    heads: dict[int, FloatArray] = {}
    for joint, name in ik.bones.items():
        if name not in index or joint not in target.match.bones:
            continue
        control, bone = index[name], target.bone(joint)
        rotations[control] = moving.rotations[bone]
        if not joint.endswith("_foot"):  # toes hang on the foot's control
            heads[control] = moving.point(bone, moving.rest_head(control))
    for joint, name in ik.poles.items():
        part = joint.rpartition("_")[2]
        if name in index and part in _LIMBS and joint in target.match.bones:
            pole = index[name]
            rotations[pole] = np.broadcast_to(np.eye(3), (moving.num_frames, 3, 3))
            heads[pole] = _pole(moving, target, joint, moving.rest_head(pole))
    controlled = MovingRig(
        rig=moving.rig,
        space=moving.space,
        num_frames=moving.num_frames,
        rotations=moving.rotations | rotations,
        placed=moving.placed | heads,
        islands=moving.islands,
    )
    return keys_of(controlled, sorted(rotations))


def _pole(moving: MovingRig, target: TargetFigure, joint: str, rest_pole: FloatArray) -> FloatArray:
    """Where a pole target is, (T, 3): it turns with the plane of the limb, about its middle."""
    side, _, part = joint.rpartition("_")
    start, end = (f"{side}_{name}" for name in _LIMBS[part])
    hinge = target.frames[start][:, 1]
    points = target.points
    rest_end = points[end] if end in points else points[f"{side}_hand_end"]
    rest = frame_from(unit(rest_end - points[start]), hinge)
    upper = target.bone(start)
    tip = (
        moving.head(target.bone(end))
        if end in target.match.bones
        else moving.point(target.bone(joint), rest_end)
    )
    middle = moving.head(target.bone(joint))
    chord = tip - moving.head(upper)
    turned_hinge = (moving.rotations[upper] @ hinge[:, None])[..., 0]
    # A bent limb shows its plane itself: twist that was taken from the upper bone plays no part.
    limb = LegPose(hip=moving.head(upper), knee=middle, ankle=tip, hinge=turned_hinge)
    frame = frame_from(chord, limb.bend_axis)
    offset = rest.T @ (rest_pole - points[joint])
    return middle + (frame @ offset[:, None])[..., 0]
