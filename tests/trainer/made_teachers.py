"""Made teacher corpora: walks of a stick figure, seen by cameras and lifted with a depth error."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from engine.motion.camera import Camera, look_at
from engine.motion.ray_projection import canonical_turn
from engine.motion.representation import estimate_heading
from tests.trainer.conftest import made_clip
from trainer.data.teacher_corpus import PARTS, TeacherClip, pack, unit_camera, write_part


def from_origin(joints: Tensor) -> Tensor:
    rotation, translation = canonical_turn(joints, estimate_heading(joints))
    return joints @ rotation.mT + translation


def camera_around(azimuth: float, num_frames: int, distance: float = 5.0) -> Camera:
    """Stands still at eye height and looks at the origin."""
    place = torch.tensor([distance * math.sin(azimuth), 1.4, distance * math.cos(azimuth)])
    rotation, translation = look_at(place, torch.tensor([0.0, 0.9, 0.0]))
    return unit_camera(rotation.expand(num_frames, 3, 3), translation.expand(num_frames, 3))


def made_teacher(number: int, frames: int = 40, *, error: float = 0.08) -> TeacherClip:
    """A walk whose lift is off by `error` metres along the view, joint by joint."""
    generator = torch.Generator().manual_seed(number)
    truth = from_origin(torch.from_numpy(made_clip(number % 8, frames)))
    truth[..., 1] += 0.03 * torch.sin(torch.arange(frames) * 0.6)[:, None]  # up and down
    camera = camera_around(2.4 * number, frames)
    off = error * torch.randn(1, 22, 1, generator=generator)
    teacher = from_origin(truth + off * camera.rotation[:, None, 2])
    points, _ = camera.project(truth)
    name = f"made{number:03d}"
    return TeacherClip(
        clip_id=name,
        captions=(f"a person walks number {number % 3}",),
        teacher=teacher,
        truth=truth,
        plane_points=points,
        confidence=torch.full((frames, 22), 0.9),
        given=camera,
        estimated=camera,
        row={"id": name, "captions": [f"a person walks number {number % 3}"], "source": "made"},
    )


def make_teacher_corpus(folder: Path, *, num_train: int = 12) -> Path:
    """A corpus of num_train, 3 and 3 clips of different lengths."""
    sizes = {"train": num_train, "val": 3, "test": 3}
    splits: dict[str, list[str]] = {}
    number = 0
    for split, size in sizes.items():
        clips = [made_teacher(number + i, 26 + 5 * (i % 5)) for i in range(size)]
        number += size
        for clip in clips:
            write_part(folder / PARTS / f"{clip.clip_id}.npz", clip)
        splits[split] = [clip.clip_id for clip in clips]
    pack(folder, splits)
    return folder
