"""Clean-up of a motion's feet: standing feet stay in one place, nothing sinks into the floor.

The floor is y = 0. Where a toe stands it gets one place on the floor, where an ankle stands one
place at its standing height; a foot that stands with both is flat. The offsets from where the
feet were fade over the frames before and after. A foot that swings is lifted as much as people
lift it, so that it doesn't drag along the floor. Legs follow by leg_ik; the hips come down a
little where a leg would be too short, the body comes up where a hand or a knee would be under
the floor. Bone lengths never change.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.motion.contacts import hysteresis, rest_heights, spans
from engine.motion.kinematics import forward_kinematics
from engine.motion.leg_ik import ANKLES, HIPS, TOES, leg_lengths, leg_reach, place_feet
from engine.motion.motion import Motion
from engine.motion.skeleton import FOOT_JOINTS, SMPL_22

_MIN_SECONDS = 0.1  # of a stand
_MAX_DRIFT = 0.15  # metres that a foot may have slid in one stand; more is another stand
_CUT_SECONDS = 0.3  # between two places of a foot that has slid further
_EASE_SECONDS = 0.2  # that an offset takes to fade, at least
_EASE_SPEED = 0.8  # metres per second: larger offsets fade longer
_MAX_EASE_SECONDS = 0.6
_MAX_DROP = 0.10  # metres that the hips come down for a leg to reach
_MAX_LIFT = 0.15  # metres that the body comes up for hands and knees
_SMOOTHING_SECONDS = 0.12  # of drops and lifts
_SOFT_FLOOR = 0.01  # metres around the floor in which a sinking foot slows down
# Toes that move at the first speed (m/s) may touch the floor, at the second they are 5.5 cm over
# it: about the lowest third of recorded toes, whose 25th percentile is 0.02 m at 0.5 m/s, 0.035 at
# 0.9, 0.045 at 1.2 and 0.05 at 2 and more, and whose median is 0.03, 0.06, 0.07 and 0.075.
_DRAGS, _SWINGS, _CLEARANCE = 0.3, 1.3, 0.055
_HEEL = 0.02  # metres of heel under the ankle joint, at least
_LOCKED = 0.01  # metres from its place within which a foot counts as locked


@dataclass(frozen=True, kw_only=True)
class LockLimits:
    """When a foot counts as standing: to begin with, and to go on. Metres, m/s, probability."""

    enter_height: float = 0.05
    stay_height: float = 0.08
    enter_speed: float = 0.2
    stay_speed: float = 0.35
    enter_probability: float = 0.6
    stay_probability: float = 0.35


# With a model's word for it a faster foot is a sliding one, not a moving one.
_TRUSTING = LockLimits(enter_speed=0.4, stay_speed=0.6)


def place_on_floor(motion: Motion) -> Motion:
    """The motion moved up or down as a whole, so that its feet stand on y = 0.

    The height that counts is that of the lowest joint, but for the lowest twentieth of the
    frames: single frames that dip do not lift the rest.
    """
    lowest = motion.joints()[..., 1].amin(dim=1)
    ground = torch.quantile(lowest, 0.05)
    shift = torch.stack((torch.zeros_like(ground), ground, torch.zeros_like(ground)))
    return replace(motion, root_translation=motion.root_translation - shift)


def lock_feet(
    motion: Motion,
    *,
    contact_probabilities: Tensor | None = None,
    limits: LockLimits | None = None,
    clearance: float = _CLEARANCE,
) -> Motion:
    """The motion with standing feet locked to the floor.

    Args:
        motion: on the floor y = 0, with the tree of SMPL_22.
        contact_probabilities: (T, 4) from a model, in the order of `contacts`; where it says
            that a foot does not stand, it is not locked.
        limits: when a foot stands; the default is stricter without probabilities.
        clearance: metres that the toes of a fast foot are over the floor at least; 0 where it is
            known how low they were.

    Returns:
        The same skeleton, fps and number of frames; `contacts` are 1 where a foot is locked.

    Raises:
        ValueError: another tree, or probabilities of another shape.
    """
    if motion.skeleton.parents != SMPL_22.parents:
        raise ValueError(
            f"skeleton {motion.skeleton.name} needs the tree of {SMPL_22.name} to lock feet"
        )
    if contact_probabilities is not None and contact_probabilities.shape != motion.contacts.shape:
        raise ValueError(
            f"contact_probabilities has shape {tuple(contact_probabilities.shape)}, "
            f"needs {tuple(motion.contacts.shape)}"
        )
    if limits is None:
        limits = LockLimits() if contact_probabilities is None else _TRUSTING
    motion = _lift_body(motion)
    joints, turned = forward_kinematics(
        motion.local_rotations, motion.root_translation, motion.skeleton
    )
    stands = _find_stands(joints, motion, contact_probabilities, limits)
    ankles, toes, places = _foot_places(joints, stands, motion, clearance)
    root = motion.root_translation - _drop(joints, ankles, stands, motion)
    local = place_feet(turned, root, ankles, toes, motion)
    result = replace(motion, root_translation=root, local_rotations=local)
    feet = result.joints()[:, list(FOOT_JOINTS)]
    is_locked = stands & (torch.linalg.vector_norm(feet - places, dim=-1) < _LOCKED)
    return replace(result, contacts=is_locked.to(root.dtype))


def _find_stands(
    joints: Tensor, motion: Motion, probabilities: Tensor | None, limits: LockLimits
) -> Tensor:
    """(T, 4) bool: where feet are to be locked."""
    feet = joints[:, list(FOOT_JOINTS)]
    height = feet[..., 1] - feet.new_tensor(rest_heights(motion.skeleton))
    speed = _speeds(feet, motion.fps)
    enters = (height < limits.enter_height) & (speed < limits.enter_speed)
    stays = (height < limits.stay_height) & (speed < limits.stay_speed)
    if probabilities is not None:
        enters = enters & (probabilities > limits.enter_probability)
        stays = stays & (probabilities > limits.stay_probability)
    min_frames = max(3, round(_MIN_SECONDS * motion.fps))
    stands = hysteresis(enters & stays, stays, min_frames=min_frames)
    half = max(2, round(_CUT_SECONDS / 2 * motion.fps))
    for column in range(4):
        for start, stop in spans(stands[:, column]):
            for cut in _drift_cuts(feet[start:stop, column]):
                stands[max(0, start + cut - half) : start + cut + half, column] = False
    return stands


def _speeds(feet: Tensor, fps: float) -> Tensor:
    """Speeds (T, 4) in m/s over the two steps around each frame."""
    if len(feet) < 2:
        return torch.zeros_like(feet[..., 0])
    steps = torch.linalg.vector_norm(torch.diff(feet, dim=0), dim=-1) * fps
    return (torch.cat((steps[:1], steps)) + torch.cat((steps, steps[-1:]))) / 2


def _drift_cuts(track: Tensor) -> Iterator[int]:
    """Frames of a stand (N, 3) at which the foot has slid too far for one place."""
    places = track[:, [0, 2]].tolist()
    start = places[0]
    for frame, place in enumerate(places):
        if math.dist(place, start) > _MAX_DRIFT:
            yield frame
            start = place


def _foot_places(
    joints: Tensor, stands: Tensor, motion: Motion, clearance: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Where ankles and toes should be, (T, 2, 3) each, and the places (T, 4, 3) of stands."""
    offsets = motion.skeleton.offsets_like(joints)
    ankle_places = torch.zeros_like(joints[:, ANKLES])
    toe_places = torch.zeros_like(ankle_places)
    ankles, toes = joints[:, ANKLES].clone(), joints[:, TOES].clone()
    toes[..., 1], ankles[..., 1] = _soft_floor(toes[..., 1]), _soft_floor(ankles[..., 1])
    for foot in range(2):
        ankle_stands, toe_stands = stands[:, 2 * foot], stands[:, 2 * foot + 1]
        heights = rest_heights(motion.skeleton)[2 * foot : 2 * foot + 2]
        places = torch.stack(
            (
                _stand_places(ankles[:, foot], ankle_stands, heights[0]),
                _stand_places(toes[:, foot], toe_stands, heights[1]),
            ),
            dim=1,
        )  # (T, 2, 3)
        offset = offsets[TOES[foot]]
        flat = torch.linalg.vector_norm(offset[[0, 2]])
        places = _agree(places, ankle_stands, toe_stands, flat)
        ankle_places[:, foot], toe_places[:, foot] = places[:, 0], places[:, 1]
        ankles[:, foot], toes[:, foot] = _follow(
            (ankles[:, foot], toes[:, foot]),
            places,
            (ankle_stands, toe_stands),
            motion.fps,
            torch.linalg.vector_norm(offset),
            clearance,
        )
    places = torch.stack((ankle_places, toe_places), dim=2).flatten(1, 2)  # (T, 4, 3)
    return ankles, toes, places


