"""Motion from another armature, or from a BVH file, onto an armature: for panel and scripts.

from blender_addon.scene.retarget_source import retarget_armature, retarget_file

action = retarget_armature(bpy.data.objects["Walk BVH"], bpy.data.objects["rig"])
action = retarget_file(Path("walk.bvh"), bpy.data.objects["rig"], start_frame=1)
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import bpy

from ..rig.armature_motion import AnimatedRig, ReadSource, SourceError, read_source
from ..rig.bone_match import BoneMatch, RigError
from ..rig.bvh_source import read_bvh
from ..rig.resampling import resampled
from ..rig.target_rig import TargetRig
from . import action_writer, target
from .armature_source import action_frames, sample_armature

_SURE = 0.85  # a source whose least sure joint is below this is said to be checked


@dataclass(frozen=True, kw_only=True)
class Retargeted:
    """An action that was written, and what the user should know, a sentence each."""

    action: bpy.types.Action
    notes: tuple[str, ...]


def retarget_armature(
    source: bpy.types.Object,
    armature: bpy.types.Object,
    *,
    frames: Sequence[int] | None = None,
    start_frame: float | None = None,
    report: Callable[[int], None] = lambda done: None,
) -> Retargeted:
    """Give an armature object the motion of another one, as a new action.

    Args:
        source: the animated armature object; its own panel settings say which bones are which.
        armature: who gets the motion, by its own settings.
        frames: frames of the scene to take; None takes those that are keyed on the source.
        start_frame: where the action begins; None is the first of `frames`.
        report: called with the number of frames that are read.

    Raises:
        SourceError: nothing is animated there, or it can't be read.
        RigError: the bones of either are not known, or the armature can't be keyed.
    """
    if source == armature:
        raise SourceError("Source and target are the same armature: choose another source")
    if frames is None:
        span = action_frames(source)
        if span is None:
            raise SourceError(f"'{source.name}' has no keys: choose an animated armature")
        frames = range(span[0], span[1] + 1)
    match = target.find_match(armature)
    action_writer.check_writable(armature)
    read = _read_armature(source, sample_armature(source, frames, report=report))
    action = source.animation_data.action if source.animation_data else None
    origin = {
        "object": source.name,
        "action": action.name if action is not None else "",
        "file": source.library.name if source.library is not None else "",
        "frames": [frames[0], frames[-1]],
    }
    name = action.name if action is not None else source.name
    start = frames[0] if start_frame is None else start_frame
    return _write(armature, match, read, origin, name, start)


def retarget_file(
    path: Path,
    armature: bpy.types.Object,
    *,
    start_frame: float,
    first_frame: int = 1,
    on_frames: bool = True,
) -> Retargeted:
    """Give an armature object the motion of a BVH file, as a new action.

    Args:
        path: the file.
        armature: who gets the motion, by its own settings.
        start_frame: frame of the scene where the action begins.
        first_frame: of the file, counted from 1; what is before it is left out.
        on_frames: keys on whole frames of the scene; off: one for each frame of the file.

    Raises:
        SourceError: the file can't be read.
        RigError: the bones of either are not known, or the armature can't be keyed.
    """
    match = target.find_match(armature)
    action_writer.check_writable(armature)
    read = _read(read_bvh(path), path.name)
    motion, last = read.motion, read.motion.num_frames
    if first_frame > last:
        raise SourceError(f"{path.name} has {last} frames: begin before frame {first_frame}")
    origin = {"file": path.name, "frames": [first_frame, last], "fps": motion.fps}
    since = slice(first_frame - 1, None)
    motion = replace(
        motion,
        positions=motion.positions[since],
        rotations=motion.rotations[since],
        contacts=motion.contacts[since],
    )
    if on_frames:
        render = bpy.context.scene.render
        motion = resampled(motion, render.fps / render.fps_base)
    return _write(armature, match, replace(read, motion=motion), origin, path.stem, start_frame)


def _read_armature(source: bpy.types.Object, animated: AnimatedRig) -> ReadSource:
    """Read an armature by its own settings; a control rig by the bones that its meshes follow."""
    settings = target.settings_of(source)
    is_chosen = bool(target.picks_of(source) or (settings is not None and settings.mapping_json))

    def find(rig: TargetRig) -> BoneMatch:
        return target.find_match(source) if is_chosen else target.recognise_rig(rig)

    found = target.find_target(source).match
    has_controls = not is_chosen and bool(found.properties or found.ik is not None)
    if has_controls:
        # Its FK controls stand still where IK or other controls are keyed.
        deforming = [bone.name for bone in source.data.bones if bone.use_deform]
        with contextlib.suppress(RigError):
            return read_source(animated.only(deforming), target.recognise_rig)
    try:
        read = read_source(animated, find)
    except RigError as error:
        raise _source_error(source.name, error) from error
    if not has_controls:
        return read
    note = "The source was read by its FK controls: limbs that are keyed by IK stand still"
    return replace(read, notes=(*read.notes, note))


def _read(animated: AnimatedRig, name: str) -> ReadSource:
    try:
        return read_source(animated, target.recognise_rig)
    except RigError as error:
        raise _source_error(name, error) from error


def _source_error(name: str, error: RigError) -> SourceError:
    return SourceError(f"The source '{name}' can't be used: {error}")


def _write(
    armature: bpy.types.Object,
    match: BoneMatch,
    read: ReadSource,
    origin: dict[str, Any],
    name: str,
    start_frame: float,
) -> Retargeted:
    notes = read.notes
    if read.match.overall_confidence < _SURE:
        notes = (
            *notes,
            f"The bones of the source are probably {read.match.map_name}: check the result",
        )
    provenance = {
        "source": {**origin, "rig": read.match.map_name},
        "source_notes": list(notes),
    }
    action = action_writer.write_action(
        armature,
        read.motion,
        start_frame=start_frame,
        options=target.options_of(armature),
        match=match,
        provenance=provenance,
    )
    action.name = name
    return Retargeted(action=action, notes=notes)
