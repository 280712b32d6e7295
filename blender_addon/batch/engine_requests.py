"""The engine as a batch uses it: opened when first needed, asked for one motion at a time.

Blender's timers do not fire in the background, so this waits. Messages of other jobs, where an
artist's own are under way in the same Blender, go on to the pump.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable

from .. import protocol
from ..engine_link import session
from ..engine_link.client import EngineLinkError
from ..engine_link.session import EngineState
from ..scene import pump

log = logging.getLogger(__name__)

START_TIMEOUT_S = 300.0  # a cold start reads torch from disk, perhaps on a busy machine
POLL_S = 0.01
BUDGET_S = 0.02

_MOVING = (EngineState.STARTING, EngineState.CONNECTING, EngineState.STOPPING)


class JobError(Exception):
    """A job that can't be done; the message says why, in a line."""


class EngineRequests:
    """Asks the engine for motions; opens it with `open_engine` where none is ready."""

    def __init__(self, open_engine: Callable[[], None]) -> None:
        self._open = open_engine
        self._gone = ""  # why there is no engine, once it could not be opened

    def ready(self) -> None:
        """Have an engine that answers. One that was lost is opened again, for the next job.

        Raises:
            JobError: there is none; asked again, the answer is the same at once.
        """
        if self._gone:
            raise JobError(self._gone)
        if self._settle() is EngineState.READY:
            return
        try:
            self._open()
        except EngineLinkError as error:
            self._give_up(str(error))
        if self._settle() is not EngineState.READY:
            self._give_up(session.message or "it did not answer in time")

    def model(self, name: str, kind: str) -> protocol.ModelEntry | None:
        """The engine's entry of a model; "" is the default for a kind of request."""
        wanted = name.removesuffix(".safetensors")
        models = session.models()
        if wanted:
            return next((one for one in models if one.name == wanted), None)
        takers = [one for one in models if kind in one.accepts]
        meant = "default_for_video" if kind == "video" else "default"
        return next((one for one in takers if getattr(one, meant)), next(iter(takers), None))

    def run(
        self,
        request: protocol.PromptRequest | protocol.VideoRequest,
        report: Callable[[int, int], None],
    ) -> protocol.JobResult:
        """Send a request and wait for its motion.

        Raises:
            JobError: the engine refused it, failed on it, or is gone.
        """
        self._send(request)
        try:
            while True:
                for message in self._receive():
                    result = _take(message, request.job_id, report)
                    if result is not None:
                        return result
                if session.state is not EngineState.READY:
                    raise JobError(session.message or "The engine has stopped")
                time.sleep(POLL_S)
        except BaseException:
            if session.client is not None:
                with contextlib.suppress(EngineLinkError):
                    session.client.send(protocol.CancelJob(job_id=request.job_id))
            raise

    def _send(self, request: protocol.PromptRequest | protocol.VideoRequest) -> None:
        client = session.client
        if client is None or client.welcome is None:
            raise JobError("The engine is gone")
        if isinstance(request, protocol.VideoRequest) and not client.welcome.takes_video:
            raise JobError("This engine is too old for video: install the one of this release")
        try:
            client.send(request)
        except (protocol.ProtocolError, EngineLinkError) as error:
            raise JobError(str(error)) from error

    def _settle(self) -> EngineState:
        """Wait until the engine is ready or gone."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            for message in self._receive():
                pump.handle(message)
            if session.state not in _MOVING or time.monotonic() > deadline:
                return session.state
            time.sleep(POLL_S)

    def _receive(self) -> list[protocol.Message]:
        received: list[protocol.Message] = []
        try:
            received.extend(session.receive(BUDGET_S))
        except (protocol.ProtocolError, EngineLinkError) as error:
            log.error("Dropped a message from the engine: %s", error)
        return received

    def _give_up(self, why: str) -> None:
        self._gone = f"There is no engine: {why}"
        raise JobError(self._gone)


def _take(
    message: protocol.Message, job_id: str, report: Callable[[int, int], None]
) -> protocol.JobResult | None:
    """The result of a job, once a message brings it.

    Raises:
        JobError: the message ends the job without one.
    """
    if getattr(message, "job_id", "") != job_id:
        pump.handle(message)
    elif isinstance(message, protocol.JobResult):
        return message
    elif isinstance(message, protocol.JobProgress):
        report(message.step, message.num_steps)
    elif isinstance(message, protocol.JobFailed):
        raise JobError(message.message)
    elif isinstance(message, protocol.JobCancelled):
        raise JobError("The engine has cancelled it")
    return None
