"""Motion fitted to the rays along which its joints were seen, its bones keeping their lengths.

Bones that keep their lengths tell depth: how far a limb points towards the camera is seen by how
short it looks.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from engine.motion.motion import Motion
from engine.motion.ray_projection import Sight
from engine.motion.track_fit import Report, fit_to_keypoints
from engine.motion.track_loss import FitDeviations

# Keypoints as a detector has them, against a pose that is a lifter's or a prior's.
RAY_FIT = FitDeviations(
    keypoint=0.015, mistake=0.15, limb=0.17, trunk=0.17, depth=1.0, root=1.0, turn_seconds=0.1
)


def fit_onto_rays(motion: Motion, sight: Sight, report: Report) -> Motion:
    """A motion of T frames moved onto the rays of a sight (T,) of its joints.

    The sight's camera is in the motion's world, and becomes the motion's own. See
    `engine.motion.track_fit.fit_to_keypoints` for report and what is raised.
    """
    points = sight.camera.from_plane(sight.plane_points)
    keypoints = torch.cat((points, sight.confidence[..., None]), dim=-1)
    return fit_to_keypoints(
        replace(motion, camera=sight.camera),
        keypoints,
        report,
        deviations=RAY_FIT,
        of_joints=True,
        is_body_known=True,
    )
