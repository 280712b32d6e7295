"""The way through the scene: where the motion starts, how large its path is, and what carries it.

Figure space (see blender_addon.rig). Shape letters: T frames.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from .bone_match import RigError
from .moving_rig import MovingRig
from .retarget_options import RetargetOptions, RootMode, Start
from .rotations import FloatArray, turn_about_y, unit
from .source_motion import SourceMotion
from .target_figure import TargetFigure, leg_length

_LEFT_AXES = (("left_hip", "right_hip"), ("left_shoulder", "right_shoulder"))


@dataclass(frozen=True, kw_only=True, eq=False)
class GroundPath:
    """Where the figure is on the ground, and where it faces."""

    place: FloatArray  # (T, 3) y is 0
    turn: FloatArray  # (T, 3, 3) about y

    def carried_back(self, points: FloatArray) -> FloatArray:
        """Points (T, 3) as they are to somebody who goes along."""
        return (np.swapaxes(self.turn, -1, -2) @ (points - self.place)[..., None])[..., 0]


def facing(left: FloatArray) -> FloatArray:
    """The direction (..., 3) over the ground that a body with this left axis (..., 3) faces."""
    forward = np.stack([-left[..., 2], np.zeros(left.shape[:-1]), left[..., 0]], axis=-1)
    return unit(forward)


def staged(source: SourceMotion, turn: FloatArray) -> SourceMotion:
    """The motion turned as it is to be in figure space; its path still in its own size."""
    if np.array_equal(turn, np.eye(3)):
        return source
    return replace(source, positions=source.positions @ turn.T, rotations=turn @ source.rotations)


def stage_turn(source: SourceMotion, target: TargetFigure, options: RetargetOptions) -> FloatArray:
    """By which a motion is turned (3, 3) to face in figure space as the options say."""
    turn = np.eye(3)
    if not options.keep_heading:
        left = sum(source.place(a)[0] - source.place(b)[0] for a, b in _LEFT_AXES)
        forward = facing(np.asarray(left))
        turn = turn_about_y(-np.arctan2(forward[0], forward[2]))
    if options.start is Start.ORIGIN:
        ahead = target.space.axes.T @ (0.0, -1.0, 0.0)
        turn = turn_about_y(np.arctan2(ahead[0], ahead[2])) @ turn
    return turn


def place_hips(
    moving: MovingRig, source: SourceMotion, target: TargetFigure, options: RetargetOptions
) -> None:
    """Move the figure so that its hips take the motion's path, scaled by the legs' length."""
    leg_ratio = leg_length(target.points) / leg_length(source.rest_points)
    scale = leg_ratio if options.scale is None else options.scale
    hips = (source.place("left_hip") + source.place("right_hip")) / 2
    start = hips[0]
    if options.start is Start.ORIGIN:  # the motion's own origin comes to the world's
        start = -target.space.from_world(np.zeros(3)) / scale
    wanted = scale * (hips - start)
    ankle_height = (target.points["left_ankle"][1] + target.points["right_ankle"][1]) / 2
    wanted[:, 1] = ankle_height + leg_ratio * (hips[:, 1] - _standing_ankle_height(source))
    moving.move_by(wanted - hips_of(moving, target))


def hips_of(moving: MovingRig, target: TargetFigure) -> FloatArray:
    """Where the middle between the hip joints is, (T, 3)."""
    return (moving.head(target.bone("left_hip")) + moving.head(target.bone("right_hip"))) / 2


def _standing_ankle_height(source: SourceMotion) -> float:
    """How high the motion's ankles are over its floor while they stand on it."""
    heights = [
        source.place(f"{side}_ankle")[source.contacts[:, column] > 0.5, 1]
        for side, column in (("left", 0), ("right", 2))
    ]
    standing = np.concatenate(heights)
    if len(standing) > 0:
        return float(np.median(standing))
    # Never stands: the height of the ankle over the toes at rest.
    rest = source.rest_points
    return float(rest["left_ankle"][1] - rest["left_foot"][1])


