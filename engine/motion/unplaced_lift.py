"""Where a motion that was lifted in the body's own frame is, before the camera that sees it.

Such a motion (of CrossDiff's lift) has poses, and a heading that drifts; where the camera stands,
where the body faces in each frame and where it is are found from the keypoints. Shape letters: T
frames.
"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.motion import rotations as rot
from engine.motion.camera_fit import fit_root_translation
from engine.motion.keypoint_layout import keypoints_of_pose
from engine.motion.kinematics import local_to_global
from engine.motion.lifting import Lift, Observation
from engine.motion.orientation_fit import fit_orientations
from engine.motion.pose_solve import solve_local_rotations
from engine.motion.skeleton import HEAD, SMPL_22

_EXPECTED_ERROR = 0.08  # metres, of a lifted joint
_BONES = 13
_DEPTH = 4.0  # metres, where keypoints tell none
_NEAREST = 0.3


def placed_lift(joints: Tensor, contacts: Tensor, observation: Observation) -> Lift:
    """Poses and the rest in the camera's frame.

    Args:
        joints: (T, 22, 3) metres, y up, in any place and heading.
        contacts: (T, 4) 0 to 1.
        observation: of the same frames.
    """
    local = solve_local_rotations(joints, SMPL_22)
    turned = rot.quaternion_to_matrix(local_to_global(local, SMPL_22))
    shown = keypoints_of_pose(joints, turned[:, HEAD]) - joints[:, :1]
    plane = observation.camera.to_plane(observation.keypoints[..., :2])
    sight = (plane, observation.keypoints[..., 2], observation.camera.rotation)
    world = fit_orientations(shown, *sight, fps=observation.fps)  # (T, 3, 3) to each camera
    root = fit_root_translation(
        shown @ world.mT,
        *sight[:2],
        depth_prior=shown.new_full((len(shown),), _DEPTH),
        prior_weight=1e-3,
    )
    matrices = rot.quaternion_to_matrix(local)
    return Lift(
        local_rotations=torch.cat((world[:, None] @ matrices[:, :1], matrices[:, 1:]), dim=1),
        log_bones=matrices.new_zeros(_BONES),
        up=world[..., 1],
        contacts=contacts.clamp(0.0, 1.0),
        depth=root[:, 2].clamp(min=_NEAREST),
        error=matrices.new_full((len(matrices), 22), _EXPECTED_ERROR),
    )
