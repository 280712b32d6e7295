"""Lifted motion with the keypoints it was lifted from, as one small corpus on disk.

train.txt val.txt test.txt   ids of the clips of each split
index.jsonl                  a row per clip: id, split, captions, performer, lifter, frames ...
clips.npz                    all clips end to end, in the index's order, S frames together:
    teacher (S, 22, 3)       lifted joints, 1/2048 m; starts at the origin and faces +z
    truth (S, 22, 3)         the same of the true joints; only where they are told
    points (S, 22, 2)        keypoints of the joints on the plane at depth 1, 1/8192
    confidence (S, 22)       1/255
    given_rotation (S, 3, 3), given_translation (S, 3)          world to camera, metres
    estimated_rotation (S, 3, 3), estimated_translation (S, 3)
    has_given (N,), has_truth (N,)                              bool

Whole numbers are steps from the frame before, in 16 bits, which is what makes the file small. The
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

CLIPS, INDEX, PARTS = "clips.npz", "index.jsonl", "parts"
_JOINT_UNIT, _POINT_UNIT, _SURE = 2048.0, 8192.0, 255.0
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
            rows.append({**row, "split": split, "frames": len(arrays["teacher"])})
            parts.append(arrays)
    if not parts:
        raise CorpusError(f"No clip is left for {folder}")
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
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
    clips = [clip for folder in folders for clip in _load_folder(folder) if _is_in(clip, split)]
    if not clips:
        raise CorpusError(f"No clip in split {split!r} of {', '.join(map(str, folders))}")
    return clips


def _is_in(clip: TeacherClip, split: str) -> bool:
    return clip.row["split"] == split


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
        if len(arrays["teacher"]) != (ends[-1] if len(ends) else 0):
            raise ValueError("its frames aren't those of the index")
        return [_clip(row, arrays, k, int(ends[k])) for k, row in enumerate(rows)]
    except READ_ERRORS as error:
        raise CorpusError(f"{folder} can't be read: {error}") from error


def _clip(row: dict[str, Any], arrays: Arrays, number: int, end: int) -> TeacherClip:
    part = slice(end - int(row["frames"]), end)

    def camera(kind: str) -> Camera:
        rotation, translation = (arrays[f"{kind}_{n}"][part] for n in ("rotation", "translation"))
        return unit_camera(torch.from_numpy(rotation), torch.from_numpy(translation))

    return TeacherClip(
        clip_id=str(row["id"]),
        captions=tuple(row["captions"]),
        teacher=_from_steps(arrays["teacher"][part], _JOINT_UNIT),
        truth=_from_steps(arrays["truth"][part], _JOINT_UNIT)
        if arrays["has_truth"][number]
        else None,
        plane_points=_from_steps(arrays["points"][part], _POINT_UNIT),
        confidence=torch.from_numpy(arrays["confidence"][part].astype(np.float32) / _SURE),
        given=camera("given") if arrays["has_given"][number] else None,
        estimated=camera("estimated"),
        row=row,
    )


def _arrays(clip: TeacherClip) -> Arrays:
    num_frames = len(clip.teacher)
    truth = torch.zeros_like(clip.teacher) if clip.truth is None else clip.truth
    arrays: Arrays = {
        "teacher": _to_steps(clip.teacher, _JOINT_UNIT),
        "truth": _to_steps(truth, _JOINT_UNIT),
        "points": _to_steps(clip.plane_points, _POINT_UNIT),
        "confidence": (clip.confidence.clamp(0, 1) * _SURE).round().numpy().astype(np.uint8),
        "has_given": np.array([clip.given is not None]),
        "has_truth": np.array([clip.truth is not None]),
    }
    for kind, camera in (("given", clip.given), ("estimated", clip.estimated)):
        told = camera or unit_camera(torch.zeros(num_frames, 3, 3), torch.zeros(num_frames, 3))
        arrays[f"{kind}_rotation"] = told.rotation.float().contiguous().numpy()
        arrays[f"{kind}_translation"] = told.translation.float().contiguous().numpy()
    return arrays


def _to_steps(values: Tensor, unit: float) -> NDArray[np.int16]:
    """Values (T, ...) in whole units as the first and the steps that follow."""
    limit = 32_000
    whole = (values * unit).round().clamp(-limit, limit).numpy().astype(np.int16)
    # steps may wrap round in 16 bits: so does their sum, back to where it was
    return np.concatenate([whole[:1], np.diff(whole, axis=0)]).astype(np.int16)


def _from_steps(steps: NDArray[np.int16], unit: float) -> Tensor:
    whole = np.cumsum(steps, axis=0, dtype=np.int16)
    return torch.from_numpy(whole.astype(np.float32) / unit)


def _save(path: Path, arrays: Arrays) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as stream:
        named: dict[str, Any] = dict(arrays)
        np.savez_compressed(stream, **named)
    partial.replace(path)
