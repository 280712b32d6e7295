"""What every motion model offers, and what it is asked.

A method is one class with three members (`Method`); the server, the command line and the
trainer's evaluation call nothing else. Two of the four published methods are not diffusion, so
nothing here speaks of noise.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from engine.checkpoint import CheckpointInfo
from engine.motion.motion import Motion

MAX_PROMPT_CHARACTERS = 1_000
MAX_SECONDS = 60.0

Report = Callable[[int, int], None]
"""report(step, num_steps): progress. Raises Cancelled when the client has asked to stop."""


class RequestError(ValueError):
    """Words or numbers of a request that can't be served; the message is one line for the user."""


class Cancelled(Exception):
    """The client has asked to stop. Raised by report(), passed through by a method."""


@dataclass(frozen=True)
class Prompt:
    """What the motion should be, in words. Emoji and control characters are dropped."""

    text: str

    def __post_init__(self) -> None:
        if len(self.text) > MAX_PROMPT_CHARACTERS:
            raise RequestError(
                f"The prompt has {len(self.text)} characters, at most {MAX_PROMPT_CHARACTERS} "
                "are read: describe one motion in a sentence or two"
            )
        cleaned = _plain_text(self.text)
        if not any(character.isalpha() for character in cleaned):
            raise RequestError(
                f"The prompt {self.text[:40]!r} has no letters: say what the person does, "
                'for example "a person walks forward"'
            )
        object.__setattr__(self, "text", cleaned)


@dataclass(frozen=True, kw_only=True)
class VideoClip:
    """2D keypoints of one person over time, for methods that lift video."""

    keypoints: Tensor  # (T, K, 3) pixels and confidence
    fps: float


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """Numbers of a request. None means the model's own default.

    Frames are counted at the model's rate (`info.fps`).
    """

    num_frames: int
    seed: int
    num_steps: int | None = None
    guidance_scale: float | None = None

    def __post_init__(self) -> None:
        if self.num_frames < 1:
            raise RequestError(f"The motion has {self.num_frames} frames, needs 1 or more")
        if not 0 <= self.seed < 2**63:
            raise RequestError(f"The seed is {self.seed}, needs 0 to {2**63 - 1}")
        if self.num_steps is not None and not 1 <= self.num_steps <= 1_000:
            raise RequestError(f"The number of steps is {self.num_steps}, needs 1 to 1000")
        if self.guidance_scale is not None and not 0 <= self.guidance_scale <= 20:
            raise RequestError(f"The guidance is {self.guidance_scale}, needs 0 to 20")


class Method(Protocol):
    """A motion model that has been loaded."""

    info: CheckpointInfo
    accepts: frozenset[str]

    def run(self, condition: Prompt | VideoClip, options: SampleOptions, report: Report) -> Motion:
        """Make one motion at info.fps with options.num_frames frames.

        Raises:
            RequestError: the condition or an option isn't one that this model can serve.
            Cancelled: report said so.
        """
        ...


def check_seconds(seconds: float) -> None:
    """Refuse a length that no model makes.

    Raises:
        RequestError: seconds is not above 0 and at most MAX_SECONDS.
    """
    if not 0 < seconds <= MAX_SECONDS:
        raise RequestError(
            f"The length is {seconds:g} seconds, needs more than 0 and at most {MAX_SECONDS:g}"
        )


def _plain_text(text: str) -> str:
    """The text in composed form without emoji, symbols and control characters."""
    composed = unicodedata.normalize("NFKC", text)
    kept = [
        character if unicodedata.category(character)[0] in "LNPMZ" else " "
        for character in composed
        if character not in "\u200d\ufe0f\ufe0e"
    ]
    return " ".join("".join(kept).split())
