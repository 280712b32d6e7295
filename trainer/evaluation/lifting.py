"""Lifters over a split: every clip worn by a body of its own, seen by a camera of its own.

The same bodies and cameras at every run and for every lifter; none was trained on. Where keypoints
are noisy the noise is the same too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from engine.methods.base import Method, SampleOptions, VideoClip
from engine.motion import rotations as rot
from engine.motion.camera import Camera, units_to_pixels
from engine.motion.kinematics import local_to_global
from engine.motion.motion import Motion
from engine.motion.resample import resample
from engine.motion.skeleton import SMPL_22
from trainer.data.corpus import FPS, Clip
from trainer.data.detector_noise import CLEAN, NoiseSettings, image_heights
from trainer.data.pose_bank import PoseBank, Windows, draw_bodies
from trainer.data.views_corpus import Seen, clip_generator, look
from trainer.data.virtual_views import ViewSettings
from trainer.evaluation import lifting_metrics as metrics
from trainer.evaluation.metrics import Estimate, bootstrap_mean
from trainer.evaluation.motion_quality import foot_skate

ROWS = (
    ("mpjpe", "MPJPE, mm"),
    ("pa_mpjpe", "PA-MPJPE, mm"),
    ("n_mpjpe", "MPJPE after one scale a clip, mm"),
    ("rotation", "rotation error, degrees"),
    ("acceleration", f"acceleration error at {FPS:g} fps, m/s2"),
    ("pck", "PCK at 5 % of the height, %"),
    ("path", "root path, start aligned, mm"),
    ("path_percent", "the same, % of paths over 1 m"),
    ("path_shape", "root path, shape alone, mm"),
    ("up", "direction of gravity, degrees"),
    ("bone_error", "bone lengths, mm"),
    ("bone_deviation", "change of a bone within a clip, mm"),
    ("skate", "foot skate at true contacts, mm a frame"),
    ("fps", "frames per second"),
)
_PIXELS = 1920  # of the longer side; only what an interface in pixels asks for
_PCK_SHARE = 0.05
_BONE_DEVIATION = 0.06
_LONG_PATH = 1.0  # metres


@dataclass(frozen=True, kw_only=True)
class LiftCase:
    """A clip as a lifter gets it, and the truth."""

    name: str
    clip: VideoClip
    windows: Windows  # B = 1
    seen: Seen


def make_cases(
    clips: Sequence[Clip], *, noisy: bool, moving_share: float = 0.0, seed: int = 1_000
) -> list[LiftCase]:
    """One case per clip; noisy and exact ones have the same bodies and cameras."""
    bank = PoseBank(clips)
    noise = NoiseSettings() if noisy else CLEAN
    cases: list[LiftCase] = []
    for number, clip in enumerate(clips):
        name = f"{clip.clip_id}-{number}"
        body = draw_bodies(1, _BONE_DEVIATION, clip_generator(seed, f"body {name}"))[0]
        windows = bank.whole(number, body)
        views = ViewSettings(moving_share=moving_share)
        seen = look(windows, views, noise, clip_generator(seed, name))
        case = LiftCase(name=name, clip=_as_clip(seen), windows=windows, seen=seen)
        cases.append(case)
    return cases


def measure_lifter(
    method: Method, cases: Sequence[LiftCase], report: Callable[[], object] = lambda: None
) -> dict[str, Estimate]:
    """Figures over the cases, with intervals over clips; report is called for each."""
    rows: list[dict[str, float]] = []
    frames, seconds = 0, 0.0
    for case in cases:
        num_frames = case.windows.mask.shape[1]
        options = SampleOptions(num_frames=num_frames, seed=0)
        start = time.perf_counter()
        motion = method.run(case.clip, options, lambda step, of: None)
        seconds += time.perf_counter() - start
        frames += num_frames
        rows.append(measure_motion(motion, case))
        report()
    return {**_over_clips(rows), "fps": Estimate(frames / seconds)}


def measure_motion(motion: Motion, case: LiftCase) -> dict[str, float]:
    """Figures of one motion that a lifter made of a case; lengths in mm."""
    motion = resample(motion, FPS)
    assert motion.camera is not None
    return measure_joints(
        motion.camera.to_camera(motion.joints()),
        case,
        rotations=_rotations(motion),
        up=motion.camera.rotation[..., 1],
    )


def measure_joints(
    joints: Tensor, case: LiftCase, *, rotations: Tensor | None = None, up: Tensor | None = None
) -> dict[str, float]:
    """The same of joints (T, 22, 3) in each frame's camera; what isn't given isn't measured."""
    true = case.seen.camera.to_camera(case.windows.joints)[0]
    heights = image_heights(true[:, 0, 2], case.seen.camera.focal_length[0])
    camera = case.seen.camera[0]
    figures = {
        "mpjpe": 1e3 * metrics.joint_error(joints, true).mean(),
        "pa_mpjpe": 1e3 * metrics.aligned_error(joints, true).mean(),
        "n_mpjpe": 1e3 * metrics.scale_aligned_error(joints, true).mean(),
        "bone_error": 1e3 * metrics.bone_error(joints, true),
        "bone_deviation": 1e3 * metrics.bone_deviation(joints),
        "pck": 100
        * metrics.correct_keypoints(
            camera.project_seen(joints)[0], camera.project_seen(true)[0], heights, _PCK_SHARE
        ).mean(),
    }
    if len(joints) > 2:
        figures["acceleration"] = metrics.acceleration_error(joints, true, FPS).mean()
    if rotations is not None:
        figures["rotation"] = metrics.rotation_error(rotations, _true_rotations(case)).mean()
    if up is not None:
        cosine = (up * camera.rotation[..., 1]).sum(-1).clamp(-1.0, 1.0)
        figures["up"] = torch.rad2deg(torch.acos(cosine)).mean()
    return {name: float(value) for name, value in figures.items()} | _path_figures(joints, case)


