"""The add-on's session with an engine that is a real process; its models are fakes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from blender_addon import protocol
from blender_addon.engine_link import session
from blender_addon.engine_link.client import EngineLinkError
from blender_addon.engine_link.jobs import Job, JobState
from blender_addon.engine_link.process import EngineCommand, read_connection
from blender_addon.engine_link.session import EngineState

pytestmark = pytest.mark.end_to_end

REPOSITORY = Path(__file__).resolve().parent.parent.parent
START_TIMEOUT_S = 300.0  # importing torch on a machine that is busy training
TIMEOUT_S = 180.0  # for what has no promise of its own, on such a machine
BUDGET_S = 0.02

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")


@pytest.fixture
def command(engine_python: Path, tmp_path: Path) -> EngineCommand:
    return EngineCommand(
        python=engine_python,
        folder=tmp_path,
        engine_root=REPOSITORY,
        device="cpu",
        module="tests.fake_engine",
    )


@pytest.fixture
def clean_session() -> Iterator[None]:
    session.reset()
    yield
    session.reset(wait_s=5)


@pytest.fixture
def ready(command: EngineCommand, clean_session: None) -> None:
    session.start_engine(command)
    poll_until(lambda: session.state is EngineState.READY, START_TIMEOUT_S)


def poll_until(true: Callable[[], object], timeout_s: float = TIMEOUT_S) -> float:
    """Poll as the add-on's timer does. Returns the longest that one call took, in seconds."""
    deadline = time.monotonic() + timeout_s
    longest = 0.0
    while not true():
        assert time.monotonic() < deadline, f"{session.state}: {session.message}"
        before = time.thread_time()  # other processes on the machine don't count
        for message in session.receive(BUDGET_S / 2):
            session.jobs.apply(message)
        longest = max(longest, time.thread_time() - before)
        time.sleep(0.01)
    return longest


def send_job(model: str = "fake", prompt: str = "a person walks") -> Job:
    job = Job(armature_name="Rig", start_frame=1, prompt=prompt)
    session.jobs.add(job)
    assert session.client is not None
    session.client.send(
        protocol.PromptRequest(
            job_id=job.job_id, model=model, prompt=prompt, num_frames=240, fps=24.0, seed=3
        )
    )
    return job


def test_from_start_to_stop(command: EngineCommand, clean_session: None) -> None:
    session.start_engine(command)
    assert session.state is EngineState.STARTING
    assert session.is_busy()
    longest = poll_until(lambda: session.state is EngineState.READY, START_TIMEOUT_S)
    assert [entry.name for entry in session.models() if entry.default] == ["fake"]
    job = send_job()
    longest = max(longest, poll_until(lambda: job.state.is_end))
    assert job.state is JobState.DONE
    process = session.process
    assert process is not None
    session.stop_engine()
    longest = max(longest, poll_until(lambda: session.state is EngineState.STOPPED))
    assert process.exit_code == 0
    assert list(command.folder.glob("*.json")) == []
    assert not session.is_busy()
    assert longest < BUDGET_S


def test_cancel_in_the_middle(ready: None) -> None:
    job = send_job("slow")
    poll_until(lambda: job.step > 0)
    assert session.client is not None
    session.client.send(protocol.CancelJob(job_id=job.job_id))
    poll_until(lambda: job.state.is_end)
    assert job.state is JobState.CANCELLED


@needs_signals
def test_an_engine_that_is_killed_is_noticed_and_can_be_started_again(
    ready: None, command: EngineCommand
) -> None:
    job = send_job("slow")
    poll_until(lambda: job.step > 0)
    assert session.process is not None
    os.kill(session.process.pid, signal.SIGKILL)
    poll_until(lambda: session.state is EngineState.LOST, 12)
    assert "killed by signal 9" in session.message
    assert (job.state, job.message) == (JobState.FAILED, session.message)
    session.start_engine(command)
    poll_until(lambda: session.state is EngineState.READY, START_TIMEOUT_S)
    assert session.message == ""
    again = send_job()
    poll_until(lambda: again.state is JobState.DONE)


@needs_signals
def test_an_engine_that_hangs_is_noticed_by_its_silence(ready: None) -> None:
    job = send_job("slow")
    poll_until(lambda: job.step > 0)
    assert session.process is not None
    process = session.process
    os.kill(process.pid, signal.SIGSTOP)
    poll_until(lambda: session.state is EngineState.LOST, 12)
    assert "not answered for 8 s" in session.message
    assert job.state is JobState.FAILED
    assert process.wait(TIMEOUT_S)


