"""Batches for lifters: windows of motion, seen by a new camera each time they are drawn.

Clips with 3D and clips of which only the keypoints are told share a batch; `has_truth` says which
is which, and the losses mask by it. Shape letters: B windows, T frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from engine.motion.person_box import box_on_plane, fit_boxes, normalise_keypoints
from engine.motion.skeleton import PELVIS
from trainer.data.corpus import Clip
from trainer.data.detector_noise import NoiseSettings
from trainer.data.pose_bank import PoseBank, Windows, draw_bodies
from trainer.data.views_corpus import look
from trainer.data.virtual_views import ViewSettings


@dataclass(frozen=True, kw_only=True)
class LiftBatch:
    """What a lifter sees, and the truth in each frame's camera."""

    normalised: Tensor  # (B, T, 22, 3) keypoints in units of their box, and confidence
    boxes: Tensor  # (B, T, 3) on the plane at depth 1
    plane_points: Tensor  # (B, T, 22, 2) keypoints on the plane at depth 1
    mask: Tensor  # (B, T) bool: frames of the clip
    has_truth: Tensor  # (B,) bool: whether what follows may be learned from
    local_rotations: Tensor  # (B, T, 22, 3, 3) to the parent; the root's to the camera
    joints: Tensor  # (B, T, 22, 3) metres from the root, in the camera's axes
    root: Tensor  # (B, T, 3) metres, in the camera's frame
    up: Tensor  # (B, T, 3) unit, in the camera's axes
    contacts: Tensor  # (B, T, 4)
    log_bones: Tensor  # (B, 13)
    camera_rotations: Tensor  # (B, T, 3, 3) world to camera
    number: int = 0  # of the batch in the run, from 1

    def turned_to(self, frames: Tensor, later: Tensor) -> tuple[Tensor, Tensor]:
        """The poses of frames `later` (N,) as the cameras of `frames` (N,) would see them.

        Returns local rotations (B, N, 22, 3, 3) and joints (B, N, 22, 3).
        """
        turn = self.camera_rotations[:, frames] @ self.camera_rotations[:, later].mT
        local = self.local_rotations[:, later]
        root = turn @ local[:, :, PELVIS]
        return torch.cat((root[:, :, None], local[:, :, 1:]), dim=2), (
            self.joints[:, later] @ turn.mT
        )


@dataclass(frozen=True, kw_only=True)
class LiftDataSettings:
    """How windows are drawn."""

    batch_size: int = 24
    num_frames: int = 64
    min_speed: float = 0.67
    max_speed: float = 1.5
    bone_deviation: float = 0.06  # of the logarithm of a bone's length
    flat_batch_share: float = 0.5  # of a batch without 3D, where there are clips without
    mixed_share: float = 0.0  # of windows whose upper body is another window's
    views: ViewSettings = field(default_factory=ViewSettings)
    noise: NoiseSettings = field(default_factory=NoiseSettings)

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.num_frames < 2:
            raise ValueError("batch_size needs 1 or more, num_frames 2 or more")
        if not 0 < self.min_speed <= self.max_speed:
            raise ValueError("speeds need to be above 0 and in order")
        if not 0 <= self.flat_batch_share < 1:
            raise ValueError(f"flat_batch_share is {self.flat_batch_share}, needs 0 to below 1")
        if not 0 <= self.mixed_share <= 1:
            raise ValueError(f"mixed_share is {self.mixed_share}, needs 0 to 1")


