"""Figures of a retargeted motion, out of where Blender puts the bones: NumPy only.

Nothing here is shared with the retargeting itself but the source's joints, so that an error in
one of them shows. Shape letters: T frames, N bones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LIMBS = tuple(
    (f"{side}_{start}", f"{side}_{end}")
    for side in ("left", "right")
    for start, end in (
        ("shoulder", "elbow"),
        ("elbow", "wrist"),
        ("hip", "knee"),
        ("knee", "ankle"),
    )
)
HINGES = tuple(
    (f"{side}_{a}", f"{side}_{b}", f"{side}_{c}")
    for side in ("left", "right")
    for a, b, c in (("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle"))
)
FEET = ("left_ankle", "left_foot", "right_ankle", "right_foot")
BENT_DEGREES = 20.0  # a limb less bent than that shows no hinge
REFERENCE_HEIGHT = 1.75


@dataclass(frozen=True)
class Posed:
    """A rig in the world over time, by joint of what is measured."""

    places: dict[str, np.ndarray]  # joint -> (T, 3)
    turns: dict[str, np.ndarray]  # joint -> (T, 3, 3) away from the rest pose; "chest" too
    rest: dict[str, np.ndarray]  # joint -> (3,)
    floor: float
    height: float  # of the body, metres


@dataclass(frozen=True)
class Figures:
    """Degrees; millimetres for a body of 1.75 m, slide per frame at 20 fps."""

    mean_direction: float
    max_direction: float
    worst_limb: str
    pelvis_side: float
    chest_side: float
    hinge: float
    bone_hinge: float
    flips: int
    slide: float
    penetration: float
    contacts: float  # share of frames


def to_world(points: np.ndarray, axes: np.ndarray) -> np.ndarray:
    """Points or directions (..., 3) of the motion in the world: axes are left, up, forward."""
    return points @ axes.T


def measure(
    source: dict[str, np.ndarray],
    source_turns: dict[str, np.ndarray],
    source_rest: dict[str, np.ndarray],
    contacts: np.ndarray,
    posed: Posed,
    axes: np.ndarray,
    fps: float,
) -> Figures:
    """Compare a posed rig with the joints of the motion that it was to follow.

    axes: (3, 3) the world directions of the motion's x, y and z as columns.
    """
    angles = {
        f"{a}": degrees(posed.places[b] - posed.places[a], to_world(source[b] - source[a], axes))
        for a, b in LIMBS
        if a in posed.places and b in posed.places
    }
    worst = max(angles, key=lambda limb: angles[limb].max())
    hinge, flips = _hinges(source, posed, axes)
    slide, depth, share = _feet(contacts, posed, fps)
    return Figures(
        mean_direction=float(np.mean(list(angles.values()))),
        max_direction=float(angles[worst].max()),
        worst_limb=worst,
        pelvis_side=_side("pelvis", "hip", source_turns, source_rest, posed, axes),
        chest_side=_side("chest", "shoulder", source_turns, source_rest, posed, axes),
        hinge=hinge,
        bone_hinge=_bone_hinges(source_turns, posed, axes),
        flips=flips,
        slide=slide,
        penetration=depth,
        contacts=share,
    )


def degrees(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angles (...) between directions (..., 3)."""
    a, b = _unit(a), _unit(b)
    return np.degrees(2 * np.arcsin(np.clip(np.linalg.norm(a - b, axis=-1) / 2, 0, 1)))


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.maximum(np.linalg.norm(vector, axis=-1, keepdims=True), 1e-12)


def _side(
    part: str,
    pair: str,
    source_turns: dict[str, np.ndarray],
    source_rest: dict[str, np.ndarray],
    posed: Posed,
    axes: np.ndarray,
) -> float:
    """The largest angle between the side axes of pelvis or chest."""
    if part not in posed.turns:
        return 0.0
    wanted = source_turns[part] @ (source_rest[f"left_{pair}"] - source_rest[f"right_{pair}"])
    found = posed.turns[part] @ (posed.rest[f"left_{pair}"] - posed.rest[f"right_{pair}"])
    return float(degrees(found, to_world(wanted, axes)).max())


def _hinges(source: dict[str, np.ndarray], posed: Posed, axes: np.ndarray) -> tuple[float, int]:
    """The largest angle between hinge axes where both limbs are bent, and how many point back."""
    largest, flips = 0.0, 0
    for a, b, c in HINGES:
        if c not in posed.places:
            continue
        wanted, bent = _hinge(source, a, b, c)
        found, found_bent = _hinge(posed.places, a, b, c)
        counted = bent & found_bent
        angle = degrees(found, to_world(wanted, axes) * np.linalg.det(axes))[counted]
        largest = max(largest, float(angle.max(initial=0.0)))
        flips += int((angle > 90).sum())
    return largest, flips


def _hinge(places: dict[str, np.ndarray], a: str, b: str, c: str) -> tuple[np.ndarray, np.ndarray]:
    upper, lower = _unit(places[b] - places[a]), _unit(places[c] - places[b])
    normal = np.cross(upper, lower)
    return normal, np.linalg.norm(normal, axis=-1) > np.sin(np.radians(BENT_DEGREES))


def _bone_hinges(source_turns: dict[str, np.ndarray], posed: Posed, axes: np.ndarray) -> float:
    """How far the lower limb's own hinge, not just its direction, is off the motion's.

    The hinge of a limb whose rest pose is bent is known from there; others are left out.
    """
    largest = 0.0
    for a, b, c in HINGES:
        if c not in posed.rest or b not in posed.turns:
            continue
        upper, lower = posed.rest[b] - posed.rest[a], posed.rest[c] - posed.rest[b]
        normal = np.cross(_unit(upper), _unit(lower))
        if np.linalg.norm(normal) < np.sin(np.radians(12)):
            continue
        side = 1.0 if b.startswith("left") else -1.0
        hinge = (1.0, 0.0, 0.0) if b.endswith("knee") else (0.0, -side, 0.0)  # of the T-pose
        wanted = to_world(source_turns[b] @ np.array(hinge), axes) * np.linalg.det(axes)
        largest = max(largest, float(degrees(posed.turns[b] @ normal, wanted).max()))
    return largest


def _feet(contacts: np.ndarray, posed: Posed, fps: float) -> tuple[float, float, float]:
    unit = 1000 * REFERENCE_HEIGHT / posed.height
    slide, depth, shares = 0.0, 0.0, []
    for column, joint in enumerate(FEET):
        if joint not in posed.places:
            continue
        place, stands = posed.places[joint], contacts[:, column] > 0.5
        shares.append(stands.mean())
        both = stands[1:] & stands[:-1]
        moved = np.linalg.norm(np.diff(place[:, :2], axis=0), axis=-1)[both]
        slide = max(slide, float(moved.max(initial=0.0)) * unit * fps / 20)
        rest = posed.rest[joint][2]
        least = np.where(stands, rest, min(rest, posed.floor))
        depth = max(depth, float((least - place[:, 2]).max()) * unit)
    return slide, depth, float(np.mean(shares))
