"""The thread that runs jobs, one at a time, and answers with progress and results.

It talks to the I/O thread through two inproc sockets. A job comes in as
[client, *frames of the request]; what goes out is [MESSAGE, client, *frames] for the client,
and [DONE] when the job has ended in whatever way.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace

import zmq

from blender_addon import protocol
from engine.checkpoint import CheckpointError
from engine.generation import GenerationRequest, LaterPrompt, draw_seed, generate
from engine.methods.base import Cancelled, Prompt, Report, RequestError
from engine.networks.text_encoder import TextEncoderError
from engine.server.memory import Attempt, attempts, free_memory, is_out_of_memory
from engine.server.model_store import Models, UnknownModelError
from engine.server.movie_jobs import MovieJobs
from engine.server.results import motion_to_result
from engine.video.frames import VideoError
from engine.video.keypoints import DetectorError, KeypointFileError

log = logging.getLogger(__name__)

JOBS_ADDRESS = "inproc://jobs"
ANSWERS_ADDRESS = "inproc://answers"
MESSAGE, DONE = b"message", b"done"
STOP = [b""]
PROGRESS_INTERVAL_S = 0.1

Send = Callable[[protocol.Message], None]
JobRequest = protocol.PromptRequest | protocol.VideoRequest | protocol.PeopleRequest


class Worker(threading.Thread):
    """Runs the jobs that come in, until STOP comes."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], models: Models) -> None:
        super().__init__(name="worker", daemon=True)
        self.cancel = threading.Event()  # set by the I/O thread to stop the current job
        self._context = context
        self._models = models
        self._movies = MovieJobs(models)

    def run(self) -> None:
        """The thread's work. Both addresses are bound by the I/O thread before it starts."""
        with (
            self._context.socket(zmq.PULL) as jobs,
            self._context.socket(zmq.PUSH) as answers,
        ):
            jobs.connect(JOBS_ADDRESS)
            answers.linger = 0
            answers.setsockopt(zmq.SNDHWM, 0)
            answers.connect(ANSWERS_ADDRESS)
            while (frames := jobs.recv_multipart()) != STOP:
                client, request = frames[0], protocol.decode(frames[1:])

                def send(message: protocol.Message, client: bytes = client) -> None:
                    answers.send_multipart([MESSAGE, client, *protocol.encode(message)])

                assert isinstance(request, JobRequest)
                run_job(request, self._models, send, self.cancel.is_set, movies=self._movies)
                answers.send_multipart([DONE])


def run_job(
    request: JobRequest,
    models: Models,
    send: Send,
    is_cancelled: Callable[[], bool],
    *,
    movies: MovieJobs | None = None,
) -> None:
    """Run one job and send its end, whatever happens."""
    started = time.monotonic()
    movies = movies or MovieJobs(models)
    try:
        if isinstance(request, protocol.PromptRequest):
            movies.forget()
            end = _generate(request, models, send, is_cancelled)
        else:
            end = _run_movie_job(request, movies, send, is_cancelled)
    except Exception as error:  # noqa: BLE001 - whatever a job does, the engine goes on
        end = _failure(request.job_id, error)
    if end is not None:
        send(end)
    outcome = type(end).__name__ if end is not None else "done"
    log.info("Job %s: %s after %.1f s", request.job_id, outcome, time.monotonic() - started)


def _generate(
    request: protocol.PromptRequest,
    models: Models,
    send: Send,
    is_cancelled: Callable[[], bool],
) -> protocol.Message | None:
    """Send the results. Return the message that ends the job, None if a result has."""
    wanted = to_generation(request)
    candidates = _Candidates(request, models, send, _Reporter(request.job_id, send, is_cancelled))
    ways = attempts(count=request.count, is_on_cpu=models.is_on_cpu)
    for way in ways:
        try:
            candidates.make(wanted, way)
        except Cancelled:
            return protocol.JobCancelled(job_id=request.job_id)
        except Exception as error:
            if way is ways[-1] or not is_out_of_memory(error):
                raise
            log.warning("Job %s: out of memory, trying otherwise: %s", request.job_id, error)
        else:
            return None
        free_memory()  # here, because the error held on to what the attempt had made
    return None


