from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import zmq

from blender_addon import protocol
from blender_addon.engine_link.client import (
    DEAD_AFTER_S,
    PING_INTERVAL_S,
    EngineClient,
    EngineLinkError,
)

BUDGET_S = 0.02
TIMEOUT_MS = 5_000
WELCOME = protocol.Welcome(engine_version="1", device="cpu", models=[])


class Peer:
    """The engine's end: a ROUTER that says only what a test tells it to."""

    def __init__(self) -> None:
        self.socket = zmq.Context.instance().socket(zmq.ROUTER)
        self.socket.linger = 0
        self.socket.rcvtimeo = TIMEOUT_MS
        self.port = self.socket.bind_to_random_port("tcp://127.0.0.1")
        self.client = b""

    def next_message(self) -> protocol.Message:
        self.client, *frames = self.socket.recv_multipart()
        return protocol.decode(frames)

    def say(self, message: protocol.Message) -> None:
        self.socket.send_multipart([self.client, *protocol.encode(message)])


class Clock:
    def __init__(self) -> None:
        self.offset = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.offset


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.socket.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def client(peer: Peer, clock: Clock) -> Iterator[EngineClient]:
    client = EngineClient(f"tcp://127.0.0.1:{peer.port}", "secret", client_name="me", clock=clock)
    yield client
    client.close()


def receive_some(client: EngineClient, num: int = 1) -> list[protocol.Message]:
    received: list[protocol.Message] = []
    deadline = time.monotonic() + TIMEOUT_MS / 1000
    while len(received) < num and time.monotonic() < deadline:
        received += client.receive(BUDGET_S)
        time.sleep(0.005)
    return received


def poll_until(client: EngineClient, wanted: str) -> None:
    deadline = time.monotonic() + TIMEOUT_MS / 1000
    while not getattr(client, wanted) and time.monotonic() < deadline:
        list(client.receive(BUDGET_S))
        time.sleep(0.005)
    assert getattr(client, wanted)


def test_the_first_message_is_hello(peer: Peer, client: EngineClient) -> None:
    assert peer.next_message() == protocol.Hello(token="secret", client_name="me")
    assert not client.is_ready


def test_welcome_makes_it_ready(peer: Peer, client: EngineClient) -> None:
    peer.next_message()
    peer.say(WELCOME)
    assert receive_some(client) == [WELCOME]
    assert client.is_ready
    assert client.welcome == WELCOME


def test_a_refusal_is_kept_in_words(peer: Peer, client: EngineClient) -> None:
    peer.next_message()
    peer.say(protocol.Rejected(code="bad_token", message="The token is wrong"))
    poll_until(client, "refusal")
    assert client.refusal == "The token is wrong"


def test_an_engine_of_another_version_is_a_refusal(peer: Peer, client: EngineClient) -> None:
    peer.next_message()
    header = protocol.encode(WELCOME)[0].replace(b'"version": 1', b'"version": 99')
    peer.socket.send_multipart([peer.client, header])
    poll_until(client, "refusal")
    assert "99" in client.refusal


def test_a_result_that_cannot_be_read_ends_its_job(peer: Peer, client: EngineClient) -> None:
    peer.next_message()
    frames = protocol.encode(protocol.JobProgress(job_id="a", step=1, num_steps=2))
    peer.socket.send_multipart([peer.client, frames[0].replace(b'"step": 1', b'"step": "x"')])
    (message,) = receive_some(client)
    assert isinstance(message, protocol.JobFailed)
    assert message.job_id == "a"


def test_random_bytes_are_dropped(peer: Peer, client: EngineClient) -> None:
    peer.next_message()
    peer.socket.send_multipart([peer.client, b"\x00\xff", b"nonsense"])
    peer.say(WELCOME)
    assert receive_some(client) == [WELCOME]


