"""What an earlier action leaves behind on a character: the last values of bones that it keyed.

Blender keeps the values of channels that no action keys any more. A root bone that an earlier
motion has carried away and turned would carry and turn the next one too, which knows nothing of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import bpy

from ..rig.bone_match import BoneMatch


def left_over_bones(armature: bpy.types.Object, match: BoneMatch, curves: Any) -> tuple[str, ...]:
    """The bones that the curves of an earlier action key and that act on the body unkeyed.

    Those are the bones above the hips, and helpers that a motion may key or not: twist bones and
    IK controls. Fingers and faces are the artist's and keep their values.
    """
    candidates = [*_above(armature, match), *match.twist_bones, *match.followers]
    if match.ik is not None:
        candidates += [*match.ik.bones.values(), *match.ik.poles.values()]
    if curves is None:
        return ()
    keyed = {curve.data_path.rpartition(".")[0] for curve in curves.fcurves}
    return tuple(
        bone
        for bone in dict.fromkeys(candidates)
        if f'pose.bones["{bpy.utils.escape_identifier(bone)}"]' in keyed
    )


def _above(armature: bpy.types.Object, match: BoneMatch) -> Sequence[str]:
    hips = armature.data.bones.get(match.location_bone or match.bones.get("pelvis", ""))
    return [bone.name for bone in hips.parent_recursive] if hips is not None else []


def rest_channels(armature: bpy.types.Object, bone: str) -> dict[str, tuple[float, ...]]:
    """The channels of a bone at rest, by data path below the bone's."""
    mode = armature.pose.bones[bone].rotation_mode
    if mode == "QUATERNION":
        rotation = {"rotation_quaternion": (1.0, 0.0, 0.0, 0.0)}
    elif mode == "AXIS_ANGLE":
        rotation = {"rotation_axis_angle": (0.0, 0.0, 1.0, 0.0)}
    else:
        rotation = {"rotation_euler": (0.0, 0.0, 0.0)}
    return {"location": (0.0, 0.0, 0.0), **rotation}
