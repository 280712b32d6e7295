"""The figures of a report: how far limbs are from the motion's, and how feet do on the floor.

Figure space (see blender_addon.rig). Shape letters: T frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .moving_rig import MovingRig
from .rotations import FloatArray, unit
from .source_motion import SIDES, SourceMotion
from .target_figure import TargetFigure

REFERENCE_HEIGHT = 1.75  # metres; lengths are told for a body of this height
REFERENCE_FPS = 20.0

_LEVEL = np.cos(np.radians(35.0))  # of a sole that stands on the floor
_LIMBS = {"shoulder": "elbow", "elbow": "wrist", "hip": "knee", "knee": "ankle"}


@dataclass(frozen=True, kw_only=True)
class LimbErrors:
    """Angles in degrees between limbs of motion and rig."""

    mean: float
    largest: float
    bone: str  # with the largest


@dataclass(frozen=True, kw_only=True)
class FootFigures:
    """Millimetres for a body of 1.75 m; slide per frame at 20 fps."""

    slide: float  # the largest
    mean_slide: float
    penetration: float
    contact_share: float


def limb_errors(moving: MovingRig, source: SourceMotion, target: TargetFigure) -> LimbErrors:
    """Compare arms and legs of the rig, as it moves now, with the motion's."""
    angles: dict[str, FloatArray] = {}
    for side in SIDES:
        for part, end in _LIMBS.items():
            joint = f"{side}_{part}"
            bone = target.bone(joint)
            last = f"{side}_{end}"
            tip = (
                moving.head(target.bone(last))
                if last in target.match.bones
                else moving.point(bone, target.points[f"{side}_hand_end"])
            )
            wanted = source.place(last) - source.place(joint)
            name = target.match.bones[joint]
            angles[name] = _angles(tip - moving.head(bone), wanted)
    bone = max(angles, key=lambda each: float(angles[each].max()))
    mean = float(np.mean(list(angles.values())))
    return LimbErrors(mean=mean, largest=float(angles[bone].max()), bone=bone)


def _angles(a: FloatArray, b: FloatArray) -> FloatArray:
    a, b = unit(a), unit(b)
    # By the chord: the arc cosine has no digits left near zero.
    chord = np.linalg.norm(a - b, axis=-1)
    return np.degrees(2 * np.arcsin(np.clip(chord / 2, 0.0, 1.0)))


def foot_figures(moving: MovingRig, source: SourceMotion, target: TargetFigure) -> FootFigures:
    """Measure slide while the motion's feet stand, and how deep ankle and toe go.

    Standing, that is against their height at rest, else against the floor itself.
    """
    unit_mm = 1000.0 * REFERENCE_HEIGHT / target.height
    steps: list[FloatArray] = []
    depth = 0.0
    for column, (name, path) in enumerate(foot_points(moving, target).items()):
        stands = source.contacts[:, column] > 0.5
        both = stands[1:] & stands[:-1]
        moved = np.linalg.norm(np.diff(path[:, [0, 2]], axis=0), axis=-1)
        steps.append(moved[both] * unit_mm * source.fps / REFERENCE_FPS)
        rest_height = float(target.points[name.replace("foot", "toe")][1])
        # Who kneels or lies rests the foot's back or side on the floor, lower than a sole.
        sole = moving.rotations[target.bone(name.replace("foot", "ankle"))]
        is_level = sole[:, 1, 1] > _LEVEL
        least = np.where(stands & is_level, rest_height, min(rest_height, 0.0))
        depth = max(depth, float((least - path[:, 1]).max()) * unit_mm)
    moved_all = np.concatenate(steps)
    return FootFigures(
        slide=float(moved_all.max(initial=0.0)),
        mean_slide=float(moved_all.mean()) if len(moved_all) else 0.0,
        penetration=max(depth, 0.0),
        contact_share=float((source.contacts > 0.5).mean()),
    )


def foot_points(moving: MovingRig, target: TargetFigure) -> dict[str, FloatArray]:
    """left_ankle, left_foot, right_ankle, right_foot: (T, 3); a foot is where its toes bend."""
    points: dict[str, FloatArray] = {}
    for side in SIDES:
        ankle = target.bone(f"{side}_ankle")
        points[f"{side}_ankle"] = moving.head(ankle)
        points[f"{side}_foot"] = moving.point(ankle, target.points[f"{side}_toe"])
    return points
