"""The server in a thread, with fake models, and clients over real sockets."""

from __future__ import annotations

import json
import os
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np
import pytest
import zmq

from blender_addon import protocol
from blender_addon.engine_link.client import EngineClient
from engine.server import app
from tests.fakes import FakeModels

TOKEN = "right"
HALF = "\ud800"  # of a surrogate pair: JSON can write it, UTF-8 can't
TIMEOUT_S = 30.0  # two busy cores must not fail a test


@dataclass
class Running:
    endpoint: str
    thread: threading.Thread
    stop: threading.Event


@pytest.fixture
def running() -> Iterator[Running]:
    server = app.Server(FakeModels(), token=TOKEN, device="cpu", endpoint="tcp://127.0.0.1:*")
    stop = threading.Event()
    endpoint = server.endpoint
    thread = threading.Thread(
        target=server.run, args=(lambda: "the test is over" if stop.is_set() else "",)
    )
    thread.start()
    yield Running(endpoint, thread, stop)
    stop.set()
    thread.join(TIMEOUT_S)
    assert not thread.is_alive()


Connect = Callable[..., EngineClient]


@pytest.fixture
def connect(running: Running) -> Iterator[Connect]:
    clients: list[EngineClient] = []

    def make(token: str = TOKEN) -> EngineClient:
        clients.append(EngineClient(running.endpoint, token, client_name="test"))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


def wait_for(
    client: EngineClient, kind: type[protocol.Message], *, job_id: str = ""
) -> list[protocol.Message]:
    """What arrives, up to the first message of a kind (and job)."""
    received: list[protocol.Message] = []
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        for message in client.receive(0.02):
            received.append(message)
            if isinstance(message, kind) and job_id in ("", getattr(message, "job_id", "")):
                return received
        time.sleep(0.005)
    raise AssertionError(f"No {kind.__name__} came, but {received}")


def request(job_id: str = "a", **changes: object) -> protocol.PromptRequest:
    values = {"job_id": job_id, "prompt": "a person walks", "num_frames": 48, "fps": 24.0}
    return protocol.PromptRequest(**(values | {"seed": 7} | changes))


def of_kind(messages: list[protocol.Message], kind: type) -> list[protocol.Message]:
    return [message for message in messages if isinstance(message, kind)]


def assert_serves(connect: Connect) -> None:
    """A new client gets a motion: the engine is well."""
    client = connect()
    client.send(request("well"))
    result = wait_for(client, protocol.JobResult)[-1]
    assert isinstance(result, protocol.JobResult)


def test_welcome_lists_the_models(connect: Connect) -> None:
    welcome = wait_for(connect(), protocol.Welcome)[-1]
    assert isinstance(welcome, protocol.Welcome)
    assert welcome.device == "cpu"
    assert [entry.name for entry in welcome.models if entry.default] == ["fake"]
    entry = welcome.models[0]
    assert (entry.num_steps, entry.guidance_scale, entry.max_seconds) == (10, 2.5, 60.0)


def test_a_prompt_becomes_a_motion(connect: Connect) -> None:
    client = connect()
    client.send(request())
    messages = wait_for(client, protocol.JobResult)
    assert of_kind(messages, protocol.JobQueued) == [protocol.JobQueued(job_id="a", position=0)]
    assert of_kind(messages, protocol.JobProgress)
    result = messages[-1]
    assert isinstance(result, protocol.JobResult)
    assert (result.fps, len(result.root_translation), len(result.joint_names)) == (24.0, 48, 22)
    provenance = json.loads(result.provenance)
    assert provenance["seed"] == 7
    assert provenance["prompt"] == "a person walks"
    assert provenance["model"] == "fake"
    assert provenance["model_hash"] == "0" * 64
    assert {"engine_version", "licence", "num_steps", "guidance_scale"} <= provenance.keys()


@pytest.mark.parametrize(("num_frames", "fps"), [(1, 24.0), (2, 12.5), (250, 25.0), (600, 60.0)])
def test_the_result_has_the_frames_that_were_asked_for(
    connect: Connect, num_frames: int, fps: float
) -> None:
    client = connect()
    client.send(request(num_frames=num_frames, fps=fps))
    result = wait_for(client, protocol.JobResult)[-1]
    assert isinstance(result, protocol.JobResult)
    assert (len(result.root_translation), result.fps) == (num_frames, fps)


