"""Keypoints that another program has found: OpenPose, AlphaPose and COCO files.

OpenPose writes a folder with a JSON file per frame ({"people": [{"pose_keypoints_2d": [...]}]}, 25
points or COCO's 18); AlphaPose and COCO write one JSON list with an entry per person and frame
("image_id", "keypoints", of 17 or 26 points; AlphaPose says who it is in "idx"). Frames go by the
numbers in the names, in the order of the video's frames.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from engine.video.footage import Footage
from engine.video.frames import Span, VideoReader, frame_times
from engine.video.keypoints import Floats, KeypointFileError, distance
from engine.video.tracks import Person

Report = Callable[[int, int], None]

_LAYOUTS = {17: "coco_17", 25: "body_25", 26: "halpe_26", 33: "blazepose_33"}
# OpenPose's 18 points of COCO, as COCO's 17: it has a neck of its own, and another order.
_OPENPOSE_18 = (0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10)
_MAX_JUMP = 0.6  # sizes between two frames
_MAX_GAP = 15  # frames through which somebody is found again
_MIN_FRAMES = 3


def read_keypoints(path: Path, video: Path, span: Span, report: Report) -> Footage:
    """The footage of a video whose keypoints are in files.

    Raises:
        KeypointFileError: the files aren't there, or hold something else.
        VideoError: the video can't be read.
    """
    began = time.perf_counter()
    report(0, 1)
    by_frame = _read_folder(path) if path.is_dir() else _read_list(path)
    if not by_frame:
        raise KeypointFileError(f"{path} has nobody in it, needs keypoints of a person")
    first = min(by_frame)
    all_times = frame_times(video)
    inside = np.flatnonzero((all_times >= span.start - 1e-4) & (all_times < span.stop - 1e-4))
    if len(inside) == 0:
        raise KeypointFileError(f"{video.name} has no frame in the span that was asked for")
    numbering = 1 if first == 1 and max(by_frame) >= len(all_times) else 0
    frames = [by_frame.get(int(index) + numbering, []) for index in inside]
    with VideoReader(video) as reader:
        info = reader.info
    count = next(len(points) for people in by_frame.values() for points, _ in people)
    report(1, 1)
    return Footage(
        info=info,
        span=span,
        times=all_times[inside],
        people=tuple(_follow(frames)),
        layout=_LAYOUTS[count],
        camera=None,
        warnings=(),
        seconds_taken=time.perf_counter() - began,
        detector_share=0.0,
    )


Named = tuple[Floats, int | None]  # keypoints, and who it is where the file says so


def _read_folder(folder: Path) -> dict[int, list[Named]]:
    files = sorted(folder.glob("*.json"))
    if not files:
        raise KeypointFileError(f"{folder} has no .json files, needs one per frame")
    found: dict[int, list[Named]] = {}
    for place, file in enumerate(files):
        values = _load(file)
        if not isinstance(values, dict) or not isinstance(values.get("people"), list):
            raise KeypointFileError(f"{file} has no list of people: it is not OpenPose's")
        numbers = re.findall(r"\d+", file.stem)
        found[int(numbers[-1]) if numbers else place] = [
            (_points(person.get("pose_keypoints_2d"), file), None) for person in values["people"]
        ]
    return found


def _read_list(file: Path) -> dict[int, list[Named]]:
    values = _load(file)
    if isinstance(values, dict):
        values = values.get("annotations")
    if not isinstance(values, list):
        raise KeypointFileError(f"{file} holds no list of people: it is not AlphaPose's or COCO's")
    found: dict[int, list[Named]] = {}
    names: dict[str, int] = {}
    for entry in values:
        if not isinstance(entry, dict) or "image_id" not in entry:
            raise KeypointFileError(f"{file} has an entry without image_id")
        frame = _frame_number(entry["image_id"], names)
        who = entry.get("idx", entry.get("track_id"))
        points = _points(entry.get("keypoints"), file)
        found.setdefault(frame, []).append((points, who if isinstance(who, int) else None))
    return found


def _load(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no JSON"
        raise KeypointFileError(f"{file} can't be read as keypoints ({reason})") from error


def _frame_number(image: object, names: dict[str, int]) -> int:
    if isinstance(image, int):
        return image
    numbers = re.findall(r"\d+", Path(str(image)).stem)
    return int(numbers[-1]) if numbers else names.setdefault(str(image), len(names))


def _points(values: object, file: Path) -> Floats:
    """(K, 3) of the flat list x, y, confidence, …"""
    try:
        points = np.array(values, dtype=np.float32).reshape(-1, 3)
    except (TypeError, ValueError) as error:
        raise KeypointFileError(f"{file} has keypoints that aren't numbers in threes") from error
    if len(points) == 18:
        points = points[list(_OPENPOSE_18)]
    if len(points) not in _LAYOUTS:
        known = ", ".join(str(count) for count in sorted({*_LAYOUTS, 18}))
        raise KeypointFileError(f"{file} has {len(points)} keypoints a person, needs {known}")
    # AlphaPose's and COCO's confidences may be above 1: a visibility of 2 is "seen"
    points[:, 2] = np.clip(points[:, 2], 0.0, 1.0)
    points[~np.isfinite(points).all(-1)] = 0.0
    return points


def _follow(frames: Sequence[Sequence[Named]]) -> Iterable[Person]:
    """Who is who: by the file, or by who is nearest from frame to frame."""
    tracks: list[dict[int, Floats]] = []
    by_name: dict[int, dict[int, Floats]] = {}
    for number, people in enumerate(frames):
        unnamed = [points for points, who in people if who is None]
        for points, who in people:
            if who is not None:
                by_name.setdefault(who, {})[number] = points
        _assign(tracks, unnamed, number)
    kept = [
        one for one in (*tracks, *by_name.values()) if len(one) >= min(_MIN_FRAMES, len(frames))
    ]
    return [_person(one) for one in sorted(kept, key=lambda one: min(one))]


def _assign(tracks: list[dict[int, Floats]], people: Sequence[Floats], number: int) -> None:
    live = [track for track in tracks if number - max(track) <= _MAX_GAP]
    costs = np.array(
        [[distance(track[max(track)], points) for points in people] for track in live]
    ).reshape(len(live), len(people))
    taken: set[int] = set()
    for row, column in zip(*linear_sum_assignment(costs), strict=True):
        if costs[row, column] < _MAX_JUMP:
            live[row][number] = people[column]
            taken.add(int(column))
    tracks += [{number: points} for i, points in enumerate(people) if i not in taken]


def _person(track: Mapping[int, Floats]) -> Person:
    frames = sorted(track)
    keypoints = np.stack([track[frame] for frame in frames])
    return Person(
        frames=np.array(frames, dtype=np.int64),
        keypoints=keypoints,
        presences=keypoints[..., 2].mean(-1),
    )
