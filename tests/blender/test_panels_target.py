"""The panels of the character: what was found, what can be picked, and how well it came."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import bpy
import pytest

from blender_addon.scene import target
from blender_addon.scene.action_writer import PROVENANCE_KEY, write_action
from blender_addon.scene.retarget_source import retarget_armature
from blender_addon.ui import panels, panels_target
from tests.blender.blender_rigs import build, generate_rigify
from tests.blender.test_panels import draw
from tests.blender_addon.rig.figures import RigShape, walk_motion

pytestmark = [pytest.mark.blender, pytest.mark.usefixtures("addon")]

PANELS = (
    panels_target.MOTION_PT_target,
    panels_target.MOTION_PT_target_bones,
    panels_target.MOTION_PT_target_root,
    panels_target.MOTION_PT_target_feet,
    panels_target.MOTION_PT_retarget,
)


def active(armature: bpy.types.Object) -> bpy.types.Object:
    bpy.context.view_layer.objects.active = armature
    return armature


def found(armature: bpy.types.Object) -> bpy.types.Object:
    target.find_target(active(armature))
    return armature


def test_bones_are_still_looked_at_when_first_drawn() -> None:
    target.forget_targets()
    active(build(RigShape()))
    assert "Looking at the bones" in draw(panels_target.MOTION_PT_target)
    draw(panels_target.MOTION_PT_target_bones)


def test_a_rig_is_looked_at_though_its_panel_is_closed() -> None:
    """Else Generate would do it, which takes twice as long as a button may."""
    target.forget_targets()
    armature = active(build(RigShape()))
    draw(panels.MOTION_PT_request)
    assert bpy.app.timers.is_registered(target._find_asked)
    while target._asked:
        target._find_asked()
    assert target.known_target(armature) is not None
    armature.data.bones[0].use_deform = False  # not the rig that is known any more
    draw(panels.MOTION_PT_request)
    assert not target._asked  # once is enough where nobody looks


def test_a_known_rig_is_shown_with_its_family() -> None:
    found(build(RigShape()))
    told = draw(panels_target.MOTION_PT_target)
    assert told[:2] == ["Mixamo", "All bones were recognised"]
    assert "Automatic" in told


def test_each_joint_has_a_picker_and_shows_its_bone() -> None:
    found(build(RigShape()))
    told = draw(panels_target.MOTION_PT_target_bones)
    assert told[told.index("Left Side") :].index("mixamorig:LeftLeg") < told.index("Right Side")
    assert told.count("Knee") == 2
    assert "Spine: 3 bones" in told
    ends = [told[told.index(f"Spine {end}") + 1] for end in ("From", "To")]
    assert ends == ["mixamorig:Spine", "mixamorig:Spine2"]


def test_joints_without_a_bone_say_so() -> None:
    found(build(RigShape(leave_out=("LeftToeBase", "RightToeBase"))))
    assert draw(panels_target.MOTION_PT_target_bones).count("No bone") == 2
    target.forget_targets()
    assert "No bone" not in draw(panels_target.MOTION_PT_target_bones)  # who knows


def test_a_rig_that_is_none_says_what_to_do() -> None:
    crane = bpy.data.objects.new("Crane", bpy.data.armatures.new("Crane"))
    bpy.context.scene.collection.objects.link(crane)
    found(crane)
    told = " ".join(draw(panels_target.MOTION_PT_target))
    assert target.find_target(crane).problem in told
    draw(panels_target.MOTION_PT_target_bones)


def test_doubt_names_the_joints_to_look_at() -> None:
    match = target.find_match(build(RigShape()))
    confidence = {**match.confidence, "left_knee": 0.6, "head": 0.7}
    words, icon = panels_target.confidence_words(replace(match, confidence=confidence))
    assert "Left Knee" in words
    assert "Head" in words
    assert icon == "QUESTION"


@pytest.mark.parametrize("root", ["AUTO", "HIPS", "OBJECT", "BONE", "IN_PLACE"])
@pytest.mark.parametrize("floor", ["CHARACTER", "HEIGHT", "OBJECT"])
def test_all_panels_draw_with_all_choices(root: str, floor: str) -> None:
    armature = found(build(RigShape()))
    armature.motion_target.root, armature.motion_target.floor = root, floor
    for panel in PANELS:
        draw(panel)


def test_a_linked_character_is_said_to_need_an_override(
    tmp_path: object, mannequin: bpy.types.Object
) -> None:
    name = mannequin.name
    bpy.ops.wm.save_as_mainfile(filepath=f"{tmp_path}/a.blend")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    with bpy.data.libraries.load(f"{tmp_path}/a.blend", link=True) as (_, wanted):
        wanted.objects = [name]
    bpy.context.scene.collection.objects.link(wanted.objects[0])
    active(wanted.objects[0])
    told = " ".join(draw(panels_target.MOTION_PT_target))
    assert "make a library override" in told
    own = active(wanted.objects[0].override_create(remap_local_usages=True))
    found(own)
    assert "Change for This File" in draw(panels_target.MOTION_PT_target)
    target.own_settings(own)
    assert "Change for This File" not in draw(panels_target.MOTION_PT_target)


def test_the_result_of_a_prompt_is_shown() -> None:
    armature = found(build(RigShape()))
    assert not panels_target.MOTION_PT_report.poll(bpy.context)
    write_action(armature, walk_motion(20), start_frame=1)
    assert panels_target.MOTION_PT_report.poll(bpy.context)
    told = " ".join(draw(panels_target.MOTION_PT_report))
    assert "a person walks (seed 7)" in told
    assert "Bones: Mixamo" in told
    assert "Limbs within" in told
    assert "standing" in told


def test_the_result_of_retargeting_names_its_source(mannequin: bpy.types.Object) -> None:
    rig = build(RigShape())
    write_action(rig, walk_motion(20), start_frame=1)
    retarget_armature(rig, active(mannequin))
    told = " ".join(draw(panels_target.MOTION_PT_report))
    assert "From Rig, a person walks" in told
    assert "Source bones: Mixamo" in told


@pytest.mark.parametrize(
    "written",
    [
        "{",
        "[1]",
        "{}",
        '{"retarget": 3}',
        '{"retarget": {"notes": 5, "unmapped_joints": "x", "foot_slide_mm": "y"}}',
        '{"source": "x", "source_notes": 7}',
        json.dumps({"retarget": {"contact_share": 0.4, "penetration_mm": 9.0, "notes": ["Odd"]}}),
    ],
)
def test_whatever_is_written_on_an_action_can_be_drawn(written: str) -> None:
    armature = active(build(RigShape()))
    write_action(armature, walk_motion(10), start_frame=1)[PROVENANCE_KEY] = written
    draw(panels_target.MOTION_PT_report)


def test_bad_figures_have_a_sign() -> None:
    good = {"contact_share": 0.4, "foot_slide_mm": 0.2, "max_direction_error": 1.0}
    signs = {text[:4]: icon for icon, text in lines(good)}
    assert (signs["Limb"], signs["Feet"]) == ("CHECKMARK", "CHECKMARK")
    bad = {**good, "foot_slide_mm": 4.0, "max_direction_error": 14.0}
    signs = {text[:4]: icon for icon, text in lines(bad)}
    assert (signs["Limb"], signs["Feet"]) == ("ERROR", "ERROR")


def lines(report: dict[str, float]) -> tuple[tuple[str, str], ...]:
    return panels_target.report_lines(json.dumps({"retarget": report}))


def test_drawing_takes_no_time_even_on_rigify() -> None:
    armature = found(generate_rigify())
    write_action(armature, walk_motion(10), start_frame=1)
    for panel in (*PANELS, panels_target.MOTION_PT_report):
        draw(panel)
        start = time.thread_time()
        draw(panel)
        assert time.thread_time() - start < 0.02, panel
