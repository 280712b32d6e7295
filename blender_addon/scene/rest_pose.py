"""Read an armature as arrays, without changing anything in the file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import bpy
import numpy as np

from ..rig.bone_match import BoneMatch
from ..rig.recognise import recognise
from ..rig.rig_mapping import RigMapping
from ..rig.target_rig import TargetRig
from .humanoid_table import humanoid_table

# Constraints that turn a bone whatever its own keys say.
_DRIVING = frozenset(
    {
        *("COPY_ROTATION", "COPY_TRANSFORMS", "ARMATURE", "CHILD_OF", "ACTION", "TRANSFORM"),
        *("DAMPED_TRACK", "TRACK_TO", "LOCKED_TRACK", "STRETCH_TO"),
    }
)


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
        carriers=_carriers(armature, index),
        connected=frozenset(np.flatnonzero(_flags(bones, "use_connect")).tolist()),
        deforming=frozenset(np.flatnonzero(_flags(bones, "use_deform")).tolist()),
        constrained=_constrained(armature, index),
    )


def recognise_bones(
    armature: bpy.types.Object, user_mappings: Sequence[RigMapping] = ()
) -> BoneMatch:
    """What is found on an armature object, however unsure, for the user to look at."""
    table = humanoid_table(armature)
    return recognise(read_rig(armature), user_mappings, (table,) if table else ())


def match_bones(armature: bpy.types.Object, user_mappings: Sequence[RigMapping] = ()) -> BoneMatch:
    """The bones by joint of an armature object, sure enough to be keyed.

    Raises:
        RigError: a joint that a body needs has no bone, or it isn't sure which.
    """
    match = recognise_bones(armature, user_mappings)
    match.require_sure()
    return match


def _constrained(armature: bpy.types.Object, index: dict[str, int]) -> dict[int, str]:
    """Bones that a constraint turns, and the type of the constraint."""
    found: dict[int, str] = {}
    for bone in _pose_bones(armature):
        for constraint in bone.constraints:
            if constraint.mute or constraint.influence < 0.5:
                continue
            if constraint.type in _DRIVING:
                found.setdefault(index[bone.name], constraint.type)
            if constraint.type == "IK" and constraint.target is not None:
                chain = [bone, *bone.parent_recursive]
                for link in chain[: constraint.chain_count or len(chain)]:
                    found.setdefault(index[link.name], "IK")
    return found


def _carriers(armature: bpy.types.Object, index: dict[str, int]) -> dict[int, int]:
    """Bones that a constraint lets go along with another bone than their parent, as Rigify's do."""
    carriers: dict[int, int] = {}
    for bone in _pose_bones(armature):
        for constraint in bone.constraints:
            if constraint.mute or constraint.influence < 0.5:
                continue
            name = _constraint_carrier(armature, bone, constraint)
            if name in index and not _leads_to(armature, carriers, index, name, bone.name):
                carriers[index[bone.name]] = index[name]
    return carriers


def _constraint_carrier(
    armature: bpy.types.Object, bone: bpy.types.PoseBone, constraint: bpy.types.Constraint
) -> str:
    """The bone that a constraint ties another one to as a parent would, "" for none."""
    if constraint.type == "ARMATURE":
        targets = [t for t in constraint.targets if t.target == armature and t.weight > 0]
        heaviest = max(targets, key=lambda t: t.weight, default=None)
        return heaviest.subtarget if heaviest is not None else ""
    if constraint.type == "COPY_TRANSFORMS" and constraint.target == armature:
        other = armature.data.bones.get(constraint.subtarget)
        if other is None or constraint.owner_space not in ("WORLD", "POSE"):
            return ""
        gap = np.array(other.matrix_local) - np.array(bone.bone.matrix_local)
        return other.name if np.abs(gap).max() < 1e-4 * max(bone.bone.length, 1e-6) else ""
    return ""


def _leads_to(
    armature: bpy.types.Object,
    carriers: dict[int, int],
    index: dict[str, int],
    name: str,
    goal: str,
) -> bool:
    """Whether `name` goes along with `goal`: then `goal` can't go along with it as well."""
    names = list(index)
    while name and name != goal:
        if index[name] in carriers:
            name = names[carriers[index[name]]]
        else:
            parent = armature.data.bones[name].parent
            name = parent.name if parent else ""
    return bool(name)


def _pose_bones(armature: bpy.types.Object) -> Iterable[bpy.types.PoseBone]:
    """The pose's bones; an armature without bones has no pose."""
    return armature.pose.bones if armature.pose is not None else ()


def _flags(bones: bpy.types.bpy_prop_collection, name: str) -> np.ndarray:
    flags = np.empty(len(bones), dtype=bool)
    bones.foreach_get(name, flags)
    return flags
