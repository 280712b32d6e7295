"""One procedural human, with the bones and names of each family of rigs, extra bones included.

Blender's axes: z up, facing -y, left is +x; metres. Hierarchies are those of the families; places
are the same for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from blender_addon.rig.target_rig import TargetRig

FloatArray = npt.NDArray[np.float64]
SIDES = ("left", "right")
SEGMENTS = {
    "hip": ("hip", "knee"),
    "knee": ("knee", "ankle"),
    "shoulder": ("shoulder", "elbow"),
    "elbow": ("elbow", "wrist"),
}


@dataclass(frozen=True, kw_only=True)
class Posture:
    """The rest pose and proportions of the figure."""

    arms_down: float = 0.0  # radians from the T-pose
    elbow_bend: float = 0.05
    knee_bend: float = 0.02
    legs_apart: float = 0.02
    hands: float = 1.0  # size of hands, feet and head against a human's
    legs: float = 1.0  # length against a human's


T_POSE, A_POSE, ARMS_DOWN = Posture(), Posture(arms_down=0.8), Posture(arms_down=1.45)


@dataclass(frozen=True, kw_only=True)
class Family:
    """The bones of one family. {s} is the side's sign; limb parts are named as joints."""

    name: str  # as the match should say
    signs: tuple[str, str]
    pelvis: str
    spine: tuple[str, ...]
    neck: tuple[str, ...]
    head: str
    limbs: Mapping[str, str]  # hip, knee ... -> name with {s}
    roots: tuple[str, ...] = ()  # above the pelvis, on the ground, topmost first
    chain_twists: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    side_twists: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    before_hip: tuple[str, ...] = ()  # between pelvis and thigh
    leg_parent: str = ""  # of both thighs, if that isn't the pelvis
    collar_parent: str = ""  # of both collars, if that isn't the last spine bone
    after_collar: tuple[str, ...] = ()  # between collar and upper arm
    spine_parent: str = ""
    pelvis_parent: str = ""
    beside_pelvis: tuple[str, ...] = ()  # bones that start at the hips and hang on the pelvis
    fingers: tuple[str, ...] = ()  # {s} and {n}: 1 to 3
    toe_ends: tuple[str, ...] = ()
    head_ends: tuple[str, ...] = ()
    extras: tuple[tuple[str, str, str], ...] = ()  # name, parent, place; {s} makes two


def _limbs(*names: str) -> dict[str, str]:
    parts = ("hip", "knee", "ankle", "foot", "collar", "shoulder", "elbow", "wrist")
    return {part: name for part, name in zip(parts, names, strict=True) if name}


def places(posture: Posture) -> dict[str, FloatArray]:
    """Joints and other landmarks."""
    found: dict[str, tuple[float, ...]] = {"ground": (0, 0, 0), "hips": (0, 0, 0.98)}
    drop = 0.42 * posture.legs
    ankle = 0.94 - 2 * drop
    size = posture.hands
    for side, x in (("left", 1.0), ("right", -1.0)):
        cosine, sine = np.cos(posture.arms_down), np.sin(posture.arms_down)
        shoulder = np.array([x * 0.17, 0.02, 1.44])
        upper = np.array([x * cosine, 0, -sine])
        lower = upper * np.cos(posture.elbow_bend) - (0, np.sin(posture.elbow_bend), 0)
        elbow = shoulder + 0.27 * upper
        wrist = elbow + 0.25 * lower
        spread = posture.legs_apart * x
        found |= {
            f"{side}_hip": (x * 0.09, 0, 0.94),
            f"{side}_knee": (x * 0.09 + spread, -posture.knee_bend, 0.94 - drop),
            f"{side}_ankle": (x * 0.09 + 2 * spread, 0.03, ankle),
            f"{side}_foot": (x * 0.1 + 2 * spread, 0.03 - 0.13 * size, ankle - 0.07),
            f"{side}_toe_end": (x * 0.1 + 2 * spread, 0.03 - 0.21 * size, ankle - 0.07),
            f"{side}_heel": (x * 0.09 + 2 * spread, 0.07, ankle - 0.07),
            f"{side}_collar": (x * 0.03, 0, 1.43),
            f"{side}_shoulder": tuple(shoulder),
            f"{side}_elbow": tuple(elbow),
            f"{side}_wrist": tuple(wrist),
            f"{side}_pelvis_side": (x * 0.02, 0, 0.97),
            f"{side}_breast": (x * 0.08, -0.09, 1.28),
            f"{side}_eye": (x * 0.03, -0.1, 1.66),
            f"{side}_knee_pole": (x * 0.1, -0.6, 0.52),
            f"{side}_skirt": (x * 0.14, 0, 0.92),
            f"{side}_skirt_end": (x * 0.2, 0, 0.55),
        }
        for finger in range(5):
            across = np.array([0, (finger - 2) * 0.02 * size, 0.0])
            for joint in range(3):
                reach = size * ((0.03 if finger == 0 else 0.085) + 0.03 * joint)
                found[f"{side}_finger_{finger}_{joint}"] = tuple(wrist + reach * lower + across)
    found |= {"head_end": (0, -0.02, 1.62 + 0.2 * size), "jaw": (0, -0.06, 1.62)}
    found |= {"tail": (0, 0.1, 0.95), "sword": (-0.72, -0.1, 1.44)}
    return {name: np.array(place, dtype=np.float64) for name, place in found.items()}


