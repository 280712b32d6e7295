"""2D keypoint clips on disk: what a camera saw of a person, one .npz per clip.

train.txt val.txt test.txt   ids of the clips of each split
index.jsonl                  a row per clip: id, split, source clip, captions, performer, licence
views/ID.npz                 keypoints (T, 22, 3): image units and confidence, in the joints' order
                             rotation (T, 3, 3), translation (T, 3): world to camera
                             focal_length (T,), principal_point (T, 2): image units
                             extent (2,): half width and half height of the image, image units
                             fps ()
                             joints (T, 22, 3): the true motion, metres; only where asked for

Image units are those of engine.motion.camera: half the longer side, y down.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from engine.motion.camera import Camera
from engine.motion.keypoint_layout import keypoints_of_pose
from engine.motion.skeleton import HEAD
from trainer.data.clip import FPS, READ_ERRORS, Clip, ClipError, CorpusError, LeftOut, View
from trainer.data.detector_noise import NoiseSettings, body_offsets, detect, image_heights
from trainer.data.pose_bank import PoseBank, Windows
from trainer.data.virtual_views import ViewSettings, sample_cameras


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Windows as a camera and a detector give them. Leading axes (B, T)."""

    keypoints: Tensor  # (B, T, 22, 3) image units and confidence
    exact: Tensor  # (B, T, 22, 2) where a perfect detector would see its points
    camera: Camera
    extents: Tensor  # (B, 2)


def look(
    windows: Windows, views: ViewSettings, noise: NoiseSettings, generator: torch.Generator
) -> Seen:
    """See windows by a camera each, and detect keypoints."""
    camera, extents = sample_cameras(windows.joints, windows.mask, views, generator)
    offsets = body_offsets(windows.global_rotations, noise, generator)
    on_body = keypoints_of_pose(windows.joints, windows.global_rotations[:, :, HEAD], offsets)
    points, depths = camera.project(on_body)
    heights = image_heights(depths[..., 0], camera.focal_length)
    keypoints = detect(points, heights, extents, noise, generator)
    # what is after a clip's end was never seen
    keypoints = keypoints * windows.mask[..., None, None]
    return Seen(keypoints=keypoints, exact=points, camera=camera, extents=extents)


def clip_generator(seed: int, name: str) -> torch.Generator:
    """A generator of a clip's own: what others are there changes nothing."""
    return torch.Generator().manual_seed(seed * 1_000_003 + crc32(name.encode()))


def write_views(
    clips: Mapping[str, Sequence[Clip]],
    folder: Path,
    *,
    count: int,
    seed: int,
    settings: tuple[ViewSettings, NoiseSettings],
    with_truth: bool = False,
    report: Callable[[], object] = lambda: None,
) -> int:
    """Write `count` views of every clip of every split; returns how many. Calls report for each."""
    (folder / "views").mkdir(parents=True, exist_ok=True)
    rows: list[str] = []
    for split, members in clips.items():
        names: list[str] = []
        bank = PoseBank(members)
        for number, (name, clip) in enumerate(zip(_names(members), members, strict=True)):
            for view in range(count):
                view_id = f"{name}-c{view}"
                windows = bank.whole(number)
                seen = look(windows, *settings, clip_generator(seed, view_id))
                joints = windows.joints[0] if with_truth else None
                _write_view(folder / "views" / f"{view_id}.npz", seen, joints)
                names.append(view_id)
                rows.append(json.dumps(_row(view_id, split, clip)))
                report()
        write_text(folder / f"{split}.txt", "\n".join(names) + "\n")
    write_text(folder / "index.jsonl", "\n".join(rows) + "\n")
    return len(rows)


def copy_views(
    views: Mapping[str, Iterable[View]], folder: Path, report: Callable[[], object] = lambda: None
) -> int:
    """Write views that were read from another layout, by split; returns how many."""
    (folder / "views").mkdir(parents=True, exist_ok=True)
    rows: list[str] = []
    for split, members in views.items():
        names: list[str] = []
        for view in members:
            camera = view.camera
            arrays = {
                "keypoints": view.keypoints,
                "rotation": camera.rotation,
                "translation": camera.translation,
                "focal_length": camera.focal_length,
                "principal_point": camera.principal_point,
                "extent": view.extent,
                "fps": torch.tensor(view.fps),
            }
            if view.joints is not None:
                arrays["joints"] = view.joints
            save_view(folder / "views" / f"{view.view_id}.npz", arrays)
            names.append(view.view_id)
            row = {**view.row, "id": view.view_id, "split": split, "captions": list(view.captions)}
            rows.append(json.dumps(row))
            report()
        write_text(folder / f"{split}.txt", "".join(f"{name}\n" for name in names))
    write_text(folder / "index.jsonl", "".join(f"{row}\n" for row in rows))
    return len(rows)


