"""Jobs with a movie: whose motion it is, who is in it, and the movie that shows how well it fits.

The last capture is kept with what was seen (a few megabytes for a minute), so that an overlay that
is asked for afterwards needs no second capture. It is let go when the next job comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from blender_addon import protocol
from engine.generation import draw_seed
from engine.methods.base import Prompt, Report, RequestError
from engine.server.model_store import Models
from engine.server.results import motion_to_result
from engine.video.frames import Span, VideoError, VideoReader, frame_times

if TYPE_CHECKING:  # what these import would make the start longer
    from engine.capture import Capture
    from engine.capture_job import CaptureJob
    from engine.motion.motion import Motion
    from engine.video.footage import Footage

Send = Callable[[protocol.Message], None]
_CAPTURE_SHARE = 0.85  # of a job that writes an overlay too
_STEPS = 1000


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """The candidates of one request."""

    request: protocol.VideoRequest
    modified_ns: int  # of the movie
    made: list[tuple[Footage, Capture]]


class MovieJobs:
    """Runs the jobs of one engine that have a movie."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._kept: _Kept | None = None

    def forget(self) -> None:
        """Let go of the last capture: other jobs may need the memory."""
        self._kept = None

    def capture(self, request: protocol.VideoRequest, send: Send, report: Report) -> None:
        """Send a motion for each candidate. The overlay is of the first.

        Raises:
            RequestError: also where the overlay can't be written.
            VideoError and others: as engine.capture_job.run_captures.
            Cancelled: report said so.
        """
        overlay = checked_overlay(request)
        made: list[tuple[Footage, Capture]] = []
        share = _CAPTURE_SHARE if overlay is not None else 1.0
        captures = self._captures(
            request, lambda step, steps: report(_part(step, steps, share), _STEPS)
        )
        for candidate, (footage, capture) in enumerate(captures):
            made.append((footage, capture))
            written = ""
            if overlay is not None and candidate == 0:
                _write_overlay(overlay, request, footage, capture, report)
                written = str(overlay)
            send(capture_to_result(request, capture, candidate, overlay=written))
        self._kept = _Kept(request=request, modified_ns=_modified_ns(request.path), made=made)

    def _captures(
        self, request: protocol.VideoRequest, report: Report
    ) -> Iterator[tuple[Footage, Capture]]:
        kept = self._kept
        if kept is not None and _is_same(kept, request):
            yield from kept.made
            return
        self._kept = None
        from engine.capture_job import choose_models, run_captures

        choose_models(self._models.entries(), request.lifter, request.model)  # before the file
        yield from run_captures(to_capture(request), self._models, report, count=request.count)

    def people(self, request: protocol.PeopleRequest, send: Send, report: Report) -> None:
        """Send who is in the movie.

        Raises:
            VideoError: the movie can't be read.
            DetectorError: the detector isn't installed.
            Cancelled: report said so.
        """
        from engine.capture_job import DETECTORS, make_detector
        from engine.people import find_people

        clock = MovieClock(request.path, request.movie_fps)
        found, warnings = find_people(
            Path(request.path),
            clock.span(request.first_frame, request.num_frames),
            make_detector(DETECTORS[0]),
            report,
            picture_side=request.picture_side,
        )
        side = request.picture_side
        pictures = [person.picture for person in found]
        people = protocol.PeopleFound(
            job_id=request.job_id,
            people=[
                protocol.FoundPerson(
                    first_frame=clock.frame_at(person.start),
                    last_frame=clock.frame_at(person.end),
                    share=person.share,
                    height=person.height,
                    click_frame=clock.frame_at(person.click_time),
                    click_x=person.click_x,
                    click_y=person.click_y,
                )
                for person in found
            ],
            pictures=np.array(pictures, dtype=np.uint8).reshape(len(found), side, side, 3),
            warnings=list(warnings),
        )
        send(people)


class MovieClock:
    """Numbers of a movie's frames as a request counts them, and when they are shown."""

    def __init__(self, path: str, movie_fps: float) -> None:
        """Read the frames' times.

        Raises:
            VideoError: the movie can't be read.
        """
        self._name = Path(path).name
        self._times = frame_times(Path(path))
        self._fps = movie_fps

    def span(self, first: int, count: int) -> Span:
        """The time of some frames, from when the first of them begins to be shown.

        Raises:
            VideoError: the movie is over before that.
        """
        times, start, end = self._times, self.seconds(first), self.seconds(first + count)
        usual = float(np.median(np.diff(times))) if len(times) > 1 else 0.04
        if len(times) == 0 or start > times[-1] + usual:
            shown = "none" if len(times) == 0 else f"{times[-1] + usual:.2f} s"
            raise VideoError(f"{self._name} has {shown} of frames, the strip begins after them")
        began = float(times[max(0, int(np.searchsorted(times, start + 1e-4)) - 1)])
        return Span(start=max(0.0, began), seconds=max(end - began, 1e-3))

    def seconds(self, frame: int) -> float:
        """When a frame is shown, from the movie's first."""
        if self._fps > 0:
            return frame / self._fps
        times = self._times
        if frame < len(times):
            return float(times[frame])
        usual = float(np.median(np.diff(times))) if len(times) > 1 else 0.04
        return (float(times[-1]) if len(times) else 0.0) + usual * (frame - len(times) + 1)

    def frame_at(self, seconds: float) -> int:
        """The frame that is nearest to a time."""
        if self._fps > 0:
            return max(0, round(seconds * self._fps))
        return int(np.abs(self._times - seconds).argmin())


