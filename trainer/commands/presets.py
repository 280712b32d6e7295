"""`trainer presets`: the table of presets."""

from __future__ import annotations

import argparse
import json

from rich.console import Console
from rich.table import Table

from trainer.presets import PRESETS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = "example: python -m trainer presets"
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")


def run(args: argparse.Namespace) -> int:
    """Print the table."""
    if args.json:
        rows = {
            name: {"method": p.training.method, "data": p.data, "steps": p.training.loop.num_steps}
            for name, p in PRESETS.items()
        }
        print(json.dumps(rows))
        return 0
    table = Table("preset", "method", "data", "size", "steps", "for")
    for name, preset in PRESETS.items():
        training = preset.training
        steps = f"{training.loop.num_steps:,}"
        table.add_row(name, training.method, preset.data, training.size, steps, preset.purpose)
    Console().print(table)
    return 0