def test_candidates_are_the_seeds_that_follow(connect: Connect) -> None:
    client = connect()
    client.send(request("three", count=3))
    together: list[protocol.JobResult] = []
    while len(together) < 3:
        result = wait_for(client, protocol.JobResult)[-1]
        assert isinstance(result, protocol.JobResult)
        together.append(result)
    assert [(r.candidate, r.count) for r in together] == [(0, 3), (1, 3), (2, 3)]
    assert [json.loads(r.provenance)["seed"] for r in together] == [7, 8, 9]
    client.send(request("one", seed=9))
    alone = wait_for(client, protocol.JobResult)[-1]
    assert isinstance(alone, protocol.JobResult)
    np.testing.assert_array_equal(alone.root_translation, together[2].root_translation)
    assert alone.provenance == together[2].provenance


def test_a_request_without_a_seed_gets_one_that_is_written_down(connect: Connect) -> None:
    client = connect()
    seeds: set[int] = set()
    for job_id in "ab":
        client.send(request(job_id, seed=-1))
        result = wait_for(client, protocol.JobResult)[-1]
        assert isinstance(result, protocol.JobResult)
        seeds.add(json.loads(result.provenance)["seed"])
    assert len(seeds) == 2
    assert min(seeds) >= 0


def test_warnings_reach_the_client(connect: Connect) -> None:
    client = connect()
    client.send(request(prompt="zzz"))
    result = wait_for(client, protocol.JobResult)[-1]
    assert isinstance(result, protocol.JobResult)
    assert result.warnings == ["Far from what was learned"]


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"prompt": "123 !"}, "bad_request", "letter"),
        ({"prompt": "x" * 10_000}, "bad_request", "1000"),
        ({"num_frames": 24 * 500}, "bad_request", "500 seconds"),
        ({"num_steps": 5_000}, "bad_request", "5000"),
        ({"model": "gone"}, "unknown_model", "gone"),
        ({"model": "half"}, "bad_model", "half"),
        ({"model": "unreadable"}, "bad_model", "folder"),
        ({"model": "broken"}, "internal", "ZeroDivisionError"),
        ({"model": "nan"}, "internal", "finite"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_cannot_be_done_is_answered(
    connect: Connect, changes: dict[str, object], code: str, words: str
) -> None:
    client = connect()
    client.send(request(**changes))
    failed = wait_for(client, protocol.JobFailed)[-1]
    assert isinstance(failed, protocol.JobFailed)
    assert (failed.job_id, failed.code) == ("a", code)
    assert words in failed.message
    assert "\n" not in failed.message
    assert ("Traceback" in failed.detail) == (code in ("internal", "bad_model"))
    assert_serves(connect)


def test_two_clients_get_their_own_results(connect: Connect) -> None:
    clients = [connect(), connect()]
    for seed, client in enumerate(clients, start=10):
        for job_id in ("a", "b"):  # the same ids in both: they are each client's own
            client.send(request(job_id, seed=seed))
    for seed, client in enumerate(clients, start=10):
        for job_id in ("a", "b"):
            result = wait_for(client, protocol.JobResult, job_id=job_id)[-1]
            assert isinstance(result, protocol.JobResult)
            assert json.loads(result.provenance)["seed"] == seed


def test_the_queue_tells_positions(connect: Connect) -> None:
    first, second = connect(), connect()
    first.send(request("slow", model="slow"))
    wait_for(first, protocol.JobProgress)
    second.send(request("b"))
    second.send(request("c"))
    queued = wait_for(second, protocol.JobQueued, job_id="c")
    positions = {m.job_id: m.position for m in queued if isinstance(m, protocol.JobQueued)}
    assert positions == {"b": 1, "c": 2}
    second.send(protocol.CancelJob(job_id="b"))
    messages = wait_for(second, protocol.JobQueued, job_id="c")
    assert protocol.JobCancelled(job_id="b") in messages
    assert messages[-1] == protocol.JobQueued(job_id="c", position=1)
    first.send(protocol.CancelJob(job_id="slow"))
    wait_for(first, protocol.JobCancelled)
    wait_for(second, protocol.JobResult, job_id="c")


def test_cancel_stops_within_a_step(connect: Connect) -> None:
    client = connect()
    client.send(request(model="slow"))  # 200 steps of 50 ms
    wait_for(client, protocol.JobProgress)
    started = time.monotonic()
    client.send(protocol.CancelJob(job_id="a"))
    messages = wait_for(client, protocol.JobCancelled)
    assert time.monotonic() - started < 2  # 10 s are left of it; the machine may be busy
    steps = [m.step for m in messages if isinstance(m, protocol.JobProgress)]
    assert not steps or max(steps) < 40
    assert not of_kind(messages, protocol.JobResult)
    client.send(request("b"))
    wait_for(client, protocol.JobResult, job_id="b")


def test_progress_comes_at_most_ten_times_a_second(connect: Connect) -> None:
    client = connect()
    client.send(request(model="slow", num_steps=40))
    started = time.monotonic()
    messages = wait_for(client, protocol.JobResult)
    allowed = (time.monotonic() - started) * 10 + 2
    progress = of_kind(messages, protocol.JobProgress)
    assert 3 <= len(progress) <= allowed


def test_cancelling_what_is_not_there_changes_nothing(connect: Connect) -> None:
    client = connect()
    wait_for(client, protocol.Welcome)
    client.send(protocol.CancelJob(job_id="never"))
    assert_serves(connect)


def test_a_ping_is_answered_while_a_job_runs(running: Running, connect: Connect) -> None:
    client = connect()
    client.send(request(model="slow"))
    wait_for(client, protocol.JobProgress)
    raw = raw_client(running, protocol.Hello(token=TOKEN))
    assert isinstance(protocol.decode(raw.recv_multipart()), protocol.Welcome)
    started = time.monotonic()
    raw.send_multipart(protocol.encode(protocol.Ping()))
    assert protocol.decode(raw.recv_multipart()) == protocol.Pong()
    assert time.monotonic() - started < 1
    raw.close()
    client.send(protocol.CancelJob(job_id="a"))


def test_a_client_that_vanishes_takes_its_jobs_along(running: Running, connect: Connect) -> None:
    gone = EngineClient(running.endpoint, TOKEN)
    gone.send(request("a", model="slow"))
    wait_for(gone, protocol.JobProgress)
    gone.send(request("b", model="slow"))
    wait_for(gone, protocol.JobQueued, job_id="b")
    gone.close()
    client = connect()
    client.send(request("c"))
    started = time.monotonic()
    wait_for(client, protocol.JobResult, job_id="c")
    assert time.monotonic() - started < 8  # the two slow jobs would take 20 s


def test_the_same_job_id_twice_is_refused(connect: Connect) -> None:
    client = connect()
    client.send(request(model="slow"))
    wait_for(client, protocol.JobProgress)
    client.send(request())
    rejected = wait_for(client, protocol.Rejected)[-1]
    assert isinstance(rejected, protocol.Rejected)
    assert "in use" in rejected.message
    client.send(protocol.CancelJob(job_id="a"))
    wait_for(client, protocol.JobCancelled)


def test_a_full_queue_refuses(connect: Connect) -> None:
    client = connect()
    for i in range(app.MAX_QUEUED_JOBS + 2):
        client.send(request(f"job{i}", model="slow"))
    failed = wait_for(client, protocol.JobFailed)[-1]
    assert isinstance(failed, protocol.JobFailed)
    assert (failed.code, failed.job_id) == ("queue_full", f"job{app.MAX_QUEUED_JOBS + 1}")


# --- clients that are none ---------------------------------------------------------------


def raw_client(running: Running, *messages: protocol.Message) -> zmq.Socket[bytes]:
    raw = zmq.Context.instance().socket(zmq.DEALER)
    raw.linger = 0
    raw.rcvtimeo = int(TIMEOUT_S * 1000)
    raw.connect(running.endpoint)
    for message in messages:
        raw.send_multipart(protocol.encode(message))
    return raw


@pytest.mark.parametrize(
    ("message", "code"),
    [
        (protocol.Hello(token="wrong"), "bad_token"),
        (protocol.Hello(token=""), "bad_token"),
        (protocol.Hello(token="ä" * 1_000), "bad_token"),
        (protocol.Ping(), "hello_first"),
        (protocol.Shutdown(), "hello_first"),
        (request(), "hello_first"),
    ],
)
def test_a_stranger_is_refused(
    running: Running, connect: Connect, message: protocol.Message, code: str
) -> None:
    raw = raw_client(running, message)
    answer = protocol.decode(raw.recv_multipart())
    raw.close()
    assert isinstance(answer, protocol.Rejected)
    assert answer.code == code
    assert_serves(connect)


def test_a_wrong_version_is_refused_in_words(running: Running, connect: Connect) -> None:
    raw = raw_client(running)
    header = protocol.encode(protocol.Hello(token=TOKEN))[0]
    raw.send(header.replace(b'"version": 1', b'"version": 2'))
    answer = protocol.decode(raw.recv_multipart())
    raw.close()
    assert isinstance(answer, protocol.Rejected)
    assert answer.code == "bad_version"
    assert_serves(connect)


def test_a_wrong_token_makes_no_client_ready(connect: Connect) -> None:
    client = connect("wrong")
    wait_for(client, protocol.Rejected)
    assert not client.is_ready
    assert "token" in client.refusal


def test_bad_numbers_of_a_known_client_end_that_job(running: Running, connect: Connect) -> None:
    raw = raw_client(running, protocol.Hello(token=TOKEN))
    assert isinstance(protocol.decode(raw.recv_multipart()), protocol.Welcome)
    frame = protocol.encode(request())[0]
    for old, new in [(b"48", b"0"), (b"48", b"-3"), (b"24.0", b"NaN"), (b"24.0", b'"fast"')]:
        raw.send(frame.replace(old, new))
        answer = protocol.decode(raw.recv_multipart())
        assert isinstance(answer, protocol.JobFailed)
        assert (answer.job_id, answer.code) == ("a", "bad_request")
    raw.send_multipart(protocol.encode(protocol.Pong()))
    answer = protocol.decode(raw.recv_multipart())
    assert isinstance(answer, protocol.Rejected)
    raw.close()
    assert_serves(connect)


@pytest.mark.parametrize(
    "changes",
    [
        {"version": HALF},
        {"type": HALF},
        {"body": {"job_id": HALF}},
        {"body": {"job_id": "a", "prompt": HALF}},
        {"arrays": [{"field": HALF, "dtype": "<f8", "shape": [1]}]},
    ],
    ids=str,
)
def test_half_a_character_leaves_the_engine_up(
    running: Running, connect: Connect, changes: dict[str, object]
) -> None:
    header = {**json.loads(protocol.encode(request())[0]), **changes}
    frames = [json.dumps(header).encode(), *(b"12345678" for _ in header["arrays"])]
    raw = raw_client(running)
    raw.send_multipart(frames)  # as a stranger, then as a client
    assert isinstance(protocol.decode(raw.recv_multipart()), protocol.Rejected)
    raw.send_multipart(protocol.encode(protocol.Hello(token=TOKEN)))
    assert isinstance(protocol.decode(raw.recv_multipart()), protocol.Welcome)
    raw.send_multipart(frames)
    answer = protocol.decode(raw.recv_multipart())
    assert isinstance(answer, protocol.Rejected | protocol.JobFailed)
    raw.close()
    assert_serves(connect)


def test_random_messages_leave_the_engine_up(running: Running, connect: Connect) -> None:
    dice = random.Random(1)
    raw = raw_client(running)
    for _ in range(300):
        raw.send_multipart([dice.randbytes(dice.randrange(200)) for _ in range(dice.randint(1, 6))])
    assert isinstance(protocol.decode(raw.recv_multipart()), protocol.Rejected)
    raw.close()
    assert_serves(connect)


def test_random_bytes_to_the_port_leave_the_engine_up(running: Running, connect: Connect) -> None:
    port = urlsplit(running.endpoint).port
    assert port is not None
    dice = random.Random(2)
    for junk in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 64, dice.randbytes(100_000), b""):
        with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as plain:
            try:
                plain.sendall(junk)
            except (BrokenPipeError, ConnectionResetError):
                continue  # it hung up in the middle, as it should
    assert_serves(connect)


def test_a_huge_frame_leaves_the_engine_up(running: Running, connect: Connect) -> None:
    raw = raw_client(running)
    raw.send_multipart([*protocol.encode(protocol.Ping()), os.urandom(1 << 20) * 100])
    assert_serves(connect)
    raw.close()


def test_shutdown_tells_every_client(running: Running, connect: Connect) -> None:
    clients = [connect(), connect()]
    for client in clients:
        wait_for(client, protocol.Welcome)
    clients[0].send(request(model="slow"))
    wait_for(clients[0], protocol.JobProgress)
    clients[1].send(protocol.Shutdown())
    for client in clients:
        wait_for(client, protocol.EngineStopping)
    running.thread.join(5)
    assert not running.thread.is_alive()
