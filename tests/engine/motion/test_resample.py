"""Resampling: times, ends, even turns, the shorter way round."""

from __future__ import annotations

import math

import pytest
import torch

from engine.motion import rotations as rot
from engine.motion.motion import Motion
from engine.motion.resample import resample, resample_to_frames
from engine.motion.skeleton import SMPL_22


def turning_motion(num_frames: int = 31, *, fps: float = 20.0, rate: float = 0.1) -> Motion:
    """The pelvis turns left by `rate` radians per frame and moves 1 cm per frame along x."""
    frames = torch.arange(num_frames, dtype=torch.float32)
    local = rot.identity_quaternions(num_frames, 22, like=frames)
    local = torch.cat((rot.heading_to_quaternion(frames * rate)[:, None], local[:, 1:]), dim=1)
    root = torch.stack((frames * 0.01, torch.ones(num_frames), torch.zeros(num_frames)), dim=1)
    contacts = (frames[:, None] >= 10).float().expand(-1, 4).clone()
    return Motion(
        fps=fps, skeleton=SMPL_22, root_translation=root, local_rotations=local, contacts=contacts
    )


@pytest.mark.parametrize("fps", [10.0, 24.0, 29.97, 30.0, 60.0, 120.0])
def test_same_poses_at_the_same_times(fps: float) -> None:
    motion = turning_motion()
    result = resample(motion, fps)
    assert result.num_frames == round(31 * fps / 20)
    assert abs(result.seconds - motion.seconds) <= 0.5001 / fps
    times = (torch.arange(result.num_frames) * 20 / fps).clamp(max=30)
    heading = rot.heading_to_quaternion(times * 0.1)
    # Even turns and moves stay even: only float32 is lost.
    turned = (result.local_rotations[:, 0] * heading).sum(-1).abs()
    assert float((1 - turned).max()) < 1e-6
    torch.testing.assert_close(result.root_translation[:, 0], times * 0.01, rtol=0, atol=1e-5)


def test_twice_the_rate_keeps_every_frame() -> None:
    motion = turning_motion()
    result = resample(motion, 40.0)
    torch.testing.assert_close(
        result.root_translation[::2], motion.root_translation, rtol=0, atol=1e-6
    )
    torch.testing.assert_close(
        result.local_rotations[::2], motion.local_rotations, rtol=0, atol=1e-6
    )
    torch.testing.assert_close(result.contacts[::2], motion.contacts)


def test_exact_number_of_frames_keeps_both_ends() -> None:
    motion = turning_motion()
    for num_frames in (2, 17, 31, 77):
        result = resample_to_frames(motion, num_frames)
        assert result.num_frames == num_frames
        for end in (0, -1):
            torch.testing.assert_close(
                result.root_translation[end], motion.root_translation[end], rtol=0, atol=1e-6
            )
            turned = (result.local_rotations[end] * motion.local_rotations[end]).sum(-1).abs()
            assert float((1 - turned).max()) < 1e-6
    assert resample_to_frames(motion, 1).num_frames == 1


def test_signs_of_quaternions_do_not_matter() -> None:
    motion = turning_motion()
    signs = torch.where(torch.arange(31) % 2 == 0, 1.0, -1.0)[:, None, None]
    flipped = Motion(
        fps=20.0,
        skeleton=SMPL_22,
        root_translation=motion.root_translation,
        local_rotations=motion.local_rotations * signs,
        contacts=motion.contacts,
    )
    torch.testing.assert_close(
        resample(flipped, 33.0).local_rotations,
        resample(motion, 33.0).local_rotations,
        rtol=0,
        atol=1e-5,
    )


def test_one_frame_is_held() -> None:
    motion = turning_motion(1)
    result = resample(motion, 60.0)
    assert result.num_frames == 3
    torch.testing.assert_close(
        result.root_translation, motion.root_translation.repeat(3, 1), rtol=0, atol=0
    )


def test_fast_turns_stay_unit_length() -> None:
    result = resample(turning_motion(rate=math.pi * 0.9), 73.0)
    length = result.local_rotations.norm(dim=-1)
    torch.testing.assert_close(length, torch.ones_like(length), rtol=0, atol=1e-5)


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_rates_are_refused(fps: float) -> None:
    with pytest.raises(ValueError, match="fps"):
        resample(turning_motion(), fps)


def test_no_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="num_frames"):
        resample_to_frames(turning_motion(), 0)
