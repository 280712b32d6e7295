"""Write what an armature does as a BVH file, whichever of Blender's exporters are switched on.

As the engine's own BVH files: centimetres, y up, facing +z at rest, channels Zrotation Yrotation
Xrotation, position channels that count instead of the offset. The constraints of a rig are in,
because the pose is taken as Blender shows it. A rig that has bones which deform is written with
those and their ancestors; controls that lead nowhere are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np

from ..rig.rotations import matrix_to_euler

_PER_METRE = 100.0
_MOVES_M = 1e-4  # a joint whose place in its parent changes by more gets position channels
_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])  # z up to y up
_ROTATION = "Zrotation Yrotation Xrotation"
_POSITION = "Xposition Yposition Zposition"


@dataclass(frozen=True, kw_only=True)
class _Joint:
    """One joint of the file; lengths in metres, y up."""

    name: str
    parent: int  # -1 for the root
    offset: np.ndarray  # (3,) from the parent at rest
    tip: np.ndarray  # (3,) from the joint to the end of its bone, at rest
    positions: np.ndarray | None  # (T, 3) in the parent; None: always the offset
    angles: np.ndarray  # (T, 3) about x, y, z in degrees


def write_bvh(armature: bpy.types.Object, frames: Sequence[int], path: Path, *, fps: float) -> None:
    """Write an armature object's evaluated pose in some frames of the scene.

    The scene is left at the last of them.

    Raises:
        OSError: the file can't be written.
    """
    bones = exported_bones(armature)
    sampled = _sample(armature, [bone.name for bone in bones], frames)
    joints = _joints(armature, bones, sampled)
    lines = ["HIERARCHY", *_hierarchy(joints, 0, ""), "MOTION"]
    lines += [f"Frames: {len(frames)}", f"Frame Time: {1 / fps:.8f}"]
    table = np.concatenate([_channels(joint, len(frames)) for joint in _in_order(joints)], axis=1)
    lines += [" ".join(f"{value:.5f}" for value in row + 0.0) for row in table]
    path.write_text("\n".join([*lines, ""]), encoding="utf-8", newline="\n")


def exported_bones(armature: bpy.types.Object) -> list[bpy.types.Bone]:
    """The bones that deform with all their ancestors, parents first; every bone if none does."""
    bones = list(armature.data.bones)
    kept = {bone.name for bone in bones if bone.use_deform}
    kept |= {parent.name for bone in bones if bone.use_deform for parent in bone.parent_recursive}
    return [bone for bone in bones if bone.name in kept or not kept]


def _sample(armature: bpy.types.Object, names: list[str], frames: Sequence[int]) -> np.ndarray:
    """World matrices (T, 1 + B, 4, 4): the object's own first, then the bones'."""
    scene, pose = bpy.context.scene, armature.pose.bones
    sampled = np.empty((len(frames), 1 + len(names), 4, 4))
    for index, frame in enumerate(frames):
        scene.frame_set(frame)
        world = np.array(armature.matrix_world)
        sampled[index, 0] = world
        sampled[index, 1:] = world @ np.array([pose[name].matrix for name in names])
    return sampled


def _joints(
    armature: bpy.types.Object, bones: list[bpy.types.Bone], sampled: np.ndarray
) -> list[_Joint]:
    stand = _standing(sampled[0, 0])
    rest = np.array([bone.matrix_local for bone in bones])
    heads = np.array([bone.head_local for bone in bones]) @ (_UP @ stand).T
    tails = np.array([bone.tail_local for bone in bones]) @ (_UP @ stand).T
    turned = _UP @ _rotation(sampled[:, 1:, :3, :3]) @ _inverse(_rotation(stand @ rest[:, :3, :3]))
    turned = turned @ _UP.T
    places = sampled[:, 1:, :3, 3] @ _UP.T
    index = {bone.name: number for number, bone in enumerate(bones)}
    parents = [index[bone.parent.name] if bone.parent else -1 for bone in bones]
    names = _names([*(bone.name for bone in bones), armature.name])
    above, start = _object_motion(stand, sampled)
    several = parents.count(-1) > 1
    joints: list[_Joint] = []
    if several:  # a BVH has one root: the object itself, which carries all of them
        nowhere = np.zeros(3)
        joints.append(
            _Joint(
                name=names[-1],
                parent=-1,
                offset=nowhere,
                tip=nowhere,
                positions=start,
                angles=_angles(above),
            )
        )
    for bone, parent in enumerate(parents):
        local, place, offset = turned[:, bone], places[:, bone], heads[bone]
        is_root = parent < 0 and not several
        if is_root:
            offset = np.zeros(3)
        elif parent < 0:
            local, place = _in_parent(above, start, local, place)
        else:
            local, place = _in_parent(turned[:, parent], places[:, parent], local, place)
            offset = offset - heads[parent]
        moves = np.abs(place - offset).max() > _MOVES_M
        joints.append(
            _Joint(
                name=names[bone],
                parent=parent + several if parent >= 0 or several else -1,
                offset=offset,
                tip=tails[bone] - heads[bone],
                positions=place if moves or is_root else None,
                angles=_angles(local),
            )
        )
    return joints


def _object_motion(stand: np.ndarray, sampled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation (T, 3, 3) and place (T, 3) of the object itself, y up."""
    turned = _UP @ _rotation(sampled[:, 0, :3, :3]) @ _inverse(_rotation(stand)) @ _UP.T
    return turned, sampled[:, 0, :3, 3] @ _UP.T


