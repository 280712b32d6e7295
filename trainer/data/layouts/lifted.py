"""VideoMDM's training folders: 2D keypoints, cameras, and the motion that a lifter made of them.

2d_motions/ID.npy      (T, J, 2) keypoints on the plane at depth 1 (intrinsics are divided out)
2d_scores/ID.npy       (T, J) confidence, 0 to 1
cameras/ID.npy         (12,) world to camera, a 3 x 4 matrix row by row, metres; one per clip
cameras/pnp/ID.npy     (12,) the same, fitted to lifted joints and keypoints (optional)
new_joint_vecs/ID.npy  (T - 1, 12 J - 1) HumanML3D features of the lifted motion; the folder is
                       called lifted_motions, lifted_motions_y_corrected or mvlift_lifted_vecs
                       where MVLift lifted
texts/ID.txt           see trainer.data.layouts.captions
train.txt val.txt test.txt

J is 22, our skeleton's joints in HumanML3D's order. The world is the clip's canonical frame: y up,
root over the origin and facing +z in frame 0; a camera applies to the whole clip, so parts of it
are cut out of keypoints, lifted motion and camera together, and stay in that frame. Cameras may
have their y axis up or down: those with y up are turned by half a circle about their axis, with
their keypoints, which changes nothing but the picture's orientation.

MVLift's clips M008911 and M012819 are left out of training, as VideoMDM does.

Source: VideoMDM's release, data_loaders/humanml/utils/get_opt.py (folders) and
data_loaders/humanml/data/dataset.py, VideoMDMDataset (shapes, cropping); specification of
VideoMDM sections 1.3, 1.5 and 4. MVLift's own outputs (github.com/lijiaman/mvlift_release) become
these features by HumanML3D's processing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from engine.motion.camera import Camera
from engine.motion.keypoint_layout import OBSERVED_JOINTS
from engine.motion.ray_projection import canonical_turn
from engine.motion.representation import estimate_heading
from trainer.data.clip import (
    FPS,
    MIN_FRAMES,
    Clip,
    ClipError,
    CorpusError,
    LeftOut,
    View,
    check_motion,
    load_array,
)
from trainer.data.layouts.captions import read_captions
from trainer.data.layouts.humanml3d import captioned_parts, joints_of_features, read_split
from trainer.data.uniform_skeleton import measure_source, to_uniform_skeleton

if TYPE_CHECKING:
    from trainer.data.teacher_corpus import TeacherClip

log = logging.getLogger(__name__)

FEATURE_FOLDERS = (
    "lifted_motions",
    "lifted_motions_y_corrected",
    "mvlift_lifted_vecs",
    "new_joint_vecs",
)
_DAMAGED = frozenset({"M008911", "M012819"})  # of MVLift's motions
_FAR_OFF = 0.1  # on the plane at depth 1: cameras with such errors aren't of these motions


def is_lifted(folder: Path) -> bool:
    """Whether the folder has this layout."""
    return (folder / "2d_motions").is_dir() and (folder / "cameras").is_dir()


def read_clips(folder: Path, split: str) -> list[Clip]:
    """The lifted motions of a split, as if they were the truth.

    Raises:
        CorpusError: there is no such split, or no lifted motion.
    """
    names, motions = _names(folder, split), _motions(folder)
    left_out = LeftOut(folder, split)
    found: dict[str, NDArray[np.float32]] = {}
    for name in names:
        try:
            found[name] = _lifted_joints(motions / f"{name}.npy")
        except ClipError as error:
            left_out.add(name, error)
    constants = measure_source(list(found.values())) if found else None
    clips: list[Clip] = []
    for name, joints in found.items():
        assert constants is not None
        uniform = to_uniform_skeleton(joints, constants).astype(np.float32)
        clip = Clip(clip_id=name, joints=uniform, captions=(), source="lifted")
        try:
            clips += captioned_parts(clip, read_captions(folder / "texts" / f"{name}.txt"))
        except ClipError as error:
            left_out.add(name, error)
    left_out.tell(len(names))
    return clips


def read_views(folder: Path, split: str, *, fitted_cameras: bool = False) -> Iterator[View]:
    """The clips of a split with keypoints, camera and the lifted motion as teacher.

    Args:
        fitted_cameras: read cameras/pnp/ instead of cameras/.

    Raises:
        CorpusError: there is no such split, or no lifted motion.
    """
    names, motions = _names(folder, split), _motions(folder)
    left_out = LeftOut(folder, split)
    errors: list[float] = []
    for name in names:
        try:
            view, error = _read_view(folder, motions, name, fitted_cameras)
            parts = _parts(view, folder / "texts" / f"{name}.txt")
        except ClipError as reason:
            left_out.add(name, reason)
            continue
        errors.append(error)
        yield from parts
    left_out.tell(len(names))
    if errors:
        middle = float(np.median(errors))
        level = logging.WARNING if middle > _FAR_OFF else logging.INFO
        log.log(level, "%s: lifted joints are seen %.4f from the keypoints", folder, middle)


def read_teacher_clips(folder: Path, split: str) -> list[TeacherClip]:
    """The clips of a split as VideoMDM learns from them; estimated cameras are those of pnp/.

    Raises:
        CorpusError: there is no such split, or no lifted motion.
    """
    # it packs what `trainer prepare teacher` has lifted, and so imports this package
    from trainer.data.teacher_corpus import TeacherClip

    fitted: dict[str, View] = {}
    if (folder / "cameras" / "pnp").is_dir():
        fitted = {view.view_id: view for view in read_views(folder, split, fitted_cameras=True)}
    clips: list[TeacherClip] = []
    for view in read_views(folder, split):
        assert view.teacher is not None
        # a part of a clip starts at the origin too, and its cameras move with it
        turn, shift = canonical_turn(view.teacher, estimate_heading(view.teacher))
        clips.append(
            TeacherClip(
                clip_id=view.view_id,
                captions=view.captions,
                teacher=view.teacher @ turn.mT + shift,
                truth=None,
                plane_points=view.keypoints[..., :2],
                confidence=view.keypoints[..., 2],
                given=view.camera.in_moved_world(turn, shift),
                estimated=fitted.get(view.view_id, view).camera.in_moved_world(turn, shift),
                row={**view.row, "split": split},
            )
        )
    return clips


def read_camera(numbers: NDArray[np.float32]) -> tuple[Camera, bool]:
    """A camera (1,) from its 12 numbers, and whether its y axis had to be turned to point down.

    Raises:
        ClipError: the numbers aren't a camera.
    """
    matrix = numbers.reshape(3, 4)
    rotation, translation = matrix[:, :3], matrix[:, 3]
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-2 or np.linalg.det(rotation) < 0:
        raise ClipError("its camera has no rotation in the first three columns")
    is_y_up = bool(rotation[1, 1] > 0)
    turn = np.diag([-1.0, -1.0, 1.0] if is_y_up else [1.0, 1.0, 1.0]).astype(np.float32)
    camera = Camera(
        rotation=torch.from_numpy(turn @ rotation)[None],
        translation=torch.from_numpy(turn @ translation)[None],
        focal_length=torch.ones(1),
        principal_point=torch.zeros(1, 2),
    )
    return camera, is_y_up


def _names(folder: Path, split: str) -> list[str]:
    names = read_split(folder, split)
    is_mvlift = _motions(folder).name != "new_joint_vecs"
    return [name for name in names if not (is_mvlift and split == "train" and name in _DAMAGED)]


def _motions(folder: Path) -> Path:
    found = next((folder / n for n in FEATURE_FOLDERS if (folder / n).is_dir()), None)
    if found is None:
        raise CorpusError(
            f"{folder} has keypoints and cameras but no lifted motions (needs one of "
            f"{', '.join(FEATURE_FOLDERS)})"
        )
    return found


def _lifted_joints(path: Path) -> NDArray[np.float32]:
    features = load_array(path, None, None)
    if features.shape[1] != 263:
        raise ClipError(
            f"its features have {features.shape[1]} numbers, those of our 22 joints have 263"
        )
    joints = joints_of_features(features)
    check_motion(joints)
    return joints


def _read_view(folder: Path, motions: Path, name: str, fitted: bool) -> tuple[View, float]:
    """The whole clip without captions, and how far the lifted joints are from the keypoints."""
    teacher = torch.from_numpy(_lifted_joints(motions / f"{name}.npy"))
    points = load_array(folder / "2d_motions" / f"{name}.npy", None, 22, 2)
    scores = load_array(folder / "2d_scores" / f"{name}.npy", len(points), 22)
    cameras = folder / "cameras" / "pnp" if fitted else folder / "cameras"
    camera, is_turned = read_camera(load_array(cameras / f"{name}.npy", 12))
    frames = min(len(teacher), len(points))  # features have a frame fewer than keypoints
    if frames < len(teacher) or len(points) - frames > 1:
        raise ClipError(f"{len(points)} frames of keypoints, {len(teacher)} of lifted motion")
    seen = torch.from_numpy(points[:frames]) * (-1.0 if is_turned else 1.0)
    confidence = torch.from_numpy(scores[:frames]).clamp(0, 1)[..., None]
    keypoints = torch.cat((seen * (confidence > 0), confidence), dim=-1)
    camera = camera.repeated(frames)
    projected, _ = camera.project(teacher)
    off = (projected - seen).norm(dim=-1)[:, list(OBSERVED_JOINTS)]
    view = View(
        view_id=name,
        captions=(),
        fps=FPS,
        keypoints=keypoints,
        camera=camera,
        extent=torch.ones(2),
        joints=None,
        row={
            "id": name,
            "clip": name,
            "source": "lifted",
            "camera": "fitted" if fitted else "given",
        },
        teacher=teacher,
    )
    return view, float(off.median())


def _parts(view: View, texts: Path) -> list[View]:
    """The view with its captions, and the captioned parts: all is cut by one slice."""
    parts: list[View] = []
    for number, ((start, stop), captions) in enumerate(read_captions(texts).items()):
        assert view.teacher is not None
        part = slice(start, stop)
        if len(view.teacher[part]) < MIN_FRAMES:
            continue
        name = view.view_id if number == 0 else f"{view.view_id}-part{number}"
        parts.append(
            View(
                view_id=name,
                captions=tuple(captions),
                fps=view.fps,
                keypoints=view.keypoints[part],
                camera=view.camera[part],
                extent=view.extent,
                joints=None,
                row={**view.row, "id": name, "captions": captions},
                teacher=view.teacher[part],
            )
        )
    if not parts:
        raise ClipError("none of its captions is about enough frames of it")
    return parts
