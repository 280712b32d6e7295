"""The part of a movie that a strip shows, and which of its frames lies where on the timeline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class MovieRange:
    """The part of a movie that a strip shows. Frames of the movie are counted from 0."""

    strip_name: str
    path: Path
    movie_fps: float
    first_frame: int  # of the movie
    num_frames: int  # of the movie
    start: int  # first frame of the timeline that shows it
    end: int  # last frame of the timeline that shows it
    step: float = 1.0  # frames of the movie per frame of the timeline
    zero: float = 0.0  # where on the timeline the movie's frame 0 is, or would be
    speed: float = 1.0  # seconds of the movie per second of the timeline
    notes: tuple[str, ...] = ()  # what the artist may not expect

    @property
    def last_frame(self) -> int:
        """The last frame of the movie that is shown."""
        return self.first_frame + self.num_frames - 1

    @property
    def num_shown(self) -> int:
        """Frames of the timeline that show it."""
        return self.end - self.start + 1

    @property
    def keys_per_second(self) -> float:
        """Frames of the timeline in a second of the movie: with so many each has a key."""
        return self.movie_fps / self.step

    @property
    def offset(self) -> float:
        """Seconds of the movie from first_frame to the moment that `start` shows.

        Blender shows the frame that is nearest to it.
        """
        return ((self.start - self.zero) * self.step - self.first_frame) / self.movie_fps

    def frame_at(self, frame: int) -> int:
        """The frame of the movie that a frame of the timeline shows."""
        shown = int((frame - self.zero) * self.step + 0.5)
        return min(max(shown, self.first_frame), self.last_frame)
