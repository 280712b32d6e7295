"""Captured bodies get the built-in stature, and look the same to their camera."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from engine.motion import proportions
from engine.motion import rotations as rot
from engine.motion.camera import Camera, look_at
from engine.motion.motion import Motion
from engine.motion.skeleton import SMPL_22, Skeleton
from engine.motion.stature import at_usual_stature, stature


def _seen_motion(skeleton: Skeleton) -> Motion:
    generator = torch.Generator().manual_seed(3)
    frames = 5
    rotation, translation = look_at(
        torch.tensor([0.5, 1.4, 4.0]).expand(frames, 3), torch.tensor([0.0, 0.9, 0.0])
    )
    quaternions = rot.normalise(
        torch.tensor([1.0, 0, 0, 0]) + 0.2 * torch.randn(frames, 22, 4, generator=generator)
    )
    return Motion(
        fps=20.0,
        skeleton=skeleton,
        root_translation=torch.randn(frames, 3, generator=generator) * 0.3,
        local_rotations=quaternions,
        contacts=torch.zeros(frames, 4),
        camera=Camera(
            rotation=rotation,
            translation=translation,
            focal_length=torch.full((frames,), 1.9),
            principal_point=torch.zeros(frames, 2),
        ),
    )


def test_narrow_shoulders_dont_make_long_legs() -> None:
    ratios = torch.zeros(proportions.NUM_BONES)
    for bone in ("collar", "shoulder", "elbow", "wrist"):
        ratios[proportions.BONES.index(bone)] = math.log(0.7)
    body = proportions.skeleton_of(proportions.centred(ratios))
    assert stature(body) > 1.1 * stature(SMPL_22)

    scaled = at_usual_stature(_seen_motion(body))

    assert stature(scaled.skeleton) == pytest.approx(stature(SMPL_22), abs=1e-5)
    legs = [math.dist(scaled.skeleton.rest_offsets[joint], (0, 0, 0)) for joint in (4, 7)]
    assert legs == pytest.approx([0.392, 0.429], abs=1e-5)


def test_the_camera_sees_the_same() -> None:
    ratios = 0.1 * torch.randn(proportions.NUM_BONES, generator=torch.Generator().manual_seed(1))
    motion = _seen_motion(proportions.skeleton_of(ratios))

    scaled = at_usual_stature(motion)

    assert motion.camera is not None
    assert scaled.camera is not None
    before, depth = motion.camera.project(motion.joints())
    after, scaled_depth = scaled.camera.project(scaled.joints())
    torch.testing.assert_close(after, before, atol=1e-5, rtol=0)  # float32
    scale = stature(SMPL_22) / stature(motion.skeleton)
    torch.testing.assert_close(scaled_depth, scale * depth, atol=1e-5, rtol=1e-5)


def test_another_tree_is_refused() -> None:
    other = replace(SMPL_22, parents=(-1, *range(21)))

    with pytest.raises(ValueError, match="built-in tree"):
        at_usual_stature(_seen_motion(other))
