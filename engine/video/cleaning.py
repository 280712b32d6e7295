"""Keypoints of one person over all frames, put right where frames contradict each other.

Detectors look at one frame at a time: for a few frames they take the left leg for the right one,
or put a wrist onto somebody else's. What sees all frames can tell. Places aren't smoothed: a
keypoint is exchanged with its opposite, or trusted less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.motion import skeleton as sk
from engine.motion.keypoint_layout import LAYOUTS
from engine.video.keypoints import Floats

_SWAP_COST = 0.012  # sizes, of a frame in which left and right are exchanged
_EVENT_COST = 0.05  # sizes, of going over from the one to the other
_MAX_PULL = 0.5  # sizes; a keypoint that is further off than that says no more
_OUTLIER = 0.12  # sizes from the frames around, at which a keypoint is trusted half
_REACH_SECONDS = 0.1  # around a frame, that say where a keypoint is to be
_OUTSIDE = 0.02  # sizes outside the picture, from which a keypoint is a guess
_GUESSED = 0.2  # of its confidence that a guess keeps

_SHARED = 0.06  # sizes between the same keypoint of two people: it is one limb, seen twice
_DISPUTED = 0.2  # of its confidence that it keeps

# Joints whose keypoints are exchanged together.
_GROUPS = (
    (sk.LEFT_KNEE, sk.LEFT_ANKLE, sk.LEFT_FOOT),
    (sk.LEFT_ELBOW, sk.LEFT_WRIST),
    (sk.LEFT_HIP, sk.LEFT_SHOULDER),
)
# Keypoints that go with a group though they stand for no joint: heels; hands.
_FURTHER: dict[str, tuple[tuple[tuple[int, int], ...], ...]] = {
    "blazepose_33": (((29, 30),), ((17, 18), (19, 20), (21, 22)), ()),
    "halpe_26": (((22, 23), (24, 25)), (), ()),
    "body_25": (((20, 23), (21, 24)), (), ()),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Cleaned:
    """Keypoints (T, K, 3) and how many times left and right were exchanged for a while."""

    keypoints: Floats
    num_swaps: int


def clean(
    keypoints: Floats,
    layout: str,
    image_size: tuple[int, int],
    fps: float,
    *,
    others: Sequence[Floats] = (),
) -> Cleaned:
    """Repair left and right, and trust keypoints less that jump, are outside the picture, or are on
    the same limb of somebody else.

    Args:
        keypoints: (T, K, 3) pixels and confidence; zeros where the person isn't seen.
        layout: one of LAYOUTS.
        image_size: width and height in pixels.
        fps: frames per second.
        others: (T, K, 3) each, of the other people in the same frames.
    """
    result = keypoints.astype(np.float64)
    seen = np.flatnonzero((result[..., 2] > 0).any(-1))
    if len(seen) == 0:
        return Cleaned(keypoints=keypoints, num_swaps=0)
    size = body_size(keypoints)
    num_swaps = 0
    for pairs in _pairs(layout):
        is_swapped = _swapped(result[seen], seen, pairs, size)
        left, right = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        frames = seen[is_swapped][:, None]
        result[frames, [*left, *right]] = result[frames, [*right, *left]]
        num_swaps += int((np.diff(is_swapped.astype(int), prepend=0) == 1).sum())
    result[..., 2] *= _steadiness(result, seen, size, fps)
    result[..., 2] *= _undisputed(result, layout, others, size)
    low = result[..., :2] < -_OUTSIDE * size
    high = result[..., :2] > np.array(image_size) + _OUTSIDE * size
    result[..., 2] *= np.where((low | high).any(-1), _GUESSED, 1.0)
    return Cleaned(keypoints=result.astype(np.float32), num_swaps=num_swaps)


def body_size(keypoints: Floats) -> float:
    """Height of a person in pixels: the median over frames of what the keypoints cover."""
    heights: list[float] = []
    for points in keypoints:
        sure = points[points[:, 2] > 0.3]
        if len(sure) >= 4:
            heights.append(float(np.ptp(sure[:, :2], axis=0).max()))
    return max(1.0, float(np.median(heights))) if heights else 1.0


def _pairs(layout: str) -> list[list[tuple[int, int]]]:
    """Left and right keypoints that are exchanged together."""
    sources = LAYOUTS[layout].sources
    further = _FURTHER.get(layout, ((), (), ()))
    groups: list[list[tuple[int, int]]] = []
    for joints, more in zip(_GROUPS, further, strict=True):
        pairs = [
            (sources[joint][0], sources[sk.SMPL_22.mirror_order[joint]][0])
            for joint in joints
            if joint in sources
        ]
        groups.append([*pairs, *more])
    return groups


def _swapped(
    keypoints: NDArray[np.float64],
    frames: NDArray[np.int64],
    pairs: list[tuple[int, int]],
    size: float,
) -> NDArray[np.bool_]:
    """Where (N,) left and right must be exchanged for the limbs to move most evenly.

    The cheapest of all ways to say so for every frame: what counts are the accelerations, so the
    state of two frames together is what the next one depends on.
    """
    count = len(keypoints)
    left = keypoints[:, [pair[0] for pair in pairs]]
    right = keypoints[:, [pair[1] for pair in pairs]]
    straight = np.concatenate((left, right), axis=1)
    crossed = np.concatenate((right, left), axis=1)
    ways = np.stack((straight, crossed))  # (2, N, 2P, 3)
    costs = np.zeros((2, 2))
    costs[1] += _SWAP_COST
    costs[:, 1] += _SWAP_COST
    costs[0, 1] += _EVENT_COST
    costs[1, 0] += _EVENT_COST
    came_from = np.zeros((count, 2, 2), dtype=np.int8)
    for t in range(2, count):
        steps = (int(frames[t - 1] - frames[t - 2]), int(frames[t] - frames[t - 1]))
        total = costs[:, :, None] + _pull(ways, t, steps, size)
        total[:, :, 1] += _SWAP_COST
        total[:, 0, 1] += _EVENT_COST
        total[:, 1, 0] += _EVENT_COST
        came_from[t] = total.argmin(0)
        costs = total.min(0)
    return _trace_back(costs, came_from)


def _pull(
    ways: NDArray[np.float64], t: int, steps: tuple[int, int], size: float
) -> NDArray[np.float64]:
    """Cost (2, 2, 2) of frame t after the two before it, by the states of all three."""
    before, middle, now = ways[:, t - 2], ways[:, t - 1], ways[:, t]
    speed = np.where(max(steps) > 3, 0.0, steps[1] / steps[0])  # after a gap nothing goes on
    expected = middle[None, :, :, :2] + speed * (middle[None, :, :, :2] - before[:, None, :, :2])
    off = np.linalg.norm(now[None, None, :, :, :2] - expected[:, :, None], axis=-1) / size
    sure = np.minimum(now[None, None, :, :, 2], middle[None, :, None, :, 2])
    weights = np.broadcast_to(sure, off.shape) + 1e-3
    return (weights * np.minimum(off, _MAX_PULL)).sum(-1) / weights.sum(-1)


def _trace_back(costs: NDArray[np.float64], came_from: NDArray[np.int8]) -> NDArray[np.bool_]:
    count = len(came_from)
    states = np.zeros(count, dtype=np.int64)
    before, now = np.unravel_index(int(costs.argmin()), (2, 2))
    states[-1] = now
    if count > 1:
        states[-2] = before
    for t in range(count - 1, 1, -1):
        states[t - 2] = came_from[t, states[t - 1], states[t]]
    return states == 1


def _steadiness(
    keypoints: NDArray[np.float64], seen: NDArray[np.int64], size: float, fps: float
) -> NDArray[np.float64]:
    """Factors (T, K) of confidence: small where a keypoint is far from the frames around."""
    factors = np.ones(keypoints.shape[:2])
    reach = max(1, round(_REACH_SECONDS * fps))
    if len(seen) < 2 * reach + 1:
        return factors
    places = keypoints[seen, :, :2]
    padded = np.concatenate((places[:1].repeat(reach, 0), places, places[-1:].repeat(reach, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, axis=0)
    off = np.linalg.norm(places - np.median(windows, axis=-1), axis=-1) / size
    factors[seen] = 1.0 / (1.0 + (off / _OUTLIER) ** 4)
    return factors


def _undisputed(
    keypoints: NDArray[np.float64], layout: str, others: Sequence[Floats], size: float
) -> NDArray[np.float64]:
    """Factors (T, K) of confidence: small where a limb is also somebody else's."""
    factors = np.ones(keypoints.shape[:2])
    pairs = [pair for group in _pairs(layout)[:2] for pair in group]  # legs and arms
    for other in others:
        there = np.flatnonzero((other[..., 2] > 0).any(-1))
        for pair in pairs:
            theirs = other[there][:, pair]  # (N, 2, 3)
            for point in pair:
                away = theirs[..., :2] - keypoints[there, point, None, :2]
                near = np.linalg.norm(away, axis=-1) < _SHARED * size
                is_shared = (near & (theirs[..., 2] > 0.3)).any(-1)
                factors[there[is_shared], point] = _DISPUTED
    return factors
