"""How far samples are from the training clips: a model must not be its training set's memory.

A motion is cut into windows of two seconds. Every frame is moved to the origin and turned to
face +z, so a copy is found wherever it walks and whichever way it faces. Of each window the
nearest one in all training clips is searched; a motion's distance is the mean over its windows
of the mean joint distance, so a patchwork of copied pieces counts as a copy too. The same figure
of real test clips says how far new motion is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from engine.motion.representation import estimate_heading, rotate_by_heading
from trainer.data.corpus import Clip

Array = NDArray[np.float32]

WINDOW_FRAMES = 40  # 2 s at 20 fps
KEY_FRAMES = np.arange(0, WINDOW_FRAMES, 6)  # that the search compares
STRIDE = 4  # frames between the starts of training windows
NUM_CANDIDATES = 12  # windows that are then compared frame by frame, each STRIDE around its start


@dataclass(frozen=True, kw_only=True)
class Nearest:
    """The training window that is nearest to a window of a motion."""

    distance: float  # metres, mean over joints and frames of the whole motion's windows
    window_distance: float  # metres, of the window below, the nearest of the motion's
    start: int  # first frame of that window in the motion
    clip: int  # index of the training clip
    clip_start: int


class TrainingIndex:
    """Windows of training clips, searched by the distance of their key frames."""

    def __init__(self, clips: Sequence[Clip]) -> None:
        self.poses = [facing_poses(clip.joints) for clip in clips]
        windows: list[Array] = []
        places: list[tuple[int, int]] = []
        for index, poses in enumerate(self.poses):
            for start in range(0, max(1, len(poses) - WINDOW_FRAMES + 1), STRIDE):
                windows.append(_window(poses, start)[KEY_FRAMES].reshape(-1))
                places.append((index, start))
        self.windows = np.stack(windows)
        self.places = np.array(places)
        self.squares = (self.windows**2).sum(1)

    def nearest(self, joints: Array) -> Nearest:
        """Search all windows of a motion (T, 22, 3)."""
        poses = facing_poses(joints)
        last = max(0, len(poses) - WINDOW_FRAMES)
        starts = sorted({*range(0, last + 1, WINDOW_FRAMES), last})
        found = [(*self._nearest_window(_window(poses, start)), start) for start in starts]
        best = min(found, key=lambda item: item[0])
        return Nearest(
            distance=float(np.mean([distance for distance, *_ in found])),
            window_distance=best[0],
            start=best[3],
            clip=best[1],
            clip_start=best[2],
        )

    def _nearest_window(self, window: Array) -> tuple[float, int, int]:
        query = window[KEY_FRAMES].reshape(-1)
        scores = self.squares - 2 * self.windows @ query
        count = min(NUM_CANDIDATES, len(scores))
        best = (float("inf"), 0, 0)
        for candidate in np.argpartition(scores, count - 1)[:count]:
            clip, start = self.places[candidate]
            for shifted in range(max(0, start - STRIDE + 1), start + STRIDE):
                other = _window(self.poses[clip], int(shifted))
                distance = float(np.linalg.norm(window - other, axis=-1).mean())
                best = min(best, (distance, int(clip), int(shifted)))
        return best


def facing_poses(joints: Array) -> Array:
    """Every frame (T, 22, 3) above the origin, facing +z; heights stay."""
    positions = torch.as_tensor(joints, dtype=torch.float32)
    heading = estimate_heading(positions)
    ground = positions[:, :1] * positions.new_tensor([1.0, 0.0, 1.0])
    return rotate_by_heading(positions - ground, -heading[:, None]).numpy()


def _window(poses: Array, start: int) -> Array:
    """Frames from start on; a clip that ends before holds its last frame."""
    frames = np.minimum(np.arange(start, start + WINDOW_FRAMES), len(poses) - 1)
    return poses[frames]
