"""Switching the add-on on and off, and what it puts into Blender."""

from __future__ import annotations

from pathlib import Path

import bpy
import pytest

import blender_addon
from blender_addon.engine_link.client import EngineLinkError
from blender_addon.scene import pump, target
from blender_addon.ui import preferences, sequencer

pytestmark = pytest.mark.blender


TIMERS = (
    pump.poll,
    pump._redraw_sidebars,
    pump._redraw_late,
    target._find_asked,
    sequencer._measure_asked,
    preferences.refresh_view,
)


def traces() -> dict[str, object]:
    """Everything that the add-on could leave behind."""
    names = [n for n in dir(bpy.app.handlers) if isinstance(getattr(bpy.app.handlers, n), list)]
    handlers = {n: [f.__module__ for f in getattr(bpy.app.handlers, n)] for n in names}
    draws = getattr(bpy.types.VIEW3D_MT_armature_add.draw, "_draw_funcs", [])
    return {
        "classes": sorted(name for name in dir(bpy.types) if name.startswith("MOTION_")),
        "operators": sorted(dir(bpy.ops.motion)),
        "scene": [n for n in dir(bpy.types.Scene) if n.startswith("motion")],
        "object": [n for n in dir(bpy.types.Object) if n.startswith("motion_target")],
        "handlers": handlers,
        "menu": [f.__module__ for f in draws if "registration" in f.__module__],
        "timer": [bpy.app.timers.is_registered(f) for f in TIMERS],
    }


def test_twenty_times_on_and_off_leaves_nothing() -> None:
    before = traces()
    armature = bpy.data.objects.new("Rig", bpy.data.armatures.new("Rig"))
    for _ in range(20):
        blender_addon.register()
        target.known_target(armature)  # asks for a timer
        preferences.look_soon()
        pump.redraw_soon()
        assert traces() != before
        blender_addon.unregister()
    assert traces() == before
    assert before["classes"] == []


def test_scene_settings_have_defaults(addon: None) -> None:
    settings = bpy.context.scene.motion
    assert settings.prompt
    assert (settings.seconds, settings.num_steps, settings.guidance_scale) == (6.0, 0, 0.0)


def test_every_operator_says_what_it_does(addon: None) -> None:
    classes = [getattr(bpy.types, name) for name in dir(bpy.types) if name.startswith("MOTION_OT")]
    assert len(classes) >= 6
    for operator in classes:
        told = getattr(operator, "bl_description", "") or hasattr(operator, "description")
        assert told, operator


def test_operators_wait_for_what_they_need(addon: None, mannequin: bpy.types.Object) -> None:
    assert bpy.ops.motion.engine_start.poll()
    assert not bpy.ops.motion.engine_stop.poll()
    assert not bpy.ops.motion.generate.poll()  # no engine
    assert not bpy.ops.motion.clear.poll()


def test_the_dice_changes_the_seed(addon: None) -> None:
    seeds = set()
    for _ in range(5):
        bpy.ops.motion.new_seed()
        seeds.add(bpy.context.scene.motion.seed)
    assert len(seeds) > 1


def test_without_preferences_a_source_checkout_is_used(addon: None, engine_python: Path) -> None:
    assert preferences.get_preferences() is None
    command = preferences.engine_command()
    assert command.engine_root == Path(__file__).resolve().parents[2]
    assert command.folder.is_dir()


def test_without_any_python_the_preferences_are_named(
    addon: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(preferences, "_SOURCE_ROOT", tmp_path)
    with pytest.raises(EngineLinkError, match="preferences"):
        preferences.engine_command()
    with pytest.raises(RuntimeError, match="preferences"):
        bpy.ops.motion.engine_start()


def test_all_sidebar_panels_are_in_the_tab(addon: None) -> None:
    panels = [getattr(bpy.types, name) for name in dir(bpy.types) if name.startswith("MOTION_PT")]
    assert {panel.bl_category for panel in panels} == {"Marey"}
    assert {panel.bl_space_type for panel in panels} == {"VIEW_3D", "SEQUENCE_EDITOR"}
