"""Candidates: looked at, accepted or rejected, without a trace in the file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy
import pytest

from blender_addon import protocol
from blender_addon.engine_link import session
from blender_addon.engine_link.jobs import Job, JobState
from blender_addon.engine_link.session import EngineState
from blender_addon.scene import pump, takes
from blender_addon.scene.action_writer import assign_action, curves_of
from blender_addon.ui import panels_takes
from tests.blender.test_panels import draw
from tests.blender.test_pump import FakeClient
from tests.blender_addon.rig.figures import walk_motion

pytestmark = [pytest.mark.blender, pytest.mark.usefixtures("addon")]


@pytest.fixture
def client(addon: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeClient]:
    fake = FakeClient()
    session.reset()
    monkeypatch.setattr(session, "client", fake)
    monkeypatch.setattr(session, "state", EngineState.READY)
    yield fake
    session.reset()


def generate(client: FakeClient, armature: bpy.types.Object, count: int = 1, **words: Any) -> Job:
    """Press Generate, and let the engine answer with walks of different speed."""
    bpy.context.view_layer.objects.active = armature
    bpy.context.scene.motion.count = count
    assert bpy.ops.motion.generate() == {"FINISHED"}
    job = list(session.jobs)[-1]
    assert client.sent[-1].count == count
    for candidate in range(count):
        client.inbox.append(candidate_of(job, candidate, count, **words))
    pump.poll()
    return job


def candidate_of(job: Job, candidate: int, count: int, **words: Any) -> protocol.JobResult:
    walk = walk_motion(10)
    provenance = {"prompt": "a person walks", "seed": 7 + candidate, "model": "fake", **words}
    return replace(
        walk,
        job_id=job.job_id,
        candidate=candidate,
        count=count,
        root_translation=walk.root_translation * (1.0, 1.0, 1.0 + 0.1 * candidate),
        provenance=json.dumps(provenance),
    )


def state_of_file(armature: bpy.types.Object) -> dict[str, Any]:
    """All that a take could leave behind."""
    animation = armature.animation_data
    return {
        "actions": sorted((one.name, one.use_fake_user, one.users) for one in bpy.data.actions),
        "keys": {one.name: sorted(one.keys()) for one in bpy.data.actions},
        "curves": {one.name: keys_of(one) for one in bpy.data.actions},
        "action": animation.action.name if animation and animation.action else None,
        "animation": animation is not None,
        "tracks": [track.name for track in animation.nla_tracks] if animation else [],
        "pose": {bone.name: tuple(map(tuple, bone.matrix_basis)) for bone in armature.pose.bones},
        "place": tuple(map(tuple, armature.matrix_basis)),
        "object": own_keys(armature),
        "scene": own_keys(bpy.context.scene),
    }


def own_keys(owner: Any) -> list[str]:
    """Custom properties; before Blender 5.0 registered ones are listed among them."""
    return sorted(key for key in owner.keys() if not key.startswith("motion"))  # noqa: SIM118


def keys_of(action: bpy.types.Action) -> dict[tuple[str, int], list[tuple[float, float]]]:
    curves = curves_of(action)
    return {
        (curve.data_path, curve.array_index): [tuple(p.co) for p in curve.keyframe_points]
        for curve in (curves.fcurves if curves else ())
    }


def own_action(armature: bpy.types.Object) -> bpy.types.Action:
    """What the artist had keyed before: not Marey's."""
    armature.pose.bones["head"].rotation_mode = "XYZ"
    armature.pose.bones["head"].rotation_euler = (0.2, 0.1, 0.0)
    for frame in (1, 5):
        armature.pose.bones["head"].keyframe_insert("rotation_euler", frame=frame)
    armature.pose.bones["left_wrist"].location = (0.1, 0.0, 0.0)  # posed, not keyed
    bpy.context.scene.frame_set(3)
    return armature.animation_data.action


def test_each_candidate_is_an_action_of_its_own(
    client: FakeClient, mannequin: bpy.types.Object
) -> None:
    job = generate(client, mannequin, 4)
    assert (job.state, job.num_written) == (JobState.DONE, 4)
    take = takes.take_of(mannequin)
    assert take is not None
    assert len(take.candidates) == 4
    assert take.shown == 0
    assert mannequin.animation_data.action == take.candidates[0]
    assert len({str(keys_of(action)) for action in take.candidates}) == 4
    seeds = [takes.provenance_of(action)["seed"] for action in take.candidates]
    assert seeds == [7, 8, 9, 10]


