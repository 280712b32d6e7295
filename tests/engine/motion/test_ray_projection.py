"""Motion moved onto rays, placed by them, and written as features again."""

from __future__ import annotations

import torch

from engine.diffusion.guidance import ray_guided
from engine.motion.ray_path import follow_rays
from engine.motion.ray_projection import (
    Sight,
    canonical_turn,
    encode_frames,
    onto_rays,
    start_shift,
)
from engine.motion.representation import ROOT_LOCAL, estimate_heading
from tests.trainer.conftest import made_clip
from tests.trainer.made_teachers import camera_around, from_origin

FRAMES = 40


def walk(number: int = 2) -> torch.Tensor:
    return from_origin(torch.from_numpy(made_clip(number, FRAMES)))


def sight_of(joints: torch.Tensor, azimuth: float = 0.7, confidence: float = 1.0) -> Sight:
    camera = camera_around(azimuth, FRAMES)
    points, _ = camera.project(joints)
    return Sight(
        camera=camera, plane_points=points, confidence=torch.full((FRAMES, 22), confidence)
    )


def test_moved_joints_are_seen_where_they_were_and_moving_again_changes_nothing() -> None:
    joints = walk()
    sight = sight_of(joints)
    off = joints + 0.2 * torch.randn(joints.shape, generator=torch.Generator().manual_seed(0))
    moved = onto_rays(off, sight)
    seen, _ = sight.camera.project(moved)
    assert (seen - sight.plane_points).abs().max() < 1e-5
    assert torch.allclose(onto_rays(moved, sight), moved, atol=1e-5)
    assert torch.allclose(onto_rays(joints, sight), joints, atol=1e-5)
    half = onto_rays(off, sight_of(joints, confidence=0.5))
    assert torch.allclose(half, (off + moved) / 2, atol=1e-5)
    assert onto_rays(off, sight_of(joints, confidence=0.0)).equal(off)
    behind = off + 2.5 * sight.camera.position[:, None]
    assert onto_rays(behind, sight).equal(behind)


def test_a_motion_is_placed_by_its_rays() -> None:
    joints = walk()
    away = torch.tensor([0.4, 0.0, -0.3])
    found = start_shift(joints, sight_of(joints + away))
    assert torch.allclose(found, away, atol=0.02)
    batch = start_shift(joints[None], sight_of(joints + away)[None])
    assert torch.allclose(batch[0], found, atol=1e-5)
    assert start_shift(joints, sight_of(joints, confidence=0.0)).abs().max() == 0


def test_features_of_all_frames_decode_to_the_same_motion() -> None:
    joints = walk()
    heading = estimate_heading(joints)
    features = encode_frames(ROOT_LOCAL, joints, heading)
    assert features.shape == (FRAMES, ROOT_LOCAL.num_features)
    assert torch.allclose(features[:-1], ROOT_LOCAL.encode(joints, heading))
    assert torch.allclose(ROOT_LOCAL.decode(features).joints, joints, atol=1e-5)


def test_a_turned_motion_starts_at_the_origin_and_its_camera_turns_with_it() -> None:
    joints = torch.from_numpy(made_clip(5, FRAMES)) + torch.tensor([1.0, 0.0, 2.0])
    rotation, translation = canonical_turn(joints, estimate_heading(joints))
    placed = joints @ rotation.mT + translation
    assert placed[0, 0, [0, 2]].abs().max() < 1e-5
    assert estimate_heading(placed)[0].abs() < 1e-5
    sight = sight_of(joints)
    seen, _ = sight.in_moved_world(rotation, translation).camera.project(placed)
    assert torch.allclose(seen, sight.plane_points, atol=1e-5)


def test_a_guided_denoiser_gives_what_was_seen() -> None:
    joints = walk()
    sight = sight_of(joints)[None]
    statistics = (torch.zeros(ROOT_LOCAL.num_features), torch.ones(ROOT_LOCAL.num_features))
    truth = encode_frames(ROOT_LOCAL, joints, estimate_heading(joints))[None]
    wrong = truth + 0.05 * torch.randn(truth.shape, generator=torch.Generator().manual_seed(1))
    guided = ray_guided(lambda x, t: wrong, sight, ROOT_LOCAL, statistics)(truth, 3.0)
    decoded = ROOT_LOCAL.decode(guided).joints
    seen, _ = sight.camera.project(follow_rays(decoded, sight)[0])
    before, _ = sight.camera.project(ROOT_LOCAL.decode(wrong).joints)
    error = (seen - sight.plane_points).norm(dim=-1).mean()
    assert error < 0.1 * (before - sight.plane_points).norm(dim=-1).mean()
    part = ROOT_LOCAL.part("foot_contacts")
    assert guided[..., part].equal(wrong[..., part])
