"""Feet on the floor: where they go by foot_plants, legs by leg_ik, hips lowered where they must be.

Figure space (see blender_addon.rig). Shape letters: T frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from .foot_plants import FootPath, FootPose, ease, plan_foot, runs
from .leg_ik import LegPose, pelvis_drop, solve_leg
from .moving_rig import MovingRig
from .retarget_options import RetargetOptions
from .rotations import FloatArray, cross, turn_about_axes, unit
from .source_motion import SIDES, SourceMotion
from .target_figure import TargetFigure, leg_length

CONTACT_COLUMNS = {"left": [0, 1], "right": [2, 3]}  # ankle, toe
_DROP_SMOOTHING_S = 0.1  # the hips come down for a planted foot over this time, not at once
_SHIFT_SMOOTHING_S = 0.1
_MAX_SHIFT = 0.1  # of a leg's length, up or down, to meet the floor with the knees as they are
_TOUCHING = 0.02  # of a leg's length: a foot that the floor raises so far counts as standing
_MAX_ROLL = np.radians(40.0)  # of a foot over its toes, to keep the hips up
_REACHING_STEPS = 8  # each settles the frame that is the furthest out of reach
_REACHING_EASE_S = 0.3


def plant_feet(
    moving: MovingRig, source: SourceMotion, target: TargetFigure, options: RetargetOptions
) -> FloatArray:
    """Bend the legs so that the feet stay on the floor.

    Straight legs change much for little, so the hips give way first: they follow the floor under
    the standing feet, and come down where a leg is too short; a foot that only stands on its
    toes rolls over them before that.

    Returns:
        how far the hips have come down for legs that are too short, (T,) metres.
    """
    if not (options.plant_feet or options.plant_toes or options.keep_above_floor):
        return np.zeros(moving.num_frames)
    paths = _plan(moving, source, target, options)
    shift = _hips_shift(moving, target, paths, round(_SHIFT_SMOOTHING_S * source.fps))
    if shift.any():
        moving.move_by(shift[:, None] * (0.0, 1.0, 0.0))
        paths = _plan(moving, source, target, options)
    drops = [_needed_drop(_leg_pose(moving, target, s), p, target, s) for s, p in paths.items()]
    drop = _smooth_from_above(np.maximum(*drops), round(_DROP_SMOOTHING_S * source.fps))
    if drop.any():
        moving.move_by(drop[:, None] * (0.0, -1.0, 0.0))
        paths = _plan(moving, source, target, options)  # a foot that swings goes along
    for side, path in paths.items():
        leg = _leg_pose(moving, target, side)
        reached = _within_reach(leg, _rolled(leg, path, target, side), source.fps)
        _bend_leg(moving, target, side, reached)
    return drop


def _plan(
    moving: MovingRig, source: SourceMotion, target: TargetFigure, options: RetargetOptions
) -> dict[str, FootPath]:
    return {side: plan_foot(_foot_pose(moving, source, target, side, options)) for side in SIDES}


def _hips_shift(
    moving: MovingRig, target: TargetFigure, paths: Mapping[str, FootPath], radius: int
) -> FloatArray:
    """How far up (T,) the hips go so that standing legs keep their bend, and smoothly between."""
    total, count = np.zeros(moving.num_frames), np.zeros(moving.num_frames)
    for side, path in paths.items():
        leg = _leg_pose(moving, target, side)
        span = np.linalg.norm(leg.ankle - leg.hip, axis=-1)
        across = np.linalg.norm((leg.hip - path.ankle)[:, [0, 2]], axis=-1)
        height = np.sqrt(np.maximum(span**2 - across**2, (0.5 * span) ** 2))
        touching = np.clip(path.lift / (_TOUCHING * leg_length(target.points)), 0.0, 1.0)
        weight = np.maximum(path.stands, touching)
        total += weight * (path.ankle[:, 1] + height - leg.hip[:, 1])
        count += weight
    known = np.flatnonzero(count)
    if len(known) == 0:
        return total
    limit = _MAX_SHIFT * leg_length(target.points)
    shifts = np.clip(total[known] / count[known], -limit, limit)
    return _smoothed(np.interp(np.arange(moving.num_frames), known, shifts), radius)


def _needed_drop(leg: LegPose, path: FootPath, target: TargetFigure, side: str) -> FloatArray:
    """How far the hips must come down (T,) for the foot to stand where it is to."""
    highest = _roll(path, target, side, np.where(path.ankle_stands, 0.0, _MAX_ROLL))
    drop = np.minimum(pelvis_drop(leg, path.ankle), pelvis_drop(leg, highest.ankle))
    return np.where(path.stands, drop, 0.0)


def _rolled(leg: LegPose, path: FootPath, target: TargetFigure, side: str) -> FootPath:
    """The path with the foot rolled over its toes as far as the leg needs to reach.

    With d from toe to hip and e from toe to ankle the leg reaches where d.e is large enough; e
    turns about the foot's side axis, so that d.e is a sine of the angle and the first angle
    follows in closed form.
    """
    arm, axis = _toe_arm(path, target, side)
    to_hip = leg.hip - (path.ankle - arm)
    along = axis * np.sum(axis * arm, axis=-1, keepdims=True)
    across, turned = arm - along, cross(axis, arm)
    cosine, sine = np.sum(to_hip * across, axis=-1), np.sum(to_hip * turned, axis=-1)
    needed = np.sum(to_hip**2, axis=-1) + np.sum(arm**2, axis=-1) - leg.reach**2
    needed = needed / 2 - np.sum(to_hip * along, axis=-1)
    largest = np.maximum(np.hypot(cosine, sine), 1e-9)
    angle = np.arctan2(sine, cosine) - np.arccos(np.clip(needed / largest, -1.0, 1.0))
    angle = np.where(needed > cosine, np.clip(angle, 0.0, _MAX_ROLL), 0.0)
    rolls = path.toe_stands & ~path.ankle_stands
    return _roll(path, target, side, np.where(rolls, angle, 0.0))


def _within_reach(leg: LegPose, path: FootPath, fps: float) -> FootPath:
    """The path with each stand moved towards the hips so far that the leg reaches it throughout.

    For legs that lie stretched: hips that come down don't help there, and a foot that can't be
    reached in one frame would slide.
    """
    offset = np.zeros_like(path.ankle)
    for start, stop in runs(path.stands):
        run = slice(start, stop)
        for _ in range(_REACHING_STEPS):
            way = leg.hip[run] - path.ankle[run] - offset[run]
            across = np.hypot(way[:, 0], way[:, 2])
            allowed = np.sqrt(np.maximum(leg.longest**2 - way[:, 1] ** 2, 0.0))
            worst = int(np.argmax(across - allowed))
            missing = across[worst] - allowed[worst]
            if missing <= 0:
                break
            offset[run] += way[worst] * (1.0, 0.0, 1.0) * missing / across[worst]
    if not offset.any():
        return path
    return replace(path, ankle=path.ankle + ease(offset, path.stands, fps, _REACHING_EASE_S))


def _roll(path: FootPath, target: TargetFigure, side: str, angle: FloatArray) -> FootPath:
    """The path with the heel lifted by angles (T,) about the toes, which stay."""
    if not angle.any():
        return path
    arm, axis = _toe_arm(path, target, side)
    turn = turn_about_axes(axis, angle)
    return replace(
        path,
        ankle=path.ankle - arm + (turn @ arm[..., None])[..., 0],
        rotation=turn @ path.rotation,
    )


def _toe_arm(path: FootPath, target: TargetFigure, side: str) -> tuple[FloatArray, FloatArray]:
    """From toe to ankle (T, 3), and the axis (T, 3) about which lifting the heel turns it."""
    arm = path.rotation @ (target.points[f"{side}_ankle"] - target.points[f"{side}_toe"])
    # Up from where the heel points; level, so that toes stay flat.
    axis = cross(arm * (1.0, 0.0, 1.0), np.broadcast_to([0.0, 1.0, 0.0], arm.shape))
    return arm, unit(axis)


def _foot_pose(
    moving: MovingRig,
    source: SourceMotion,
    target: TargetFigure,
    side: str,
    options: RetargetOptions,
) -> FootPose:
    ankle = target.bone(f"{side}_ankle")
    contacts = source.contacts[:, CONTACT_COLUMNS[side]] > 0.5
    if not options.plant_feet:
        contacts = np.zeros_like(contacts)
    toe = target.rig.index.get(target.match.bones.get(f"{side}_foot", ""), -1)
    return FootPose(
        ankle=moving.head(ankle),
        rotation=moving.rotations[ankle],
        ankle_contact=contacts[:, 0],
        toe_contact=contacts[:, 1],
        ankle_to_toe=target.points[f"{side}_toe"] - target.points[f"{side}_ankle"],
        ankle_height=float(target.points[f"{side}_ankle"][1]),
        fps=source.fps,
        leg_length=leg_length(target.points),
        toe_rotation=moving.rotations.get(toe),
        blend_s=options.blend_s,
        bends_toes=options.plant_toes,
        keeps_above_floor=options.keep_above_floor,
    )


def _leg_pose(moving: MovingRig, target: TargetFigure, side: str) -> LegPose:
    thigh = target.bone(f"{side}_hip")
    return LegPose(
        hip=moving.head(thigh),
        knee=moving.head(target.bone(f"{side}_knee")),
        ankle=moving.head(target.bone(f"{side}_ankle")),
        hinge=moving.rotations[thigh] @ target.frames[f"{side}_hip"][:, 1],
    )


def _bend_leg(moving: MovingRig, target: TargetFigure, side: str, path: FootPath) -> None:
    thigh_turn, shin_turn = solve_leg(_leg_pose(moving, target, side), path.ankle)
    thigh, shin = target.bone(f"{side}_hip"), target.bone(f"{side}_knee")
    turned = {
        thigh: thigh_turn @ moving.rotations[thigh],
        shin: shin_turn @ moving.rotations[shin],
        target.bone(f"{side}_ankle"): path.rotation,
    }
    if f"{side}_foot" in target.match.bones:
        turned[target.bone(f"{side}_foot")] = path.toe_rotation
    moving.turn(turned)


def _smooth_from_above(values: FloatArray, radius: int) -> FloatArray:
    """A smooth curve (T,) that is nowhere below `values`: widen the peaks, then average."""
    if radius < 1 or not values.any():
        return values
    padded = np.pad(values, radius, mode="edge")
    widened = np.lib.stride_tricks.sliding_window_view(padded, 2 * radius + 1).max(axis=-1)
    return _smoothed(widened, radius)


def _smoothed(values: FloatArray, radius: int) -> FloatArray:
    """Values (T,) averaged over `radius` frames to both sides."""
    if radius < 1:
        return values
    window = np.hanning(2 * radius + 3)[1:-1]
    padded = np.pad(values, radius, mode="edge")
    averaged = np.convolve(padded, window / window.sum(), mode="valid")
    return np.asarray(averaged, dtype=np.float64)
