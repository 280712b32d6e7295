"""Targets of wild footage: as it is seen, on the floor, and of clips that are told by views."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.motion import skeleton as sk
from engine.motion.motion import Motion
from engine.motion.representation import ROOT_LOCAL, estimate_heading
from engine.motion.representation_2d import VIEW, see
from engine.motion.rotations import axis_angle_to_quaternion
from engine.motion.skeleton import SMPL_22
from tests.trainer.conftest import made_clip
from trainer.data.corpus import Clip, CorpusError
from trainer.data.examples import Example
from trainer.data.feature_bank import FeatureBank
from trainer.data.statistics import Statistics
from trainer.data.two_domain_examples import (
    TwoDomainBatch,
    TwoDomainDataSettings,
    split_clips,
    wild_azimuths,
)
from trainer.wild_targets import WildSampler, fit_to_view, lift_wild, on_the_floor


def bending(frames: int, depth: float) -> torch.Tensor:
    """Joints (frames, 22, 3) of somebody who goes down by bending hips and knees, and up again."""
    turns = torch.zeros(frames, 22, 3)
    bend = depth * torch.sin(torch.linspace(0, math.pi, frames))
    for hip, knee in ((sk.LEFT_HIP, sk.LEFT_KNEE), (sk.RIGHT_HIP, sk.RIGHT_KNEE)):
        turns[:, hip, 0], turns[:, knee, 0] = -bend, 2 * bend
    turns[:, (sk.LEFT_SHOULDER, sk.RIGHT_SHOULDER), 2] = torch.tensor((-1.0, 1.0))  # arms down
    motion = Motion(
        fps=20.0,
        skeleton=SMPL_22,
        root_translation=torch.zeros(frames, 3),
        local_rotations=axis_angle_to_quaternion(turns),
        contacts=torch.zeros(frames, 4),
    )
    joints = motion.joints()
    lowest = joints[..., 1].amin(-1)[:, None, None]
    return joints - lowest * torch.tensor((0.0, 1.0, 0.0))


def encoded(joints: torch.Tensor) -> torch.Tensor:
    return ROOT_LOCAL.encode(joints, estimate_heading(joints))


@pytest.mark.parametrize("azimuth", [0.0, math.pi / 2, 2.5])
def test_a_lift_that_leans_to_standing_is_brought_down_to_what_is_seen(azimuth: float) -> None:
    true, upright = bending(41, 1.2), bending(41, 0.5)
    views = VIEW.encode(see(true[None], torch.tensor([azimuth])))[0]
    fitted = on_the_floor(fit_to_view(encoded(upright), views, ROOT_LOCAL), ROOT_LOCAL)
    assert fitted.shape == (40, 137)
    heights = ROOT_LOCAL.decode(fitted).joints[:, sk.PELVIS, 1]
    off = (heights - true[:40, sk.PELVIS, 1]).abs().max()
    assert off < 0.4 * (upright - true)[:, sk.PELVIS, 1].abs().max()


def test_what_no_detector_saw_pulls_at_nothing() -> None:
    true = bending(41, 1.2)
    points = see(true[None], torch.zeros(1))[0]
    points[:, [sk.LEFT_KNEE, sk.LEFT_ANKLE, sk.LEFT_FOOT]] = points[:, [sk.LEFT_HIP]]
    fitted = fit_to_view(encoded(true), VIEW.encode(points), ROOT_LOCAL)
    joints = ROOT_LOCAL.decode(fitted).joints
    legs = joints[:, [sk.LEFT_KNEE, sk.LEFT_ANKLE]] - joints[:, [sk.RIGHT_KNEE, sk.RIGHT_ANKLE]]
    assert legs[..., 1].abs().max() < 0.15


def test_what_stands_behind_a_clips_end_changes_no_target() -> None:
    """Whoever shares its batch, a short clip has the same targets as by itself."""
    clips = [encoded(bending(frames, 0.8)) for frames in (26, 61)]
    even = Statistics(mean=torch.zeros(137), deviation=torch.ones(137))
    flat = Statistics(mean=torch.zeros(134), deviation=torch.ones(134))

    def targets(chosen: Sequence[torch.Tensor]) -> torch.Tensor:
        examples = [Example(features=clip, captions=(0,), weight=1.0) for clip in chosen]
        statistics = {"3d": even, "2d": flat}
        settings = TwoDomainDataSettings(footage_share=0.5)
        bank = FeatureBank(examples, 0, statistics, ROOT_LOCAL, settings, torch.device("cpu"))

        def lift(own: FeatureBank, batch: TwoDomainBatch) -> tuple[torch.Tensor, torch.Tensor]:
            assert not batch.is_told.any()
            assert not batch.is_footage.any()
            data = own.gather(batch, torch.Generator())
            found = torch.zeros(*batch.mask.shape, 137)
            for row, clip in enumerate(chosen):
                found[row, : len(clip)] = clip
            found[~batch.mask] = 50.0
            return found, data.flat

        return lift_wild(lift, bank, statistics, ROOT_LOCAL)

    together, alone = targets(clips), targets(clips[:1])
    assert len(together) == 85
    torch.testing.assert_close(together[:25], alone, rtol=1e-4, atol=1e-4)


def test_motions_are_set_onto_the_floor_whole() -> None:
    joints = torch.from_numpy(made_clip(1, 41))
    joints[..., 1] += 0.3 - joints[:, (7, 8, 10, 11), 1].amin()
    features = encoded(joints)

    standing = on_the_floor(features, ROOT_LOCAL)

    before, after = (ROOT_LOCAL.decode(x).joints for x in (features, standing))
    assert after[..., (7, 8, 10, 11), 1].amin().abs() < 0.05
    moved = before - after
    assert moved[..., (0, 2)].abs().max() < 1e-5
    torch.testing.assert_close(moved[..., 1], moved[:1, :1, 1].expand_as(moved[..., 1]))


def test_recordings_are_split_with_their_twins() -> None:
    def clip(name: str, caption: str) -> Clip:
        return Clip(clip_id=name, joints=made_clip(0, 20), captions=(caption,))

    clips = [clip(f"A{n}", "a person walks") for n in range(10)]
    clips += [replace(c, clip_id=f"M{c.clip_id}") for c in clips]
    clips += [clip("K", "a person kicks"), clip("MK", "a person kicks")]
    settings = TwoDomainDataSettings(solid_share=0.5, flat_share=1.0, held_out="kick")
    solid, flat = split_clips(clips, settings)
    assert (len(solid), len(flat)) == (10, 12)
    families = [{c.clip_id.removeprefix("M") for c in group} for group in (solid, flat)]
    assert not families[0] & families[1]
    assert "K" in families[1]
    whole, nothing = split_clips(clips, TwoDomainDataSettings(held_out="kick"))
    assert (len(whole), nothing) == (20, [])
    larger, _ = split_clips(clips, TwoDomainDataSettings(solid_share=0.8))
    assert families[0] <= {c.clip_id.removeprefix("M") for c in larger}
    with pytest.raises(CorpusError, match="'kik', which no caption names; they name kick, walk"):
        split_clips(clips, TwoDomainDataSettings(held_out="kik"))


def test_a_wild_clip_is_seen_from_one_side() -> None:
    rows = torch.tensor([0, 1, 2, 3, 4])
    azimuths = wild_azimuths(rows)
    assert len(set(azimuths.tolist())) == 4
    assert azimuths[0] == azimuths[4]


class Batches:
    """A sampler whose batches are numbers."""

    drawn = 0

    def draw(self, generator: torch.Generator) -> int:
        self.drawn += 1
        return self.drawn

    def waiting(self) -> list[list[int]]:
        return []

    def restore(self, waiting: list[list[int]]) -> None:
        assert waiting == []


class Bank:
    """Takes targets."""

    targets: torch.Tensor | None = None

    @property
    def has_made_up(self) -> bool:
        return self.targets is not None

    def set_made_up(self, features: torch.Tensor) -> None:
        self.targets = features


def test_a_run_gone_on_with_has_the_targets_that_it_began_with(tmp_path: Path) -> None:
    path, generator = tmp_path / "wild.safetensors", torch.Generator()

    def started(value: float, bank: Bank) -> WildSampler:
        parts: tuple[Any, Any] = (Batches(), bank)
        return WildSampler(*parts, lambda: torch.full((3, 2), value), path)

    path.write_bytes(b"of another run")
    first = started(1.0, Bank())
    first.draw(generator)
    bank = Bank()
    later = started(2.0, bank)
    later.restore(first.waiting())
    later.draw(generator)
    assert bank.targets is not None
    assert bank.targets.eq(1.0).all()
    assert later.waiting() == [[2]]
    assert list(tmp_path.iterdir()) == [path]
    path.unlink()
    lost = started(3.0, Bank())
    lost.restore(first.waiting())
    with pytest.raises(CorpusError, match=r"wild.safetensors is missing.*put it back"):
        lost.draw(generator)
