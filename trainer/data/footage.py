"""Footage that CrossDiff learns from: captioned keypoint clips of videos, without any 3D.

Source: CrossDiff, ECCV 2024, section 3.3 (wild 2D motion).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from engine.motion.lifting import Track, observe
from engine.motion.representation_2d import VIEW
from engine.motion.seen_points import view_points
from trainer.data.augmentation import MAX_FRAMES
from trainer.data.clip import FPS, MIN_FRAMES, ClipError, LeftOut, View
from trainer.data.layouts import load_views, recognise


@dataclass(frozen=True, kw_only=True)
class Footage:
    """A clip of a video as the virtual camera of engine.motion.representation_2d might see it."""

    clip_id: str
    captions: tuple[str, ...]
    views: Tensor  # (T, 134), not normalised, 20 frames per second


def without_motion(folders: Sequence[Path]) -> list[Path]:
    """Those of the folders that hold keypoints and no motion.

    Raises:
        CorpusError: one is no corpus.
    """
    layouts = {folder: recognise(folder) for folder in folders}
    return [f for f, layout in layouts.items() if layout.clips is None and layout.views is not None]


def load_footage(folders: Sequence[Path], split: str) -> list[Footage]:
    """The keypoint clips of a split; one that can't be used is named, left out and counted.

    Raises:
        CorpusError: a folder is no corpus, or holds no keypoints.
    """
    found: list[Footage] = []
    for folder in folders:
        left_out, total = LeftOut(folder, split), 0
        for view in load_views(folder, split):
            total += 1
            try:
                found.append(footage_of(view))
            except ClipError as error:
                left_out.add(view.view_id, error)
        left_out.tell(total)
    return found


def footage_of(view: View) -> Footage:
    """A keypoint clip at 20 frames per second, at most 9.8 s of it, as lifting would see it.

    Raises:
        ClipError: it has no caption, or nobody is seen in it for long enough.
    """
    if not view.captions:
        raise ClipError("it has no caption")
    seen = int(view.num_seen * FPS / view.fps)
    if seen < MIN_FRAMES:
        raise ClipError(
            f"somebody is seen for {seen} frames at {FPS:.0f} per second, needs {MIN_FRAMES}"
        )
    centred = view.keypoints[..., :2] - view.camera.principal_point[:, None]
    track = Track(keypoints=torch.cat((centred, view.keypoints[..., 2:]), dim=-1), fps=view.fps)
    points = view_points(observe(track, fps=FPS).keypoints[None, :MAX_FRAMES])[0]
    return Footage(clip_id=view.view_id, captions=view.captions, views=VIEW.encode(points))
