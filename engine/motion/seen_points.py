"""Keypoints of footage as points that the virtual camera of representation_2d might have seen.

No detector sees spine and collars, joints are lost for a while, and the camera stands anywhere:
gaps are bridged over time, what is never seen is put between what is, and each frame is brought to
the scale that a body has in the virtual camera. Training and lifting both go through here, so what
is lost is lost in both. Shape letters: B clips, T frames.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from engine.motion import skeleton as sk
from engine.motion.representation_2d import UNITS_PER_METRE
from engine.motion.skeleton import SMPL_22

# how far up the line from the middle of the hips (0) to that of the shoulders (1) a joint is, as
# in the rest pose
_ON_TRUNK = (
    (sk.PELVIS, 0.13),
    (sk.SPINE1, 0.37),
    (sk.SPINE2, 0.62),
    (sk.SPINE3, 0.72),
    (sk.NECK, 1.11),
)
_COLLARS = ((sk.LEFT_COLLAR, sk.LEFT_SHOULDER), (sk.RIGHT_COLLAR, sk.RIGHT_SHOULDER))
_COLLAR_SHARE, _COLLAR_DROP = 0.44, 0.07  # of the way to the shoulder, of the trunk
_HEAD_SHARE = 0.62  # of the way from the neck to the ears
# what stands in for a joint that is lost all along
_STAND_INS = (
    (sk.LEFT_HIP, sk.PELVIS),
    (sk.RIGHT_HIP, sk.PELVIS),
    (sk.LEFT_KNEE, sk.LEFT_HIP),
    (sk.RIGHT_KNEE, sk.RIGHT_HIP),
    (sk.LEFT_ANKLE, sk.LEFT_KNEE),
    (sk.RIGHT_ANKLE, sk.RIGHT_KNEE),
    (sk.LEFT_FOOT, sk.LEFT_ANKLE),
    (sk.RIGHT_FOOT, sk.RIGHT_ANKLE),
    (sk.NECK, sk.PELVIS),
    (sk.HEAD, sk.NECK),
    (sk.LEFT_SHOULDER, sk.NECK),
    (sk.RIGHT_SHOULDER, sk.NECK),
    (sk.LEFT_ELBOW, sk.LEFT_SHOULDER),
    (sk.RIGHT_ELBOW, sk.RIGHT_SHOULDER),
    (sk.LEFT_WRIST, sk.LEFT_ELBOW),
    (sk.RIGHT_WRIST, sk.RIGHT_ELBOW),
)
_BONES = (  # long ones, both ends seen
    (sk.LEFT_HIP, sk.LEFT_KNEE),
    (sk.RIGHT_HIP, sk.RIGHT_KNEE),
    (sk.LEFT_KNEE, sk.LEFT_ANKLE),
    (sk.RIGHT_KNEE, sk.RIGHT_ANKLE),
    (sk.PELVIS, sk.NECK),
    (sk.LEFT_SHOULDER, sk.LEFT_ELBOW),
    (sk.RIGHT_SHOULDER, sk.RIGHT_ELBOW),
    (sk.LEFT_ELBOW, sk.LEFT_WRIST),
    (sk.RIGHT_ELBOW, sk.RIGHT_WRIST),
)
_SCALE_QUANTILE = 0.8  # of the bones of a frame: those that lie nearly in the image
_SCALE_FRAMES = 20.0  # deviation of the scale's smoothing: a second
_MIN_CONFIDENCE = 0.1


def view_points(keypoints: Tensor) -> Tensor:
    """Points (B, T, 22, 2) in the virtual camera's units.

    Args:
        keypoints: (B, T, 22, 3) image units from the principal point, and confidence; frames
            behind a clip's end have confidence 0.
    """
    points = completed(keypoints)
    return points * (UNITS_PER_METRE / body_scale(points))[..., None, None]


def completed(keypoints: Tensor) -> Tensor:
    """Points (B, T, 22, 2) of the joints: gaps bridged, what no detector shows put in its place."""
    is_seen = keypoints[..., 2] > _MIN_CONFIDENCE  # (B, T, 22)
    points = _bridged(keypoints[..., :2], is_seen)
    is_known = is_seen.any(1)[:, None, :, None]  # (B, 1, 22, 1)
    columns = list(points.unbind(-2))
    known = list(is_known.unbind(-2))
    hips = (columns[sk.LEFT_HIP] + columns[sk.RIGHT_HIP]) / 2
    columns[sk.PELVIS] = torch.where(known[sk.PELVIS], columns[sk.PELVIS], hips)
    for joint, other in _STAND_INS:
        columns[joint] = torch.where(known[joint], columns[joint], columns[other])
    # detectors show the middle of the hips, that of the shoulders, and the ears
    hips, shoulders, ears = columns[sk.PELVIS], columns[sk.NECK], columns[sk.HEAD]
    trunk = shoulders - hips
    for joint, share in _ON_TRUNK:
        columns[joint] = hips + share * trunk
    for joint, shoulder in _COLLARS:
        middle = torch.lerp(shoulders, columns[shoulder], _COLLAR_SHARE)
        columns[joint] = middle - _COLLAR_DROP * trunk
    columns[sk.HEAD] = torch.lerp(columns[sk.NECK], ears, _HEAD_SHARE)
    return torch.stack(columns, dim=-2)


def body_scale(points: Tensor) -> Tensor:
    """Image units per metre (B, T) at the body's depth, from points (B, T, 22, 2).

    A bone that lies in the image is seen in its full length, others are shorter.
    """
    rest = points.new_tensor(SMPL_22.rest_joints())
    starts, ends = [bone[0] for bone in _BONES], [bone[1] for bone in _BONES]
    lengths = torch.linalg.vector_norm(rest[ends] - rest[starts], dim=-1)
    seen = torch.linalg.vector_norm(points[..., ends, :] - points[..., starts, :], dim=-1)
    ratio = torch.quantile(seen / lengths, _SCALE_QUANTILE, dim=-1)
    return torch.exp(_smooth(torch.log(ratio.clamp(min=1e-3))))


def shown_points(joints: Tensor) -> Tensor:
    """Where a detector's points are on joints (..., 22, 3), without the turns of the bones.

    The middles of hips and shoulders stand for pelvis and neck; the ears are a little further up
    from the neck than the head joint. See engine.motion.keypoint_layout.
    """
    columns = list(joints.unbind(-2))
    columns[sk.PELVIS] = (columns[sk.LEFT_HIP] + columns[sk.RIGHT_HIP]) / 2
    neck, head = joints[..., sk.NECK, :], joints[..., sk.HEAD, :]
    columns[sk.HEAD] = head + 0.06 * functional.normalize(head - neck, dim=-1)
    columns[sk.NECK] = (columns[sk.LEFT_SHOULDER] + columns[sk.RIGHT_SHOULDER]) / 2
    return torch.stack(columns, dim=-2)


def _bridged(points: Tensor, is_seen: Tensor) -> Tensor:
    """Points (B, T, 22, 2) where they aren't seen (B, T, 22): on the line between those that are.

    Before the first and after the last they stay where they are.
    """
    num_frames = points.shape[1]
    index = torch.arange(num_frames, device=points.device)[None, :, None]
    before = torch.where(is_seen, index, -1).cummax(1).values
    after = torch.where(is_seen, index, num_frames).flip(1).cummin(1).values.flip(1)
    before = torch.where(before < 0, after, before).clamp(0, num_frames - 1)
    after = torch.where(after >= num_frames, before, after).clamp(0, num_frames - 1)
    share = (index - before) / (after - before).clamp(min=1)
    first, second = _at(points, before), _at(points, after)
    return torch.lerp(first, second, share[..., None].to(points))


def _at(points: Tensor, frames: Tensor) -> Tensor:
    """Points (B, T, 22, 2) of the frames (B, T, 22)."""
    return torch.gather(points, 1, frames[..., None].expand_as(points))


def _smooth(values: Tensor) -> Tensor:
    """A Gaussian over the frames (B, T), the ends repeated."""
    reach = round(2.5 * _SCALE_FRAMES)
    offsets = torch.arange(-reach, reach + 1, dtype=values.dtype, device=values.device)
    weights = torch.exp(-0.5 * (offsets / _SCALE_FRAMES).square())
    first, last = values[:, :1].expand(-1, reach), values[:, -1:].expand(-1, reach)
    padded = torch.cat((first, values, last), dim=1)[:, None]
    return functional.conv1d(padded, (weights / weights.sum())[None, None])[:, 0]
