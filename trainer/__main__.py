"""python -m trainer: prepare | train | teach | evaluate | evaluator | presets."""

from __future__ import annotations

import argparse
import importlib
import logging
import sys

VERBS = {
    "prepare": "make training data",
    "train": "train a preset on corpora",
    "teach": "teach a model what your own captioned videos show",
    "evaluate": "measure a checkpoint over a split",
    "evaluator": "train the text-motion evaluator that evaluation needs",
    "presets": "list the presets",
}


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; exit code 0 done, 1 failed, 2 wrong words, 130 interrupted."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m trainer", description=__doc__)
    subparsers = parser.add_subparsers(dest="verb", required=True)
    for verb, text in VERBS.items():
        module = importlib.import_module(f"trainer.commands.{verb}")
        subparser = subparsers.add_parser(
            verb,
            help=text,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(subparser)
        subparser.set_defaults(run=module.run)
    args = parser.parse_args(arguments)
    try:
        return int(args.run(args))
    except KeyboardInterrupt:
        print("Interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
