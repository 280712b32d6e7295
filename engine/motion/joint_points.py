"""Where in the picture joints are, as a lifted motion and a detector's keypoints tell together.

Shape letters: T frames.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.motion import rotations as rot
from engine.motion import skeleton as sk
from engine.motion.keypoint_layout import keypoints_of_pose
from engine.motion.kinematics import local_to_global
from engine.motion.motion import Motion
from engine.motion.ray_refinement import TRUNK_SHARES
from engine.motion.skeleton import SMPL_22

_TOLD_BY_LIFT = 0.5  # of the confidence of hips and shoulders that trunk joints have


def joint_points(motion: Motion, keypoints: Tensor) -> tuple[Tensor, Tensor]:
    """Where the joints themselves are seen: plane points (T, 22, 2) and confidence (T, 22).

    A detector's points lie on the body's surface, and it has none along the trunk. The lift tells
    how far a joint is from its point in the image; joints of the trunk go where the points of hips
    and shoulders move theirs.

    Args:
        motion: as lifted, with its camera.
        keypoints: (T, 22, 3) image units and confidence, in the joints' order.

    Raises:
        ValueError: the motion has no camera.
    """
    if motion.camera is None:
        raise ValueError("The motion needs a camera for its joints to be seen")
    turned = rot.quaternion_to_matrix(local_to_global(motion.local_rotations, SMPL_22))
    joints = motion.joints()
    shown = keypoints_of_pose(joints, turned[:, sk.HEAD])
    in_camera = (motion.camera.to_camera(points) for points in (joints, shown))
    at_joints, at_points = (p[..., :2] / p[..., 2:].clamp(min=0.1) for p in in_camera)
    found = motion.camera.to_plane(keypoints[..., :2])
    confidence = keypoints[..., 2].clone()
    off = found - at_points
    moved = off.clone()
    sides = ((sk.LEFT_HIP, sk.RIGHT_HIP), (sk.LEFT_SHOULDER, sk.RIGHT_SHOULDER))
    hips, shoulders = (off[:, list(pair)].mean(1) for pair in sides)
    worst = confidence[:, [joint for pair in sides for joint in pair]].amin(-1)
    for joint, share in TRUNK_SHARES.items():
        moved[:, joint] = torch.lerp(hips, shoulders, share)
        confidence[:, joint] = _TOLD_BY_LIFT * worst
    points = at_joints + moved
    is_seen = confidence[..., None] > 0
    return torch.where(is_seen, points, torch.zeros_like(points)), confidence
