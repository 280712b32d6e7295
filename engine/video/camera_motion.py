"""How the camera turns, from what stands still in the background.

Corners around the people are followed from frame to frame; most of them stand still in the world,
so what they do together is the camera's doing. Each frame is laid over the last key frame, not over
the frame before: small errors don't add up. Turns from key frame to key frame follow each other, so
that a camera may turn all the way round. Corners are looked for where they would be if the camera
turned on as before: a fast pan moves them further than they could be found from where they were. A
camera that stands on a tripod, or in a hand that hardly moves, is taken for one that stands still.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation, Slerp

from engine.video.frames import Image
from engine.video.keypoints import Floats, extent

_SIDE = 480  # pixels of the longer side of the picture that is looked at
_CORNERS = 300
_MIN_CORNERS = 40  # left over of a key frame, and a new one is taken
_MIN_SHARE = 0.4
_MARGIN = 0.15  # sizes around a person that aren't background
_STILL = 0.006  # of the longer side: a camera that never strays further stands still
_SMOOTHING_SECONDS = 0.02
_MAX_BLIND = 5  # frames without a background through which the camera goes on as before


class CameraMotion:
    """Watches the background. Give it the frames in order, then ask for `rotations`."""

    def __init__(self, *, every: int = 1) -> None:
        """Begin a video. Only one frame of `every` is looked at, and the last one: a camera has
        no time to do much in between if frames follow each other fast."""
        self._every = every
        self._num_frames = 0
        self._seen: list[int] = []  # numbers of the frames that were looked at
        self._waiting: tuple[Image, Sequence[Floats]] | None = None
        self._overlays: list[NDArray[np.float64]] = []  # from the first frame, (3, 3) in units
        self._steps: list[tuple[int, NDArray[np.float64]]] = []  # from key frame; its number, units
        self._key, self._key_number = np.eye(3), 0
        self._drift = np.eye(3)  # of a frame over the one before, in units
        self._num_blind = 0
        self._key_points: NDArray[np.float32] | None = None
        self._points: NDArray[np.float32] | None = None
        self._before: NDArray[np.uint8] | None = None
        self._count = 0  # corners of the key frame

    def see(self, image: Image, people: Sequence[Floats]) -> None:
        """Take the next frame, with the keypoints of the people in it."""
        self._num_frames += 1
        self._waiting = (image, people)
        if self._num_frames % self._every == 1 % self._every:
            self.finish()

    def finish(self) -> None:
        """Look at the last frame, if that has been left out."""
        if self._waiting is None:
            return
        image, people = self._waiting
        self._waiting = None
        self._seen.append(self._num_frames - 1)
        self._look(image, people)

    def _look(self, image: Image, people: Sequence[Floats]) -> None:
        import cv2

        scale = min(1.0, _SIDE / max(image.shape[:2]))
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        if scale < 1.0:
            grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        here = np.asarray(grey, dtype=np.uint8)
        boxes = [np.array(extent(points)) * scale for points in people]
        step = self._lay_over(here)
        if step is None:
            step = self._blind_step()
            self._begin(here, boxes, step)
        else:
            self._num_blind = 0
            if self._is_worn():
                self._begin(here, boxes, step)
            else:
                self._goes_on(step)
        self._before = here

    def _goes_on(self, step: NDArray[np.float64]) -> None:
        overlay = step @ self._key
        if self._overlays:
            self._drift = overlay @ np.linalg.inv(self._overlays[-1])
        self._overlays.append(overlay)
        self._steps.append((self._key_number, step))

    def _blind_step(self) -> NDArray[np.float64]:
        """From the key frame to this one, where nothing tells."""
        if not self._steps:
            return np.eye(3)
        self._num_blind += 1
        if self._num_blind > _MAX_BLIND:
            self._drift = np.eye(3)
        number, last = self._steps[-1]
        return self._drift @ last if number == self._key_number else self._drift

    def rotations(self, focal_length: float, fps: float) -> NDArray[np.float32] | None:
        """From the axes of the first frame's camera to each frame's, (T, 3, 3); None if it stands.

        focal_length is in units of half the longer side, fps that of all frames.
        """
        self.finish()
        overlays = np.stack(self._overlays) if self._overlays else np.eye(3)[None]
        if len(overlays) < 3:
            return None
        corners = np.array([(x, y, 1.0) for x in (-0.6, 0.0, 0.6) for y in (-0.3, 0.3)])
        moved = corners @ overlays.transpose(0, 2, 1)
        moved = moved[..., :2] / moved[..., 2:]
        strays = np.linalg.norm(moved - np.median(moved, axis=0), axis=-1).mean(-1) / 2
        if strays.max() < _STILL:
            return None
        # far off its middle a flat picture moves less for the same turn
        turns = self._turns(corners * (0.5, 0.5, 1.0), focal_length)
        # of the two quaternions of a turn the one that is nearer to the last
        flips = np.cumsum(np.r_[False, (turns[1:] * turns[:-1]).sum(-1) < 0]) % 2
        even = np.where(flips[:, None] == 1, -turns, turns)
        deviation = _SMOOTHING_SECONDS * fps / self._every
        even = gaussian_filter1d(even, deviation, axis=0, mode="nearest")
        smooth = Slerp(self._seen, Rotation.from_quat(even))(np.arange(self._num_frames))
        return (smooth * smooth[0].inv()).as_matrix().astype(np.float32)

    def _turns(self, corners: NDArray[np.float64], focal_length: float) -> NDArray[np.float64]:
        """Quaternions (T, 4) from the first frame's camera to each frame's."""
        rays = corners / (focal_length, focal_length, 1.0)
        turns: list[Rotation] = []
        key, at = Rotation.identity(), 0
        for number, step in self._steps:
            if number != at:  # the frame before was a key frame
                key, at = turns[-1], number
            moved = corners @ step.T
            seen = moved / moved[:, 2:] / (focal_length, focal_length, 1.0)
            turns.append(_turn(rays, seen) * key)
        return Rotation.concatenate(turns).as_quat()

    def _lay_over(self, here: NDArray[np.uint8]) -> NDArray[np.float64] | None:
        """From the key frame to this one; None if nothing of the background is left."""
        import cv2

        if self._before is None or self._points is None or self._key_points is None:
            return None
        if self._before.shape != here.shape or len(self._points) < 8:
            return None
        flow: Any = cv2.calcOpticalFlowPyrLK
        units = _to_units(here)
        drift = np.linalg.inv(units) @ self._drift @ units
        ahead = self._points @ drift[:2, :2].T + drift[:2, 2]
        found, status, _ = flow(
            self._before,
            here,
            self._points[:, None],
            ahead.astype(np.float32).reshape(-1, 1, 2),
            flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
        )
        kept = status.reshape(-1) == 1
        points, keys = found.reshape(-1, 2)[kept], self._key_points[kept]
        if len(points) < 8:
            return None
        fitted: Any = cv2.estimateAffinePartial2D(
            keys.astype(np.float64), points.astype(np.float64), ransacReprojThreshold=1.0
        )
        matrix, inliers = fitted
        if matrix is None or inliers.sum() < max(8, 0.3 * len(points)):
            return None
        good = inliers.reshape(-1) == 1
        self._points, self._key_points = points[good].astype(np.float32), keys[good]
        return units @ np.vstack((matrix, (0.0, 0.0, 1.0))) @ np.linalg.inv(units)

    def _is_worn(self) -> bool:
        left = 0 if self._points is None else len(self._points)
        return left < _MIN_CORNERS or left < _MIN_SHARE * self._count

    def _begin(
        self,
        here: NDArray[np.uint8],
        boxes: Sequence[NDArray[np.float64]],
        step: NDArray[np.float64],
    ) -> None:
        """This frame, at a step from the last key frame, is the next one."""
        import cv2

        mask = np.full(here.shape, 255, dtype=np.uint8)
        for left, top, right, bottom in boxes:
            edge = _MARGIN * max(right - left, bottom - top)
            columns = slice(max(0, int(left - edge)), max(0, int(right + edge)))
            mask[max(0, int(top - edge)) : max(0, int(bottom + edge)), columns] = 0
        corners: Any = cv2.goodFeaturesToTrack(here, _CORNERS, 0.01, 8, mask=mask)
        points = np.empty((0, 2), np.float32)
        if corners is not None:
            points = np.asarray(corners, dtype=np.float32).reshape(-1, 2)
        self._points, self._key_points = points, points
        self._count = len(points)
        self._goes_on(step)
        self._key, self._key_number = self._overlays[-1], self._key_number + 1


def _to_units(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Pixels to units of half the longer side, from the centre."""
    height, width = image.shape
    half = max(width, height) / 2
    return np.array(
        ((1 / half, 0, -width / 2 / half), (0, 1 / half, -height / 2 / half), (0, 0, 1))
    )


def _turn(rays: NDArray[np.float64], seen: NDArray[np.float64]) -> Rotation:
    """The rotation that brings rays to where they are seen."""
    first = rays / np.linalg.norm(rays, axis=-1, keepdims=True)
    second = seen / np.linalg.norm(seen, axis=-1, keepdims=True)
    return Rotation.align_vectors(second, first)[0]
