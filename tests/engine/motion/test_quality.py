from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine.motion.files import read_motion, write_motion
from engine.motion.quality import measure
from engine.motion.skeleton import Skeleton
from tests.fakes import sine_motion


def test_a_walk_of_one_metre_a_second() -> None:
    motion = sine_motion(40)
    quality = measure(motion)
    assert (quality.seconds, quality.num_frames) == (2.0, 40)
    assert quality.contact_share == 0
    assert quality.slide_m_per_s == 0
    assert quality.penetration_m == pytest.approx(0, abs=1e-5)
    assert quality.deep_share == 0
    assert 0 < quality.jitter_m_per_s3 < 1


def test_feet_that_glide_in_contact_slide() -> None:
    motion = sine_motion(40)
    contacts = torch.zeros(40, 4)
    contacts[:20, 0] = 1
    quality = measure(replace(motion, contacts=contacts))
    assert quality.slide_m_per_s == pytest.approx(1.0, abs=1e-4)
    assert quality.contact_share == pytest.approx(20 / 160)


def test_a_sunken_body_is_deep() -> None:
    motion = sine_motion(40)
    root = motion.root_translation.clone()
    root[:10, 1] -= 0.05
    quality = measure(replace(motion, root_translation=root))
    assert quality.penetration_m == pytest.approx(0.05, abs=1e-5)
    assert quality.deep_share == 0.25


def test_shaking_is_jitter() -> None:
    motion = sine_motion(40)
    shake = 0.01 * (-1.0) ** torch.arange(40)[:, None]
    shaken = replace(motion, root_translation=motion.root_translation + shake)
    assert measure(shaken).jitter_m_per_s3 > 100 * measure(motion).jitter_m_per_s3


def test_one_frame_is_measured() -> None:
    quality = measure(sine_motion(1))
    assert (quality.slide_m_per_s, quality.jitter_m_per_s3) == (0, 0)


def test_a_skeleton_with_unknown_feet_has_no_slide() -> None:
    motion = sine_motion(10)
    stick = Skeleton("stick", ("a", "b"), (-1, 0), ((0, 0, 0), (0, 1, 0)))
    quality = measure(
        replace(motion, skeleton=stick, local_rotations=motion.local_rotations[:, :2])
    )
    assert quality.slide_m_per_s is None
    assert quality.contact_share is None
    assert quality.seconds == 0.5


def test_a_bvh_of_ours_has_the_figures_of_its_npz(tmp_path: Path) -> None:
    motion = sine_motion(40)
    motion = replace(motion, root_translation=motion.root_translation * torch.tensor([1, 1, 0.05]))
    write_motion(motion, tmp_path / "walk.bvh")
    quality = measure(read_motion(tmp_path / "walk.bvh"))
    assert quality.contact_share == 1
    assert quality.slide_m_per_s == pytest.approx(0.05, abs=1e-3)
    assert quality.seconds == pytest.approx(2.0, abs=1e-4)
