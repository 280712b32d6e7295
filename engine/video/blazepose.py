"""BlazePose: two small networks that find a person and the 33 keypoints of the body.

The first finds people in a square picture of 224 pixels: a point between the hips and one that says
how large and how turned the body is. The second reads the keypoints out of the turned square around
a person, 256 pixels wide, and two more points that say where the square of the next frame is. So
the first is needed only to find people, not to follow them.

The weights are two files of the mediapipe wheel (Apache-2.0); its code isn't used. Constants are
those of its graphs (google-ai-edge/mediapipe, mediapipe/modules/pose_detection and pose_landmark).
Source: Bazarevsky et al., BlazePose: On-device Real-time Body Pose Tracking, CVPRW 2020.
"""

from __future__ import annotations

import importlib.metadata
import math
import os
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.video.frames import Image
from engine.video.keypoints import DetectorError, Floats, Region, Sighting, without_doubles

if TYPE_CHECKING:
    import openvino

DETECTOR_FILE = "pose_detection.tflite"
LANDMARK_FILE = "pose_landmark_full.tflite"
_DETECTOR_SIDE, _LANDMARK_SIDE, _HEAT_SIDE = 224, 256, 64
_STRIDES = (8, 16, 32, 32, 32)
_MIN_SCORE = 0.45  # of a detection; the second network has the last word
_OVERLAP = 0.3  # from which two detections are one
_MARGIN = 1.25  # of a region against the body
_MIN_PRESENCE = 0.5  # of somebody newly found
_MIN_FOLLOWED = 0.25  # of somebody who was there a frame ago
_HEAT_REACH = 3  # cells around a keypoint that say where exactly it is
_MIN_HEAT = 0.5
_MAX_PEOPLE = 12
# What is read of the second network: keypoints, presence, heat. Without the outline of the person
# and the points in space it takes a third less time.
_LANDMARK_OUTPUTS = (0, 1, 3)
_AT_ONCE = 2  # people that are read side by side


class BlazePose:
    """The detector that is always there."""

    layout = "blazepose_33"
    num_keypoints = 33
    num_parallel = _AT_ONCE

    def __init__(self, *, num_threads: int | None = None) -> None:
        """Load both networks. They may be asked from several threads.

        Args:
            num_threads: for one question; None: what suits the processor.

        Raises:
            DetectorError: openvino or the files of the networks aren't installed.
        """
        files = weight_files()
        self._detector = _Network(files[DETECTOR_FILE], num_threads)
        self._landmarks = _Network(files[LANDMARK_FILE], num_threads, outputs=_LANDMARK_OUTPUTS)
        self._anchors = _anchors()

    def detect(self, image: Image, *, near: Region | None = None) -> list[Sighting]:
        """The people in an RGB picture (H, W, 3), or only in a square part of it."""
        height, width = image.shape[:2]
        square = near or Region(x=width / 2, y=height / 2, side=float(max(width, height)))
        found: list[Sighting] = []
        for region in self._find(image, square)[:_MAX_PEOPLE]:
            sighting = self._read(image, region)
            if sighting is not None and sighting.presence >= _MIN_PRESENCE:
                found.append(sighting)
        return without_doubles(sorted(found, key=lambda one: -one.presence))

    def follow(self, image: Image, region: Region) -> Sighting | None:
        """The person who was in the region a frame ago; None if nobody is there any more."""
        sighting = self._read(image, region)
        if sighting is None or sighting.presence < _MIN_FOLLOWED:
            return None
        return sighting

    def _find(self, image: Image, square: Region) -> list[Region]:
        """Regions of people, the surest first."""
        cut = _cut(image, square, _DETECTOR_SIDE, fills_edges=False)
        results = self._detector.ask(cut[None] / 127.5 - 1.0)
        boxes, scores = results[0][0], results[1][0, :, 0]
        scores = 1.0 / (1.0 + np.exp(-np.clip(scores, -60.0, 60.0)))
        sure = scores >= _MIN_SCORE
        # four numbers of a box, then x and y of four points; all in pixels from the anchor
        values = boxes[sure] / _DETECTOR_SIDE
        values[:, 0::2] += self._anchors[sure, :1]
        values[:, 1::2] += self._anchors[sure, 1:]
        values[:, 2:4] -= self._anchors[sure]
        corner = np.array((square.x, square.y)) - square.side / 2
        regions: list[Region] = []
        for merged in _merge(values, scores[sure]):
            hips, top = (corner + merged[first : first + 2] * square.side for first in (4, 6))
            regions.append(_region(hips, top))
        return regions

    def _read(self, image: Image, region: Region) -> Sighting | None:
        """The keypoints of whoever is in the region."""
        if not 8.0 < region.side < 20.0 * max(image.shape):
            return None
        cut = _cut(image, region, _LANDMARK_SIDE, fills_edges=True)
        results = self._landmarks.ask(cut[None] / 255.0)
        presence = float(results[1].reshape(-1)[0])
        points = results[0].reshape(39, 5).astype(np.float64)
        if presence < _MIN_FOLLOWED or not np.isfinite(points).all():
            return None
        places = _sharpen(points[:, :2] / _LANDMARK_SIDE, results[2][0])
        places = _to_image(places, region)
        visible = 1.0 / (1.0 + np.exp(-points[:33, 3]))
        return Sighting(
            keypoints=np.column_stack((places[:33], visible)).astype(np.float32),
            presence=presence,
            region=_region(places[33], places[34]),
        )


