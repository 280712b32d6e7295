"""Two characters in one armature: one of them is found, or none; never half of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from blender_addon.rig.bone_match import SURE_ENOUGH
from blender_addon.rig.recognise import recognise
from tests.blender_addon.rig.family_rigs import A_POSE, build, target_rig
from tests.blender_addon.rig.family_specs import FAMILIES

APART = 2.0  # metres
WRITINGS: dict[str, tuple[Callable[[str], str], Callable[[str], str]]] = {
    "namespaces": (lambda name: f"A:{name}", lambda name: f"B:{name}"),
    "copies": (lambda name: name, lambda name: f"{name}.001"),
    "endings": (lambda name: f"{name}_a", lambda name: f"{name}_b"),
}


@pytest.mark.parametrize("writing", WRITINGS)
@pytest.mark.parametrize("key", ["mixamo", "rigify deform", "biped", "unreal 5"])
def test_bones_of_two_bodies_are_not_mixed(key: str, writing: str) -> None:
    made = build(FAMILIES[key], A_POSE)
    heads, parents = {}, {}
    for number, rename in enumerate(WRITINGS[writing]):
        for name, head in made.heads.items():
            heads[rename(name)] = head + np.array([APART * number, 0.0, 0.0])
            parent = made.parents[name]
            parents[rename(name)] = rename(parent) if parent else ""
    rig = target_rig(replace(made, heads=heads, parents=parents), seed=1)
    match = recognise(rig)
    if match.overall_confidence < SURE_ENOUGH:
        return
    bones = [*match.bones.values(), *match.spine, *match.neck]
    assert len({bool(rig.heads[rig.index[bone]][0] > APART / 2) for bone in bones}) == 1


def test_a_sword_in_one_hand_leaves_arms_a_pair() -> None:
    made = build(replace(FAMILIES["unreal 4"], extras=(), side_twists={}, fingers=()), A_POSE)
    hand = made.joints["right_wrist"]
    for number in range(2):
        made.heads[f"sword{number}"] = made.heads[hand] + np.array([0.0, -0.1 - 0.8 * number, 0.0])
        made.parents[f"sword{number}"] = f"sword{number - 1}" if number else hand
    rig = target_rig(made, seed=1)
    names = {name: f"q{place * 7919 % 10007}" for place, name in enumerate(rig.bone_names)}
    match = recognise(replace(rig, bone_names=tuple(names[name] for name in rig.bone_names)))
    match.require_sure()
    assert {
        joint: match.bones[joint] for joint in ("left_wrist", "right_wrist", "right_elbow")
    } == {
        joint: names[made.joints[joint]] for joint in ("left_wrist", "right_wrist", "right_elbow")
    }
