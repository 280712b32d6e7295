"""From footage to the motion of one person in it: what the server and the command line share.

Keypoints are put right and onto an even clock; a lifter makes poses of them, which are fitted to
the keypoints at the clock's rate (`refine`, which can be exchanged); then the motion stands on the
floor, its feet in their places, for as long as the footage lasts. Figures say how well that went.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation, Slerp
from torch import Tensor

from engine import __version__
from engine.capture_quality import CaptureQuality, advice, measure
from engine.methods.base import Method, Report, RequestError, SampleOptions, VideoClip
from engine.methods.hmmr import Hmmr
from engine.motion.camera import DEFAULT_FOCAL_LENGTH, units_to_pixels
from engine.motion.floor import at_standing_height, level, standing
from engine.motion.foot_lock import lock_feet, place_on_floor
from engine.motion.motion import Motion
from engine.motion.resample import resample
from engine.motion.stature import at_usual_stature
from engine.motion.track_fit import fit_to_keypoints
from engine.video.cleaning import clean
from engine.video.footage import Footage, Wanted, clock_rate, on_clock
from engine.video.frames import film_to_pixels
from engine.video.keypoint_names import KEYPOINT_NAMES
from engine.video.stretches import Person

Floats = NDArray[np.float32]
Refine = Callable[[Motion, Tensor, Report], Motion]
"""refine(motion, keypoints, report): the lifted motion (T frames, with camera and contacts) better
fitted to keypoints (T, 22, 3) in image units."""

_SEEN_POINTS = 4  # keypoints of a frame in which somebody counts as seen
_SEEN_CONFIDENCE = 0.2
_LEAST_FRAMES = 2**31  # more than any clip has: a lifted video has its own length


@dataclass(frozen=True, kw_only=True)
class CaptureOptions:
    """Whose motion, and how. None means what suits the footage."""

    person: int = -1  # -1: the largest; 0, 1 …: in the order in which they appear
    click: tuple[float, float, float] | None = None  # seconds of the video, x and y in pixels
    fps: float | None = None  # of the result
    film_focal_length: float | None = None  # millimetres, as on 35 mm film
    seed: int = 0
    num_steps: int | None = None
    guidance_scale: float | None = None

    @property
    def wanted(self) -> Wanted:
        """Whose motion is wanted."""
        return Wanted(person=self.person, click=self.click)


@dataclass(frozen=True, kw_only=True)
class Capture:
    """One person's motion, with what it was made from, frame by frame."""

    motion: Motion
    keypoints: Floats  # (T, K, 3) pixels and confidence, repaired but not smoothed
    layout: str
    image_size: tuple[int, int]
    start: float  # seconds of the video at the first frame
    quality: CaptureQuality


def capture_arrays(capture: Capture) -> dict[str, NDArray[np.generic]]:
    """What an .npz holds of a capture besides its motion."""
    camera = capture.motion.camera
    assert camera is not None
    matrix = torch.cat((camera.rotation, camera.translation[..., None]), dim=-1)
    half = max(capture.image_size) / 2
    middle = units_to_pixels(camera.principal_point, capture.image_size)
    return {
        "camera": _array(matrix),
        "focal_length": _array(camera.focal_length[0] * half),
        "principal_point": _array(middle[0]),
        "image_size": np.array(capture.image_size, dtype=np.int32),
        "keypoints": capture.keypoints,
        "keypoint_names": np.array(KEYPOINT_NAMES[capture.layout]),
    }


def _array(tensor: Tensor) -> Floats:
    return tensor.detach().cpu().numpy().astype(np.float32)