def test_the_picker_switches_what_the_character_does(
    client: FakeClient, mannequin: bpy.types.Object
) -> None:
    generate(client, mannequin, 3)
    places = []
    for number in (1, 2, 3):
        assert bpy.ops.motion.show_candidate(number=number) == {"FINISHED"}
        bpy.context.scene.frame_set(9)
        places.append(tuple(mannequin.pose.bones["pelvis"].matrix.translation))
    assert len(set(places)) == 3
    bpy.ops.motion.next_candidate()
    assert takes.take_of(mannequin).shown == 0
    bpy.ops.motion.next_candidate(step=-1)
    assert takes.take_of(mannequin).shown == 2
    assert {"1", "2", "3", "Accept", "Reject"} <= set(draw(panels_takes.MOTION_PT_candidates))


def test_accept_keeps_one_and_removes_the_others(
    client: FakeClient, mannequin: bpy.types.Object
) -> None:
    former = own_action(mannequin)
    before = keys_of(former)
    generate(client, mannequin, 3)
    bpy.ops.motion.show_candidate(number=2)
    wanted = keys_of(mannequin.animation_data.action)
    assert bpy.ops.motion.accept() == {"FINISHED"}
    kept = mannequin.animation_data.action
    assert keys_of(kept) == wanted
    assert (kept.name, kept.use_fake_user, kept.users) == ("a person walks", False, 1)
    assert set(bpy.data.actions) == {kept, former}
    assert keys_of(former) == before
    assert former.use_fake_user
    assert takes.take_of(mannequin) is None
    assert not bpy.ops.motion.accept.poll()


@pytest.mark.parametrize("has_action", [False, True])
@pytest.mark.parametrize("root", ["HIPS", "OBJECT"])
def test_reject_leaves_nothing(
    client: FakeClient, mannequin: bpy.types.Object, has_action: bool, root: str
) -> None:
    mannequin.motion_target.root = root
    mannequin.location = (1.0, 2.0, 0.0)
    if has_action:
        own_action(mannequin)
    else:
        mannequin.pose.bones["left_elbow"].rotation_quaternion = (0.8, 0.6, 0.0, 0.0)
    bpy.context.view_layer.update()
    before = state_of_file(mannequin)
    generate(client, mannequin, 3)
    bpy.context.scene.frame_set(8)
    bpy.ops.motion.show_candidate(number=3)
    bpy.context.scene.frame_set(3)
    generate(client, mannequin, 2)
    assert len(takes.take_of(mannequin).candidates) == 5
    assert bpy.ops.motion.reject() == {"FINISHED"}
    assert state_of_file(mannequin) == before


def test_candidates_of_an_object_in_motion_all_begin_where_it_stood(
    client: FakeClient, mannequin: bpy.types.Object
) -> None:
    mannequin.motion_target.root = "OBJECT"
    mannequin.location = (1.0, 2.0, 0.0)
    bpy.context.view_layer.update()
    bpy.context.scene.frame_current = 1
    generate(client, mannequin)
    bpy.context.scene.frame_set(10)  # somewhere else by now
    assert (mannequin.location - mannequin.location.__class__((1, 2, 0))).length > 0.1
    generate(client, mannequin)
    first, second = takes.take_of(mannequin).candidates
    begin = [keys_of(action)["location", 1][0][1] for action in (first, second)]
    assert begin[0] == pytest.approx(begin[1], abs=1e-6)


def test_undo_and_redo_of_every_step(client: FakeClient, mannequin: bpy.types.Object) -> None:
    name = mannequin.name
    bpy.ops.ed.undo_push(message="before")
    generate(client, mannequin, 2)
    bpy.ops.ed.undo_push(message="Generate Motion")  # the pump does that in a window
    bpy.ops.motion.show_candidate(number=2)
    bpy.ops.ed.undo_push(message="Show")
    bpy.ops.motion.accept()
    bpy.ops.ed.undo_push(message="Accept")
    assert len(bpy.data.actions) == 1
    bpy.ops.ed.undo()
    take = takes.take_of(bpy.data.objects[name])
    assert (len(take.candidates), take.shown) == (2, 1)
    bpy.ops.ed.undo()
    assert takes.take_of(bpy.data.objects[name]).shown == 0
    bpy.ops.ed.undo()
    assert len(bpy.data.actions) == 0
    assert bpy.data.objects[name].animation_data is None
    for _ in range(3):
        bpy.ops.ed.redo()
    assert len(bpy.data.actions) == 1
    assert takes.take_of(bpy.data.objects[name]) is None
    assert bpy.data.objects[name].animation_data.action is not None


