"""`trainer prepare`: make training data: corpora, 2D keypoint clips, teacher motions, shards."""

from __future__ import annotations

import argparse
import importlib

KINDS = {
    "motion": "motion data in a field's layout, as a corpus on the built-in skeleton",
    "video": "2D keypoint clips of videos, with captions",
    "views": "2D keypoint clips of a corpus seen by virtual cameras",
    "teacher": "motions lifted from keypoint clips, to learn from 2D with",
    "shards": "corpora in pieces, for those that are larger than memory",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what can be prepared; each has options of its own."""
    kinds = parser.add_subparsers(dest="kind", required=True)
    for kind, text in KINDS.items():
        module = importlib.import_module(f"trainer.commands.prepare_{kind}")
        subparser = kinds.add_parser(
            kind,
            help=text,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(subparser)
        subparser.set_defaults(prepare=module.run)


def run(args: argparse.Namespace) -> int:
    """Prepare that kind of data."""
    return int(args.prepare(args))
