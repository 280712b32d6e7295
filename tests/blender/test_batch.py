"""Batches in bpy, in this process, with a fake engine that runs already: ten jobs in seconds."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest

import blender_addon
from blender_addon.batch import cli, command
from blender_addon.batch.engine_requests import EngineRequests
from blender_addon.batch.jobs_file import parse_jobs
from blender_addon.batch.report import Outcome
from blender_addon.batch.runner import Runner
from blender_addon.engine_link import session
from blender_addon.engine_link.client import EngineClient
from blender_addon.scene.action_writer import IS_LAYERED, PROVENANCE_KEY
from blender_addon.scene.mannequin import add_mannequin
from blender_addon.scripting import BatchError, run_batch
from tests.blender.numbered_movie import strips_of, write_movie

pytestmark = [pytest.mark.blender, pytest.mark.end_to_end]

REPOSITORY = Path(__file__).resolve().parents[2]
TIMEOUT_S = 180.0

Job = dict[str, Any]
Batch = Callable[..., tuple[int, list[dict[str, Any]]]]


@pytest.fixture(scope="module")
def connection_file(
    engine_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """Of an engine with fake models, for all tests of this file."""
    file = tmp_path_factory.mktemp("engine") / "engine.json"
    words = [str(engine_python), "-m", "tests.fake_engine", "serve", "--connection-file", str(file)]
    with subprocess.Popen(words, cwd=REPOSITORY) as engine:
        deadline = time.monotonic() + TIMEOUT_S
        while not file.exists():
            assert engine.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield file
        engine.kill()


@pytest.fixture(autouse=True)
def addon() -> Iterator[None]:
    blender_addon.register()
    yield
    session.reset(wait_s=TIMEOUT_S)
    blender_addon.unregister()


@pytest.fixture
def shot(tmp_path: Path) -> Path:
    """A file with two mannequins, Ann and Bob."""
    for name in ("Ann", "Bob"):
        add_mannequin(bpy.context).name = name
    bpy.context.scene.render.fps = 24
    bpy.context.scene.frame_start = 5
    path = tmp_path / "shot.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(path))
    return path


@pytest.fixture
def batch(
    shot: Path, connection_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> Batch:
    """Run the command on some jobs: its exit code, and what it has told of each."""

    def run(jobs: object, *words: object, blend: Path = shot) -> tuple[int, list[dict[str, Any]]]:
        file = tmp_path / "jobs.json"
        file.write_text(json.dumps(jobs))
        options = ["--connection-file", connection_file, *words]
        code = cli.run([*map(str, ["batch", blend, file, *options])], takes_blend=True)
        told = capfd.readouterr()
        run.errors = told.err
        lines = [line for line in told.out.splitlines() if line.startswith("{")]
        return code, [json.loads(line) for line in lines]

    return run


def errors_of(batch: Batch) -> str:
    return batch.errors


def ten_jobs(**changes: Any) -> list[Job]:
    prompts = ["a person walks", "a person waves", "a person turns", "a person walks", "a run"]
    return [
        {"prompt": prompt, "armature": armature, "seconds": 0.5, **changes}
        for armature in ("Ann", "Bob")
        for prompt in prompts
    ]


def curves_of(action: bpy.types.Action) -> list[bpy.types.FCurve]:
    if not IS_LAYERED:
        return list(action.fcurves)
    bags = [bag for layer in action.layers for strip in layer.strips for bag in strip.channelbags]
    return [curve for bag in bags for curve in bag.fcurves]


def digest_of_keys() -> dict[str, str]:
    """A hash over all F-curves of each action of the open file."""
    found = {}
    for action in bpy.data.actions:
        digest = hashlib.sha256()
        for curve in curves_of(action):
            points = np.empty(len(curve.keyframe_points) * 2, dtype=np.float32)
            curve.keyframe_points.foreach_get("co", points)
            digest.update(f"{curve.data_path} {curve.array_index}".encode() + points.tobytes())
        found[action.name] = digest.hexdigest()
    return found


def digest_of_file(path: Path) -> dict[str, str]:
    bpy.ops.wm.open_mainfile(filepath=str(path))
    return digest_of_keys()


def test_ten_jobs_are_done_and_saved(batch: Batch, tmp_path: Path) -> None:
    out, report = tmp_path / "done.blend", tmp_path / "done.jsonl"
    code, lines = batch(ten_jobs(), "--save", out, "--report", report)
    assert code == 0, errors_of(batch)
    assert [(line["job"], line["state"], line["done"]) for line in lines] == [
        (number, "done", True) for number in range(1, 11)
    ]
    assert [json.loads(line) for line in report.read_text().splitlines()] == lines
    assert len(digest_of_file(out)) == 10
    assert {line["action"] for line in lines} == {action.name for action in bpy.data.actions}
    for line in lines:
        action = bpy.data.actions[line["action"]]
        assert tuple(action.frame_range) == (5, 16)  # half a second at 24 fps
        provenance = json.loads(action[PROVENANCE_KEY])
        assert (provenance["seed"], provenance["prompt"]) == (line["seed"], line["prompt"])
    assert bpy.data.objects["Ann"].animation_data.action.name == "a run"
    assert len({line["seed"] for line in lines}) == 10  # also of the prompt that comes twice
    assert [one.name for one in tmp_path.glob("*.partial*")] == []


def test_the_same_file_twice_gives_the_same_keys(batch: Batch, tmp_path: Path) -> None:
    jobs = ten_jobs(root="object")
    digests = []
    for name in ("first.blend", "second.blend"):
        assert batch(jobs, "--save", tmp_path / name)[0] == 0
        digests.append(digest_of_file(tmp_path / name))
    assert digests[0] == digests[1]
    assert len(set(digests[0].values())) > 5  # the fake knows a hundred motions


def test_what_a_job_may_choose(batch: Batch, tmp_path: Path) -> None:
    job = {
        "prompt": "a person walks",
        "armature": "Ann",
        "seconds": 1,
        "seed": 7,
        "start_frame": -3,
        "root": "object",
        "action": "Mine",
        "steps": 4,
        "guidance": 3,
        "model": "fake",
    }
    bpy.data.actions.new("Mine")
    plain = {**job, "root": "in_place", "action": "Other"}
    code, lines = batch([job, plain], "--save", tmp_path / "done.blend")
    assert code == 0
    action = bpy.data.actions["Mine"]
    assert tuple(action.frame_range) == (-3, 20)
    provenance = json.loads(action[PROVENANCE_KEY])
    assert (provenance["seed"], provenance["num_steps"]) == (7, 4)
    paths = {curve.data_path for curve in curves_of(action)}
    assert "location" in paths
    assert "location" not in {curve.data_path for curve in curves_of(bpy.data.actions["Other"])}
    assert [line["action"] for line in lines] == ["Mine", "Other"]


BROKEN: dict[str, tuple[Job, str]] = {
    "empty prompt": ({"prompt": " ", "armature": "Ann"}, "prompt is empty"),
    "no letters": ({"prompt": "123", "armature": "Ann"}, "no letters"),
    "armature": ({"prompt": "a walk", "armature": "Eve"}, "no object 'Eve': the scene has Ann"),
    "mesh": ({"prompt": "a walk", "armature": "Marey Mannequin Body"}, "is no armature"),
    "length": ({"prompt": "a walk", "armature": "Ann", "seconds": 500}, "500 seconds"),
    "model": ({"prompt": "a walk", "armature": "Ann", "model": "gone"}, "no model 'gone'"),
    "bug": ({"prompt": "a walk", "armature": "Ann", "model": "broken"}, "ZeroDivisionError"),
    "no movie": ({"video": "gone.mp4", "armature": "Ann"}, "gone.mp4 is not there"),
    "before 0": (
        {"prompt": "a walk", "armature": "Ann", "start_frame": -1, "export": "//a.fbx"},
        "begins at frame -1",
    ),
    "no strip": ({"strip": "gone", "armature": "Ann"}, "no strip 'gone': it has no movie"),
}


def test_broken_jobs_in_the_middle_fail_alone(batch: Batch, tmp_path: Path) -> None:
    good = ten_jobs()
    jobs = [*good[:5], *(job for job, _ in BROKEN.values()), *good[5:]]
    code, lines = batch(jobs, "--save", tmp_path / "done.blend")
    assert code == 1
    told = lines[5:-5]
    for line, (name, (_, words)) in zip(told, BROKEN.items(), strict=True):
        assert (line["state"], line["done"]) == ("failed", False), name
        assert words in line["message"], name
    assert all(line["state"] == "done" for line in [*lines[:5], *lines[-5:]])
    assert len(digest_of_file(tmp_path / "done.blend")) == 10
    # Once it is mended, only what had failed is done.
    jobs[5]["prompt"] = "a person sits"
    code, lines = batch(jobs, "--save", tmp_path / "done.blend")
    assert [line["job"] for line in lines if line["state"] == "done"] == [6]
    assert sum(line["state"] == "skipped" for line in lines) == 10


def test_a_movie_is_answered_in_the_engines_words(batch: Batch, tmp_path: Path, shot: Path) -> None:
    movie = write_movie(tmp_path / "movie", num_frames=30, fps=30)
    strips_of(bpy.context.scene.sequence_editor_create()).new_movie("take", str(movie), 1, 10)
    bpy.ops.wm.save_as_mainfile(filepath=str(shot))
    jobs = [
        {"video": str(movie), "armature": "Ann"},
        {"strip": "take", "armature": "Ann", "person": 0},
        *ten_jobs()[:1],
    ]
    code, lines = batch(jobs, "--save", tmp_path / "done.blend")
    assert code == 1
    assert [line["state"] for line in lines] == ["failed", "failed", "done"]
    assert all("No model here accepts video" in line["message"] for line in lines[:2])
    assert (lines[1]["start_frame"], lines[1]["strip"]) == (10, "take")


def test_what_is_done_is_skipped_and_exported_again(batch: Batch, tmp_path: Path) -> None:
    out, folder = tmp_path / "done.blend", tmp_path / "out"
    jobs = [
        {**job, "export": str(folder / f"{number}{ending}")}
        for number, (job, ending) in enumerate(
            zip(ten_jobs()[:3], (".bvh", ".fbx", ".glb"), strict=True)
        )
    ]
    assert batch(jobs, "--save", out)[0] == 0
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert sorted(before) == sorted(
        f"{name}{more}" for name in ("0.bvh", "1.fbx", "2.glb") for more in ("", ".json")
    )
    (folder / "0.bvh").unlink()
    code, lines = batch(jobs, "--save", out)
    assert code == 0
    assert [line["state"] for line in lines] == ["skipped"] * 3
    assert all("already" in line["message"] for line in lines)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    # What changes the keys is another job; what does not, is not.
    jobs[0]["action"] = "Renamed"
    jobs[1]["seconds"] = 0.25
    (folder / "1.fbx").unlink()
    code, lines = batch(jobs, "--save", out)
    assert [line["state"] for line in lines] == ["skipped", "done", "skipped"]


def test_without_save_the_exports_tell_what_is_done(batch: Batch, tmp_path: Path) -> None:
    jobs = [
        {**job, "export": str(tmp_path / "out" / f"{number}.bvh")}
        for number, job in enumerate(ten_jobs())
    ]
    assert batch(jobs[:4])[0] == 0
    code, lines = batch(jobs)
    assert code == 0
    assert [line["state"] for line in lines] == ["skipped"] * 4 + ["done"] * 6
    assert lines[0]["num_frames"] == 12
    # Another motion, or another's file, is not overwritten unasked.
    jobs[2]["prompt"] = "a person falls"
    code, lines = batch(jobs)
    assert (code, lines[2]["state"]) == (1, "failed")
    assert "is another motion" in lines[2]["message"]
    assert batch(jobs, "--overwrite")[1][2]["state"] == "done"
    (tmp_path / "out" / "5.bvh").write_text("precious")
    code, lines = batch(jobs)
    assert (code, lines) == (2, [])
    assert "job 6: " in errors_of(batch)
    assert (tmp_path / "out" / "5.bvh").read_text() == "precious"


def test_the_opened_file_itself_can_be_saved(batch: Batch, shot: Path) -> None:
    assert batch(ten_jobs()[:2], "--save", shot)[0] == 0
    code, lines = batch(ten_jobs()[:3], "--save", shot)
    assert [line["state"] for line in lines] == ["skipped", "skipped", "done"]
    assert code == 0
    assert len(digest_of_file(shot)) == 3


def test_another_file_is_not_overwritten(batch: Batch, tmp_path: Path, shot: Path) -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    precious = tmp_path / "precious.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(precious))
    before = precious.read_bytes()
    code, lines = batch(ten_jobs()[:1], "--save", precious)
    assert (code, lines) == (2, [])
    assert "has none of these jobs" in errors_of(batch)
    assert precious.read_bytes() == before
    code, lines = batch(ten_jobs()[:1], "--save", precious, "--overwrite")
    assert (code, len(lines)) == (0, 1)
    assert len(digest_of_file(precious)) == 1


def test_an_empty_list_is_done_at_once(batch: Batch, tmp_path: Path) -> None:
    assert batch([], "--save", tmp_path / "done.blend") == (0, [])
    assert session.client is None


def _jobs_with(**changes: Any) -> list[Job]:
    return [*ten_jobs()[:1], {**ten_jobs()[1], **changes}]


WRONG_WORDS: dict[str, tuple[object, list[str], str]] = {
    "no list": ({}, ["--save", "{tmp}/a.blend"], "needs a list of jobs"),
    "a key": (_jobs_with(secnds=2), ["--save", "{tmp}/a.blend"], "job 2: 'secnds' is no key"),
    "two sources": (_jobs_with(video="a.mp4"), ["--save", "{tmp}/a.blend"], "prompt and video"),
    "neither": (ten_jobs(), [], "job 1: it has no export, and there is no --save"),
    "export": (
        _jobs_with(export="{tmp}/jobs.json/a.bvh"),
        ["--save", "{tmp}/a.blend"],
        "no folder",
    ),
    "save": (ten_jobs(), ["--save", "{tmp}/a.txt"], "needs .blend"),
    "option": (ten_jobs(), ["--sav", "a.blend"], "unrecognized"),
    "engine": (ten_jobs(), ["--save", "{tmp}/a.blend", "--engine", "{tmp}/python"], "--engine"),
    "models": (ten_jobs(), ["--save", "{tmp}/a.blend", "--models", "{tmp}/none"], "--models"),
    "device": (ten_jobs(), ["--save", "{tmp}/a.blend", "--device", "abacus"], "abacus"),
    "report": (ten_jobs(), ["--save", "{tmp}/a.blend", "--report", "{tmp}/jobs.json"], "no report"),
}


@pytest.mark.parametrize("name", WRONG_WORDS)
def test_wrong_words_start_nothing(
    batch: Batch, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, words, expected = WRONG_WORDS[name]
    monkeypatch.setattr(session, "connect", pytest.fail)
    monkeypatch.setattr(session, "start_engine", pytest.fail)
    jobs = json.loads(json.dumps(jobs).replace("{tmp}", str(tmp_path)))
    code, lines = batch(jobs, *(word.replace("{tmp}", str(tmp_path)) for word in words))
    assert (code, lines) == (2, [])
    assert expected in errors_of(batch)
    # Rigify's own load handler may fail aloud where another test has switched it on before
    assert f"blender_addon{os.sep}batch" not in errors_of(batch).partition("Traceback")[2]
    assert not (tmp_path / "a.blend").exists()


def test_a_blend_that_is_none(batch: Batch, tmp_path: Path) -> None:
    (tmp_path / "text.blend").write_text("no blend")
    for name in ("gone.blend", "text.blend"):
        assert batch(ten_jobs(), "--save", tmp_path / "a.blend", blend=tmp_path / name)[0] == 2
        assert name in errors_of(batch)


@pytest.mark.parametrize("words", [["--help"], ["batch", "--help"]])
def test_help_has_an_example(words: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    for takes_blend in (False, True):
        assert cli.run(words, takes_blend=takes_blend) == 0
        told = capfd.readouterr().out
        program = "python -m blender_addon" if takes_blend else "blender -b"
        assert f"Example:\n  {program}" in told
    assert cli.run([]) == cli.run(["dance"]) == 2


def test_an_engine_that_dies_takes_one_job_along(
    shot: Path, connection_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead: list[EngineClient | None] = []  # kept, for a new client could get a freed one's id()
    monkeypatch.setattr(
        EngineClient, "is_dead", property(lambda client: any(one is client for one in dead))
    )
    jobs = ten_jobs()[:3]
    jobs[1]["model"] = "slow"
    opened: list[EngineClient | None] = []

    def open_engine() -> None:
        opened.append(session.client)
        command.EngineChoice(connection_file=connection_file).open()

    def tell(text: str) -> None:
        if "step" in text:
            dead.append(session.client)

    outcomes: list[Outcome] = []
    runner = Runner(
        EngineRequests(open_engine), outcomes.append, tell, save=tmp_path / "done.blend"
    )
    assert runner.run(parse_jobs(jobs)) == outcomes
    assert [one.state for one in outcomes] == ["done", "failed", "done"]
    assert "has not answered" in outcomes[1].message
    assert len(opened) == 2


def test_without_an_engine_every_job_says_why_at_once(shot: Path, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 3\n")
    python.chmod(0o755)
    choice = command.EngineChoice(python=python)
    began = time.monotonic()
    outcomes = command.run_jobs(parse_jobs(ten_jobs()), choice, save=tmp_path / "done.blend")
    assert time.monotonic() - began < 30
    assert {one.state for one in outcomes} == {"failed"}
    assert {one.message for one in outcomes} == {outcomes[0].message}
    assert "ended with code 3" in outcomes[0].message


def test_a_script_runs_jobs_in_the_open_file(
    shot: Path, connection_file: Path, tmp_path: Path
) -> None:
    engine = command.EngineChoice(connection_file=connection_file)
    told: list[Outcome] = []
    jobs = [*ten_jobs()[:2], {"prompt": "", "armature": "Ann"}]
    save = tmp_path / "done.blend"
    outcomes = run_batch(jobs, save=save, engine=engine, tell=told.append)
    assert outcomes == told
    assert [one.is_done for one in outcomes] == [True, True, False]
    assert outcomes[0].action in bpy.data.actions
    assert save.exists()
    assert session.client is not None  # it stays for the next call
    assert run_batch(jobs[:2], save=save, engine=engine)[0].state == "skipped"
    with pytest.raises(BatchError, match="job 1: it has no armature"):
        run_batch([{"prompt": "a person walks"}], save=save)
    with pytest.raises(BatchError, match="no export, and there is no --save"):
        run_batch(jobs)
