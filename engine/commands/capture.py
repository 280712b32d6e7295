"""`python -m engine capture`: video to motion without Blender."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from engine.commands import console
from engine.commands.generate import check_files

if TYPE_CHECKING:
    from engine.capture import Capture, CaptureOptions
    from engine.capture_job import CaptureJob
    from engine.video.footage import Footage

EXAMPLE = "python -m engine capture dance.mp4 --out dance.npz --overlay dance-overlay.mp4"
ENDINGS = (".npz", ".bvh")


def add_parser(verbs: console.Verbs) -> None:
    """The verb's words."""
    parser = verbs.add_parser(
        "capture", help="make motion from a video of a person", epilog=f"example: {EXAMPLE}"
    )
    parser.add_argument("video", type=Path, metavar="VIDEO", help="a video file")
    parser.add_argument(
        "--start", type=float, default=0.0, metavar="S", help="from this second (default: 0)"
    )
    parser.add_argument("--seconds", type=float, metavar="S", help="so long (default: to the end)")
    parser.add_argument(
        "--person",
        default="largest",
        metavar="P",
        help="largest, or a number: 0, 1 … in the order in which they appear (default: largest)",
    )
    parser.add_argument(
        "--click",
        type=float,
        nargs=3,
        metavar=("S", "X", "Y"),
        help="the person who is at this second at this pixel",
    )
    parser.add_argument("--prompt", help="what the person does, for a --model that takes words too")
    parser.add_argument("--lifter", default="", help="the model that makes poses of keypoints")
    parser.add_argument("--model", default="", help="a model that betters what the lifter makes")
    parser.add_argument(
        "--detector",
        choices=("blazepose", "rtmpose"),
        default="blazepose",
        help="what finds keypoints (default: blazepose; rtmpose: the extra video-rtmpose)",
    )
    parser.add_argument(
        "--keypoints",
        type=Path,
        metavar="FILE",
        help="keypoints that are there already: OpenPose's folder, AlphaPose's or COCO's file",
    )
    parser.add_argument(
        "--focal", type=float, metavar="MM", help="focal length as on 35 mm film (default: unknown)"
    )
    parser.add_argument("--fps", type=float, help="frame rate of the result (default: the video's)")
    parser.add_argument("--seed", type=int, default=0, help="for a --model that draws (default: 0)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help=".npz or .bvh")
    parser.add_argument(
        "--overlay",
        type=Path,
        metavar="FILE",
        help="keypoints and motion drawn on the video (.mp4), or on a sheet of pictures (.png)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    console.add_models_option(parser)
    console.add_common_options(parser, device=True)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Capture and write the files."""
    _check_endings(arguments)
    check_files(
        [file for file in (arguments.out, arguments.overlay) if file is not None],
        overwrite=arguments.overwrite,
    )
    from engine.checkpoint import CheckpointError
    from engine.methods.base import RequestError
    from engine.motion.files import MotionFileError
    from engine.overlay import OverlayError
    from engine.video.frames import VideoError
    from engine.video.keypoints import DetectorError, KeypointFileError

    try:
        footage, capture = _capture(arguments)
        _write(arguments, footage, capture)
    except (RequestError, CheckpointError, VideoError, KeypointFileError) as error:
        raise console.CommandError(str(error)) from error
    except (MotionFileError, OverlayError, DetectorError) as error:
        raise console.WorkError(str(error)) from error
    _tell(arguments, footage, capture)
    return console.DONE


def _check_endings(arguments: argparse.Namespace) -> None:
    for name, file, endings in (
        ("--out", arguments.out, ENDINGS),
        ("--overlay", arguments.overlay, (".mp4", ".png")),
    ):
        if file is not None and file.suffix.lower() not in endings:
            raise console.CommandError(
                f"{name} {file} ends in {file.suffix or 'nothing'!r}, needs {' or '.join(endings)}"
            )
    if not arguments.video.exists():
        raise console.CommandError(f"There is no file {arguments.video}")


def _capture(arguments: argparse.Namespace) -> tuple[Footage, Capture]:
    from engine.capture_job import run_capture
    from engine.device import choose_device
    from engine.server.model_store import ModelStore, model_folders

    job = _job(arguments)
    store = ModelStore(model_folders(arguments.models), choose_device(arguments.device))
    with console.ProgressLine("Capturing") as progress:
        return run_capture(job, store, progress.report)


def _job(arguments: argparse.Namespace) -> CaptureJob:
    from engine.capture_job import CaptureJob
    from engine.generation import check_fps
    from engine.methods.base import Prompt
    from engine.video.frames import Span

    if arguments.fps is not None:
        check_fps(arguments.fps)
    if arguments.seed < 0:
        raise console.CommandError(f"--seed is {arguments.seed}, needs 0 or more")
    return CaptureJob(
        path=arguments.video,
        span=Span(start=arguments.start, seconds=arguments.seconds),
        options=_options(arguments),
        lifter=arguments.lifter,
        model=arguments.model,
        prompt=Prompt(arguments.prompt) if arguments.prompt is not None else None,
        detector=arguments.detector,
        keypoints=arguments.keypoints,
    )


def _options(arguments: argparse.Namespace) -> CaptureOptions:
    from engine.capture import CaptureOptions

    person = -1
    if arguments.person != "largest":
        if not arguments.person.isdecimal():
            raise console.CommandError(
                f"--person is {arguments.person!r}, needs largest or a number from 0 on"
            )
        person = int(arguments.person)
    if arguments.focal is not None and not 5 <= arguments.focal <= 2000:
        raise console.CommandError(f"--focal is {arguments.focal:g}, needs 5 to 2000 mm")
    return CaptureOptions(
        person=person,
        click=None if arguments.click is None else tuple(arguments.click),
        fps=arguments.fps,
        film_focal_length=arguments.focal,
        seed=arguments.seed,
    )


def _write(arguments: argparse.Namespace, footage: Footage, capture: Capture) -> None:
    from engine.capture import capture_arrays
    from engine.motion.files import write_motion, write_npz
    from engine.overlay import write_overlay

    if arguments.overlay is not None:
        write_overlay(arguments.overlay, footage, capture)
    if arguments.out.suffix.lower() == ".npz":
        extra = capture_arrays(capture)
        write_npz(capture.motion, arguments.out, overwrite=arguments.overwrite, extra=extra)
    else:
        write_motion(capture.motion, arguments.out, overwrite=arguments.overwrite)


def _tell(arguments: argparse.Namespace, footage: Footage, capture: Capture) -> None:
    """Warnings to standard error, then what was made."""
    for warning in capture.motion.warnings:
        console.print_warning(warning)
    if arguments.json:
        console.print_json(_summary(arguments, footage, capture))
        return
    motion, quality = capture.motion, capture.quality
    error = quality.reprojection_error
    off = "" if error is None else f", {error:.1%} of the height off the keypoints"
    print(
        f"{arguments.out}: {motion.num_frames} frames at {motion.fps:g} a second, "
        f"{motion.seconds:.2f} s; seen in {quality.seen_share:.0%} of them{off}, "
        f"feet slide {quality.slide_mm_per_frame:.1f} mm a frame"
    )


def _summary(
    arguments: argparse.Namespace, footage: Footage, capture: Capture
) -> dict[str, object]:
    """The object of --json."""
    motion = capture.motion
    files = [file for file in (arguments.out, arguments.overlay) if file is not None]
    return {
        "files": [str(file) for file in files],
        "num_frames": motion.num_frames,
        "fps": motion.fps,
        "seconds": motion.seconds,
        "people": [
            {
                "number": number,
                "from": round(float(footage.times[person.frames[0]]), 3),
                "to": round(float(footage.times[person.frames[-1]]), 3),
                "num_frames": len(person.frames),
            }
            for number, person in enumerate(footage.people)
        ],
        "quality": asdict(capture.quality),
        "video": {
            "num_frames": len(footage.times),
            "fps": footage.fps,
            "image_size": list(footage.info.image_size),
            "watching_s": round(footage.seconds_taken, 3),
            "detector_share": round(footage.detector_share, 3),
        },
        "warnings": list(motion.warnings),
        "provenance": dict(motion.provenance),
    }