def _path_figures(joints: Tensor, case: LiftCase) -> dict[str, float]:
    """Root path and feet, where the camera stands still: else the lifter can't know them."""
    camera = case.seen.camera[0]
    turned = (camera.rotation - camera.rotation[:1]).abs().amax()
    if float(turned) > 1e-4 or len(joints) < 2:
        return {}
    true = camera.to_camera(case.windows.joints[0])
    error = 1e3 * float(metrics.path_error(joints[:, 0], true[:, 0]))
    length = float(metrics.path_length(true[:, 0]))
    world = (joints - camera.translation[:, None]) @ camera.rotation
    skate, _ = foot_skate(world.numpy(), FPS, case.windows.contacts[0].numpy())
    figures = {
        "path": error,
        "path_shape": 1e3 * float(metrics.path_shape_error(joints[:, 0], true[:, 0])),
        "skate": skate,
    }
    return figures | ({"path_percent": error / 10 / length} if length > _LONG_PATH else {})


def mean_pose(clips: Sequence[Clip]) -> Tensor:
    """The mean pose (22, 3) of clips, from the root and facing +z, metres."""
    bank = PoseBank(clips)
    total, count = torch.zeros(22, 3), 0
    for number in range(bank.num_clips):
        joints = bank.whole(number).joints[0]
        facing = _facing(joints)
        total += ((joints - joints[:, :1]) @ facing).sum(0)
        count += len(joints)
    return total / count


def measure_mean_pose(pose: Tensor, cases: Sequence[LiftCase]) -> dict[str, Estimate]:
    """The mean pose in every frame, told where the body is and where it faces."""
    rows: list[dict[str, float]] = []
    for case in cases:
        joints = case.windows.joints[0]
        placed = pose @ _facing(joints).mT + joints[:, :1]
        rows.append(measure_joints(case.seen.camera[0].to_camera(placed), case))
    told = {"path", "path_percent", "path_shape"}
    return {key: value for key, value in _over_clips(rows).items() if key not in told}


def _facing(joints: Tensor) -> Tensor:
    """Turns (T, 3, 3) about the up axis from +z to where bodies (T, 22, 3) face."""
    across = joints[:, 1] - joints[:, 2] + joints[:, 16] - joints[:, 17]
    heading = torch.atan2(-across[:, 2], across[:, 0])
    return rot.quaternion_to_matrix(rot.heading_to_quaternion(heading))


def _as_clip(seen: Seen) -> VideoClip:
    keypoints, extent = seen.keypoints[0], seen.extents[0]
    size = (round(float(extent[0]) * _PIXELS), round(float(extent[1]) * _PIXELS))
    pixels = units_to_pixels(keypoints[..., :2], size)
    return VideoClip(
        keypoints=torch.cat((pixels, keypoints[..., 2:]), dim=-1),
        fps=FPS,
        image_size=size,
        layout="smpl_22",
        focal_length=float(seen.camera.focal_length[0, 0]) * max(size) / 2,
    )


def _rotations(motion: Motion) -> Tensor:
    """Global rotations (T, 22, 3, 3) in each frame's camera."""
    assert motion.camera is not None
    turned = rot.quaternion_to_matrix(local_to_global(motion.local_rotations, SMPL_22))
    return motion.camera.rotation[:, None] @ turned


def _true_rotations(case: LiftCase) -> Tensor:
    camera: Camera = case.seen.camera[0]
    return camera.rotation[:, None] @ case.windows.global_rotations[0]


def _over_clips(rows: Sequence[dict[str, float]]) -> dict[str, Estimate]:
    """Means with intervals; figures that no clip has are left out."""
    figures: dict[str, Estimate] = {}
    for key, _ in ROWS:
        values = np.array([row[key] for row in rows if np.isfinite(row.get(key, np.nan))])
        if len(values):
            figures[key] = bootstrap_mean(values)
    return figures