@cache
def weight_files() -> dict[str, Path]:
    """The networks' files, by name, as the mediapipe wheel has them.

    Raises:
        DetectorError: they aren't installed.
    """
    try:
        listed = importlib.metadata.files("mediapipe") or []
    except importlib.metadata.PackageNotFoundError:
        listed = []
    wanted = (DETECTOR_FILE, LANDMARK_FILE)
    found = {file.name: Path(str(file.locate())) for file in listed if file.name in wanted}
    if missing := [name for name in wanted if name not in found or not found[name].is_file()]:
        raise DetectorError(
            f"The detector's {' and '.join(missing)} aren't installed: "
            "pip install --no-deps mediapipe==0.10.21 has them"
        )
    return found


class _Network:
    """One network, with what each thread needs to ask it."""

    def __init__(
        self, file: Path, num_threads: int | None, *, outputs: Sequence[int] | None = None
    ) -> None:
        self._compiled = _compile(file, num_threads, outputs)
        self._mine = threading.local()
        # Once before threads ask at once: OpenVINO's first look at an array sets up numpy's C
        # interface under a lock that knows nothing of Python's own, and two can wait for ever.
        self.ask(np.zeros(tuple(self._compiled.input(0).shape), dtype=np.float32))

    def ask(self, values: Floats) -> list[Floats]:
        """The outputs for one picture (1, H, W, 3)."""
        if not hasattr(self._mine, "request"):
            self._mine.request = self._compiled.create_infer_request()
        request: Any = self._mine.request
        request.infer([values])
        # copies: the next question overwrites what the request holds
        return [np.array(tensor.data) for tensor in request.output_tensors]


