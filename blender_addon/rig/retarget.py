"""Retarget: from the joints of a motion to the bones of a rig.

In this order: each bone turned as its joint is, rest poses aligned; the hips at their height by
the length of the legs; feet planted where the motion says that they stand; twist shared; the way
through the scene given to what shall carry it; everything as the channels that Blender keys. No
loop over frames.

Shape letters: T frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..protocol import JobResult
from .bone_match import BoneMatch
from .channels import BoneKeys, make_keys
from .ik_controls import control_keys
from .moving_rig import MovingRig
from .placement import Placement, find_placement
from .planting import plant_feet
from .retarget_figures import (
    REFERENCE_HEIGHT,
    FootFigures,
    LimbErrors,
    foot_figures,
    foot_points,
    limb_errors,
)
from .retarget_options import RetargetOptions, RootMode
from .retarget_report import RetargetReport
from .root_motion import carry, hips_of, move_to_floor, place_hips, stage_turn, staged
from .rotations import FloatArray
from .source_motion import SourceMotion, source_from_result
from .target_figure import TargetFigure, read_figure
from .target_rig import TargetRig
from .turned_rig import turned_rig
from .twist import share_twist

_NOTED_SLIDE_MM = 1.0  # per frame


@dataclass(frozen=True, kw_only=True, eq=False)
class RigMotion:
    """A motion as the keys of one rig, T frames."""

    fps: float
    bone_keys: tuple[BoneKeys, ...]
    properties: tuple[tuple[str, str, float], ...]  # bone, custom property, value
    report: RetargetReport
    object_matrices: FloatArray | None  # (T, 4, 4) to world, for RootMode.OBJECT
    foot_points: Mapping[str, FloatArray]  # left_ankle, left_foot ...: (T, 3) in figure space
    placement: Placement  # of the motion's own world in the scene


def retarget(
    motion: JobResult | SourceMotion,
    rig: TargetRig,
    match: BoneMatch,
    options: RetargetOptions | None = None,
) -> RigMotion:
    """Turn a motion into keys for a rig.

    Raises:
        RigError: the motion lacks joints that a body needs, or the rig the root bone asked for.
    """
    options = options or RetargetOptions()
    source = motion if isinstance(motion, SourceMotion) else source_from_result(motion)
    target = read_figure(rig, match)
    own, turn = source, stage_turn(source, target, options)
    source = staged(source, turn)
    moving = turned_rig(source, target)
    place_hips(moving, source, target, options)
    free_errors = limb_errors(moving, source, target)
    drop = plant_feet(moving, source, target, options)
    if options.share_twist:
        share_twist(moving, target)
    report = _report(moving, source, target, options, free_errors, drop)
    move_to_floor(moving, target, options.floor_z)
    points = foot_points(moving, target)
    hips = hips_of(moving, target)
    object_matrices = carry(moving, target, options, source.fps)
    if options.root is RootMode.IN_PLACE:
        hips = hips_of(moving, target)
    properties = match.properties
    keys = make_keys(moving, match.still_bones)
    if options.key_ik and match.ik is not None:
        keys = (*keys, *control_keys(moving, target, match.ik))
        properties = (*_without(properties, match.ik.properties), *match.ik.properties)
    return RigMotion(
        fps=source.fps,
        bone_keys=keys,
        properties=properties,
        report=report,
        object_matrices=object_matrices,
        foot_points=points,
        placement=find_placement(own, target, hips, turn=turn, options=options),
    )


def _without(
    properties: tuple[tuple[str, str, float], ...], others: tuple[tuple[str, str, float], ...]
) -> tuple[tuple[str, str, float], ...]:
    taken = {(bone, name) for bone, name, _ in others}
    return tuple(item for item in properties if item[:2] not in taken)


def _report(
    moving: MovingRig,
    source: SourceMotion,
    target: TargetFigure,
    options: RetargetOptions,
    free: LimbErrors,
    drop: FloatArray,
) -> RetargetReport:
    feet = foot_figures(moving, source, target)
    match = target.match
    return RetargetReport(
        mapping=match.map_name,
        unmapped_joints=match.unmapped_joints(),
        mean_direction_error=free.mean,
        max_direction_error=free.largest,
        max_direction_bone=free.bone,
        planted_direction_error=limb_errors(moving, source, target).largest,
        foot_slide_mm=feet.slide,
        mean_foot_slide_mm=feet.mean_slide,
        contact_share=feet.contact_share,
        penetration_mm=feet.penetration,
        hips_lowered_mm=float(drop.max()) * 1000.0 * REFERENCE_HEIGHT / target.height,
        body_height=target.height,
        notes=(*match.notes, *_notes(match, options, feet)),
    )


def _notes(match: BoneMatch, options: RetargetOptions, feet: FootFigures) -> list[str]:
    notes: list[str] = []
    if options.key_ik and match.ik is None:
        notes.append("This rig has no IK controls that Marey knows: its FK bones are keyed")
    if options.plant_feet and feet.slide > _NOTED_SLIDE_MM:
        notes.append("A standing foot slides where the character's leg is too short to reach it")
    return notes
