"""The 263 features: against HumanML3D's own, and there and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.motion.representation import (
    HUMANML3D,
    ROOT_LOCAL,
    estimate_heading,
    rotate_by_heading,
    unwrap,
)
from engine.motion.skeleton import SMPL_22


def walk(frames: int = 40, turn: float = 0.02) -> torch.Tensor:
    """A rest pose that walks in a left curve and swings its left wrist."""
    pose = torch.tensor(SMPL_22.rest_joints()).repeat(frames, 1, 1)
    pose[:, 20, 1] += torch.linspace(0, 0.3, frames)
    heading = turn * torch.arange(frames)
    ahead = rotate_by_heading(torch.tensor([0.0, 0.0, 0.05]).expand(frames, 3), heading)
    root = torch.cumsum(ahead, 0) - ahead[:1] + torch.tensor([0.0, 0.95, 0.0])
    return rotate_by_heading(pose, heading[:, None]) + root[:, None]


def test_reference_features_survive_decode_and_encode(real_data: Path) -> None:
    features = torch.from_numpy(np.load(real_data / "reference/004822_protocol.npz")["hml263"])
    decoded = HUMANML3D.decode(features.double())
    again = HUMANML3D.encode(decoded.joints, decoded.heading)
    assert (again - features[:-1]).abs().max() < 1e-4


@pytest.mark.parametrize("representation", [HUMANML3D, ROOT_LOCAL])
def test_encode_then_decode_gives_the_joints_back(representation) -> None:
    joints = walk()
    heading = estimate_heading(joints)
    decoded = representation.decode(representation.encode(joints, heading))
    from_start = joints[:-1] - joints[0, 0] * torch.tensor([1.0, 0.0, 1.0])
    expected = rotate_by_heading(from_start, -heading[0].expand(39, 1))
    torch.testing.assert_close(decoded.joints, expected, atol=1e-5, rtol=0)


def test_heading_grows_in_a_left_turn() -> None:
    heading = estimate_heading(walk(turn=0.03), smoothing=0)
    torch.testing.assert_close(torch.diff(heading), torch.full((39,), 0.03), atol=1e-5, rtol=0)


def test_features_do_not_change_with_place_and_facing() -> None:
    joints = walk()
    moved = rotate_by_heading(joints, torch.tensor(2.1)) + torch.tensor([3.0, 0.0, -1.0])
    torch.testing.assert_close(
        ROOT_LOCAL.encode(moved, estimate_heading(moved)),
        ROOT_LOCAL.encode(joints, estimate_heading(joints)),
        atol=1e-5,
        rtol=0,
    )


def test_a_batch_is_its_items() -> None:
    items = [walk(turn=0.01), walk(turn=-0.02)]
    batch = torch.stack(items)
    together = HUMANML3D.encode(batch, estimate_heading(batch))
    for item, features in zip(items, together, strict=True):
        torch.testing.assert_close(HUMANML3D.encode(item, estimate_heading(item)), features)


def test_a_full_turn_is_unwrapped() -> None:
    angle = torch.linspace(0, 4 * torch.pi, 60)
    wrapped = torch.atan2(angle.sin(), angle.cos())
    torch.testing.assert_close(unwrap(wrapped), angle, atol=1e-4, rtol=0)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="needs"):
        HUMANML3D.encode(torch.zeros(5, 21, 3), torch.zeros(5))
    with pytest.raises(ValueError, match="263"):
        HUMANML3D.decode(torch.zeros(5, 137))
    with pytest.raises(ValueError, match="no block joint_rotations"):
        ROOT_LOCAL.part("joint_rotations")
