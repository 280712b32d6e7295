"""`python -m engine describe`: a checkpoint's header, or a motion file's provenance and quality."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from engine.commands import console

MAX_CELL = 300  # characters; a model's known captions would fill pages
EXAMPLE = "python -m engine describe walk.npz"
MOTION_ENDINGS = (".npz", ".bvh")


def add_parser(verbs: console.Verbs) -> None:
    """The verb's words."""
    parser = verbs.add_parser(
        "describe", help="what a model or motion file says of itself", epilog=f"example: {EXAMPLE}"
    )
    parser.add_argument("file", type=Path, metavar="FILE", help=".safetensors, .npz or .bvh")
    console.add_common_options(parser, device=False)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Describe a file."""
    file: Path = arguments.file
    if not file.is_file():
        raise console.CommandError(f"There is no file {file}")
    if file.suffix == ".safetensors":
        values = _describe_checkpoint(file)
    elif file.suffix.lower() in MOTION_ENDINGS:
        values = _describe_motion(file)
    else:
        needed = ", ".join((".safetensors", *MOTION_ENDINGS))
        raise console.CommandError(f"{file} ends in {file.suffix!r}, needs one of {needed}")
    if arguments.json:
        console.print_json(values)
    else:
        console.table_console().print(_table(values))
    return console.DONE


def _describe_checkpoint(file: Path) -> dict[str, object]:
    from engine.checkpoint import CheckpointError, read_info

    try:
        info = read_info(file)
    except CheckpointError as error:
        raise console.CommandError(str(error)) from error
    return {"kind": "model", "name": info.name, "size_bytes": info.size_bytes, **info.header()}


def _describe_motion(file: Path) -> dict[str, object]:
    from engine.motion.files import MotionFileError, read_motion
    from engine.motion.quality import measure

    try:
        motion = read_motion(file)
    except MotionFileError as error:
        raise console.CommandError(str(error)) from error
    return {
        "kind": "motion",
        "fps": motion.fps,
        "skeleton": motion.skeleton.name,
        "quality": asdict(measure(motion)),
        "provenance": dict(motion.provenance),
    }


def _table(values: Mapping[str, object]) -> Table:
    table = Table.grid(padding=(0, 2))
    for key, value in values.items():
        if isinstance(value, Mapping):
            for part, part_value in value.items():
                table.add_row(f"{key}.{part}", _text(part_value))
        else:
            table.add_row(key, _text(value))
    return table


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= MAX_CELL else f"{text[:MAX_CELL]}… (whole with --json)"
