"""Where the feet of a motion stand, from their height and speed alone.

For motions that come without contacts: other armatures and BVH files. The limits are those of
the engine's own contacts, for a body of 1.75 m; a smaller figure has smaller ones.

Shape letters: T frames; the four columns are left ankle, left foot, right ankle, right foot.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .rotations import FloatArray

BoolArray = npt.NDArray[np.bool_]

MAX_HEIGHT = 0.05  # metres above the height when standing
MAX_SPEED = 0.15  # metres per second
MIN_FRAMES = 3
_MIN_SECONDS = 0.1  # of a contact; many frames at 120 fps are no longer than that
# Once in contact a foot stays until it is clearly off: this much over the limits.
_RELEASE_FACTOR = 1.6
# Speeds are taken over this time: the noise of 120 frames a second is faster than any foot.
_SPEED_SPAN_S = 1 / 30
_LOW_SHARE = 10  # per cent of the slow frames that may lie below the floor
_FLAT = 0.03  # metres by which ankle and toe of a flat foot may differ from standing
_TOE_HEIGHT = 0.02  # metres of a toe joint over the floor, where nothing tells


def find_contacts(
    feet: FloatArray, standing: FloatArray, fps: float, size: float = 1.0
) -> FloatArray:
    """Where feet stand: low, slow, with hysteresis, for at least three frames.

    Args:
        feet: (T, 4, 3) positions in metres, y up, over the floor y = 0.
        standing: (4,) heights of these joints when the figure stands.
        fps: frames per second.
        size: of the figure, in bodies of 1.75 m.

    Returns:
        contacts: (T, 4) 0 or 1.
    """
    height = (feet[..., 1] - standing) / size
    speed = _speeds(feet, fps) / size
    enters = (height < MAX_HEIGHT) & (speed < MAX_SPEED)
    stays = (height < MAX_HEIGHT * _RELEASE_FACTOR) & (speed < MAX_SPEED * _RELEASE_FACTOR)
    shortest = max(MIN_FRAMES, round(_MIN_SECONDS * fps))
    columns = [_hysteresis(enters[:, c], stays[:, c], shortest) for c in range(feet.shape[1])]
    return np.stack(columns, axis=-1).astype(np.float64)


def find_floor(
    feet: FloatArray, standing: FloatArray, fps: float, size: float = 1.0
) -> float | None:
    """The height of the floor under a motion, from where its feet rest flat; None if they never do.

    A foot that hangs, kicks or kneels has its ankle nearer to its toes' height, or over them: it
    tells nothing. Takes what find_contacts takes.
    """
    height = feet[..., 1] - standing
    slow = _speeds(feet, fps) / size < MAX_SPEED
    flat = np.abs(height[:, 0::2] - height[:, 1::2]) < _FLAT * size
    resting = flat & slow[:, 0::2] & slow[:, 1::2]
    if not resting.any():
        return None
    return float(np.percentile(((height[:, 0::2] + height[:, 1::2]) / 2)[resting], _LOW_SHARE))


def standing_heights(feet: FloatArray, fps: float, size: float = 1.0) -> FloatArray:
    """The heights (4,) of feet (T, 4, 3) when they stand, out of the motion alone.

    Above the floor, which is put a little below the toes; the same on both sides.
    """
    is_slow = _speeds(feet, fps) / size < MAX_SPEED
    lows: list[float] = []
    for kind in (0, 1):  # ankles, toes
        height, slow = feet[:, kind::2, 1], is_slow[:, kind::2]
        lows.append(float(np.percentile(height[slow], _LOW_SHARE) if slow.any() else height.min()))
    ankle = max(lows[0] - lows[1], 0.0)
    return np.tile([ankle, 0.0], 2) + _TOE_HEIGHT * size


def _speeds(feet: FloatArray, fps: float) -> FloatArray:
    """Speeds (T, 4) over a short span around each frame, in metres per second."""
    count = len(feet)
    if count < 2:
        return np.zeros(feet.shape[:2])
    reach = max(1, round(_SPEED_SPAN_S * fps / 2))
    frames = np.arange(count)
    before, after = np.maximum(frames - reach, 0), np.minimum(frames + reach, count - 1)
    steps = np.linalg.norm(feet[after] - feet[before], axis=-1)
    return steps * fps / np.maximum(after - before, 1)[:, None]


def _hysteresis(enters: BoolArray, stays: BoolArray, shortest: int) -> BoolArray:
    """Stretches of `stays` from their first `enters` on, at least `shortest` long."""
    stands = np.zeros(len(enters), dtype=bool)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], stays, [False]]).astype(np.int8)))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        entered = np.flatnonzero(enters[start:stop])
        if len(entered) and stop - start - entered[0] >= shortest:
            stands[start + entered[0] : stop] = True
    return stands