def _standing(world: np.ndarray) -> np.ndarray:
    """The object's matrix (3, 3) without place and heading: how it stands at rest.

    Its heading belongs to the motion; what an importer has laid it on its back with does not.
    """
    turn = _rotation(world[:3, :3])
    # The share of the turn about the world's z: the twist of its quaternion about that axis.
    heading = np.arctan2(turn[1, 0] - turn[0, 1], turn[0, 0] + turn[1, 1])
    cosine, sine = np.cos(heading), np.sin(heading)
    return np.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]]) @ world[:3, :3]


def _in_parent(
    above: np.ndarray, start: np.ndarray, turned: np.ndarray, places: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rotation (T, 3, 3) and place (T, 3) of a joint in its parent's frame."""
    back = _inverse(above)
    return back @ turned, np.einsum("tij,tj->ti", back, places - start)


def _rotation(matrix: np.ndarray) -> np.ndarray:
    """The rotation nearest to matrices (..., 3, 3) that may scale and mirror."""
    left, _, right = np.linalg.svd(matrix)
    sign = np.ones(matrix.shape[:-1])
    sign[..., 2] = np.linalg.det(left @ right)
    return (left * sign[..., None, :]) @ right


def _inverse(rotation: np.ndarray) -> np.ndarray:
    return np.swapaxes(rotation, -1, -2)


def _angles(rotation: np.ndarray) -> np.ndarray:
    return np.degrees(matrix_to_euler(rotation, "XYZ"))


def _names(given: list[str]) -> list[str]:
    """Names without spaces, which would end a name in a BVH, each only once."""
    names: list[str] = []
    for name in given:
        base = free = "_".join(name.split()) or "joint"
        number = 1
        while free in names:
            free, number = f"{base}_{number}", number + 1
        names.append(free)
    return names


def _children(joints: list[_Joint], parent: int) -> list[int]:
    return [index for index, joint in enumerate(joints) if joint.parent == parent]


def _hierarchy(joints: list[_Joint], index: int, indent: str) -> list[str]:
    joint, inner = joints[index], f"{indent}\t"
    kind = "ROOT" if joint.parent < 0 else "JOINT"
    has_places = joint.positions is not None
    channels = f"6 {_POSITION} {_ROTATION}" if has_places else f"3 {_ROTATION}"
    lines = [f"{indent}{kind} {joint.name}", f"{indent}{{"]
    lines += [f"{inner}OFFSET {_vector(joint.offset)}", f"{inner}CHANNELS {channels}"]
    children = _children(joints, index)
    for child in children:
        lines += _hierarchy(joints, child, inner)
    if not children:
        lines += [f"{inner}End Site", f"{inner}{{"]
        lines += [f"{inner}\tOFFSET {_vector(joint.tip)}", f"{inner}}}"]
    return [*lines, f"{indent}}}"]


def _in_order(joints: list[_Joint]) -> list[_Joint]:
    """The joints as the hierarchy names them, which is the order of the channels."""
    order: list[_Joint] = []
    waiting = [0]
    while waiting:
        index = waiting.pop()
        order.append(joints[index])
        waiting += _children(joints, index)[::-1]
    return order


def _channels(joint: _Joint, num_frames: int) -> np.ndarray:
    """The values (T, 3 or 6) of a joint's channels."""
    parts = [] if joint.positions is None else [joint.positions * _PER_METRE]
    return np.concatenate([*parts, joint.angles[:, ::-1]], axis=1).reshape(num_frames, -1)


def _vector(metres: np.ndarray) -> str:
    return " ".join(f"{value:.6f}" for value in metres * _PER_METRE + 0.0)
