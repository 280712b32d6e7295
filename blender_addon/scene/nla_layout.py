"""Motions as strips of the Nonlinear Animation editor."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import Any

import bpy
import numpy as np

from .action_writer import IS_LAYERED, PROVENANCE_KEY, curves_of, empty_curves
from .takes import provenance_of


def push_down(
    armature: bpy.types.Object,
    action: bpy.types.Action,
    *,
    start_frame: int,
    strip_per_prompt: bool = False,
) -> list[bpy.types.NlaStrip]:
    """Lay the character's action out on a new NLA track above the others, from a frame on.

    With strip_per_prompt, a motion of several prompts becomes a strip and an action for each; they
    share the frame at which one ends and the next begins, so nothing jumps.
    """
    parts = split_by_prompt(action, armature.name) if strip_per_prompt else []
    animation = armature.animation_data
    animation.action = None
    tracks = animation.nla_tracks
    has_others = any(track.strips for track in tracks)
    track = tracks.new(prev=tracks[-1] if tracks else None)
    track.name = action.name
    first_frame = action.frame_range[0]
    strips = []
    for part in parts or [action]:
        begin = start_frame + math.ceil(part.frame_range[0] - first_frame - 1e-3)
        strip = track.strips.new(part.name, begin, part)
        _set_up(strip, part)
        strip.extrapolation = "NOTHING" if has_others else "HOLD"
        strips.append(strip)
    if not has_others:
        for strip in strips[1:]:
            strip.extrapolation = "HOLD_FORWARD"
    if parts:
        bpy.data.actions.remove(action)
    return strips


def push_down_as_it_is(armature: bpy.types.Object) -> None:
    """Push the character's own action down at its own frames: it goes on as it was."""
    animation = armature.animation_data
    action = animation.action if animation is not None else None
    if action is None:
        return
    curves = curves_of(action)
    if curves is None or not len(curves.fcurves):
        animation.action = None
        return
    slot = animation.action_slot if IS_LAYERED else None
    has_others = any(track.strips for track in animation.nla_tracks)
    begin = int(np.floor(action.frame_range[0]))
    track = animation.nla_tracks.new(
        prev=animation.nla_tracks[-1] if animation.nla_tracks else None
    )
    track.name = action.name
    strip = track.strips.new(action.name, begin, action)
    animation.action = None
    _set_up(strip, action, slot)
    strip.extrapolation = "HOLD_FORWARD" if has_others else "HOLD"


def split_by_prompt(action: bpy.types.Action, slot_name: str) -> list[bpy.types.Action]:
    """A new action for each prompt of a motion of several; [] for a motion of one."""
    provenance = provenance_of(action)
    prompts = provenance.get("prompts")
    curves = curves_of(action)
    if not isinstance(prompts, list) or len(prompts) < 2 or curves is None:
        return []
    frames = _key_frames(curves)
    first, last = frames[0], frames[-1]
    lengths = np.array([float(part["num_frames"]) for part in prompts])
    # The last frame of the motion is one before its length: its marks are stretched onto the keys.
    ends = np.minimum(np.cumsum(lengths), lengths.sum() - 1)
    marks = first + np.concatenate([[0.0], ends]) / (lengths.sum() - 1) * (last - first)
    marks = frames[np.abs(frames[:, None] - marks).argmin(axis=0)]  # where keys are
    return [
        _part(action, curves, slot_name, str(part["prompt"]), float(begin), float(end))
        for part, (begin, end) in zip(prompts, pairwise(marks), strict=True)
    ]


def _key_frames(curves: Any) -> np.ndarray:
    """The frames (T,) at which the curve with most keys has them."""
    longest = max((curve.keyframe_points for curve in curves.fcurves), key=len)
    points = np.empty((len(longest), 2), dtype=np.float32)
    longest.foreach_get("co", points.ravel())
    return points[:, 0]


def _part(
    action: bpy.types.Action, curves: Any, slot_name: str, name: str, begin: float, end: float
) -> bpy.types.Action:
    """A copy of an action's keys from one frame to another, both included."""
    part = bpy.data.actions.new(name)
    copied = empty_curves(part, slot_name)
    for curve in curves.fcurves:
        points = np.empty((len(curve.keyframe_points), 2), dtype=np.float32)
        kinds = np.empty(len(points), dtype=np.uint8)
        curve.keyframe_points.foreach_get("co", points.ravel())
        curve.keyframe_points.foreach_get("interpolation", kinds)
        inside = (points[:, 0] >= begin - 1e-3) & (points[:, 0] <= end + 1e-3)
        if not inside.any():  # a property with one key, at the beginning
            points, kinds = points[:1].copy(), kinds[:1]
            points[:, 0] = begin
            inside = np.ones(1, dtype=bool)
        written = copied.fcurves.new(curve.data_path, index=curve.array_index)
        if curve.group is not None:
            name_of = curve.group.name
            written.group = copied.groups.get(name_of) or copied.groups.new(name_of)
        written.keyframe_points.add(int(inside.sum()))
        written.keyframe_points.foreach_set("co", np.ascontiguousarray(points[inside]).ravel())
        written.keyframe_points.foreach_set("interpolation", kinds[inside])
        written.update()
    for key in action.keys():  # noqa: SIM118 - an action is no dict
        part[key] = action[key]
    part["prompt"] = name
    whole = {**provenance_of(action), "part": name}
    part[PROVENANCE_KEY] = json.dumps(whole, ensure_ascii=False, sort_keys=True)
    return part


def _set_up(strip: bpy.types.NlaStrip, action: bpy.types.Action, slot: Any = None) -> None:
    """What a strip made by a script lacks: the action's slot, and an influence."""
    if IS_LAYERED and len(action.slots):
        strip.action_slot = slot or action.slots[0]
    strip.blend_type = "REPLACE"
    strip.use_animated_influence = False
    strip.influence = 1.0
