"""The engine's I/O loop: clients come and go, jobs queue, the worker runs one at a time.

One thread owns the ROUTER socket and never computes, so a ping is answered while a job runs.
Whatever arrives is answered or dropped; nothing that a client sends ends the loop, except a
Shutdown from a client that knows the token.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import zmq

from blender_addon import protocol
from engine import __version__
from engine.lifters import default_lifter
from engine.server.connection import EndpointError, is_token
from engine.server.model_store import Models
from engine.server.results import info_to_entry
from engine.server.worker import ANSWERS_ADDRESS, DONE, JOBS_ADDRESS, STOP, JobRequest, Worker

log = logging.getLogger(__name__)

TICK_MS = 250  # how often should_stop is asked
MAX_QUEUED_JOBS = 100
MAX_REQUEST_BYTES = protocol.MAX_HEADER_BYTES  # no request carries arrays
STOP_WAIT_S = 5.0
LAST_WORDS_MS = 1000  # how long the last messages may take to leave


@dataclass(frozen=True)
class _Job:
    client: bytes
    request: JobRequest


class Server:
    """An engine that listens at `endpoint` from its construction on; run() serves."""

    def __init__(self, models: Models, *, token: str, device: str, endpoint: str) -> None:
        self._models = models
        self._token = token
        self._device = device
        self._clients: dict[bytes, str] = {}
        self._waiting: deque[_Job] = deque()
        self._running: _Job | None = None
        self._stop_reason = ""
        self._context = zmq.Context[zmq.Socket[bytes]]()
        self._router = self._bind_router(endpoint)
        self._jobs = self._bind_inproc(zmq.PUSH, JOBS_ADDRESS)
        self._answers = self._bind_inproc(zmq.PULL, ANSWERS_ADDRESS)
        self._worker = Worker(self._context, models)

    @property
    def endpoint(self) -> str:
        """The address with the port that was really bound."""
        return self._router.getsockopt_string(zmq.LAST_ENDPOINT)

    def run(self, should_stop: Callable[[], str] = lambda: "") -> bool:
        """Serve until a client asks to end, or should_stop gives a reason.

        Returns False if the worker did not end in time: the process has to leave hard then.
        """
        self._worker.start()
        poller = zmq.Poller()
        poller.register(self._router, zmq.POLLIN)
        poller.register(self._answers, zmq.POLLIN)
        while not self._stop_reason:
            ready = dict(poller.poll(TICK_MS))
            if self._answers in ready:
                self._take_answer(self._answers.recv_multipart())
            if self._router in ready:
                client, *frames = self._router.recv_multipart()
                self._take_message(client, frames)
            self._stop_reason = self._stop_reason or should_stop()
        return self._close()

    # --- clients -------------------------------------------------------------------------

    def _take_message(self, client: bytes, frames: list[bytes]) -> None:
        try:
            message = protocol.decode(frames)
        except protocol.VersionError as error:
            self._reject(client, "bad_version", str(error))
        except protocol.ProtocolError as error:
            self._take_unreadable(client, error)
        else:
            if client in self._clients or isinstance(message, protocol.Hello):
                self._handle(client, message)
            else:
                self._reject(client, "hello_first", "The first message needs to be Hello")

    def _take_unreadable(self, client: bytes, error: protocol.ProtocolError) -> None:
        if error.job_id and client in self._clients:
            failed = protocol.JobFailed(job_id=error.job_id, code="bad_request", message=str(error))
            self._send(client, failed)
        else:
            self._reject(client, "bad_message", str(error))

    def _handle(self, client: bytes, message: protocol.Message) -> None:
        match message:
            case protocol.Hello():
                self._welcome(client, message)
            case protocol.Ping():
                self._send(client, protocol.Pong())
            case protocol.PromptRequest() | protocol.VideoRequest() | protocol.PeopleRequest():
                self._queue(_Job(client, message))
            case protocol.CancelJob():
                self._cancel(client, message.job_id)
            case protocol.Shutdown():
                self._stop_reason = f"{self._clients[client] or 'a client'} asked for it"
            case _:
                name = type(message).__name__
                self._reject(client, "bad_message", f"{name} is not for the engine")

    def _welcome(self, client: bytes, hello: protocol.Hello) -> None:
        if not is_token(hello.token, self._token):
            log.warning("Refused a client with a wrong token")
            self._reject(client, "bad_token", "The token is not this engine's: connect again")
            return
        self._clients[client] = hello.client_name[:80]
        default, found = self._models.default_name(), self._models.entries()
        lifter = default_lifter(found)
        entries = [
            info_to_entry(
                info, is_default=info.name == default, is_default_lifter=info.name == lifter
            )
            for info in found
        ]
        welcome = protocol.Welcome(
            engine_version=__version__,
            device=self._device,
            models=entries,
            takes_video=True,
            finds_people=True,
        )
        self._send(client, welcome)

    def _reject(self, client: bytes, code: str, message: str) -> None:
        self._send(client, protocol.Rejected(code=code, message=message))

    def _send(self, client: bytes, message: protocol.Message) -> None:
        try:
            frames = protocol.encode(message)
        except protocol.ProtocolError as error:  # one answer less, but the engine goes on
            log.error("Could not send %s: %s", type(message).__name__, error)
            return
        self._send_frames(client, frames)

    def _send_frames(self, client: bytes, frames: list[bytes]) -> None:
        try:
            self._router.send_multipart([client, *frames], flags=zmq.NOBLOCK)
        except zmq.ZMQError as error:
            log.info("Client %s is gone (%s)", self._clients.get(client, "unknown"), error)
            self._forget(client)

    def _forget(self, client: bytes) -> None:
        """Drop a client that has gone, with its jobs."""
        self._clients.pop(client, None)
        self._waiting = deque(job for job in self._waiting if job.client != client)
        if self._running is not None and self._running.client == client:
            self._worker.cancel.set()

    # --- jobs ----------------------------------------------------------------------------

    def _queue(self, job: _Job) -> None:
        job_id = job.request.job_id
        if self._find(job.client, job_id) is not None:
            self._reject(job.client, "bad_message", f"The job id {job_id} is in use already")
            return
        if len(self._waiting) >= MAX_QUEUED_JOBS:
            failed = protocol.JobFailed(
                job_id=job_id,
                code="queue_full",
                message=f"{MAX_QUEUED_JOBS} jobs wait already: try again later",
            )
            self._send(job.client, failed)
            return
        self._waiting.append(job)
        self._send_position(job, len(self._waiting) - (self._running is None))
        self._start_next()

    def _start_next(self) -> None:
        if self._running is None and self._waiting:
            self._running = job = self._waiting.popleft()
            self._worker.cancel.clear()
            self._jobs.send_multipart([job.client, *protocol.encode(job.request)])

    def _send_position(self, job: _Job, position: int) -> None:
        self._send(job.client, protocol.JobQueued(job_id=job.request.job_id, position=position))

    def _send_positions(self) -> None:
        for position, job in enumerate(list(self._waiting), start=self._running is not None):
            self._send_position(job, position)

    def _cancel(self, client: bytes, job_id: str) -> None:
        """Cancelling is idempotent: a job that has ended, or never was, is no error."""
        job = self._find(client, job_id)
        if job is None:
            return
        if job is self._running:
            self._worker.cancel.set()
            return
        self._waiting.remove(job)
        self._send(client, protocol.JobCancelled(job_id=job_id))
        self._send_positions()

    def _find(self, client: bytes, job_id: str) -> _Job | None:
        jobs = [*self._waiting, *([self._running] if self._running is not None else [])]
        same = (job for job in jobs if (job.client, job.request.job_id) == (client, job_id))
        return next(same, None)

    def _take_answer(self, frames: list[bytes]) -> None:
        if frames[0] != DONE:
            self._send_frames(frames[1], frames[2:])
            return
        self._running = None
        self._start_next()
        self._send_positions()

    # --- sockets -------------------------------------------------------------------------

    def _bind_router(self, endpoint: str) -> zmq.Socket[bytes]:
        router = self._context.socket(zmq.ROUTER)
        router.linger = LAST_WORDS_MS
        router.setsockopt(zmq.MAXMSGSIZE, MAX_REQUEST_BYTES)
        router.setsockopt(zmq.ROUTER_MANDATORY, 1)  # to notice clients that are gone
        # While a client's Blender renders nobody reads: its progress and results wait here.
        router.setsockopt(zmq.SNDHWM, 100_000)
        try:
            router.bind(endpoint)
        except zmq.ZMQError as error:
            router.close()
            self._context.term()
            raise EndpointError(f"{endpoint} is no address that is free: {error}") from error
        return router

    def _bind_inproc(self, kind: int, address: str) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        socket.linger = 0
        socket.bind(address)
        return socket

    def _close(self) -> bool:
        """Tell the clients, stop the worker, let the last messages out."""
        log.info("Stopping: %s", self._stop_reason)
        for client in list(self._clients):
            self._send(client, protocol.EngineStopping(reason=self._stop_reason))
        self._worker.cancel.set()
        self._jobs.send_multipart(STOP)
        self._router.close()
        self._worker.join(STOP_WAIT_S)
        if self._worker.is_alive():
            return False
        self._jobs.close()
        self._answers.close()
        self._context.term()
        return True
