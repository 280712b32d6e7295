"""The square around a person in each frame, and keypoints as seen in it.

A network sees a person's keypoints as if cut out of the image: centred and of one size. What the
cut takes away (where in the image, how large) goes beside it, since it turns the whole body: the
same limbs at the image's edge are seen from another side.

Source for the second: Li et al., CLIFF, ECCV 2022, section 3.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from engine.motion.camera import Camera

MARGIN = 1.2  # of a box against the extent of its keypoints
_MIN_POINTS = 4  # fewer make no box
_MIN_CONFIDENCE = 0.1
_MEDIAN_FRAMES = 11
_SMOOTHING_FRAMES = 3.0  # standard deviation


def fit_boxes(keypoints: Tensor) -> Tensor:
    """Boxes (B, T, 3) around keypoints (B, T, 22, 3): centre x and y, and half the side.

    In the units of the keypoints, steady over time. A frame with too few keypoints has the box of
    the nearest that has enough; a clip without any has the whole image, (0, 0, 1).
    """
    points, confidence = keypoints[..., :2], keypoints[..., 2]
    is_seen = confidence > _MIN_CONFIDENCE
    lowest = torch.where(is_seen[..., None], points, torch.inf).amin(-2)
    highest = torch.where(is_seen[..., None], points, -torch.inf).amax(-2)
    half = (highest - lowest).amax(-1, keepdim=True) / 2 * MARGIN
    raw = torch.cat(((lowest + highest) / 2, half), dim=-1)
    has_box = (is_seen.sum(-1) >= _MIN_POINTS) & torch.isfinite(raw).all(-1) & (half[..., 0] > 0)
    raw = torch.where(has_box[..., None], raw, raw.new_tensor((0.0, 0.0, 1.0)))
    return _smooth(_fill(raw, has_box))


def normalise_keypoints(keypoints: Tensor, boxes: Tensor) -> Tensor:
    """Keypoints (..., T, 22, 3) in units of their boxes (..., T, 3); unseen ones are zeros."""
    inside = (keypoints[..., :2] - boxes[..., None, :2]) / boxes[..., None, 2:]
    # a point a long way off is a mistake of the detector; it should not outshout the others
    values = torch.cat((inside.clamp(-3.0, 3.0), keypoints[..., 2:]), dim=-1)
    return torch.where(keypoints[..., 2:] > 0, values, torch.zeros_like(values))


def box_on_plane(boxes: Tensor, camera: Camera) -> Tensor:
    """Boxes (..., 3) on the plane at depth 1 of a camera with the same leading axes."""
    centre = camera.to_plane(boxes[..., None, :2])[..., 0, :]
    return torch.cat((centre, boxes[..., 2:] / camera.focal_length[..., None]), dim=-1)


def _fill(boxes: Tensor, has_box: Tensor) -> Tensor:
    """Boxes of frames without one, taken from the nearest frame that has one."""
    num_frames = boxes.shape[1]
    index = torch.arange(num_frames, device=boxes.device)
    far = 10 * num_frames
    before = torch.where(has_box, index, -far).cummax(1).values
    after = torch.where(has_box, index, far).flip(1).cummin(1).values.flip(1)
    nearest = torch.where(index - before <= after - index, before, after)
    nearest = nearest.clamp(0, num_frames - 1)  # a clip without any box keeps its own
    return torch.gather(boxes, 1, nearest[..., None].expand_as(boxes))


def _smooth(boxes: Tensor) -> Tensor:
    """A median over frames against outliers, then a Gaussian."""
    reach = _MEDIAN_FRAMES // 2
    padded = _pad(boxes, reach)
    steady = padded.unfold(1, _MEDIAN_FRAMES, 1).median(-1).values
    reach = round(3 * _SMOOTHING_FRAMES)
    offsets = torch.arange(-reach, reach + 1, dtype=boxes.dtype, device=boxes.device)
    weights = torch.exp(-0.5 * (offsets / _SMOOTHING_FRAMES).square())
    weights = weights / weights.sum()
    rows = _pad(steady, reach).transpose(1, 2).flatten(0, 1)[:, None]
    smooth = functional.conv1d(rows, weights[None, None])
    return smooth.unflatten(0, (len(boxes), 3))[:, :, 0].transpose(1, 2)


def _pad(boxes: Tensor, reach: int) -> Tensor:
    """The first and last box, repeated."""
    first, last = boxes[:, :1], boxes[:, -1:]
    return torch.cat((first.expand(-1, reach, -1), boxes, last.expand(-1, reach, -1)), dim=1)