@needs_signals
def test_an_engine_of_somebody_else_that_is_killed_is_noticed(
    ready: None, command: EngineCommand
) -> None:
    (file,) = command.folder.glob("*.json")
    connection = read_connection(file)
    assert connection is not None
    process, session.process = session.process, None  # now it is not ours
    assert process is not None
    session.connect(connection)
    poll_until(lambda: session.state is EngineState.READY)
    job = send_job("slow")
    poll_until(lambda: job.step > 0)
    process.kill()
    process.wait(TIMEOUT_S)
    started = time.monotonic()
    poll_until(lambda: session.state is EngineState.LOST, 14)
    assert time.monotonic() - started < 12
    assert job.state is JobState.FAILED


def test_two_clients_at_once(ready: None, command: EngineCommand) -> None:
    """A second session, in a process of its own, uses the same engine by its connection file."""
    (file,) = command.folder.glob("*.json")
    second = subprocess.Popen(
        [sys.executable, __file__, str(file)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    jobs = [send_job() for _ in range(5)]
    poll_until(lambda: all(job.state.is_end for job in jobs))
    assert {job.state for job in jobs} == {JobState.DONE}
    output, _ = second.communicate(timeout=TIMEOUT_S)
    assert json.loads(output) == ["done"] * 5


@needs_signals
def test_the_engine_ends_with_its_parent(command: EngineCommand) -> None:
    source = (
        "import sys, time; from pathlib import Path\n"
        "from blender_addon.engine_link.process import EngineCommand, EngineProcess\n"
        f"process = EngineProcess.start(EngineCommand(python=Path({str(command.python)!r}), "
        f"folder=Path({str(command.folder)!r}), engine_root=Path({str(REPOSITORY)!r}), "
        "module='tests.fake_engine'))\n"
        "while process.connection() is None: time.sleep(0.05)\n"
        "print(process.pid, flush=True); time.sleep(600)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", source],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert parent.stdout is not None
    engine_pid = int(parent.stdout.readline())
    parent.kill()
    parent.communicate(timeout=TIMEOUT_S)
    deadline = time.monotonic() + TIMEOUT_S
    while list(command.folder.glob("*.json")):
        assert time.monotonic() < deadline, "the engine is still there"
        time.sleep(0.05)
    wait_until_gone(engine_pid, deadline)


def wait_until_gone(pid: int, deadline: float) -> None:
    """Gone, or a zombie where nobody collects orphans."""
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        status = Path(f"/proc/{pid}/stat")
        if status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.05)
    raise AssertionError(f"Process {pid} is still there")


@needs_signals
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_signals_end_it_cleanly(
    ready: None, command: EngineCommand, number: int, code: int
) -> None:
    process = session.process
    assert process is not None
    send_job("slow")
    os.kill(process.pid, number)
    assert process.wait(TIMEOUT_S)
    assert process.exit_code == code
    assert list(command.folder.glob("*.json")) == []


def test_an_engine_that_cannot_start_says_why(command: EngineCommand, clean_session: None) -> None:
    broken = EngineCommand(
        python=command.python, folder=command.folder, engine_root=REPOSITORY, module="tests.gone"
    )
    session.start_engine(broken)
    poll_until(lambda: session.state is EngineState.LOST)
    assert "tests.gone" in session.message
    assert str(command.folder) in session.message


def test_an_engine_python_that_is_not_there_is_refused(
    command: EngineCommand, clean_session: None
) -> None:
    broken = EngineCommand(python=command.folder / "python", folder=command.folder)
    with pytest.raises(EngineLinkError, match="preferences"):
        session.start_engine(broken)
    assert session.state is EngineState.STOPPED


def run_second_client(file: Path) -> None:
    connection = read_connection(file)
    assert connection is not None
    session.connect(connection)
    poll_until(lambda: session.state is EngineState.READY)
    jobs = [send_job() for _ in range(5)]
    poll_until(lambda: all(job.state.is_end for job in jobs))
    sys.stdout.write(json.dumps([job.state.value for job in jobs]))
    session.reset()


if __name__ == "__main__":
    run_second_client(Path(sys.argv[1]))
