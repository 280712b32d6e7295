"""Where the floor is, and which feet stand on it, found from the motion itself.

A captured motion stands in a world whose upright is a guess. Feet that keep still are on the floor:
the plane through them says how far the guess was off, as long as the person goes about.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from engine.motion import rotations as rot
from engine.motion.contacts import hysteresis, rest_heights
from engine.motion.motion import Motion
from engine.motion.skeleton import FOOT_JOINTS

_SLOW, _SLOWISH = 0.3, 0.5  # metres per second at which a foot begins to stand, and goes on to
_LOW, _LOWISH = 0.10, 0.14  # metres over its standing height
_MIN_SECONDS = 0.12  # of a stand
_HEIGHT = 0.04  # metres that standing feet usually are off the floor as it was captured
_TILT = 0.12  # radians that the upright usually is off
_MAX_TILT = 0.35
_ROUNDS = 10
_MIN_POINTS = 5


def level(motion: Motion) -> Motion:
    """The motion in a world whose floor y = 0 is the plane through the feet that keep still.

    The camera goes with it. A motion that hardly goes about keeps its upright.
    """
    feet = motion.joints()[:, list(FOOT_JOINTS)]
    feet = feet - _upwards(feet.new_tensor(rest_heights(motion.skeleton)))
    points = feet[_speeds(feet, motion.fps) < _SLOW]
    if len(points) < _MIN_POINTS:
        return motion
    slope_x, slope_z, height = _plane(points)
    normal = rot.normalise(torch.stack((-slope_x, torch.ones_like(slope_x), -slope_z)))
    up = normal.new_tensor((0.0, 1.0, 0.0))
    turn = rot.quaternion_to_matrix(rot.shortest_arc(normal, up))
    # the point of the floor under the origin stays where it is, at height 0
    shift = -(turn @ (height * up))
    rotation = rot.matrix_to_quaternion(turn).expand(motion.num_frames, 4)
    root = rot.multiply(rotation, motion.local_rotations[:, 0])
    return replace(
        motion,
        root_translation=motion.root_translation @ turn.T + shift,
        local_rotations=rot.make_continuous(
            torch.cat((root[:, None], motion.local_rotations[:, 1:]), dim=1)
        ),
        camera=None if motion.camera is None else motion.camera.in_moved_world(turn, shift),
    )


def standing(motion: Motion) -> Tensor:
    """Which foot joints stand, (T, 4): slow and low, as a capture before its feet are locked."""
    feet = motion.joints()[:, list(FOOT_JOINTS)]
    height = feet[..., 1] - feet.new_tensor(rest_heights(motion.skeleton))
    speed = _speeds(feet, motion.fps)
    enters = (speed < _SLOW) & (height < _LOW)
    stays = (speed < _SLOWISH) & (height < _LOWISH)
    min_frames = max(2, round(_MIN_SECONDS * motion.fps))
    return hysteresis(enters, stays, min_frames=min_frames).to(feet)


def at_standing_height(motion: Motion) -> Motion:
    """The motion moved up or down as a whole, so that feet in contact are at standing height."""
    feet = motion.joints()[:, list(FOOT_JOINTS)]
    height = feet[..., 1] - feet.new_tensor(rest_heights(motion.skeleton))
    off = height[motion.contacts > 0.5].median()
    shift = off * off.new_tensor((0.0, 1.0, 0.0))
    return replace(motion, root_translation=motion.root_translation - shift)


def _upwards(heights: Tensor) -> Tensor:
    return heights[:, None] * heights.new_tensor((0.0, 1.0, 0.0))


def _speeds(feet: Tensor, fps: float) -> Tensor:
    """Speeds (T, 4) over about a tenth of a second around each frame."""
    reach = max(1, round(0.05 * fps))
    index = torch.arange(len(feet))
    after, before = (index + reach).clamp(max=len(feet) - 1), (index - reach).clamp(min=0)
    seconds = (after - before).clamp(min=1) / fps
    return torch.linalg.vector_norm(feet[after] - feet[before], dim=-1) / seconds[:, None]


def _plane(points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Slopes in x and z, and the height at the origin, of the plane most points (N, 3) lie on.

    Points over it count less than points under it: a foot that is held still in the air is no
    floor. Slopes are held back by what they usually are.
    """
    x, y, z = points.double().unbind(-1)
    columns = torch.stack((x, z, torch.ones_like(x)), dim=-1)
    weights = torch.where(y <= torch.quantile(y, 0.6), 1.0, 0.3).double()
    ridge = torch.diag(columns.new_tensor((1.0, 1.0, 0.0)) * 30 * (_HEIGHT / _TILT) ** 2)
    found = columns.new_zeros(3)
    for _ in range(_ROUNDS):
        weighted = columns * weights[:, None]
        share = weights.sum() / 30  # as if there were thirty points: frames aren't independent
        matrix = weighted.T @ columns / share + ridge + 1e-9 * torch.eye(3).double()
        found = torch.linalg.solve(matrix, weighted.T @ y / share)
        off = (y - columns @ found) / _HEIGHT
        weights = 1.0 / (1.0 + torch.where(off > 0, 2 * off, off).square())
    steep = torch.linalg.vector_norm(found[:2])
    limited = found[:2] * (_MAX_TILT / steep).clamp(max=1.0)
    height = found[2] + ((found[:2] - limited) * columns[:, :2].mean(0)).sum()
    return limited[0].to(points), limited[1].to(points), height.to(points)
