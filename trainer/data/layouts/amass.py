"""AMASS: motion capture as parameters of SMPL-H or SMPL-X, one .npz per recording.

DATASET/SUBJECT/NAME_poses.npz     SMPL-H release
    poses (T, 156): axis-angle of 52 joints, the first 22 ours; trans (T, 3) metres, z up;
    betas (16,); gender; mocap_framerate; dmpls (T, 8), not read
DATASET/SUBJECT/NAME_stageii.npz   SMPL-X release
    poses (T, 165) of 55 joints, the first 22 ours; trans, betas, gender;
    mocap_frame_rate; surface_model_type
shape.npz, *_stagei.npz            shapes without motion, not read

Captions aren't part of AMASS. They come from the first of these that the folder has:

    index.csv and texts/    HumanML3D's: source_path, start_frame, end_frame, new_name. Frames are
                            at 20 fps, counted after the first seconds that it cuts off some sets
    captions.csv            ours: path (from the folder, without .npz), caption, start, end
                            (seconds; may be left out for the whole)

and else from the words of the file's name. Long recordings are cut into clips of 9.8 s.
Splits are by subject (a checksum of DATASET/SUBJECT: one in twenty for validation, two for test).

Source: amass.is.tue.mpg.de and github.com/nghorbani/amass (notebooks, README);
github.com/EricGuo5513/HumanML3D, raw_pose_processing.ipynb, for index.csv and what is cut off.
"""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray

from engine.motion import rotations as rot
from trainer.data.clip import (
    FPS,
    READ_ERRORS,
    Clip,
    ClipError,
    CorpusError,
    LeftOut,
    check_motion,
    checked_array,
    resampled,
)
from trainer.data.layouts.body_models import VARIABLE, BodyModels, pose_body
from trainer.data.layouts.captions import read_captions
from trainer.data.layouts.humanml3d import captioned_parts
from trainer.data.uniform_skeleton import measure_source, to_uniform_skeleton

LICENCE = "AMASS: non-commercial scientific research (amass.is.tue.mpg.de/license.html)"
PATTERNS = ("*_poses.npz", "*_stageii.npz")
CLIP_FRAMES = 196
# seconds that HumanML3D cuts off the start of a set's recordings (T-poses and calibration)
_CUT_OFF = {
    "Eyes_Japan_Dataset": 3.0,
    "MPI_HDM05": 3.0,
    "TotalCapture": 1.0,
    "MPI_Limits": 1.0,
    "Transitions_mocap": 0.5,
}
_Z_UP_TO_Y_UP = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], np.float32)


@dataclass(frozen=True)
class _Take:
    """A stretch of a recording with captions: what becomes a clip."""

    name: str
    recording: Path  # from the folder
    start: int  # frames at 20 fps
    stop: int | None
    captions: tuple[str, ...]
    texts: Path | None = None  # a caption file, instead of captions


def is_amass(folder: Path) -> bool:
    """Whether the folder has this layout."""
    return next(_recordings(folder), None) is not None


def split_of(recording: Path) -> str:
    """The split of a recording, by its subject."""
    number = crc32(recording.parent.as_posix().encode()) % 20
    return "val" if number == 0 else "test" if number < 3 else "train"


def read_clips(folder: Path, split: str, models: BodyModels | None) -> list[Clip]:
    """The clips of a split, on the built-in skeleton.

    Raises:
        CorpusError: no body models are given, or a table of captions is damaged.
    """
    if models is None:
        raise CorpusError(
            f"{folder} is AMASS, which needs body models: name the folder of yours in "
            f"{VARIABLE} (or with --body-models in `trainer prepare motion`)"
        )
    takes = [take for take in _takes(folder) if split_of(take.recording) == split]
    left_out = LeftOut(folder, split)
    found: list[tuple[_Take, NDArray[np.float32]]] = []
    for recording, members in itertools.groupby(takes, key=lambda take: take.recording):
        try:
            joints = read_recording(folder / recording, models)
        except ClipError as error:
            left_out.add(recording.as_posix(), error)
            continue
        for take in members:
            found += [(part, piece) for part, piece in _cut(take, joints, left_out)]
    constants = measure_source([joints for _, joints in found]) if found else None
    clips: list[Clip] = []
    for take, joints in found:
        assert constants is not None
        clip = Clip(
            clip_id=take.name,
            joints=to_uniform_skeleton(joints, constants).astype(np.float32),
            captions=take.captions,
            source="amass",
            licence=LICENCE,
            performer=take.recording.parent.as_posix(),
        )
        try:
            clips += (
                [clip] if take.texts is None else captioned_parts(clip, read_captions(take.texts))
            )
        except ClipError as error:
            left_out.add(take.name, error)
    left_out.tell(len({take.recording for take in takes}))
    return clips


