"""What is seen of people: stretches without a gap, and who they belong to.

A stretch ends where somebody is lost. Stretches that fit each other in place, size and clothes are
one person, lost and found again. Of somebody who was left alone for a frame or two a stretch has a
guess in between: it says so, and can be read afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from engine.video.appearance import difference
from engine.video.keypoints import Floats, Region, Sighting, distance, extent

_MAX_GAP_SECONDS = 4.0  # through which somebody is found again
_MAX_COST = 1.0  # of joining two stretches


@dataclass(eq=False)
class Stretch:
    """One person in frames that follow each other."""

    start: int
    keypoints: list[Floats] = field(default_factory=list[Floats])
    presences: list[float] = field(default_factory=list[float])
    regions: list[Region] = field(default_factory=list[Region])  # where the next frame is looked at
    is_read: list[bool] = field(default_factory=list[bool])  # or guessed
    clothes: Floats | None = None
    num_clothes: int = 0
    height_sum: float = 0.0  # pixels, over frames: who is large and stays

    @property
    def stop(self) -> int:
        """The frame after the last."""
        return self.start + len(self.keypoints)

    @property
    def num_guessed(self) -> int:
        """Frames at the end that haven't been read."""
        return next((back for back, read in enumerate(reversed(self.is_read)) if read), 0)

    def at(self, frame: int) -> Floats | None:
        """The keypoints in a frame, if it is one of this stretch."""
        return self.keypoints[frame - self.start] if self.start <= frame < self.stop else None

    def add(self, sighting: Sighting) -> None:
        """The next frame. Guesses before it are put between what was read on both sides."""
        count = self.num_guessed
        if count:
            self._put_between(sighting, count)
        self._append(sighting.keypoints, sighting.presence, sighting.region, is_read=True)
        self.height_sum += (count + 1) * height(sighting.keypoints)

    def guess(self) -> None:
        """The next frame, in which nobody has looked: the person goes on as before."""
        region = self.ahead()
        moved = self.keypoints[-1].copy()
        moved[:, :2] += (region.x - self.regions[-1].x, region.y - self.regions[-1].y)
        self._append(moved, self.presences[-1], region, is_read=False)

    def drop(self, count: int) -> None:
        """Take the last frames away."""
        for values in (self.keypoints, self.presences, self.regions, self.is_read):
            del values[len(values) - count :]

    def put_before(self, sighting: Sighting, *, num_between: int = 0) -> None:
        """A frame before the first, with guesses in those between."""
        later, region = self.keypoints[0], self.regions[0]
        for back in range(1, num_between + 1):
            part = back / (num_between + 1)
            between: Floats = (later + part * (sighting.keypoints - later)).astype(np.float32)
            between[:, 2] = np.minimum(later[:, 2], sighting.keypoints[:, 2])
            self.start -= 1
            self.keypoints.insert(0, between)
            self.presences.insert(0, min(self.presences[0], sighting.presence))
            self.regions.insert(0, _between(region, sighting.region, part))
            self.is_read.insert(0, False)
            self.height_sum += height(between)
        self.start -= 1
        self.keypoints.insert(0, sighting.keypoints)
        self.presences.insert(0, sighting.presence)
        self.regions.insert(0, sighting.region)
        self.is_read.insert(0, True)
        self.height_sum += height(sighting.keypoints)

    def ahead(self) -> Region:
        """Where the person will be if they go on as in the last frame."""
        region = self.regions[-1]
        if len(self.keypoints) < 3:
            return region
        steps = np.median(self.keypoints[-1][:, :2] - self.keypoints[-2][:, :2], axis=0)
        limit = 0.15 * region.side
        x, y = np.clip(steps, -limit, limit)
        return replace(region, x=region.x + float(x), y=region.y + float(y))

    def wears(self, seen: Floats | None) -> None:
        """Remember the clothes: a mean that follows the light."""
        if seen is None:
            return
        self.num_clothes += 1
        share = max(1.0 / self.num_clothes, 0.05)
        before = seen if self.clothes is None else self.clothes
        self.clothes = (before + share * (seen - before)).astype(np.float32)

    def _append(self, keypoints: Floats, presence: float, region: Region, *, is_read: bool) -> None:
        self.keypoints.append(keypoints)
        self.presences.append(presence)
        self.regions.append(region)
        self.is_read.append(is_read)

    def _put_between(self, after: Sighting, count: int) -> None:
        before, start = self.keypoints[-1 - count], self.regions[-1 - count]
        end = after.region
        for back in range(1, count + 1):
            part = (count + 1 - back) / (count + 1)
            between = before + part * (after.keypoints - before)
            between[:, 2] = np.minimum(before[:, 2], after.keypoints[:, 2])
            self.keypoints[-back] = between.astype(np.float32)
            self.regions[-back] = _between(start, end, part)


