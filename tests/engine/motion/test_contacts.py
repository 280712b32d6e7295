"""Contacts on feet whose story is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from engine.motion.contacts import (
    detect_contacts,
    floor_penetration,
    foot_slide,
    hysteresis,
    rest_heights,
    spans,
)
from engine.motion.skeleton import FOOT_JOINTS, SMPL_22

FPS = 20.0


def standing(num_frames: int) -> Tensor:
    joints = torch.tensor(SMPL_22.rest_joints()).repeat(num_frames, 1, 1)
    return joints + torch.tensor([0.0, SMPL_22.root_height(), 0.0])


def move_left_foot(joints: Tensor, offsets: Tensor) -> Tensor:
    """Left ankle and toe moved by offsets (T, 3)."""
    moved = joints.clone()
    for joint in FOOT_JOINTS[:2]:
        moved[:, joint] = moved[:, joint] + offsets
    return moved


def test_standing_feet_are_in_contact_ankles_too() -> None:
    assert rest_heights() == pytest.approx((0.055, 0.0, 0.055, 0.0), abs=1e-6)
    assert bool((detect_contacts(standing(10), FPS) == 1).all())


def test_a_step_lifts_one_foot() -> None:
    frames = torch.arange(30, dtype=torch.float32)
    phase = ((frames - 10) / 10).clamp(0, 1)
    lift = torch.sin(phase * torch.pi) * 0.2
    offsets = torch.stack((torch.zeros(30), lift, phase * 0.6), dim=1)
    contacts = detect_contacts(move_left_foot(standing(30), offsets), FPS)
    assert bool((contacts[:, 2:] == 1).all())
    assert spans(contacts[:, 0]) == spans(contacts[:, 1])
    (first, second) = spans(contacts[:, 0])
    assert first == (0, 11)
    assert second == (20, 30)


def test_a_low_fast_foot_and_a_still_high_foot_are_not_in_contact() -> None:
    frames = torch.arange(20, dtype=torch.float32)[:, None]
    sliding = frames * torch.tensor([[0.0, 0.0, 0.02]])  # 0.4 m/s
    assert bool((detect_contacts(move_left_foot(standing(20), sliding), FPS)[:, :2] == 0).all())
    raised = torch.tensor([[0.0, 0.1, 0.0]]).expand(20, 3)
    assert bool((detect_contacts(move_left_foot(standing(20), raised), FPS)[:, :2] == 0).all())


def test_the_frame_rate_counts() -> None:
    frames = torch.arange(20, dtype=torch.float32)[:, None]
    joints = move_left_foot(standing(20), frames * torch.tensor([[0.0, 0.0, 0.004]]))
    assert bool((detect_contacts(joints, 20.0)[:, :2] == 1).all())  # 0.08 m/s
    assert bool((detect_contacts(joints, 120.0)[:, :2] == 0).all())  # 0.48 m/s


def test_hysteresis_holds_a_wavering_foot_and_drops_short_ones() -> None:
    enters = torch.tensor([0, 1, 0, 1, 0, 0, 1, 1, 0, 0], dtype=torch.bool)[:, None]
    stays = torch.tensor([1, 1, 1, 1, 1, 0, 1, 1, 0, 1], dtype=torch.bool)[:, None]
    result = hysteresis(enters, stays, min_frames=3)
    assert spans(result[:, 0].float()) == [(1, 5)]
    assert not bool(hysteresis(enters[:2], stays[:2], min_frames=3).any())


def test_slide_counts_only_frames_in_contact() -> None:
    frames = torch.arange(11, dtype=torch.float32)[:, None]
    joints = move_left_foot(standing(11), frames * torch.tensor([[0.01, 0.5, 0.0]]))
    contacts = torch.zeros(11, 4)
    contacts[:5, 0] = 1
    slide = foot_slide(joints, contacts, FPS)
    assert slide.metres_per_frame == pytest.approx(0.01, abs=1e-6)  # height does not count
    assert slide.metres_per_second == pytest.approx(0.2, abs=1e-5)
    assert slide.contact_share == pytest.approx(5 / 44)
    assert foot_slide(joints, torch.zeros(11, 4), FPS).metres_per_frame == 0


def test_penetration_is_the_depth_of_the_lowest_joint() -> None:
    joints = standing(4) - torch.tensor([0.0, 0.02, 0.0])
    torch.testing.assert_close(floor_penetration(joints), torch.full((4,), 0.02))
    assert float(floor_penetration(standing(2) + 1).max()) == 0


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="joints"):
        detect_contacts(torch.zeros(5, 22), FPS)
    with pytest.raises(ValueError, match="fps"):
        detect_contacts(standing(5), 0.0)
    with pytest.raises(ValueError, match="contacts"):
        foot_slide(standing(5), torch.zeros(4, 4), FPS)


def test_single_frame_and_no_length() -> None:
    assert bool((detect_contacts(standing(1), FPS) == 0).all())  # shorter than three frames
