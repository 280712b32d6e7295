"""Where feet go: planted while the motion says that they stand, eased back between.

The contacts of the motion say when ankle and toe stand still. In each stretch of them the foot
gets one place on the floor of its own, the one nearest to where the rig's foot would be without
this; the offset to it is eased out over the frames before and after.

Figure space (see blender_addon.rig). Shape letters: T frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .rotations import FloatArray, angle_about_y, blend_rotations, turn_about_y

BoolArray = npt.NDArray[np.bool_]

_MAX_GAP_S = 0.06  # of a contact, that is closed
_TURN_EASE_S = 0.1  # time in which a foot goes from flat to as the motion has it
_EASE_S = 0.16  # least time that an offset takes to fade
_MAX_EASE_S = 0.5
_EASE_SPEED = 1.0  # metres per second at leg length 1; larger offsets fade longer
_HEEL_SHARE = 0.35  # of the foot's length, how far the heel is behind the ankle
_MAX_TOE_BEND = np.radians(55.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class FootPose:
    """One foot of the rig as the motion alone would put it."""

    ankle: FloatArray  # (T, 3)
    rotation: FloatArray  # (T, 3, 3) away from the rest pose, in which the sole is flat
    ankle_contact: BoolArray  # (T,)
    toe_contact: BoolArray  # (T,)
    ankle_to_toe: FloatArray  # (3,) at rest
    ankle_height: float  # above the floor, at rest
    fps: float
    leg_length: float

    @property
    def toe(self) -> FloatArray:
        """Where the toes bend, (T, 3)."""
        return self.ankle + self.rotation @ self.ankle_to_toe

    @property
    def toe_height(self) -> float:
        """Of the toe joint above the floor, at rest."""
        return self.ankle_height + float(self.ankle_to_toe[1])


@dataclass(frozen=True, kw_only=True, eq=False)
class FootPath:
    """Where one foot goes."""

    ankle: FloatArray  # (T, 3)
    rotation: FloatArray  # (T, 3, 3)
    toe_rotation: FloatArray  # (T, 3, 3)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Plants:
    """Floor places (x, z) per frame; only the frames of the masks count."""

    ankle_mask: BoolArray
    toe_mask: BoolArray
    flat_mask: BoolArray
    ankle: FloatArray  # (T, 2)
    toe: FloatArray  # (T, 2)
    heading: FloatArray  # (T,)


def plan_foot(foot: FootPose) -> FootPath:
    """Plant the foot where it stands and keep its sole out of the floor elsewhere."""
    plants = _find_plants(foot)
    rotation = _flatten(foot, plants)
    arm = rotation @ foot.ankle_to_toe
    floor_height = _ankle_height_on_floor(foot, rotation)

    ankle_offset = np.zeros_like(foot.ankle)
    ankle_offset[:, [0, 2]] = plants.ankle - foot.ankle[:, [0, 2]]
    ankle_offset[:, 1] = floor_height - foot.ankle[:, 1]
    by_ankle = foot.ankle + _ease_offset(ankle_offset, plants.ankle_mask, foot)

    free_toe = foot.ankle + arm
    toe_offset = np.zeros_like(foot.ankle)
    toe_offset[:, [0, 2]] = plants.toe - free_toe[:, [0, 2]]
    toe_offset[:, 1] = foot.toe_height - free_toe[:, 1]
    by_toe = free_toe + _ease_offset(toe_offset, plants.toe_mask, foot) - arm

    # The toe leads where it stands, the ankle where only that does; where both do they agree.
    leads = plants.toe_mask.astype(np.float64)[:, None]
    weight = _ease(leads, plants.toe_mask | plants.ankle_mask, foot.fps, _EASE_S)
    ankle = by_ankle * (1 - weight) + by_toe * weight
    lift = np.maximum(floor_height - ankle[:, 1], 0.0) * ~plants.toe_mask
    ankle[:, 1] += lift
    return FootPath(
        ankle=ankle, rotation=rotation, toe_rotation=_bend_toes(foot, rotation, ankle + arm)
    )


def _find_plants(foot: FootPose) -> _Plants:
    frames = len(foot.ankle)
    gap = round(_MAX_GAP_S * foot.fps)
    ankle_mask = _close_gaps(foot.ankle_contact, gap)
    toe_mask = _close_gaps(foot.toe_contact, gap)
    ankle, toe, heading = np.zeros((frames, 2)), np.zeros((frames, 2)), np.zeros(frames)
    free_ankle, free_toe = foot.ankle[:, [0, 2]], foot.toe[:, [0, 2]]
    turn = angle_about_y(foot.rotation)
    for start, stop in _runs(ankle_mask | toe_mask):
        span = slice(start, stop)
        if toe_mask[span].any():
            toe[span] = free_toe[span][toe_mask[span]].mean(axis=0)
        for first, last in _runs(ankle_mask[span]):
            run = slice(start + first, start + last)
            both = toe_mask[run]
            if not both.any():
                ankle[run] = free_ankle[run].mean(axis=0)
                continue
            mean = np.exp(1j * turn[run][both]).mean()
            heading[run] = np.angle(mean)
            ankle[run] = toe[start] - (turn_about_y(np.angle(mean)) @ foot.ankle_to_toe)[[0, 2]]
    return _Plants(
        ankle_mask=ankle_mask,
        toe_mask=toe_mask,
        flat_mask=ankle_mask & toe_mask,
        ankle=ankle,
        toe=toe,
        heading=heading,
    )


def _flatten(foot: FootPose, plants: _Plants) -> FloatArray:
    """Rotations (T, 3, 3) of the foot: flat, and not turning, while both joints stand."""
    turn = angle_about_y(foot.rotation)
    offset = (plants.heading - turn + np.pi) % (2 * np.pi) - np.pi
    # The offset of the nearest plant holds while the foot rolls off it; the weight eases.
    held = _hold(offset, plants.flat_mask)
    flat = plants.flat_mask
    weight = _ease(flat.astype(np.float64)[:, None], flat, foot.fps, _TURN_EASE_S)[:, 0]
    return blend_rotations(foot.rotation, turn_about_y(turn + held), weight)


def _ankle_height_on_floor(foot: FootPose, rotation: FloatArray) -> FloatArray:
    """The height (T,) of the ankle at which the sole touches the floor with heel or ball."""
    forward = foot.ankle_to_toe * (1.0, 0.0, 1.0)
    heel = -_HEEL_SHARE * forward - (0.0, foot.ankle_height, 0.0)
    ball = forward - (0.0, foot.ankle_height, 0.0)
    return np.maximum(-(rotation @ heel)[:, 1], -(rotation @ ball)[:, 1])


def _bend_toes(foot: FootPose, rotation: FloatArray, toe: FloatArray) -> FloatArray:
    """Toes lie level near the floor while the heel lifts; elsewhere they are as the foot is."""
    forward = rotation @ (foot.ankle_to_toe * (1.0, 0.0, 1.0))
    pitch = np.arctan2(-forward[:, 1], np.hypot(forward[:, 0], forward[:, 2]))
    near = 1.0 - _smooth((toe[:, 1] - foot.toe_height) / (0.12 * foot.leg_length))
    allowed = _MAX_TOE_BEND / np.maximum(pitch, _MAX_TOE_BEND)
    weight = near * _smooth(pitch / np.radians(8.0)) * allowed
    return blend_rotations(rotation, turn_about_y(angle_about_y(rotation)), weight)


def _smooth(x: FloatArray) -> FloatArray:
    clipped = np.clip(x, 0.0, 1.0)
    return clipped * clipped * (3.0 - 2.0 * clipped)


def _runs(mask: BoolArray) -> Iterator[tuple[int, int]]:
    """Start and stop (excluded) of each stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _close_gaps(mask: BoolArray, longest: int) -> BoolArray:
    closed = mask.copy()
    for start, stop in _runs(~mask):
        if start > 0 and stop < len(mask) and stop - start <= longest:
            closed[start:stop] = True
    return closed