@dataclass(frozen=True, kw_only=True, eq=False)
class Person:
    """One person of a video: keypoints in the frames where they are seen."""

    frames: NDArray[np.int64]  # (N,) numbers of frames, counted from the first that was seen
    keypoints: Floats  # (N, K, 3) pixels and confidence
    presences: Floats  # (N,)
    unread: tuple[tuple[int, Region], ...] = ()  # which of the N are guesses, and where to look

    @property
    def size(self) -> float:
        """Heights in pixels, added over frames: who is large and stays."""
        return float(sum(height(points) for points in self.keypoints))

    def scaled(self, scale: float) -> Person:
        """The same in a picture that is `scale` times as large."""
        if scale == 1.0:
            return self
        keypoints = self.keypoints * np.array((scale, scale, 1.0), dtype=np.float32)
        return replace(self, keypoints=keypoints)

    def dense(self, num_frames: int) -> Floats:
        """Keypoints (num_frames, K, 3), zeros where the person isn't seen."""
        result = np.zeros((num_frames, *self.keypoints.shape[1:]), dtype=np.float32)
        result[self.frames] = self.keypoints
        return result


def _between(start: Region, end: Region, part: float) -> Region:
    return Region(
        x=start.x + part * (end.x - start.x),
        y=start.y + part * (end.y - start.y),
        side=start.side + part * (end.side - start.side),
        angle=start.angle if part < 0.5 else end.angle,
    )


def height(points: Floats) -> float:
    """The longer side of what keypoints (K, 3) cover, in pixels."""
    left, top, right, bottom = extent(points)
    return max(bottom - top, right - left)


def largest(people: Sequence[Person]) -> int:
    """The number of the person who is largest, counting how long they are seen."""
    return max(range(len(people)), key=lambda number: people[number].size)


def at_click(people: Sequence[Person], frame: int, x: float, y: float) -> int | None:
    """The number of the person at a place of a frame; None if there is none."""
    best: tuple[float, int] | None = None
    for number, person in enumerate(people):
        index = int(np.abs(person.frames - frame).argmin())
        late = abs(int(person.frames[index]) - frame)
        middle = how_near(person.keypoints[index], x, y)
        if middle is not None and late <= 15 and (best is None or middle < best[0]):
            best = (middle, number)
    return None if best is None else best[1]


def how_near(points: Floats, x: float, y: float) -> float | None:
    """How far a place is from the middle of a person (K, 3), in their sizes; None if outside."""
    left, top, right, bottom = extent(points)
    size = max(right - left, bottom - top, 1.0)
    off = max(left - x, x - right, top - y, y - bottom, 0.0) / size
    middle = np.hypot(x - (left + right) / 2, y - (top + bottom) / 2) / size
    return float(middle) if off < 0.15 else None


def persons(stretches: Sequence[Stretch], fps: float) -> list[Person]:
    """Stretches of the same person together."""
    return [_person(chain) for chain in _join(sorted(stretches, key=lambda one: one.start), fps)]


def _person(chain: Sequence[Stretch]) -> Person:
    frames = np.concatenate([np.arange(part.start, part.stop) for part in chain])
    regions = [region for part in chain for region in part.regions]
    is_read = [read for part in chain for read in part.is_read]
    return Person(
        frames=frames.astype(np.int64),
        keypoints=np.stack([points for part in chain for points in part.keypoints]),
        presences=np.array([value for part in chain for value in part.presences], np.float32),
        unread=tuple((index, regions[index]) for index, read in enumerate(is_read) if not read),
    )


def _join(stretches: Sequence[Stretch], fps: float) -> list[list[Stretch]]:
    """Stretches of the same person, as chains: the cheapest way to tie ends to beginnings."""
    if not stretches:
        return []
    count = len(stretches)
    costs = np.full((count, count), 1e3)
    for row, before in enumerate(stretches):
        for column, after in enumerate(stretches):
            costs[row, column] = min(1e3, _cost(before, after, fps))
    follower: dict[int, int] = {}
    for row, column in zip(*linear_sum_assignment(costs), strict=True):
        if costs[row, column] < _MAX_COST:
            follower[int(row)] = int(column)
    chains: list[list[Stretch]] = []
    for first in sorted(set(range(count)) - set(follower.values())):
        chain, here = [stretches[first]], first
        while here in follower:
            here = follower[here]
            chain.append(stretches[here])
        chains.append(chain)
    return chains


def _cost(before: Stretch, after: Stretch, fps: float) -> float:
    """How unlikely it is that the one goes on as the other; 1 is too unlikely."""
    gap = (after.start - before.stop + 1) / fps
    if after.start < before.stop or gap > _MAX_GAP_SECONDS:
        return np.inf
    last, first = before.keypoints[-1], after.keypoints[0]
    sizes = (height(last), height(first))
    # somebody walks two body lengths a second, and turns up anywhere within them
    reach = 0.35 + 1.0 * gap
    way = distance(last, first) / reach
    growth = abs(np.log(max(sizes[0], 1.0) / max(sizes[1], 1.0))) / (0.3 + 0.5 * gap)
    return 0.5 * way + 0.25 * growth + 1.2 * difference(before.clothes, after.clothes)
