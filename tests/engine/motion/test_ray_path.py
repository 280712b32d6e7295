"""A motion that has drifted, placed and turned by its rays."""

from __future__ import annotations

from collections.abc import Generator

import pytest
import torch

from engine.motion.ray_path import follow_rays
from tests.engine.motion.test_ray_projection import FRAMES, sight_of, walk


def drifted(joints: torch.Tensor) -> torch.Tensor:
    """The motion turning too far to the left, and walking off along the camera's view."""
    part = torch.linspace(0.0, 1.0, FRAMES)
    cos, sin = torch.cos(0.5 * part), torch.sin(0.5 * part)
    root = joints[:, :1]
    away = joints - root
    turned = torch.stack(
        (
            cos[:, None] * away[..., 0] + sin[:, None] * away[..., 2],
            away[..., 1],
            cos[:, None] * away[..., 2] - sin[:, None] * away[..., 0],
        ),
        dim=-1,
    )
    return root + turned + part[:, None, None] * torch.tensor([0.5, 0.0, 0.4])


def test_what_drifts_is_brought_back() -> None:
    joints = walk()
    found, turns = follow_rays(drifted(joints), sight_of(joints))
    before = (drifted(joints) - joints).norm(dim=-1).mean()
    after = (found - joints).norm(dim=-1).mean()
    assert before > 0.3
    assert after < 0.1 * before
    assert abs(float(turns[-1]) + 0.5) < 0.1
    assert turns[0].abs() < 0.1


def test_a_motion_on_its_rays_stays() -> None:
    joints = walk()
    found, turns = follow_rays(joints, sight_of(joints))
    assert (found - joints).abs().max() < 1e-3
    assert turns.abs().max() < 1e-3


def test_where_nothing_is_seen_nothing_moves() -> None:
    joints = drifted(walk())
    found, turns = follow_rays(joints, sight_of(walk(), confidence=0.0))
    assert torch.allclose(found, joints, atol=1e-5)
    assert turns.abs().max() == 0


@pytest.fixture
def two_threads() -> Generator[None]:
    """As training has: PyTorch's LU of a batch failed with them."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_a_batch_is_its_items() -> None:
    joints = walk()
    sights = [sight_of(joints), sight_of(joints, azimuth=2.0)]
    both = sights[0][None]
    both = type(both)(
        camera=type(both.camera)(
            **{
                name: torch.stack([getattr(one.camera, name) for one in sights])
                for name in ("rotation", "translation", "focal_length", "principal_point")
            }
        ),
        plane_points=torch.stack([one.plane_points for one in sights]),
        confidence=torch.stack([one.confidence for one in sights]),
    )
    found, turns = follow_rays(drifted(joints).expand(2, -1, -1, -1), both)
    for row, sight in enumerate(sights):
        alone, turned = follow_rays(drifted(joints), sight)
        assert torch.allclose(found[row], alone, atol=1e-4)
        assert torch.allclose(turns[row], turned, atol=1e-4)
