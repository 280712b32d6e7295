"""Who was found in the movies of strips, for the picker. Nothing of it is part of the file."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import protocol
from .movie_range import MovieRange


@dataclass(frozen=True, kw_only=True, eq=False)
class FoundPeople:
    """The answer for one strip."""

    found_id: str  # of the job that found them
    footage: MovieRange
    people: tuple[protocol.FoundPerson, ...]
    pictures: protocol.ByteArray  # (P, S, S, 3)

    def seen_in(self, shown: MovieRange) -> list[int]:
        """Which of them can be picked where a strip shows this now; it may have been trimmed."""
        if shown.path != self.footage.path:
            return []
        first, last = shown.first_frame, shown.last_frame
        return [
            index for index, person in enumerate(self.people) if first <= person.click_frame <= last
        ]

    def covers(self, shown: MovieRange) -> bool:
        """Whether all that a strip shows now was looked at."""
        looked = self.footage
        return (
            shown.path == looked.path
            and looked.first_frame <= shown.first_frame
            and shown.last_frame <= looked.last_frame
        )


def found_people(job_id: str, footage: MovieRange, message: protocol.PeopleFound) -> FoundPeople:
    """What an answer says."""
    return FoundPeople(
        found_id=job_id,
        footage=footage,
        people=tuple(message.people),
        pictures=message.pictures,
    )


def preview_pixels(picture: protocol.ByteArray) -> protocol.FloatArray:
    """A picture (S, S, 3), top row first, as the RGBA (S * S * 4,) of a preview, bottom row first.

    Blender takes previews as they are to be shown, without a colour space.
    """
    side = len(picture)
    pixels = np.ones((side, side, 4), dtype=np.float32)
    pixels[..., :3] = picture[::-1] / np.float32(255)
    return pixels.reshape(-1)


def timeline_span(person: protocol.FoundPerson, shown: MovieRange) -> tuple[int, int]:
    """First and last frame of the timeline in which a person is seen in a strip."""
    first, last = (
        round(shown.zero + frame / shown.step) for frame in (person.first_frame, person.last_frame)
    )
    return max(shown.start, first), min(shown.end, last)
