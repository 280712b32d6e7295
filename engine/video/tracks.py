"""People followed through a video.

Each person is followed from frame to frame; now and then, and wherever nobody is followed, all
people are looked for. What is seen of one person between two losses is a stretch. Two followers
that have come onto the same body are told apart by clothes: one of them is let go. Who is newly
found is also followed backwards, through the frames that are still at hand. At the end stretches
that fit each other in place, size and clothes are joined: lost and found again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from engine.motion import skeleton as sk
from engine.motion.keypoint_layout import LAYOUTS
from engine.video.appearance import clothes, difference
from engine.video.frames import Image
from engine.video.keypoints import (
    Floats,
    KeypointDetector,
    Region,
    Sighting,
    distance,
    extent,
)
from engine.video.leaving import GUESS_CONFIDENCE, going_on

_SEARCH_SECONDS = 0.25  # between two looks for everybody
_KEPT_FRAMES = 15  # through which somebody new is followed backwards
_MAX_PEOPLE = 8  # followed at once
_DOUBLE = 0.12  # sizes: nearer than that are two sightings of one body
_MAX_JUMP = 0.5  # sizes that a body moves between frames, at most
_MAX_GROWTH = 1.6  # of a body between frames
_MIN_FOUND = 0.7  # presence of somebody new
_MIN_PRESENCE = 0.9  # mean presence of a stretch that counts
_MIN_SECONDS, _MIN_FRAMES = 0.3, 5  # of a stretch that counts
_MAX_GAP_SECONDS = 4.0  # through which somebody is found again
_MAX_COST = 1.0  # of joining two stretches
_MAX_SHARED = 0.6  # of somebody new that may be in front of or behind somebody known
_ENDS = 8  # frames that say how somebody comes and goes
_GREY = (114, 114, 114)


@dataclass(eq=False)
class Stretch:
    """One person in frames that follow each other."""

    start: int
    keypoints: list[Floats] = field(default_factory=list[Floats])
    presences: list[float] = field(default_factory=list[float])
    region: Region | None = None
    clothes: Floats | None = None
    num_clothes: int = 0

    @property
    def stop(self) -> int:
        """The frame after the last."""
        return self.start + len(self.keypoints)

    def at(self, frame: int) -> Floats | None:
        """The keypoints in a frame, if it is one of this stretch."""
        return self.keypoints[frame - self.start] if self.start <= frame < self.stop else None

    def wears(self, seen: Floats | None) -> None:
        """Remember the clothes: a mean that follows the light."""
        if seen is None:
            return
        self.num_clothes += 1
        share = max(1.0 / self.num_clothes, 0.05)
        before = seen if self.clothes is None else self.clothes
        self.clothes = (before + share * (seen - before)).astype(np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class Person:
    """One person of a video: keypoints in the frames where they are seen."""

    frames: NDArray[np.int64]  # (N,) numbers of frames, counted from the first that was seen
    keypoints: Floats  # (N, K, 3) pixels and confidence
    presences: Floats  # (N,)

    @property
    def size(self) -> float:
        """Heights in pixels, added over frames: who is large and stays."""
        return float(sum(_height(points) for points in self.keypoints))

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


class Tracker:
    """Follows everybody. Give it the frames in order, then ask for `people`."""

    def __init__(
        self, detector: KeypointDetector, fps: float, *, pool: ThreadPoolExecutor | None = None
    ) -> None:
        """pool: follows several people side by side, if the detector can be asked so."""
        self.num_frames = 0
        self._pool = pool
        self._detector = detector
        self._fps = fps
        self._every = max(1, round(_SEARCH_SECONDS * fps))
        sources = LAYOUTS[detector.layout].sources
        corners = (sk.LEFT_SHOULDER, sk.RIGHT_SHOULDER, sk.RIGHT_HIP, sk.LEFT_HIP)
        self._corners = tuple(sources[joint][0] for joint in corners)
        self._live: list[Stretch] = []
        self._ended: list[Stretch] = []
        self._kept: deque[Image] = deque(maxlen=_KEPT_FRAMES)
        self._view = 0
        self._image_size = (0, 0)  # width and height

    def see(self, image: Image) -> None:
        """Take the next frame."""
        self._image_size = (image.shape[1], image.shape[0])
        self._follow(image)
        self._part_doubles(image)
        if not self._live or self.num_frames % self._every == 0:
            self._search(image)
        self._kept.append(image)
        self.num_frames += 1

    def seen_now(self) -> list[Floats]:
        """Keypoints of those who are followed, in the last frame."""
        return [stretch.keypoints[-1] for stretch in self._live]

    def people(self) -> list[Person]:
        """Everybody, in the order in which they appear."""
        # of a very short clip half its frames will do
        usual = max(_MIN_SECONDS * self._fps, _MIN_FRAMES)
        least = max(1, round(min(usual, self.num_frames / 2)))
        stretches = [
            stretch
            for stretch in (*self._ended, *self._live)
            if len(stretch.keypoints) >= least and np.mean(stretch.presences) >= _MIN_PRESENCE
        ]
        chains = _join(sorted(stretches, key=lambda one: one.start), self._fps)
        return sorted((self._with_ends(_person(chain)) for chain in chains), key=_order)

    def _with_ends(self, person: Person) -> Person:
        """The person with the frames in which they come into the picture and leave it."""
        first, last = int(person.frames[0]), int(person.frames[-1])
        after = going_on(person.keypoints[-_ENDS:], self._image_size, self._fps)
        after = after[: self.num_frames - 1 - last]
        before = going_on(person.keypoints[:_ENDS][::-1], self._image_size, self._fps)[:first][::-1]
        return Person(
            frames=np.concatenate(
                (
                    first - np.arange(len(before), 0, -1),
                    person.frames,
                    last + np.arange(1, len(after) + 1),
                )
            ),
            keypoints=np.concatenate((before, person.keypoints, after)),
            presences=np.concatenate(
                (
                    np.full(len(before), GUESS_CONFIDENCE, np.float32),
                    person.presences,
                    np.full(len(after), GUESS_CONFIDENCE, np.float32),
                )
            ),
        )

    def _follow(self, image: Image) -> None:
        live = list(self._live)

        def next_of(stretch: Stretch) -> Sighting | None:
            return self._next(image, stretch)

        pool = self._pool if len(live) > 1 else None
        found = map(next_of, live) if pool is None else pool.map(next_of, live)
        for stretch, sighting in zip(live, list(found), strict=True):
            if sighting is None:
                self._end(stretch)
            else:
                self._add(stretch, sighting, image)

    def _next(self, image: Image, stretch: Stretch) -> Sighting | None:
        """The same person in this frame: where the last one points, or found anew nearby."""
        last = stretch.keypoints[-1]
        assert stretch.region is not None
        sighting = self._detector.follow(image, _ahead(stretch))
        region = stretch.region
        if sighting is not None and _goes_on(sighting, last, region):
            return sighting
        around = Region(x=region.x, y=region.y, side=2.0 * region.side)
        found = self._detector.detect(image, near=around)
        near = [one for one in found if _goes_on(one, last, region)]
        return min(near, key=lambda one: distance(one.keypoints, last), default=None)

    def _add(self, stretch: Stretch, sighting: Sighting, image: Image) -> None:
        stretch.keypoints.append(sighting.keypoints)
        stretch.presences.append(sighting.presence)
        stretch.region = sighting.region
        stretch.wears(clothes(image, sighting.keypoints, self._corners))

    def _end(self, stretch: Stretch) -> None:
        self._live.remove(stretch)
        self._ended.append(stretch)

    def _part_doubles(self, image: Image) -> None:
        """Of two on one body, only the one goes on whose clothes these are."""
        for first in list(self._live):
            for second in list(self._live):
                if first is second or first not in self._live or second not in self._live:
                    continue
                if distance(first.keypoints[-1], second.keypoints[-1]) > _DOUBLE:
                    continue
                wrong = max((first, second), key=lambda one: self._strangeness(one, image))
                del wrong.keypoints[-1], wrong.presences[-1]
                self._end(wrong)

    def _strangeness(self, stretch: Stretch, image: Image) -> float:
        """How little the last sighting fits those before it."""
        if len(stretch.keypoints) < 2:
            return np.inf
        seen = clothes(image, stretch.keypoints[-1], self._corners)
        jump = distance(stretch.keypoints[-1], stretch.keypoints[-2])
        return difference(stretch.clothes, seen) + jump - 0.001 * min(stretch.num_clothes, 100)

    def _search(self, image: Image) -> None:
        """Look for everybody: in the whole, and in one of its parts in turn."""
        # a detector sees one person where two are near each other: those that are known go first
        others = _covered(image, [stretch.keypoints[-1] for stretch in self._live])
        for one in self._looked_for(others):
            sighting = self._detector.follow(image, one.region)
            here = [stretch.keypoints[-1] for stretch in self._live]
            if sighting is None or sighting.presence < _MIN_FOUND or len(here) >= _MAX_PEOPLE:
                continue
            if not any(_is_inside(sighting.keypoints, other) for other in here):
                self._begin(sighting, image)

    def _looked_for(self, image: Image) -> list[Sighting]:
        """Who is in the picture. Of pictures with nobody in them each gets one look, by turns: who
        is found late is followed backwards."""
        parts = _parts(image)
        both = bool(self._live) or self.num_frames == 0
        found: list[Sighting] = []
        if both or not parts or self.num_frames % 2 == 0:
            found += self._detector.detect(image)
        if parts and (both or self.num_frames % 2 == 1):
            self._view = (self._view + 1) % len(parts)
            found += self._detector.detect(image, near=parts[self._view])
        return found

    def _begin(self, sighting: Sighting, image: Image) -> None:
        """Somebody new, followed backwards as far as the frames at hand go."""
        stretch = Stretch(start=self.num_frames)
        self._add(stretch, sighting, image)
        last = sighting
        for back, earlier in enumerate(reversed(self._kept), start=1):
            before = self._detector.follow(earlier, last.region)
            if before is None or not _goes_on(before, last.keypoints, last.region):
                break
            if self._is_taken(before, self.num_frames - back):
                break
            stretch.keypoints.insert(0, before.keypoints)
            stretch.presences.insert(0, before.presence)
            stretch.start -= 1
            last = before
        self._live.append(stretch)

    def _is_taken(self, sighting: Sighting, frame: int) -> bool:
        others = (stretch.at(frame) for stretch in (*self._live, *self._ended[-20:]))
        return any(
            other is not None and distance(sighting.keypoints, other) < 2 * _DOUBLE
            for other in others
        )


def largest(people: Sequence[Person]) -> int:
    """The number of the person who is largest, counting how long they are seen."""
    return max(range(len(people)), key=lambda number: people[number].size)


def at_click(people: Sequence[Person], frame: int, x: float, y: float) -> int | None:
    """The number of the person at a place of a frame; None if there is none."""
    best: tuple[float, int] | None = None
    for number, person in enumerate(people):
        index = int(np.abs(person.frames - frame).argmin())
        left, top, right, bottom = extent(person.keypoints[index])
        size = max(right - left, bottom - top, 1.0)
        off = max(left - x, x - right, top - y, y - bottom, 0.0) / size
        late = abs(int(person.frames[index]) - frame)
        middle = np.hypot(x - (left + right) / 2, y - (top + bottom) / 2) / size
        if off < 0.15 and late <= 15 and (best is None or middle < best[0]):
            best = (float(middle), number)
    return None if best is None else best[1]


def _goes_on(sighting: Sighting, last: Floats, region: Region) -> bool:
    """Whether it can be the person who was there a frame ago."""
    growth = sighting.region.side / max(region.side, 1.0)
    fits = 1 / _MAX_GROWTH < growth < _MAX_GROWTH
    return fits and distance(sighting.keypoints, last) < _MAX_JUMP


def _is_inside(points: Floats, other: Floats) -> bool:
    """Whether a pose is another reading of a body that is known, or of a part of it."""
    if distance(points, other) < 2 * _DOUBLE:
        return True
    left, top, right, bottom = extent(points)
    low_x, low_y, high_x, high_y = extent(other)
    width = min(right, high_x) - max(left, low_x)
    height = min(bottom, high_y) - max(top, low_y)
    area = max((right - left) * (bottom - top), 1.0)
    return max(width, 0.0) * max(height, 0.0) > _MAX_SHARED * area


def _covered(image: Image, people: Sequence[Floats]) -> Image:
    """The picture with these people painted over."""
    if not people:
        return image
    import cv2

    covered = image.copy()
    for points in people:
        seen = points[points[:, 2] > 0.3][:, :2]
        if len(seen) < 3:
            continue
        outline = cv2.convexHull(np.round(seen).astype(np.int32))
        width = max(2, round(0.08 * _height(points)))
        cv2.fillConvexPoly(covered, outline, _GREY)
        cv2.polylines(covered, [outline], True, _GREY, thickness=width)
    return covered


def _ahead(stretch: Stretch) -> Region:
    """Where the person will be if they go on as in the last frame."""
    region = stretch.region
    assert region is not None
    if len(stretch.keypoints) < 3:
        return region
    steps = np.median(stretch.keypoints[-1][:, :2] - stretch.keypoints[-2][:, :2], axis=0)
    limit = 0.15 * region.side
    x, y = np.clip(steps, -limit, limit)
    return Region(
        x=region.x + float(x), y=region.y + float(y), side=region.side, angle=region.angle
    )


def _parts(image: Image) -> list[Region]:
    """Squares that cover a picture which is much longer than it is high, or the other way."""
    height, width = image.shape[:2]
    side, longer = min(height, width), max(height, width)
    if longer < 1.2 * side:
        return []
    places = (side / 2, longer / 2, longer - side / 2)
    if width > height:
        return [Region(x=place, y=height / 2, side=float(side)) for place in places]
    return [Region(x=width / 2, y=place, side=float(side)) for place in places]


def _height(points: Floats) -> float:
    left, top, right, bottom = extent(points)
    return max(bottom - top, right - left)


def _order(person: Person) -> tuple[int, float]:
    return int(person.frames[0]), float(person.keypoints[0, :, 0].mean())


def _person(chain: Sequence[Stretch]) -> Person:
    frames = np.concatenate([np.arange(part.start, part.stop) for part in chain])
    return Person(
        frames=frames.astype(np.int64),
        keypoints=np.stack([points for part in chain for points in part.keypoints]),
        presences=np.array([value for part in chain for value in part.presences], np.float32),
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
    sizes = (_height(last), _height(first))
    # somebody walks two body lengths a second, and turns up anywhere within them
    reach = 0.35 + 1.0 * gap
    way = distance(last, first) / reach
    growth = abs(np.log(max(sizes[0], 1.0) / max(sizes[1], 1.0))) / (0.3 + 0.5 * gap)
    return 0.5 * way + 0.25 * growth + 1.2 * difference(before.clothes, after.clothes)