def to_capture(request: protocol.VideoRequest) -> CaptureJob:
    """The request in the engine's terms; its result has the movie's own rate.

    Raises:
        RequestError: the prompt can't be served.
        VideoError: the movie can't be read, or has no such frame.
    """
    from engine.capture import CaptureOptions
    from engine.capture_job import CaptureJob

    clock = MovieClock(request.path, request.movie_fps)
    return CaptureJob(
        path=Path(request.path),
        span=clock.span(request.first_frame, request.num_frames),
        options=CaptureOptions(
            person=request.person,
            click=_click(request, clock),
            seed=draw_seed() if request.seed < 0 else request.seed,
            num_steps=request.num_steps or None,
            guidance_scale=request.guidance_scale or None,
        ),
        lifter=request.lifter,
        model=request.model,
        prompt=Prompt(request.prompt) if request.prompt.strip() else None,
    )


def capture_to_result(
    request: protocol.VideoRequest, capture: Capture, candidate: int, *, overlay: str = ""
) -> protocol.JobResult:
    """A capture as the message that carries it, at the rate and length that were asked for."""
    from engine.capture_quality import advice_by_figure
    from engine.motion.resample import sample_at

    motion = capture.motion
    start, num_frames = _timing(request, capture)
    motion = sample_at(motion, request.fps, start=start, num_frames=num_frames)
    provenance = {**motion.provenance, "advice": advice_by_figure(capture.quality)}
    if request.prompt.strip():
        provenance["words"] = request.prompt
    result = motion_to_result(
        replace(motion, provenance=provenance),
        job_id=request.job_id,
        candidate=candidate,
        count=request.count,
    )
    return replace(result, overlay=overlay, **_camera_fields(capture, motion))


def _click(request: protocol.VideoRequest, clock: MovieClock) -> tuple[float, float, float] | None:
    """Who was picked, as engine.capture wants it: seconds, and x and y in pixels."""
    if request.click_frame < 0:
        return None
    with VideoReader(Path(request.path)) as reader:
        width, height = reader.info.image_size
    return clock.seconds(request.click_frame), request.click_x * width, request.click_y * height


def _timing(request: protocol.VideoRequest, capture: Capture) -> tuple[float, int]:
    """Seconds from the capture's first frame to the result's, and the result's frames."""
    start = request.offset
    if request.movie_fps > 0:  # the first frame that was read began a little before
        start += request.first_frame / request.movie_fps - capture.start
    return start, request.length or max(1, round(capture.motion.seconds * request.fps))


def checked_overlay(request: protocol.VideoRequest) -> Path | None:
    """Where the overlay goes; None where none is asked for.

    Raises:
        RequestError: it can't go there.
    """
    if not request.overlay:
        return None
    path = Path(request.overlay)
    if path.suffix.lower() != ".mp4":
        raise RequestError(f"The overlay {path} ends in {path.suffix!r}, needs .mp4")
    if not path.parent.is_dir():
        raise RequestError(f"There is no folder {path.parent} for the overlay: choose another one")
    if path.exists() and path.samefile(request.path):
        raise RequestError(f"The overlay {path} is the movie itself: choose another name")
    if path.exists() and not request.overlay_replace:
        raise RequestError(f"The overlay {path} is there already: choose another name")
    return path


def _camera_fields(capture: Capture, motion: Motion) -> dict[str, Any]:
    """Fields of JobResult for the camera that has seen the motion."""
    from engine.capture import capture_arrays

    if motion.camera is None:
        return {}
    arrays = capture_arrays(replace(capture, motion=motion))
    return {
        "camera": np.ascontiguousarray(arrays["camera"], dtype=np.float32),
        "focal_length": float(arrays["focal_length"]),
        "principal_point": [float(value) for value in arrays["principal_point"]],
        "image_size": [int(value) for value in arrays["image_size"]],
    }


def _write_overlay(
    path: Path,
    request: protocol.VideoRequest,
    footage: Footage,
    capture: Capture,
    report: Report,
) -> None:
    """A frame of the overlay for each frame of the result: it is in sync where that is."""
    from engine.overlay import OverlayError, write_even_overlay

    def report_part(step: int, steps: int) -> None:
        part = min(step, steps) / max(steps, 1)
        report(round(_STEPS * (_CAPTURE_SHARE + (1 - _CAPTURE_SHARE) * part)), _STEPS)

    start, num_frames = _timing(request, capture)
    if request.movie_fps > 0:  # a player shows the frame that is nearest
        start += 0.5 / request.movie_fps
    try:
        write_even_overlay(
            path,
            footage,
            capture,
            report_part,
            start=capture.start + start,
            fps=request.fps,
            num_frames=num_frames,
        )
    except OverlayError as error:
        raise RequestError(str(error)) from error


def _part(step: int, steps: int, share: float) -> int:
    return round(_STEPS * share * min(step, steps) / max(steps, 1))


def _is_same(kept: _Kept, request: protocol.VideoRequest) -> bool:
    """Whether a request asks for the capture that is kept, however it is to be sent."""
    before = kept.request
    alike = replace(
        request,
        job_id=before.job_id,
        fps=before.fps,
        offset=before.offset,
        length=before.length,
        overlay=before.overlay,
        overlay_replace=before.overlay_replace,
    )
    is_drawn = request.seed < 0  # with another seed each time
    return alike == before and not is_drawn and kept.modified_ns == _modified_ns(request.path)


def _modified_ns(path: str) -> int:
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return -1