def _compile(
    file: Path, num_threads: int | None, outputs: Sequence[int] | None
) -> openvino.CompiledModel:
    try:
        import openvino
    except ImportError as error:
        raise DetectorError("Video needs the package openvino: pip install openvino") from error
    each = num_threads or max(1, (os.cpu_count() or 2) // (2 * _AT_ONCE))
    settings: dict[str, Any] = {
        # float32 by name: on processors with bfloat16 the default is off by several pixels
        "INFERENCE_PRECISION_HINT": "f32",
        "NUM_STREAMS": _AT_ONCE,
        "INFERENCE_NUM_THREADS": _AT_ONCE * each,
    }
    core = openvino.Core()
    model = core.read_model(str(file))
    if outputs is not None:
        results = model.get_results()
        make_model: Any = openvino.Model
        model = make_model([results[index] for index in outputs], model.get_parameters())
    return core.compile_model(model, "CPU", settings)


def _anchors() -> NDArray[np.float64]:
    """Middles (2254, 2) of the detector's cells in its picture, 0 to 1: two per cell and layer."""
    parts: list[NDArray[np.float64]] = []
    for stride in sorted(set(_STRIDES)):
        count = _DETECTOR_SIDE // stride
        middles = (np.arange(count) + 0.5) / count
        grid = np.stack(np.meshgrid(middles, middles), axis=-1).reshape(-1, 2)
        parts.append(np.repeat(grid, 2 * _STRIDES.count(stride), axis=0))
    return np.concatenate(parts)


def _merge(values: NDArray[np.float64], scores: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Detections (N, 12) of one person become their mean, weighed by score; the surest first."""
    order = np.argsort(-scores, kind="stable")
    values, scores = values[order], scores[order]
    merged: list[NDArray[np.float64]] = []
    while len(values):
        same = _overlaps(values[0], values) > _OVERLAP
        same[0] = True
        merged.append(np.average(values[same], axis=0, weights=scores[same]))
        values, scores = values[~same], scores[~same]
    return merged


def _overlaps(one: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shared area over joint area of boxes (centre x, y, width, height)."""
    low = np.maximum(one[:2] - one[2:4] / 2, others[:, :2] - others[:, 2:4] / 2)
    high = np.minimum(one[:2] + one[2:4] / 2, others[:, :2] + others[:, 2:4] / 2)
    shared = np.clip(high - low, 0.0, None).prod(-1)
    joint = one[2:4].prod() + others[:, 2:4].prod(-1) - shared
    return shared / np.maximum(joint, 1e-9)


def _region(middle: NDArray[np.float64], top: NDArray[np.float64]) -> Region:
    """The square around a body by its middle and the point that says how large it is, and how
    far it leans."""
    along = top - middle
    return Region(
        x=float(middle[0]),
        y=float(middle[1]),
        side=2.0 * _MARGIN * float(np.hypot(*along)),
        angle=math.atan2(float(along[0]), -float(along[1])),
    )


def _cut(image: Image, region: Region, side: int, *, fills_edges: bool) -> Floats:
    """The region as an upright picture (side, side, 3), 0 to 255."""
    import cv2

    scale = region.side / side
    cos, sin = math.cos(region.angle) * scale, math.sin(region.angle) * scale
    half = side / 2 - 0.5
    to_image = np.array(
        (
            (cos, -sin, region.x - 0.5 - half * (cos - sin)),
            (sin, cos, region.y - 0.5 - half * (sin + cos)),
        )
    )
    cut = cv2.warpAffine(
        image,
        to_image,
        (side, side),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE if fills_edges else cv2.BORDER_CONSTANT,
    )
    return np.asarray(cut, dtype=np.float32)


def _to_image(places: NDArray[np.float64], region: Region) -> NDArray[np.float64]:
    """Places (N, 2), 0 to 1 in the region's picture, in pixels of the whole."""
    away = (places - 0.5) * region.side
    cos, sin = math.cos(region.angle), math.sin(region.angle)
    x = region.x + away[:, 0] * cos - away[:, 1] * sin
    y = region.y + away[:, 0] * sin + away[:, 1] * cos
    return np.stack((x, y), axis=-1)


def _sharpen(places: NDArray[np.float64], heat: Floats) -> NDArray[np.float64]:
    """Places (N, 2), 0 to 1, moved to the middle of the heat (64, 64, N) around them."""
    cells = np.floor(places * _HEAT_SIDE).astype(np.int64)
    is_inside = ((cells >= 0) & (cells < _HEAT_SIDE)).all(-1)
    around = np.arange(-_HEAT_REACH, _HEAT_REACH + 1)
    columns, rows = cells[:, :1] + around, cells[:, 1:] + around  # (N, 7)
    is_heat = _within(rows)[:, :, None] & _within(columns)[:, None]
    read = heat[
        rows.clip(0, _HEAT_SIDE - 1)[:, :, None],
        columns.clip(0, _HEAT_SIDE - 1)[:, None],
        np.arange(len(places))[:, None, None],
    ]
    part = is_heat / (1.0 + np.exp(-read.astype(np.float64)))  # (N, 7, 7)
    is_hot = is_inside & (part.max((1, 2)) >= _MIN_HEAT)
    total = np.maximum(part.sum((1, 2)), 1e-9)
    x = (part * columns[:, None]).sum((1, 2)) / total
    y = (part * rows[:, :, None]).sum((1, 2)) / total
    return np.where(is_hot[:, None], np.stack((x, y), axis=-1) / _HEAT_SIDE, places)


def _within(cells: NDArray[np.int64]) -> NDArray[np.bool_]:
    return (cells >= 0) & (cells < _HEAT_SIDE)
