"""A corpus of 2D keypoint clips made of videos: files, and what a killed preparation goes on from.

It has the layout of trainer.data.views_corpus. Besides, parts/ID.json says of each video what was
read of it: started again, the videos that have theirs aren't read again, unless the file or how it
is to be read has changed. Captions and splits may change: they are only in the index.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from engine import __version__
from engine.capture_job import make_detector
from engine.video.keypoints import KeypointDetector
from trainer.data.clip import READ_ERRORS
from trainer.data.video_sources import SPLITS, VideoSource
from trainer.data.video_views import ClipSettings, MadeVideo, read_video
from trainer.data.views_corpus import save_view, write_text

PARTS = "parts"
_SHARE_TOLD = 0.01  # of a video, between two reports


@dataclass(frozen=True, kw_only=True)
class VideoWork:
    """What a worker needs to read one video."""

    source: VideoSource
    settings: ClipSettings


@dataclass(frozen=True, kw_only=True)
class VideoPart:
    """What is known of a video that was looked at."""

    rows: tuple[dict[str, Any], ...]  # of its clips, without split
    left_out: tuple[str, ...]
    notes: tuple[str, ...]
    seconds: float
    error: str = ""  # why it couldn't be read


def read_work(work: VideoWork, report: Any) -> MadeVideo:
    """The task that is spread: read a video, by the detector that this process has."""
    told = 0.0

    def tell(share: float) -> None:
        nonlocal told
        if share >= told + _SHARE_TOLD:
            told = share
            report(share)

    return read_video(work.source, work.settings, _detector(work.settings.detector), tell)


@cache
def _detector(name: str) -> KeypointDetector:
    import cv2

    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    if name == "blazepose":
        from engine.video.blazepose import BlazePose

        return BlazePose(num_threads=1)
    return make_detector(name)


def fingerprint(work: VideoWork) -> str:
    """Changes with the file, with which parts of it are read, and with how."""
    try:
        status = work.source.path.stat()
        size, changed = status.st_size, status.st_mtime_ns
    except OSError:  # it has gone since it was found
        size, changed = -1, -1
    told = {
        "version": __version__,
        "size": size,
        "changed": changed,
        "spans": [(part.start, part.end) for part in work.source.parts],
        "settings": asdict(work.settings),
    }
    return sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:32]


def known_part(folder: Path, work: VideoWork) -> VideoPart | None:
    """What an earlier preparation has read of the video; None: it must be read."""
    path = folder / PARTS / f"{work.source.video_id}.json"
    try:
        told: dict[str, Any] = json.loads(path.read_text())
        if told.pop("fingerprint") != fingerprint(work):
            return None
        part = VideoPart(
            rows=tuple(told["rows"]),
            left_out=tuple(told["left_out"]),
            notes=tuple(told["notes"]),
            seconds=float(told["seconds"]),
            error=str(told["error"]),
        )
        files = [folder / "views" / f"{row['id']}.npz" for row in part.rows]
    except READ_ERRORS:
        return None
    return part if all(file.is_file() for file in files) else None


def keep_part(folder: Path, work: VideoWork, made: MadeVideo | str) -> VideoPart:
    """Write the clips of a video, then what is known of it; a text says why there is nothing."""
    for name in ("views", PARTS):
        (folder / name).mkdir(parents=True, exist_ok=True)
    video_id = work.source.video_id
    if isinstance(made, str):
        part = VideoPart(rows=(), left_out=(), notes=(), seconds=0.0, error=made)
    else:
        rows: list[dict[str, Any]] = []
        for number, clip in enumerate(made.clips):
            view_id = f"{video_id}-{number:02d}"
            arrays = {name: torch.from_numpy(array) for name, array in clip.arrays.items()}
            save_view(folder / "views" / f"{view_id}.npz", arrays)
            rows.append({"id": view_id, **clip.row})
        part = VideoPart(
            rows=tuple(rows), left_out=made.left_out, notes=made.notes, seconds=made.seconds
        )
    told = {**asdict(part), "fingerprint": fingerprint(work)}
    write_text(folder / PARTS / f"{video_id}.json", json.dumps(told, indent=1) + "\n")
    return part


def write_index(folder: Path, done: Sequence[tuple[VideoSource, VideoPart]]) -> dict[str, int]:
    """Lists of the splits and the index; returns how many clips each split has.

    Views that belong to no clip any more are removed.
    """
    rows: list[dict[str, Any]] = []
    for source, part in done:
        for row in part.rows:
            said = list(source.parts[row["part"]].captions)
            own = {name: value for name, value in row.items() if name != "part"}
            rows.append({"id": row["id"], "split": source.split, "captions": said, **own})
    names = {split: [row["id"] for row in rows if row["split"] == split] for split in SPLITS}
    for split, members in names.items():
        write_text(folder / f"{split}.txt", "".join(f"{name}\n" for name in members))
    kept = {row["id"] for row in rows}
    for path in (folder / "views").glob("v-*.npz"):
        if path.stem not in kept:
            path.unlink()
    write_text(folder / "index.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return {split: len(members) for split, members in names.items()}
