"""Stick figures on a sheet, so that a person can look at motions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from engine.motion.representation import estimate_heading, rotate_by_heading
from engine.motion.skeleton import SMPL_22

_COLOURS = {"left": "#d1495b", "right": "#2e6f95", "": "#333333"}
_VIEW_YAW = 0.6  # radians that the camera stands to the character's left of the front


@dataclass(frozen=True, kw_only=True)
class Strip:
    """One strip: poses of a motion (T, 22, 3) in metres, under a title."""

    title: str
    joints: NDArray[np.float32]


def draw_sheet(
    path: Path, strips: Sequence[Strip], *, num_poses: int = 10, num_columns: int = 1
) -> None:
    """Write a PNG with a strip per motion, poses from left to right at equal times.

    Every pose stands at its own place, seen from its first frame's front and a little from the
    left: the character's left side is red, the right one blue. The root's path is drawn from
    above at the end of the strip, from the dot on; up is ahead.
    """
    num_rows = -(-len(strips) // num_columns)
    figure = Figure(figsize=(1.25 * (num_poses + 1.6) * num_columns, 1.75 * num_rows), dpi=80)
    widths = [num_poses, 1.6] * num_columns
    axes = figure.subplots(num_rows, 2 * num_columns, squeeze=False, width_ratios=widths)
    places = axes.reshape(-1, 2)  # strips go along the rows
    for (poses_axes, path_axes), strip in zip(places, strips, strict=False):
        turned = replace(strip, joints=_turn_to_front(strip.joints))
        _draw_poses(poses_axes, turned, num_poses)
        _draw_path(path_axes, turned.joints)
    for unused in places[len(strips) :].flat:
        unused.axis("off")
    figure.tight_layout(pad=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def _turn_to_front(joints: NDArray[np.float32]) -> NDArray[np.float32]:
    """The motion turned about the up axis so that its first frame faces +z."""
    positions = torch.as_tensor(joints, dtype=torch.float32)
    return rotate_by_heading(positions, -estimate_heading(positions)[0]).numpy()


def _draw_poses(axes: Axes, strip: Strip, num_poses: int) -> None:
    frames = np.linspace(0, len(strip.joints) - 1, num_poses).round().astype(int)
    cos, sin = np.cos(_VIEW_YAW), np.sin(_VIEW_YAW)
    for place, frame in enumerate(frames):
        pose = strip.joints[frame]
        centred = pose - pose[0] * (1, 0, 1)
        # A camera in front sees the character's left (+x) on its right.
        across = cos * centred[:, 0] - sin * centred[:, 2] + 1.3 * place
        for joint, parent in enumerate(SMPL_22.parents):
            if parent >= 0:
                side = SMPL_22.joint_names[joint].partition("_")[0]
                colour = _COLOURS.get(side, _COLOURS[""])
                ends = [joint, parent]
                axes.plot(across[ends], centred[ends, 1], color=colour, linewidth=1.6)
    axes.axhline(0, color="#bbbbbb", linewidth=0.8)
    axes.set_aspect("equal")
    axes.set_xlim(-0.8, 1.3 * (num_poses - 1) + 0.8)
    axes.set_ylim(-0.15, max(2.0, float(strip.joints[..., 1].max()) + 0.1))
    axes.set_title(strip.title, fontsize=8, loc="left")
    axes.axis("off")


def _draw_path(axes: Axes, joints: NDArray[np.float32]) -> None:
    root = joints[:, 0, (0, 2)] - joints[0, 0, (0, 2)]
    axes.plot(-root[:, 0], root[:, 1], color="#555555")  # seen from above, +x is to the left
    axes.plot(0, 0, "o", color="#555555", markersize=4)
    reach = max(1.0, float(np.abs(root).max()) * 1.1)
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-reach, reach)
    axes.set_aspect("equal")
    axes.set_title(f"{2 * reach:.1f} m", fontsize=7)
    axes.set_xticks([])
    axes.set_yticks([])
