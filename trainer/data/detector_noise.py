"""What a keypoint detector makes of a body: bias, jitter, slips, swapped sides, gaps, confidence.

Sizes are fractions of the body's height in the image. Shape letters: B clips, T frames.

Source: the kinds of noise and their frequencies follow Shin et al., WHAM, CVPR 2024, and its
release; the sizes are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from engine.motion import skeleton as sk
from engine.motion.keypoint_layout import OBSERVED_JOINTS

BODY_HEIGHT = 1.7  # metres, of the built-in skeleton with a head on it
_LIMB_ENDS = (sk.LEFT_WRIST, sk.RIGHT_WRIST, sk.LEFT_FOOT, sk.RIGHT_FOOT)
_ELBOWS_AND_KNEES = (sk.LEFT_ELBOW, sk.RIGHT_ELBOW, sk.LEFT_KNEE, sk.RIGHT_KNEE)
_MIDDLE_JOINTS = (*_ELBOWS_AND_KNEES, sk.LEFT_ANKLE, sk.RIGHT_ANKLE)
_TORSO = (sk.LEFT_HIP, sk.RIGHT_HIP, sk.LEFT_SHOULDER, sk.RIGHT_SHOULDER)
_LEGS = (1, 2, 4, 5, 7, 8, 10, 11)
_ARMS = (16, 17, 18, 19, 20, 21)


@dataclass(frozen=True, kw_only=True)
class NoiseSettings:
    """How much of each kind. Deviations in body heights, chances per joint and frame or per clip.

    `scale` is of everything: 0 gives exact keypoints with confidence 1 (and still hides what is
    outside the image).
    """

    scale: float = 1.0
    body_offset: float = 0.015  # metres: where on a limb the detector has its points, per clip
    bias: float = 0.008  # per clip and joint
    torso_bias: float = 0.014  # the same of hips and shoulders
    jitter: float = 0.006  # per frame; twice that at the ends of limbs
    slip: float = 0.08  # for a few frames
    slip_chance: float = 0.005
    swap_chance: float = 0.004  # per frame and kind (legs, arms, both)
    gap_chance: float = 0.03  # of one joint in one frame
    occlusion_chance: float = 0.002  # that a joint is lost for up to a second
    dropout_chance: float = 0.005  # that all joints are lost, for up to eight frames
    no_toes_share: float = 0.1  # of clips, as from a detector without toes

    def __post_init__(self) -> None:
        if self.scale < 0:
            raise ValueError(f"scale is {self.scale}, needs 0 or more")


CLEAN = NoiseSettings(scale=0.0)


def body_offsets(
    global_rotations: Tensor, settings: NoiseSettings, generator: torch.Generator
) -> Tensor:
    """Where on the body the detector has its points, off the joints: (B, T, 22, 3) metres.

    The same for a whole clip in the frame of each joint; hips and shoulders are the least agreed.
    global_rotations: (B, T, 22, 3, 3).
    """
    count = len(global_rotations)
    drawn = torch.randn(count, 22, 3, generator=generator).to(global_rotations)
    size = drawn.new_full((22, 1), settings.body_offset)
    size[list(_TORSO)] *= 1.6
    size[sk.HEAD] *= 2.0  # ears, the top of the neck, the middle of the head
    local = settings.scale * size * drawn
    mirrored = local[:, list(sk.SMPL_22.mirror_order)] * drawn.new_tensor((-1.0, 1.0, 1.0))
    local = (local + mirrored) / 2**0.5  # the same idea on both sides
    return (global_rotations @ local[:, None, :, :, None])[..., 0]


def detect(
    points: Tensor,
    heights: Tensor,
    extents: Tensor,
    settings: NoiseSettings,
    generator: torch.Generator,
) -> Tensor:
    """Keypoints with confidence (B, T, 22, 3) of points (B, T, 22, 2) in the image.

    Args:
        points: where a perfect detector would see them.
        heights: (B, T) the body's height in the image, in image units.
        extents: (B, 2) half width and half height of the image; what is outside isn't seen.
        settings: how much noise.
        generator: decides it.
    """
    noise = _Noise(points, settings, generator)
    error = noise.errors() * heights[..., None, None]
    seen = noise.swapped(points + error)
    off = torch.linalg.vector_norm(seen - points, dim=-1) / heights[..., None].clamp(min=1e-6)
    confidence = noise.confidence(off)
    inside = (seen.abs() <= extents[:, None, None]).all(-1)
    confidence = confidence * noise.present() * inside
    confidence[..., [j for j in range(22) if j not in OBSERVED_JOINTS]] = 0.0
    seen = torch.where(confidence[..., None] > 0, seen, torch.zeros_like(seen))
    return _with_middles(torch.cat((seen, confidence[..., None]), dim=-1))


def image_heights(depths: Tensor, focal_length: Tensor) -> Tensor:
    """Height in the image of a body at a depth, both (...)."""
    return BODY_HEIGHT * focal_length / depths.clamp(min=0.3)


def _with_middles(keypoints: Tensor) -> Tensor:
    """Pelvis and neck as middles of hips and shoulders, as surely as the worse of the two."""
    columns = list(keypoints.unbind(-2))
    for joint, left, right in ((sk.PELVIS, 1, 2), (sk.NECK, 16, 17)):
        confidence = torch.minimum(columns[left][..., 2:], columns[right][..., 2:])
        middle = (columns[left] + columns[right])[..., :2] / 2
        both = torch.cat((middle, confidence), dim=-1)
        columns[joint] = torch.where(confidence > 0, both, torch.zeros_like(both))
    return torch.stack(columns, dim=-2)


class _Noise:
    """Draws for one batch of clips."""

    def __init__(self, points: Tensor, settings: NoiseSettings, generator: torch.Generator) -> None:
        self._like, self._settings, self._generator = points, settings, generator
        self._count, self._frames = points.shape[:2]
        # clips differ: some footage is sharp, some is not
        self._level = settings.scale * (0.3 + 1.2 * self._rand(self._count))

    def errors(self) -> Tensor:
        """(B, T, 22, 2) in body heights."""
        settings, shape = self._settings, (self._count, self._frames, 22)
        size = self._like.new_full((22,), settings.bias)
        size[list(_TORSO)] = settings.torso_bias
        bias = self._randn(self._count, 1, 22, 2) * size[:, None]
        size = self._like.new_full((22,), settings.jitter)
        size[list(_MIDDLE_JOINTS)] *= 1.5
        size[list(_LIMB_ENDS)] *= 2.0
        white = self._randn(*shape, 2)
        slow = functional.avg_pool1d(
            white.permute(0, 2, 3, 1).flatten(1, 2), 5, stride=1, padding=2
        ).unflatten(1, (22, 2))
        jitter = 0.75 * white + 1.5 * slow.permute(0, 3, 1, 2)  # white, and what lasts a while
        slips = self._bursts((22,), settings.slip_chance, (2, 6), self._randn(*shape, 2))
        level = self._level[:, None, None, None]
        return level * (bias + jitter * size[:, None] + settings.slip * slips)

    def swapped(self, points: Tensor) -> Tensor:
        """Points with left taken for right for a few frames."""
        chance = self._settings.swap_chance * min(1.0, self._settings.scale)
        ones = self._like.new_ones(self._count, self._frames, 2, 1)
        is_swapped = self._bursts((2,), chance, (1, 6), ones)[..., 0] > 0
        # both at once as often as either alone
        together = self._bursts((1,), chance, (1, 6), ones[:, :, :1])[..., 0] > 0
        is_swapped = is_swapped | together
        swap = torch.zeros(*points.shape[:3], dtype=torch.bool, device=points.device)
        swap[..., list(_LEGS)] = is_swapped[..., :1]
        swap[..., list(_ARMS)] = is_swapped[..., 1:]
        other = points[..., list(sk.SMPL_22.mirror_order), :]
        return torch.where(swap[..., None], other, points)

    def confidence(self, off: Tensor) -> Tensor:
        """(B, T, 22) from errors in body heights: the detector half knows how wrong it is."""
        if self._settings.scale == 0:
            return torch.ones_like(off)
        logit = 3.0 - 45.0 * off + 0.8 * self._randn(*off.shape)
        return torch.sigmoid(logit)

    def present(self) -> Tensor:
        """(B, T, 22) 0 where a joint is lost; what hangs on a lost joint is lost with it."""
        settings, shape = self._settings, (self._count, self._frames, 22)
        scale = min(1.0, settings.scale)
        lost = self._rand(*shape) < settings.gap_chance * scale
        ones = self._like.new_ones(*shape, 1)
        chance = settings.occlusion_chance * scale
        lost |= self._bursts((22,), chance, (3, 20), ones)[..., 0] > 0
        for parent, child in ((4, 7), (5, 8), (7, 10), (8, 11), (18, 20), (19, 21)):
            lost[..., child] |= lost[..., parent]
        chance = settings.dropout_chance * scale
        lost |= self._bursts((1,), chance, (1, 8), ones[:, :, :1])[..., 0] > 0
        no_toes = self._rand(self._count) < settings.no_toes_share * scale
        lost[..., [sk.LEFT_FOOT, sk.RIGHT_FOOT]] |= no_toes[:, None, None]
        return (~lost).to(self._like.dtype)

    def _bursts(
        self, columns: tuple[int], chance: float, lengths: tuple[int, int], values: Tensor
    ) -> Tensor:
        """Values (B, T, C, D) that start at random frames and last; zeros elsewhere."""
        shape = (self._count, self._frames, *columns)
        starts = self._rand(*shape) < chance
        low, high = lengths
        duration = low + (self._rand(*shape) * (high - low + 1)).floor()
        result = torch.zeros_like(values)
        for age in range(min(high, self._frames)):
            alive = (starts & (duration > age))[:, : self._frames - age, :, None]
            aged = torch.where(alive, values[:, : self._frames - age], result[:, age:])
            result = torch.cat((result[:, :age], aged), dim=1)
        return result

    def _rand(self, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self._generator).to(self._like)

    def _randn(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self._generator).to(self._like)
