"""Lifted motion with the keypoints it was lifted from, as one small corpus on disk.

train.txt val.txt test.txt   ids of the clips of each split
index.jsonl                  a row per clip: id, split, captions, performer, lifter, frames ...
clips.npz                    all clips end to end, in the index's order, S frames together:
    teacher (2, 22, 3, S)    lifted joints, 1/1024 m; starts at the origin and faces +z
    truth (2, 22, 3, S)      the same of the true joints, 1/2048 m; only where they are told
    points (2, 22, 2, S)     keypoints of the joints on the plane at depth 1, 1/4096
    confidence (22, S)       1/63
    given_rotation (3, 3, S), given_translation (3, S)          world to camera, metres
    estimated_rotation (3, 3, S), estimated_translation (3, S)
    has_given (N,), has_truth (N,)                              bool

What makes the file small: frames come last; whole numbers are steps from the frame before in 16
bits, zigzagged (0, -1, 1, -2 ... to 0, 1, 2, 3 ...), low and high bytes apart. The
given camera is told in the frame in which the person truly starts at the origin facing +z (where
the truth is not told: the lifted person, put into the camera's world); the estimated one is the
lifter's own, in the frame of the lifted motion.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.motion.camera import Camera
from engine.motion.ray_projection import Sight
from trainer.data.corpus import CorpusError
from trainer.data.layouts import lifted

CLIPS, INDEX, PARTS = "clips.npz", "index.jsonl", "parts"
_UNITS = {"teacher": 1024.0, "truth": 2048.0, "points": 4096.0}
_SURE = 63.0
_CAMERAS = ("given", "estimated")
READ_ERRORS = (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, zlib.error)

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class TeacherClip:
    """One clip: what was lifted, from what, and what it truly was if that is told."""

    clip_id: str
    captions: tuple[str, ...]
    teacher: Tensor  # (T, 22, 3) metres; starts at the origin, faces +z
    truth: Tensor | None
    plane_points: Tensor  # (T, 22, 2)
    confidence: Tensor  # (T, 22)
    given: Camera | None  # (T,) of focal length 1
    estimated: Camera
    row: Mapping[str, Any]

    def sight(self, cameras: str) -> Sight:
        """What was seen, by the "given" or the "estimated" camera.

        Raises:
            CorpusError: the clip has no such camera.
        """
        if cameras not in _CAMERAS:
            raise CorpusError(f"cameras is {cameras!r}, needs one of {', '.join(_CAMERAS)}")
        camera = self.given if cameras == "given" else self.estimated
        if camera is None:
            raise CorpusError(
                f"The camera of clip {self.clip_id} isn't given: train with the estimated ones"
            )
        return Sight(camera=camera, plane_points=self.plane_points, confidence=self.confidence)


def unit_camera(rotation: Tensor, translation: Tensor) -> Camera:
    """A camera (T,) that sees plane points: focal length 1, principal point at the centre."""
    return Camera(
        rotation=rotation,
        translation=translation,
        focal_length=torch.ones(len(rotation)),
        principal_point=torch.zeros(len(rotation), 2),
    )


def write_part(path: Path, clip: TeacherClip) -> None:
    """One clip in a file of its own: what a stopped preparation goes on from."""
    _save(path, {**_arrays(clip), "row": np.array(json.dumps(dict(clip.row)))})


def read_part(path: Path) -> tuple[dict[str, Any], Arrays]:
    """The row and the arrays that write_part wrote.

    Raises:
        CorpusError: the file can't be read.
    """
    try:
        with np.load(path) as file:
            arrays: Arrays = {name: file[name] for name in file.files}
        return json.loads(str(arrays.pop("row"))), arrays
    except READ_ERRORS as error:
        raise CorpusError(f"{path} can't be read: {error}") from error


def pack(folder: Path, splits: Mapping[str, Sequence[str]]) -> int:
    """Join the parts of the clips named, by split, into the corpus; returns how many."""
    rows: list[dict[str, Any]] = []
    parts: list[Arrays] = []
    for split, names in splits.items():
        for name in names:
            row, arrays = read_part(folder / PARTS / f"{name}.npz")
            rows.append({**row, "split": split, "frames": arrays["teacher"].shape[-1]})
            parts.append(arrays)
    if not parts:
        raise CorpusError(f"No clip is left for {folder}")
    whole = {name: np.concatenate([part[name] for part in parts], axis=-1) for name in parts[0]}
    _save(folder / CLIPS, whole)
    for split, names in splits.items():
        (folder / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
    partial = folder / (INDEX + ".partial")
    partial.write_text("".join(json.dumps(row) + "\n" for row in rows))
    partial.replace(folder / INDEX)
    return len(rows)


def load_teacher_clips(folders: Sequence[Path], split: str) -> list[TeacherClip]:
    """A split of one or more prepared corpora.

    Raises:
        CorpusError: a folder holds none, or no clip is left.
    """
    clips = [clip for folder in folders for clip in _load_split(folder, split)]
    if not clips:
        raise CorpusError(f"No clip in split {split!r} of {', '.join(map(str, folders))}")
    return clips


def _load_split(folder: Path, split: str) -> list[TeacherClip]:
    if lifted.is_lifted(folder):  # motions that others have lifted
        return lifted.read_teacher_clips(folder, split)
    return [clip for clip in _load_folder(folder) if clip.row["split"] == split]


def _load_folder(folder: Path) -> list[TeacherClip]:
    if not (folder / CLIPS).is_file() or not (folder / INDEX).is_file():
        raise CorpusError(
            f"{folder} holds no teacher motions: it needs {INDEX} and {CLIPS}, as "
            "`python -m trainer prepare teacher` writes them"
        )
    try:
        rows = [json.loads(line) for line in (folder / INDEX).read_text().splitlines()]
        with np.load(folder / CLIPS) as file:
            arrays: Arrays = {name: file[name] for name in file.files}
        ends = np.cumsum([int(row["frames"]) for row in rows])
        if arrays["teacher"].shape[-1] != (ends[-1] if len(ends) else 0):
            raise ValueError("its frames aren't those of the index")
        return [_clip(row, arrays, k, int(ends[k])) for k, row in enumerate(rows)]
    except READ_ERRORS as error:
        raise CorpusError(f"{folder} can't be read: {error}") from error


def _clip(row: dict[str, Any], arrays: Arrays, number: int, end: int) -> TeacherClip:
    part = slice(end - int(row["frames"]), end)

    def frames(name: str) -> Tensor:
        return _from_steps(arrays[name][..., part], _UNITS[name])

    def camera(kind: str) -> Camera:
        rotation, translation = (
            torch.from_numpy(
                np.ascontiguousarray(np.moveaxis(arrays[f"{kind}_{n}"][..., part], -1, 0))
            )
            for n in ("rotation", "translation")
        )
        return unit_camera(rotation, translation)

    confidence = arrays["confidence"][:, part].T.astype(np.float32) / _SURE
    return TeacherClip(
        clip_id=str(row["id"]),
        captions=tuple(row["captions"]),
        teacher=frames("teacher"),
        truth=frames("truth") if arrays["has_truth"][number] else None,
        plane_points=frames("points"),
        confidence=torch.from_numpy(confidence),
        given=camera("given") if arrays["has_given"][number] else None,
        estimated=camera("estimated"),
        row=row,
    )


def _arrays(clip: TeacherClip) -> Arrays:
    num_frames = len(clip.teacher)
    truth = torch.zeros_like(clip.teacher) if clip.truth is None else clip.truth
    confidence = (clip.confidence.clamp(0, 1) * _SURE).round().numpy().astype(np.uint8)
    arrays: Arrays = {
        "teacher": _to_steps(clip.teacher, _UNITS["teacher"]),
        "truth": _to_steps(truth, _UNITS["truth"]),
        "points": _to_steps(clip.plane_points, _UNITS["points"]),
        "confidence": confidence.T,
        "has_given": np.array([clip.given is not None]),
        "has_truth": np.array([clip.truth is not None]),
    }
    for kind, camera in (("given", clip.given), ("estimated", clip.estimated)):
        told = camera or unit_camera(torch.zeros(num_frames, 3, 3), torch.zeros(num_frames, 3))
        arrays[f"{kind}_rotation"] = np.moveaxis(told.rotation.float().numpy(), 0, -1)
        arrays[f"{kind}_translation"] = np.moveaxis(told.translation.float().numpy(), 0, -1)
    return arrays


def _to_steps(values: Tensor, unit: float) -> NDArray[np.uint8]:
    """Values (T, ...) in whole units as the first and the steps that follow: bytes (2, ..., T)."""
    limit = 32_000
    whole = (values * unit).round().clamp(-limit, limit).numpy().astype(np.int16)
    # steps may wrap round in 16 bits: so does their sum, back to where it was
    steps = np.diff(whole, axis=0, prepend=np.zeros_like(whole[:1])).astype(np.int16)
    zigzag = ((steps << 1) ^ (steps >> 15)).view(np.uint16)
    planes = np.stack((zigzag & 255, zigzag >> 8)).astype(np.uint8)
    return np.ascontiguousarray(np.moveaxis(planes, 1, -1))


def _from_steps(planes: NDArray[np.uint8], unit: float) -> Tensor:
    zigzag = planes[0].astype(np.uint16) | (planes[1].astype(np.uint16) << 8)
    steps = (zigzag >> 1).view(np.int16) ^ -(zigzag & 1).view(np.int16)
    whole = np.cumsum(steps, axis=-1, dtype=np.int16)
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(whole, -1, 0)) / np.float32(unit))


def _save(path: Path, arrays: Arrays) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as stream:
        named: dict[str, Any] = dict(arrays)
        np.savez_compressed(stream, **named)
    partial.replace(path)
