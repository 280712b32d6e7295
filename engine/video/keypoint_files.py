"""Keypoints that another program has found: OpenPose, AlphaPose and COCO files.

OpenPose writes a folder with a JSON file per frame ({"people": [{"pose_keypoints_2d": [...]}]}, 25
points or COCO's 18); AlphaPose and COCO write one JSON list with an entry per person and frame
("image_id", "keypoints", of 17 or 26 points; AlphaPose says who it is in "idx"). Of sets with hands
and faces (133, 136 points) the body is read. Frames go by the numbers in the names, in the order of
the video's frames. The video itself is decoded to see how its camera turns.
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

from engine.video.camera_motion import CameraMotion
from engine.video.footage import Footage
from engine.video.frames import Span, VideoReader, frame_times
from engine.video.keypoints import Floats, KeypointFileError, distance
from engine.video.stretches import Person

Report = Callable[[int, int], None]

_LAYOUTS = {17: "coco_17", 25: "body_25", 26: "halpe_26", 33: "blazepose_33"}
# OpenPose's 18 points of COCO, as COCO's 17: it has a neck of its own, and another order.
_OPENPOSE_18 = (0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10)
# Big toes, small toes and heels of COCO's whole body in the order of Halpe's.
_FEET_133 = [17, 20, 18, 21, 19, 22]
_HIDDEN = 0.4  # confidence of a keypoint that COCO marks as hidden
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
    if not any(by_frame.values()):
        raise KeypointFileError(f"{path} has nobody in it, needs keypoints of a person")
    all_times = frame_times(video)
    # a folder has a file per frame, a list only has frames with somebody in them
    starts_at_one = min(by_frame) == 1 and (path.is_dir() or max(by_frame) >= len(all_times))
    if starts_at_one:
        by_frame = {number - 1: people for number, people in by_frame.items()}
    with VideoReader(video) as reader:
        by_frame = _in_pixels(by_frame, reader.info.image_size)
        camera = CameraMotion()
        times: list[float] = []
        frames: list[list[Named]] = []
        expected = ((all_times >= span.start) & (all_times < span.stop)).sum()
        for frame in reader.frames(span):
            report(len(times), max(int(expected), len(times) + 1))
            people = by_frame.get(int(np.abs(all_times - frame.time).argmin()), [])
            shown = [points * (1 / frame.scale, 1 / frame.scale, 1) for points, _ in people]
            camera.see(frame.image, [points.astype(np.float32) for points in shown])
            times.append(frame.time)
            frames.append(people)
        warnings = (*reader.warnings(span), *_unlike(by_frame, len(all_times)))
    if not times:
        raise KeypointFileError(f"{video.name} has no frame in the span that was asked for")
    count = next(len(points) for people in by_frame.values() for points, _ in people)
    return Footage(
        info=reader.info,
        span=span,
        times=np.array(times),
        people=tuple(_follow(frames)),
        layout=_LAYOUTS[count],
        camera=camera,
        warnings=warnings,
        seconds_taken=time.perf_counter() - began,
        detector_share=0.0,
    )


Named = tuple[Floats, int | None]  # keypoints, and who it is where the file says so


def _unlike(by_frame: Mapping[int, Sequence[Named]], num_frames: int) -> tuple[str, ...]:
    """A line for the user if the files seem to be another video's."""
    last = max(by_frame)
    if last < num_frames:
        return ()
    return (
        f"The keypoints go on to frame {last}, the video has {num_frames} frames: are they of this "
        "video, at its frame rate?",
    )


def _in_pixels(
    by_frame: dict[int, list[Named]], image_size: tuple[int, int]
) -> dict[int, list[Named]]:
    """Keypoints in pixels, also where the files have them from 0 to 1."""
    places = [points[points[:, 2] > 0, :2] for people in by_frame.values() for points, _ in people]
    most = max((float(np.abs(one).max()) for one in places if len(one)), default=0.0)
    if most > 2.0:
        return by_frame
    size = np.array((*image_size, 1.0), dtype=np.float32)
    return {
        number: [(points * size, who) for points, who in people]
        for number, people in by_frame.items()
    }


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
    images: dict[object, object] = {}
    if isinstance(values, dict):
        images = {
            image["id"]: image["file_name"]
            for image in values.get("images", [])
            if isinstance(image, dict) and "id" in image and "file_name" in image
        }
        values = values.get("annotations")
    if not isinstance(values, list):
        raise KeypointFileError(f"{file} holds no list of people: it is not AlphaPose's or COCO's")
    found: dict[int, list[Named]] = {}
    names: dict[str, int] = {}
    for entry in values:
        if not isinstance(entry, dict) or "image_id" not in entry:
            raise KeypointFileError(f"{file} has an entry without image_id")
        image = entry["image_id"]
        frame = _frame_number(images.get(image, image), names)
        points = _points(entry.get("keypoints"), file)
        found.setdefault(frame, []).append((points, _who(entry)))
    return found


def _who(entry: Mapping[str, Any]) -> int | None:
    """The number of the person, where the file has one: AlphaPose writes 3, 3.0 or [3.0]."""
    value = entry.get("idx", entry.get("track_id"))
    while isinstance(value, list) and value:
        value = value[0]
    return int(value) if isinstance(value, int | float) and np.isfinite(value) else None


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
    elif len(points) == 136:  # Halpe: body and feet come first
        points = points[:26]
    elif len(points) == 133:  # COCO's whole body; it has no head, neck and hip
        points = np.concatenate((points[:17], np.zeros((3, 3), np.float32), points[_FEET_133]))
    if len(points) not in _LAYOUTS:
        known = ", ".join(str(count) for count in sorted({*_LAYOUTS, 18, 133, 136}))
        raise KeypointFileError(f"{file} has {len(points)} keypoints a person, needs {known}")
    if set(np.unique(points[:, 2])) <= {0.0, 1.0, 2.0} and (points[:, 2] == 2.0).any():
        points[:, 2] = np.where(points[:, 2] == 1.0, _HIDDEN, points[:, 2])  # 1: marked, not seen
    # AlphaPose's confidences may be above 1
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
