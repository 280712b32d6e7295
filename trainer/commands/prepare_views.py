"""`trainer prepare views`: see a motion corpus by virtual cameras, with a detector's noise.

A folder that holds keypoints already (Fit3D, the MAS NBA set, lifted folders) is copied into the
same layout as it is, with the cameras that it tells.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from trainer.data.clip import View
from trainer.data.corpus import Clip, CorpusError, load_corpus
from trainer.data.detector_noise import NoiseSettings
from trainer.data.layouts import load_views, nba, recognise
from trainer.data.views_corpus import copy_views, write_views
from trainer.data.virtual_views import ViewSettings

EPILOG = (
    "example: python -m trainer prepare views ../shared/data/motion/free --out views/free --count 2"
)
SPLITS = ("train", "val", "test")
_LINE_EVERY_S = 5.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = EPILOG
    parser.add_argument("corpus", type=Path, help="a folder in any layout of motion or keypoints")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--split", choices=SPLITS, help="only this one (default: all there are)")
    parser.add_argument("--count", type=int, default=1, metavar="N", help="views of each clip")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--noise", type=float, default=1.0, metavar="SCALE", help="0: exact")
    parser.add_argument("--moving", type=float, default=0.5, metavar="SHARE", help="of cameras")
    parser.add_argument("--truth", action="store_true", help="write the true joints too")
    parser.add_argument(
        "--sides",
        choices=nba.SIDES,
        default="measured",
        help="which limbs of the MAS NBA set are the left ones (default: measured on its files)",
    )
    parser.add_argument("--overwrite", action="store_true", help="write into a folder that is used")
    parser.add_argument("--json", action="store_true", help="one JSON object on the last line")


def run(args: argparse.Namespace) -> int:
    """Write the views; 0 when done, 2 when the words are wrong."""
    try:
        settings = _settings(args)
        if recognise(args.corpus).views is not None:
            return _copy(args)
        clips = _clips(args)
    except (CorpusError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    total = args.count * sum(len(members) for members in clips.values())
    written = write_views(
        clips,
        args.out,
        count=args.count,
        seed=args.seed,
        settings=settings,
        with_truth=args.truth,
        report=_counter(total),
    )
    return _say(args, written)


def _copy(args: argparse.Namespace) -> int:
    """Keypoints that are there already, in our own layout."""

    def read(split: str) -> list[View]:
        if nba.is_nba(args.corpus):
            return list(nba.read_views(args.corpus, split, sides=args.sides))
        return list(load_views(args.corpus, split))

    found: dict[str, list[View]] = {}
    for split in [args.split] if args.split else SPLITS:
        try:
            found[split] = read(split)
        except CorpusError:
            if args.split:
                raise
    if not any(found.values()):
        raise CorpusError(f"No clip is left of {args.corpus}")
    written = copy_views(found, args.out, _counter(sum(map(len, found.values()))))
    return _say(args, written)


def _say(args: argparse.Namespace, written: int) -> int:
    print(f"Wrote {written} views to {args.out}", file=sys.stderr)
    if args.json:
        print(json.dumps({"folder": str(args.out), "views": written}))
    return 0


def _settings(args: argparse.Namespace) -> tuple[ViewSettings, NoiseSettings]:
    if args.count < 1:
        raise ValueError(f"--count is {args.count}, needs 1 or more")
    if (args.out / "index.jsonl").exists() and not args.overwrite:
        raise ValueError(f"{args.out} holds a corpus already: choose another, or --overwrite")
    return ViewSettings(moving_share=args.moving), NoiseSettings(scale=args.noise)


def _clips(args: argparse.Namespace) -> dict[str, list[Clip]]:
    splits = [args.split] if args.split else SPLITS
    found = {
        split: load_corpus([args.corpus], split)
        for split in splits
        if args.split or (args.corpus / f"{split}.txt").is_file()
    }
    if not found:
        raise CorpusError(f"{args.corpus} is no corpus: it has none of {', '.join(SPLITS)} (.txt)")
    return found


def _counter(total: int) -> Callable[[], object]:
    """Says every few seconds how far it is."""
    done, last = 0, time.monotonic()

    def count() -> None:
        nonlocal done, last
        done += 1
        if time.monotonic() - last > _LINE_EVERY_S:
            last = time.monotonic()
            print(f"{done} of {total} views", file=sys.stderr, flush=True)

    return count
