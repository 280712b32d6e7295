"""From a request to finished motions: what the server and the command line share.

A method counts frames at its own rate; a request counts them at the rate of the result. Here
the one becomes the other, and every motion gets the provenance to make it again.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from engine import __version__
from engine.methods.base import (
    MAX_SECONDS,
    BatchMethod,
    Method,
    Prompt,
    PromptSequence,
    Report,
    RequestError,
    SampleOptions,
    check_seconds,
)
from engine.motion.motion import Motion
from engine.motion.resample import resample, resample_to_frames

MAX_BATCH = 8  # candidates that are sampled side by side


@dataclass(frozen=True)
class LaterPrompt:
    """What is done after the first prompt, for so many frames of the result."""

    prompt: Prompt
    num_frames: int


@dataclass(frozen=True, kw_only=True)
class GenerationRequest:
    """Motions from words. None means the model's own default."""

    prompt: Prompt
    num_frames: int  # of the whole result, at fps
    fps: float
    seed: int  # of the first candidate; candidate i has seed + i
    num_steps: int | None = None
    guidance_scale: float | None = None
    count: int = 1
    then: tuple[LaterPrompt, ...] = ()  # the first prompt has the frames that are left
    loop: bool = False  # the last frame is the first pose again

    def __post_init__(self) -> None:
        check_fps(self.fps)
        check_seconds(self.num_frames / self.fps)
        if self.then and min(self.part_frames()) < 1:
            raise RequestError(
                f"The motion has {self.num_frames} frames, its prompts after the first have "
                f"{sum(part.num_frames for part in self.then)} together: needs 1 or more for each"
            )
        if self.count < 1:
            raise RequestError(f"The number of candidates is {self.count}, needs 1 or more")

    def part_frames(self) -> tuple[int, ...]:
        """Frames of each prompt."""
        later = tuple(part.num_frames for part in self.then)
        return (self.num_frames - sum(later), *later)

    def condition(self, num_frames: int) -> Prompt | PromptSequence:
        """What a model is asked, for so many frames at its own rate."""
        if not self.then:
            return self.prompt
        ends = accumulate(self.part_frames())
        marks = [0, *(round(num_frames * end / self.num_frames) for end in ends)]
        return PromptSequence(
            prompts=(self.prompt, *(part.prompt for part in self.then)),
            num_frames=tuple(stop - start for start, stop in pairwise(marks)),
        )


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


def generate(
    method: Method, request: GenerationRequest, report: Report, *, max_batch: int = MAX_BATCH
) -> Iterator[Motion]:
    """Make the candidates, each with exactly request.num_frames frames.

    A model that can makes up to max_batch of them at once, another one after the other; report
    counts the steps of all.

    Raises:
        RequestError: the model does not take words, or can't serve a number of the request.
        Cancelled: report said so.
    """
    if "prompt" not in method.accepts:
        raise RequestError(
            f"The model {method.info.name} makes motion from {' and '.join(method.accepts)}, "
            "not from words: choose another one"
        )
    if request.loop:
        ratio = method.info.fps / request.fps
        num_frames = round((request.num_frames - 1) * ratio) + 1
    else:
        num_frames = model_frames(request.num_frames, request.fps, method.info.fps)
    condition = request.condition(num_frames)
    options = [
        SampleOptions(
            num_frames=num_frames,
            seed=request.seed + candidate,
            num_steps=request.num_steps,
            guidance_scale=request.guidance_scale,
            loop=request.loop,
        )
        for candidate in range(request.count)
    ]
    for motion, wanted in _run_all(method, condition, options, report, max_batch):
        if request.loop:  # both ends stay what they are
            fitted = resample_to_frames(motion, request.num_frames)
            fitted = replace(fitted, fps=request.fps)
        else:
            fitted = fit_frames(motion, request.num_frames, request.fps)
        yield replace(fitted, provenance=_provenance(motion, method, request, wanted))


def _run_all(
    method: Method,
    condition: Prompt | PromptSequence,
    options: list[SampleOptions],
    report: Report,
    max_batch: int,
) -> Iterator[tuple[Motion, SampleOptions]]:
    if isinstance(method, BatchMethod):
        for start in range(0, len(options), max_batch):
            group = options[start : start + max_batch]

            def report_share(
                step: int, num_steps: int, done: int = start, size: int = len(group)
            ) -> None:
                report(done * num_steps + size * step, len(options) * num_steps)

            yield from zip(
                method.run_batch([condition] * len(group), group, report_share), group, strict=True
            )
        return
    for candidate, wanted in enumerate(options):

        def report_all(step: int, num_steps: int, done: int = candidate) -> None:
            report(done * num_steps + step, len(options) * num_steps)

        yield method.run(condition, wanted, report_all), wanted


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
        **_parts(request),
    }


def _parts(request: GenerationRequest) -> dict[str, object]:
    """The prompts with their frames at the result's rate, where there are several."""
    if not request.then:
        return {}
    prompts = (request.prompt, *(part.prompt for part in request.then))
    return {
        "prompts": [
            {"prompt": prompt.text, "num_frames": frames}
            for prompt, frames in zip(prompts, request.part_frames(), strict=True)
        ]
    }


def _ceil(value: float) -> int:
    return math.ceil(value - 1e-6)  # 2.0000000001 means 2