def move_to_floor(moving: MovingRig, target: TargetFigure, floor_z: float | None) -> None:
    """Raise or lower the whole figure so that its floor is at a world height."""
    upright = float(target.space.axes[2, 1])
    if floor_z is not None and upright > 0.5:  # a figure that lies has its floor elsewhere
        rise = (floor_z - float(target.space.ground[2])) / upright
        moving.move_by(np.broadcast_to([0.0, rise, 0.0], (moving.num_frames, 3)))


def carry(
    moving: MovingRig, target: TargetFigure, options: RetargetOptions, fps: float
) -> FloatArray | None:
    """Give the way over the ground to what the options name.

    Returns:
        (T, 4, 4) world matrices of the armature object for RootMode.OBJECT, else None.

    Raises:
        RigError: a root bone is asked for and the rig has none that carries its hips.
    """
    if options.root is RootMode.HIPS:
        return None
    path = _ground_path(moving, target, round(options.smooth_root_s * fps))
    if options.root is RootMode.BONE:
        _carry_by_bone(moving, target, _root_bone(target, options), path)
        return None
    if options.root is RootMode.IN_PLACE:
        moving.move_by(path.place[:1] - path.place)
        return None
    for bone, turn in moving.rotations.items():
        moving.rotations[bone] = np.swapaxes(path.turn, -1, -2) @ turn
    moving.place({bone: path.carried_back(head) for bone, head in moving.placed.items()})
    return _object_matrices(target, path)


def _ground_path(moving: MovingRig, target: TargetFigure, span: int) -> GroundPath:
    place = hips_of(moving, target) * (1.0, 0.0, 1.0)
    left = sum(moving.head(target.bone(a)) - moving.head(target.bone(b)) for a, b in _LEFT_AXES)
    forward = facing(_averaged(np.asarray(left), span))
    return GroundPath(
        place=_averaged(place, span),
        turn=turn_about_y(np.arctan2(forward[:, 0], forward[:, 2])),
    )


def _averaged(values: FloatArray, span: int) -> FloatArray:
    """Values (T, 3) averaged over a window of `span` frames; straight on beyond the ends."""
    if span < 2 or len(values) < 2:
        return values
    window = np.hanning(2 * (span // 2) + 3)[1:-1]
    reach = len(window) // 2
    # Mirrored through the end points: the first and last value keep their place.
    place = np.arange(-reach, len(values) + reach)
    bounded = np.abs((place + len(values) - 1) % (2 * (len(values) - 1)) - (len(values) - 1))
    padded = values[bounded]
    padded[place < 0] = 2 * values[0] - padded[place < 0]
    padded[place >= len(values)] = 2 * values[-1] - padded[place >= len(values)]
    columns = [np.convolve(c, window / window.sum(), mode="valid") for c in padded.T]
    return np.stack(columns, axis=-1)


def _root_bone(target: TargetFigure, options: RetargetOptions) -> int:
    rig = target.rig
    name = options.root_bone or target.match.root_bone
    if not name:
        raise RigError(
            "This rig has no root bone: choose one above the hips, or let the hips or the object "
            "carry the motion"
        )
    if name not in rig.index:
        raise RigError(f"The rig has no bone '{name}' to carry the motion")
    hips = rig.index[target.match.location_bone or target.match.bones["pelvis"]]
    root = rig.index[name]
    if root == hips or not rig.is_below(hips, root):
        raise RigError(
            f"'{name}' can't carry the motion: the hips' bone '{rig.bone_names[hips]}' does not "
            "hang on it"
        )
    return root


def _carry_by_bone(moving: MovingRig, target: TargetFigure, root: int, path: GroundPath) -> None:
    rest = moving.rest_head(root)
    moving.turn({root: path.turn})
    moving.place({root: path.place + path.turn @ rest})


def _object_matrices(target: TargetFigure, path: GroundPath) -> FloatArray:
    """World matrices (T, 4, 4) of the armature object that goes along with the path."""
    space = target.space
    turn = space.axes @ path.turn @ space.axes.T
    matrices = np.tile(np.eye(4), (len(turn), 1, 1))
    matrices[:, :3, :3] = turn
    # The figure's ground point goes to the path's place, everything turns about it.
    matrices[:, :3, 3] = space.to_world(path.place) - turn @ space.ground
    return matrices @ target.rig.object_matrix