def test_a_take_survives_saving_and_new_names(
    client: FakeClient, mannequin: bpy.types.Object, tmp_path: Path
) -> None:
    former = own_action(mannequin)
    generate(client, mannequin, 3)
    bpy.ops.motion.show_candidate(number=2)
    former.name, mannequin.name = "My Own", "Hero"
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "take.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "take.blend"))
    hero = bpy.data.objects["Hero"]
    take = takes.take_of(hero)
    assert (len(take.candidates), take.shown) == (3, 1)
    assert takes.lost_candidates() == []
    bpy.context.view_layer.objects.active = hero
    assert bpy.ops.motion.reject() == {"FINISHED"}
    assert [action.name for action in bpy.data.actions] == ["My Own"]
    assert hero.animation_data.action.name == "My Own"


def test_another_action_given_meanwhile_stays(
    client: FakeClient, mannequin: bpy.types.Object
) -> None:
    former = own_action(mannequin)
    generate(client, mannequin, 2)
    other = former.copy()
    assign_action(mannequin, other)
    take = takes.take_of(mannequin)
    assert (len(take.candidates), take.shown) == (2, -1)
    assert "something else" in " ".join(draw(panels_takes.MOTION_PT_candidates))
    bpy.ops.motion.reject()
    assert mannequin.animation_data.action == other
    assert set(bpy.data.actions) == {former, other}


def test_candidates_of_a_deleted_character_can_be_removed(
    client: FakeClient, mannequin: bpy.types.Object
) -> None:
    generate(client, mannequin, 2)
    assert not bpy.ops.motion.remove_lost.poll()
    bpy.data.objects.remove(mannequin)
    assert len(takes.lost_candidates()) == 2
    assert "Remove Them" in draw(panels_takes.MOTION_PT_candidates)
    assert bpy.ops.motion.remove_lost() == {"FINISHED"}
    assert len(bpy.data.actions) == 0


def test_a_duplicate_of_the_character_keeps_its_motion(
    client: FakeClient, mannequin: bpy.types.Object
) -> None:
    generate(client, mannequin, 2)
    twin = mannequin.copy()
    bpy.context.scene.collection.objects.link(twin)
    shared = twin.animation_data.action
    bpy.ops.motion.reject()
    assert list(bpy.data.actions) == [shared]
    assert twin.animation_data.action == shared
    assert takes.take_of(twin) is None


def test_a_strip_that_is_tweaked_is_said_and_changes_nothing(
    client: FakeClient, mannequin: bpy.types.Object
) -> None:
    former = own_action(mannequin)
    generate(client, mannequin, 2)
    animation = mannequin.animation_data
    animation.action = None
    track = animation.nla_tracks.new()
    track.strips.new("mine", 1, former)
    track.select = track.strips[0].select = True
    animation.nla_tracks.active = track
    animation.use_tweak_mode = True
    with pytest.raises(RuntimeError, match="tweak"):
        bpy.ops.motion.accept()
    animation.use_tweak_mode = False
    assert len(takes.take_of(mannequin).candidates) == 2


def test_a_cancelled_job_leaves_what_has_come(
    client: FakeClient, mannequin: bpy.types.Object
) -> None:
    bpy.context.scene.motion.count = 4
    assert bpy.ops.motion.generate() == {"FINISHED"}
    (job,) = session.jobs
    client.inbox.append(candidate_of(job, 0, 4))
    client.inbox.append(protocol.JobCancelled(job_id=job.job_id))
    client.inbox.append(candidate_of(job, 1, 4))
    pump.poll()
    assert (job.state, job.num_written, job.num_in_undo) == (JobState.CANCELLED, 1, 1)
    assert len(takes.take_of(mannequin).candidates) == 1


def test_the_seed_of_a_candidate_can_be_kept(
    client: FakeClient, mannequin: bpy.types.Object
) -> None:
    generate(client, mannequin, 2)
    bpy.ops.motion.show_candidate(number=2)
    assert bpy.ops.motion.keep_seed() == {"FINISHED"}
    settings = bpy.context.scene.motion
    assert (settings.seed, settings.lock_seed) == (8, True)
