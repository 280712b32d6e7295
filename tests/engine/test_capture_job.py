"""A prior betters a lift window by window, and says so in what the motion was made from."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from engine.capture_job import better_by
from engine.methods.base import Prompt, Report
from engine.methods.video_mdm import RefineOptions, VideoMdm
from engine.motion.camera import Camera
from engine.motion.motion import Motion
from engine.motion.ray_projection import Sight
from engine.motion.skeleton import SMPL_22

FPS = 20.0


class Lifting(VideoMdm):
    """A prior that moves each window up, the later ones by more."""

    def __init__(self) -> None:
        self.info: Any = SimpleNamespace(name="lifting", model_hash="abc", fps=FPS)
        self.windows: list[int] = []

    def refine(
        self,
        motion: Motion,
        sight: Sight,
        prompt: Prompt | None,
        options: RefineOptions,
        report: Report,
    ) -> Motion:
        assert len(sight.confidence) == motion.num_frames
        self.windows.append(motion.num_frames)
        up = torch.tensor([0.0, 0.1 * len(self.windows), 0.0])
        return replace(motion, root_translation=motion.root_translation + up)


def motion_of(num_frames: int) -> Motion:
    camera = Camera(
        rotation=torch.diag(torch.tensor([1.0, -1.0, -1.0])).repeat(num_frames, 1, 1),
        translation=torch.tensor([0.0, 1.0, 4.0]).repeat(num_frames, 1),
        focal_length=torch.full((num_frames,), 2.0),
        principal_point=torch.zeros(num_frames, 2),
    )
    return Motion(
        fps=FPS,
        skeleton=SMPL_22,
        root_translation=torch.zeros(num_frames, 3),
        local_rotations=torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(num_frames, 22, 1),
        contacts=torch.zeros(num_frames, 4),
        provenance={"model": "some lifter"},
        camera=camera,
    )


@pytest.mark.parametrize(("seconds", "windows"), [(6, [120]), (12, [240]), (25, [200, 200, 140])])
def test_windows_go_over_into_each_other(seconds: int, windows: list[int]) -> None:
    motion = motion_of(seconds * int(FPS))
    prior = Lifting()
    better = better_by(prior, Prompt("someone stands"), 0)
    made = better(motion, torch.zeros(motion.num_frames, 22, 3), lambda step, of: None)
    assert prior.windows == windows
    height = made.root_translation[:, 1]
    assert made.num_frames == motion.num_frames
    assert float(height[0]) == pytest.approx(0.1)
    assert float(height[-1]) == pytest.approx(0.1 * len(windows))
    assert float(height.diff().abs().max()) < 0.01  # no jump from one window to the next
    assert made.provenance == {
        "model": "some lifter",
        "prior": "lifting",
        "prior_hash": "abc",
        "prior_prompt": "someone stands",
    }


def test_one_frame_is_left_as_it_is() -> None:
    motion = motion_of(1)
    made = better_by(Lifting(), None, 0)(motion, torch.zeros(1, 22, 3), lambda step, of: None)
    assert made is motion
