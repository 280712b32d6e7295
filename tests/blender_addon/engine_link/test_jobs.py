from __future__ import annotations

import numpy as np
import pytest

from blender_addon import protocol
from blender_addon.engine_link.jobs import Job, JobState, JobTable


def make_table(count: int = 1) -> tuple[JobTable, Job]:
    table, job = JobTable(), Job(armature_name="Rig", start_frame=1, job_id="a", count=count)
    table.add(job)
    return table, job


def make_result(candidate: int = 0, count: int = 1) -> protocol.JobResult:
    return protocol.JobResult(
        job_id="a",
        candidate=candidate,
        count=count,
        fps=24.0,
        joint_names=["root"],
        parents=[-1],
        rest_offsets=np.zeros((1, 3), dtype=np.float32),
        root_translation=np.zeros((2, 3), dtype=np.float32),
        local_rotations=np.zeros((2, 1, 4), dtype=np.float32),
        contacts=np.zeros((2, 4), dtype=np.float32),
        warnings=["careful"],
    )


def test_the_life_of_a_job() -> None:
    table, job = make_table()
    assert table.active == [job]
    assert table.apply(protocol.JobQueued(job_id="a", position=2)) is job
    assert (job.state, job.position) == (JobState.QUEUED, 2)
    table.apply(protocol.JobProgress(job_id="a", step=5, num_steps=20))
    assert (job.state, job.progress) == (JobState.RUNNING, 0.25)
    assert table.apply(make_result()) is job
    assert (job.state, job.progress, job.warnings) == (JobState.DONE, 1.0, ["careful"])
    assert table.active == []


def test_a_job_of_two_candidates_ends_with_the_second() -> None:
    table, job = make_table(count=2)
    table.apply(make_result(candidate=0, count=2))
    assert job.state is JobState.RUNNING
    table.apply(make_result(candidate=1, count=2))
    assert job.state is JobState.DONE
    assert job.warnings == ["careful"]


@pytest.mark.parametrize(
    ("message", "state"),
    [
        (protocol.JobFailed(job_id="a", code="internal", message="oh"), JobState.FAILED),
        (protocol.JobCancelled(job_id="a"), JobState.CANCELLED),
    ],
)
def test_an_end_is_final(message: protocol.Message, state: JobState) -> None:
    table, job = make_table()
    table.apply(message)
    assert job.state is state
    assert table.apply(make_result()) is None
    assert job.state is state


def test_messages_about_nobody_change_nothing() -> None:
    table, job = make_table()
    assert table.apply(protocol.JobCancelled(job_id="b")) is None
    assert table.apply(protocol.Pong()) is None
    assert job.state is JobState.SENT


def test_when_the_engine_is_lost_the_active_jobs_fail() -> None:
    table, job = make_table()
    done = Job(armature_name="Rig", start_frame=1, state=JobState.DONE)
    table.add(done)
    assert table.fail_active("The engine was killed") == [job]
    assert (job.state, job.message) == (JobState.FAILED, "The engine was killed")
    assert done.state is JobState.DONE
    table.remove_ended()
    assert len(table) == 0


def test_every_job_has_an_id_of_its_own_that_the_wire_takes() -> None:
    jobs = [Job(armature_name="Rig", start_frame=1) for _ in range(100)]
    assert len({job.job_id for job in jobs}) == 100
    assert protocol.encode(protocol.CancelJob(job_id=jobs[0].job_id))


def test_the_time_left_follows_the_pace() -> None:
    now = [0.0]
    table, job = JobTable(clock=lambda: now[0]), Job(armature_name="Rig", start_frame=1, job_id="a")
    table.add(job)
    table.apply(protocol.JobProgress(job_id="a", step=10, num_steps=100))
    assert job.seconds_left is None
    now[0] = 2.0
    table.apply(protocol.JobProgress(job_id="a", step=30, num_steps=100))
    assert job.seconds_left == pytest.approx(7.0)


def test_a_failure_says_what_to_do_next() -> None:
    table, job = make_table()
    table.apply(
        protocol.JobFailed(job_id="a", code="out_of_memory", message="No memory", detail="trace")
    )
    assert (job.message, job.detail) == ("No memory", "trace")
    assert "fewer seconds" in job.next_step
    table, job = make_table()
    table.fail_active("The engine was killed", code="engine_gone")
    assert "Start the engine" in job.next_step