def _soft_floor(height: Tensor) -> Tensor:
    """Heights that come to 0 with a bend instead of a kink; those above it are left."""
    near = (height + _SOFT_FLOOR).clamp(0.0, 2 * _SOFT_FLOOR)
    return torch.where(height > _SOFT_FLOOR, height, near * near / (4 * _SOFT_FLOOR))


def _stand_places(track: Tensor, stands: Tensor, height: float) -> Tensor:
    """(T, 3): in each stand the mean place of the track (T, 3), at the height; else zeros."""
    places = torch.zeros_like(track)
    for start, stop in spans(stands):
        places[start:stop] = track[start:stop].mean(dim=0)
        places[start:stop, 1] = height
    return places


def _agree(places: Tensor, ankle_stands: Tensor, toe_stands: Tensor, flat: Tensor) -> Tensor:
    """Places (T, 2, 3) of ankle and toe, moved along their line to be a flat foot apart.

    Stands of the one may overlap with several of the other: a few rounds settle them.
    """
    both = ankle_stands & toe_stands
    columns = (spans(ankle_stands), spans(toe_stands))
    for _ in range(8 if bool(both.any()) else 0):
        between = places[:, 1] - places[:, 0]
        level = between * between.new_tensor((1.0, 0.0, 1.0))
        length = torch.linalg.vector_norm(level, dim=-1, keepdim=True).clamp(min=1e-6)
        missing = torch.where(both[:, None], level * (flat / length - 1), torch.zeros_like(level))
        moves = torch.zeros_like(places)
        for column, sign in ((0, -0.5), (1, 0.5)):
            for start, stop in columns[column]:
                count = both[start:stop].sum().clamp(min=1)
                moves[start:stop, column] = sign * missing[start:stop].sum(dim=0) / count
        places = places + moves
    return places


