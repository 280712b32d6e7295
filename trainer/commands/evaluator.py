"""`trainer evaluator`: train the embedding that evaluate measures in, and say if it is fit."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path
from typing import Any

from engine.networks.text_encoder import TextEncoderError
from trainer.data.corpus import CorpusError, load_corpus
from trainer.evaluation.evaluator_network import PARTS, SHIPPED, Evaluator, EvaluatorConfig
from trainer.evaluation.train_evaluator import (
    REQUIRED_TOP3,
    EvaluatorTraining,
    retrieval_of_clips,
    save_evaluator,
    train_evaluator,
)

log = logging.getLogger(__name__)

EPILOG = "example: python -m trainer evaluator --data ../shared/data/motion/free --out evaluator"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EPILOG
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="corpus folders")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="file to write")
    parser.add_argument("--minutes", type=float, default=10.0, help="time for training")
    parser.add_argument(
        "--part", choices=PARTS, default="whole", help="of the body, for FID-U and FID-L"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")


def run(args: argparse.Namespace) -> int:
    """Train and test an evaluator. 0 if it is fit for use, 1 if not, 2 for wrong words."""
    out: Path = args.out.with_suffix(".safetensors")
    if out.exists() and not args.overwrite:
        return _refuse(f"{out} is there already: choose another --out, or --overwrite")
    try:
        training = EvaluatorTraining(minutes=args.minutes, seed=args.seed)
        clips = {split: load_corpus(args.data, split) for split in ("train", "val", "test")}
        evaluator = train_evaluator(
            clips["train"], clips["val"], training, EvaluatorConfig(part=args.part), _report
        )
    except (CorpusError, TextEncoderError, ValueError) as error:
        return _refuse(str(error))
    retrieval = retrieval_of_clips(evaluator, clips["test"])
    is_fit = retrieval["same_action"][2] >= REQUIRED_TOP3
    metrics: dict[str, Any] = {"real_test_r_precision": retrieval, "fit_for_use": is_fit}
    metrics["corpora"] = _per_corpus(evaluator, args.data)
    info = save_evaluator(out, evaluator, clips["train"], metrics, args.seed)
    _say(out, info.size_bytes, retrieval, is_fit)
    if args.json:
        print(json.dumps({"file": str(out), "size_bytes": info.size_bytes, **metrics}))
    return 0 if is_fit else 1


def _per_corpus(evaluator: Evaluator, folders: list[Path]) -> dict[str, dict[str, list[float]]]:
    return {
        folder.name: retrieval_of_clips(evaluator, load_corpus([folder], "test"))
        for folder in folders
    }


def _report(step: int, loss: float, score: float) -> None:
    print(f"step {step}  loss {loss:.3f}  validation {score:.3f}", file=sys.stderr)


def _say(out: Path, size: int, retrieval: dict[str, list[float]], is_fit: bool) -> None:
    for name, values in retrieval.items():
        shares = "  ".join(f"top {k}: {value:.3f}" for k, value in enumerate(values, start=1))
        print(f"Real test motions, {name.replace('_', ' ')}: {shares}", file=sys.stderr)
    verdict = "fit" if is_fit else "NOT fit"
    print(
        f"{out} ({size / 1e6:.1f} MB) is {verdict} for use: top 3 with captions of the same "
        f"action as hits must be {REQUIRED_TOP3} or more",
        file=sys.stderr,
    )


def _refuse(message: str) -> int:
    print(message, file=sys.stderr)
    return 2
