"""Lifters in `trainer evaluate`: their figures beside single frames and the mean pose."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from rich.console import Console
from rich.table import Table

from engine.checkpoint import CheckpointError, read_info, update_metrics
from engine.methods.base import Method
from trainer.commands.compared import load_compared
from trainer.commands.written_report import hand_over
from trainer.data.corpus import Clip, CorpusError, load_corpus
from trainer.evaluation.forecast import FORECAST_ROWS, Forecaster, measure_forecast
from trainer.evaluation.lifting import (
    ROWS,
    LiftCase,
    make_cases,
    mean_pose,
    measure_lifter,
    measure_mean_pose,
)
from trainer.evaluation.metrics import Estimate

Figures = dict[str, Estimate]
Progress = Callable[[str, int], AbstractContextManager[Callable[[], object]]]

NOTE = (
    "Test clips on bodies and seen by cameras that were drawn for this and never trained on; the "
    "focal length is told, the cameras stand still unless --moving. MPJPE: both roots at the "
    "origin, in the camera's axes, all 22 joints. 'Single frame' is the lifter without any "
    "frame but its own (its root path is as smooth as the other's); 'mean pose' is told where "
    "the body is and faces."
)


@runtime_checkable
class HasSingleFrame(Protocol):
    """A lifter that can also do without the frames around."""

    def single_frame(self) -> Method:
        """The same lifter, frame by frame."""
        ...


@dataclass(frozen=True)
class _Drawn:
    """Clips, and how their bodies and cameras are drawn."""

    clips: Sequence[Clip]
    moving_share: float
    seed: int

    def cases(self, *, noisy: bool) -> list[LiftCase]:
        """One per clip."""
        moving = self.moving_share
        return make_cases(self.clips, noisy=noisy, moving_share=moving, seed=self.seed)


def is_lifter(path: Path) -> bool:
    """Whether a checkpoint makes motion from video alone.

    Raises:
        CheckpointError: it can't be read.
    """
    return "prompt" not in read_info(path).accepts


def run_lifters(args: argparse.Namespace, paths: Sequence[Path], progress: Progress) -> int:
    """Evaluate lifters. 0 done, 2 if a file or a word is wrong."""
    try:
        methods = load_compared(paths, torch.device("cpu"))
        if not all("video" in method.accepts for method in methods):
            raise ValueError("Lifters compare with lifters: one of the models takes no video")
        clips = load_corpus(args.data, args.split, mirrored=False)
        clips = clips if args.limit is None else clips[:: max(1, len(clips) // args.limit)]
        training = load_corpus(args.data, "train", mirrored=False)
    except (CheckpointError, CorpusError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    drawn = _Drawn(clips, args.moving, args.camera_seed)
    columns = _measure(methods, drawn, training, progress)
    forecasts = _forecasts(methods, drawn)
    report: dict[str, Any] = {"note": NOTE, "split": args.split, "num_clips": len(clips)}
    report |= {"threads": torch.get_num_threads(), "moving_share": args.moving}
    report["camera_seed"] = args.camera_seed
    report["figures"] = {
        name: {key: asdict(value) for key, value in figures.items()}
        for name, figures in columns.items()
    }
    report["forecast_pa_mpjpe"] = {
        name: {key: asdict(value) for key, value in figures.items()}
        for name, figures in forecasts.items()
    }
    for path, method in zip(paths, methods, strict=True) if args.write_header else ():
        update_metrics(path, {"lifting": report["figures"][f"{method.info.name}, noisy"]})
    console = Console(stderr=args.json, width=160)
    title = f"{len(clips)} clips, {args.split} split"
    show(columns, ROWS, title, console)
    if forecasts:
        show(forecasts, FORECAST_ROWS, f"PA-MPJPE of past and future, {title}", console)
    console.print(NOTE)
    hand_over(report, args.report, as_json=args.json)
    return 0


def show(
    columns: dict[str, Figures],
    rows: Sequence[tuple[str, str]],
    title: str,
    console: Console,
    *,
    digits: int = 1,
) -> None:
    """Print the figures, a column each."""
    table = Table(title=f"{title}, 95 % intervals")
    table.add_column("", no_wrap=True)
    for name in columns:
        table.add_column(name, justify="right")
    for key, label in rows:
        table.add_row(label, *(_cell(figures.get(key), digits) for figures in columns.values()))
    console.print(table)


def _measure(
    methods: Sequence[Method],
    drawn: _Drawn,
    training: Sequence[Clip],
    progress: Progress,
) -> dict[str, Figures]:
    columns: dict[str, Figures] = {}
    pose = mean_pose(training)
    for noisy, word in ((True, "noisy"), (False, "exact")):
        cases = drawn.cases(noisy=noisy)
        named = {method.info.name: method for method in methods}
        for method in methods:
            if isinstance(method, HasSingleFrame):
                named[f"{method.info.name}, single frame"] = method.single_frame()
        for name, method in named.items():
            with progress(f"Lifting with {name}, {word}", len(cases)) as report:
                columns[f"{name}, {word}"] = measure_lifter(method, cases, report)
    columns["mean pose"] = measure_mean_pose(pose, drawn.cases(noisy=False))
    return columns


def _forecasts(methods: Sequence[Method], drawn: _Drawn) -> dict[str, Figures]:
    """Past and future, of lifters that tell them, from clips and from single frames."""
    columns: dict[str, Figures] = {}
    cases = drawn.cases(noisy=True)
    for method in methods:
        if not isinstance(method, Forecaster):
            continue
        columns[f"{method.info.name}, noisy"] = measure_forecast(method, cases)
        if isinstance(method, HasSingleFrame):
            single = method.single_frame()
            assert isinstance(single, Forecaster)
            columns[f"{method.info.name}, single frame, noisy"] = measure_forecast(single, cases)
    return columns


def _cell(figure: Estimate | None, digits: int) -> str:
    if figure is None:
        return ""
    if figure.half_width == 0:
        return f"{figure.value:.{digits}f}" if figure.value < 100 else f"{figure.value:,.0f}"
    digits = digits if figure.value < 10 else 1
    return f"{figure.value:.{digits}f} ± {figure.half_width:.{digits}f}"
