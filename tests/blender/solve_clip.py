"""Run by the engine's Python: joint positions of a clip to a motion file that holds what rigs need.

python tests/blender/solve_clip.py CLIP.npy OUT.npz
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from engine.motion.contacts import detect_contacts
from engine.motion.kinematics import forward_kinematics
from engine.motion.pose_solve import solve_local_rotations
from engine.motion.skeleton import FOOT_JOINTS, SMPL_22


def main(clip: str, target: str) -> None:
    joints = torch.from_numpy(np.load(clip)).float()
    rotations = solve_local_rotations(joints)
    # The clip's bones are its performer's: scale the path to the skeleton's legs.
    leg = sum(float((joints[:, a] - joints[:, b]).norm(dim=-1).mean()) for a, b in ((1, 4), (4, 7)))
    root = joints[:, 0] * (sum(-SMPL_22.rest_offsets[j][1] for j in (4, 7)) / leg)
    posed, _ = forward_kinematics(rotations, root, SMPL_22)
    floor = posed[:, list(FOOT_JOINTS), 1].amin(dim=-1).quantile(0.05)
    root[:, 1] -= floor
    posed[..., 1] -= floor
    contacts = detect_contacts(posed, 20.0)
    np.savez(
        target,
        fps=20.0,
        root_translation=root.numpy(),
        local_rotations=rotations.numpy(),
        contacts=contacts.numpy(),
        joint_names=list(SMPL_22.joint_names),
        parents=list(SMPL_22.parents),
        rest_offsets=torch.tensor(SMPL_22.rest_offsets).numpy(),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
