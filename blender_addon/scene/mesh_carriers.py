"""Which bones carry a mesh: a root bone that does must go along, or the mesh is torn."""

from __future__ import annotations

from collections.abc import Sequence

import bpy

from ..rig.steps import Steps
from ..rig.target_rig import TargetRig

_LEAST_WEIGHT = 0.01
_VERTICES_PER_STEP = 2000  # some 3 ms


def meshes_of(armature: bpy.types.Object) -> list[str]:
    """The names of the mesh objects that an armature object deforms."""
    return [
        found.name
        for found in bpy.data.objects
        if found.type == "MESH"
        and any(one.type == "ARMATURE" and one.object == armature for one in found.modifiers)
    ]


def carries_mesh(rig: TargetRig, bone: str, meshes: Sequence[str]) -> Steps[bool]:
    """Whether vertices of mesh objects, told by their names, hang on a bone of the rig."""
    if rig.deforming is not None and rig.index[bone] not in rig.deforming:
        return False
    for name in meshes:
        yield
        weighted = yield from _has_weights(name, bone)
        if weighted:
            return True
    return False


def _has_weights(mesh: str, bone: str) -> Steps[bool]:
    """Looked up anew in each step: nothing of Blender's may be held from one to the next."""
    first = 0
    while True:
        found = bpy.data.objects.get(mesh)
        group = found.vertex_groups.get(bone) if found is not None else None
        if group is None or found.type != "MESH" or first >= len(found.data.vertices):
            return False
        number = group.index
        for vertex in found.data.vertices[first : first + _VERTICES_PER_STEP]:
            if any(one.group == number and one.weight > _LEAST_WEIGHT for one in vertex.groups):
                return True
        first += _VERTICES_PER_STEP
        yield
