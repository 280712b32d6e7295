"""Pseudo-targets along the rays: what they are, what they leave alone, what counts."""

from __future__ import annotations

import torch

from engine.motion.ray_projection import Sight
from engine.motion.representation import HUMANML3D, ROOT_LOCAL, DecodedMotion
from tests.trainer.made_teachers import camera_around, made_teacher
from trainer.data.video_examples import encode_motion
from trainer.losses.ray_alignment import (
    DERIVED,
    alignment_loss,
    feature_mask,
    placed_as,
    ray_target,
)

EVERY = torch.ones(1, 39, dtype=torch.bool)


def scene() -> tuple[torch.Tensor, DecodedMotion, Sight, torch.Tensor]:
    clip = made_teacher(3)
    assert clip.truth is not None
    features = encode_motion(clip.truth)[None]
    num_frames = features.shape[1]
    sight = clip.sight("given")[slice(0, num_frames)][None]
    return features, ROOT_LOCAL.decode(features), sight, torch.ones(1, num_frames, 22)


def test_the_target_of_the_truth_is_the_truth() -> None:
    features, decoded, sight, weights = scene()
    target = ray_target(decoded, sight, weights, EVERY, ROOT_LOCAL)
    assert (target.features - features)[:, :-1].abs().max() < 2e-3
    parts = tuple(ROOT_LOCAL.part(block) for block in DERIVED)
    assert alignment_loss(features, target.features, target.weights, parts).max() < 1e-6
    estimated = ray_target(decoded, sight, weights, EVERY, ROOT_LOCAL, heading="estimated")
    assert (estimated.features - features)[:, :-1].abs().max() < 2e-3


def test_the_target_keeps_the_predictions_own_heading_and_has_no_gradient() -> None:
    features, _, sight, weights = scene()
    off = features.clone()
    off[..., 0] += 0.02  # turns another way
    off = off.requires_grad_(True)
    decoded = ROOT_LOCAL.decode(off)
    target = ray_target(decoded, sight, weights, EVERY, ROOT_LOCAL)
    assert not target.features.requires_grad
    assert torch.allclose(target.features[..., 0], off[..., 0], atol=1e-6)
    estimated = ray_target(decoded, sight, weights, EVERY, ROOT_LOCAL, heading="estimated")
    wrong = (off[..., 0] - features[..., 0]).abs().mean()
    assert (estimated.features[..., 0] - features[..., 0]).abs().mean() < wrong


def test_an_unseen_joint_is_its_own_target_and_counts_nothing() -> None:
    features, decoded, sight, weights = scene()
    weights[..., 20] = 0.0
    moved = DecodedMotion(decoded.joints + 0.1, decoded.heading, decoded.contacts)
    target = ray_target(moved, sight, weights, EVERY, ROOT_LOCAL)
    expected = ray_target(moved, sight, 0 * weights, EVERY, ROOT_LOCAL)
    part = ROOT_LOCAL.part("joint_velocities")
    own = slice(part.start + 3 * 20, part.start + 3 * 20 + 3)
    assert torch.allclose(target.features[..., own], expected.features[..., own], atol=1e-6)
    assert target.weights[..., own].sum() == 0
    assert expected.weights.sum() == 0
    parts = (part,)
    assert alignment_loss(features, expected.features, expected.weights, parts).sum() == 0


def test_what_needs_two_frames_counts_by_both() -> None:
    weights = torch.ones(1, 5, 22)
    weights[0, 2] = 0.0
    for representation in (ROOT_LOCAL, HUMANML3D):
        mask = feature_mask(weights, representation)
        assert mask.shape == (1, 5, representation.num_features)
        velocities = mask[0, :, representation.part("joint_velocities")]
        assert velocities[:, 0].tolist() == [1, 0, 0, 1, 0]
        positions = mask[0, :, representation.part("joint_positions")]
        assert positions[:, 0].tolist() == [1, 1, 0, 1, 1]


def test_behind_the_camera_nothing_counts() -> None:
    _, decoded, sight, weights = scene()
    away = camera_around(1.0, 1).position[0]
    moved = DecodedMotion(decoded.joints + 4 * away, decoded.heading, decoded.contacts)
    camera = camera_around(1.0, weights.shape[1])[None]
    behind = Sight(camera=camera, plane_points=sight.plane_points, confidence=sight.confidence)
    target = ray_target(moved, behind, weights, EVERY, ROOT_LOCAL)
    assert target.features.isfinite().all()
    assert target.weights.sum() == 0


def led_astray(features: torch.Tensor) -> DecodedMotion:
    """The truth's pose along a path that bends away and ends metres off."""
    off = features.clone()
    off[..., ROOT_LOCAL.part("root_heading_rate")] += 0.02
    off[..., ROOT_LOCAL.part("root_velocity")] += 0.05
    return ROOT_LOCAL.decode(off)


def test_a_right_pose_on_a_wrong_path_is_its_own_target_where_the_teacher_places_it() -> None:
    features, truth, sight, weights = scene()
    astray = led_astray(features)
    assert (astray.joints - truth.joints).norm(dim=-1).max() > 1.0
    part = ROOT_LOCAL.part("joint_positions")

    def error(target: torch.Tensor) -> float:
        return float((target - features)[:, :-1, part].abs().max())

    for heading in ("own", "estimated"):
        told = (astray, sight, weights, EVERY, ROOT_LOCAL)
        placed = ray_target(*told, heading=heading, teacher=truth)
        assert error(placed.features) < 2e-3
        assert error(ray_target(*told, heading=heading).features) > 0.1


def test_a_body_is_placed_where_the_teachers_root_is_seen_and_faces_as_it() -> None:
    features, truth, sight, _ = scene()
    aside = DecodedMotion(truth.joints + 0.2, truth.heading, truth.contacts)
    placed = placed_as(led_astray(features), aside, sight)
    assert torch.equal(placed.heading, truth.heading)
    seen = sight.camera.to_camera(placed.joints[..., :1, :])[..., 0, :]
    assert torch.allclose(seen[..., :2] / seen[..., 2:], sight.plane_points[..., 0, :], atol=1e-5)
    wanted = sight.camera.to_camera(aside.joints[..., :1, :])[..., 0, 2]
    assert torch.allclose(seen[..., 2], wanted, atol=1e-5)
    unseen = Sight(
        camera=sight.camera,
        plane_points=sight.plane_points,
        confidence=torch.zeros_like(sight.confidence),
    )
    placed = placed_as(led_astray(features), aside, unseen)
    assert torch.allclose(placed.joints[..., 0, :], aside.joints[..., 0, :], atol=1e-5)