def _follow(
    tracks: tuple[Tensor, Tensor],
    places: Tensor,
    stands: tuple[Tensor, Tensor],
    fps: float,
    length: Tensor,
    clearance: float,
) -> tuple[Tensor, Tensor]:
    """Ankle and toe (T, 3) that stand in their places and come and go smoothly."""
    (ankle, toe), (ankle_stands, toe_stands) = tracks, stands
    both = ankle_stands & toe_stands
    to_ankle, to_toe = places[:, 0] - ankle, places[:, 1] - toe
    # The foot moves as a whole with the joint that stands; how it turns besides is known only
    # where both stand, and fades.
    turn = _fade(to_ankle - to_toe, both, fps)
    whole = torch.where(toe_stands[:, None], to_toe, to_ankle - turn)
    whole = _fade(whole, ankle_stands | toe_stands, fps)
    new_toe, new_ankle = toe + whole, ankle + whole + turn
    new_toe = _with_height(new_toe, new_toe[:, 1].clamp(min=0.0))
    new_ankle = _with_height(new_ankle, _HEEL + _soft_floor(new_ankle[:, 1] - _HEEL))
    along = torch.nn.functional.normalize(new_toe - new_ankle, dim=-1)
    # Which end is exact: the toe where it stands, the ankle where only that stands.
    share = torch.where(toe_stands, 1.0, torch.where(ankle_stands, 0.0, 0.5))[:, None]
    middle_ankle = torch.lerp(new_ankle, new_toe - along * length, share)
    final_toe = middle_ankle + along * length
    rise = (-final_toe[:, 1]).clamp(min=0.0)
    rise = rise + _clearance(final_toe, ankle_stands | toe_stands, fps, clearance)
    rise = rise[:, None] * final_toe.new_tensor((0.0, 1.0, 0.0))
    return middle_ankle + rise, final_toe + rise


def _clearance(toe: Tensor, stands: Tensor, fps: float, most: float) -> Tensor:
    """How much higher (T,) a toe (T, 3) that swings must be; 0 where the foot stands."""
    if len(toe) < 3:
        return torch.zeros_like(toe[:, 0])
    level = toe * toe.new_tensor((1.0, 0.0, 1.0))
    part = ((_speeds(level[:, None], fps)[:, 0] - _DRAGS) / (_SWINGS - _DRAGS)).clamp(0.0, 1.0)
    wanted = most * part * part * (3 - 2 * part)
    missing = (wanted - toe[:, 1].clamp(min=0.0)).clamp(min=0.0)
    weights = missing.new_tensor((0.25, 0.5, 0.25))[None, None]
    padded = torch.nn.functional.pad(missing[None, None], (1, 1), mode="replicate")
    smooth = torch.nn.functional.conv1d(padded, weights)[0, 0]
    return torch.where(stands, torch.zeros_like(smooth), smooth)


