"""Write a motion as an action. The only file that knows F-curves.

Each motion gets an action of its own; an action that was there before stays in the file, kept by a
fake user, and none of its keys is touched. Blender 4.4 put F-curves into the channelbag of an
action's slot, and 5.0 took them off the action itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import bpy
import numpy as np

from ..protocol import JobResult
from ..rig.bone_match import BoneMatch, RigError
from ..rig.channels import BoneKeys
from ..rig.retarget import RigMotion, retarget
from ..rig.retarget_options import RetargetOptions
from ..rig.rotations import (
    continuous_quaternions,
    matrix_to_axis_angle,
    matrix_to_euler,
    matrix_to_quaternion,
)
from ..rig.source_motion import SourceMotion
from .left_over import left_over_bones, rest_channels
from .rest_pose import match_bones, read_rig

IS_LAYERED = bpy.app.version >= (4, 4, 0)

# Single properties of the action, for people; the whole provenance is JSON under PROVENANCE_KEY.
PROVENANCE_KEY = "marey"
_SHOWN_PROVENANCE = (
    "prompt",
    "seed",
    "model",
    "model_hash",
    "engine_version",
    "num_steps",
    "guidance_scale",
)
_INTERPOLATION = {"CONSTANT": 0, "LINEAR": 1, "BEZIER": 2}
_MAX_NAME = 63  # bytes of a data-block's name in Blender before 5.0


def write_action(
    armature: bpy.types.Object,
    motion: JobResult | SourceMotion,
    *,
    start_frame: float,
    interpolation: str = "LINEAR",
    options: RetargetOptions | None = None,
    match: BoneMatch | None = None,
    provenance: Mapping[str, Any] | None = None,
    scene: bpy.types.Scene | None = None,
) -> bpy.types.Action:
    """As key_motion; returns only the action."""
    keyed = key_motion(
        armature,
        motion,
        start_frame=start_frame,
        interpolation=interpolation,
        options=options,
        match=match,
        provenance=provenance,
        scene=scene,
    )
    return keyed[0]


def key_motion(
    armature: bpy.types.Object,
    motion: JobResult | SourceMotion,
    *,
    start_frame: float,
    interpolation: str = "LINEAR",
    options: RetargetOptions | None = None,
    match: BoneMatch | None = None,
    provenance: Mapping[str, Any] | None = None,
    scene: bpy.types.Scene | None = None,
) -> tuple[bpy.types.Action, RigMotion]:
    """Retarget a motion onto an armature object and key it in a new action.

    The action begins at start_frame of the scene and keeps the motion's own time, whatever the
    scene's frame rate is. Nothing but the action is written, so linked and overridden rigs do.

    Args:
        armature: the object to key.
        motion: an engine's result, or a motion from elsewhere.
        start_frame: scene frame of the motion's first frame.
        interpolation: CONSTANT, LINEAR or BEZIER.
        options: how to retarget; None is RetargetOptions().
        match: the bones by joint; None finds them, as match_target does.
        provenance: what to write on the action; None is the result's own.
        scene: whose frame rate counts; None is the active one.

    Raises:
        RigError: the armature can't be keyed, as by match_target, or lacks the root bone that the
            options name; nothing has been written then.
    """
    check_writable(armature)
    match = match or match_bones(armature)
    keyed = retarget(motion, read_rig(armature), match, options)
    if provenance is None:
        provenance = json.loads(motion.provenance) if isinstance(motion, JobResult) else {}
    written = {keys.bone for keys in keyed.bone_keys}
    left_over = left_over_bones(armature, match, _curves_in_use(armature))
    action = _new_action(armature, _action_name(provenance))
    curves = _assign(armature, action)
    frames = scene_frames(keyed, start_frame, scene or bpy.context.scene)
    writer = _CurveWriter(curves, frames, interpolation)
    for keys in keyed.bone_keys:
        writer.write_bone(keys)
    if keyed.object_matrices is not None:
        writer.write_object(armature, keyed.object_matrices)
    for bone in left_over:
        if bone not in written:
            writer.write_rest(armature, bone)
    for bone, name, value in keyed.properties:
        if bone in armature.pose.bones and name in armature.pose.bones[bone]:
            path = f'pose.bones["{_escaped(bone)}"]["{_escaped(name)}"]'
            writer.write_constant(bone, path, (value,))
    _write_provenance(action, provenance, keyed)
    return action, keyed


def key_channels(
    owner: bpy.types.ID,
    name: str,
    frames: np.ndarray,
    channels: Mapping[str, np.ndarray],
    *,
    interpolation: str = "LINEAR",
) -> bpy.types.Action:
    """Give a data-block that has no animation an action with channels.

    frames: (T,) of the scene. channels: values (T, C) by data path; of C = 1 it has no index.
    """
    action = bpy.data.actions.new(name)
    curves = empty_curves(action, owner.name, id_type=owner.id_type)
    assign_action(owner, action)
    writer = _CurveWriter(curves, frames, interpolation)
    for path, values in channels.items():
        writer.write(name, path, values)
    return action


def match_target(armature: bpy.types.Object) -> BoneMatch:
    """The bone map that fits an armature object which can be keyed now.

    Raises:
        RigError: its bones are not known, or Blender holds its action fast.
    """
    check_writable(armature)
    return match_bones(armature)


def check_writable(armature: bpy.types.Object) -> None:
    """Make sure that an action can be assigned to an armature object.

    Raises:
        RigError: Blender holds its action fast, or the object is linked without an override.
    """
    animation = armature.animation_data
    if animation is not None and animation.use_tweak_mode:
        raise RigError(
            f"An NLA strip of '{armature.name}' is being tweaked: leave tweak mode (Tab in the "
            "Nonlinear Animation editor), then generate again"
        )
    if not armature.is_editable:
        raise RigError(
            f"'{armature.name}' is linked from another file: make a library override of it "
            "(Object > Library Override > Make), then generate again"
        )


def scene_frames(motion: RigMotion, start_frame: float, scene: bpy.types.Scene) -> np.ndarray:
    """The scene frame (T,) of each frame of a motion."""
    render = scene.render
    scene_fps = render.fps / render.fps_base
    num_frames = len(motion.bone_keys[0].rotation)
    return start_frame + np.arange(num_frames) * (scene_fps / motion.fps)


def _action_name(provenance: Mapping[str, Any]) -> str:
    words = (provenance.get("prompt"), provenance.get("strip"))
    name = next((str(word).strip() for word in words if word), "") or "Marey Motion"
    return name.encode()[:_MAX_NAME].decode(errors="ignore")


def _new_action(armature: bpy.types.Object, name: str) -> bpy.types.Action:
    animation = armature.animation_data or armature.animation_data_create()
    if animation.action is not None:
        animation.action.use_fake_user = True
    return bpy.data.actions.new(name)


def _curves_in_use(armature: bpy.types.Object) -> Any:
    """What holds the F-curves of the action that an armature object has now; None without."""
    animation = armature.animation_data
    if animation is None or animation.action is None:
        return None
    return curves_of(animation.action)


def curves_of(action: bpy.types.Action) -> Any:
    """What holds the F-curves and groups of an action, of its first slot; None where none does."""
    if not IS_LAYERED:
        return action
    bags = (
        bag
        for layer in action.layers
        for strip in layer.strips
        if (bag := strip.channelbag(action.slots[0])) is not None
    )
    return next(bags, None) if len(action.slots) else None


def empty_curves(action: bpy.types.Action, slot_name: str, *, id_type: str = "OBJECT") -> Any:
    """What holds the F-curves and groups of a new action for an object, or for another block."""
    if not IS_LAYERED:
        return action
    slot = action.slots.new(id_type, slot_name)
    strip = action.layers.new("Layer").strips.new(type="KEYFRAME")
    return strip.channelbag(slot, ensure=True)


def _assign(armature: bpy.types.Object, action: bpy.types.Action) -> Any:
    """Make the action the armature's; return what holds its F-curves and groups."""
    curves = empty_curves(action, armature.name)
    assign_action(armature, action)
    return curves


