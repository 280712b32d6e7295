"""What Generate asks for, from the scene's settings."""

from __future__ import annotations

import bpy
import pytest

from blender_addon import protocol
from blender_addon.engine_link import session
from blender_addon.scene import pump
from blender_addon.scene.action_writer import curves_of
from blender_addon.ui import panels, prompt_operators, prompts
from tests.blender.test_panels import draw
from tests.blender.test_pump import FakeClient
from tests.blender.test_takes import client, generate

pytestmark = [pytest.mark.blender, pytest.mark.usefixtures("addon")]

__all__ = ["client"]  # a fixture


def press(client: FakeClient, armature: bpy.types.Object) -> protocol.PromptRequest:
    bpy.context.view_layer.objects.active = armature
    assert bpy.ops.motion.generate() == {"FINISHED"}
    return client.sent[-1]


def test_seeds_differ_until_one_is_chosen(client: FakeClient, mannequin: bpy.types.Object) -> None:
    settings = bpy.context.scene.motion
    assert len({press(client, mannequin).seed for _ in range(4)}) == 4
    assert settings.seed == 0  # pressing Generate changes nothing in the file
    settings.seed = 5
    assert settings.lock_seed
    assert [press(client, mannequin).seed for _ in range(2)] == [5, 5]
    settings.lock_seed = False
    assert press(client, mannequin).seed != 5
    bpy.ops.motion.new_seed()
    assert settings.lock_seed
    assert press(client, mannequin).seed == settings.seed


def test_panels_find_their_places_after_rows_came_or_went(client: FakeClient) -> None:
    settings = bpy.context.scene.motion
    for change in (
        lambda: setattr(settings, "length", "SCENE"),
        lambda: setattr(settings, "begin", "MARKER"),
        lambda: setattr(settings, "keep_as", "STRIP"),
        bpy.ops.motion.add_prompt,
        lambda: bpy.ops.motion.remove_prompt(index=0),
    ):
        pump.stop()
        change()
        assert bpy.app.timers.is_registered(pump._redraw_late)


def test_to_the_end_of_the_scene(client: FakeClient, mannequin: bpy.types.Object) -> None:
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end, scene.frame_current = 1, 100, 21
    scene.motion.length = "SCENE"
    assert press(client, mannequin).num_frames == 80
    scene.use_preview_range, scene.frame_preview_start, scene.frame_preview_end = True, 1, 60
    assert press(client, mannequin).num_frames == 40
    scene.frame_current = 60
    with pytest.raises(RuntimeError, match="move the playhead"):
        bpy.ops.motion.generate()
    assert "move the playhead" in " ".join(draw(panels.MOTION_PT_request))


def test_at_a_marker(client: FakeClient, mannequin: bpy.types.Object) -> None:
    scene = bpy.context.scene
    scene.motion.begin = "MARKER"
    with pytest.raises(RuntimeError, match="choose one"):
        bpy.ops.motion.generate()
    marker = scene.timeline_markers.new("jump", frame=33)
    scene.motion.marker = "jump"
    press(client, mannequin)
    assert list(session.jobs)[-1].start_frame == 33
    scene.timeline_markers.remove(marker)
    with pytest.raises(RuntimeError, match="no marker 'jump'"):
        bpy.ops.motion.generate()
    assert "no marker" in " ".join(draw(panels.MOTION_PT_request))


def test_a_sequence_of_prompts(client: FakeClient, mannequin: bpy.types.Object) -> None:
    scene = bpy.context.scene
    settings = scene.motion
    settings.prompt, settings.seconds = "a person walks forward", 3.0
    for _ in range(2):
        assert bpy.ops.motion.add_prompt() == {"FINISHED"}
    settings.then[0].prompt, settings.then[0].seconds = "a person waves", 2.0
    request = press(client, mannequin)
    assert request.num_frames == 100
    assert request.then == [protocol.LaterPrompt(prompt="a person waves", num_frames=40)]
    assert list(session.jobs)[-1].prompt == "a person walks forward, then a person waves"
    assert prompts.history().prompts[:2] == ("a person waves", "a person walks forward")
    settings.length, scene.frame_end = "SCENE", 41
    scene.frame_set(3)
    with pytest.raises(RuntimeError, match="longer than what is left"):
        bpy.ops.motion.generate()
    bpy.ops.motion.remove_prompt(index=1)
    bpy.ops.motion.remove_prompt(index=0)
    assert len(settings.then) == 0


def test_a_loop_is_a_cycle_for_blender(client: FakeClient, mannequin: bpy.types.Object) -> None:
    settings = bpy.context.scene.motion
    settings.loop = True
    mannequin.motion_target.root = "IN_PLACE"
    generate(client, mannequin, loop=True)
    assert client.sent[-1].loop
    action = mannequin.animation_data.action
    assert action.use_cyclic
    assert (action.frame_start, action.frame_end) == (1, 10)
    assert action["cycle_step"] > 0.1  # the way that in place takes out
    curves = curves_of(action).fcurves
    modes = {curve.data_path.rpartition(".")[2]: curve.modifiers[0].mode_after for curve in curves}
    assert modes["location"] == "REPEAT_OFFSET"
    assert modes["rotation_quaternion"] == "REPEAT"
    settings.repeat = False
    generate(client, mannequin, loop=True)
    newest = bpy.data.actions[-1]
    assert not any(len(curve.modifiers) for curve in curves_of(newest).fcurves)


def test_prompts_to_take(
    client: FakeClient, mannequin: bpy.types.Object, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = protocol.ModelEntry(
        name="mdm-free",
        method="m",
        accepts=["prompt"],
        fps=20.0,
        licence="Commercial use allowed. Trained on: much",
        size_bytes=1,
        model_hash="",
        default=True,
        captions=["a person sits down", "a person dances a waltz"],
    )
    monkeypatch.setattr(session, "models", lambda: [entry])
    prompts.history().clear()
    bpy.context.scene.motion.prompt = "a person waltzes"
    press(client, mannequin)
    assert prompts.matching("WALTZ", "") == ["a person waltzes", "a person dances a waltz"]
    assert prompts.matching("sits person", "mdm-free") == ["a person sits down"]
    told = draw(prompt_operators.MOTION_MT_prompts)
    assert {"a person waltzes", "a person sits down"} <= set(told)
    assert "Commercial use allowed" in draw(panels.MOTION_PT_request)
    assert bpy.ops.motion.use_prompt(prompt="a person sits down") == {"FINISHED"}
    assert bpy.context.scene.motion.prompt == "a person sits down"
    bpy.ops.motion.clear_history()
    assert prompts.history().prompts == ()