@dataclass(kw_only=True)
class FamilyRig:
    """A rig and what should be found on it."""

    family: Family
    heads: dict[str, FloatArray]
    parents: dict[str, str]
    joints: dict[str, str]
    twists: set[str]


def build(family: Family, posture: Posture = T_POSE) -> FamilyRig:
    """All bones of a family's figure, parents first."""
    made = FamilyRig(family=family, heads={}, parents={}, joints={}, twists=set())
    landmarks = places(posture)

    def add(name: str, parent: str, place: FloatArray) -> str:
        made.heads[name], made.parents[name] = place, parent
        return name

    above = ""
    for number, root in enumerate(family.roots):
        above = add(root, above, np.array([0, 0, 0.02 * number]))
    made.joints["pelvis"] = add(family.pelvis, family.pelvis_parent or above, landmarks["hips"])
    for name in family.beside_pelvis:
        add(name, family.pelvis, landmarks["hips"] - (0, 0, 0.02))
    top = family.spine_parent or family.pelvis
    for step, name in enumerate(family.spine):
        share = (step + 0.5) / len(family.spine)
        top = add(name, top, np.array([0, 0.02 * np.sin(3 * share), 1.0 + 0.36 * share]))
    chest, neck_top = top, top
    for step, name in enumerate(family.neck):
        z = 1.48 + 0.13 * step / max(1, len(family.neck))
        neck_top = add(name, neck_top, np.array([0, 0, z]))
    made.joints["head"] = above = add(family.head, neck_top, np.array([0, -0.02, 1.62]))
    for step, name in enumerate(family.head_ends):
        above = add(name, above, landmarks["head_end"] + (0, 0, 0.1 * step))
    for side, sign in zip(SIDES, family.signs, strict=True):
        _add_leg(made, family, side, sign, landmarks, add)
        _add_arm(made, family, side, sign, landmarks, add, family.collar_parent or chest)
    _add_extras(family, landmarks, add)
    return made


def _add_extras(family, landmarks, add) -> None:
    for name, parent, place in family.extras:
        if "{s}" not in name:
            add(name, parent, landmarks[place])
            continue
        for side, sign in zip(SIDES, family.signs, strict=True):
            place_of_side = place if place in landmarks else f"{side}_{place}"
            add(name.format(s=sign), parent.format(s=sign), landmarks[place_of_side])


def _add_segment(made, family, side, sign, part, parent, landmarks, add) -> str:
    """One limb bone with its twist bones; returns the bone that the next part hangs on."""
    joint = f"{side}_{part}"
    bone = add(family.limbs[part].format(s=sign), parent, landmarks[joint])
    made.joints[joint] = bone
    start, end = (landmarks[f"{side}_{name}"] for name in SEGMENTS[part])
    last = bone
    chained = family.chain_twists.get(part, ())
    for step, name in enumerate(chained):
        share = (step + 1) / (len(chained) + 1)
        last = add(name.format(s=sign), last, start + share * (end - start))
        made.twists.add(last)
    beside = family.side_twists.get(part, ())
    for step, name in enumerate(beside):
        share = (step + 1) / (len(beside) + 1)
        made.twists.add(add(name.format(s=sign), bone, start + share * (end - start)))
    return last


