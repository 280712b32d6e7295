"""`trainer train`: run a preset."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from engine.networks.text_encoder import TextEncoderError
from trainer.broken_steps import DivergedError
from trainer.config import ConfigError, apply_overrides, to_json
from trainer.data.corpus import CorpusError
from trainer.fine_tuning import start_from
from trainer.loop import train_stages
from trainer.methods import TRAINERS
from trainer.methods.teach import TeachTraining
from trainer.presets import PRESETS
from trainer.shares import ShareError
from trainer.stages import Stage
from trainer.team import Team, joined, local_size

EPILOG = (
    "example: python -m trainer train mdm-free --data ../shared/data/motion/free "
    "--out runs/mdm-free --minutes 60"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EPILOG
    parser.add_argument("preset", help="a name from `python -m trainer presets`")
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="corpus folders")
    parser.add_argument("--out", type=Path, required=True, help="the run's folder")
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one value of the preset, as loop.num_steps=5000; may be repeated",
    )
    parser.add_argument(
        "--init", type=Path, metavar="FILE", help="start from the weights of this checkpoint"
    )
    parser.add_argument("--minutes", type=float, help="stop (resumable) after this long")
    parser.add_argument("--resume", action="store_true", help="go on where the run was stopped")
    parser.add_argument("--dry-run", action="store_true", help="print the configuration and stop")


def run(args: argparse.Namespace) -> int:
    """Train; 0 when done or out of minutes, 2 when the words are wrong."""
    with joined() as team:
        if not team.is_first:
            logging.getLogger().setLevel(logging.ERROR)  # the first says it all
        return _run(args, team)


def _run(args: argparse.Namespace, team: Team) -> int:
    try:
        if args.preset not in PRESETS:
            raise ConfigError(f"There is no preset {args.preset!r}: {', '.join(PRESETS)}")
        training = _resolved(args)
        resolved = to_json(training)
        if args.dry_run:
            print(resolved)
            return 0
        _check_folder(args.out, resume=args.resume)
        args.out.mkdir(parents=True, exist_ok=True)
        with team.one_after_another():
            stages = TRAINERS[training.method](training, args.data, args.out)
        _start(args, training, stages)
    except (ConfigError, CorpusError, TextEncoderError) as error:
        print(error, file=sys.stderr)
        return 2
    if team.is_first:
        partial = args.out / "config.json.partial"
        partial.write_text(resolved + "\n")
        partial.replace(args.out / "config.json")
    torch.set_num_threads(max(1, _available_cores() // local_size()))
    try:
        told = train_stages(
            stages, training.loop, args.out, resume=args.resume, minutes=args.minutes, team=team
        )
    except (ShareError, CorpusError, DivergedError) as error:
        print(error, file=sys.stderr)
        return 2
    if not team.is_first:
        return 0
    for name, figures in told.items():
        print(f"{name}: " + ", ".join(f"{k} {v:.4f}" for k, v in figures.items()))
    if (args.out / "best.safetensors").is_file():
        print(f"Wrote {args.out / 'best.safetensors'}")
    return 0


def _resolved(args: argparse.Namespace) -> Any:
    """The preset's settings with those of the command line."""
    training = apply_overrides(PRESETS[args.preset].training, args.overrides)
    if isinstance(training, TeachTraining):
        return replace(training, base=str(args.init or training.base_file))
    return training


def _start(args: argparse.Namespace, training: Any, stages: Sequence[Stage]) -> None:
    """Weights of --init; teaching has taken them, and the statistics, already."""
    if args.init is not None and not args.resume and not isinstance(training, TeachTraining):
        start_from(stages, args.init)


def _available_cores() -> int:
    """Cores that this process may use: OMP_NUM_THREADS says, else as many as it may run on.

    That is fewer than the machine's under taskset or in a container.
    """
    if (told := os.environ.get("OMP_NUM_THREADS", "")).isdigit() and int(told) > 0:
        return int(told)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _check_folder(folder: Path, *, resume: bool) -> None:
    """A run's folder is not written over, and a run that isn't there isn't resumed.

    Raises:
        ConfigError: as said.
    """
    started = (folder / "training-state.json").is_file()
    if started and not resume:
        raise ConfigError(f"{folder} holds a run already: --resume goes on with it")
    if resume and not started:
        raise ConfigError(f"{folder} holds no run to resume")
