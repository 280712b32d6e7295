"""How the camera is turned, from a motion in the world and what is seen of it.

A motion that was lifted in the body's own frame doesn't say from where it is seen. For every turn
of a grid the body is placed so that it fits the keypoints best, and the best turn is refined by
finer grids. Shape letters: T frames, K keypoints, C turns that are tried.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from engine.motion.camera_fit import fit_root_translation
from engine.motion.rotations import turn_about_up

MAX_FRAMES = 64  # a longer clip is thinned out
_YAWS = 36
_PITCHES = (-30.0, -15.0, 0.0, 15.0, 30.0)  # degrees; positive looks down
_SLANT_COST = (0.1, 0.5)  # metres of each keypoint, of a squared radian of pitch and of roll
_HEADINGS = 72  # of the grid that a frame's heading is sought in
_TURNING_COST = 2.0  # metres of all keypoints together, of a radian turned in a second
_SMOOTHING = 0.15  # seconds
_ROUNDS = 5  # of refinement, each at half the spacing
_HEADING_ROUNDS = 2


def fit_orientations(
    points: Tensor,
    plane_points: Tensor,
    weights: Tensor,
    camera_rotations: Tensor,
    *,
    fps: float,
) -> Tensor:
    """The rotations (T, 3, 3) from a body's own axes to each frame's camera.

    One turn of the camera and the heading of every frame, found in turns: each is easier once the
    other is nearly right.

    Args:
        points: (T, K, 3) metres in the body's axes (y up, +z ahead), relative to the root.
        plane_points: (T, K, 2) keypoints on the plane at depth 1 of each frame's camera.
        weights: (T, K) confidence, 0 where nothing is seen.
        camera_rotations: (T, 3, 3) from the first camera's axes to each frame's.
        fps: frames per second.
    """
    sight = (plane_points, weights)
    facing = torch.eye(3).to(points).expand(len(points), 3, 3)
    for _ in range(_HEADING_ROUNDS):
        faced = points @ facing.mT
        turn = fit_camera_turn(faced, *sight, camera_rotations)
        heading = fit_headings(faced, *sight, camera_rotations @ turn, fps=fps)
        facing = turn_about_up(heading) @ facing
    turn = fit_camera_turn(points @ facing.mT, *sight, camera_rotations)
    return camera_rotations @ turn @ facing


def fit_camera_turn(
    points: Tensor, plane_points: Tensor, weights: Tensor, camera_rotations: Tensor
) -> Tensor:
    """The rotation (3, 3) from the world's axes to the first camera's.

    Args:
        points: (T, K, 3) metres in the world's axes (y up), relative to the root.
        plane_points: (T, K, 2) keypoints on the plane at depth 1 of each frame's camera.
        weights: (T, K) confidence, 0 where nothing is seen.
        camera_rotations: (T, 3, 3) from the first camera's axes to each frame's.
    """
    keep = torch.arange(0, len(points), -(-len(points) // MAX_FRAMES), device=points.device)
    seen = (points[keep], plane_points[keep], weights[keep], camera_rotations[keep])
    yaw = torch.linspace(0, 2 * math.pi, _YAWS + 1)[:-1]
    pitch = torch.deg2rad(torch.tensor(_PITCHES))
    angles = torch.cartesian_prod(yaw, pitch, torch.zeros(1)).to(points)  # (C, 3)
    best = _best(angles, seen)
    step = torch.tensor([math.pi / _YAWS, math.radians(7.5), math.radians(5.0)]).to(points)
    offsets = torch.cartesian_prod(*3 * [torch.tensor([-1.0, 0.0, 1.0])]).to(points)
    for _ in range(_ROUNDS):
        best = _best(best + offsets * step, seen)
        step = step / 2
    return turns_of(best[None])[0]


def fit_headings(
    points: Tensor, plane_points: Tensor, weights: Tensor, turns: Tensor, *, fps: float
) -> Tensor:
    """How far (T,) each frame's body is to be turned about the world's up axis, radians.

    A heading that was lifted drifts: every frame is tried with all turns of a grid, and the way
    through the grid is taken that fits the keypoints best and turns away slowly.

    Args:
        points: (T, K, 3) metres in the world's axes (y up), relative to the root.
        plane_points: (T, K, 2) keypoints on the plane at depth 1 of each frame's camera.
        weights: (T, K) confidence, 0 where nothing is seen.
        turns: (T, 3, 3) from the world's axes to each frame's camera.
        fps: frames per second.
    """
    angles = torch.linspace(-math.pi, math.pi, _HEADINGS + 1)[:-1].to(points)  # (C,)
    tried = turns @ turn_about_up(angles)[:, None]  # (C, T, 3, 3)
    misses = _misses(tried, (points, plane_points, weights)).mT  # (T, C)
    places = torch.arange(_HEADINGS, device=points.device)
    apart = (places[:, None] - places[None]).abs()
    apart = torch.minimum(apart, _HEADINGS - apart) * (2 * math.pi / _HEADINGS)  # (C, C)
    cost = _TURNING_COST * fps * apart.square()
    total, came_from = misses[0], []
    for miss in misses[1:]:
        best, place = (total[None] + cost).min(-1)
        came_from.append(place)
        total = best + miss
    chosen = [int(total.argmin())]
    for place in reversed(came_from):
        chosen.append(int(place[chosen[-1]]))
    heading = angles[torch.tensor(chosen[::-1], device=points.device)]
    # the grid is coarse: its steps are smoothed away, on the circle
    kernel = torch.hann_window(2 * round(_SMOOTHING * fps) + 3, periodic=False)[1:-1].to(points)
    circle = torch.stack((heading.cos(), heading.sin()))[None]
    reach = len(kernel) // 2
    padded = torch.nn.functional.pad(circle, (reach, reach), mode="replicate")
    smooth = torch.nn.functional.conv1d(padded.transpose(0, 1), kernel[None, None])[:, 0]
    return torch.atan2(smooth[1], smooth[0])


def turns_of(angles: Tensor) -> Tensor:
    """Rotations (C, 3, 3) from the world to cameras of azimuth, pitch and roll (C, 3), radians.

    At zeros the camera looks along -z at a body that faces it.
    """
    yaw, pitch, roll = angles.unbind(-1)
    zero, one = torch.zeros_like(yaw), torch.ones_like(yaw)
    cos, sin = torch.cos(yaw), torch.sin(yaw)
    # rows: right, down and ahead of a level camera that stands at (sin, 0, cos)
    level = torch.stack((cos, zero, -sin, zero, -one, zero, -sin, zero, -cos), dim=-1)
    cos, sin = torch.cos(pitch), torch.sin(pitch)
    tilt = torch.stack((one, zero, zero, zero, cos, -sin, zero, sin, cos), dim=-1)
    cos, sin = torch.cos(roll), torch.sin(roll)
    spin = torch.stack((cos, -sin, zero, sin, cos, zero, zero, zero, one), dim=-1)
    level, tilt, spin = (m.unflatten(-1, (3, 3)) for m in (level, tilt, spin))
    return spin @ tilt @ level


def _best(angles: Tensor, seen: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
    """The one of angles (C, 3) that fits best."""
    points, plane_points, weights, camera_rotations = seen
    turn = camera_rotations @ turns_of(angles)[:, None]  # (C, T, 3, 3)
    misses = _misses(turn, (points, plane_points, weights)).sum(-1)
    slant = angles[:, 1:].square() @ angles.new_tensor(_SLANT_COST)
    return angles[(misses + weights.sum() * slant).argmin()]


def _misses(turn: Tensor, seen: tuple[Tensor, Tensor, Tensor]) -> Tensor:
    """How far (C, T) the keypoints are from bodies turned by turn (C, T, 3, 3), metres."""
    points, plane_points, weights = seen
    turned = points @ turn.mT
    shape = turned.shape[:-1]
    plane = plane_points.expand(*shape, 2)
    weight = weights.expand(shape)
    placed = turned + fit_root_translation(turned, plane, weight)[..., None, :]
    # where the fit puts the body behind the camera, it doesn't fit
    depth = placed[..., 2:].clamp(min=0.1)
    missed = (placed[..., :2] / depth - plane).square().sum(-1) * placed[..., 2].clamp(0.1, 20) ** 2
    # a few mistaken keypoints must not turn the camera
    return (torch.sqrt(missed + 1e-4) * weight).sum(-1)
