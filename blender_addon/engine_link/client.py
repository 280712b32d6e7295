"""EngineClient: sends messages to the engine and takes what has arrived, without waiting.

A message socket of ZeroMQ's does the waiting in a thread of its own, so every call here
returns at once. The engine counts as dead when it has left a Hello or a Ping unanswered for
DEAD_AFTER_S; what has piled up while Blender was busy is read before that is judged.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterator

import zmq

from .. import protocol

log = logging.getLogger(__name__)

PING_INTERVAL_S = 1.0
DEAD_AFTER_S = 8.0
CLOSE_LINGER_MS = 500  # how long a last Shutdown may take to leave, in ZeroMQ's own thread


class EngineLinkError(Exception):
    """The engine can't be started or reached; the message is for the artist."""


class EngineClient:
    """One connection to one engine. Belongs to the thread that made it."""

    def __init__(
        self,
        endpoint: str,
        token: str,
        *,
        client_name: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.welcome: protocol.Welcome | None = None
        self.refusal = ""  # why the engine won't serve this client, in the artist's words
        self._clock = clock
        self._hello = protocol.Hello(token=token, client_name=client_name)
        self._socket = _connect(endpoint)
        self._last_ping = clock()
        self._unanswered_since: float | None = clock()
        self._silent_s = 0.0  # how long the engine has left something unanswered
        self.refresh()

    @property
    def is_ready(self) -> bool:
        """The engine has welcomed this client, and still answers."""
        return self.welcome is not None and not self.is_dead

    @property
    def is_dead(self) -> bool:
        """The engine has been silent for DEAD_AFTER_S, as the latest receive() found."""
        return self._silent_s > DEAD_AFTER_S

    def send(self, message: protocol.Message) -> None:
        """Hand a message over to be sent.

        Raises:
            ProtocolError: the message has a value that may not be sent.
            EngineLinkError: the queue to the engine is full, or the client is closed.
        """
        frames = protocol.encode(message)
        try:
            self._socket.send_multipart(frames, flags=zmq.NOBLOCK)
        except zmq.ZMQError as error:
            raise EngineLinkError(
                f"The engine does not take messages ({error}): start it again"
            ) from error

    def receive(self, budget_s: float) -> Iterator[protocol.Message]:
        """Yield the messages that have arrived, for at most about budget_s seconds.

        Pong is not yielded. A message that can't be read ends its job as JobFailed.
        """
        deadline = self._clock() + budget_s
        while self._clock() < deadline:
            try:
                frames = self._socket.recv_multipart(flags=zmq.NOBLOCK)
            except zmq.Again:
                self._check_liveness()
                return
            self._unanswered_since, self._silent_s = None, 0.0
            message = self._decode(frames)
            if message is not None:
                yield message

    def refresh(self) -> None:
        """Ask for a new Welcome: its models may be others by now.

        Raises:
            EngineLinkError: as send().
        """
        self.send(self._hello)

    def close(self) -> None:
        """Disconnect. What was sent just before still leaves. Closing twice is fine."""
        self._socket.close(linger=CLOSE_LINGER_MS)

    def _decode(self, frames: list[bytes]) -> protocol.Message | None:
        try:
            message = protocol.decode(frames)
        except protocol.VersionError as error:
            self.refusal = str(error)
            return None
        except protocol.ProtocolError as error:
            log.error("Dropped a message from the engine: %s", error)
            return _failed_job(error)
        if isinstance(message, protocol.Welcome):
            self.welcome = message
        elif isinstance(message, protocol.Rejected):
            log.error("The engine refused a message (%s): %s", message.code, message.message)
            if self.welcome is None:
                self.refusal = message.message
        return None if isinstance(message, protocol.Pong) else message

    def _check_liveness(self) -> None:
        """Called when nothing is left to read: an answer would have been seen."""
        now = self._clock()
        if self._unanswered_since is not None:
            self._silent_s = now - self._unanswered_since
        elif now - self._last_ping >= PING_INTERVAL_S:
            self._last_ping = self._unanswered_since = now
            self.send(protocol.Ping())


def _connect(endpoint: str) -> zmq.Socket[bytes]:
    socket = zmq.Context.instance().socket(zmq.DEALER)
    socket.linger = 0
    socket.setsockopt(zmq.MAXMSGSIZE, protocol.MAX_FRAME_BYTES)
    # With an id of its own it stays the same client to the engine, should the line break.
    socket.setsockopt(zmq.ROUTING_ID, uuid.uuid4().hex.encode())
    # No limit: while Blender renders nothing is read here, and no result may get lost.
    socket.setsockopt(zmq.RCVHWM, 0)
    try:
        socket.connect(endpoint)
    except zmq.ZMQError as error:
        socket.close()
        raise EngineLinkError(
            f"The engine's address is {endpoint!r}, needs one such as tcp://127.0.0.1:5555"
        ) from error
    return socket


def _failed_job(error: protocol.ProtocolError) -> protocol.JobFailed | None:
    if not error.job_id:
        return None
    return protocol.JobFailed(
        job_id=error.job_id,
        code="bad_message",
        message="The engine's answer could not be read: see the system console",
        detail=str(error),
    )
