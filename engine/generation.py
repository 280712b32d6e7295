"""From a request to finished motions: what the server and the command line share.

A method counts frames at its own rate; a request counts them at the rate of the result. Here
the one becomes the other, and every motion gets the provenance to make it again.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace

from engine import __version__
from engine.methods.base import (
    MAX_SECONDS,
    Method,
    Prompt,
    Report,
    RequestError,
    SampleOptions,
    check_seconds,
)
from engine.motion.motion import Motion
from engine.motion.resample import resample


@dataclass(frozen=True, kw_only=True)
class GenerationRequest:
    """Motions from words. None means the model's own default."""

    prompt: Prompt
    num_frames: int  # of the result, at fps
    fps: float
    seed: int  # of the first candidate; candidate i has seed + i
    num_steps: int | None = None
    guidance_scale: float | None = None
    count: int = 1

    def __post_init__(self) -> None:
        check_fps(self.fps)
        check_seconds(self.num_frames / self.fps)
        if self.count < 1:
            raise RequestError(f"The number of candidates is {self.count}, needs 1 or more")


def check_fps(fps: float) -> None:
    """Refuse a frame rate of the result that is none.

    Raises:
        RequestError: fps is not from 1 to 1000.
    """
    if not 1 <= fps <= 1000:
        raise RequestError(f"The frame rate is {fps:g}, needs 1 to 1000 frames a second")


def draw_seed() -> int:
    """A seed for a request that has none: it fits Blender's 32-bit fields."""
    return secrets.randbelow(2**31)


def generate(method: Method, request: GenerationRequest, report: Report) -> Iterator[Motion]:
    """Make the candidates one after the other, each with exactly request.num_frames frames.

    report counts the steps of all candidates.

    Raises:
        RequestError: the model does not take words, or can't serve a number of the request.
        Cancelled: report said so.
    """
    if "prompt" not in method.accepts:
        raise RequestError(
            f"The model {method.info.name} makes motion from {' and '.join(method.accepts)}, "
            "not from words: choose another one"
        )
    for candidate in range(request.count):

        def report_all(step: int, num_steps: int, done: int = candidate) -> None:
            report(done * num_steps + step, request.count * num_steps)

        options = SampleOptions(
            num_frames=model_frames(request.num_frames, request.fps, method.info.fps),
            seed=request.seed + candidate,
            num_steps=request.num_steps,
            guidance_scale=request.guidance_scale,
        )
        motion = method.run(request.prompt, options, report_all)
        motion = fit_frames(motion, request.num_frames, request.fps)
        yield replace(motion, provenance=_provenance(motion, method, request, options))


def model_frames(num_frames: int, fps: float, model_fps: float) -> int:
    """The least number of frames at the model's rate that the result can be made from.

    They reach the time of the result's last frame, and last as long as the result does; but
    never longer than MAX_SECONDS, where the last pose is held for less than a frame instead.
    """
    ratio = model_fps / fps
    needed = max(_ceil((num_frames - 1) * ratio) + 1, _ceil(num_frames * ratio))
    return min(needed, int(MAX_SECONDS * model_fps))


def fit_frames(motion: Motion, num_frames: int, fps: float) -> Motion:
    """The motion at another rate, with exactly num_frames frames."""
    return resample(motion, fps).crop(0, num_frames)


def _provenance(
    motion: Motion, method: Method, request: GenerationRequest, options: SampleOptions
) -> dict[str, object]:
    """What is needed to make this motion again; the method knows the values it has used."""
    return {
        "engine_version": __version__,
        "model": method.info.name,
        "model_hash": method.info.model_hash,
        "licence": method.info.licence,
        "prompt": request.prompt.text,
        "seed": options.seed,
        "num_steps": options.num_steps,
        "guidance_scale": options.guidance_scale,
        **motion.provenance,
        "num_frames": request.num_frames,
        "fps": request.fps,
    }


def _ceil(value: float) -> int:
    return math.ceil(value - 1e-6)  # 2.0000000001 means 2
