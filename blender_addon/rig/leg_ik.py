"""Legs that reach a given ankle: two bones, with the knee in the plane that the motion has.

Figure space (see blender_addon.rig). Shape letters: T frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .rotations import FloatArray, cross, frame_from, length, shortest_rotation, unit

# How far a leg is stretched, against its whole length. Near the end the knee moves fast for little
# gain: before a leg is stretched beyond the first figure for a planted foot the hips come down,
# unless the motion itself stretches it so. None is stretched beyond the second.
_EASY_STRETCH = 0.98
_MAX_STRETCH = 0.9985
_STRAIGHT_SINE, _BENT_SINE = np.sin(np.radians(2.0)), np.sin(np.radians(6.0))


@dataclass(frozen=True, kw_only=True, eq=False)
class LegPose:
    """One leg in every frame. Hinges are the axes about which the knee closes."""

    hip: FloatArray  # (T, 3)
    knee: FloatArray  # (T, 3)
    ankle: FloatArray  # (T, 3)
    hinge: FloatArray  # (T, 3) as the thigh has it, for legs that are straight

    @property
    def bend_axis(self) -> FloatArray:
        """The axis (T, 3) about which the knee closes: a bent leg shows it itself."""
        normal = cross(unit(self.knee - self.hip), unit(self.ankle - self.knee))
        sine = length(normal)
        share = np.clip((sine - _STRAIGHT_SINE) / (_BENT_SINE - _STRAIGHT_SINE), 0.0, 1.0)
        backward = np.sum(normal * self.hinge, axis=-1, keepdims=True) < 0
        share = np.where(backward, 0.0, share * share * (3.0 - 2.0 * share))
        return unit(self.hinge * (1.0 - share) + normal / np.maximum(sine, 1e-9) * share)

    @property
    def lengths(self) -> tuple[float, float]:
        """Of thigh and shin."""
        thigh = np.linalg.norm(self.knee[0] - self.hip[0])
        return float(thigh), float(np.linalg.norm(self.ankle[0] - self.knee[0]))

    @property
    def longest(self) -> float:
        """The longest distance from hip to ankle that there is."""
        return _MAX_STRETCH * sum(self.lengths)

    @property
    def reach(self) -> FloatArray:
        """The longest distance (T,) from hip to ankle for which the hips need not come down."""
        whole = sum(self.lengths)
        own = length(self.ankle - self.hip)[:, 0] / whole
        return np.clip(own, _EASY_STRETCH, _MAX_STRETCH) * whole


def solve_leg(leg: LegPose, ankle: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Turn the leg so that it ends at `ankle` (T, 3), or as near as it reaches.

    Returns:
        thigh: (T, 3, 3) rotation to add to the thigh, in figure space.
        shin: (T, 3, 3) rotation to add to the shin.
    """
    upper, lower = leg.lengths
    old_chord, chord = unit(leg.ankle - leg.hip), unit(ankle - leg.hip)
    distance = length(ankle - leg.hip)[:, 0]
    distance = np.clip(distance, abs(upper - lower) * 1.01 + 1e-6, leg.longest)
    reached = leg.hip + chord * distance[:, None]

    # The hinge goes along with the line from hip to ankle, and stays square to it.
    old_hinge = leg.bend_axis
    hinge = (shortest_rotation(old_chord, chord) @ old_hinge[..., None])[..., 0]
    hinge = frame_from(chord, hinge)[..., 1]
    # Law of cosines: the angle at the hip between thigh and chord.
    cosine = (upper**2 + distance**2 - lower**2) / (2 * upper * distance)
    along = upper * np.clip(cosine, -1.0, 1.0)
    across = np.sqrt(np.maximum(upper**2 - along**2, 0.0))
    forward = cross(chord, hinge)
    knee = leg.hip + chord * along[:, None] + forward * across[:, None]

    thigh = _turn(leg.knee - leg.hip, knee - leg.hip, old_hinge, hinge)
    shin = _turn(leg.ankle - leg.knee, reached - knee, old_hinge, hinge)
    return thigh, shin


def _turn(
    old: FloatArray, new: FloatArray, old_hinge: FloatArray, new_hinge: FloatArray
) -> FloatArray:
    return frame_from(new, new_hinge) @ np.swapaxes(frame_from(old, old_hinge), -1, -2)


def pelvis_drop(leg: LegPose, ankle: FloatArray) -> FloatArray:
    """How far the hips must come down (T,) for the leg to reach `ankle` (T, 3)."""
    offset = leg.hip - ankle
    across = np.hypot(offset[:, 0], offset[:, 2])
    # Beyond reach sideways no drop helps: half a leg's length is the most that is tried.
    height = np.sqrt(np.maximum(leg.reach**2 - across**2, (0.5 * leg.reach) ** 2))
    return np.maximum(offset[:, 1] - height, 0.0)
