"""Training examples for learning from 2D: teacher motions with what the camera saw of them.

A teacher's motion, its keypoints and its camera are cropped by the same frames, and the camera is
told anew in the frame in which the crop starts at the origin facing +z, as its features do.
Shape letters: B clips, T frames, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.motion.camera import Camera
from engine.motion.ray_projection import Sight
from engine.motion.representation import ROOT_LOCAL, estimate_heading
from engine.motion.rotations import turn_about_up
from trainer.data.augmentation import MAX_FRAMES
from trainer.data.corpus import Clip
from trainer.data.examples import Batch, Example, ExampleSampler, TextStore
from trainer.data.teacher_corpus import TeacherClip

_LEAST_CROP = 20  # frames


@dataclass(frozen=True, kw_only=True)
class VideoBatch(Batch):
    """B clips padded to the longest, with what was seen of them."""

    sight: Sight  # (B, T)
    path: Tensor  # (B, T, 3) heading in radians and place on the floor, x and z, of the features
    number: int = 0  # of the batch in the run, from 1


def encode_motion(joints: Tensor) -> Tensor:
    """Features (T - 1, F) of joints (T, 22, 3), not normalised, at most 9.8 s."""
    joints = joints[:MAX_FRAMES]
    return ROOT_LOCAL.encode(joints, estimate_heading(joints))


def as_clip(clip: TeacherClip, joints: Tensor) -> Clip:
    """The clip as those of motion corpora are, with joints (T, 22, 3)."""
    return Clip(
        clip_id=str(clip.row.get("clip", clip.clip_id)),
        joints=joints.numpy(),
        captions=clip.captions,
        source=str(clip.row.get("source", "")),
        licence=str(clip.row.get("licence", "")),
        performer=str(clip.row.get("performer") or ""),
    )


class VideoSampler(ExampleSampler):
    """Draws batches with sights; the same generator state draws the same batch."""

    def __init__(
        self,
        examples: Sequence[Example],
        sights: Sequence[Sight],
        texts: TextStore,
        *,
        batch_size: int,
        prompt_dropout: float,
        statistics: tuple[Tensor, Tensor],
        crop_frames: int = 0,
    ) -> None:
        """Arguments are those of ExampleSampler, and besides:

        Args:
            examples: features (T, F) of each clip.
            sights: (T,) or longer, of each clip.
            texts: what the examples' captions point to.
            batch_size: B.
            prompt_dropout: share of clips without a prompt.
            statistics: mean and deviation (F,) of the features.
            crop_frames: of random stretches that longer clips are cut to; 0 takes them whole.
        """
        super().__init__(examples, texts, batch_size=batch_size, prompt_dropout=prompt_dropout)
        lengths = torch.tensor([len(example.features) for example in examples])
        self._starts = torch.cumsum(lengths, 0) - lengths
        self._lengths = lengths
        parts = [sight[slice(0, int(n))] for sight, n in zip(sights, lengths.tolist(), strict=True)]
        self._frames = _joined(parts)
        mean, deviation = statistics
        self._paths = torch.cat([path_of(e.features * deviation + mean) for e in examples])
        self._crop_frames = crop_frames
        self._drawn = 0

    def waiting(self) -> list[list[int]]:
        """Batches drawn but not handed out, and last how many have been."""
        return [*super().waiting(), [self._drawn]]

    def restore(self, waiting: list[list[int]]) -> None:
        """Take up what `waiting` gave."""
        *batches, [self._drawn] = waiting
        super().restore(batches)

    def _collate(self, rows: list[int], generator: torch.Generator) -> VideoBatch:
        base = super()._collate(rows, generator)
        self._drawn += 1
        return self._cropped(self.seen(rows, base, self._drawn), generator)

    def seen(self, rows: Sequence[int], base: Batch, number: int = 0) -> VideoBatch:
        """A batch of whole clips, by their rows, with their sights."""
        chosen = torch.tensor(rows)
        lengths = self._lengths[chosen][:, None]
        frame = torch.arange(base.mask.shape[1]).expand(len(rows), -1)
        index = self._starts[chosen][:, None] + torch.minimum(frame, lengths - 1)
        sight = self._frames[index]
        return VideoBatch(
            features=base.features,
            mask=base.mask,
            text=base.text,
            sight=Sight(
                camera=sight.camera,
                plane_points=sight.plane_points,
                confidence=sight.confidence * base.mask[..., None],
            ),
            path=self._paths[index],
            number=number,
        )

    def _cropped(self, batch: VideoBatch, generator: torch.Generator) -> VideoBatch:
        longest = max(_LEAST_CROP, self._crop_frames)
        if self._crop_frames == 0 or batch.mask.shape[1] <= longest:
            return batch
        room = (batch.mask.sum(-1) - longest).clamp(min=0)
        starts = (torch.rand(len(room), generator=generator) * (room + 1)).long()
        return crop(batch, torch.minimum(starts, room), longest)


def crop(batch: VideoBatch, starts: Tensor, num_frames: int) -> VideoBatch:
    """Frames from starts (B,) on, of all that a batch has, with the camera told anew.

    The crop's first frame is at the origin and faces +z, so a world point x has become
    R_y(-h) (x - p) for the heading h and the place p at which the features are there.
    """
    index = starts[:, None] + torch.arange(num_frames)
    index = index.clamp(max=batch.mask.shape[1] - 1)
    rows = torch.arange(len(starts))[:, None]
    heading, x, z = batch.path[rows[:, 0], starts].unbind(-1)
    turn = turn_about_up(-heading)
    away = -(turn @ torch.stack((x, torch.zeros_like(x), z), dim=-1)[..., None])[..., 0]
    sight = batch.sight[rows, index]
    return VideoBatch(
        features=batch.features[rows, index],
        mask=batch.mask[rows, index],
        text=batch.text,
        sight=sight.in_moved_world(turn[:, None], away[:, None]),
        path=batch.path[rows, index],
        number=batch.number,
    )


def path_of(features: Tensor) -> Tensor:
    """Heading, x and z (T, 3) of the root, as features (T, F) that aren't normalised tell them."""
    decoded = ROOT_LOCAL.decode(features)
    return torch.cat((decoded.heading[:, None], decoded.joints[:, 0][:, (0, 2)]), dim=-1)


def _joined(sights: Sequence[Sight]) -> Sight:
    """Sights end to end."""
    cameras = [sight.camera for sight in sights]
    return Sight(
        camera=Camera(
            rotation=torch.cat([camera.rotation for camera in cameras]),
            translation=torch.cat([camera.translation for camera in cameras]),
            focal_length=torch.cat([camera.focal_length for camera in cameras]),
            principal_point=torch.cat([camera.principal_point for camera in cameras]),
        ),
        plane_points=torch.cat([sight.plane_points for sight in sights]),
        confidence=torch.cat([sight.confidence for sight in sights]),
    )
