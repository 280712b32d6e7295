"""Read an armature as arrays, without changing anything in the file."""

from __future__ import annotations

import bpy
import numpy as np

from ..rig.bone_maps import BoneMatch, choose_bone_map
from ..rig.target_rig import TargetRig


def read_rig(armature: bpy.types.Object) -> TargetRig:
    """The rest pose of an armature object; its pose and actions play no part."""
    bones = armature.data.bones
    count = len(bones)
    matrices = np.empty(count * 16, dtype=np.float32)
    bones.foreach_get("matrix_local", matrices)
    tails = np.empty(count * 3, dtype=np.float32)
    bones.foreach_get("tail_local", tails)
    names = tuple(bone.name for bone in bones)
    index = {name: i for i, name in enumerate(names)}
    parents = [index[bone.parent.name] if bone.parent else -1 for bone in bones]
    return TargetRig(
        bone_names=names,
        parents=np.array(parents, dtype=np.int32),
        # Blender hands out matrices column by column.
        rest_matrices=matrices.reshape(count, 4, 4).swapaxes(1, 2).astype(np.float64),
        tails=tails.reshape(count, 3).astype(np.float64),
        inherits_rotation=_flags(bones, "use_inherit_rotation"),
        has_local_location=_flags(bones, "use_local_location"),
        rotation_modes=tuple(armature.pose.bones[name].rotation_mode for name in names),
        object_matrix=np.array(armature.matrix_world, dtype=np.float64),
    )


def match_bones(armature: bpy.types.Object) -> BoneMatch:
    """The bone map that fits an armature object.

    Raises:
        RigError: none does.
    """
    return choose_bone_map(bone.name for bone in armature.data.bones)


def _flags(bones: bpy.types.bpy_prop_collection, name: str) -> np.ndarray:
    flags = np.empty(len(bones), dtype=bool)
    bones.foreach_get(name, flags)
    return flags
