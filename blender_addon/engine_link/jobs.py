"""Jobs: what has been asked of the engine, and how far it is.

A Job belongs to Blender's main thread. The table changes jobs only through apply(), one
message at a time; a message about an unknown or ended job changes nothing.
"""

from __future__ import annotations

import enum
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field

from .. import protocol


class JobState(enum.Enum):
    """The life of a job: SENT, QUEUED, RUNNING, then one of the three ends."""

    SENT = "sent"
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_end(self) -> bool:
        """Nothing changes any more."""
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)


def new_job_id() -> str:
    """An id that no other job of this or another client has."""
    return uuid.uuid4().hex


@dataclass(kw_only=True)
class Job:
    """One request until its end. Blender's data is held by name: pointers don't survive undo."""

    armature_name: str
    start_frame: int
    prompt: str = ""
    job_id: str = field(default_factory=new_job_id)
    state: JobState = JobState.SENT
    position: int = 0  # jobs of the engine before this one, while QUEUED
    step: int = 0
    num_steps: int = 0  # 0 until the first progress
    num_results: int = 0  # candidates that have arrived
    count: int = 1
    speed: float = 1.0  # seconds of the motion per second of the timeline, as of a movie strip
    message: str = ""  # why it failed, in the artist's words
    warnings: list[str] = field(default_factory=list[str])
    cancel_requested: bool = False

    @property
    def progress(self) -> float:
        """The share that is done, 0 to 1."""
        if self.state is JobState.DONE:
            return 1.0
        return min(1.0, self.step / self.num_steps) if self.num_steps else 0.0

    def fail(self, message: str) -> None:
        """End the job with a reason. A failure also replaces DONE: the keys were not written."""
        self.state = JobState.FAILED
        self.message = message


class JobTable:
    """The jobs of this session, oldest first."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}

    def __iter__(self) -> Iterator[Job]:
        return iter(list(self._jobs.values()))

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def active(self) -> list[Job]:
        """Jobs that have not ended."""
        return [job for job in self if not job.state.is_end]

    def get(self, job_id: str) -> Job | None:
        """The job with this id, if there is one."""
        return self._jobs.get(job_id)

    def add(self, job: Job) -> None:
        """Enter a job that is about to be sent."""
        self._jobs[job.job_id] = job

    def remove_ended(self) -> None:
        """Forget the jobs that have ended."""
        self._jobs = {job.job_id: job for job in self.active}

    def fail_active(self, message: str) -> list[Job]:
        """End every job that is under way: the engine is gone. Returns them."""
        failed = self.active
        for job in failed:
            job.fail(message)
        return failed

    def apply(self, message: protocol.Message) -> Job | None:
        """Apply one message; return the job that it changed, if any."""
        job = self._jobs.get(getattr(message, "job_id", ""))
        if job is None or job.state.is_end:
            return None
        match message:
            case protocol.JobQueued():
                job.state, job.position = JobState.QUEUED, message.position
            case protocol.JobProgress():
                job.state = JobState.RUNNING
                job.step, job.num_steps = message.step, message.num_steps
            case protocol.JobResult():
                _apply_result(job, message)
            case protocol.JobFailed():
                job.fail(message.message)
            case protocol.JobCancelled():
                job.state = JobState.CANCELLED
            case _:
                return None
        return job


def _apply_result(job: Job, result: protocol.JobResult) -> None:
    job.num_results += 1
    job.count = result.count
    job.warnings += [line for line in result.warnings if line not in job.warnings]
    job.state = JobState.DONE if job.num_results >= result.count else JobState.RUNNING