def _with_height(points: Tensor, heights: Tensor) -> Tensor:
    return torch.stack((points[..., 0], heights, points[..., 2]), dim=-1)


def _fade(values: Tensor, known: Tensor, fps: float) -> Tensor:
    """Values (T, 3) where known; elsewhere those of the nearest known frames, fading to zero.

    Over a short gap the one goes over into the other.
    """
    num_frames = len(values)
    stretches = spans(known)
    result = torch.where(known[:, None], values, torch.zeros_like(values))
    gaps = zip(
        [0, *(stop for _, stop in stretches)],
        [*(start for start, _ in stretches), num_frames],
        strict=True,
    )
    for start, stop in gaps:
        if start > 0:
            ahead = stop - start + 1 if stop < num_frames else None
            weights = _fading(values[start - 1], stop - start, ahead, fps)
            result[start:stop] = result[start:stop] + weights * values[start - 1]
        if stop < num_frames:
            ahead = stop - start + 1 if start > 0 else None
            weights = _fading(values[stop], stop - start, ahead, fps).flip(0)
            result[start:stop] = result[start:stop] + weights * values[stop]
    return result


def _fading(value: Tensor, num_frames: int, gap: int | None, fps: float) -> Tensor:
    """Weights (num_frames, 1) from nearly 1 to 0; two that fade over the same gap sum to 1."""
    size = float(torch.linalg.vector_norm(value))
    seconds = min(max(_EASE_SECONDS, size / _EASE_SPEED), _MAX_EASE_SECONDS)
    frames = max(2.0, seconds * fps)
    if gap is not None:
        frames = min(frames, float(gap))
    part = torch.arange(1, num_frames + 1, dtype=value.dtype, device=value.device) / frames
    part = part.clamp(max=1.0)
    return (1 - part * part * (3 - 2 * part))[:, None]


def _drop(joints: Tensor, ankles: Tensor, stands: Tensor, motion: Motion) -> Tensor:
    """How far the hips come down, (T, 3), for standing feet to be reached."""
    reach = leg_reach(joints, leg_lengths(motion))
    offset = joints[:, HIPS] - ankles
    across = offset[..., 0] ** 2 + offset[..., 2] ** 2
    highest = torch.sqrt((reach**2 - across).clamp(min=0.0))
    stands_at_all = stands.unflatten(1, (2, 2)).any(dim=2)
    needed = torch.where(stands_at_all, offset[..., 1] - highest, torch.zeros_like(highest))
    drop = _envelope(needed.amax(dim=1).clamp(0.0, _MAX_DROP), motion.fps)
    return drop[:, None] * drop.new_tensor((0.0, 1.0, 0.0))


def _lift_body(motion: Motion) -> Motion:
    """Raised where joints other than the feet are under the floor."""
    others = [j for j in range(motion.skeleton.num_joints) if j not in FOOT_JOINTS]
    depth = (-motion.joints()[:, others, 1].amin(dim=1)).clamp(0.0, _MAX_LIFT)
    lift = _envelope(depth, motion.fps)
    up = lift[:, None] * lift.new_tensor((0.0, 1.0, 0.0))
    return replace(motion, root_translation=motion.root_translation + up)


def _envelope(values: Tensor, fps: float) -> Tensor:
    """A smooth curve (T,) over values (T,) that are not negative: highest of the frames around,
    then averaged, so that it reaches every value and leaves zeros that are far from any."""
    if not bool((values > 0).any()):
        return values
    reach = max(1, round(2 * _SMOOTHING_SECONDS * fps))
    padded = torch.nn.functional.pad(values[None, None], (reach, reach), mode="replicate")
    highest = torch.nn.functional.max_pool1d(padded, 2 * reach + 1, stride=1)
    window = torch.hann_window(
        2 * reach + 3, periodic=False, dtype=values.dtype, device=values.device
    )[1:-1]
    padded = torch.nn.functional.pad(highest, (reach, reach), mode="replicate")
    return torch.nn.functional.conv1d(padded, (window / window.sum())[None, None])[0, 0]
