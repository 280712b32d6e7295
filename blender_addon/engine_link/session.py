"""The only mutable module state of the add-on: the engine's process, the client, the jobs.

    start_engine() or connect()   STARTING, then CONNECTING, then READY
    receive()                     called by the pump: moves the state on, yields job messages
    stop_engine()                 STOPPING, then STOPPED
    LOST                          the engine died or refused; `message` says why

Nothing here blocks, except reset(wait_s=...) where a script asks for it.
"""

from __future__ import annotations

import contextlib
import enum
import time
from collections.abc import Iterator

from .. import protocol
from .client import DEAD_AFTER_S, EngineClient, EngineLinkError
from .devices import EngineCheck
from .engine_set_up import EngineSetUp
from .engine_view import EngineView
from .jobs import JobTable
from .people import FoundPeople
from .process import EngineCommand, EngineConnection, EngineProcess
from .prompt_history import PromptHistory
from .teaching import Teaching

STOP_GRACE_S = 5.0  # for the engine to end by itself, before it is killed


class EngineState(enum.Enum):
    """What the panel shows of the engine."""

    STOPPED = "stopped"
    STARTING = "starting"
    CONNECTING = "connecting"
    READY = "ready"
    STOPPING = "stopping"
    LOST = "lost"


state: EngineState = EngineState.STOPPED
message: str = ""  # why the state is LOST, in the artist's words
client: EngineClient | None = None
process: EngineProcess | None = None
jobs: JobTable = JobTable()
people: dict[str, FoundPeople] = {}  # who was found, by the strip's name
prompt_history: PromptHistory | None = None  # None: not read yet
set_up: EngineSetUp = EngineSetUp()  # of the engine's environment
teaching: Teaching = Teaching()  # of a model, by strips
engine_view: EngineView | None = None  # what the preferences show; None: look again
engine_check: EngineCheck | None = None  # of an interpreter that the artist has chosen
_stop_deadline: float = 0.0


def start_engine(command: EngineCommand) -> None:
    """Start an engine process, unless one is running.

    Raises:
        EngineLinkError: it can't be started.
    """
    global state, message, process
    if process is not None and process.is_running and state is not EngineState.LOST:
        return
    _drop_engine()
    process = EngineProcess.start(command)
    state, message = EngineState.STARTING, ""


def connect(connection: EngineConnection) -> None:
    """Use an engine that somebody else has started.

    Raises:
        EngineLinkError: its address can't be one.
    """
    global state, message, client
    _drop_engine()
    client = EngineClient(connection.endpoint, connection.token, client_name="blender")
    state, message = EngineState.CONNECTING, ""


def receive(budget_s: float) -> Iterator[protocol.Message]:
    """Move the engine's state on; yield the job messages for at most about budget_s seconds.

    When the engine is lost, every active job fails and is told so in `message`.
    """
    deadline = time.monotonic() + budget_s
    _check_process()
    listening = client
    if listening is not None:
        for received in listening.receive(deadline - time.monotonic()):
            if isinstance(received, protocol.EngineStopping):
                _engine_stopped(received.reason)
                return
            if not isinstance(received, protocol.Welcome | protocol.Rejected):
                yield received
            if client is not listening:  # whoever got the message has stopped the engine
                return
        _check_client()


def stop_engine() -> None:
    """Ask the engine to end. Its own process is killed if it takes longer than STOP_GRACE_S."""
    global state, message, client, _stop_deadline
    jobs.fail_active("The engine was stopped", code="engine_gone")
    if client is not None:
        with contextlib.suppress(EngineLinkError):
            if process is not None:
                client.send(protocol.Shutdown())
        client.close()
        client = None
    elif process is not None:
        process.terminate()
    message = ""
    state = EngineState.STOPPED if process is None else EngineState.STOPPING
    _stop_deadline = time.monotonic() + STOP_GRACE_S


def is_busy() -> bool:
    """Something is on its way: the pump must go on polling often."""
    moving = (EngineState.STARTING, EngineState.CONNECTING, EngineState.STOPPING)
    return state in moving or bool(jobs.active)


def models() -> list[protocol.ModelEntry]:
    """The engine's models, as it listed them when it welcomed this client."""
    return client.welcome.models if client is not None and client.welcome is not None else []


def reset(*, wait_s: float = 0.0) -> None:
    """Drop everything, at the end of the add-on. Waits wait_s for the engine, then kills it."""
    global jobs, engine_check, engine_view, prompt_history
    prompt_history = None
    set_up.cancel()
    teaching.close()
    if engine_check is not None:
        engine_check.close()
        engine_check = None
    engine_view = None
    stop_engine()
    if process is not None and wait_s > 0:
        process.wait(wait_s)
    _drop_engine()
    jobs = JobTable()
    people.clear()


def _check_process() -> None:
    """Follow the engine process: listening, gone, or too slow to stop."""
    global state, client
    if process is None:
        return
    if state is EngineState.STOPPING:
        if not process.is_running or time.monotonic() > _stop_deadline:
            _drop_engine()
        return
    try:
        process.check_running()
        connection = process.connection() if state is EngineState.STARTING else None
        if connection is not None:
            client = EngineClient(connection.endpoint, connection.token, client_name="blender")
            state = EngineState.CONNECTING
    except EngineLinkError as error:
        _lose(str(error))


def _check_client() -> None:
    global state
    if client is None:
        return
    if client.refusal:
        _lose(client.refusal)
    elif client.is_dead:
        _lose(f"The engine has not answered for {DEAD_AFTER_S:.0f} s{_log_hint()}: start it again")
    elif client.is_ready:
        state = EngineState.READY


def _engine_stopped(reason: str) -> None:
    if process is None:
        _lose(f"The engine has stopped ({reason})")
        return
    stop_engine()


def _lose(why: str) -> None:
    """The engine is gone: say so to every job. A process that hangs is killed."""
    global state, message
    jobs.fail_active(why, code="engine_gone")
    _drop_engine()
    state, message = EngineState.LOST, why


def _log_hint() -> str:
    return f" (log: {process.log_path})" if process is not None else ""


def _drop_engine() -> None:
    global state, client, process
    if client is not None:
        client.close()
        client = None
    if process is not None:
        process.kill()
        process.remove_connection_file()
        process = None
    state = EngineState.STOPPED
