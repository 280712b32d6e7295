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
_MAX_EASE_S = 0.5
_EASE_SPEED = 1.0  # metres per second at leg length 1; larger offsets fade longer
_HEEL_SHARE = 0.35  # of the foot's length, how far the heel is behind the ankle
_MAX_STANDING_TILT = np.radians(35.0)  # of a sole that stands on the floor
_LYING_TILT = np.radians(80.0)
_MAX_CURLED_TILT = np.radians(105.0)
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
    toe_rotation: FloatArray | None = None  # (T, 3, 3) away from rest; None: goes with the foot
    blend_s: float = 0.16  # least time that an offset takes to fade
    bends_toes: bool = True
    keeps_above_floor: bool = True

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
    ankle_stands: BoolArray  # (T,)
    toe_stands: BoolArray  # (T,)
    lift: FloatArray  # (T,) how far it was raised out of the floor between contacts

    @property
    def stands(self) -> BoolArray:
        """Frames (T,) in which the foot stands with ankle or toe."""
        return self.ankle_stands | self.toe_stands


@dataclass(frozen=True, kw_only=True, eq=False)
class _Plants:
    """Floor places (x, z) per frame; only the frames of the masks count."""

    ankle_mask: BoolArray
    toe_mask: BoolArray
    flat_mask: BoolArray
    ankle: FloatArray  # (T, 2)
    toe: FloatArray  # (T, 2)
    toe_height: FloatArray  # (T,)
    heading: FloatArray  # (T,)
    # Of feet that rest with the sole off the floor, as those of who kneels, sits back or lies.
    tilted_mask: BoolArray
    tilted: FloatArray  # (T, 3, 3)


def plan_foot(foot: FootPose) -> FootPath:
    """Plant the foot where it stands and keep its sole out of the floor elsewhere."""
    plants = _find_plants(foot)
    rotation = _flatten(foot, plants)
    arm = rotation @ foot.ankle_to_toe
    floor_height = _ankle_height_on_floor(foot, rotation)

    ankle_offset = np.zeros_like(foot.ankle)
    ankle_offset[:, [0, 2]] = plants.ankle - foot.ankle[:, [0, 2]]
    # A heel keeps the ankle at its height, unless the foot lies.
    upright = _smooth((_LYING_TILT - _tilt(rotation)) / (_LYING_TILT - _MAX_STANDING_TILT) * 2.0)
    standing_height = np.maximum(floor_height, upright * foot.ankle_height)
    ankle_offset[:, 1] = standing_height - foot.ankle[:, 1]
    by_ankle = foot.ankle + _ease_offset(ankle_offset, plants.ankle_mask, foot)

    free_toe = foot.ankle + arm
    toe_offset = np.zeros_like(foot.ankle)
    toe_offset[:, [0, 2]] = plants.toe - free_toe[:, [0, 2]]
    toe_offset[:, 1] = plants.toe_height - free_toe[:, 1]
    by_toe = free_toe + _ease_offset(toe_offset, plants.toe_mask, foot) - arm

    # The toe leads where it stands, the ankle where only that does; where both do they agree.
    leads = plants.toe_mask.astype(np.float64)[:, None]
    weight = ease(leads, plants.toe_mask | plants.ankle_mask, foot.fps, foot.blend_s)
    ankle = by_ankle * (1 - weight) + by_toe * weight
    lift = np.zeros(len(ankle))
    if foot.keeps_above_floor:
        lift = np.maximum(floor_height - ankle[:, 1], 0.0) * ~plants.toe_mask
        ankle[:, 1] += lift
    return FootPath(
        ankle=ankle,
        rotation=rotation,
        toe_rotation=_bend_toes(foot, rotation, ankle + arm),
        ankle_stands=plants.ankle_mask,
        toe_stands=plants.toe_mask,
        lift=lift,
    )


def _find_plants(foot: FootPose) -> _Plants:
    frames = len(foot.ankle)
    gap = round(_MAX_GAP_S * foot.fps)
    ankle_mask = _close_gaps(foot.ankle_contact, gap)
    toe_mask = _close_gaps(foot.toe_contact, gap)
    plants = _Plants(
        ankle_mask=ankle_mask,
        toe_mask=toe_mask,
        flat_mask=ankle_mask & toe_mask,
        ankle=np.zeros((frames, 2)),
        toe=np.zeros((frames, 2)),
        toe_height=np.full(frames, foot.toe_height),
        heading=np.zeros(frames),
        tilted_mask=np.zeros(frames, dtype=bool),
        tilted=np.tile(np.eye(3), (frames, 1, 1)),
    )
    free_ankle, free_toe = foot.ankle[:, [0, 2]], foot.toe[:, [0, 2]]
    tilt = _tilt(foot.rotation)
    for start, stop in runs(ankle_mask | toe_mask):
        span = slice(start, stop)
        flat = plants.flat_mask[span]
        is_tilted = bool(flat.any()) and float(tilt[span][flat].mean()) > _MAX_STANDING_TILT
        if toe_mask[span].any():
            plants.toe[span] = free_toe[span][toe_mask[span]].mean(axis=0)
        if is_tilted:
            height = float(foot.toe[span][toe_mask[span], 1].mean())
            plants.toe_height[span] = max(height, 0.0)
        for first, last in runs(ankle_mask[span]):
            run = slice(start + first, start + last)
            both = toe_mask[run]
            if not both.any():
                plants.ankle[run] = free_ankle[run].mean(axis=0)
            elif is_tilted:
                _plant_tilted(foot, plants, run)
            else:
                _plant_flat(foot, plants, run)
    return plants