def _add_leg(made, family, side, sign, landmarks, add) -> None:
    parent = family.leg_parent or family.pelvis
    for name in family.before_hip:
        parent = add(name.format(s=sign), parent, landmarks[f"{side}_pelvis_side"])
    for part in ("hip", "knee"):
        parent = _add_segment(made, family, side, sign, part, parent, landmarks, add)
    for part in ("ankle", "foot"):
        if part in family.limbs:
            parent = add(family.limbs[part].format(s=sign), parent, landmarks[f"{side}_{part}"])
            made.joints[f"{side}_{part}"] = parent
    for step, name in enumerate(family.toe_ends):
        place = landmarks[f"{side}_toe_end"] + (0, -0.04 * step, 0)
        parent = add(name.format(s=sign), parent, place)


def _add_arm(made, family, side, sign, landmarks, add, parent: str) -> None:
    if "collar" in family.limbs:
        parent = add(family.limbs["collar"].format(s=sign), parent, landmarks[f"{side}_collar"])
        made.joints[f"{side}_collar"] = parent
    for name in family.after_collar:
        middle = 0.4 * landmarks[f"{side}_collar"] + 0.6 * landmarks[f"{side}_shoulder"]
        parent = add(name.format(s=sign), parent, middle)
    for part in ("shoulder", "elbow"):
        parent = _add_segment(made, family, side, sign, part, parent, landmarks, add)
    if "wrist" not in family.limbs:
        return
    wrist = add(family.limbs["wrist"].format(s=sign), parent, landmarks[f"{side}_wrist"])
    made.joints[f"{side}_wrist"] = wrist
    for finger, pattern in enumerate(family.fingers):
        parent = wrist
        for joint in range(3):
            name = pattern.format(s=sign, n=joint + 1)
            parent = add(name, parent, landmarks[f"{side}_finger_{finger}_{joint}"])


def target_rig(
    made: FamilyRig, *, seed: int | None = None, matrix: FloatArray | None = None
) -> TargetRig:
    """The bones as Blender would hold them; `seed` shuffles their order and rolls them."""
    generator = np.random.default_rng(seed)
    names = list(made.heads)
    if seed is not None:
        names = _shuffled(made, generator)
    matrix = np.eye(4) if matrix is None else matrix
    heads = np.array([made.heads[name] for name in names]).reshape(-1, 3)
    heads = heads @ matrix[:3, :3].T + matrix[:3, 3]
    index = {name: i for i, name in enumerate(names)}
    parents = np.array([index.get(made.parents[name], -1) for name in names], dtype=np.int32)
    size = float(np.linalg.norm(np.ptp(heads, axis=0))) if len(heads) else 0.0
    tails = heads.copy()
    for bone in range(len(names)):
        children = np.flatnonzero(parents == bone)
        parent = parents[bone]
        if len(children):
            tails[bone] = heads[children[0]]
        elif parent >= 0:
            tails[bone] = heads[bone] + 0.5 * (heads[bone] - heads[parent])
        if np.linalg.norm(tails[bone] - heads[bone]) <= 1e-4 * size:
            tails[bone] = heads[bone] + matrix[:3, :3] @ (0, 0, 0.05)
    matrices = np.tile(np.eye(4), (len(names), 1, 1))
    matrices[:, :3, 3] = heads
    for bone in range(len(names)):
        along = (tails[bone] - heads[bone]) / np.linalg.norm(tails[bone] - heads[bone])
        side = np.cross(along, generator.normal(size=3))
        side /= np.linalg.norm(side)
        matrices[bone, :3, :3] = np.stack([side, along, np.cross(side, along)], axis=-1)
    count = len(names)
    return TargetRig(
        bone_names=tuple(names),
        parents=parents,
        rest_matrices=matrices,
        tails=tails,
        inherits_rotation=np.ones(count, dtype=bool),
        has_local_location=np.ones(count, dtype=bool),
        rotation_modes=("QUATERNION",) * count,
        object_matrix=np.eye(4),
    )


def _shuffled(made: FamilyRig, generator: np.random.Generator) -> list[str]:
    """Another order in which parents come before their children."""
    names: list[str] = []
    open_names = [name for name, parent in made.parents.items() if parent not in made.heads]
    while open_names:
        name = open_names.pop(int(generator.integers(len(open_names))))
        names.append(name)
        open_names += [child for child, parent in made.parents.items() if parent == name]
    return names


def with_names(rig: TargetRig, rename: Mapping[str, str]) -> TargetRig:
    """The same bones, called otherwise."""
    return replace(rig, bone_names=tuple(rename[name] for name in rig.bone_names))
