"""A captioned clip of motion, and how files that may be damaged are read.

Readers of all layouts give these; a clip that can't be read is named, left out and counted, so
that it can't stop a run that has gone on for hours.
"""

from __future__ import annotations

import json
import logging
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from engine.motion.camera import Camera

log = logging.getLogger(__name__)

FPS = 20.0
MIN_FRAMES = 12
_LEAST_SEEN = 6  # keypoints of a frame in which a person counts as seen
_FARTHEST = 1_000.0  # metres from the origin: no clip of a person goes there
# what numpy, json and zip raise for files that are cut off, empty, garbled or of another kind
READ_ERRORS = (
    OSError,
    ValueError,
    TypeError,
    EOFError,
    KeyError,
    IndexError,
    zipfile.BadZipFile,
    zlib.error,
)


class CorpusError(Exception):
    """A folder that isn't a corpus, or one with nothing in the split that was asked for."""


class ClipError(ValueError):
    """One clip that can't be used; says why."""


class Captioned(Protocol):
    """Anything that captions tell of."""

    @property
    def captions(self) -> tuple[str, ...]:
        """One or more."""
        ...


@dataclass(frozen=True, kw_only=True)
class Clip:
    """A stretch of motion with its captions, on the built-in skeleton at 20 fps."""

    clip_id: str  # mirrored clips start with M
    joints: NDArray[np.float32]  # (T, 22, 3) metres, on the floor
    captions: tuple[str, ...]
    source: str = ""
    licence: str = ""
    performer: str = ""  # who was recorded, where the corpus says so

    @property
    def is_mirrored(self) -> bool:
        """Whether this is the mirror image of a recorded clip."""
        return self.clip_id.startswith("M")


@dataclass(frozen=True, kw_only=True)
class View:
    """One clip of 2D keypoints, as a camera saw it."""

    view_id: str
    captions: tuple[str, ...]
    fps: float
    keypoints: Tensor  # (T, 22, 3) image units and confidence
    camera: Camera  # (T,)
    extent: Tensor  # (2,) half width and half height of the image, image units
    joints: Tensor | None  # (T, 22, 3) metres, or None where the truth is not told
    row: dict[str, Any]  # what the index says of it
    teacher: Tensor | None = None  # (T, 22, 3) metres: a lifter's motion, where there is one

    @property
    def num_seen(self) -> int:
        """Frames in which enough keypoints are seen to tell that somebody is there."""
        return int(((self.keypoints[..., 2] > 0).sum(-1) >= _LEAST_SEEN).sum())


class LeftOut:
    """Names the clips of a folder that are left out, and counts them."""

    def __init__(self, folder: Path, split: str) -> None:
        self._folder, self._split = folder, split
        self.names: set[str] = set()

    def add(self, name: str, reason: object) -> None:
        """Say that a clip is left out, and why."""
        self.names.add(name)
        log.warning("Left out clip %s: %s", name, _one_line(reason))

    def tell(self, total: int) -> None:
        """The count, where any were left out."""
        if self.names:
            log.warning(
                "%s: left out %d of the %d clips of split %r",
                self._folder,
                len(self.names),
                total,
                self._split,
            )


def load_array(path: Path, *shape: int | None) -> NDArray[np.float32]:
    """A .npy file of finite numbers with that shape (None: any length).

    Raises:
        ClipError: it can't be read, or holds something else.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise ClipError(f"{path.parent.name}/{path.name} is missing") from None
    except READ_ERRORS as error:
        raise ClipError(f"{path.parent.name}/{path.name} can't be read ({error})") from error
    if not isinstance(array, np.ndarray):
        raise ClipError(f"{path.parent.name}/{path.name} isn't one array")
    return checked_array(array, f"{path.parent.name}/{path.name}", *shape)


def checked_array(array: NDArray[Any], name: str, *shape: int | None) -> NDArray[np.float32]:
    """The array in float32, if it has that shape (None: any length) and its numbers are finite.

    Raises:
        ClipError: it hasn't.
    """
    wanted = "(" + ", ".join("T" if n is None else str(n) for n in shape) + ")"
    fits = len(array.shape) == len(shape) and all(
        n is None or n == found for n, found in zip(shape, array.shape, strict=True)
    )
    if not fits or array.dtype.kind not in "fiub":
        raise ClipError(f"{name} has shape {array.shape} of {array.dtype}, needs {wanted} numbers")
    numbers = array.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise ClipError(f"{name} has numbers that aren't finite")
    return numbers


def load_json(path: Path) -> Any:
    """A JSON file.

    Raises:
        ClipError: it is missing or can't be read.
    """
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise ClipError(f"{path.parent.name}/{path.name} is missing") from None
    except READ_ERRORS as error:
        raise ClipError(f"{path.parent.name}/{path.name} can't be read ({error})") from error


def check_motion(joints: NDArray[np.float32]) -> None:
    """Joints (T, 22, 3) are those of a person who is somewhere.

    Raises:
        ClipError: too short, a body of no size, or one that is beyond any stage.
    """
    if len(joints) < MIN_FRAMES:
        raise ClipError(f"{len(joints)} frames, needs {MIN_FRAMES}")
    if np.abs(joints).max() > _FARTHEST:
        raise ClipError(f"a joint is {np.abs(joints).max():.3g} m away: these can't be metres")
    legs = np.linalg.norm(joints[:, (4, 5)] - joints[:, (1, 2)], axis=-1)
    if legs.min() < 0.02:
        raise ClipError("a thigh has no length in some frame")


def resampled(values: NDArray[np.float32], fps: float) -> NDArray[np.float32]:
    """Values (T, ...) at `fps` as they are at 20 frames per second, straight between frames.

    Raises:
        ClipError: the rate isn't one.
    """
    if not 1.0 <= fps <= 1000.0:
        raise ClipError(f"the frame rate is {fps}")
    if fps == FPS:
        return values
    count = int((len(values) - 1) * FPS / fps + 1e-6) + 1
    times = np.arange(count) * (fps / FPS)
    before = np.minimum(times.astype(np.int64), max(0, len(values) - 2))
    part = (times - before).reshape(-1, *(1,) * (values.ndim - 1))
    after = np.minimum(before + 1, len(values) - 1)
    return (values[before] * (1 - part) + values[after] * part).astype(np.float32)


def _one_line(reason: object) -> str:
    return " ".join(str(reason).split())