def choose_person(footage: Footage, options: CaptureOptions) -> int:
    """The number of the person who is meant.

    Raises:
        RequestError: there is nobody, or nobody of that number or at that place.
    """
    count = len(footage.people)
    name = footage.info.path.name
    if count == 0:
        raise RequestError(
            f"Nobody was found in {name} ({len(footage.times)} frames looked at): needs a person "
            "who is seen for a quarter of a second, and not too small"
        )
    found = options.wanted.among(footage.people, footage.times)
    if found is not None:
        return found
    if options.click is not None:
        seconds, x, y = options.click
        raise RequestError(
            f"Nobody is at {x:.0f}, {y:.0f} of {name} at {seconds:.2f} s: click on a person"
        )
    raise RequestError(
        f"Person {options.person} was asked for, {name} has {count}: "
        f"needs 0 to {count - 1}, or the largest"
    )


def capture(
    footage: Footage,
    lifter: Method,
    options: CaptureOptions,
    report: Report,
    *,
    refine: Refine = fit_to_keypoints,
    better: Refine | None = None,
) -> Capture:
    """The motion of one person of the footage, as long as the footage is.

    `better` makes the lifted motion more likely at the lifter's own rate, before `refine` fits it
    to the keypoints at the video's.

    Raises:
        RequestError: nobody is there, or the model doesn't take video.
        Cancelled: report said so.
    """
    if "video" not in lifter.accepts:
        raise RequestError(
            f"The model {lifter.info.name} makes motion from {' and '.join(lifter.accepts)}, "
            "not from video: choose another one"
        )
    number = choose_person(footage, options)
    seen = _on_clock(footage, footage.people[number], options)
    first, stop = seen.stretch
    clip = VideoClip(
        keypoints=torch.from_numpy(seen.keypoints[first:stop]),
        fps=seen.fps,
        image_size=footage.info.image_size,
        layout=footage.layout,
        focal_length=seen.focal_length,
        camera_rotations=_turns_of(seen, first, stop),
    )
    sample = SampleOptions(
        num_frames=_LEAST_FRAMES,
        seed=options.seed,
        num_steps=options.num_steps,
        guidance_scale=options.guidance_scale,
    )
    report(0, 100)
    lifted = lifter.run(clip, sample, lambda step, steps: report(10 * step // max(steps, 1), 100))
    begun, each = 10, 44  # per cent: before and in each fit to the keypoints
    if better is not None:
        lifted = better(
            lifted,
            _at_times_of(lifted, clip),
            lambda step, steps: report(10 + 30 * step // max(steps, 1), 100),
        )
        begun, each = 40, 29
    motion = _of_length(resample(lifted, seen.fps), stop - first)
    targets = clip.track().keypoints
    fitted = refine(
        motion, targets, lambda step, steps: report(begun + each * step // max(steps, 1), 100)
    )
    # now that feet are where they are seen, they say where the floor is and when they stand
    upright = level(fitted)
    upright = replace(upright, contacts=standing(upright))
    fitted = refine(
        upright,
        targets,
        lambda step, steps: report(begun + each + each * step // max(steps, 1), 100),
    )
    placed = _on_floor(at_usual_stature(fitted))
    quality = measure(
        placed,
        targets,
        raw=_raw_keypoints(seen, clip, first, stop),
        num_swaps=seen.num_swaps,
        seen_share=seen.share,
    )
    report(100, 100)
    whole = _held(placed, first, len(seen.keypoints) - stop)
    keypoints = seen.keypoints
    if options.fps is not None and options.fps != seen.fps:
        whole, keypoints = _at_rate(whole, keypoints, options.fps)
    told = (*footage.warnings, *seen.warnings, *lifted.warnings, *advice(quality))
    return Capture(
        motion=replace(
            whole,
            warnings=tuple(dict.fromkeys(told)),
            provenance=_provenance(footage, lifter, number, seen, quality, lifted, options),
        ),
        keypoints=keypoints,
        layout=footage.layout,
        image_size=footage.info.image_size,
        start=float(footage.times[0]),
        quality=quality,
    )


def predict_frame(
    footage: Footage, lifter: Hmmr, options: CaptureOptions, report: Report
) -> Capture:
    """Past, now and future of a person in the footage's middle frame.

    Raises:
        RequestError: nobody is there.
        Cancelled: report said so.
    """
    number = choose_person(footage, options)
    seen = _on_clock(footage, footage.people[number], options)
    first, stop = seen.stretch
    clip = VideoClip(
        keypoints=torch.from_numpy(seen.keypoints[first:stop]),
        fps=seen.fps,
        image_size=footage.info.image_size,
        layout=footage.layout,
        focal_length=seen.focal_length,
    )
    motion = lifter.predict(clip, report)
    middle = seen.keypoints[first + (stop - first) // 2]
    keypoints = np.stack((np.zeros_like(middle), middle, np.zeros_like(middle)))
    targets = torch.zeros(3, 22, 3)
    targets[1] = clip.track().keypoints[(stop - first) // 2]
    quality = measure(motion, targets, raw=targets, num_swaps=0, seen_share=1.0)
    told = (*footage.warnings, *motion.warnings)
    return Capture(
        motion=replace(
            motion,
            warnings=told,
            provenance=_provenance(footage, lifter, number, seen, quality, motion, options),
        ),
        keypoints=keypoints,
        layout=footage.layout,
        image_size=footage.info.image_size,
        start=float(footage.times[0]),
        quality=quality,
    )


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """One person on the clock."""

    keypoints: Floats  # (T, K, 3) repaired
    raw: Floats  # (T, K, 3) as the detector has them
    fps: float
    stretch: tuple[int, int]  # first and past-the-last frame in which the person is seen
    share: float  # of the frames in between
    num_swaps: int
    camera_rotations: Floats | None  # (T, 3, 3)
    focal_length: float | None
    warnings: tuple[str, ...]


def _on_clock(footage: Footage, person: Person, options: CaptureOptions) -> _Seen:
    fps = clock_rate(footage.fps)
    times = footage.times
    usual = 1.0 / footage.fps
    count = max(1, round((float(times[-1] - times[0]) + usual) * fps))
    clock = times[0] + np.arange(count) / fps
    raw = person.dense(len(times))
    others = [one.dense(len(times)) for one in footage.people if one is not person]
    cleaned = clean(raw, footage.layout, footage.info.image_size, footage.fps, others=others)
    keypoints = on_clock(cleaned.keypoints, times, clock)
    is_seen = (keypoints[..., 2] > _SEEN_CONFIDENCE).sum(-1) >= _SEEN_POINTS
    frames = np.flatnonzero(is_seen)
    if len(frames) == 0:
        raise RequestError("The person is hardly seen: choose another one")
    first, stop = int(frames[0]), int(frames[-1]) + 1
    keypoints[:first], keypoints[stop:] = 0.0, 0.0
    focal = footage.info.focal_length
    if options.film_focal_length is not None:
        focal = film_to_pixels(options.film_focal_length, footage.info.image_size)
    turns = _camera_turns(footage, focal, clock)
    warnings: list[str] = []
    if (first > 0 or stop < count) and stop - first < 0.98 * count:
        warnings.append(
            f"The person is there from {clock[first]:.1f} to {clock[stop - 1]:.1f} s of the video: "
            "before and after that the motion stands still"
        )
    if turns is not None:
        warnings.append("The camera moves: its turning was found from the background and taken out")
    return _Seen(
        keypoints=keypoints,
        raw=on_clock(raw, times, clock),
        fps=float(fps),
        stretch=(first, stop),
        share=float(is_seen[first:stop].mean()),
        num_swaps=cleaned.num_swaps,
        camera_rotations=turns,
        focal_length=focal,
        warnings=tuple(warnings),
    )


def _camera_turns(
    footage: Footage, focal: float | None, clock: NDArray[np.float64]
) -> Floats | None:
    if footage.camera is None or len(footage.times) < 3:
        return None
    half = max(footage.info.image_size) / 2
    units = DEFAULT_FOCAL_LENGTH if focal is None else focal / half
    turns = footage.camera.rotations(units, footage.fps)
    if turns is None:
        return None
    between = Slerp(footage.times, Rotation.from_matrix(turns))
    inside = np.clip(clock, footage.times[0], footage.times[-1])
    return between(inside).as_matrix().astype(np.float32)


def _turns_of(seen: _Seen, first: int, stop: int) -> Tensor | None:
    """From the axes of the stretch's first camera."""
    if seen.camera_rotations is None:
        return None
    turns = torch.from_numpy(seen.camera_rotations[first:stop])
    return turns @ turns[0].T


def _raw_keypoints(seen: _Seen, clip: VideoClip, first: int, stop: int) -> Tensor:
    return replace(clip, keypoints=torch.from_numpy(seen.raw[first:stop])).track().keypoints


def _at_times_of(motion: Motion, clip: VideoClip) -> Tensor:
    """The clip's keypoints (T, 22, 3) in image units at the motion's frames."""
    track = clip.track().keypoints.numpy()
    clock = np.arange(motion.num_frames) / motion.fps
    return torch.from_numpy(on_clock(track, np.arange(len(track)) / clip.fps, clock))


def _at_rate(motion: Motion, keypoints: Floats, fps: float) -> tuple[Motion, Floats]:
    """Motion and keypoints at another rate, frame by frame beside each other."""
    other = resample(motion, fps)
    before = np.arange(len(keypoints)) / motion.fps
    return other, on_clock(keypoints, before, np.arange(other.num_frames) / fps)


def _of_length(motion: Motion, num_frames: int) -> Motion:
    """The motion cut, or its last pose held: a lifter's clock may end a frame off."""
    if motion.num_frames >= num_frames:
        return motion.crop(0, num_frames)
    return _held(motion, 0, num_frames - motion.num_frames)


def _held(motion: Motion, before: int, after: int) -> Motion:
    """The first pose held for frames before, the last for frames after; the camera too."""
    if before == 0 and after == 0:
        return motion
    index = torch.arange(-before, motion.num_frames + after).clamp(0, motion.num_frames - 1)
    confidence = motion.joint_confidence
    return replace(
        motion,
        root_translation=motion.root_translation[index],
        local_rotations=motion.local_rotations[index],
        contacts=motion.contacts[index],
        camera=None if motion.camera is None else motion.camera[index],
        joint_confidence=None if confidence is None else confidence[index],
    )


def _on_floor(motion: Motion) -> Motion:
    """The motion on the floor with its feet locked; the camera goes with it."""
    assert motion.camera is not None
    # where feet stand their height says more than the lowest joint of all frames
    has_stands = bool((motion.contacts > 0).any())
    placed = at_standing_height(motion) if has_stands else place_on_floor(motion)
    shift = placed.root_translation[0] - motion.root_translation[0]
    camera = motion.camera.in_moved_world(torch.eye(3).to(shift), shift)
    # how high a foot swings is seen: one that shuffles isn't lifted
    locked = lock_feet(placed, contact_probabilities=motion.contacts, clearance=0.0)
    return replace(locked, camera=camera)


def _provenance(
    footage: Footage,
    lifter: Method,
    number: int,
    seen: _Seen,
    quality: CaptureQuality,
    lifted: Motion,
    options: CaptureOptions,
) -> dict[str, object]:
    half = max(footage.info.image_size) / 2
    focal = seen.focal_length or DEFAULT_FOCAL_LENGTH * half
    return {
        "engine_version": __version__,
        "model": lifter.info.name,
        "model_hash": lifter.info.model_hash,
        "licence": lifter.info.licence,
        **lifted.provenance,
        "video": footage.info.path.name,
        "start": round(float(footage.times[0]), 6),
        "num_video_frames": len(footage.times),
        "video_fps": footage.fps,
        "detector": footage.layout,
        "person": number,
        "num_people": len(footage.people),
        "seed": options.seed,
        "focal_length": round(float(focal), 3),
        "is_focal_length_known": seen.focal_length is not None,
        "is_camera_moving": seen.camera_rotations is not None,
        "quality": {name: _rounded(value) for name, value in asdict(quality).items()},
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
