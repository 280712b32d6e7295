"""Spine and neck picked by the bones at their ends."""

from __future__ import annotations

import pytest

from blender_addon.rig.bone_match import RigError
from blender_addon.rig.recognise import recognise, recognise_in_steps, with_picks
from blender_addon.rig.steps import finished
from tests.blender_addon.rig.family_rigs import A_POSE, build, target_rig
from tests.blender_addon.rig.family_specs import FAMILIES

RIG = target_rig(build(FAMILIES["unreal 5"], A_POSE), seed=1)
MATCH = recognise(RIG)


@pytest.mark.parametrize(
    ("picks", "spine", "neck"),
    [
        ({"spine_first": "spine_02"}, MATCH.spine[1:], MATCH.neck),
        ({"spine_last": "spine_03"}, MATCH.spine[:3], MATCH.neck),
        ({"spine_first": "spine_02", "spine_last": "spine_02"}, ("spine_02",), MATCH.neck),
        ({"spine_first": ""}, (), MATCH.neck),
        ({"neck_last": "neck_01", "spine_last": "spine_04"}, MATCH.spine[:4], ("neck_01",)),
        ({"neck_first": "spine_05", "spine_last": "spine_04"}, MATCH.spine[:4], None),
    ],
)
def test_a_chain_goes_from_its_first_bone_to_its_last(
    picks: dict[str, str], spine: tuple[str, ...], neck: tuple[str, ...] | None
) -> None:
    found = with_picks(RIG, MATCH, picks)
    assert found.spine == spine
    assert found.neck == (neck if neck is not None else ("spine_05", *MATCH.neck))


@pytest.mark.parametrize(
    ("picks", "message"),
    [
        ({"spine_first": "spine_04", "spine_last": "spine_02"}, "doesn't hang on spine_04"),
        ({"neck_last": "tentacle"}, "no bone tentacle"),
    ],
)
def test_ends_that_are_no_chain_are_refused(picks: dict[str, str], message: str) -> None:
    with pytest.raises(RigError, match=message):
        with_picks(RIG, MATCH, picks)


def test_steps_find_the_same() -> None:
    assert finished(recognise_in_steps(RIG)) == MATCH
