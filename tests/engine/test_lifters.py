"""Who lifts video where no model is named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from engine.checkpoint import CheckpointInfo
from engine.lifters import default_lifter, lifts
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
