"""The mannequin as data: 22 joints, and the wooden pieces around them.

Figure space (see blender_addon.rig): metres, y up, +z forward, +x the figure's left, floor at 0.
Only NumPy in here; scene.mannequin makes Blender objects of it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Point = tuple[float, float, float]

_SEGMENTS = 20  # around a piece
_RINGS = 13  # along it


@dataclass(frozen=True, kw_only=True)
class Joint:
    """One bone of the mannequin: it starts at its joint and ends at `tail`."""

    parent: str  # "" for the root
    head: Point
    tail: Point


def _joints() -> dict[str, Joint]:
    middle: dict[str, Joint] = {
        "pelvis": Joint(parent="", head=(0, 0.971, 0), tail=(0, 1.103, 0)),
        "spine1": Joint(parent="pelvis", head=(0, 1.103, 0), tail=(0, 1.246, 0)),
        "spine2": Joint(parent="spine1", head=(0, 1.246, 0), tail=(0, 1.303, 0)),
        "spine3": Joint(parent="spine2", head=(0, 1.303, 0), tail=(0, 1.522, 0)),
        "neck": Joint(parent="spine3", head=(0, 1.522, 0), tail=(0, 1.622, 0.02)),
        "head": Joint(parent="neck", head=(0, 1.622, 0.02), tail=(0, 1.81, 0.02)),
    }
    left: dict[str, Joint] = {
        "hip": Joint(parent="pelvis", head=(0.075, 0.896, 0), tail=(0.075, 0.504, 0)),
        "knee": Joint(parent="hip", head=(0.075, 0.504, 0), tail=(0.075, 0.075, 0)),
        "ankle": Joint(parent="knee", head=(0.075, 0.075, 0), tail=(0.075, 0.02, 0.134)),
        "foot": Joint(parent="ankle", head=(0.075, 0.02, 0.134), tail=(0.075, 0.02, 0.204)),
        "collar": Joint(parent="spine3", head=(0.075, 1.418, -0.02), tail=(0.195, 1.458, -0.02)),
        "shoulder": Joint(parent="collar", head=(0.195, 1.458, -0.02), tail=(0.455, 1.458, -0.02)),
        "elbow": Joint(parent="shoulder", head=(0.455, 1.458, -0.02), tail=(0.723, 1.458, -0.02)),
        "wrist": Joint(parent="elbow", head=(0.723, 1.458, -0.02), tail=(0.9, 1.458, -0.02)),
    }
    joints = dict(middle)
    for side, sign in (("left", 1.0), ("right", -1.0)):
        for name, joint in left.items():
            parent = joint.parent if joint.parent in middle else f"{side}_{joint.parent}"
            joints[f"{side}_{name}"] = Joint(
                parent=parent, head=_mirrored(joint.head, sign), tail=_mirrored(joint.tail, sign)
            )
    return joints


def _mirrored(point: Point, sign: float) -> Point:
    return (sign * point[0], point[1], point[2])


JOINTS = _joints()


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A turned piece of wood around the line from start to end, fixed to one bone.

    width is along x for upright pieces and up for pieces that lie along x; depth is the other
    way across. sharpness 2 is an ellipsoid, more is nearer to a cylinder. taper is the size at
    the end against that at the start.
    """

    bone: str
    start: Point
    end: Point
    width: float
    depth: float
    sharpness: float = 2.0
    taper: float = 1.0
    is_joint: bool = False  # darker wood
    is_on_floor: bool = False  # flat below


def _ball(bone: str, centre: Point, radius: float) -> Piece:
    x, y, z = centre
    start, end = (x, y - radius, z), (x, y + radius, z)
    return Piece(bone=bone, start=start, end=end, width=2 * radius, depth=2 * radius, is_joint=True)


