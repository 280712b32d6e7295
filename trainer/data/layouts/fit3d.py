"""Fit3D (AIFit): exercises before four calibrated cameras, with motion capture.

fit3d/train/SUBJECT/               subjects s03 s04 s05 s07 s08 s09 s10 s11; test/ has no 3D
    joints3d_25/EXERCISE.json      {"joints3d_25": (T, 25, 3)} metres, in the world, 50 fps
    smplx/EXERCISE.json            rotation matrices: global_orient (T, 1, 3, 3),
                                   body_pose (T, 21, 3, 3); transl (T, 3), betas (T, 10), …
    camera_parameters/CAMERA/EXERCISE.json
        extrinsics: R (3, 3), T (1, 3); a point x of the world is at R (x - T) before the camera
        intrinsics_wo_distortion: f, c (pixels, x and y); intrinsics_w_distortion: k, p too
    videos/CAMERA/EXERCISE.mp4     900 x 900 pixels; not read here (`trainer prepare video`)
    rep_ann.json                   {EXERCISE: [b0, b1, …]}: repetition i is frames b_i to b_(i+1)

The 25 joints: Human3.6M's 17 (pelvis, leg, leg, spine, thorax, neck, head, arm, arm), then two
points of each foot (17 to 20) and of each hand (21 to 24). Published readers disagree on which
leg comes first, and on which axis is up, so both are measured (trainer.data.layouts.axes); of
a foot's two points the one farther from the ankle is taken for the toes. Where body models are
given (MAREY_BODY_MODELS), joints come from the SMPL-X parameters instead.

Captions are ours, after those of VideoMDM's Fit3D prompts: "a person is performing squats.",
"a person is starting squats." before the first repetition. Clips are whole repetitions, as many
as fit into 9.8 s. Splits are ours: the last subject for test, the one before it for validation.
Keypoints are the joints as the cameras see them: no detector's.

Source: github.com/sminchisescu-research/imar_vision_datasets_tools (README, util/dataset_util.py:
read_data, project_3d_to_2d, plot_over_image; util/smplx_util.py); fit3d.imar.ro;
VideoMDM's assets/example_text_prompts_fit3d.txt.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.motion import rotations as rot
from engine.motion import skeleton as sk
from engine.motion.camera import Camera
from engine.motion.keypoint_layout import OBSERVED_JOINTS
from trainer.data.clip import (
    FPS,
    MIN_FRAMES,
    READ_ERRORS,
    Clip,
    ClipError,
    CorpusError,
    LeftOut,
    View,
    check_motion,
    checked_array,
    load_json,
    resampled,
)
from trainer.data.layouts.axes import first_leg_is_left, same_side, to_y_up, up_axis
from trainer.data.layouts.body_models import BodyModels, pose_body
from trainer.data.uniform_skeleton import measure_source, to_uniform_skeleton

log = logging.getLogger(__name__)

LICENCE = "Fit3D: non-commercial research (fit3d.imar.ro)"
SOURCE_FPS = 50.0
IMAGE_SIZE = 900.0  # pixels, both sides
CLIP_FRAMES = 196

Array = NDArray[np.float32]


@dataclass(frozen=True)
class _World:
    """What is measured once for a folder."""

    to_y_up: Array  # (3, 3)
    first_leg_is_left: bool
    first_arm_is_left: bool


@dataclass(frozen=True)
class _Take:
    """Some repetitions of one exercise of one subject."""

    name: str
    joints: Array  # (T, 22, 3) metres, y up, 20 fps
    caption: str
    subject: str
    exercise: str


def is_fit3d(folder: Path) -> bool:
    """Whether the folder has this layout, or is the part of it with the subjects."""
    return next(_subjects(folder), None) is not None


def read_clips(folder: Path, split: str, models: BodyModels | None) -> list[Clip]:
    """The clips of a split, on the built-in skeleton.

    Raises:
        CorpusError: there is no such split.
    """
    takes = _takes(folder, split, models)
    constants = measure_source([take.joints for take in takes]) if takes else None
    clips: list[Clip] = []
    for take in takes:
        assert constants is not None
        clips.append(
            Clip(
                clip_id=take.name,
                joints=to_uniform_skeleton(take.joints, constants).astype(np.float32),
                captions=(take.caption,),
                source="fit3d",
                licence=LICENCE,
                performer=take.subject,
            )
        )
    return clips


def read_views(folder: Path, split: str, models: BodyModels | None) -> Iterator[View]:
    """The clips of a split as each camera sees them, with the true joints.

    Raises:
        CorpusError: there is no such split.
    """
    left_out = LeftOut(folder, split)
    takes = _takes(folder, split, models)
    world = _measure(folder)
    roots = {path.name: path for path in _subjects(folder)}
    for take in takes:
        for path in sorted(roots[take.subject].glob(f"camera_parameters/*/{take.exercise}.json")):
            name = f"{take.name}-{path.parent.name}"
            try:
                camera = read_camera(path, world.to_y_up).repeated(len(take.joints))
            except ClipError as error:
                left_out.add(name, error)
                continue
            joints = torch.from_numpy(take.joints)
            row = {"id": name, "source": "fit3d", "licence": LICENCE, "performer": take.subject}
            yield View(
                view_id=name,
                captions=(take.caption,),
                fps=FPS,
                keypoints=_seen(joints, camera),
                camera=camera,
                extent=torch.ones(2),
                joints=joints,
                row={**row, "split": split, "clip": take.name, "camera": "given"},
            )
    left_out.tell(len(takes))


def read_camera(path: Path, world_to_y_up: Array) -> Camera:
    """A calibrated camera (1,), in image units, in the world whose up is y.

    Lens distortion isn't part of it: it belongs to detected keypoints, not to projected joints.

    Raises:
        ClipError: the file is damaged.
    """
    parameters = load_json(path)
    try:
        outside, inside = parameters["extrinsics"], parameters["intrinsics_wo_distortion"]
        rotation = checked_array(np.array(outside["R"], float), "R", 3, 3)
        place = checked_array(np.array(outside["T"], float).reshape(-1), "T", 3)
        focal = checked_array(np.array(inside["f"], float).reshape(-1), "f", 2)
        middle = checked_array(np.array(inside["c"], float).reshape(-1), "c", 2)
    except ClipError:
        raise
    except READ_ERRORS as error:
        raise ClipError(f"{path.parent.name}/{path.name} isn't a camera ({error})") from error
    if abs(np.linalg.det(rotation) - 1) > 1e-2:
        raise ClipError(f"{path.parent.name}/{path.name} has an R that isn't a rotation")
    turned = rotation @ world_to_y_up.T
    half = IMAGE_SIZE / 2
    return Camera(
        rotation=torch.from_numpy(turned)[None],
        translation=torch.from_numpy(-(rotation @ place))[None],
        focal_length=torch.tensor([float(focal.mean()) / half]),
        principal_point=torch.from_numpy((middle - half) / half)[None],
    )


def _seen(joints: torch.Tensor, camera: Camera) -> torch.Tensor:
    """Keypoints (T, 22, 3) of joints that are in front of the camera and in the image."""
    points, depths = camera.project(joints)
    is_seen = (depths > 0.1) & (points.abs() <= 1.0).all(-1)
    observed = torch.zeros(22, dtype=torch.bool)
    observed[list(OBSERVED_JOINTS)] = True
    confidence = (is_seen & observed).to(points.dtype)
    return torch.cat((points * confidence[..., None], confidence[..., None]), dim=-1)


def _subjects(folder: Path) -> Iterator[Path]:
    for root in (folder, folder / "train", folder / "fit3d" / "train"):
        yield from sorted(path.parent for path in root.glob("*/joints3d_25"))


def _takes(folder: Path, split: str, models: BodyModels | None) -> list[_Take]:
    subjects = list(_subjects(folder))
    members = _of_split(subjects, split)
    if not members:
        raise CorpusError(
            f"{folder} has {len(subjects)} subjects of Fit3D, too few for split {split!r} (the "
            "last is for test, the one before it for validation)"
        )
    world = _measure(folder)
    left_out = LeftOut(folder, split)
    takes: list[_Take] = []
    total = 0
    for subject in members:
        for path in sorted((subject / "joints3d_25").glob("*.json")):
            total += 1
            try:
                joints = _read_joints(path, world, models)
                takes += _cut(joints, subject, path.stem)
            except ClipError as error:
                left_out.add(f"{subject.name}/{path.stem}", error)
    left_out.tell(total)
    return takes


def _of_split(subjects: list[Path], split: str) -> list[Path]:
    parts = {"train": subjects[:-2], "val": subjects[-2:-1], "test": subjects[-1:]}
    if len(subjects) == 1:
        parts = {"train": subjects}
    return parts.get(split, [])


def _measure(folder: Path) -> _World:
    """Up, and the order of legs and arms, over some recordings of the folder.

    Raises:
        CorpusError: none can be read, or they don't say.
    """
    samples: list[Array] = []
    paths = [path for subject in _subjects(folder) for path in subject.glob("joints3d_25/*.json")]
    for path in sorted(paths)[:: max(1, len(paths) // 24)]:
        try:
            samples.append(_read_25(path)[::5])
        except ClipError:
            continue
    if not samples:
        raise CorpusError(f"{folder} has no joints3d_25 that can be read")
    joints = np.concatenate(samples)
    up = up_axis(joints[:, (3, 6)].mean(1), joints[:, 10])
    legs = first_leg_is_left(joints[:, (1, 4)], joints[:, (2, 5)], joints[:, (3, 6)], up)
    arms = same_side(joints[:, (1, 4)], joints[:, (11, 14)])
    if not legs.is_sure or not arms.is_sure:
        raise CorpusError(
            f"{folder}: it can't be measured which leg of joints3d_25 is the left one (knees say "
            f"left first in {legs}, shoulders are in the order of the hips in {arms})"
        )
    axis = "xyz"[int(np.abs(up).argmax())]
    log.info(
        "%s: up is %s%s; of joints3d_25 the %s leg comes first (%s), the %s arm (%s)",
        folder,
        "-" if up.sum() < 0 else "+",
        axis,
        "left" if legs.answer else "right",
        legs,
        "left" if legs.answer == arms.answer else "right",
        arms,
    )
    return _World(to_y_up(up), legs.answer, legs.answer == arms.answer)


def _read_25(path: Path) -> Array:
    data = load_json(path)
    if not isinstance(data, dict) or "joints3d_25" not in data:
        raise ClipError(f"{path.parent.name}/{path.name} has no joints3d_25")
    try:
        array = np.array(data["joints3d_25"], dtype=float)
    except READ_ERRORS as error:
        raise ClipError(f"{path.parent.name}/{path.name} isn't an array ({error})") from error
    return checked_array(array, "joints3d_25", None, 25, 3)


def _read_joints(path: Path, world: _World, models: BodyModels | None) -> Array:
    """Joints (T, 22, 3) at 50 fps, y up."""
    if models is not None:
        joints = _of_parameters(path.parent.parent / "smplx" / path.name, models)
    else:
        joints = to_22_joints(
            _read_25(path),
            left_first=(world.first_leg_is_left, world.first_arm_is_left),
        )
    turned = (joints @ world.to_y_up.T).astype(np.float32)
    check_motion(turned)
    return turned


def _of_parameters(path: Path, models: BodyModels) -> Array:
    data: dict[str, Any] = load_json(path)
    try:
        count = len(data["transl"])
        matrices = np.concatenate(
            [
                checked_array(
                    np.array(data["global_orient"], float), "global_orient", count, 1, 3, 3
                ),
                checked_array(np.array(data["body_pose"], float), "body_pose", count, 21, 3, 3),
            ],
            axis=1,
        )
        translation = checked_array(np.array(data["transl"], float), "transl", count, 3)
        betas = np.median(np.array(data["betas"], float), axis=0).astype(np.float32)
    except ClipError:
        raise
    except READ_ERRORS as error:
        raise ClipError(
            f"{path.parent.name}/{path.name} has no such parameters ({error})"
        ) from error
    rotations = rot.matrix_to_quaternion(torch.from_numpy(matrices))
    rest = models.rest_joints("smplx", "neutral", betas)
    return pose_body(rest, rotations, torch.from_numpy(translation))


def to_22_joints(joints: Array, *, left_first: tuple[bool, bool]) -> Array:
    """Joints (T, 22, 3) of Fit3D's 25 (T, 25, 3); spine and collars are in between.

    Args:
        joints: metres.
        left_first: whether joints 1 to 3 are the left leg, and 11 to 13 the left arm.
    """
    result = np.zeros((len(joints), 22, 3), np.float32)
    legs = ((1, 2, 3, (17, 18)), (4, 5, 6, (19, 20)))
    arms = ((11, 12, 13), (14, 15, 16))
    left_leg, right_leg = legs if left_first[0] else legs[::-1]
    left_arm, right_arm = arms if left_first[1] else arms[::-1]
    pelvis, spine, thorax = joints[:, 0], joints[:, 7], joints[:, 8]
    result[:, sk.PELVIS], result[:, sk.SPINE2], result[:, sk.NECK] = pelvis, spine, thorax
    result[:, sk.SPINE1] = (pelvis + spine) / 2
    result[:, sk.SPINE3] = (spine + thorax) / 2
    # our head joint is at the top of the neck, Human3.6M's 9 is at the nose, 10 on the skull
    result[:, sk.HEAD] = (thorax + joints[:, 10]) / 2
    for side, (hip, knee, ankle, toes) in ((0, left_leg), (1, right_leg)):
        for target, source in zip(
            (sk.LEFT_HIP, sk.LEFT_KNEE, sk.LEFT_ANKLE), (hip, knee, ankle), strict=True
        ):
            result[:, target + side] = joints[:, source]
        away = np.linalg.norm(joints[:, toes] - joints[:, ankle, None], axis=-1).mean(0)
        result[:, sk.LEFT_FOOT + side] = joints[:, toes[int(away.argmax())]]
    for side, arm in ((0, left_arm), (1, right_arm)):
        result[:, sk.LEFT_COLLAR + side] = 0.6 * result[:, sk.SPINE3] + 0.4 * joints[:, arm[0]]
        for target, source in zip(
            (sk.LEFT_SHOULDER, sk.LEFT_ELBOW, sk.LEFT_WRIST), arm, strict=True
        ):
            result[:, target + side] = joints[:, source]
    return result


def _cut(joints: Array, subject: Path, exercise: str) -> list[_Take]:
    """Clips at 20 fps: the start, and as many whole repetitions as fit into 9.8 s each."""
    words = exercise.replace("_", " ").strip()
    longest = round(CLIP_FRAMES * SOURCE_FPS / FPS)
    marks = _marks(subject / "rep_ann.json", exercise, len(joints), longest)
    spans = [(0, marks[0], f"a person is starting {words}.")] if marks[0] else []
    first = marks[0]
    for before, mark in itertools.pairwise(marks):
        if mark - first > longest and before > first:
            spans.append((first, before, f"a person is performing {words}."))
            first = before
    spans.append((first, marks[-1], f"a person is performing {words}."))
    takes: list[_Take] = []
    for start, stop, caption in spans:
        piece = resampled(joints[start : min(stop, start + longest)], SOURCE_FPS)
        if len(piece) >= MIN_FRAMES:
            name = f"{subject.name}_{exercise}__{start}_{stop}"
            takes.append(_Take(name, piece, caption, subject.name, exercise))
    if not takes:
        raise ClipError("no repetition of it is long enough")
    return takes


def _marks(path: Path, exercise: str, total: int, longest: int) -> list[int]:
    """Boundaries of the repetitions, in frames; even pieces where none are told."""
    data = load_json(path) if path.is_file() else {}
    try:
        marks = sorted({int(mark) for mark in data.get(exercise, ()) if 0 <= int(mark) <= total})
    except (*READ_ERRORS, AttributeError) as error:
        raise ClipError(f"rep_ann.json has no frames for it ({error})") from error
    return marks if len(marks) >= 2 else [*range(0, total, longest), total]
