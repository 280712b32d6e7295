"""`python -m engine predict`: past, now and future poses from one picture."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from engine.commands import console
from engine.commands.generate import check_files, output_files

if TYPE_CHECKING:
    from engine.capture import Capture

EXAMPLE = "python -m engine predict jump.jpg --out jump.npz"


def add_parser(verbs: console.Verbs) -> None:
    """The verb's words."""
    parser = verbs.add_parser(
        "predict",
        help="poses just before, in and just after one picture",
        epilog=f"example: {EXAMPLE}",
    )
    parser.add_argument("image", type=Path, metavar="IMAGE", help="a picture of a person")
    parser.add_argument("--model", default="", help="a lifter that tells past and future (HMMR)")
    parser.add_argument(
        "--focal", type=float, metavar="MM", help="focal length as on 35 mm film (default: unknown)"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help=".npz or .bvh")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    console.add_models_option(parser)
    console.add_common_options(parser, device=True)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Predict and write the file: three frames, past, now and future."""
    check_files(output_files(arguments.out, None), overwrite=arguments.overwrite)
    if not arguments.image.exists():
        raise console.CommandError(f"There is no file {arguments.image}")
    from engine.checkpoint import CheckpointError
    from engine.methods.base import RequestError
    from engine.motion.files import MotionFileError
    from engine.video.frames import VideoError
    from engine.video.keypoints import DetectorError

    try:
        capture = _predict(arguments)
        _write(arguments, capture)
    except (RequestError, CheckpointError, VideoError) as error:
        raise console.CommandError(str(error)) from error
    except (MotionFileError, DetectorError) as error:
        raise console.WorkError(str(error)) from error
    _tell(arguments, capture)
    return console.DONE


def _predict(arguments: argparse.Namespace) -> Capture:
    from engine.capture import CaptureOptions
    from engine.capture_job import predict
    from engine.device import choose_device
    from engine.server.model_store import ModelStore, model_folders

    options = CaptureOptions(film_focal_length=arguments.focal)
    store = ModelStore(model_folders(arguments.models), choose_device(arguments.device))
    with console.ProgressLine("Predicting") as progress:
        return predict(arguments.image, arguments.model, options, store, progress.report)


def _write(arguments: argparse.Namespace, capture: Capture) -> None:
    from engine.capture import capture_arrays
    from engine.motion.files import write_motion, write_npz

    if arguments.out.suffix.lower() == ".npz":
        extra = capture_arrays(capture)
        write_npz(capture.motion, arguments.out, overwrite=arguments.overwrite, extra=extra)
    else:
        write_motion(capture.motion, arguments.out, overwrite=arguments.overwrite)


def _tell(arguments: argparse.Namespace, capture: Capture) -> None:
    motion = capture.motion
    for warning in motion.warnings:
        console.print_warning(warning)
    if arguments.json:
        console.print_json(
            {
                "files": [str(arguments.out)],
                "num_frames": motion.num_frames,
                "fps": motion.fps,
                "warnings": list(motion.warnings),
                "provenance": dict(motion.provenance),
            }
        )
        return
    print(f"{arguments.out}: past, now and future, {1 / motion.fps:.2f} s apart")