class _Candidates:
    """Makes and sends the candidates of a job; goes on where the attempt before had to stop."""

    def __init__(
        self, request: protocol.PromptRequest, models: Models, send: Send, report: Report
    ) -> None:
        self._request, self._models = request, models
        self._send, self._report = send, report
        self._num_sent = 0

    def make(self, wanted: GenerationRequest, way: Attempt) -> None:
        """Make what is still missing."""
        method = self._models.load(self._request.model, on_cpu=way.on_cpu)
        missing = replace(
            wanted, seed=wanted.seed + self._num_sent, count=wanted.count - self._num_sent
        )
        for motion in generate(method, missing, self._report, max_batch=way.max_batch):
            told = (way.warning,) if way.warning else ()
            result = motion_to_result(
                replace(motion, warnings=(*motion.warnings, *told)),
                job_id=self._request.job_id,
                candidate=self._num_sent,
                count=self._request.count,
            )
            self._send(result)
            self._num_sent += 1


def to_generation(request: protocol.PromptRequest) -> GenerationRequest:
    """The request in the engine's terms.

    Raises:
        RequestError: the prompt or the length can't be served.
    """
    return GenerationRequest(
        prompt=Prompt(request.prompt),
        num_frames=request.num_frames,
        fps=request.fps,
        seed=draw_seed() if request.seed < 0 else request.seed,
        num_steps=request.num_steps or None,
        guidance_scale=request.guidance_scale or None,
        count=request.count,
        then=tuple(LaterPrompt(Prompt(part.prompt), part.num_frames) for part in request.then),
        loop=request.loop,
    )


def _run_movie_job(
    request: protocol.VideoRequest | protocol.PeopleRequest,
    movies: MovieJobs,
    send: Send,
    is_cancelled: Callable[[], bool],
) -> protocol.Message | None:
    """Return the message that ends the job, None if what it was for has."""
    report = _Reporter(request.job_id, send, is_cancelled)
    try:
        if isinstance(request, protocol.VideoRequest):
            movies.capture(request, send, report)
        else:
            movies.people(request, send, report)
    except Cancelled:
        return protocol.JobCancelled(job_id=request.job_id)
    finally:
        free_memory()
    return None


class _Reporter:
    """The report callback of a job: progress now and then, and Cancelled when asked to stop."""

    def __init__(self, job_id: str, send: Send, is_cancelled: Callable[[], bool]) -> None:
        self._job_id = job_id
        self._send = send
        self._is_cancelled = is_cancelled
        self._sent_at = float("-inf")

    def __call__(self, step: int, num_steps: int) -> None:
        if self._is_cancelled():
            raise Cancelled
        now = time.monotonic()
        if now - self._sent_at >= PROGRESS_INTERVAL_S:
            self._sent_at = now
            self._send(protocol.JobProgress(job_id=self._job_id, step=step, num_steps=num_steps))


def _failure(job_id: str, error: Exception) -> protocol.JobFailed:
    """What the client is told; what the user can't have caused is logged with its traceback."""
    code, message = _explain(error)
    detail = ""
    if code not in ("bad_request", "unknown_model"):
        detail = "".join(traceback.format_exception(error))
        log.error("Job %s failed: %s", job_id, detail)
    return protocol.JobFailed(
        job_id=job_id,
        code=code,
        message=_sendable(message[:2_000]),
        detail=_sendable(detail[-20_000:]),
    )


def _sendable(text: str) -> str:
    """The text without what no message carries: a file's name may have bytes that are no text."""
    return text.encode(errors="backslashreplace").decode()


def _explain(error: Exception) -> tuple[str, str]:
    match error:
        case UnknownModelError():
            return "unknown_model", str(error)
        case RequestError() | VideoError() | KeypointFileError():
            return "bad_request", str(error)
        case DetectorError():
            return "bad_engine", str(error)
        case CheckpointError() | TextEncoderError():
            return "bad_model", str(error)
        case _ if is_out_of_memory(error):
            return "out_of_memory", "There is not enough memory: try fewer frames"
        case _:
            first_line = next(iter(str(error).splitlines()), "")
            return "internal", f"The engine failed on this: {type(error).__name__}: {first_line}"
