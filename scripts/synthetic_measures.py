"""Figures of a captured motion against the truth of a synthetic video. Torch, metres."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from engine.motion.camera import Camera
from engine.motion.contacts import foot_slide
from engine.motion.motion import Motion
from engine.motion.skeleton import SMPL_22
from trainer.evaluation import lifting_metrics as metrics

# hips to ankles, neck, head, shoulders to wrists: what the field usually compares
LIMBS = [1, 2, 4, 5, 7, 8, 12, 15, 16, 17, 18, 19, 20, 21]
LONG_PATH = 1.0  # metres: of shorter ones no share is told


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What was filmed."""

    joints: Tensor  # (T, 22, 3) world, y up, the floor at 0
    bone_heads: Tensor  # (T, 22, 3) the same, in the trunk as the rig's maker has put them
    camera: Camera  # (T,)
    fps: float
    is_turning: bool  # the camera

    def at(self, times: Tensor) -> tuple[Tensor, Tensor]:
        """Joints and bones' heads (N, 22, 3) at seconds (N,) of the video."""
        return self._between(self.joints, times), self._between(self.bone_heads, times)

    def _between(self, joints: Tensor, times: Tensor) -> Tensor:
        place = (times * self.fps).clamp(0, len(joints) - 1)
        before = place.floor().long().clamp(max=max(len(joints) - 2, 0))
        after = (before + 1).clamp(max=len(joints) - 1)
        part = (place - before).to(joints)[:, None, None]
        return torch.lerp(joints[before], joints[after], part)


@dataclass(frozen=True, kw_only=True)
class Figures:
    """One capture against its truth; mm where nothing else is said."""

    pa_mpjpe: float  # of our 22 joints
    pa_limbs: float  # of the 14 of arms, legs, neck and head
    pa_heads: float  # of the 22 bones' heads
    mpjpe: float
    acceleration: float  # m/s2
    path: float | None  # % of its length
    scaled_path: float | None  # the same, of the path at the true body's size
    size: float  # of the body, % of the true one
    up: float  # degrees
    slide: float  # mm a frame, of standing feet


def read_truth(path: Path) -> Truth:
    """What render_synthetic_videos.py keeps beside a video.

    Raises:
        ValueError: it can't be read.
    """
    try:
        return _read_truth(path)
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} can't be read as the truth of a video: {error}") from error


def _read_truth(path: Path) -> Truth:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        joints = _tensor(arrays["joints"])
        half = float(arrays["image_size"].max()) / 2
        count = len(joints)
        middle = arrays["image_size"] / 2
        centre = (arrays["principal_point"] - middle) / half
        camera = Camera(
            rotation=_tensor(arrays["camera_rotation"]),
            translation=_tensor(arrays["camera_translation"]),
            focal_length=torch.full((count,), float(arrays["focal_length"]) / half),
            principal_point=_tensor(centre).expand(count, 2),
        )
        return Truth(
            joints=joints,
            bone_heads=_tensor(arrays["bone_heads"]),
            camera=camera,
            fps=float(arrays["fps"]),
            is_turning=bool(arrays["is_turning"]),
        )


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.float32))


def measure(motion: Motion, truth: Truth, *, start: float = 0.0) -> Figures:
    """Figures of a captured motion whose first frame is at `start` seconds of the video."""
    times = start + torch.arange(motion.num_frames) / motion.fps
    true, heads = truth.at(times)
    joints = in_true_world(motion, truth)
    size = body_size(joints) / body_size(true)
    upright = _up_in_first_camera(motion.camera) * _up_in_first_camera(truth.camera)
    return Figures(
        pa_mpjpe=1e3 * float(metrics.aligned_error(joints, true).mean()),
        pa_limbs=1e3 * float(metrics.aligned_error(joints[:, LIMBS], true[:, LIMBS]).mean()),
        pa_heads=1e3 * float(metrics.aligned_error(joints, heads).mean()),
        mpjpe=1e3 * float(metrics.joint_error(joints, true).mean()),
        acceleration=float(metrics.acceleration_error(joints, true, motion.fps).mean()),
        path=_path(joints[:, 0], true[:, 0]),
        scaled_path=_path(joints[:, 0] / size, true[:, 0]),
        size=100 * size,
        up=float(torch.rad2deg(torch.acos(upright.sum().clamp(-1, 1)))),
        slide=1e3 * foot_slide(motion.joints(), motion.contacts, motion.fps).metres_per_frame,
    )


def in_true_world(motion: Motion, truth: Truth) -> Tensor:
    """The captured joints (T, 22, 3) where they are if the first cameras are the same one."""
    assert motion.camera is not None
    seen = motion.camera[0].to_camera(motion.joints())
    camera = truth.camera[0]
    return (seen - camera.translation) @ camera.rotation


def body_size(joints: Tensor) -> float:
    """What the bones of joints (T, 22, 3) measure together, metres, but for feet and shoulders."""
    ends = [joint for joint in range(1, 22) if joint not in _VAGUE]
    parents = [SMPL_22.parents[joint] for joint in ends]
    return float(
        torch.linalg.vector_norm(joints[:, ends] - joints[:, parents], dim=-1).sum(-1).mean()
    )


_VAGUE = (1, 2, 10, 11, 13, 14, 15, 16, 17)  # whose parents lie elsewhere on every rig


def _up_in_first_camera(camera: Camera | None) -> Tensor:
    assert camera is not None
    return camera.rotation[0, :, 1]


def _path(found: Tensor, true: Tensor) -> float | None:
    """Mean distance of paths (T, 3) laid onto each other at their start, % of the length."""
    length = float(metrics.path_length(true))
    return 100 * float(metrics.path_error(found, true)) / length if length > LONG_PATH else None