def assign_action(armature: bpy.types.ID, action: bpy.types.Action, slot: str = "") -> None:
    """Make an action the armature's, by the slot of this identifier, else by its first one."""
    animation = armature.animation_data or armature.animation_data_create()
    animation.action = action
    if IS_LAYERED and len(action.slots):
        # Without a slot the curves do nothing.
        animation.action_slot = action.slots.get(slot) or action.slots[0]


class _CurveWriter:
    """Fills F-curves in bulk: one call per curve, never one per key."""

    def __init__(self, curves: Any, frames: np.ndarray, interpolation: str) -> None:
        self._curves = curves
        self._frames = frames
        self._interpolation = interpolation

    def write_bone(self, keys: BoneKeys) -> None:
        base = f'pose.bones["{_escaped(keys.bone)}"]'
        group = self._group(keys.bone)
        if keys.location is not None:
            self._write(group, f"{base}.location", keys.location)
        self._write(group, f"{base}.{keys.data_path}", keys.rotation)

    def write_object(self, armature: bpy.types.Object, matrices: np.ndarray) -> None:
        group = self._group("Object Transforms")
        for data_path, values in object_channels(armature, matrices).items():
            self._write(group, data_path, values)

    def write(self, group: str, data_path: str, values: np.ndarray) -> None:
        """Values (T, C) of a data path."""
        self._write(self._group(group), data_path, values)

    def write_rest(self, armature: bpy.types.Object, bone: str) -> None:
        """Hold a bone in its rest pose."""
        for name, values in rest_channels(armature, bone).items():
            self.write_constant(bone, f'pose.bones["{_escaped(bone)}"].{name}', values)

    def write_constant(self, bone: str, data_path: str, values: Sequence[float]) -> None:
        """One key for each value of a bone's channel."""
        for index, value in enumerate(values):
            curve = self._curves.fcurves.new(data_path, index=index)
            curve.group = self._group(bone)
            curve.keyframe_points.add(1)
            curve.keyframe_points.foreach_set("co", [self._frames[0], value])
            curve.keyframe_points.foreach_set("interpolation", [_INTERPOLATION["CONSTANT"]])
            curve.update()

    def _group(self, name: str) -> Any:
        return self._curves.groups.get(name) or self._curves.groups.new(name)

    def _write(self, group: Any, data_path: str, values: np.ndarray) -> None:
        points = np.empty((len(self._frames), 2), dtype=np.float32)
        points[:, 0] = self._frames
        kinds = np.full(len(self._frames), _INTERPOLATION[self._interpolation], dtype=np.uint8)
        # Rounded, and -0.0 made 0.0: NumPy's last bits differ with where arrays lie in memory, and
        # values near zero would show them. Single precision keeps no more of a rotation anyway.
        rounded = np.round(values, 7) + 0.0
        for index in range(values.shape[1]):
            points[:, 1] = rounded[:, index]
            curve = self._curves.fcurves.new(data_path, index=index)
            curve.group = group  # the argument of new() for it differs between versions
            curve.keyframe_points.add(len(points))
            curve.keyframe_points.foreach_set("co", points.ravel())
            curve.keyframe_points.foreach_set("interpolation", kinds)
            curve.update()


