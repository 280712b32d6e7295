"""A capture from start to end: models chosen, footage watched, one person's motion made."""

from __future__ import annotations

import gc
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from torch import Tensor

from engine.capture import (
    Capture,
    CaptureOptions,
    Refine,
    capture,
    choose_person,
    predict_frame,
)
from engine.checkpoint import CheckpointInfo
from engine.lifters import default_lifter, lifts
from engine.methods.base import Method, Prompt, Report, RequestError, UnknownModelError
from engine.methods.hmmr import Hmmr
from engine.methods.video_mdm import RefineOptions, VideoMdm
from engine.motion.joint_points import joint_points
from engine.motion.motion import Motion
from engine.motion.ray_projection import Sight
from engine.motion.track_fit import chained, chunk_starts
from engine.video.ahead import patiently
from engine.video.footage import Footage, watch
from engine.video.frames import Span, VideoReader, span_of_frames
from engine.video.keypoint_files import read_keypoints
from engine.video.keypoints import KeypointDetector

DETECTORS = ("blazepose", "rtmpose")
_STEPS = 1000  # in which progress is counted
_WATCHED = 700  # of them, when the footage has been watched
_WINDOW_SECONDS = 10.0  # that a prior sees at once
_OVERLAP_SECONDS = 1.0  # over which one window goes over into the next
_LEAST_FRAMES = 2  # that a prior can better


class HasModels(Protocol):
    """What is needed of a model store."""

    def entries(self) -> list[CheckpointInfo]:
        """The models that there are."""
        ...

    def load(self, name: str) -> Method:
        """A model, ready to run."""
        ...


@dataclass(frozen=True, kw_only=True)
class CaptureJob:
    """What to capture, and with what."""

    path: Path
    span: Span | None = None  # None: all of it
    frames: tuple[int, int] | None = None  # first, and how many: instead of a span
    options: CaptureOptions = CaptureOptions()  # noqa: RUF009 - frozen
    lifter: str = ""
    model: str = ""  # another lifter, or a prior that betters what the lifter makes
    prompt: Prompt | None = None  # for a prior
    detector: str = DETECTORS[0]
    keypoints: Path | None = None  # files of another detector, instead of one that runs


def run_capture(job: CaptureJob, models: HasModels, report: Report) -> tuple[Footage, Capture]:
    """Do the job; the same as the first of `run_captures`."""
    return next(run_captures(job, models, report))


