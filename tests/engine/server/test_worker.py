"""A job in the worker without its thread: what a request with a movie is answered."""

from __future__ import annotations

from dataclasses import replace

import pytest

from blender_addon import protocol
from engine.checkpoint import CheckpointInfo
from engine.server.worker import run_job
from tests.fakes import FAKE_INFO, FakeModels

VIDEO = protocol.VideoRequest(
    job_id="a", path="/films/walk.mp4", first_frame=0, num_frames=48, fps=24.0
)


class ModelsWithLifter(FakeModels):
    def entries(self) -> list[CheckpointInfo]:
        lifter = replace(FAKE_INFO, name="lifter", accepts=("prompt", "video"))
        return [*super().entries(), lifter]


@pytest.mark.parametrize(
    ("models", "model", "code", "words"),
    [
        (FakeModels(), "", "bad_request", "No model here accepts video"),
        (FakeModels(), "fake", "bad_request", "No model here accepts video"),
        (
            ModelsWithLifter(),
            "fake",
            "bad_request",
            "fake does not accept video, needs one of: lif",
        ),
        (ModelsWithLifter(), "gone", "unknown_model", "no model 'gone', needs one of: lifter"),
        (ModelsWithLifter(), "lifter", "bad_request", "no file /films/walk.mp4"),
    ],
)
def test_a_movie_is_answered_in_words(
    models: FakeModels, model: str, code: str, words: str
) -> None:
    sent: list[protocol.Message] = []
    run_job(replace(VIDEO, model=model), models, sent.append, lambda: False)
    (failed,) = sent
    assert isinstance(failed, protocol.JobFailed)
    assert (failed.job_id, failed.code, failed.detail) == ("a", code, "")
    assert words in failed.message
