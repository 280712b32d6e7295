"""The jobs file: what refuses it, what one job fails for, and seeds that are not given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from blender_addon.batch.jobs_file import (
    DEFAULT_SECONDS,
    BatchJob,
    JobsFileError,
    parse_jobs,
    read_jobs,
)


def job(**changes: Any) -> dict[str, Any]:
    return {"prompt": "a person walks", "armature": "rig", **changes}


def parse_one(**changes: Any) -> BatchJob:
    (parsed,) = parse_jobs([job(**changes)])
    return parsed


def test_a_whole_job() -> None:
    parsed = parse_one(
        seconds=2,
        seed=7,
        model="mdm-free",
        start_frame=-5,
        root="in_place",
        action="Walk",
        export="/out/walk.FBX",
        steps=10,
        guidance=1.5,
    )
    assert parsed == BatchJob(
        number=1,
        armature="rig",
        source="prompt",
        prompt="a person walks",
        seconds=2.0,
        seed=7,
        model="mdm-free",
        start_frame=-5,
        root="in_place",
        action="Walk",
        export=Path("/out/walk.FBX"),
        steps=10,
        guidance=1.5,
    )


def test_the_least_of_a_job() -> None:
    parsed = parse_one()
    assert (parsed.seconds, parsed.start_frame, parsed.root, parsed.problem) == (None, None, "", "")
    assert not parsed.has_own_seed
    assert parse_one(seed=None, seconds=None).seed == parsed.seed  # null is not there
    assert DEFAULT_SECONDS > 0
    assert parse_jobs([]) == []


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (3, "job 1: it is a number, needs an object"),
        (None, "it is null"),
        (job(secnds=3), "'secnds' is no key of a job, needs some of: prompt,"),
        ({"prompt": "a person walks"}, "has no armature"),
        ({"armature": "rig"}, "neither prompt nor video nor strip, needs exactly one"),
        (job(video="a.mp4"), "it has prompt and video, needs exactly one"),
        (job(prompt=3), "prompt is 3, needs a text"),
        (job(prompt="\ud800"), "needs a text"),
        (job(armature=["rig"]), "armature is ['rig'], needs the name"),
        (job(seconds="4"), "seconds is '4', needs a number"),
        (job(seconds=True), "seconds is True, needs a number"),
        (job(seed=1.5), "seed is 1.5, needs a whole number"),
        (job(start_frame=1.0), "start_frame is 1.0, needs a whole number"),
        (job(root="sideways"), "root is 'sideways', needs one of: hips, object, bone, in_place"),
        (job(root=["hips"]), "needs one of: hips"),
        (job(export="walk.mp4"), "export is 'walk.mp4', needs a path ending in .bvh, .fbx, .glb"),
        (job(export=""), "export is ''"),
        (job(person="tallest"), "person is 'tallest', needs 'largest' or"),
        (job(camera="yes"), "camera is 'yes', needs true or false"),
        (job(loop="yes"), "loop is 'yes', needs true or false"),
        (job(model=4), "model is 4, needs the name of a model"),
    ],
)
def test_a_fault_of_the_file_says_which_job_what_and_what_instead(item: Any, words: str) -> None:
    with pytest.raises(JobsFileError) as caught:
        parse_jobs([item])
    assert str(caught.value).startswith("job 1: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_fault_is_told_in_a_line_of_its_own() -> None:
    with pytest.raises(JobsFileError) as caught:
        parse_jobs([job(), job(root=1, seed="x"), 3])
    starts = [line.split(":")[0] for line in str(caught.value).splitlines()]
    assert starts == ["job 2", "job 2", "job 3"]
    with pytest.raises(JobsFileError) as caught:
        parse_jobs([3] * 1000)
    assert str(caught.value).splitlines()[-1] == "and 980 faults more"


def test_two_jobs_may_not_write_one_file() -> None:
    with pytest.raises(JobsFileError, match=r"job 3: export is .* as in job 1"):
        parse_jobs([job(export="a.bvh"), job(export="b.bvh"), job(export="x/../a.bvh")])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prompt": " "}, "prompt is empty: say what"),
        ({"armature": ""}, "armature is empty"),
        ({"seconds": 0}, "0 seconds, needs more than 0"),
        ({"seconds": -2.5}, "-2.5 seconds"),
        ({"seed": -1}, "seed is -1, needs 0 to"),
        ({"seed": 2**63}, "needs 0 to"),
        ({"steps": -1}, "steps is -1"),
        ({"guidance": 21}, "guidance is 21"),
        ({"start_frame": 10**9}, "start_frame is"),
    ],
)
def test_a_fault_of_the_content_is_that_jobs_alone(changes: dict[str, Any], words: str) -> None:
    before, broken, after = parse_jobs([job(), job(**changes), job()])
    assert words in broken.problem
    assert (before.problem, after.problem) == ("", "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no JSON"),
        ("[{]", "is no JSON"),
        ("{}", "it is an object, needs a list of jobs"),
        ('"jobs"', "it is a text"),
        ('[{"seed": 1, "seed": 2}]', "'seed' stands twice"),
        ('[{"seconds": NaN}]', "NaN is no number"),
        ("[" * 100_000, "is no JSON"),
    ],
)
def test_what_is_no_jobs_file(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "jobs.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(JobsFileError) as caught:
        read_jobs(path)
    assert str(path) in str(caught.value)
    assert words in str(caught.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.json", tmp_path):
        with pytest.raises(JobsFileError, match="can't be read"):
            read_jobs(path)
    (tmp_path / "picture.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(JobsFileError, match="no UTF-8"):
        read_jobs(tmp_path / "picture.json")


def test_a_mark_of_byte_order_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "jobs.json"
    path.write_text(json.dumps([job()]), encoding="utf-8-sig")
    assert len(read_jobs(path)) == 1


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    jobs = [job(export="out/a.bvh"), job(export="//b.bvh")]
    here, beside = parse_jobs(jobs, tmp_path / "shots")
    assert here.export == tmp_path / "out" / "a.bvh"
    assert beside.export == tmp_path / "shots" / "b.bvh"


def test_a_seed_that_is_not_given_comes_from_the_job() -> None:
    jobs = [job(), job(seconds=3), job(), job(prompt="a person runs")]
    seeds = [one.seed for one in parse_jobs(jobs)]
    assert seeds == [one.seed for one in parse_jobs(jobs)]
    assert len(set(seeds)) == 4  # the third job is another take of the first
    assert all(0 <= seed < 2**31 for seed in seeds)
    moved = parse_jobs([job(export="elsewhere.bvh", action="A"), *jobs[1:]])
    assert [one.seed for one in moved] == seeds
    assert parse_jobs([job(seed=4)])[0].seed == 4