def _pieces() -> tuple[Piece, ...]:
    middle = (
        Piece(
            bone="pelvis",
            start=(0, 1.045, 0),
            end=(0, 0.835, 0.0),
            width=0.29,
            depth=0.19,
            sharpness=2.6,
            taper=0.85,
        ),
        Piece(
            bone="spine1",
            start=(0, 1.0, 0.002),
            end=(0, 1.205, 0.002),
            width=0.215,
            depth=0.155,
            sharpness=2.2,
            is_joint=True,
        ),
        Piece(
            bone="spine2",
            start=(0, 1.135, 0.002),
            end=(0, 1.315, 0.0),
            width=0.245,
            depth=0.172,
            sharpness=2.5,
            taper=1.08,
        ),
        Piece(
            bone="spine3",
            start=(0, 1.2, 0.004),
            end=(0, 1.535, -0.012),
            width=0.325,
            depth=0.21,
            sharpness=2.8,
            taper=0.98,
        ),
        Piece(
            bone="neck",
            start=(0, 1.48, -0.012),
            end=(0, 1.665, 0.014),
            width=0.118,
            depth=0.118,
            sharpness=4.0,
            taper=0.86,
            is_joint=True,
        ),
        Piece(
            bone="head",
            start=(0, 1.572, 0.045),
            end=(0, 1.832, 0.012),
            width=0.162,
            depth=0.2,
            sharpness=2.25,
            taper=1.28,
        ),
    )
    left = (
        Piece(
            bone="collar",
            start=(0.03, 1.44, -0.018),
            end=(0.215, 1.462, -0.02),
            width=0.098,
            depth=0.115,
            sharpness=2.6,
            taper=0.95,
        ),
        _ball("shoulder", (0.195, 1.458, -0.02), 0.058),
        Piece(
            bone="shoulder",
            start=(0.2, 1.458, -0.02),
            end=(0.448, 1.458, -0.02),
            width=0.096,
            depth=0.096,
            sharpness=3.0,
            taper=0.76,
        ),
        _ball("elbow", (0.455, 1.458, -0.02), 0.039),
        Piece(
            bone="elbow",
            start=(0.462, 1.458, -0.02),
            end=(0.722, 1.458, -0.02),
            width=0.08,
            depth=0.084,
            sharpness=3.0,
            taper=0.6,
        ),
        _ball("wrist", (0.723, 1.458, -0.02), 0.026),
        Piece(
            bone="wrist",
            start=(0.728, 1.457, -0.02),
            end=(0.832, 1.455, -0.02),
            width=0.034,
            depth=0.084,
            sharpness=3.2,
            taper=0.95,
        ),
        Piece(
            bone="wrist",
            start=(0.806, 1.456, -0.022),
            end=(0.912, 1.449, -0.022),
            width=0.027,
            depth=0.078,
            sharpness=3.0,
            taper=0.72,
        ),
        Piece(
            bone="wrist",
            start=(0.742, 1.452, 0.012),
            end=(0.82, 1.446, 0.05),
            width=0.024,
            depth=0.025,
            sharpness=3.0,
            taper=0.8,
        ),
        _ball("hip", (0.082, 0.896, 0.0), 0.078),
        Piece(
            bone="hip",
            start=(0.083, 0.9, 0.0),
            end=(0.075, 0.5, 0.004),
            width=0.152,
            depth=0.162,
            sharpness=3.0,
            taper=0.62,
        ),
        _ball("knee", (0.075, 0.504, 0.004), 0.052),
        Piece(
            bone="knee",
            start=(0.075, 0.505, -0.004),
            end=(0.075, 0.075, -0.006),
            width=0.108,
            depth=0.118,
            sharpness=3.0,
            taper=0.5,
        ),
        _ball("ankle", (0.075, 0.078, -0.004), 0.037),
        Piece(
            bone="ankle",
            start=(0.075, 0.042, -0.068),
            end=(0.076, 0.022, 0.152),
            width=0.088,
            depth=0.092,
            sharpness=2.9,
            taper=0.9,
            is_on_floor=True,
        ),
        Piece(
            bone="foot",
            start=(0.077, 0.02, 0.112),
            end=(0.078, 0.016, 0.21),
            width=0.086,
            depth=0.05,
            sharpness=2.5,
            taper=0.84,
            is_on_floor=True,
        ),
    )
    sides = (
        (side, sign, piece) for side, sign in (("left", 1.0), ("right", -1.0)) for piece in left
    )
    mirrored = (
        Piece(
            **{
                **vars(piece),
                "bone": f"{side}_{piece.bone}",
                "start": _mirrored(piece.start, sign),
                "end": _mirrored(piece.end, sign),
            }
        )
        for side, sign, piece in sides
    )
    return (*middle, *mirrored)


PIECES = _pieces()


def piece_points(piece: Piece) -> FloatArray:
    """Vertices (rings * segments + 2, 3): rings from start to end, then the two poles."""
    start, end = np.array(piece.start), np.array(piece.end)
    along = np.cos(np.linspace(np.pi, 0.0, _RINGS + 2))[1:-1]  # -1 to 1, denser at the ends
    radius = (1.0 - np.abs(along) ** piece.sharpness) ** (1.0 / piece.sharpness)
    share = (along + 1.0) / 2.0
    radius = radius * (1.0 + (piece.taper - 1.0) * share)
    direction = (end - start) / np.linalg.norm(end - start)
    side = np.array([0.0, 1.0, 0.0]) if abs(direction[0]) > 0.5 else np.array([1.0, 0.0, 0.0])
    side = side - direction * (side @ direction)
    side = side / np.linalg.norm(side)
    front = np.cross(direction, side)
    angle = np.linspace(0.0, 2 * np.pi, _SEGMENTS, endpoint=False)
    around = np.cos(angle)[:, None] * side * piece.width / 2
    around = around + np.sin(angle)[:, None] * front * piece.depth / 2
    rings = (start + share[:, None] * (end - start))[:, None] + radius[:, None, None] * around
    points = np.concatenate([rings.reshape(-1, 3), start[None], end[None]])
    if piece.is_on_floor:
        points[:, 1] = np.maximum(points[:, 1], 0.0)
    return points


def piece_triangles_and_quads() -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Faces of every piece, facing outwards: triangles (N, 3) at the poles, quads (M, 4)."""
    ring = np.arange(_RINGS - 1)[:, None] * _SEGMENTS
    here = np.arange(_SEGMENTS)
    there = (here + 1) % _SEGMENTS
    quads = np.stack(
        [ring + here, ring + there, ring + _SEGMENTS + there, ring + _SEGMENTS + here], axis=-1
    ).reshape(-1, 4)
    first_pole = np.full(_SEGMENTS, _RINGS * _SEGMENTS)
    last = (_RINGS - 1) * _SEGMENTS
    triangles = np.concatenate(
        [
            np.stack([first_pole, there, here], axis=-1),
            np.stack([first_pole + 1, last + here, last + there], axis=-1),
        ]
    )
    return triangles.astype(np.int32), quads.astype(np.int32)
