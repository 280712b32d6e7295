"""From names to keys: each family of rigs, recognised, follows a motion and keeps its feet."""

from __future__ import annotations

import pytest

from blender_addon.rig.recognise import recognise
from blender_addon.rig.retarget import retarget
from tests.blender_addon.rig.family_rigs import A_POSE, T_POSE, Family, Posture, build, target_rig
from tests.blender_addon.rig.family_specs import FAMILIES
from tests.blender_addon.rig.figures import random_motion, walk_motion
from tests.blender_addon.rig.rig_parts import FREE


@pytest.mark.parametrize("posture", [T_POSE, A_POSE], ids=["T", "A"])
@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_recognised_rig_follows_the_motion(family: Family, posture: Posture) -> None:
    rig = target_rig(build(family, posture), seed=5)
    match = recognise(rig)
    free = retarget(random_motion(20), rig, match, FREE).report
    assert free.max_direction_error < 0.5
    planted = retarget(walk_motion(60), rig, match).report
    assert planted.contact_share > 0.2  # or nothing was measured
    assert planted.foot_slide_mm < 1.0
    assert planted.penetration_mm < 5.0