def run_captures(
    job: CaptureJob, models: HasModels, report: Report, *, count: int = 1
) -> Generator[tuple[Footage, Capture]]:
    """Do the job with `count` seeds. report counts all of it, and may raise to stop.

    Only a prior draws by chance: without one all results are alike, and are made once.

    Raises:
        RequestError: a model isn't there or doesn't fit, or nobody is found.
        VideoError: the video can't be read.
        DetectorError: the detector isn't installed.
        KeypointFileError: the keypoint files can't be read.
        CheckpointError: a model's file can't be used.
        Cancelled: report said so.
    """
    lifter_name, prior_name = choose_models(models.entries(), job.lifter, job.model)
    footage = _watched(job, lambda step, steps: report(_WATCHED * step // max(steps, 1), _STEPS))
    choose_person(footage, job.options)  # nobody there: say so before models are loaded

    def report_loading(step: int, steps: int) -> None:
        report(_WATCHED, _STEPS)

    prior = patiently(lambda _: models.load(prior_name), report_loading) if prior_name else None
    lifter = patiently(lambda _: models.load(lifter_name), report_loading)
    made: Capture | None = None
    for candidate in range(count):

        def report_made(step: int, steps: int, done: int = candidate) -> None:
            part = (done + step / max(steps, 1)) / count
            report(_WATCHED + int((_STEPS - _WATCHED) * part), _STEPS)

        if made is None or prior is not None:
            options = replace(job.options, seed=job.options.seed + candidate)
            better = None if prior is None else better_by(prior, job.prompt, options.seed)
            made = patiently(_capturing(footage, lifter, options, better), report_made)
        yield footage, made


def _capturing(
    footage: Footage, lifter: Method, options: CaptureOptions, better: Refine | None
) -> Callable[[Report], Capture]:
    return lambda report: capture(footage, lifter, options, report, better=better)


def _watched(job: CaptureJob, report: Report) -> Footage:
    def report_start(step: int, steps: int) -> None:
        report(0, 1)

    span, frames = job.span or Span(), job.frames
    if frames is not None:
        span = patiently(lambda _: span_of_frames(job.path, *frames), report_start)
    keypoints = job.keypoints
    if keypoints is not None:
        return patiently(lambda told: read_keypoints(keypoints, job.path, span, told), report)
    # a file that is no video: say so before networks are loaded
    with VideoReader(job.path):
        pass
    detector = patiently(lambda _: make_detector(job.detector), report_start)
    footage = watch(job.path, span, detector, report, wanted=job.options.wanted)
    del detector
    gc.collect()  # the detector's networks
    return footage


def choose_models(entries: Sequence[CheckpointInfo], lifter: str, model: str) -> tuple[str, str]:
    """The names of the lifter and of the prior ("": none) by what was asked for.

    Raises:
        RequestError: there is no lifter, or one of that name doesn't exist or takes no video, or
            two are named.
    """
    by_name = {info.name: info for info in entries}
    lifters = [name for name, info in by_name.items() if lifts(info)]
    if not lifters:
        raise RequestError(
            "No model here accepts video: write a prompt instead, or add a model that does"
        )
    for name in (lifter, model):
        if name and name not in by_name:
            raise UnknownModelError(
                f"There is no model {name[:80]!r}, needs one of: {', '.join(lifters)}"
            )
        if name and name not in lifters and by_name[name].method != "video_mdm":
            raise RequestError(
                f"The model {name} does not accept video, needs one of: {', '.join(lifters)}"
            )
    prior = model if model and by_name[model].method == "video_mdm" else ""
    wanted = lifter or (model if not prior else "")
    if not prior and model and lifter and model != lifter:
        raise RequestError(
            f"{lifter} and {model} both lift, so one of them would do nothing: name one, or a "
            "prior that betters what is lifted"
        )
    if wanted and wanted not in lifters:
        raise RequestError(f"The model {wanted} lifts no video, needs one of: {', '.join(lifters)}")
    if not wanted:
        wanted = default_lifter(entries)
    return wanted, prior


def make_detector(name: str) -> KeypointDetector:
    """A detector by its name.

    Raises:
        DetectorError: it isn't installed.
    """
    if name == "rtmpose":
        from engine.video.rtmpose import RtmPose

        return RtmPose()
    from engine.video.blazepose import BlazePose

    return BlazePose()


def better_by(prior: Method, prompt: Prompt | None, seed: int) -> Refine:
    """A prior's way to make a lifted motion more likely, a window at a time; for `capture`."""
    assert isinstance(prior, VideoMdm)
    options = RefineOptions(seed=seed)

    def better(motion: Motion, keypoints: Tensor, report: Report) -> Motion:
        assert motion.camera is not None
        points, confidence = joint_points(motion, keypoints)
        sight = Sight(camera=motion.camera, plane_points=points, confidence=confidence)
        size, overlap = (round(s * motion.fps) for s in (_WINDOW_SECONDS, _OVERLAP_SECONDS))
        windows = chunk_starts(motion.num_frames, size, overlap)
        if motion.num_frames < _LEAST_FRAMES:
            return motion
        parts: list[Motion] = []
        for number, window in enumerate(windows):

            def report_all(step: int, steps: int, done: int = number) -> None:
                report(done * steps + step, len(windows) * steps)

            whole, seen = motion.crop(*window), sight[slice(*window)]
            parts.append(prior.refine(whole, seen, prompt, options, report_all))
        told: dict[str, object] = {"prior": prior.info.name, "prior_hash": prior.info.model_hash}
        if prompt is not None:
            told["prior_prompt"] = prompt.text
        return replace(chained(parts, windows), provenance={**motion.provenance, **told})

    return better


def predict(
    image: Path, model: str, options: CaptureOptions, models: HasModels, report: Report
) -> Capture:
    """Past, now and future of the person in a picture: a motion of three frames.

    Raises:
        RequestError: nobody is found, or the model tells no past and future.
        VideoError: the picture can't be read.
        DetectorError: the detector isn't installed.
    """
    lifter = models.load(choose_models(models.entries(), model, "")[0])
    if not isinstance(lifter, Hmmr):
        raise RequestError(
            f"The model {lifter.info.name} tells no past and future, needs one of the method hmmr"
        )
    footage = watch(image, Span(), make_detector(DETECTORS[0]), report, with_camera=False)
    return predict_frame(footage, lifter, options, report)
