"""`trainer evaluate` on a folder of lifted clips: how near models come to what it holds out.

For a dozen videos that a model was taught: the taught model and the one it was before, or others
that --compare names. FID means nothing of three clips; distances of each sample to its own clip do.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from engine.checkpoint import CheckpointError, read_info
from engine.methods.base import Method
from engine.networks.text_encoder import TextEncoderError
from trainer.commands.compared import load_compared
from trainer.commands.evaluate_lifters import show
from trainer.commands.written_report import hand_over
from trainer.data.corpus import CorpusError
from trainer.data.teacher_corpus import CLIPS, TeacherClip, load_teacher_clips
from trainer.evaluation.drawing import Strip, draw_sheet
from trainer.evaluation.evaluator_network import Evaluator, load_evaluator
from trainer.evaluation.metrics import Estimate
from trainer.evaluation.style import (
    ROWS,
    HeldOut,
    Joints,
    measure_old,
    measure_style,
    old_captions,
    sample_held_out,
)

Progress = Callable[[str, int], AbstractContextManager[Callable[[], object]]]

NOTE = (
    "Each caption of each held-out clip is sampled, as long as the clip, and held against the "
    "clip's lifted motion: lower is nearer, but for R-precision. 'its training clips' are the "
    "folder's own clips of the same caption in the place of samples. Old prompts are captions "
    "that the models know from before, one motion each: what has been forgotten shows there."
)
NUM_OLD = 96
NUM_DRAWN = 12  # clips on the sheet
Samples = list[tuple[int, Joints]]


def is_taught(folders: Sequence[Path]) -> bool:
    """Whether these are folders of lifted clips, as `prepare teacher` writes them."""
    return all((folder / CLIPS).is_file() for folder in folders)


def run_style(args: argparse.Namespace, paths: Sequence[Path], progress: Progress) -> int:
    """Evaluate on held-out clips of a few. 0 done, 2 if a file or a word is wrong."""
    try:
        evaluator, info = load_evaluator(args.evaluator)
        methods = load_compared(paths if args.compare else with_base(paths), torch.device("cpu"))
        if wrong := [m.info.name for m in methods if "prompt" not in m.accepts]:
            raise ValueError(f"The model {wrong[0]} takes no prompt")
        held_out = [_held_out(clip) for clip in load_teacher_clips(args.data, args.split)]
        training = [_held_out(clip) for clip in load_teacher_clips(args.data, "train")]
    except (CheckpointError, CorpusError, TextEncoderError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    held_out = held_out[: args.limit]
    columns, samples = _measure(methods, held_out, training, args.seeds, evaluator, progress)
    report: dict[str, Any] = {"note": NOTE, "split": args.split, "num_clips": len(held_out)}
    report |= {"seeds": args.seeds, "evaluator": info.model_hash}
    report["figures"] = {
        name: {key: asdict(value) for key, value in figures.items()}
        for name, figures in columns.items()
    }
    console = Console(stderr=args.json, width=160)
    show(columns, ROWS, f"{len(held_out)} held-out clips, {args.seeds} seeds", console, digits=3)
    console.print(NOTE)
    try:
        if args.sheet:
            draw_sheet(args.sheet, _strips(held_out, samples))
        hand_over(report, args.report, as_json=args.json)
    except OSError as error:
        print(f"The results can't be written: {error}", file=sys.stderr)
        return 2
    return 0


def with_base(paths: Sequence[Path]) -> list[Path]:
    """The models, and the one that the first was taught from if its file is still there."""
    base = read_info(paths[0]).training.get("settings", {}).get("base", "")
    found = [Path(base)] if base and Path(base).is_file() else []
    return list(dict.fromkeys([*paths, *found]))


def _measure(
    methods: Sequence[Method],
    held_out: Sequence[HeldOut],
    training: Sequence[HeldOut],
    seeds: int,
    evaluator: Evaluator,
    progress: Progress,
) -> tuple[dict[str, dict[str, Estimate]], dict[str, Samples]]:
    columns: dict[str, dict[str, Estimate]] = {}
    made: dict[str, Samples] = {}
    own = {caption for clip in (*held_out, *training) for caption in clip.captions}
    old = old_captions([m.info.extra.get("captions", ()) for m in methods], own, NUM_OLD)
    total = seeds * sum(len(clip.captions) for clip in held_out) + len(old)
    for method in methods:
        with progress(f"Sampling {method.info.name}", total) as report:
            samples = sample_held_out(method, held_out, seeds, report)
            figures = measure_style(held_out, samples, evaluator)
            if old:
                figures |= measure_old(method, old, evaluator, report)
        columns[method.info.name], made[method.info.name] = figures, samples
    others = [
        (k, clip.joints) for k, other in enumerate(held_out) for clip in alike(other, training)
    ]
    columns["its training clips"] = measure_style(held_out, others, evaluator)
    return columns, made


def alike(clip: HeldOut, others: Sequence[HeldOut]) -> Sequence[HeldOut]:
    """Those of a caption of the clip's; all, where there is none."""
    same = [other for other in others if set(other.captions) & set(clip.captions)]
    return same or others


def _strips(held_out: Sequence[HeldOut], made: dict[str, Samples]) -> list[Strip]:
    """Each clip that is held out, and under it what each model makes of its caption."""
    strips: list[Strip] = []
    for number, clip in enumerate(held_out[:NUM_DRAWN]):
        strips.append(Strip(title=f"held out: {clip.captions[0]}", joints=clip.joints))
        for name, samples in made.items():
            joints = next(joints for k, joints in samples if k == number)
            strips.append(Strip(title=name, joints=joints))
    return strips


def _held_out(clip: TeacherClip) -> HeldOut:
    return HeldOut(joints=clip.teacher.float().numpy(), captions=clip.captions)
