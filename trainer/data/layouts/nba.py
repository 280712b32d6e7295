"""The MAS NBA set: 2D tracks of basketball players, 16 keypoints by AlphaPose.

motions/NAME.npy   (T, 16, 3) x, y and confidence of each keypoint, 60 fps

The order of the keypoints: pelvis, right leg (hip, knee, ankle), left leg, neck, nose, head, one
arm (shoulder, elbow, wrist), the other arm. MAS's list calls the arm of 10 to 12 the left one,
VideoMDM's calls it the right one. The rest isn't written down at all, so it is measured on the
user's files, and said when they are read:

- which way y goes: the head is above the ankles;
- which arm is on the side of which leg: shoulders stand over the hips of their side;
- which leg is the left one: knees bend forwards (trainer.data.layouts.axes), which tells from
  cameras that look down, as these do; where it doesn't tell, the legs are as named above;
- the unit: image units are half the spread of all points of the set.

`sides` overrules what is measured: "named" keeps MAS's list, "swapped" turns it round.

Points with confidence under 0.3 are taken for unseen. MAS takes the first tenth of the files for
test, in the order in which the file system lists them; here names are sorted, the first tenth is
for test, the next twentieth for validation. Nothing tells the cameras: the one given stands level,
7 m away (MAS's distance), and `row["camera"]` is "unknown". There are no captions either: all are
"a person is playing basketball.", as in VideoMDM.

Source: github.com/roykapon/MAS, data_loaders/base_dataset.py (folder, splits, confidence),
data_loaders/nba/dataset.py and config.py (60 fps, 0.3, distance 7), data_loaders/nba/skeleton.py
(order); VideoMDM's data_loaders/humanml/utils/alphapose_paramUtils.py (order).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.motion.camera import DEFAULT_FOCAL_LENGTH, Camera
from engine.motion.keypoint_layout import to_joint_keypoints
from trainer.data.clip import FPS, MIN_FRAMES, ClipError, CorpusError, LeftOut, View, load_array
from trainer.data.layouts.axes import (
    Measured,
    count_votes,
    first_leg_is_left_in_images,
    same_side,
)

log = logging.getLogger(__name__)

SOURCE_FPS = 60.0
LEAST_CONFIDENCE = 0.3
CAPTION = "a person is playing basketball."
DISTANCE = 7.0  # metres
SIDES = ("measured", "named", "swapped")
_SAMPLED = 200  # files that the conventions are measured on
_FIRST_LEG, _SECOND_LEG = (1, 2, 3), (4, 5, 6)
_FIRST_ARM, _SECOND_ARM = (10, 11, 12), (13, 14, 15)

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Conventions:
    """What is measured on the files of a set."""

    is_y_up: bool
    first_leg_is_left: bool  # of keypoints 1 to 3
    first_arm_is_left: bool  # of keypoints 10 to 12
    middle: Array  # (2,)
    half: float  # in the files' unit


def is_nba(folder: Path) -> bool:
    """Whether the folder has this layout."""
    for path in (folder / "motions").glob("*.npy"):
        try:
            load_array(path, None, 16, 3)
        except ClipError:
            continue
        return True
    return False


def read_views(folder: Path, split: str, *, sides: str = "measured") -> Iterator[View]:
    """The clips of a split.

    Args:
        sides: one of SIDES.

    Raises:
        CorpusError: there is no such split, or no file can be read.
    """
    names = _of_split(sorted(path.stem for path in (folder / "motions").glob("*.npy")), split)
    if not names:
        raise CorpusError(f"{folder} has too few files for split {split!r}")
    conventions = measure_conventions(folder, sides=sides)
    left_out = LeftOut(folder, split)
    for name in names:
        try:
            view = _read_view(folder / "motions" / f"{name}.npy", conventions, split)
        except ClipError as error:
            left_out.add(name, error)
            continue
        yield view
    left_out.tell(len(names))


def measure_conventions(folder: Path, *, sides: str = "measured") -> Conventions:
    """Measure what the set doesn't say, and log it.

    Raises:
        CorpusError: no file can be read, or y can't be told.
        ValueError: sides isn't one of SIDES.
    """
    if sides not in SIDES:
        raise ValueError(f"sides is {sides!r}, needs one of {', '.join(SIDES)}")
    points = _sample(folder)
    spread = points[np.isfinite(points).all(-1)]
    low, high = np.percentile(spread, 1, axis=0), np.percentile(spread, 99, axis=0)
    upwards = count_votes(points[:, 9, 1] - points[:, (3, 6), 1].mean(1, dtype=np.float32))
    if not upwards.is_sure:
        raise CorpusError(f"{folder}: heads aren't above ankles nor below ({upwards})")
    up: Array = points * np.array([1.0, 1.0 if upwards.answer else -1.0], np.float32)
    hips, knees, ankles = (up[:, pair] for pair in ((1, 4), (2, 5), (3, 6)))
    legs = first_leg_is_left_in_images(hips, knees, ankles)
    arms = same_side(hips, up[:, (10, 13)])
    first_leg_is_left = legs.answer if legs.is_sure else False
    # where the shoulders don't tell, as MAS has it: 10 to 12 is the left arm
    first_arm_is_left = arms.answer == first_leg_is_left if arms.is_sure else True
    if sides != "measured":
        first_leg_is_left, first_arm_is_left = sides == "swapped", sides == "named"
    _tell(folder, sides, (upwards, legs, arms), (first_leg_is_left, first_arm_is_left))
    return Conventions(
        is_y_up=upwards.answer,
        first_leg_is_left=first_leg_is_left,
        first_arm_is_left=first_arm_is_left,
        middle=((low + high) / 2).astype(np.float32),
        half=float((high - low).max() / 2) or 1.0,
    )


def _tell(
    folder: Path,
    sides: str,
    found: tuple[Measured, Measured, Measured],
    chosen: tuple[bool, bool],
) -> None:
    upwards, legs, arms = found
    log.info(
        "%s: y points %s (%s); keypoints 1 to 3 are the %s leg (knees say left: %s%s), 10 to 12 "
        "the %s arm (over the hips of their order: %s%s)%s",
        folder,
        "up" if upwards.answer else "down",
        upwards,
        "left" if chosen[0] else "right",
        legs,
        "" if legs.is_sure else ", which doesn't tell",
        "left" if chosen[1] else "right",
        arms,
        "" if arms.is_sure else ", which doesn't tell",
        "" if sides == "measured" else f"; as asked: {sides}",
    )


def _of_split(names: Sequence[str], split: str) -> list[str]:
    tests = int(len(names) * 0.1)
    held_out = max(1, int(len(names) * 0.05)) if len(names) > 2 else 0
    bounds = {
        "test": (0, tests),
        "val": (tests, tests + held_out),
        "train": (tests + held_out, len(names)),
    }
    start, stop = bounds.get(split, (0, 0))
    return list(names[start:stop])


def _sample(folder: Path) -> Array:
    """Points (N, 16, 2) of some files at 6 per second; not a number where unseen.

    Raises:
        CorpusError: none can be read.
    """
    paths = sorted((folder / "motions").glob("*.npy"))
    samples: list[Array] = []
    for path in paths[:: max(1, len(paths) // _SAMPLED)]:
        try:
            found = load_array(path, None, 16, 3)[::10]
        except ClipError:
            continue
        is_seen = found[..., 2:] >= LEAST_CONFIDENCE
        samples.append(np.where(is_seen, found[..., :2], np.nan).astype(np.float32))
    if not samples:
        raise CorpusError(f"{folder}/motions has no file that can be read")
    return np.concatenate(samples)


def _read_view(path: Path, conventions: Conventions, split: str) -> View:
    found = load_array(path, None, 16, 3)[:: round(SOURCE_FPS / FPS)]
    if len(found) < MIN_FRAMES:
        raise ClipError(f"{len(found)} frames at 20 fps, needs {MIN_FRAMES}")
    keypoints = to_joint_keypoints(torch.from_numpy(in_image_units(found, conventions)), "nba_16")
    name = path.stem
    return View(
        view_id=name,
        captions=(CAPTION,),
        fps=FPS,
        keypoints=keypoints,
        camera=_level_camera(keypoints),
        extent=torch.ones(2),
        joints=None,
        row={"id": name, "split": split, "clip": name, "source": "nba", "camera": "unknown"},
    )


def in_image_units(keypoints: Array, conventions: Conventions) -> Array:
    """Keypoints (T, 16, 3) with y down, in image units, the first leg and arm the right ones."""
    points = (keypoints[..., :2] - conventions.middle) / conventions.half
    points = points * np.array([1.0, -1.0 if conventions.is_y_up else 1.0], np.float32)
    confidence = keypoints[..., 2:]
    is_seen = confidence >= LEAST_CONFIDENCE
    result = np.concatenate([points, confidence], axis=-1) * is_seen
    order = list(range(16))
    if conventions.first_leg_is_left:
        order[1:4], order[4:7] = _SECOND_LEG, _FIRST_LEG
    if conventions.first_arm_is_left:
        order[10:13], order[13:16] = _SECOND_ARM, _FIRST_ARM
    return result[:, order].astype(np.float32)


def _level_camera(keypoints: Tensor) -> Camera:
    """A camera (T,) that stands level before the origin."""
    frames = len(keypoints)
    ahead = torch.tensor([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0], [0.0, 0.0, -1.0]])
    return Camera(
        rotation=ahead.expand(frames, 3, 3),
        translation=torch.tensor([0.0, 0.0, DISTANCE]).expand(frames, 3),
        focal_length=torch.full((frames,), DEFAULT_FOCAL_LENGTH),
        principal_point=torch.zeros(frames, 2),
    )