class LiftSampler:
    """Draws batches; the same generator state draws the same batch."""

    def __init__(
        self,
        solid: Sequence[Clip],
        flat: Sequence[Clip],
        settings: LiftDataSettings,
        device: torch.device | None = None,
    ) -> None:
        """Clips with 3D, clips of which only keypoints are told (may be none), and how.

        Batches are made on the device; what decides them is drawn on the processor.
        """
        self._settings, self._device = settings, device
        self.bank = PoseBank([*solid, *flat], device)
        lengths = self.bank.lengths.double().cpu()
        self._solid = lengths[: len(solid)]
        self._flat = lengths[len(solid) :]
        self._drawn = 0

    def draw(self, generator: torch.Generator) -> LiftBatch:
        """The next batch."""
        settings = self._settings
        num_flat = round(settings.flat_batch_share * settings.batch_size) if len(self._flat) else 0
        count = settings.batch_size
        rows = torch.multinomial(self._solid, count - num_flat, True, generator=generator)
        if num_flat:
            more = torch.multinomial(self._flat, num_flat, True, generator=generator)
            rows = torch.cat((rows, more + len(self._solid)))
        low, high = settings.min_speed, settings.max_speed
        speeds = self._on_device(low * (high / low) ** torch.rand(count, generator=generator))
        rows = self._on_device(rows)
        room = (self.bank.lengths[rows] - 1 - speeds * (settings.num_frames - 1)).clamp(min=0)
        starts = room * self._on_device(torch.rand(count, generator=generator))
        windows = self.bank.cut(
            rows,
            starts,
            settings.num_frames,
            speeds=speeds,
            is_mirrored=self._on_device(torch.rand(count, generator=generator) < 0.5),
            log_bones=self._on_device(draw_bodies(count, settings.bone_deviation, generator)),
            upper_from=self._draw_uppers(count, generator),
        )
        self._drawn += 1
        has_truth = self._on_device(torch.arange(count) < count - num_flat)
        return see(windows, has_truth, settings, generator, number=self._drawn)

    def _draw_uppers(self, count: int, generator: torch.Generator) -> Tensor | None:
        """Which window each upper body is of: mostly its own."""
        if self._settings.mixed_share == 0:
            return None
        other = torch.randperm(count, generator=generator)
        is_mixed = torch.rand(count, generator=generator) < self._settings.mixed_share
        return self._on_device(torch.where(is_mixed, other, torch.arange(count)))

    def _on_device(self, drawn: Tensor) -> Tensor:
        return drawn.to(self._device or drawn.device)

    def poses(self, count: int, generator: torch.Generator) -> Tensor:
        """Local rotations (count, 22, 3, 3) of single frames of clips with 3D."""
        rows = torch.multinomial(self._solid, count, True, generator=generator)
        rows = self._on_device(rows)
        drawn = self._on_device(torch.rand(count, generator=generator))
        starts = drawn * (self.bank.lengths[rows] - 1)
        mirrored = self._on_device(torch.rand(count, generator=generator) < 0.5)
        return self.bank.cut(rows, starts, 1, is_mirrored=mirrored).local_rotations[:, 0]

    def waiting(self) -> list[list[int]]:
        """How many batches have been drawn."""
        return [[self._drawn]]

    def restore(self, waiting: list[list[int]]) -> None:
        """Take up what `waiting` gave."""
        self._drawn = waiting[0][0]


def held_out_batches(clips: Sequence[Clip], settings: LiftDataSettings) -> list[LiftBatch]:
    """Two windows of each clip, each with a body, a camera and a detector of its own."""
    generator = torch.Generator().manual_seed(0)
    bank = PoseBank(clips)
    batches: list[LiftBatch] = []
    rows = torch.arange(bank.num_clips).repeat(2)
    for part in rows.split(64):
        room = (bank.lengths[part] - settings.num_frames).clamp(min=0)
        starts = (room * torch.rand(len(part), generator=generator)).floor()
        bodies = draw_bodies(len(part), settings.bone_deviation, generator)
        windows = bank.cut(part, starts, settings.num_frames, log_bones=bodies)
        has_truth = torch.ones(len(part), dtype=torch.bool)
        batches.append(see(windows, has_truth, settings, generator))
    return batches


def see(
    windows: Windows,
    has_truth: Tensor,
    settings: LiftDataSettings,
    generator: torch.Generator,
    *,
    number: int = 0,
) -> LiftBatch:
    """Windows through a camera and a detector each, with the truth in the camera's frame."""
    seen = look(windows, settings.views, settings.noise, generator)
    camera = seen.camera
    boxes = fit_boxes(seen.keypoints)
    root = camera.to_camera(windows.joints[:, :, :1])[:, :, 0]
    turned = camera.rotation @ windows.local_rotations[:, :, PELVIS]
    local = torch.cat((turned[:, :, None], windows.local_rotations[:, :, 1:]), dim=2)
    away = windows.joints - windows.joints[:, :, :1]
    return LiftBatch(
        normalised=normalise_keypoints(seen.keypoints, boxes),
        boxes=box_on_plane(boxes, camera),
        plane_points=camera.to_plane(seen.keypoints[..., :2]),
        mask=windows.mask,
        has_truth=has_truth,
        local_rotations=local,
        joints=away @ camera.rotation.mT,
        root=root,
        up=camera.rotation[..., 1],
        contacts=windows.contacts,
        log_bones=windows.log_bones,
        camera_rotations=camera.rotation,
        number=number,
    )
