"""Jobs: what has been asked of the engine, and how far it is.

A Job belongs to Blender's main thread. The table changes jobs only through apply(), one
message at a time; a message about an unknown or ended job changes nothing.
"""

from __future__ import annotations

import enum
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from .. import protocol
from .movie_range import MovieRange


class JobKind(enum.Enum):
    """What a job brings."""

    MOTION = "motion"
    PEOPLE = "people"  # who is in a movie
    OVERLAY = "overlay"  # a movie with a motion drawn over it


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


# What the artist can do about a failure, where its message does not say that already.
_NEXT_STEPS = {
    "out_of_memory": "Ask for fewer seconds or fewer candidates",
    "unknown_model": "Choose another model, or add the file of this one in the preferences",
    "bad_model": "Choose another model, or add its file again in the preferences",
    "queue_full": "Wait until a job has ended, then try again",
    "internal": "Try again; if it fails again, copy the details into a bug report",
    "engine_gone": "Start the engine, then try again",
    "target_gone": "Undo that, or choose another character and generate anew",
    "not_written": "Copy the details into a bug report",
}


JobRequest = protocol.PromptRequest | protocol.VideoRequest | protocol.PeopleRequest


def new_job_id() -> str:
    """An id that no other job of this or another client has."""
    return uuid.uuid4().hex


@dataclass(kw_only=True)
class Job:
    """One request until its end. Blender's data is held by name: pointers don't survive undo."""

    armature_name: str
    start_frame: int
    armature_uid: int = 0  # Blender's own number of the object, which a new name leaves; 0: none
    scene_uid: int = 0  # the same of the scene whose frame rate counts; 0: the active one's
    is_preview: bool = False  # its motions are candidates, until the artist has decided
    repeat_loop: bool = False  # a loop's curves go on after its end
    place: tuple[float, ...] = ()  # 16 numbers: where the object stands for it; () as it stands
    root: str = ""  # what carries the motion, a value of RootMode; "" as the character is set
    expected_hash: str = ""  # of the model that shall make it; "" any
    kind: JobKind = JobKind.MOTION
    footage: MovieRange | None = None  # of the strip that it is made from
    with_camera: bool = False  # make the camera that has seen the motion
    overlay: str = ""  # the movie that was written with the motion drawn over it
    adds_strip: bool = False  # lay that movie over its strip
    request: JobRequest | None = None  # to try again with
    prompt: str = ""
    job_id: str = field(default_factory=new_job_id)
    state: JobState = JobState.SENT
    position: int = 0  # jobs of the engine before this one, while QUEUED
    step: int = 0
    num_steps: int = 0  # 0 until the first progress
    num_results: int = 0  # candidates that have arrived
    num_written: int = 0  # of those, keyed
    num_in_undo: int = 0  # of those, in an undo step
    count: int = 1
    speed: float = 1.0  # seconds of the motion per second of the timeline, as of a movie strip
    message: str = ""  # why it failed, in the artist's words
    code: str = ""  # the kind of failure: one of JobFailed's, or of _NEXT_STEPS
    detail: str = ""  # of the failure, for whoever helps
    warnings: list[str] = field(default_factory=list[str])
    cancel_requested: bool = False
    seconds_left: float | None = None  # None while that can't be told
    _first_progress: tuple[float, int] | None = None  # when, and the step then

    @property
    def progress(self) -> float:
        """The share that is done, 0 to 1."""
        if self.state is JobState.DONE:
            return 1.0
        return min(1.0, self.step / self.num_steps) if self.num_steps else 0.0

    @property
    def next_step(self) -> str:
        """What to do about its failure; "" where the message says it."""
        return _NEXT_STEPS.get(self.code, "") if self.state is JobState.FAILED else ""

    def fail(self, message: str, *, code: str = "", detail: str = "") -> None:
        """End the job with a reason. A failure also replaces DONE: the keys were not written."""
        self.state = JobState.FAILED
        self.message, self.code, self.detail = message, code, detail

    def advance(self, step: int, num_steps: int, now: float) -> None:
        """Note progress, made at `now` seconds of a clock, and how long the rest will take."""
        self.state = JobState.RUNNING
        self.step, self.num_steps = step, num_steps
        if self._first_progress is None:
            self._first_progress = (now, step)
            return
        began, first_step = self._first_progress
        if step > first_step:
            self.seconds_left = (now - began) * (num_steps - step) / (step - first_step)


class JobTable:
    """The jobs of this session, oldest first."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._jobs: dict[str, Job] = {}
        self._clock = clock

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

    def remove(self, job_id: str) -> None:
        """Forget a job."""
        self._jobs.pop(job_id, None)

    def remove_ended(self) -> None:
        """Forget the jobs that have ended."""
        self._jobs = {job.job_id: job for job in self.active}

    def fail_active(self, message: str, *, code: str = "") -> list[Job]:
        """End every job that is under way: the engine is gone. Returns them."""
        failed = self.active
        for job in failed:
            job.fail(message, code=code)
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
                job.advance(message.step, message.num_steps, self._clock())
            case protocol.JobResult():
                _apply_result(job, message)
            case protocol.PeopleFound():
                job.num_results = 1
                job.warnings += message.warnings
                job.state = JobState.DONE
            case protocol.JobFailed():
                job.fail(message.message, code=message.code, detail=message.detail)
            case protocol.JobCancelled():
                job.state = JobState.CANCELLED
            case _:
                return None
        return job


def _apply_result(job: Job, result: protocol.JobResult) -> None:
    job.num_results += 1
    job.count = result.count
    job.overlay = result.overlay or job.overlay
    job.warnings += [line for line in result.warnings if line not in job.warnings]
    job.state = JobState.DONE if job.num_results >= result.count else JobState.RUNNING
