"""From a person's keypoints to one code per frame: what an image backbone gives elsewhere.

`KeypointEncoder` sees one frame; `TemporalEncoder` sees the frames around it too, as far as
its receptive field and no further: everything is normalised over channels alone, so that what a
frame's code depends on is exact, and clips may have any length. Shape letters: B clips, T frames,
D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.motion.keypoint_layout import OBSERVED_JOINTS

_POINT_WIDTH = 64
_BOX_FEATURES = 3


class KeypointEncoder(nn.Module):
    """Keypoints in their box, and where the box is, as a code of one frame.

    A joint that isn't seen has a code of its own instead of a place.
    """

    def __init__(self, width: int, joints: Sequence[int] = OBSERVED_JOINTS) -> None:
        """Look at `joints` only, of those that detectors show."""
        super().__init__()
        self.joints = tuple(joints)
        count = len(self.joints)
        self.to_point = nn.Linear(3, _POINT_WIDTH)
        self.joint_codes = nn.Parameter(0.1 * torch.randn(count, _POINT_WIDTH))
        self.unseen_codes = nn.Parameter(0.1 * torch.randn(count, _POINT_WIDTH))
        self.point = nn.Linear(_POINT_WIDTH, _POINT_WIDTH)
        self.join = nn.Linear(count * _POINT_WIDTH, width)
        # places go to the code directly as well, and loudly: through small layers alone, what
        # differs between frames drowns in what doesn't, and learning starts late
        self.direct = nn.Linear(3 * count + _BOX_FEATURES, width)
        nn.init.normal_(self.direct.weight, std=2.0 / (3 * count) ** 0.5)

    def forward(self, keypoints: Tensor, boxes: Tensor) -> Tensor:
        """Codes (..., D).

        Args:
            keypoints: (..., 22, 3) in units of their box, and confidence.
            boxes: (..., 3) on the plane at depth 1: centre x and y, half side.
        """
        seen = keypoints[..., list(self.joints), :]  # (..., K, 3)
        is_seen = seen[..., 2:] > 0
        codes = torch.where(is_seen, self.to_point(seen) + self.joint_codes, self.unseen_codes)
        points = self.point(F.relu(codes)).flatten(-2)
        size = torch.log(boxes[..., 2:].clamp(min=1e-3)) + 2.0  # about zero at usual sizes
        around = torch.cat((boxes[..., :2], size), dim=-1)
        direct = self.direct(torch.cat((seen.flatten(-2), around), dim=-1))
        return direct + self.join(F.relu(points))


class TemporalBlock(nn.Module):
    """Two convolutions over three frames each, added to what comes in."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.convolutions = nn.ModuleList(nn.Linear(3 * width, width) for _ in range(2))
        first, last = self.convolutions
        assert isinstance(first, nn.Linear)
        assert isinstance(last, nn.Linear)
        nn.init.kaiming_normal_(first.weight)
        nn.init.normal_(last.weight, std=0.1 / width**0.5)
        nn.init.zeros_(last.bias)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (B, T, D), mask (B, T, 1): 0 for frames that don't count, as if past the clip's end."""
        h = x
        for norm, convolution in zip(self.norms, self.convolutions, strict=True):
            h = F.relu(norm(h)) * mask
            h = convolution(self._with_neighbours(h))
        return x + h

    def _with_neighbours(self, h: Tensor) -> Tensor:
        """(B, T, 3 D): the frame before, itself, the frame after; zeros past the ends."""
        step, num_frames = self.dilation, h.shape[1]
        padded = F.pad(h, (0, 0, step, step))
        return torch.cat((padded[:, :num_frames], h, padded[:, 2 * step :]), dim=-1)


class TemporalEncoder(nn.Module):
    """Codes of frames (B, T, D) with those around them taken in."""

    def __init__(self, width: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.reach = 2 * sum(dilations)  # frames to either side
        self.blocks = nn.ModuleList(TemporalBlock(width, dilation) for dilation in dilations)
        self.norm = nn.LayerNorm(width)

    @property
    def receptive_field(self) -> int:
        """Number of frames that a frame's code depends on."""
        return 2 * self.reach + 1

    def forward(self, codes: Tensor, mask: Tensor) -> Tensor:
        """codes (B, T, D), mask (B, T) bool: frames of the clip; the same shape comes out."""
        weights = mask[..., None].to(codes.dtype)
        x = codes * weights
        for block in self.blocks:
            x = block(x, weights)
        return self.norm(x)
