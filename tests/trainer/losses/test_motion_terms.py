"""Losses: zero at the truth, blind to padding, finite gradients."""

from __future__ import annotations

import torch

from engine.motion.representation import ROOT_LOCAL, estimate_heading
from tests.trainer.conftest import made_clip
from trainer.losses.motion_terms import (
    feature_loss,
    feature_weights,
    joint_steps,
    path_loss,
    step_loss,
)


def features(index: int) -> torch.Tensor:
    joints = torch.from_numpy(made_clip(index))
    return ROOT_LOCAL.encode(joints, estimate_heading(joints))


def test_steps_of_positions_are_the_joint_velocities() -> None:
    true = torch.stack([features(0), features(6)])
    velocities = true[:, :-1, ROOT_LOCAL.part("joint_velocities")].unflatten(-1, (22, 3))
    torch.testing.assert_close(joint_steps(true, ROOT_LOCAL), velocities, atol=1e-5, rtol=0)


def test_losses_are_zero_at_the_truth_and_only_there() -> None:
    true = features(2)[None]
    mask = torch.ones(1, true.shape[1], dtype=torch.bool)
    weights = feature_weights(ROOT_LOCAL)
    assert feature_loss(true, true, mask, weights).item() == 0
    assert step_loss(true, true, mask, ROOT_LOCAL, 0.02).item() < 1e-6
    off = true.clone()
    off[..., ROOT_LOCAL.part("root_velocity")] += 0.01
    assert feature_loss(off, true, mask, weights).item() > 1e-6
    assert step_loss(off, true, mask, ROOT_LOCAL, 0.02).item() > 0.1


def test_padding_does_not_count() -> None:
    true = features(2)[None]
    predicted = true + 0.01 * torch.randn_like(true)
    frames = true.shape[1]
    junk = torch.full((1, 9, true.shape[2]), 5.0)
    mask = torch.arange(frames + 9)[None] < frames
    weights = feature_weights(ROOT_LOCAL)
    for loss in (
        lambda p, t, m: feature_loss(p, t, m, weights),
        lambda p, t, m: step_loss(p, t, m, ROOT_LOCAL, 0.02),
    ):
        alone = loss(predicted, true, mask[:, :frames])
        padded = loss(torch.cat([predicted, junk], 1), torch.cat([true, -junk], 1), mask)
        torch.testing.assert_close(padded, alone)


def test_gradients_are_finite() -> None:
    predicted = torch.zeros_like(features(1))[None].requires_grad_()
    mask = torch.ones(1, predicted.shape[1], dtype=torch.bool)
    step_loss(predicted, features(1)[None], mask, ROOT_LOCAL, 0.02).sum().backward()
    assert predicted.grad is not None
    assert predicted.grad.isfinite().all()
    assert predicted.grad.any()


def test_a_slow_bend_the_wrong_way_costs_much_more_than_noise() -> None:
    true = features(2).repeat(3, 1)[None]
    mask = torch.ones(1, true.shape[1], dtype=torch.bool)
    rate = ROOT_LOCAL.part("root_heading_rate")
    bent, noisy = true.clone(), true.clone()
    bent[..., rate] += 0.01  # 23 degrees a second
    noisy[..., rate] += 0.01 * (-1.0) ** torch.arange(true.shape[1])[:, None]
    assert path_loss(true, true, mask, ROOT_LOCAL).item() == 0
    bend = path_loss(bent, true, mask, ROOT_LOCAL).item()
    expected = (20 * 0.02 / 0.35 - 0.5 + 60 * 0.02 / 0.8 - 0.5) / 3 / 2  # both beyond one unit
    assert abs(bend - expected) < 1e-3 * expected
    assert path_loss(noisy, true, mask, ROOT_LOCAL).item() < 0.01 * bend


def test_path_of_short_and_padded_clips() -> None:
    true = features(2)[None, :15]
    predicted = true + 0.1
    mask = torch.ones(1, 15, dtype=torch.bool)
    assert path_loss(predicted, true, mask, ROOT_LOCAL).item() == 0  # no window fits
    long = features(2)[None]
    off = long + 0.01
    frames = long.shape[1]
    junk = torch.full((1, 30, long.shape[2]), 3.0)
    padded_mask = torch.arange(frames + 30)[None] < frames
    alone = path_loss(off, long, padded_mask[:, :frames], ROOT_LOCAL)
    padded = path_loss(
        torch.cat([off, junk], 1), torch.cat([long, -junk], 1), padded_mask, ROOT_LOCAL
    )
    torch.testing.assert_close(padded, alone)