def object_channels(armature: bpy.types.Object, matrices: np.ndarray) -> dict[str, np.ndarray]:
    """Location and rotation channels, by data path, that give an object world matrices (T, 4, 4).

    They act between what the object hangs on, a parent or its delta transforms, and its scale.
    """
    own = np.array(armature.matrix_basis, dtype=np.float64)
    before = np.array(armature.matrix_world, dtype=np.float64) @ np.linalg.inv(own)
    basis = np.linalg.inv(before) @ matrices
    location = basis[:, :3, 3] - np.array(armature.delta_location)
    # The scale is the object's own and stays: rotation = basis with the scale taken off again.
    turn = basis[:, :3, :3] @ np.linalg.inv(own[:3, :3]) @ _rotation_of(armature)
    mode = armature.rotation_mode
    if mode == "QUATERNION":
        delta = np.array(armature.delta_rotation_quaternion.to_matrix(), dtype=np.float64)
        rotation = continuous_quaternions(matrix_to_quaternion(delta.T @ turn))
        return {"location": location, "rotation_quaternion": rotation}
    if mode == "AXIS_ANGLE":
        return {"location": location, "rotation_axis_angle": matrix_to_axis_angle(turn)}
    delta = np.array(armature.delta_rotation_euler.to_matrix(), dtype=np.float64)
    return {"location": location, "rotation_euler": matrix_to_euler(delta.T @ turn, mode)}


def _rotation_of(armature: bpy.types.Object) -> np.ndarray:
    """The rotation (3, 3) of the object's own channels and deltas, without its scale."""
    columns = np.array(armature.matrix_basis, dtype=np.float64)[:3, :3]
    scale = np.array(armature.scale) * np.array(armature.delta_scale)
    return columns / scale


def _escaped(name: str) -> str:
    return bpy.utils.escape_identifier(name)


def _write_provenance(
    action: bpy.types.Action, provenance: Mapping[str, Any], motion: RigMotion
) -> None:
    for key in _SHOWN_PROVENANCE:
        value = provenance.get(key)
        if isinstance(value, int) and not -(2**31) <= value < 2**31:
            value = str(value)  # an integer property has 32 bits; seeds may have more
        if value is not None:
            action[key] = value
    report = motion.report.to_dict()
    whole = {**provenance, "bone_map": motion.report.mapping, "retarget": report}
    action[PROVENANCE_KEY] = json.dumps(whole, ensure_ascii=False, sort_keys=True)
