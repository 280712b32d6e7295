"""`trainer evaluate`: metrics of checkpoints over a split, beside the real data or baselines."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from engine.checkpoint import CheckpointError, CheckpointInfo, update_metrics
from engine.methods.base import Method
from engine.networks.text_encoder import TextEncoderError
from trainer.commands.compared import load_compared
from trainer.commands.evaluate_lifters import is_lifter, run_lifters
from trainer.commands.evaluate_style import is_taught, run_style
from trainer.commands.written_report import hand_over
from trainer.data.corpus import Clip, CorpusError, load_corpus
from trainer.evaluation.drawing import Strip, draw_sheet
from trainer.evaluation.evaluate import (
    ROWS,
    RealClips,
    measure_floor,
    measure_real,
    measure_samples,
    prepare_real,
    sample_split,
)
from trainer.evaluation.evaluator_network import SHIPPED, load_evaluator, load_halves
from trainer.evaluation.metrics import Estimate
from trainer.evaluation.novelty import WINDOW_FRAMES, Nearest, TrainingIndex

Joints = NDArray[np.float32]
Figures = dict[str, Estimate]

EPILOG = (
    "example: python -m trainer evaluate engine/models/mdm-free.safetensors "
    "--data ../shared/data/motion/free --report evaluation.json"
)
NOTE = (
    "FID, KID, R-precision, MM-distance, diversity and multimodality are measured in the space "
    "of one evaluator: figures of different evaluators don't compare, those published for "
    "HumanML3D included. Captions of the same action count as hits in R-precision."
)
NUM_PAIRS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EPILOG
    parser.add_argument("checkpoint", type=Path, help="the model to evaluate")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="corpus folders")
    parser.add_argument("--split", default="test")
    parser.add_argument("--compare", type=Path, nargs="+", default=[], metavar="CHECKPOINT")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="times each is sampled")
    parser.add_argument("--limit", type=int, metavar="N", help="clips, evenly taken (a quick look)")
    parser.add_argument("--evaluator", type=Path, default=SHIPPED)
    parser.add_argument(
        "--novelty",
        type=Path,
        metavar="PNG",
        help="measure samples against the training clips too and draw the closest pairs",
    )
    parser.add_argument(
        "--lifting", action="store_true", help="as lifters, models that also take prompts"
    )
    parser.add_argument(
        "--moving", type=float, default=0.0, metavar="SHARE", help="of lifters' cameras"
    )
    parser.add_argument(
        "--camera-seed", type=int, default=1_000, metavar="N", help="lifters: other cameras, bodies"
    )
    parser.add_argument("--report", type=Path, metavar="JSON", help="write all figures")
    parser.add_argument(
        "--sheet", type=Path, metavar="PNG", help="on lifted clips: draw them and the samples"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    parser.add_argument("--write-header", action="store_true", help="into the checkpoints as well")
    parser.add_argument("--device", default="auto", help="auto, cuda, mps or cpu")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")


def run(args: argparse.Namespace) -> int:
    """Evaluate. 0 done, 2 if a file or a word is wrong."""
    try:
        _check(args)
        lifts = args.lifting or is_lifter(args.checkpoint)
        if args.sheet and (lifts or not is_taught(args.data)):
            raise ValueError(
                "--sheet draws what a model makes of captions: --data needs to be a folder of "
                "`prepare teacher`, and the model no lifter"
            )
        if lifts:
            return run_lifters(args, _paths(args), _progress)
        if is_taught(args.data):
            return run_style(args, _paths(args), _progress)
        evaluator, info = load_evaluator(args.evaluator)
        clips = _thin_out(load_corpus(args.data, args.split), args.limit)
        if len(clips) < 2:
            raise ValueError(f"Split {args.split!r} has 1 clip, a comparison needs 2 or more")
        methods = load_compared(_paths(args), _device(args.device))
        training = load_corpus(args.data, "train") if args.novelty else []
    except (CheckpointError, CorpusError, TextEncoderError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    real = prepare_real(clips, evaluator, load_halves())
    index = TrainingIndex(training) if training else None
    report: dict[str, Any] = {"note": NOTE, "evaluator": _about_evaluator(info)}
    report |= {"split": args.split, "num_clips": len(clips), "seeds": args.seeds}
    columns = {"real": measure_real(real)}
    if floor := measure_floor(real):
        columns["half against half"] = floor
    for method in methods:
        samples = _sample(method, real, args.seeds)
        columns[method.info.name] = measure_samples(real, samples, evaluator)
        if index is not None:
            novelty = _novelty(index, training, real, samples[0], args.novelty, method.info.name)
            report.setdefault("novelty", {})[method.info.name] = novelty
    report["figures"] = {name: _plain(figures) for name, figures in columns.items()}
    for path in _paths(args) if args.write_header else []:
        update_metrics(path, {**report["figures"][path.stem], "evaluator": info.model_hash})
    _show(columns, report, Console(stderr=args.json, width=_width()))
    hand_over(report, args.report, as_json=args.json)
    return 0


def _check(args: argparse.Namespace) -> None:
    if args.seeds < 1:
        raise ValueError(f"--seeds is {args.seeds}, needs 1 or more")
    if args.limit is not None and args.limit < 2:
        raise ValueError(f"--limit is {args.limit}, needs 2 or more")
    for path in (args.report, args.novelty, args.sheet):
        if path and path.exists() and not args.overwrite:
            raise ValueError(f"{path} is there already: choose another, or --overwrite")
    if args.sheet and args.sheet.suffix.lower() != ".png":
        raise ValueError(f"--sheet is {args.sheet}, needs a name that ends in .png")


def _paths(args: argparse.Namespace) -> list[Path]:
    return list(dict.fromkeys([args.checkpoint, *args.compare]))


def _thin_out(clips: list[Clip], limit: int | None) -> list[Clip]:
    """Clips taken evenly; an odd stride takes originals and their twins in turn."""
    return clips if limit is None else clips[:: max(1, len(clips) // limit) | 1]


def _device(name: str) -> torch.device:
    if name != "auto":
        return torch.device(name)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _sample(method: Method, real: RealClips, seeds: int) -> list[list[Joints]]:
    with _progress(f"Sampling {method.info.name}", seeds * len(real.clips)) as report:
        return [sample_split(method, real, seed, report) for seed in range(seeds)]


@contextmanager
def _progress(text: str, total: int) -> Generator[Callable[[], object]]:
    """A bar on a terminal's standard error, a line every so often elsewhere."""
    columns = (TextColumn(text), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    if sys.stderr.isatty():
        with Progress(*columns, console=Console(stderr=True)) as progress:
            task = progress.add_task(text, total=total)
            yield lambda: progress.advance(task)
        return
    done = 0

    def count() -> None:
        nonlocal done
        done += 1
        if done % 100 == 0 or done == total:
            print(f"{text}: {done} of {total}", file=sys.stderr, flush=True)

    yield count


def _novelty(
    index: TrainingIndex,
    training: Sequence[Clip],
    real: RealClips,
    samples: Sequence[Joints],
    picture: Path,
    name: str,
) -> dict[str, Any]:
    """Distances of samples and of real clips to their nearest training clip, and a picture."""
    with _progress(f"Comparing {name} with the training clips", 2 * len(samples)) as report:

        def search(motions: Sequence[Joints]) -> list[Nearest]:
            found: list[Nearest] = []
            for joints in motions:
                found.append(index.nearest(joints))
                report()
            return found

        of_samples = search(samples)
        of_clips = search([clip.joints for clip in real.clips])
    _draw_pairs(picture, of_samples, samples, real, training)
    median = float(np.median([found.distance for found in of_samples]))
    real_median = float(np.median([found.distance for found in of_clips]))
    return {
        "median_metres": median,
        "real_median_metres": real_median,
        "ratio": median / real_median,
        "picture": str(picture),
    }


def _draw_pairs(
    path: Path,
    found: Sequence[Nearest],
    samples: Sequence[Joints],
    real: RealClips,
    training: Sequence[Clip],
) -> None:
    """The closest pairs, each training clip or its twin once: the sample above, the clip below."""
    strips: list[Strip] = []
    shown: set[str] = set()
    for k in np.argsort([nearest.window_distance for nearest in found]):
        nearest, clip = found[k], training[found[k].clip]
        if clip.clip_id.removeprefix("M") in shown or len(shown) == NUM_PAIRS:
            continue
        shown.add(clip.clip_id.removeprefix("M"))
        own = samples[k][nearest.start : nearest.start + WINDOW_FRAMES]
        near = clip.joints[nearest.clip_start : nearest.clip_start + WINDOW_FRAMES]
        distance = f"{1_000 * nearest.window_distance:.0f} mm apart"
        strips.append(Strip(title=f"sample: {real.captions[k]}", joints=own))
        strips.append(
            Strip(title=f"training {clip.clip_id}, {distance}: {clip.captions[0]}", joints=near)
        )
    draw_sheet(path, strips)


def _show(columns: dict[str, Figures], report: dict[str, Any], console: Console) -> None:
    table = Table(title=f"{report['num_clips']} clips, {report['seeds']} seeds, 95 % intervals")
    table.add_column("", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right", no_wrap=True)
    for key, label in ROWS:
        cells = [str(figures[key]) if key in figures else "" for figures in columns.values()]
        table.add_row(label, *cells)
    console.print(table)
    for name, found in report.get("novelty", {}).items():
        console.print(
            f"{name}: distance to the nearest training clip, median {found['median_metres']:.3f} m"
            f"; real {report['split']} clips {found['real_median_metres']:.3f} m; ratio "
            f"{found['ratio']:.2f} (a copyist is under 0.5). Pairs: {found['picture']}"
        )
    console.print(NOTE)
    if not report["evaluator"]["fit_for_use"]:
        console.print("[bold]This evaluator is NOT fit for use: train it longer.[/bold]")


def _about_evaluator(info: CheckpointInfo) -> dict[str, Any]:
    return {"hash": info.model_hash, **info.metrics}


def _plain(figures: Figures) -> dict[str, dict[str, float]]:
    return {name: asdict(estimate) for name, estimate in figures.items()}


def _width() -> int | None:
    return None if sys.stdout.isatty() else 160