def _hold(values: FloatArray, mask: BoolArray) -> FloatArray:
    """Values (T,) of the nearest frame in the mask; zero where there is none."""
    known = np.flatnonzero(mask)
    if len(known) == 0:
        return np.zeros_like(values)
    frames = np.arange(len(values))
    after = np.clip(np.searchsorted(known, frames), 0, len(known) - 1)
    before = np.maximum(after - 1, 0)
    nearer = np.abs(known[after] - frames) < np.abs(frames - known[before])
    return values[np.where(nearer, known[after], known[before])]


def _ease_offset(offset: FloatArray, mask: BoolArray, foot: FootPose) -> FloatArray:
    """Offsets (T, 3) where the mask is, fading outside it; the longer, the slower."""
    speed = _EASE_SPEED * max(foot.leg_length, 1e-3)
    seconds = np.linalg.norm(offset, axis=-1) / speed
    return _ease(offset, mask, foot.fps, np.clip(seconds, _EASE_S, _MAX_EASE_S))


def _ease(
    values: FloatArray, mask: BoolArray, fps: float, seconds: FloatArray | float
) -> FloatArray:
    """Values (T, C) where the mask is, fading to zero outside it.

    seconds: how long the value of a frame (T,) takes to fade, or that of every frame.
    """
    num_frames = len(mask)
    spans = np.broadcast_to(seconds, num_frames) * fps + 1.0
    eased = np.where(mask[:, None], values, 0.0)
    for start, stop in _runs(~mask):
        frames = np.arange(start, stop)
        before = after = np.zeros(stop - start)
        if start > 0:
            before = 1.0 - _smooth((frames - (start - 1)) / spans[start - 1])
        if stop < num_frames:
            after = 1.0 - _smooth((stop - frames) / spans[stop])
        # Where both reach, they share: the offset goes from one plant straight to the next.
        total = np.maximum(before + after, 1.0)
        eased[start:stop] += (before / total)[:, None] * values[start - 1]
        eased[start:stop] += (after / total)[:, None] * values[min(stop, num_frames - 1)]
    return eased
