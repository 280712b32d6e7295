"""Losses: zero at the truth, blind to padding, finite gradients."""

from __future__ import annotations

import torch

from engine.motion.representation import ROOT_LOCAL, estimate_heading
from tests.trainer.conftest import made_clip
from trainer.losses.motion_terms import feature_loss, feature_weights, joint_steps, step_loss


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