def read_views(folder: Path, split: str) -> Iterator[View]:
    """The clips of a split; one that can't be read is named, left out and counted.

    Raises:
        CorpusError: the folder is no corpus of views.
    """
    index = folder / "index.jsonl"
    if not (folder / f"{split}.txt").is_file() or not index.is_file():
        found = sorted(other.stem for other in folder.glob("*.txt")) or ["none"]
        raise CorpusError(
            f"{folder} is no corpus of views: it needs index.jsonl and {split}.txt (lists found: "
            f"{', '.join(found)})"
        )
    try:
        rows = {row["id"]: row for row in map(json.loads, index.read_text().splitlines())}
    except READ_ERRORS as error:
        raise CorpusError(f"{index} can't be read: {error}") from error
    names = (folder / f"{split}.txt").read_text().split()
    left_out = LeftOut(folder, split)
    for view_id in names:
        try:
            yield _read_view(folder / "views" / f"{view_id}.npz", rows[view_id])
        except READ_ERRORS as error:
            left_out.add(view_id, error)
    left_out.tell(len(names))


def _names(clips: Sequence[Clip]) -> list[str]:
    """The clips' ids; captioned parts of one recording are numbered."""
    seen: dict[str, int] = {}
    names: list[str] = []
    for clip in clips:
        number = seen.get(clip.clip_id, 0)
        seen[clip.clip_id] = number + 1
        names.append(clip.clip_id if number == 0 else f"{clip.clip_id}-part{number}")
    return names


def _row(view_id: str, split: str, clip: Clip) -> dict[str, Any]:
    return {
        "id": view_id,
        "split": split,
        "clip": clip.clip_id,
        "captions": list(clip.captions),
        "source": clip.source,
        "performer": clip.performer,
        "licence": clip.licence,
    }


def _write_view(path: Path, seen: Seen, joints: Tensor | None) -> None:
    camera = seen.camera
    arrays = {
        "keypoints": seen.keypoints[0],
        "rotation": camera.rotation[0],
        "translation": camera.translation[0],
        "focal_length": camera.focal_length[0],
        "principal_point": camera.principal_point[0],
        "extent": seen.extents[0],
        "fps": torch.tensor(FPS),
    }
    if joints is not None:
        arrays["joints"] = joints
    save_view(path, arrays)


def save_view(path: Path, arrays: Mapping[str, Tensor]) -> None:
    """Write one clip, under a temporary name until it is whole."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as stream:
        named: dict[str, Any] = {n: a.float().numpy() for n, a in arrays.items()}
        np.savez_compressed(stream, **named)
    partial.replace(path)


def _read_view(path: Path, row: dict[str, Any]) -> View:
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: torch.from_numpy(file[name]) for name in file.files}
    frames = len(arrays["keypoints"])
    shapes = {"keypoints": (frames, 22, 3), "rotation": (frames, 3, 3), "joints": (frames, 22, 3)}
    for name, array in arrays.items():
        if not array.isfinite().all() or array.shape != shapes.get(name, array.shape):
            raise ClipError(f"{name} has shape {tuple(array.shape)}, or numbers that aren't finite")
    return View(
        view_id=row["id"],
        captions=tuple(row["captions"]),
        fps=float(arrays["fps"]),
        keypoints=arrays["keypoints"],
        camera=Camera(
            rotation=arrays["rotation"],
            translation=arrays["translation"],
            focal_length=arrays["focal_length"],
            principal_point=arrays["principal_point"],
        ),
        extent=arrays["extent"],
        joints=arrays.get("joints"),
        row=row,
    )


def write_text(path: Path, text: str) -> None:
    """Write a file of lines, under a temporary name until it is whole."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    partial.replace(path)
