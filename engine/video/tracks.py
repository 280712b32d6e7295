"""People followed through a video.

Each person is followed from frame to frame; now and then, and wherever nobody is followed, all
people are looked for. What is seen of one person between two losses is a stretch. Two followers
that have come onto the same body are told apart by clothes: one of them is let go. Who is newly
found is also followed backwards, through the frames that are still at hand. At the end stretches
that fit each other are joined: lost and found again.

Following costs more than all else. Where only one person is wanted, the others are looked at a few
times a second, so that they keep their places and names.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from engine.motion import skeleton as sk
from engine.motion.keypoint_layout import LAYOUTS
from engine.video.appearance import UNLIKE, clothes, difference
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
from engine.video.stretches import Person, Stretch, height, how_near, persons

_SEARCH_SECONDS = 0.25  # between two looks for everybody
_KEPT_FRAMES = 15  # through which somebody new is followed backwards
_MAX_PEOPLE = 8  # followed at once
_DOUBLE = 0.12  # sizes: nearer than that are two sightings of one body
_MAX_JUMP = 0.5  # sizes that a body moves between frames, at most
_MAX_GROWTH = 1.6  # of a body between frames
_MIN_FOUND = 0.7  # presence of somebody new
_MIN_PRESENCE = 0.9  # mean presence of a stretch that counts
_MIN_SECONDS, _MIN_FRAMES = 0.3, 5  # of a stretch that counts
_LOOKS_PER_SECOND = 7.5  # at those who aren't wanted
_BESIDE = 0.1  # sizes around the wanted person, within which others are looked at in each frame
_AROUND = 2.2  # sizes of the wanted person, within which others are looked for most often
_MAX_SHARED = 0.6  # of somebody new that may be in front of or behind somebody known
_ENDS = 8  # frames that say how somebody comes and goes
_GREY = (114, 114, 114)


class Tracker:
    """Follows everybody. Give it the frames in order, then ask for `people`."""

    def __init__(
        self,
        detector: KeypointDetector,
        fps: float,
        *,
        pool: ThreadPoolExecutor | None = None,
        wanted: int | None = None,
    ) -> None:
        """Begin a video.

        Args:
            detector: finds people.
            fps: frames per second.
            pool: follows several people side by side, if the detector can be asked so.
            wanted: who is to be looked at in each frame: -1 the largest, 0, 1 … the first, second …
                to appear, as far as that can be told meanwhile; None: everybody.
        """
        self.num_frames = 0
        self._wanted = wanted
        self._clicked: Stretch | None = None
        self._rest = 1 if wanted is None else max(1, round(fps / _LOOKS_PER_SECOND))
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

    def want(self, x: float, y: float) -> None:
        """From now on the person is wanted who is at a place of the last frame, if there is one."""
        near = [(how_near(one.keypoints[-1], x, y), one) for one in self._live]
        there = [(off, one) for off, one in near if off is not None]
        if there:
            self._clicked = min(there, key=lambda each: each[0])[1]

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
        return sorted((self._with_ends(one) for one in persons(stretches, self._fps)), key=_order)

    def _with_ends(self, person: Person) -> Person:
        """The person with the frames in which they come into the picture and leave it."""
        first, last = int(person.frames[0]), int(person.frames[-1])
        after = going_on(person.keypoints[-_ENDS:], self._image_size, self._fps)
        after = after[: self.num_frames - 1 - last]
        before = going_on(person.keypoints[:_ENDS][::-1], self._image_size, self._fps)[:first][::-1]
        return replace(
            person,
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
            unread=tuple((len(before) + index, region) for index, region in person.unread),
        )

    def _follow(self, image: Image) -> None:
        live = self._looked_at()
        for stretch in self._live:
            if stretch not in live:
                stretch.guess()

        def next_of(stretch: Stretch) -> Sighting | None:
            return self._next(image, stretch)

        pool = self._pool if len(live) > 1 else None
        found = map(next_of, live) if pool is None else pool.map(next_of, live)
        for stretch, sighting in zip(live, list(found), strict=True):
            if sighting is None:
                self._end(stretch)
            else:
                stretch.add(sighting)
                stretch.wears(clothes(image, sighting.keypoints, self._corners))

    def _looked_at(self) -> list[Stretch]:
        """Who is looked at in this frame; the others rest."""
        if self.num_frames % self._rest == 0 or not self._live:
            return list(self._live)
        wanted = self._wanted_now()
        left, top, right, bottom = extent(wanted.keypoints[-1])
        edge = _BESIDE * max(right - left, bottom - top)

        def is_beside(other: Stretch) -> bool:
            low_x, low_y, high_x, high_y = extent(other.keypoints[-1])
            return (low_x < right + edge and high_x > left - edge) and (
                low_y < bottom + edge and high_y > top - edge
            )

        return [one for one in self._live if one is wanted or is_beside(one)]

    def _around_wanted(self) -> Region:
        left, top, right, bottom = extent(self._wanted_now().keypoints[-1])
        side = _AROUND * max(right - left, bottom - top)
        return Region(x=(left + right) / 2, y=(top + bottom) / 2, side=side)

    def _wanted_now(self) -> Stretch:
        if self._clicked in self._live:
            return self._clicked
        if self._wanted is not None and self._wanted >= 0:
            known = sorted((*self._ended, *self._live), key=lambda one: one.start)
            if self._wanted < len(known) and known[self._wanted] in self._live:
                return known[self._wanted]
        return max(self._live, key=lambda one: one.height_sum)

    def _next(self, image: Image, stretch: Stretch) -> Sighting | None:
        """The same person in this frame: where the last one points, or found anew nearby."""
        last, region = stretch.keypoints[-1], stretch.regions[-1]
        sighting = self._detector.follow(image, stretch.ahead())
        if sighting is not None and _goes_on(sighting, last, region):
            return sighting
        around = Region(x=region.x, y=region.y, side=2.0 * region.side)
        found = self._detector.detect(image, near=around)
        near = [one for one in found if _goes_on(one, last, region)]
        return min(near, key=lambda one: distance(one.keypoints, last), default=None)

    def _end(self, stretch: Stretch) -> None:
        """Somebody is lost; since when isn't known."""
        stretch.drop(stretch.num_guessed)
        self._live.remove(stretch)
        self._ended.append(stretch)

    def _part_doubles(self, image: Image) -> None:
        """Of two on one body, only the one goes on whose clothes these are."""
        for first in list(self._live):
            for second in list(self._live):
                if first is second or first not in self._live or second not in self._live:
                    continue
                if not first.is_read[-1] or not second.is_read[-1]:
                    continue
                if distance(first.keypoints[-1], second.keypoints[-1]) > _DOUBLE:
                    continue
                wrong = max((first, second), key=lambda one: self._strangeness(one, image))
                wrong.drop(1)
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
            if sighting is None or sighting.presence < _MIN_FOUND or len(self._live) >= _MAX_PEOPLE:
                continue
            worn = clothes(image, sighting.keypoints, self._corners)
            if not any(_is_same(sighting.keypoints, worn, other) for other in self._live):
                self._begin(sighting, image)

    def _looked_for(self, image: Image) -> list[Sighting]:
        """Who is in the picture: in the whole, and in a part or around who is wanted by turns. Of
        pictures with nobody in them each gets one look: who is found late is followed backwards.
        """
        parts = _parts(image)
        both = bool(self._live) or self.num_frames == 0
        places: list[Region | None] = []
        if both or not parts or self.num_frames % 2 == 0:
            places.append(None)
        if parts and (both or self.num_frames % 2 == 1):
            self._view += 1
            # who is beside the wanted person is taken for them first if nobody knows of it
            near = self._live and self._view % 2 == 0
            part = parts[(self._view // 2 if self._live else self._view) % len(parts)]
            places.append(self._around_wanted() if near else part)

        def found_in(place: Region | None) -> list[Sighting]:
            return self._detector.detect(image, near=place)

        pool = self._pool if len(places) > 1 else None
        found = map(found_in, places) if pool is None else pool.map(found_in, places)
        return [one for some in list(found) for one in some]

    def _begin(self, sighting: Sighting, image: Image) -> None:
        """Somebody new, followed backwards as far as the frames at hand go."""
        stretch = Stretch(start=self.num_frames)
        stretch.add(sighting)
        stretch.wears(clothes(image, sighting.keypoints, self._corners))
        # beside somebody who is wanted, a few looks a second will do here too
        every = self._rest if self._live else 1
        last, back = sighting, every
        while back <= len(self._kept):
            before = self._earlier(last, back)
            if before is not None:
                stretch.put_before(before, num_between=every - 1)
                last, back = before, back + every
            elif every > 1:  # how far they can be followed, to a frame
                back, every = back - every + 1, 1
            else:
                break
        self._live.append(stretch)

    def _earlier(self, last: Sighting, back: int) -> Sighting | None:
        """Somebody as they were in the frame so many before this one; None if they aren't seen, or
        if it is somebody who is known."""
        image = self._kept[-back]
        before = self._detector.follow(image, last.region)
        if before is None or not _goes_on(before, last.keypoints, last.region):
            return None
        worn = clothes(image, before.keypoints, self._corners)
        is_taken = self._is_taken(before.keypoints, worn, self.num_frames - back)
        return None if is_taken else before

    def _is_taken(self, points: Floats, worn: Floats | None, frame: int) -> bool:
        others = ((one, one.at(frame)) for one in (*self._live, *self._ended[-20:]))
        return any(
            place is not None and _is_reading(points, worn, one, place) for one, place in others
        )


def _goes_on(sighting: Sighting, last: Floats, region: Region) -> bool:
    """Whether it can be the person who was there a frame ago."""
    growth = sighting.region.side / max(region.side, 1.0)
    fits = 1 / _MAX_GROWTH < growth < _MAX_GROWTH
    return fits and distance(sighting.keypoints, last) < _MAX_JUMP


def _is_reading(points: Floats, worn: Floats | None, known: Stretch, other: Floats) -> bool:
    """Whether a pose is another reading of the pose `other` of somebody who is known."""
    near = distance(points, other)
    # of two who walk side by side each has clothes of their own
    return near < _DOUBLE or (near < 2 * _DOUBLE and difference(known.clothes, worn) < UNLIKE)


def _is_same(points: Floats, worn: Floats | None, known: Stretch) -> bool:
    """Whether a pose is another reading of somebody who is known, or of a part of them."""
    other = known.keypoints[-1]
    if _is_reading(points, worn, known, other):
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
        width = max(2, round(0.08 * height(points)))
        cv2.fillConvexPoly(covered, outline, _GREY)
        cv2.polylines(covered, [outline], True, _GREY, thickness=width)
    return covered


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


def _order(person: Person) -> tuple[int, float]:
    return int(person.frames[0]), float(person.keypoints[0, :, 0].mean())
