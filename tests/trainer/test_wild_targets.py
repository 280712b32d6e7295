"""Targets of wild footage: smooth, of the same motion, and of clips that are told by views."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.motion.representation import ROOT_LOCAL, estimate_heading
from tests.trainer.conftest import made_clip
from trainer.data.corpus import Clip, CorpusError
from trainer.data.two_domain_examples import TwoDomainDataSettings, split_clips, wild_azimuths
from trainer.wild_targets import WildSampler, on_the_floor, smoothed


def test_smoothing_takes_jitter_and_leaves_the_motion() -> None:
    joints = torch.from_numpy(np.stack([made_clip(1, 41), made_clip(2, 41)]))
    heading = estimate_heading(joints)
    clean = ROOT_LOCAL.encode(joints, heading)
    noise = 0.01 * torch.randn(joints.shape, generator=torch.Generator().manual_seed(0))
    rough = ROOT_LOCAL.encode(joints + noise, heading)
    smooth = smoothed(rough, torch.ones(rough.shape[:2], dtype=torch.bool), ROOT_LOCAL)
    assert smooth.shape == rough.shape
    part = ROOT_LOCAL.part("joint_velocities")
    before, after = ((x - clean)[..., part].abs().mean() for x in (rough, smooth))
    assert after < 0.5 * before
    places = ROOT_LOCAL.decode(smooth).joints - ROOT_LOCAL.decode(clean).joints
    assert places.norm(dim=-1).mean() < 0.03


def test_what_stands_behind_a_clips_end_changes_no_target() -> None:
    """Whoever shares its batch, a short clip has the same targets as by itself."""
    joints = torch.from_numpy(np.stack([made_clip(1, 61), made_clip(2, 61)]))
    features = ROOT_LOCAL.encode(joints, estimate_heading(joints))
    features += 0.02 * torch.randn(features.shape, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(features.shape[:2], dtype=torch.bool)
    mask[0, 30:] = False
    features[0, 30:] = 5.0
    together = on_the_floor(smoothed(features, mask, ROOT_LOCAL), mask, ROOT_LOCAL)
    alone = on_the_floor(
        smoothed(features[:1, :30], mask[:1, :30], ROOT_LOCAL), mask[:1, :30], ROOT_LOCAL
    )
    torch.testing.assert_close(together[0, :30], alone[0], rtol=1e-4, atol=1e-4)


def test_motions_are_set_onto_the_floor_whole() -> None:
    joints = torch.from_numpy(np.stack([made_clip(1, 41), made_clip(2, 41)]))
    feet = joints[:, :, (7, 8, 10, 11), 1].amin((1, 2))
    joints[..., 1] -= (feet - torch.tensor([0.3, -0.2]))[:, None, None]
    features = ROOT_LOCAL.encode(joints, estimate_heading(joints))
    mask = torch.ones(features.shape[:2], dtype=torch.bool)
    mask[0, 30:] = False
    features[0, 30:] = 50.0  # what lies beyond a clip's end doesn't count

    standing = on_the_floor(features, mask, ROOT_LOCAL)

    before, after = (ROOT_LOCAL.decode(x).joints for x in (features, standing))
    lowest = after[..., (7, 8, 10, 11), 1].amin(-1)
    assert lowest[0, :30].min().abs() < 0.05
    assert lowest[1].min().abs() < 0.05
    moved = (before - after)[mask]
    assert moved[:, :, (0, 2)].abs().max() < 1e-5
    for clip in (moved[:30], moved[30:]):
        torch.testing.assert_close(clip[..., 1], clip[:1, :1, 1].expand_as(clip[..., 1]))


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
