"""`trainer presets`: the table of presets."""

from __future__ import annotations

import argparse
import json

from trainer.presets import PRESETS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = "example: python -m trainer presets"
    parser.add_argument("--json", action="store_true", help="one JSON object instead of lines")


def run(args: argparse.Namespace) -> int:
    """Print two lines per preset."""
    if args.json:
        rows = {
            name: {"method": p.training.method, "data": p.data, "steps": p.training.loop.num_steps}
            for name, p in PRESETS.items()
        }
        print(json.dumps(rows))
        return 0
    for name, preset in PRESETS.items():
        training = preset.training
        print(
            f"{name}: {preset.purpose}\n    {training.method}, {training.size}, "
            f"{training.loop.num_steps:,} steps, data: {preset.data}"
        )
    return 0
