"""Export one action of one armature as BVH, FBX or glTF: the motion only, no meshes.

Blender's exporters take what is selected, assigned and in the scene's range; all of that is set
for the time of the export and put back. Other actions and NLA tracks play no part.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Generator
from pathlib import Path
from typing import Any

import bpy

from .bvh_export import write_bvh

ENDINGS = (".bvh", ".fbx", ".glb")
_ADDONS = {".fbx": "FBX format", ".glb": "glTF 2.0 format"}
_OPERATORS = {".fbx": ("export_scene", "fbx"), ".glb": ("export_scene", "gltf")}


class ExportError(RuntimeError):
    """A motion that can't be exported; the message says why, in a line."""


def export_motion(armature: bpy.types.Object, action: bpy.types.Action, path: Path) -> None:
    """Write the motion of an action on an armature object to a file of one of ENDINGS.

    The file appears whole or not at all; what has its name is replaced. The file's first frame is
    the action's first.

    Raises:
        ExportError: the armature, Blender or the folder do not let it.
    """
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise ExportError(f"{path} ends in {ending or 'nothing'}, needs {', '.join(ENDINGS)}")
    partial = path.with_name(f"{path.stem}.partial{ending}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(armature, action) as frames:
            _write(armature, frames, partial)
        partial.replace(path)
    except OSError as error:
        raise ExportError(f"{path} can't be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def action_frames(action: bpy.types.Action) -> range:
    """The whole frames of the scene that an action covers."""
    first, last = action.frame_range
    return range(math.floor(first), math.ceil(last) + 1)


def _write(armature: bpy.types.Object, frames: range, path: Path) -> None:
    scene = bpy.context.scene
    ending = path.suffix.lower()
    if ending == ".bvh":
        write_bvh(armature, frames, path, fps=scene.render.fps / scene.render.fps_base)
        return
    group, name = _OPERATORS[ending]
    # Operators of add-ons that are off are there by name, but have no type.
    if not hasattr(bpy.types, f"{group.upper()}_OT_{name}"):
        raise ExportError(
            f"Blender's exporter for {ending} is off: switch on the add-on {_ADDONS[ending]}"
        )
    options = _fbx_options(armature) if ending == ".fbx" else _gltf_options(armature)
    operator = getattr(getattr(bpy.ops, group), name)
    known = operator.get_rna_type().properties.keys()
    try:
        with _for_operator(armature, frames):
            operator(filepath=str(path), **{key: options[key] for key in options if key in known})
    except ExportError:
        raise
    except RuntimeError as error:
        lines = [line for line in str(error).splitlines() if not line.startswith("Location:")]
        reason = lines[-1].strip() if lines else "no word why"
        raise ExportError(f"Blender's exporter for {ending} failed: {reason}") from error
    if not path.is_file():
        raise ExportError(f"Blender's exporter for {ending} wrote nothing")


def _fbx_options(armature: bpy.types.Object) -> dict[str, Any]:
    return {
        "check_existing": False,
        "use_selection": True,
        "object_types": {"ARMATURE"},
        "add_leaf_bones": False,
        "use_armature_deform_only": _has_controls(armature),
        "bake_anim": True,
        "bake_anim_use_all_bones": True,
        "bake_anim_use_nla_strips": False,
        "bake_anim_use_all_actions": False,
        "bake_anim_force_startend_keying": True,
        "bake_anim_step": 1.0,
        "bake_anim_simplify_factor": 0.0,
    }


def _gltf_options(armature: bpy.types.Object) -> dict[str, Any]:
    return {
        "check_existing": False,
        "export_format": "GLB",
        "use_selection": True,
        "export_materials": "NONE",
        "export_cameras": False,
        "export_lights": False,
        "export_animations": True,
        "export_animation_mode": "ACTIVE_ACTIONS",
        "export_nla_strips_merged_animation_name": armature.animation_data.action.name,
        "export_anim_slide_to_zero": True,
        "export_frame_range": True,
        "export_force_sampling": True,
        "export_frame_step": 1,
        "export_optimize_animation_size": False,
        "export_def_bones": _has_controls(armature),
    }


def _has_controls(armature: bpy.types.Object) -> bool:
    """Some bones deform and some don't: then those that do are the skeleton."""
    return len({bone.use_deform for bone in armature.data.bones}) > 1


@contextlib.contextmanager
def _alone(armature: bpy.types.Object, action: bpy.types.Action) -> Generator[range]:
    """Have Blender show nothing but this action on this armature, and give its frames."""
    frames = action_frames(action)
    with contextlib.ExitStack() as undo:
        _assign(armature, action, undo)
        scene = bpy.context.scene
        now = (scene.frame_current, scene.frame_subframe)
        undo.callback(lambda: scene.frame_set(now[0], subframe=now[1]))
        yield frames


@contextlib.contextmanager
def _for_operator(armature: bpy.types.Object, frames: range) -> Generator[None]:
    """Have Blender's own exporters see the armature alone, in these frames."""
    scene = bpy.context.scene
    windows = bpy.context.window_manager.windows
    with contextlib.ExitStack() as undo:
        # `blender --command` has no window in its context, and so no active or selected objects.
        if bpy.context.window is None and len(windows):
            undo.enter_context(bpy.context.temp_override(window=windows[0]))
        _select(armature, undo)
        _set(scene, "use_preview_range", False, undo)
        undo.callback(_set_range, scene, scene.frame_start, scene.frame_end)
        _set_range(scene, frames[0], frames[-1])
        if scene.frame_start != frames[0]:
            raise ExportError(
                f"The motion begins at frame {frames[0]}: only BVH can begin before 0"
            )
        scene.frame_set(frames[0])
        yield


def _set_range(scene: bpy.types.Scene, first: int, last: int) -> None:
    """Each end pushes the other along, so the first is set twice."""
    scene.frame_start = first
    scene.frame_end = last
    scene.frame_start = first


def _assign(
    armature: bpy.types.Object, action: bpy.types.Action, undo: contextlib.ExitStack
) -> None:
    animation = armature.animation_data or armature.animation_data_create()
    if animation.use_tweak_mode:
        raise ExportError(f"An NLA strip of '{armature.name}' is being tweaked: leave tweak mode")
    before, has_slots = animation.action, hasattr(animation, "action_slot")
    slot = animation.action_slot if has_slots else None

    def put_back() -> None:
        animation.action = before
        if before is not None and has_slots:
            animation.action_slot = slot

    undo.callback(put_back)
    if before != action:
        animation.action = action
    if has_slots and animation.action_slot is None and len(action.slots):
        animation.action_slot = action.slots[0]
    _set(animation, "use_nla", False, undo)


def _select(armature: bpy.types.Object, undo: contextlib.ExitStack) -> None:
    layer = bpy.context.view_layer
    layer.update()
    if armature.name not in layer.objects:
        raise ExportError(f"'{armature.name}' is not in the scene's view layer: it can't be seen")
    active, mode = layer.objects.active, bpy.context.mode
    if mode != "OBJECT" and active is not None:
        kind = active.mode
        bpy.ops.object.mode_set(mode="OBJECT")
        undo.callback(lambda: bpy.ops.object.mode_set(mode=kind))
    for name in ("hide_select", "hide_viewport"):
        _set(armature, name, False, undo)
    if armature.hide_get():
        armature.hide_set(False)
        undo.callback(armature.hide_set, True)
    selected = [one for one in layer.objects if one.select_get()]

    def put_back() -> None:
        armature.select_set(False)
        for one in selected:
            one.select_set(True)
        layer.objects.active = active

    undo.callback(put_back)
    for one in selected:
        one.select_set(False)
    armature.select_set(True)
    layer.objects.active = armature
    if not armature.select_get():
        raise ExportError(f"'{armature.name}' is hidden with its collection: show that first")


def _set(owner: Any, name: str, value: object, undo: contextlib.ExitStack) -> None:
    """Set a property until the end."""
    before = getattr(owner, name)
    if before != value:
        undo.callback(setattr, owner, name, before)
        setattr(owner, name, value)