def read_recording(path: Path, models: BodyModels) -> NDArray[np.float32]:
    """Joints (T, 22, 3) of a recording in metres at 20 fps, y up.

    Raises:
        ClipError: it can't be read, or there is no model for it.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        kind = "smplx" if path.name.endswith("_stageii.npz") else "smplh"
        rate = float(
            arrays["mocap_frame_rate" if "mocap_frame_rate" in arrays else "mocap_framerate"]
        )
        gender = _text(arrays["gender"])
        poses = checked_array(arrays["poses"][:, :66], "poses", None, 66)
        translation = checked_array(arrays["trans"], "trans", len(poses), 3)
        betas = checked_array(arrays["betas"].reshape(-1), "betas", None)
    except ClipError:
        raise
    except READ_ERRORS as error:
        raise ClipError(f"can't be read ({error})") from error
    if not len(poses):
        raise ClipError("it has no frames")
    turns = torch.from_numpy(poses).unflatten(-1, (22, 3))
    rotations = rot.axis_angle_to_quaternion(turns)
    rest = models.rest_joints(kind, gender, betas)
    joints = pose_body(rest, rotations, torch.from_numpy(translation)) @ _Z_UP_TO_Y_UP.T
    return resampled(joints, rate)


def _text(value: NDArray[np.generic]) -> str:
    """A string that was stored as bytes, as text or in an array of either."""
    item = value.reshape(-1)[0]
    text = item.decode() if isinstance(item, bytes) else str(item)
    return text.lower().strip("b'\"")


def _recordings(folder: Path) -> Iterator[Path]:
    for pattern in PATTERNS:
        yield from folder.glob(f"*/*/{pattern}")
        yield from folder.glob(f"*/{pattern}")


def _takes(folder: Path) -> list[_Take]:
    if (folder / "index.csv").is_file():
        return _takes_of_index(folder)
    if (folder / "captions.csv").is_file():
        return _takes_of_table(folder)
    return [
        _Take(_name(path), path, 0, None, (_words(path),))
        for path in sorted(found.relative_to(folder) for found in _recordings(folder))
    ]


def _takes_of_index(folder: Path) -> list[_Take]:
    takes: list[_Take] = []
    for row in _rows(folder / "index.csv", ("source_path", "start_frame", "end_frame", "new_name")):
        source = Path(row["source_path"].removeprefix("./").removeprefix("pose_data/"))
        recording = _existing(folder, source.with_suffix(".npz"))
        if recording is None:  # a set that the user doesn't have, or not AMASS (humanact12)
            continue
        skipped = next((s for part, s in _CUT_OFF.items() if part in source.parts), 0.0)
        first = round(skipped * FPS)
        name = Path(row["new_name"]).stem
        start, stop = first + int(row["start_frame"]), first + int(row["end_frame"])
        texts = folder / "texts" / f"{name}.txt"
        takes.append(_Take(name, recording, start, stop, (), texts))
    return sorted(takes, key=lambda take: (take.recording, take.start))


def _existing(folder: Path, recording: Path) -> Path | None:
    """The recording under the name of either release."""
    stem = recording.name.removesuffix("_poses.npz")
    names = (recording, recording.with_name(f"{stem}_stageii.npz"))
    return next((name for name in names if (folder / name).is_file()), None)


def _takes_of_table(folder: Path) -> list[_Take]:
    takes: list[_Take] = []
    for number, row in enumerate(_rows(folder / "captions.csv", ("path", "caption"))):
        recording = Path(row["path"]).with_suffix(".npz")
        start = round(float(row.get("start") or 0) * FPS)
        stop = round(float(row["end"]) * FPS) if row.get("end") else None
        name = f"{_name(recording)}-{number}"
        takes.append(_Take(name, recording, start, stop, (row["caption"],)))
    return sorted(takes, key=lambda take: (take.recording, take.start))


def _rows(path: Path, needed: tuple[str, ...]) -> list[dict[str, str]]:
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise CorpusError(f"{path} can't be read: {error}") from error
    missing = [name for name in needed if rows and name not in rows[0]]
    if missing or not rows:
        raise CorpusError(f"{path} has no column {', '.join(missing or needed)}, or no rows")
    return rows


def _cut(
    take: _Take, joints: NDArray[np.float32], left_out: LeftOut
) -> list[tuple[_Take, NDArray[np.float32]]]:
    """The take's frames, in pieces of at most 9.8 s where its caption is about all of it."""
    frames = joints[take.start : take.stop]
    pieces: list[tuple[_Take, NDArray[np.float32]]] = []
    step = len(frames) or 1 if take.texts is not None else CLIP_FRAMES
    for number, start in enumerate(range(0, max(1, len(frames)), step)):
        piece = frames[start : start + step]
        name = take.name if number == 0 else f"{take.name}-{number}"
        try:
            check_motion(piece)
        except ClipError as error:
            if number == 0:
                left_out.add(name, error)
            continue
        pieces.append((_Take(name, take.recording, 0, None, take.captions, take.texts), piece))
    return pieces


def _name(recording: Path) -> str:
    """DATASET-SUBJECT-NAME of a recording; never starting with M, which means mirrored."""
    stem = re.sub(r"(_poses|_stageii)$", "", recording.with_suffix("").as_posix())
    return "amass-" + re.sub(r"[^A-Za-z0-9]+", "-", stem)


def _words(recording: Path) -> str:
    """The file's name as a caption: "walk_turn_left02_poses" becomes "walk turn left"."""
    stem = re.sub(r"(_poses|_stageii)$", "", recording.stem)
    words = re.sub(r"[^A-Za-z]+", " ", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", stem))
    return words.lower().strip() or "a person moves"
