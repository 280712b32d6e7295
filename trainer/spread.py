"""Tasks spread over processes of this machine, or over a Ray cluster; results as they come.

A task runs in a process of its own kind even when there is only one: a file that crashes a decoder
ends that process and nothing else. Every process computes with one thread, so that a result doesn't
depend on where, or among how many, it was made.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

Task = Callable[[Any, Callable[[float], None]], Any]
"""task(what, report): the work; report is told of progress in the task's own unit."""

PROJECT = Path(__file__).resolve().parents[1]
_THREADS: dict[str, str] = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
)
_END_WAIT_S = 2.0
_REACH_WAIT_S = 10.0
_PROBE_WAIT_S = 300.0  # a node's first worker imports torch, on machines that are busy too
_PENDING = 2  # tasks in the hands of a cluster for each of its cores


class SpreadError(RuntimeError):
    """Tasks can't be spread as asked. The message is one line for the user."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A task under way has done so much."""

    index: int
    done: float


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A task has ended: with a result, or with the words that say why there is none."""

    index: int
    result: Any = None
    error: str = ""


def run_in_processes(
    task: Task, works: Sequence[Any], count: int
) -> Generator[Progress | Finished, None, None]:
    """Run the task on each of works in `count` processes; ends them when it is closed."""
    context = multiprocessing.get_context("spawn")
    waiting = list(enumerate(works))[::-1]
    team = [_Worker(context, task) for _ in range(min(count, len(works)))]
    try:
        while waiting or any(worker.index is not None for worker in team):
            for worker in team:
                if worker.index is None and waiting:
                    worker.give(*waiting.pop())
            busy = [worker for worker in team if worker.index is not None]
            ready = set(wait([worker.connection for worker in busy]))
            for worker in busy:
                if worker.connection in ready:
                    yield worker.take()
    finally:
        for worker in team:
            worker.end()


class _Worker:
    """One process, started anew where a task has killed it."""

    def __init__(self, context: Any, task: Task) -> None:
        self._context, self._task = context, task
        self.index: int | None = None
        self._start()

    def _start(self) -> None:
        mine, theirs = self._context.Pipe()
        self.connection: Connection = mine
        # read by the libraries when they are first imported, which is before any of our code runs
        before = {name: os.environ.get(name) for name in _THREADS}
        os.environ.update(_THREADS)
        try:
            self._process: SpawnProcess = self._context.Process(
                target=_serve, args=(theirs, self._task), daemon=True
            )
            self._process.start()
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
        theirs.close()

    def give(self, index: int, work: Any) -> None:
        self.index = index
        with suppress(OSError):  # it has died: take() says so
            self.connection.send(work)

    def take(self) -> Progress | Finished:
        assert self.index is not None
        index = self.index
        try:
            kind, value = self.connection.recv()
        except (EOFError, OSError):
            self._process.join(_END_WAIT_S)
            code = self._process.exitcode
            self.connection.close()
            self._start()
            self.index = None
            return Finished(index=index, error=f"reading it ended the process (exit code {code})")
        if kind == "progress":
            return Progress(index=index, done=value)
        self.index = None
        if kind == "error":
            return Finished(index=index, error=value)
        return Finished(index=index, result=value)

    def end(self) -> None:
        self.connection.close()
        self._process.terminate()
        self._process.join(_END_WAIT_S)
        if self._process.is_alive():
            self._process.kill()


def _serve(connection: Connection, task: Task) -> None:
    """Do tasks until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process tells when to end
    while True:
        try:
            work = connection.recv()
        except (EOFError, OSError):
            return
        try:
            answer = ("result", task(work, lambda done: connection.send(("progress", done))))
        except (BrokenPipeError, ConnectionResetError):
            return
        except Exception as error:  # noqa: BLE001 - whatever a file does, the others go on
            answer = ("error", one_line(error))
        with suppress(OSError):
            connection.send(answer)


def run_on_ray(
    task: Task, works: Sequence[Any], address: str
) -> Generator[Progress | Finished, None, None]:
    """Run the task on each of works on a Ray cluster.

    Its nodes need this version of Marey, in their Python or in the folder where it is here, and
    must see the same files under the same names.

    Raises:
        SpreadError: Ray isn't installed, the cluster isn't reached, or its nodes lack Marey.
    """
    ray = _joined(address)
    try:
        _probe(ray)
        remote: Any = ray.remote(num_cpus=1, max_retries=2)(_run_alone)
        most = max(1, _PENDING * int(ray.cluster_resources().get("CPU", 1)))
        waiting = list(range(len(works)))[::-1]
        pending: dict[Any, int] = {}
        while waiting or pending:
            while waiting and len(pending) < most:
                index = waiting.pop()
                pending[remote.remote(task, works[index])] = index
            [ready], _ = ray.wait(list(pending), num_returns=1)
            index = pending.pop(ready)
            try:
                yield Finished(index=index, result=ray.get(ready))
            except ray.exceptions.RayTaskError as error:
                yield Finished(index=index, error=one_line(error.cause))
            except ray.exceptions.RayError as error:
                yield Finished(index=index, error=f"its node failed ({type(error).__name__})")
    finally:
        ray.shutdown()


def _joined(address: str) -> Any:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing leaves the cluster
    try:
        import ray  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise SpreadError("--ray needs the package ray: pip install 'marey[ray]'") from None
    _check_reached(address)
    environment = {**_THREADS, "PYTHONPATH": str(PROJECT)}
    try:
        ray.init(
            address=address,
            runtime_env={"env_vars": environment},
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        raise SpreadError(f"There is no Ray cluster at {address}: {one_line(error)}") from error
    return ray


def _check_reached(address: str) -> None:
    """Ray itself tries for many minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdigit():
        return  # auto, or a name that Ray knows
    try:
        socket.create_connection((host, int(port)), timeout=_REACH_WAIT_S).close()
    except (OSError, OverflowError) as error:
        raise SpreadError(f"There is no Ray cluster at {address}: {one_line(error)}") from error


def _probe(ray: Any) -> None:
    from engine import __version__

    try:
        found = ray.get(ray.remote(num_cpus=1)(_version).remote(), timeout=_PROBE_WAIT_S)
    except ray.exceptions.GetTimeoutError as error:
        raise SpreadError(
            f"The cluster has started no worker in {_PROBE_WAIT_S:.0f} seconds: look at its nodes "
            "with `ray status`"
        ) from error
    except ray.exceptions.RayError as error:
        why = getattr(error, "cause", None) or error
        raise SpreadError(f"The cluster's nodes can't run Marey: {one_line(why)}") from error
    if found != __version__:
        raise SpreadError(f"The cluster's nodes have Marey {found}, this is {__version__}")


def _version() -> str:
    from engine import __version__

    return __version__


def _run_alone(task: Task, work: Any) -> Any:
    return task(work, lambda done: None)


def one_line(error: object) -> str:
    """An error in one line."""
    text = " ".join(str(error).split())
    return text[:500] or type(error).__name__
