"""Rigs that are no human body, with names that say nothing; and a human with wings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from blender_addon.rig.target_rig import TargetRig
from tests.blender_addon.rig.family_rigs import (
    A_POSE,
    T_POSE,
    FamilyRig,
    build,
    target_rig,
    with_names,
)
from tests.blender_addon.rig.family_specs import FAMILIES

# Bone -> parent and place. Blender's axes: z up, facing -y.
Bones: TypeAlias = dict[str, tuple[str, tuple[float, float, float]]]
SIDES = (("l", 1.0), ("r", -1.0))
HUMAN = replace(FAMILIES["unreal 4"], extras=(), side_twists={}, roots=())


def creature_rig(bones: Bones) -> TargetRig:
    made = FamilyRig(
        family=HUMAN,
        heads={name: np.array(place, dtype=np.float64) for name, (_, place) in bones.items()},
        parents={name: parent for name, (parent, _) in bones.items()},
        joints={},
        twists=set(),
    )
    rig = target_rig(made)
    return with_names(rig, {name: f"q{i * 7919 % 10007}" for i, name in enumerate(rig.bone_names)})


def quadruped() -> Bones:
    bones: Bones = {
        "root": ("", (0, 0, 0)),
        "pelvis": ("root", (0, 0.5, 0.9)),
        "back": ("pelvis", (0, 0.2, 0.95)),
        "back2": ("back", (0, -0.1, 0.95)),
        "chest": ("back2", (0, -0.4, 0.95)),
        "neck": ("chest", (0, -0.6, 1.0)),
        "head": ("neck", (0, -0.8, 1.2)),
        "nose": ("head", (0, -1.0, 1.2)),
        "tail": ("pelvis", (0, 0.6, 0.9)),
        "tail2": ("tail", (0, 0.8, 0.7)),
    }
    for s, x in SIDES:
        bones |= {
            f"thigh{s}": ("pelvis", (0.15 * x, 0.5, 0.85)),
            f"shin{s}": (f"thigh{s}", (0.15 * x, 0.42, 0.5)),
            f"hock{s}": (f"shin{s}", (0.15 * x, 0.6, 0.25)),
            f"paw{s}": (f"hock{s}", (0.15 * x, 0.55, 0.05)),
            f"claw{s}": (f"paw{s}", (0.15 * x, 0.45, 0.02)),
            f"blade{s}": ("chest", (0.09 * x, -0.4, 0.95)),
            f"arm{s}": (f"blade{s}", (0.15 * x, -0.45, 0.7)),
            f"fore{s}": (f"arm{s}", (0.15 * x, -0.35, 0.45)),
            f"wrist{s}": (f"fore{s}", (0.15 * x, -0.4, 0.15)),
            f"front{s}": (f"wrist{s}", (0.15 * x, -0.5, 0.02)),
        }
    return bones


def dinosaur() -> Bones:
    """Two legs, a level trunk, short arms."""
    bones = quadruped()
    for s, x in SIDES:
        for name, place in (
            ("arm", (0.14 * x, -0.45, 0.85)),
            ("fore", (0.14 * x, -0.42, 0.75)),
            ("wrist", (0.14 * x, -0.5, 0.7)),
            ("front", (0.14 * x, -0.54, 0.69)),
        ):
            bones[f"{name}{s}"] = (bones[f"{name}{s}"][0], place)
    return bones


def bird() -> Bones:
    bones: Bones = {
        "root": ("", (0, 0, 0.5)),
        "back": ("root", (0, -0.1, 0.6)),
        "chest": ("back", (0, -0.25, 0.72)),
        "neck": ("chest", (0, -0.33, 0.85)),
        "neck2": ("neck", (0, -0.36, 1.0)),
        "head": ("neck2", (0, -0.4, 1.1)),
        "beak": ("head", (0, -0.5, 1.1)),
        "tail": ("root", (0, 0.2, 0.45)),
    }
    for s, x in SIDES:
        bones |= {
            f"thigh{s}": ("root", (0.1 * x, 0, 0.48)),
            f"shin{s}": (f"thigh{s}", (0.12 * x, -0.12, 0.33)),
            f"tarsus{s}": (f"shin{s}", (0.12 * x, 0.03, 0.15)),
            f"foot{s}": (f"tarsus{s}", (0.12 * x, -0.02, 0.02)),
            f"claw{s}": (f"foot{s}", (0.12 * x, -0.15, 0.01)),
            f"wing{s}": ("chest", (0.12 * x, -0.2, 0.7)),
            f"wing2{s}": (f"wing{s}", (0.4 * x, -0.1, 0.75)),
            f"wing3{s}": (f"wing2{s}", (0.75 * x, -0.15, 0.75)),
            f"wing4{s}": (f"wing3{s}", (1.1 * x, 0, 0.75)),
            f"wing5{s}": (f"wing4{s}", (1.3 * x, 0.1, 0.75)),
        }
    return bones


def spider() -> Bones:
    bones: Bones = {
        "root": ("", (0, 0, 0.5)),
        "body": ("root", (0, -0.2, 0.5)),
        "head": ("body", (0, -0.4, 0.5)),
    }
    for pair in range(4):
        y = -0.3 + 0.15 * pair
        for s, x in SIDES:
            bones |= {
                f"coxa{pair}{s}": ("body", (0.1 * x, y, 0.5)),
                f"femur{pair}{s}": (f"coxa{pair}{s}", (0.5 * x, 2 * y, 0.9)),
                f"tibia{pair}{s}": (f"femur{pair}{s}", (0.9 * x, 3 * y, 0.4)),
                f"foot{pair}{s}": (f"tibia{pair}{s}", (1.1 * x, 3.5 * y, 0)),
            }
    return bones


def car() -> Bones:
    bones: Bones = {"root": ("", (0, 0, 0)), "body": ("root", (0, 0, 0.5))}
    for y in (1.0, -1.0):
        for s, x in SIDES:
            bones |= {
                f"axle{y}{s}": ("body", (0.5 * x, y, 0.5)),
                f"wheel{y}{s}": (f"axle{y}{s}", (0.8 * x, y, 0.4)),
                f"rim{y}{s}": (f"wheel{y}{s}", (0.9 * x, y, 0.4)),
            }
    return bones


def chain() -> Bones:
    return {f"c{i}": (f"c{i - 1}" if i else "", (0, 0, 0.1 * i)) for i in range(20)}


def face() -> Bones:
    bones: Bones = {"root": ("", (0, 0, 0)), "head": ("root", (0, 0, 0.2))}
    for place in range(12):
        for s, x in SIDES:
            near, far = (0.02 * place * x, -0.1, 0.2), (0.02 * place * x, -0.13, 0.21)
            bones |= {f"a{place}{s}": ("head", near), f"b{place}{s}": (f"a{place}{s}", far)}
    return bones


def _human(keep: Callable[[str], bool], *, arms_down: bool = True) -> Bones:
    made = build(HUMAN, A_POSE if arms_down else T_POSE)
    return {
        name: (made.parents[name] if keep(made.parents[name]) else "", _place(place))
        for name, place in made.heads.items()
        if keep(name)
    }


def _place(point: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in point)
    return x, y, z


def upper_half() -> Bones:
    return _human(lambda name: not name.startswith(("thigh", "calf", "foot", "ball")))


def lower_half() -> Bones:
    return _human(lambda name: name.startswith(("thigh", "calf", "foot", "ball", "pel", "spine")))


def hands() -> Bones:
    starts = ("lowerarm", "hand", "thumb", "index", "middle", "ring", "pinky")
    bones = _human(lambda name: name.startswith(starts), arms_down=False)
    return {"root": ("", (0, 0, 1.4))} | {
        name: (parent or "root", place) for name, (parent, place) in bones.items()
    }


def two_humans() -> Bones:
    one = _human(lambda name: True)
    other: Bones = {
        f"{name}_b": (f"{parent}_b" if parent else "", (place[0] + 2, place[1], place[2]))
        for name, (parent, place) in one.items()
    }
    return one | other


def centaur() -> Bones:
    bones = _human(lambda name: True)
    for s, x in SIDES:
        bones |= {
            f"h{s}": ("pelvis", (0.15 * x, 0.9, 0.9)),
            f"k{s}": (f"h{s}", (0.15 * x, 0.85, 0.5)),
            f"a{s}": (f"k{s}", (0.15 * x, 1.0, 0.15)),
            f"f{s}": (f"a{s}", (0.15 * x, 0.9, 0.02)),
        }
    return bones


CREATURES: dict[str, Callable[[], Bones]] = {
    "quadruped": quadruped,
    "dinosaur": dinosaur,
    "bird": bird,
    "spider": spider,
    "car": car,
    "chain": chain,
    "face": face,
    "upper half": upper_half,
    "lower half": lower_half,
    "hands": hands,
    "two humans": two_humans,
    "centaur": centaur,
    "nothing": lambda: {},
    "one bone": lambda: {"bone": ("", (0, 0, 0))},
}


def winged(made: FamilyRig) -> FamilyRig:
    """The figure with wings on its back."""
    for s, x in SIDES:
        wing = ((0.05, 0.12, 1.4), (0.4, 0.3, 1.7), (0.8, 0.35, 1.5), (1.2, 0.4, 1.2))
        parent = made.family.spine[-1]
        for step, (across, y, z) in enumerate(wing):
            name = f"wing{step}_{s}"
            made.heads[name] = np.array([x * across, y, z])
            made.parents[name] = parent
            parent = name
    return made
