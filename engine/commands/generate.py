"""`python -m engine generate`: text to motion without Blender."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from engine.commands import console

if TYPE_CHECKING:
    from engine.generation import GenerationRequest, LaterPrompt
    from engine.methods.base import Method, Prompt
    from engine.motion.motion import Motion

EXAMPLE = 'python -m engine generate "a person walks forward and waves" --out walk.npz'
ENDINGS = (".npz", ".bvh")
DEFAULT_SECONDS = 6.0


def add_parser(verbs: console.Verbs) -> None:
    """The verb's words."""
    parser = verbs.add_parser(
        "generate", help="make motion from words", epilog=f"example: {EXAMPLE}"
    )
    parser.add_argument("prompt", metavar="PROMPT", help="what the person does")
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--seconds", type=float, help=f"length of the (first) motion (default: {DEFAULT_SECONDS:g})"
    )
    length.add_argument("--frames", type=int, help="length in frames of the result")
    parser.add_argument(
        "--then",
        nargs=2,
        action="append",
        default=[],
        metavar=("PROMPT", "SECONDS"),
        help="what is done after that; several times for several prompts",
    )
    parser.add_argument(
        "--loop", action="store_true", help="the last frame is the first pose again"
    )
    parser.add_argument("--fps", type=float, help="frame rate (default: the model's own)")
    parser.add_argument("--seed", type=int, help="same seed, same motion (default: a random one)")
    parser.add_argument("--model", default="", help="name of a model (see: engine models)")
    parser.add_argument("--steps", type=int, help="denoising steps (default: the model's)")
    parser.add_argument("--guidance", type=float, help="guidance scale (default: the model's)")
    parser.add_argument(
        "--mixture",
        type=float,
        metavar="ALPHA",
        help="sample a 2D view first, down to this share (0 to 1) of the noise, then lift it",
    )
    parser.add_argument(
        "--count", type=int, help="this many motions, with the seeds that follow; numbers the files"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help=".npz or .bvh")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    console.add_models_option(parser)
    console.add_common_options(parser, device=True)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Generate and write the files."""
    files = output_files(arguments.out, arguments.count)
    check_files(files, overwrite=arguments.overwrite)

    from engine.checkpoint import CheckpointError
    from engine.methods.base import RequestError
    from engine.motion.files import MotionFileError
    from engine.networks.text_encoder import TextEncoderError

    try:
        results = list(_generate(arguments, files))
    except (RequestError, CheckpointError) as error:
        raise console.CommandError(str(error)) from error
    except (MotionFileError, TextEncoderError) as error:
        raise console.WorkError(str(error)) from error
    _tell(arguments, results)
    return console.DONE


def output_files(out: Path, count: int | None) -> list[Path]:
    """FILE, or with a count FILE-1, FILE-2 … before the ending.

    Raises:
        CommandError: the ending or the count can't be served.
    """
    if out.suffix.lower() not in ENDINGS:
        raise console.CommandError(
            f"--out {out} ends in {out.suffix or 'nothing'!r}, needs {' or '.join(ENDINGS)}"
        )
    if count is None:
        return [out]
    if not 1 <= count <= 1000:
        raise console.CommandError(f"--count is {count}, needs 1 to 1000")
    return [out.with_name(f"{out.stem}-{i}{out.suffix}") for i in range(1, count + 1)]


def check_files(files: list[Path], *, overwrite: bool) -> None:
    """Refuse before the work what could not be written after it.

    Raises:
        CommandError: a file exists, or the folder can't be written to.
    """
    for file in files:
        if file.is_dir() or (file.exists() and not overwrite):
            raise console.CommandError(f"{file} exists: give another --out, or --overwrite")
    folder = files[0].parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise console.CommandError(
            f"The folder {folder} can't be written to ({error.strerror}): give another --out"
        ) from error


def _generate(arguments: argparse.Namespace, files: list[Path]) -> Iterator[tuple[Path, Motion]]:
    """Write each motion as soon as it is made."""
    from engine.device import choose_device
    from engine.generation import draw_seed, generate
    from engine.methods.base import MixtureMethod, Prompt, RequestError, check_seconds
    from engine.motion.files import write_motion
    from engine.server.model_store import ModelStore, model_folders

    prompt = Prompt(arguments.prompt)
    if arguments.seconds is not None:
        check_seconds(arguments.seconds)
    store = ModelStore(model_folders(arguments.models), choose_device(arguments.device))
    method = store.load(arguments.model)
    if arguments.mixture is not None:
        if not isinstance(method, MixtureMethod):
            raise RequestError(f"The model {method.info.name} can't sample mixtures")
        method = method.mixed(arguments.mixture)
    seed = draw_seed() if arguments.seed is None else arguments.seed
    request = _request(arguments, prompt, method, seed)
    with console.ProgressLine("Generating") as progress:
        for file, motion in zip(files, generate(method, request, progress.report), strict=True):
            write_motion(motion, file, overwrite=arguments.overwrite)
            yield file, motion


def _request(
    arguments: argparse.Namespace, prompt: Prompt, method: Method, seed: int
) -> GenerationRequest:
    from engine.generation import GenerationRequest, check_fps

    fps = float(method.info.fps if arguments.fps is None else arguments.fps)
    check_fps(fps)
    seconds = DEFAULT_SECONDS if arguments.seconds is None else arguments.seconds
    frames = max(1, round(seconds * fps)) if arguments.frames is None else arguments.frames
    later = tuple(_later_prompt(text, length, fps) for text, length in arguments.then)
    return GenerationRequest(
        prompt=prompt,
        num_frames=frames + sum(part.num_frames for part in later),
        fps=fps,
        seed=seed,
        num_steps=arguments.steps,
        guidance_scale=arguments.guidance,
        count=arguments.count or 1,
        then=later,
        loop=arguments.loop,
    )


def _later_prompt(text: str, seconds: str, fps: float) -> LaterPrompt:
    from engine.generation import LaterPrompt
    from engine.methods.base import Prompt, check_seconds

    try:
        length = float(seconds)
    except ValueError:
        raise console.CommandError(
            f"--then {text!r} {seconds!r}: the length is no number, needs PROMPT SECONDS"
        ) from None
    check_seconds(length)
    return LaterPrompt(Prompt(text), max(1, round(length * fps)))


def _tell(arguments: argparse.Namespace, results: list[tuple[Path, Motion]]) -> None:
    """Warnings to standard error, then the files."""
    for warning in dict.fromkeys(line for _, motion in results for line in motion.warnings):
        console.print_warning(warning)
    if arguments.json:
        console.print_json(_summary(results))
        return
    for file, motion in results:
        seed = motion.provenance["seed"]
        print(f"{file}: {motion.num_frames} frames, {motion.seconds:.2f} s, seed {seed}")


def _summary(results: list[tuple[Path, Motion]]) -> dict[str, object]:
    """The object of --json."""
    first = results[0][1]
    return {
        "files": [str(file) for file, _ in results],
        "seeds": [motion.provenance["seed"] for _, motion in results],
        "num_frames": first.num_frames,
        "fps": first.fps,
        "seconds": first.seconds,
        "warnings": list(dict.fromkeys(line for _, m in results for line in m.warnings)),
        "provenance": dict(first.provenance),
    }
