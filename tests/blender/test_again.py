"""Regenerate, Vary and Edit Prompt, from what is written on an action of Marey's."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy
import pytest

from blender_addon import protocol
from blender_addon.engine_link import session
from blender_addon.scene import pump, takes
from blender_addon.scene.action_writer import PROVENANCE_KEY
from blender_addon.ui import panels_takes
from tests.blender.test_panels import draw
from tests.blender.test_pump import FakeClient
from tests.blender.test_takes import candidate_of, client, generate, keys_of

pytestmark = [pytest.mark.blender, pytest.mark.usefixtures("addon")]

__all__ = ["client"]  # a fixture

MADE = {
    "prompt": "a person walks",
    "seed": 77,
    "model": "mdm-free",
    "model_hash": "aa",
    "num_frames": 30,
    "fps": 24.0,
    "num_steps": 12,
    "guidance_scale": 3.5,
}


def entry(name: str, model_hash: str, **words: Any) -> protocol.ModelEntry:
    return protocol.ModelEntry(
        name=name,
        method="m",
        accepts=["prompt"],
        fps=20.0,
        licence="",
        size_bytes=1,
        model_hash=model_hash,
        **words,
    )


@pytest.fixture
def made(client: FakeClient, mannequin: bpy.types.Object) -> bpy.types.Action:
    """An accepted action, from frame 5 on."""
    bpy.context.scene.frame_current = 5
    generate(client, mannequin, **MADE)
    bpy.ops.motion.accept()
    bpy.context.scene.frame_current = 50
    client.sent.clear()
    return mannequin.animation_data.action


def list_models(monkeypatch: pytest.MonkeyPatch, *entries: protocol.ModelEntry) -> None:
    monkeypatch.setattr(session, "models", lambda: list(entries))


def test_regenerate_asks_for_the_same(
    client: FakeClient, made: bpy.types.Action, monkeypatch: pytest.MonkeyPatch
) -> None:
    list_models(monkeypatch, entry("renamed", "aa"))
    assert bpy.ops.motion.regenerate() == {"FINISHED"}
    (sent,) = client.sent
    assert sent == protocol.PromptRequest(
        job_id=sent.job_id,
        prompt="a person walks",
        num_frames=30,
        fps=24.0,
        model="renamed",  # by its hash
        seed=77,
        num_steps=12,
        guidance_scale=3.5,
    )
    job = list(session.jobs)[-1]
    assert (job.start_frame, job.is_preview, job.expected_hash) == (5, True, "aa")


def test_the_same_answer_gives_the_same_keys(
    client: FakeClient, made: bpy.types.Action, mannequin: bpy.types.Object
) -> None:
    keys = keys_of(made)
    bpy.ops.motion.regenerate()
    job = list(session.jobs)[-1]
    client.inbox.append(candidate_of(job, 0, 1, **MADE))
    pump.poll()
    again = mannequin.animation_data.action
    assert again != made
    assert keys_of(again) == keys
    bpy.ops.motion.reject()
    assert mannequin.animation_data.action == made


def test_vary_asks_for_others(client: FakeClient, made: bpy.types.Action) -> None:
    bpy.context.scene.motion.count = 3
    bpy.ops.motion.vary()
    (sent,) = client.sent
    assert sent.count == 3
    assert sent.seed != 77
    assert (sent.prompt, sent.num_frames) == ("a person walks", 30)


def test_edit_prompt_sets_what_it_was_made_with(
    client: FakeClient, made: bpy.types.Action, monkeypatch: pytest.MonkeyPatch
) -> None:
    list_models(monkeypatch, entry("mdm-free", "aa"))
    parts = [{"prompt": "walks", "num_frames": 72}, {"prompt": "waves", "num_frames": 48}]
    made[PROVENANCE_KEY] = json.dumps({**MADE, "num_frames": 120, "prompts": parts, "loop": True})
    assert bpy.ops.motion.edit_prompt() == {"FINISHED"}
    settings = bpy.context.scene.motion
    assert (settings.prompt, settings.seconds, settings.loop) == ("walks", 3.0, True)
    assert [(part.prompt, part.seconds) for part in settings.then] == [("waves", 2.0)]
    assert (settings.seed, settings.lock_seed, settings.model) == (77, True, "mdm-free")
    bpy.context.scene.render.fps = 24
    bpy.ops.motion.generate()
    assert replace(client.sent[-1], job_id="x") == protocol.PromptRequest(
        job_id="x",
        prompt="walks",
        num_frames=120,
        fps=24.0,
        model="mdm-free",
        seed=77,
        num_steps=12,
        guidance_scale=3.5,
        then=[protocol.LaterPrompt(prompt="waves", num_frames=48)],
        loop=True,
    )


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ([entry("mdm-free", "aa")], ""),
        ([entry("mdm-free", "bb")], "is not the one that made this"),
        ([entry("other", "bb")], "is not here"),
        ([], ""),
    ],
)
def test_another_model_is_said(
    client: FakeClient,
    made: bpy.types.Action,
    monkeypatch: pytest.MonkeyPatch,
    entries: list[protocol.ModelEntry],
    words: str,
) -> None:
    list_models(monkeypatch, *entries)
    told = " ".join(draw(panels_takes.MOTION_PT_again))
    assert "a person walks" in told
    assert "Seed 77, mdm-free" in told
    assert ("differently" in told) == bool(words)
    assert words in told
    assert bpy.ops.motion.regenerate() == {"FINISHED"}
    assert client.sent[0].model == ("mdm-free" if not words or "made this" in words else "")


def test_a_result_of_another_model_warns(
    client: FakeClient, made: bpy.types.Action, mannequin: bpy.types.Object
) -> None:
    bpy.ops.motion.regenerate()
    job = list(session.jobs)[-1]
    client.inbox.append(candidate_of(job, 0, 1, **{**MADE, "model_hash": "bb"}))
    pump.poll()
    assert "differs" in job.warnings[0]


def test_from_a_file_of_another_machine(
    client: FakeClient, made: bpy.types.Action, tmp_path: Path
) -> None:
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "theirs.blend"))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    with bpy.data.libraries.load(str(tmp_path / "theirs.blend")) as (_, mine):
        mine.actions = ["a person walks"]
    bpy.ops.motion.add_mannequin()
    mannequin = bpy.context.object
    mannequin.animation_data_create().action = mine.actions[0]
    assert bpy.ops.motion.regenerate() == {"FINISHED"}
    assert (client.sent[-1].seed, client.sent[-1].prompt) == (77, "a person walks")


def test_what_marey_did_not_make_can_not_be_made_again(
    client: FakeClient, mannequin: bpy.types.Object
) -> None:
    mannequin.keyframe_insert("location", frame=1)
    assert not bpy.ops.motion.regenerate.poll()
    action = mannequin.animation_data.action
    for broken in ("{", "[1]", '{"prompt": ""}', 7):
        action[PROVENANCE_KEY] = broken
        assert not bpy.ops.motion.regenerate.poll()
        assert takes.provenance_of(action).get("prompt", "") == ""
    action[PROVENANCE_KEY] = '{"prompt": "a person walks"}'  # and nothing else
    with pytest.raises(RuntimeError, match="num_frames"):
        bpy.ops.motion.regenerate()


@pytest.mark.parametrize(
    "changed",
    [
        {"num_frames": None},
        {"fps": "fast"},
        {"num_frames": 0},
        {"seed": "lucky"},
        {"prompts": [{"prompt": "walks", "num_frames": 9}, {"prompt": "waves"}]},
    ],
)
def test_what_can_not_be_read_is_said_in_a_line(
    client: FakeClient, made: bpy.types.Action, changed: dict[str, Any]
) -> None:
    made[PROVENANCE_KEY] = json.dumps({**MADE, **changed})
    draw(panels_takes.MOTION_PT_again)
    for operator in (bpy.ops.motion.regenerate, bpy.ops.motion.edit_prompt):
        with pytest.raises(RuntimeError, match=r"can't be read|num_frames") as told:
            operator()
        assert "Traceback" not in str(told.value)
    assert client.sent == []


@pytest.mark.parametrize("changed", [{"seed": None}, {"prompts": 7}, {"prompts": ["walks"]}])
def test_what_is_missing_is_done_without(
    client: FakeClient, made: bpy.types.Action, changed: dict[str, Any]
) -> None:
    made[PROVENANCE_KEY] = json.dumps({**MADE, **changed})
    assert "a person walks" in draw(panels_takes.MOTION_PT_again)
    assert bpy.ops.motion.edit_prompt() == {"FINISHED"}
    assert bpy.ops.motion.regenerate() == {"FINISHED"}
    assert client.sent[-1].prompt == "a person walks"
    assert client.sent[-1].seed == changed.get("seed", 77) or client.sent[-1].seed == -1


def test_an_action_on_an_nla_strip_counts(
    client: FakeClient, made: bpy.types.Action, mannequin: bpy.types.Object
) -> None:
    animation = mannequin.animation_data
    animation.action = None
    track = animation.nla_tracks.new()
    track.strips.new("walk", 31, made)
    assert bpy.ops.motion.regenerate() == {"FINISHED"}
    assert list(session.jobs)[-1].start_frame == 31
