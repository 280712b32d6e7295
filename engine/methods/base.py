"""What every motion model offers, and what it is asked.

A method is one class with three members (`Method`); the server, the command line and the
trainer's evaluation call nothing else. Two of the four published methods are not diffusion, so
nothing here speaks of noise.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from engine.checkpoint import CheckpointInfo
from engine.motion.camera import pixels_to_units
from engine.motion.keypoint_layout import to_joint_keypoints
from engine.motion.lifting import Track
from engine.motion.motion import Motion

MAX_PROMPT_CHARACTERS = 1_000
MAX_SECONDS = 60.0

Report = Callable[[int, int], None]
"""report(step, num_steps): progress. Raises Cancelled when the client has asked to stop."""


class RequestError(ValueError):
    """Words or numbers of a request that can't be served; the message is one line for the user."""


class UnknownModelError(RequestError):
    """No model has the name that was asked for."""


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


@dataclass(frozen=True)
class PromptSequence:
    """Several prompts, one after the other in one motion, with a transition between them."""

    prompts: tuple[Prompt, ...]
    num_frames: tuple[int, ...]  # of each, at the model's rate

    def __post_init__(self) -> None:
        if not self.prompts or len(self.prompts) != len(self.num_frames):
            raise RequestError(
                f"There are {len(self.prompts)} prompts and {len(self.num_frames)} lengths, "
                "needs as many of both, one at least"
            )
        if min(self.num_frames) < 1:
            raise RequestError("A prompt lasts no frame, each needs 1 or more")

    @property
    def text(self) -> str:
        """All prompts in one line."""
        return ", then ".join(prompt.text for prompt in self.prompts)


@dataclass(frozen=True, kw_only=True)
class VideoClip:
    """2D keypoints of one person over time, for methods that lift video.

    A keypoint that isn't there has confidence 0; so has every keypoint of a frame in which the
    person isn't seen. `layout` is one of engine.motion.keypoint_layout.LAYOUTS.
    """

    keypoints: Tensor  # (T, K, 3) pixels from the top left corner, and confidence
    fps: float
    image_size: tuple[int, int] = (1920, 1080)  # width and height in pixels
    layout: str = "blazepose_33"
    focal_length: float | None = None  # pixels; None: not known
    # (T, 3, 3) from the axes of the first frame's camera to each frame's; None: it stands still
    camera_rotations: Tensor | None = None

    def track(self) -> Track:
        """The clip in the joints' order and in image units.

        Raises:
            RequestError: the layout isn't known, or shapes and numbers don't fit.
        """
        try:
            keypoints = to_joint_keypoints(self.keypoints.float(), self.layout)
            places = pixels_to_units(keypoints[..., :2], self.image_size)
            is_seen = keypoints[..., 2:] > 0
            half = max(self.image_size) / 2
            return Track(
                keypoints=torch.cat((places, keypoints[..., 2:]), dim=-1) * is_seen,
                fps=self.fps,
                focal_length=None if self.focal_length is None else self.focal_length / half,
                camera_rotations=self.camera_rotations,
            )
        except ValueError as error:
            raise RequestError(f"The video's keypoints can't be used: {error}") from error


Condition = Prompt | PromptSequence | VideoClip
"""What a motion is made from."""


@dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """Numbers of a request. None means the model's own default.

    Frames are counted at the model's rate (`info.fps`).
    """

    num_frames: int
    seed: int
    num_steps: int | None = None
    guidance_scale: float | None = None
    loop: bool = False  # the last frame is the first pose again, wherever the character is then

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

    def run(self, condition: Condition, options: SampleOptions, report: Report) -> Motion:
        """Make one motion at info.fps with options.num_frames frames.

        A lifted video has its own length instead, cut to options.num_frames.

        Raises:
            RequestError: the condition or an option isn't one that this model can serve.
            Cancelled: report said so.
        """
        ...


@runtime_checkable
class BatchMethod(Protocol):
    """A model that can make several motions side by side."""

    def run_batch(
        self,
        conditions: Sequence[Prompt | PromptSequence],
        options: Sequence[SampleOptions],
        report: Report,
    ) -> list[Motion]:
        """One motion per prompt, each as `run` would make it alone, to rounding.

        Raises:
            RequestError: a condition or an option isn't one that this model can serve.
            Cancelled: report said so.
        """
        ...


@runtime_checkable
class MixtureMethod(Protocol):
    """A model of motion and its views that can begin in one and end in the other."""

    def mixed(self, alpha: float) -> Method:
        """The same model that samples a view down to the share alpha of the noise, then motion.

        Raises:
            RequestError: alpha is not 0 to 1.
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
