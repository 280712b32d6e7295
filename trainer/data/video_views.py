"""People of a video as clips of 2D keypoints at 20 frames a second, in the layout of views.

Each person of a shot gives stretches in which they are seen; a stretch gives clips of the length
that training takes. What can't be learned from is left out, with the reason. A camera that turns is
taken along, frame by frame; one that zooms or travels can't be told from the picture alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp

from engine.motion.camera import DEFAULT_FOCAL_LENGTH, pixels_to_units
from engine.motion.keypoint_layout import to_joint_keypoints
from engine.video.cleaning import body_size, clean
from engine.video.footage import frame_rate, on_clock
from engine.video.frames import Span, VideoInfo
from engine.video.keypoints import KeypointDetector
from engine.video.stretches import Person, largest
from trainer.data.corpus import FPS
from trainer.data.video_shots import Shot, watch_shots
from trainer.data.video_sources import VideoSource

Floats = NDArray[np.float32]

_SEEN_POINTS, _SEEN_CONFIDENCE = 6, 0.2  # keypoints of a frame in which somebody counts as seen
_LONGEST_GAP = 8  # frames through which a stretch goes on unseen
_LEAST_SEEN_SHARE = 0.85  # of a clip's frames
_LEAST_HEIGHT = 48  # pixels
_LEAST_FPS = 8.0
_MOST_GROWTH = 1.25  # of the background within a clip
_Y_UP = np.diag((1.0, -1.0, -1.0))  # from a camera's axes to a world with y up


@dataclass(frozen=True, kw_only=True)
class ClipSettings:
    """How videos become clips. Frames are counted at 20 a second."""

    people: str = "largest"
    detector: str = "blazepose"
    least_frames: int = 40
    most_frames: int = 196

    def __post_init__(self) -> None:
        if self.people not in ("largest", "all"):
            raise ValueError(f"people is {self.people!r}, needs largest or all")
        if not 12 <= self.least_frames <= self.most_frames // 2 or self.most_frames > 196:
            raise ValueError(
                f"frames of a clip are {self.least_frames} to {self.most_frames}: needs 12 or "
                "more, at most 196, and the most at least twice the least"
            )


@dataclass(frozen=True, kw_only=True)
class MadeClip:
    """One clip: the arrays of a view, and its row of the index but for id and split."""

    arrays: dict[str, Floats]
    row: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class MadeVideo:
    """All that a video gave."""

    clips: tuple[MadeClip, ...]
    left_out: tuple[str, ...]  # reasons, each with what it is about
    notes: tuple[str, ...]  # of the file
    seconds: float  # that were looked at


def read_video(
    source: VideoSource,
    settings: ClipSettings,
    detector: KeypointDetector,
    report: Callable[[float], object],
) -> MadeVideo:
    """The clips of all captioned parts of a video.

    report is told which share of the video is done.

    Raises:
        VideoError: the video can't be read.
    """
    clips: list[MadeClip] = []
    left_out: list[str] = []
    notes: dict[str, None] = {}
    seconds = 0.0
    for number, part in enumerate(source.parts):
        length = None if part.end is None else part.end - part.start
        info, shots, told = watch_shots(
            source.path,
            Span(start=part.start, seconds=length),
            detector,
            lambda share, number=number: report((number + share) / len(source.parts)),
        )
        notes |= dict.fromkeys(told)
        seconds += float(shots[-1].times[-1]) - part.start
        for shot in shots:
            for made in _clips_of_shot(shot, info, detector.layout, settings):
                if isinstance(made, str):
                    left_out.append(f"{_when(shot)}: {made}")
                else:
                    clips.append(_said(made, source, number))
    return MadeVideo(
        clips=tuple(clips), left_out=tuple(left_out), notes=tuple(notes), seconds=seconds
    )


def _clips_of_shot(
    shot: Shot, info: VideoInfo, layout: str, settings: ClipSettings
) -> Iterator[MadeClip | str]:
    fps = frame_rate(shot.times, info.fps)
    seconds = float(shot.times[-1] - shot.times[0]) + 1 / fps
    if seconds * FPS < settings.least_frames - 1:
        yield f"lasts {seconds:.1f} s, needs {settings.least_frames / FPS:g}"
        return
    if fps < _LEAST_FPS:
        yield f"has {fps:g} frames a second, needs {_LEAST_FPS:g}"
        return
    if not shot.people:
        yield "nobody was found"
        return
    chosen = range(len(shot.people))
    if settings.people == "largest":
        chosen = (largest(shot.people),)
    for number in chosen:
        seen = _Seen.of(shot, shot.people[number], info, layout, fps)
        for made in seen.clips(settings):
            if isinstance(made, str):
                yield f"person {number} {made}"
            else:
                made.row["person"] = number
                yield made


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """One person of a shot on the clock of training, T frames."""

    keypoints: Floats  # (T, 22, 3) image units and confidence
    clock: NDArray[np.float64]  # (T,) seconds
    height: float  # pixels
    turns: NDArray[np.float64] | None  # (T, 3, 3) of the camera
    growth: NDArray[np.float64]  # (T,) of the background
    info: VideoInfo
    focal: float  # image units

    @classmethod
    def of(cls, shot: Shot, person: Person, info: VideoInfo, layout: str, fps: float) -> _Seen:
        times = shot.times
        raw = person.dense(len(times))
        cleaned = clean(raw, layout, info.image_size, fps).keypoints
        joints = to_joint_keypoints(torch.from_numpy(cleaned), layout)
        places = pixels_to_units(joints[..., :2], info.image_size) * (joints[..., 2:] > 0)
        whole = torch.cat((places, joints[..., 2:]), dim=-1).numpy()
        count = int((float(times[-1] - times[0]) + 0.5 / fps) * FPS) + 1
        clock = np.minimum(times[0] + np.arange(count) / FPS, times[-1])
        half = max(info.image_size) / 2
        focal = DEFAULT_FOCAL_LENGTH if info.focal_length is None else info.focal_length / half
        turns = shot.camera.rotations(focal, fps) if len(times) > 2 else None
        if turns is not None:
            turns = Slerp(times, Rotation.from_matrix(turns))(clock).as_matrix()
        return cls(
            keypoints=on_clock(whole, times, clock),
            clock=clock,
            height=body_size(raw[person.frames]),
            turns=turns,
            growth=np.interp(clock, times, shot.camera.growth()),
            info=info,
            focal=focal,
        )

    def clips(self, settings: ClipSettings) -> Iterator[MadeClip | str]:
        """Clips of all stretches, or why a stretch gives none."""
        if self.height < _LEAST_HEIGHT:
            yield f"is {self.height:.0f} pixels high, needs {_LEAST_HEIGHT}"
            return
        for first, stop in self._stretches():
            if stop - first < settings.least_frames:
                yield (
                    f"is seen for {(stop - first) / FPS:.1f} s at {self.clock[first]:.1f} s, "
                    f"needs {settings.least_frames / FPS:g}"
                )
                continue
            count = -(-(stop - first) // settings.most_frames)
            edges = np.linspace(first, stop, count + 1).round().astype(int)
            for start, end in pairwise(edges.tolist()):
                yield self._clip(start, end)

    def _is_seen(self) -> NDArray[np.bool_]:
        sure: NDArray[np.bool_] = self.keypoints[..., 2] > _SEEN_CONFIDENCE
        return sure.sum(-1) >= _SEEN_POINTS

    def _stretches(self) -> list[tuple[int, int]]:
        """First and past-the-last frames between which gaps are short."""
        frames = np.flatnonzero(self._is_seen())
        if len(frames) == 0:
            return []
        breaks = np.flatnonzero(np.diff(frames) > _LONGEST_GAP + 1)
        firsts = [frames[0], *frames[breaks + 1]]
        lasts = [*frames[breaks], frames[-1]]
        return [(int(a), int(b) + 1) for a, b in zip(firsts, lasts, strict=True)]

    def _clip(self, first: int, stop: int) -> MadeClip | str:
        frames = slice(first, stop)
        at = f"at {self.clock[first]:.1f} s"
        share = float(self._is_seen()[frames].mean())
        if share < _LEAST_SEEN_SHARE:
            return (
                f"is hardly seen {at}: in {share:.0%} of the frames, needs {_LEAST_SEEN_SHARE:.0%}"
            )
        growth = self.growth[frames]
        change = float(growth.max() / max(float(growth.min()), 1e-6))
        if change > _MOST_GROWTH:
            return (
                f"isn't used {at}: the camera zooms or travels (the background changes its size "
                f"by a factor of {change:.2f})"
            )
        count = stop - first
        turns = np.eye(3)[None].repeat(count, 0)
        is_moving = self.turns is not None
        if self.turns is not None:
            turns = self.turns[frames] @ self.turns[first].T
        width, height = self.info.image_size
        arrays: dict[str, NDArray[Any]] = {
            "keypoints": self.keypoints[frames],
            "rotation": turns @ _Y_UP,
            "translation": np.zeros((count, 3)),
            "focal_length": np.full(count, self.focal),
            "principal_point": np.zeros((count, 2)),
            "extent": np.array((width, height)) / max(width, height),
            "fps": np.array(FPS),
        }
        row = {
            "start": round(float(self.clock[first]), 3),
            "end": round(float(self.clock[stop - 1]), 3),
            "camera": "estimated",
            "is_camera_moving": is_moving,
            "focal_length": "assumed" if self.info.focal_length is None else "told",
            "seen": round(share, 3),
        }
        return MadeClip(arrays={n: a.astype(np.float32) for n, a in arrays.items()}, row=row)


def _said(made: MadeClip, source: VideoSource, number: int) -> MadeClip:
    row = {
        "clip": source.video_id,
        "part": number,  # of the video, by which captions are found
        "source": "video",
        "video": source.name,
        "performer": "",
        "licence": "",
    }
    return MadeClip(arrays=made.arrays, row={**row, **made.row})


def _when(shot: Shot) -> str:
    return f"{shot.times[0]:.1f} to {shot.times[-1]:.1f} s"
