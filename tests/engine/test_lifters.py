"""Who lifts video, where no model is named and where some are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from engine.capture_job import choose_models
from engine.checkpoint import CheckpointInfo
from engine.lifters import default_lifter, lifts
from engine.methods.base import RequestError
from tests.fakes import FAKE_INFO


def entry(name: str, method: str, *accepts: str) -> CheckpointInfo:
    return replace(FAKE_INFO, name=name, method=method, accepts=accepts)


BOTH = entry("crossdiff-free", "crossdiff", "prompt", "video")
LIFTER = entry("hmmr-free", "hmmr", "video")
PRIOR = entry("video-mdm-free", "video_mdm", "prompt", "video")


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        ((BOTH, LIFTER, PRIOR), "hmmr-free"),
        ((BOTH, PRIOR), "crossdiff-free"),
        ((PRIOR,), ""),
        ((), ""),
    ],
)
def test_a_model_of_words_and_video_does_not_come_before_the_lifter(
    there: Sequence[CheckpointInfo], wanted: str
) -> None:
    assert default_lifter(there) == wanted


def test_a_prior_lifts_nothing_by_itself() -> None:
    assert [lifts(info) for info in (BOTH, LIFTER, PRIOR)] == [True, True, False]


@pytest.mark.parametrize(
    ("lifter", "model", "wanted"),
    [
        ("", "crossdiff-free", ("crossdiff-free", "")),
        ("crossdiff-free", "video-mdm-free", ("crossdiff-free", "video-mdm-free")),
        ("hmmr-free", "hmmr-free", ("hmmr-free", "")),
    ],
)
def test_a_model_that_lifts_is_the_lifter_and_a_prior_comes_after_it(
    lifter: str, model: str, wanted: tuple[str, str]
) -> None:
    assert choose_models((BOTH, LIFTER, PRIOR), lifter, model) == wanted


def test_of_two_lifters_none_is_left_out_in_silence() -> None:
    with pytest.raises(RequestError, match="hmmr-free and crossdiff-free both lift"):
        choose_models((BOTH, LIFTER, PRIOR), "hmmr-free", "crossdiff-free")
