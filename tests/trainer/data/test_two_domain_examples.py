"""CrossDiff's batches: which sides clips are seen from, and what is seen there."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from engine.motion.representation import ROOT_LOCAL, estimate_heading, rotate_by_heading
from engine.motion.representation_2d import FOUR_AZIMUTHS, VIEW, see
from engine.networks.text_encoder import TextFeatures, no_words
from tests.trainer.conftest import made_clip
from trainer.data.clip import Clip
from trainer.data.examples import Example, TextStore, encode_clip
from trainer.data.feature_bank import FeatureBank
from trainer.data.statistics import measure_statistics
from trainer.data.two_domain_examples import (
    TwoDomainBatch,
    TwoDomainDataSettings,
    TwoDomainSampler,
    measure_views,
)

CLIPS = [
    Clip(clip_id=f"A{i}", joints=made_clip(i, 30 + 6 * i), captions=("someone walks",))
    for i in range(6)
]
SIDES = (0.0, 0.7)  # from the front, and from between the front and the left


class Wordless(TextStore):
    """Captions of which nothing is known."""

    def __init__(self) -> None:
        self.captions = ("",)

    def gather(self, rows: Sequence[int], dropped: Sequence[bool]) -> TextFeatures:
        return no_words(len(rows))


def drawn_azimuths(num_views: int) -> Tensor:
    """Of 400 clips."""
    examples = [Example(features=torch.zeros(20, 137), captions=(0,), weight=1.0)] * 3
    settings = TwoDomainDataSettings(num_views=num_views)
    sampler = TwoDomainSampler(
        examples, Wordless(), settings, batch_size=40, prompt_dropout=0.0, num_solid=3
    )
    generator = torch.Generator().manual_seed(0)
    return torch.cat([sampler.draw(generator).azimuth for _ in range(10)])


@pytest.mark.parametrize("num_views", [1, 2, 4])
def test_clips_are_seen_from_as_many_sides_as_there_are_cameras(num_views: int) -> None:
    azimuths = drawn_azimuths(num_views)
    sides = torch.tensor(FOUR_AZIMUTHS[:num_views])
    is_there = azimuths[:, None] == sides
    assert is_there.any(1).all()
    # 100 of 400 are expected at least; a third less is five deviations away
    assert is_there.sum(0).min() > 60


def test_without_cameras_clips_are_seen_from_anywhere() -> None:
    azimuths = drawn_azimuths(0)
    assert len(azimuths.unique()) > 390
    assert azimuths.min() >= 0
    assert azimuths.max() < 2 * math.pi
    assert torch.histc(azimuths, 8, 0, 2 * math.pi).min() > 25  # of 50 expected in each eighth


@pytest.mark.parametrize("azimuth", SIDES)
def test_a_clips_view_is_what_is_seen_of_its_motion(azimuth: float) -> None:
    features = [encode_clip(clip, ROOT_LOCAL) for clip in CLIPS]
    statistics = {"3d": measure_statistics(features, ROOT_LOCAL), "2d": measure_views(CLIPS)}
    examples = [
        Example(features=statistics["3d"].normalise(own), captions=(0,), weight=1.0)
        for own in features
    ]
    settings = TwoDomainDataSettings(footage_share=0.0)
    cpu = torch.device("cpu")
    bank = FeatureBank(examples, len(examples), statistics, ROOT_LOCAL, settings, cpu)
    rows = torch.tensor((5, 1))
    lengths = torch.tensor([len(features[row]) for row in rows.tolist()])
    batch = TwoDomainBatch(
        rows=rows,
        mask=torch.arange(int(lengths.max())) < lengths[:, None],
        text=no_words(2),
        azimuth=torch.full((2,), azimuth),
        is_told=torch.tensor((True, False)),
        is_footage=torch.zeros(2, dtype=torch.bool),
    )
    data = bank.gather(batch, torch.Generator())
    for place, row in enumerate(rows.tolist()):
        joints = torch.from_numpy(CLIPS[row].joints)
        from_origin = joints - joints[0, 0] * torch.tensor((1.0, 0.0, 1.0))
        ahead = rotate_by_heading(from_origin, -estimate_heading(joints)[0])
        view = VIEW.encode(see(ahead[None], torch.tensor([azimuth])))[0]
        expected = statistics["2d"].normalise(view)
        found = data.flat[place]
        torch.testing.assert_close(found[: len(expected)], expected, rtol=0, atol=1e-3)
        assert found[len(expected) :].abs().sum() == 0
    code = torch.tensor((math.sin(azimuth), math.cos(azimuth), 1.0))
    torch.testing.assert_close(data.view, torch.stack((code, 0 * code)))
