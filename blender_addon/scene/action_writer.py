"""Write a motion as an action. The only file that knows F-curves.

Each motion gets an action of its own; an action that was there before stays in the file, kept by a
fake user, and none of its keys is touched. Blender 4.4 put F-curves into the channelbag of an
action's slot, and 5.0 took them off the action itself.
"""

from __future__ import annotations

import json
from typing import Any

import bpy
import numpy as np

from ..protocol import JobResult
from ..rig.bone_maps import BoneMatch, RigError
from ..rig.channels import BoneKeys
from ..rig.retarget import RigMotion, retarget
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
    result: JobResult,
    *,
    start_frame: float,
    interpolation: str = "LINEAR",
    plant_feet: bool = True,
) -> bpy.types.Action:
    """Retarget a result onto an armature object and key it in a new action.

    The action begins at start_frame of the scene and keeps the motion's own time, whatever the
    scene's frame rate is.

    Raises:
        RigError: the armature can't be keyed, as by match_target; nothing has been written then.
    """
    match = match_target(armature)
    motion = retarget(result, read_rig(armature), match, plant_feet=plant_feet)
    provenance: dict[str, Any] = json.loads(result.provenance)
    action = _new_action(armature, _action_name(provenance))
    curves = _assign(armature, action)
    frames = scene_frames(motion, start_frame)
    writer = _CurveWriter(curves, frames, interpolation)
    for keys in motion.bone_keys:
        writer.write_bone(keys)
    for bone, name, value in motion.properties:
        if name in armature.pose.bones[bone]:
            writer.write_constant(bone, f'pose.bones["{bone}"]["{name}"]', value)
    _write_provenance(action, provenance, motion)
    return action


def match_target(armature: bpy.types.Object) -> BoneMatch:
    """The bone map that fits an armature object which can be keyed now.

    Raises:
        RigError: its bones are not known, or Blender holds its action fast.
    """
    animation = armature.animation_data
    if animation is not None and animation.use_tweak_mode:
        raise RigError(
            f"An NLA strip of '{armature.name}' is being tweaked: leave tweak mode (Tab in the "
            "Nonlinear Animation editor), then generate again"
        )
    return match_bones(armature)


def scene_frames(motion: RigMotion, start_frame: float) -> np.ndarray:
    """The scene frame (T,) of each frame of a motion."""
    render = bpy.context.scene.render
    scene_fps = render.fps / render.fps_base
    num_frames = len(motion.bone_keys[0].rotation)
    return start_frame + np.arange(num_frames) * (scene_fps / motion.fps)


def _action_name(provenance: dict[str, Any]) -> str:
    name = str(provenance.get("prompt", "")).strip() or "Marey Motion"
    return name.encode()[:_MAX_NAME].decode(errors="ignore")


def _new_action(armature: bpy.types.Object, name: str) -> bpy.types.Action:
    animation = armature.animation_data or armature.animation_data_create()
    if animation.action is not None:
        animation.action.use_fake_user = True
    return bpy.data.actions.new(name)


def _assign(armature: bpy.types.Object, action: bpy.types.Action) -> Any:
    """Make the action the armature's; return what holds its F-curves and groups."""
    animation = armature.animation_data
    if not IS_LAYERED:
        animation.action = action
        return action
    slot = action.slots.new(armature.id_type, armature.name)
    strip = action.layers.new("Layer").strips.new(type="KEYFRAME")
    animation.action = action
    animation.action_slot = slot  # without this the curves do nothing
    return strip.channelbag(slot, ensure=True)


class _CurveWriter:
    """Fills F-curves in bulk: one call per curve, never one per key."""

    def __init__(self, curves: Any, frames: np.ndarray, interpolation: str) -> None:
        self._curves = curves
        self._frames = frames
        self._interpolation = interpolation

    def write_bone(self, keys: BoneKeys) -> None:
        base = f'pose.bones["{bpy.utils.escape_identifier(keys.bone)}"]'
        group = self._group(keys.bone)
        if keys.location is not None:
            self._write(group, f"{base}.location", keys.location)
        self._write(group, f"{base}.{keys.data_path}", keys.rotation)

    def write_constant(self, bone: str, data_path: str, value: float) -> None:
        curve = self._curves.fcurves.new(data_path)
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
        for index in range(values.shape[1]):
            points[:, 1] = values[:, index]
            curve = self._curves.fcurves.new(data_path, index=index)
            curve.group = group  # the argument of new() for it differs between versions
            curve.keyframe_points.add(len(points))
            curve.keyframe_points.foreach_set("co", points.ravel())
            curve.keyframe_points.foreach_set("interpolation", kinds)
            curve.update()


def _write_provenance(
    action: bpy.types.Action, provenance: dict[str, Any], motion: RigMotion
) -> None:
    for key in _SHOWN_PROVENANCE:
        value = provenance.get(key)
        if isinstance(value, int) and not -(2**31) <= value < 2**31:
            value = str(value)  # an integer property has 32 bits; seeds may have more
        if value is not None:
            action[key] = value
    whole = {**provenance, "bone_map": motion.map_name}
    action[PROVENANCE_KEY] = json.dumps(whole, ensure_ascii=False, sort_keys=True)
