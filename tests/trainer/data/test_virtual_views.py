"""Virtual cameras keep the body in view; the detector is wrong in the ways it says."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.motion.keypoint_layout import OBSERVED_JOINTS
from engine.motion.skeleton import SMPL_22
from tests.trainer.conftest import made_clip
from trainer.data.corpus import Clip
from trainer.data.detector_noise import CLEAN, NoiseSettings, detect
from trainer.data.pose_bank import PoseBank, draw_bodies
from trainer.data.views_corpus import look
from trainer.data.virtual_views import ViewSettings, sample_cameras


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.data.pose_bank.user_cache_dir", lambda *_, **__: str(tmp_path))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def bank() -> PoseBank:
    clips = [
        Clip(clip_id=f"A{i}", joints=made_clip(i, 40 + 10 * i), captions=("walks",))
        for i in range(4)
    ]
    return PoseBank(clips)


def windows(count: int = 32, num_frames: int = 48):
    clips = torch.arange(count) % 4
    return bank().cut(clips, torch.zeros(count), num_frames)


def test_a_window_is_its_clip_mirrored_or_faster() -> None:
    own = bank()
    clip = torch.from_numpy(made_clip(1, 50))
    whole = own.whole(1)
    # the made figure's limbs stretch: where bones are rigid, positions agree
    torch.testing.assert_close(whole.joints[0, :, [0, 1, 3]], clip[:, [0, 1, 3]], atol=2e-3, rtol=0)
    mirrored = own.cut(
        torch.tensor([1]), torch.zeros(1), 50, is_mirrored=torch.tensor([True])
    ).joints
    expected = whole.joints[:, :, list(SMPL_22.mirror_order)] * torch.tensor((-1.0, 1.0, 1.0))
    torch.testing.assert_close(mirrored, expected, atol=1e-5, rtol=1e-5)
    fast = own.cut(torch.tensor([1]), torch.zeros(1), 40, speeds=torch.tensor([1.5]))
    torch.testing.assert_close(fast.joints[0, 2], whole.joints[0, 3], atol=1e-4, rtol=1e-4)
    assert fast.mask.sum() == 33  # frames 0 to 48 in steps of 1.5, of 50
    assert fast.joints[0, 39].equal(fast.joints[0, 35])


def test_longer_legs_stand_on_the_same_floor() -> None:
    body = torch.zeros(13)
    body[6:8] = 0.2
    plain, tall = bank().whole(0), bank().whole(0, body)
    assert tall.joints[0, :, 0, 1].mean() > 1.15 * plain.joints[0, :, 0, 1].mean()
    low = tall.joints[0, :, :, 1].amin() - plain.joints[0, :, :, 1].amin()
    assert abs(float(low)) < 0.03


@pytest.mark.parametrize("moving_share", [0.0, 1.0])
def test_cameras_have_every_joint_in_front_and_in_the_image(moving_share: float) -> None:
    seen = windows()
    settings = ViewSettings(moving_share=moving_share, cut_share=0.0)
    camera, extents = sample_cameras(seen.joints, seen.mask, settings, seeded())
    points, depth = camera.project(seen.joints)
    inside = (points.abs() <= extents[:, None, None] + 1e-4).all(-1)
    assert inside[seen.mask].all()
    assert (depth[seen.mask] > 0.49).all()
    turned = (camera.rotation[:, :1] - camera.rotation).abs().amax((-1, -2, -3))
    assert bool((turned > 1e-3).all()) == bool(moving_share)
    determinants = torch.linalg.det(camera.rotation)
    torch.testing.assert_close(determinants, torch.ones_like(determinants))


def test_cameras_stand_all_round_and_upright() -> None:
    seen = windows(200, 2)
    camera, _ = sample_cameras(seen.joints, seen.mask, ViewSettings(), seeded())
    offset = camera.position[:, 0] - seen.joints[:, 0, 0]
    azimuth = torch.atan2(offset[:, 0], offset[:, 2])
    counts = torch.histc(azimuth, 8, -torch.pi, torch.pi)
    assert (counts > 10).all()
    up = camera.rotation @ torch.tensor((0.0, 1.0, 0.0))
    assert (up[..., 1] < -0.5).all()  # up in the world is up in the image, whose y points down


def test_the_same_seed_sees_the_same() -> None:
    seen = windows(4, 30)
    first = look(seen, ViewSettings(), NoiseSettings(), seeded(5))
    again = look(seen, ViewSettings(), NoiseSettings(), seeded(5))
    other = look(seen, ViewSettings(), NoiseSettings(), seeded(6))
    assert first.keypoints.equal(again.keypoints)
    assert not first.keypoints.equal(other.keypoints)


def test_without_noise_keypoints_are_the_projected_body() -> None:
    seen = look(windows(), ViewSettings(cut_share=0.0), CLEAN, seeded())
    observed = list(OBSERVED_JOINTS)
    is_there = seen.keypoints[..., 2] > 0
    assert is_there[windows().mask][:, observed].float().mean() > 0.99
    assert not is_there[:, :, [3, 6, 9, 13, 14]].any()
    error = (seen.keypoints[..., :2] - seen.exact).norm(dim=-1)
    middles = [0, 12]  # of two image points, which perspective moves a little
    assert error[:, :, middles][is_there[:, :, middles]].max() < 0.02
    others = [j for j in observed if j not in middles]
    assert error[:, :, others][is_there[:, :, others]].max() < 1e-5


def test_noise_is_as_large_as_said_and_confidence_knows_of_it() -> None:
    points = torch.zeros(64, 60, 22, 2)
    heights, extents = torch.full((64, 60), 0.8), torch.ones(64, 2)
    found = detect(points, heights, extents, NoiseSettings(), seeded())
    is_there = found[..., 2] > 0
    error = found[..., :2].norm(dim=-1) / 0.8
    wrist, hip = error[:, :, 20][is_there[:, :, 20]], error[:, :, 1][is_there[:, :, 1]]
    assert 0.008 < wrist.median() < 0.03
    assert 0.006 < hip.median() < 0.025
    assert wrist.quantile(0.99) > 0.05  # slips
    observed = list(OBSERVED_JOINTS)
    missing = 1 - is_there[:, :, observed].float().mean()
    assert 0.05 < missing < 0.3
    sure = error[..., observed][found[..., observed, 2] > 0.9]
    unsure = error[..., observed][(found[..., observed, 2] < 0.5) & is_there[..., observed]]
    assert unsure.median() > 2 * sure.median()
    twice = detect(points, heights, extents, NoiseSettings(scale=2.0), seeded())
    assert (twice[..., :2].norm(dim=-1) / 0.8)[twice[..., 2] > 0].median() > 1.5 * hip.median()


def test_sides_are_swapped_now_and_then_and_lost_limbs_end_there() -> None:
    points = torch.zeros(64, 100, 22, 2)
    left = [j for j, name in enumerate(SMPL_22.joint_names) if name.startswith("left")]
    points[:, :, left, 0] = 0.5
    settings = NoiseSettings(bias=0.0, torso_bias=0.0, jitter=0.0, slip=0.0)
    found = detect(points, torch.full((64, 100), 0.8), torch.ones(64, 2), settings, seeded())
    wrists = found[:, :, 20]
    is_swapped = (wrists[..., 0] < 0.25) & (wrists[..., 2] > 0)
    assert 0.005 < is_swapped.float().mean() < 0.08
    elbow_lost = found[:, :, 18, 2] == 0
    assert elbow_lost.any()
    assert (found[:, :, 20, 2][elbow_lost] == 0).all()


def test_bodies_differ_in_proportion_only() -> None:
    bodies = draw_bodies(500, 0.05, seeded())
    assert bodies.mean(-1).abs().max() < 1e-6
    assert bodies.std() == pytest.approx(0.048, abs=0.004)


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="distances"):
        ViewSettings(min_distance=5.0, max_distance=4.0)
    with pytest.raises(ValueError, match="scale"):
        NoiseSettings(scale=-1.0)
