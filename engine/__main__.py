"""The command line: python -m engine VERB; the verbs are in engine/commands.

Exit codes: 0 done, 1 the work failed, 2 the words or a file given are wrong, 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from engine import __version__
from engine.commands import (
    capture,
    console,
    describe,
    devices,
    generate,
    models,
    predict,
    serve,
)

EPILOG = f"example: {generate.EXAMPLE}"


def parser() -> console.Parser:
    """The words of every verb."""
    top = console.Parser(
        prog="python -m engine", description="Text and video to human motion.", epilog=EPILOG
    )
    top.add_argument("--version", action="version", version=__version__)
    verbs = top.add_subparsers(metavar="VERB", required=True)
    for verb in (generate, capture, predict, models, describe, devices, serve):
        verb.add_parser(verbs)
    return top


def main(words: Sequence[str] | None = None) -> int:
    """Run a verb; return the exit code."""
    arguments = parser().parse_args(words)
    try:
        return int(arguments.run(arguments))
    except console.CommandError as error:
        console.print_error(str(error))
        return error.exit_code
    except KeyboardInterrupt:
        console.print_error("interrupted")
        return console.INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
