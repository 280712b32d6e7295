"""Out of memory: a job is done in another way, and says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from blender_addon import protocol
from engine.methods.base import Method, Prompt, PromptSequence, Report, SampleOptions
from engine.motion.motion import Motion
from engine.server import memory
from engine.server.worker import run_job
from tests.fakes import FAKE_INFO, FakeMethod, FakeModels

REQUEST = protocol.PromptRequest(
    job_id="a", prompt="a person walks", num_frames=20, fps=20.0, seed=7
)


class SmallCard(FakeMethod):
    """A method whose device holds so many candidates and no more."""

    def __init__(self, room: int, error: Exception | None = None) -> None:
        super().__init__(FAKE_INFO)
        self._room = room
        self._error = error or torch.OutOfMemoryError("CUDA out of memory")
        self.sizes: list[int] = []

    def run_batch(
        self,
        conditions: Sequence[Prompt | PromptSequence],
        options: Sequence[SampleOptions],
        report: Report,
    ) -> list[Motion]:
        self.sizes.append(len(options))
        if len(options) > self._room:
            raise self._error
        return [self.run(Prompt("x"), one, report) for one in options]


class SmallCardModels(FakeModels):
    """A store whose device is a graphics card of little memory; the processor has enough."""

    def __init__(self, room: int, error: Exception | None = None) -> None:
        super().__init__()
        self.card, self.cpu = SmallCard(room, error), SmallCard(1000)

    @property
    def is_on_cpu(self) -> bool:
        return False

    def load(self, name: str, *, on_cpu: bool = False) -> Method:
        return self.cpu if on_cpu else self.card


def answers(models: FakeModels, request: protocol.PromptRequest) -> list[protocol.Message]:
    sent: list[protocol.Message] = []
    run_job(request, models, sent.append, lambda: False)
    return [one for one in sent if not isinstance(one, protocol.JobProgress)]


def results(models: FakeModels, request: protocol.PromptRequest) -> list[protocol.JobResult]:
    found = answers(models, request)
    assert all(isinstance(one, protocol.JobResult) for one in found), found
    return [one for one in found if isinstance(one, protocol.JobResult)]


def test_with_enough_memory_nothing_is_said() -> None:
    models = SmallCardModels(room=4)
    found = results(models, replace(REQUEST, count=4))
    assert [one.warnings for one in found] == [[]] * 4
    assert models.card.sizes == [4]


def test_too_many_at_once_are_made_one_by_one_on_the_card() -> None:
    models = SmallCardModels(room=1)
    found = results(models, replace(REQUEST, count=4))
    assert models.card.sizes == [4, 1, 1, 1, 1]
    assert models.cpu.sizes == []
    assert [(one.candidate, one.warnings) for one in found] == [
        (candidate, [memory.ONE_BY_ONE]) for candidate in range(4)
    ]


@pytest.mark.parametrize("count", [1, 3])
def test_what_does_not_fit_the_card_is_made_on_the_processor(count: int) -> None:
    models = SmallCardModels(room=0)
    found = results(models, replace(REQUEST, count=count))
    assert models.cpu.sizes == [1] * count
    assert {line for one in found for line in one.warnings} == {memory.ON_CPU}


def test_the_motions_are_those_that_the_card_would_have_made() -> None:
    small = results(SmallCardModels(room=0), replace(REQUEST, count=3))
    large = results(SmallCardModels(room=8), replace(REQUEST, count=3))
    for one, other in zip(small, large, strict=True):
        assert (one.root_translation == other.root_translation).all()
        assert one.provenance == other.provenance


class TiringCard(SmallCard):
    """Has room for so many candidates in all, then none."""

    def run_batch(
        self,
        conditions: Sequence[Prompt | PromptSequence],
        options: Sequence[SampleOptions],
        report: Report,
    ) -> list[Motion]:
        made = super().run_batch(conditions, options, report)
        self._room -= len(options)
        return made


def test_candidates_that_were_sent_are_not_made_again() -> None:
    models = SmallCardModels(room=0)
    models.card = TiringCard(room=2)
    found = results(models, replace(REQUEST, count=4))
    assert [one.candidate for one in found] == [0, 1, 2, 3]
    assert models.card.sizes == [4, 1, 1, 1]
    assert models.cpu.sizes == [1, 1]
    whole = results(SmallCardModels(room=8), replace(REQUEST, count=4))
    for one, other in zip(found, whole, strict=True):
        assert one.provenance == other.provenance


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("MPS backend out of memory (MPS allocated: 5 GB)"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_every_device_s_word_for_it_is_known(error: Exception) -> None:
    assert len(results(SmallCardModels(room=0, error=error), REQUEST)) == 1


def test_another_error_is_no_reason_to_try_again() -> None:
    models = SmallCardModels(room=0, error=RuntimeError("shapes do not match"))
    (failed,) = answers(models, REQUEST)
    assert isinstance(failed, protocol.JobFailed)
    assert failed.code == "internal"
    assert models.cpu.sizes == []


def test_where_nothing_helps_it_says_what_to_do() -> None:
    models = SmallCardModels(room=0)
    models.cpu = SmallCard(room=0)
    (failed,) = answers(models, REQUEST)
    assert isinstance(failed, protocol.JobFailed)
    assert failed.code == "out_of_memory"
    assert "fewer frames" in failed.message