def test_an_engine_that_answers_pings_stays_alive(
    peer: Peer, client: EngineClient, clock: Clock
) -> None:
    peer.next_message()
    peer.say(WELCOME)
    receive_some(client)
    for _ in range(3):
        clock.offset += PING_INTERVAL_S
        list(client.receive(BUDGET_S))
        assert peer.next_message() == protocol.Ping()
        peer.say(protocol.Pong())
        deadline = time.monotonic() + 5
        while client._unanswered_since is not None and time.monotonic() < deadline:
            assert list(client.receive(BUDGET_S)) == []
        assert client.is_ready


def test_an_engine_that_is_silent_is_dead_within_12_seconds(
    peer: Peer, client: EngineClient, clock: Clock
) -> None:
    peer.next_message()
    peer.say(WELCOME)
    receive_some(client)
    clock.offset += PING_INTERVAL_S
    list(client.receive(BUDGET_S))
    clock.offset += DEAD_AFTER_S - 1
    list(client.receive(BUDGET_S))
    assert client.is_ready
    clock.offset += 1.1
    list(client.receive(BUDGET_S))
    assert client.is_dead
    assert not client.is_ready
    assert PING_INTERVAL_S + DEAD_AFTER_S < 12


def test_an_engine_that_never_welcomes_is_dead(client: EngineClient, clock: Clock) -> None:
    clock.offset += DEAD_AFTER_S + 0.1
    list(client.receive(BUDGET_S))
    assert client.is_dead


def test_an_answer_that_waited_while_blender_was_busy_counts(
    peer: Peer, client: EngineClient, clock: Clock
) -> None:
    peer.next_message()
    peer.say(WELCOME)
    receive_some(client)
    clock.offset += PING_INTERVAL_S
    list(client.receive(BUDGET_S))
    peer.next_message()
    peer.say(protocol.Pong())
    time.sleep(0.2)  # the answer is in this process now, and nobody has read it
    clock.offset += 100
    list(client.receive(BUDGET_S))
    assert not client.is_dead


def test_receive_keeps_to_its_budget(peer: Peer, client: EngineClient) -> None:
    peer.next_message()
    for step in range(2_000):
        peer.say(protocol.JobProgress(job_id="a", step=step, num_steps=2_000))
    received: list[protocol.Message] = []
    longest = 0.0
    deadline = time.monotonic() + 60
    while len(received) < 2_000 and time.monotonic() < deadline:
        started = time.thread_time()  # of this thread: other processes may hold the processor
        received += client.receive(0.005)
        longest = max(longest, time.thread_time() - started)
    assert len(received) == 2_000
    assert longest < BUDGET_S


def test_no_call_holds_the_caller(client: EngineClient) -> None:
    started = time.thread_time()
    other = EngineClient("tcp://127.0.0.1:9", "secret")  # nobody listens there
    other.send(protocol.Ping())
    list(other.receive(BUDGET_S))
    other.close()
    assert time.thread_time() - started < BUDGET_S
    started = time.monotonic()
    other.close()
    assert time.monotonic() - started < 0.2


def test_an_address_that_is_none_is_refused_in_words() -> None:
    with pytest.raises(EngineLinkError, match="needs one such as tcp://"):
        EngineClient("nonsense", "secret")


def test_sending_after_close_is_refused(client: EngineClient) -> None:
    client.close()
    with pytest.raises(EngineLinkError):
        client.send(protocol.Ping())


def test_a_refresh_brings_the_models_of_now(peer: Peer, client: EngineClient) -> None:
    hello = peer.next_message()
    peer.say(WELCOME)
    poll_until(client, "is_ready")

    client.refresh()
    assert peer.next_message() == hello
    later = protocol.ModelEntry(
        name="mine",
        method="m",
        accepts=["prompt"],
        fps=20.0,
        licence="",
        size_bytes=1,
        model_hash="",
    )
    peer.say(protocol.Welcome(engine_version="1", device="cpu", models=[later]))
    receive_some(client)

    assert client.welcome is not None
    assert [model.name for model in client.welcome.models] == ["mine"]
    assert client.is_ready