def _plant_flat(foot: FootPose, plants: _Plants, run: slice) -> None:
    """Fill in where the ankle is while the sole stands, in the mean heading of the run."""
    facing = angle_about_y(foot.rotation[run][plants.toe_mask[run]])
    mean = np.arctan2(np.sin(facing).mean(), np.cos(facing).mean())
    plants.heading[run] = mean
    arm = turn_about_y(mean) @ foot.ankle_to_toe
    plants.ankle[run] = plants.toe[run.start] - arm[[0, 2]]


def _plant_tilted(foot: FootPose, plants: _Plants, run: slice) -> None:
    """The same for a foot that rests with its sole off the floor: as it is on average."""
    left, _, right = np.linalg.svd(foot.rotation[run].sum(axis=0))
    mean = left @ right
    plants.tilted_mask[run] = True
    plants.tilted[run] = mean
    plants.ankle[run] = plants.toe[run.start] - (mean @ foot.ankle_to_toe)[[0, 2]]


def _tilt(rotation: FloatArray) -> FloatArray:
    """How far (T,) the sole is from level, in radians."""
    return np.arccos(np.clip(rotation[:, 1, 1], -1.0, 1.0))


def _flatten(foot: FootPose, plants: _Plants) -> FloatArray:
    """Rotations (T, 3, 3) of the foot: flat, and not turning, while both joints stand."""
    turn = angle_about_y(foot.rotation)
    offset = (plants.heading - turn + np.pi) % (2 * np.pi) - np.pi
    # The offset of the nearest plant holds while the foot rolls off it; the weight eases.
    flat = plants.flat_mask
    nearest = _nearest(flat)
    standing = turn_about_y(turn + offset[nearest])
    is_tilted = plants.tilted_mask[nearest]
    standing = np.where(is_tilted[:, None, None], plants.tilted[nearest], standing)
    weight = ease(flat.astype(np.float64)[:, None], flat, foot.fps, _TURN_EASE_S)[:, 0]
    return blend_rotations(foot.rotation, standing, weight)


def _ankle_height_on_floor(foot: FootPose, rotation: FloatArray) -> FloatArray:
    """The height (T,) of the ankle at which the sole touches the floor: heel, ball or toe joint."""
    forward = foot.ankle_to_toe * (1.0, 0.0, 1.0)
    heel = -_HEEL_SHARE * forward - (0.0, foot.ankle_height, 0.0)
    ball = forward - (0.0, foot.ankle_height, 0.0)
    touching = np.stack([heel, ball, foot.ankle_to_toe])
    return np.max(-(touching @ rotation[:, 1, :].T), axis=0)


def _bend_toes(foot: FootPose, rotation: FloatArray, toe: FloatArray) -> FloatArray:
    """Toes lie level near the floor while the heel lifts; elsewhere they are as the motion's."""
    free = rotation
    if foot.toe_rotation is not None:
        free = rotation @ np.swapaxes(foot.rotation, -1, -2) @ foot.toe_rotation
    if not foot.bends_toes:
        return free
    forward = rotation @ (foot.ankle_to_toe * (1.0, 0.0, 1.0))
    pitch = np.arctan2(-forward[:, 1], np.hypot(forward[:, 0], forward[:, 2]))
    near = 1.0 - _smooth((toe[:, 1] - foot.toe_height) / (0.12 * foot.leg_length))
    allowed = _MAX_TOE_BEND / np.maximum(pitch, _MAX_TOE_BEND)
    # Curled toes carry who kneels; under a foot that lies on its instep they stretch.
    upright = _smooth((_MAX_CURLED_TILT - _tilt(rotation)) / np.radians(25.0))
    weight = near * upright * _smooth(pitch / np.radians(8.0)) * allowed
    return blend_rotations(free, turn_about_y(angle_about_y(rotation)), weight)


def _smooth(x: FloatArray) -> FloatArray:
    clipped = np.clip(x, 0.0, 1.0)
    return clipped * clipped * (3.0 - 2.0 * clipped)


def runs(mask: BoolArray) -> Iterator[tuple[int, int]]:
    """Start and stop (excluded) of each stretch of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _close_gaps(mask: BoolArray, longest: int) -> BoolArray:
    closed = mask.copy()
    for start, stop in runs(~mask):
        if start > 0 and stop < len(mask) and stop - start <= longest:
            closed[start:stop] = True
    return closed


def _nearest(mask: BoolArray) -> npt.NDArray[np.intp]:
    """The nearest frame (T,) that is in the mask; each frame itself where there is none."""
    known, frames = np.flatnonzero(mask), np.arange(len(mask))
    if len(known) == 0:
        return frames
    after = np.clip(np.searchsorted(known, frames), 0, len(known) - 1)
    before = np.maximum(after - 1, 0)
    nearer = np.abs(known[after] - frames) < np.abs(frames - known[before])
    return np.where(nearer, known[after], known[before])


def _ease_offset(offset: FloatArray, mask: BoolArray, foot: FootPose) -> FloatArray:
    """Offsets (T, 3) where the mask is, fading outside it; the longer, the slower."""
    speed = _EASE_SPEED * max(foot.leg_length, 1e-3)
    seconds = np.linalg.norm(offset, axis=-1) / speed
    return ease(
        offset, mask, foot.fps, np.clip(seconds, foot.blend_s, max(foot.blend_s, _MAX_EASE_S))
    )


def ease(
    values: FloatArray, mask: BoolArray, fps: float, seconds: FloatArray | float
) -> FloatArray:
    """Values (T, C) where the mask is, fading to zero outside it.

    seconds: how long the value of a frame (T,) takes to fade, or that of every frame.
    """
    num_frames = len(mask)
    spans = np.broadcast_to(seconds, num_frames) * fps + 1.0
    eased = np.where(mask[:, None], values, 0.0)
    for start, stop in runs(~mask):
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
