"""`python -m engine devices`: what a model can run on here."""

from __future__ import annotations

import argparse

from rich.table import Table

from engine import __version__
from engine.commands import console

EXAMPLE = "python -m engine devices --json"


def add_parser(verbs: console.Verbs) -> None:
    """The verb's words."""
    parser = verbs.add_parser(
        "devices", help="list what a model can run on here", epilog=f"example: {EXAMPLE}"
    )
    console.add_common_options(parser, device=False)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """List the devices, the fastest kind first."""
    import torch

    from engine.device import list_devices

    devices = list_devices()
    if arguments.json:
        console.print_json(
            {
                "engine_version": __version__,
                "torch": str(torch.__version__),
                "devices": [vars(device) for device in devices],
            }
        )
        return console.DONE
    table = Table("device", "name", "memory")
    for device in devices:
        memory = f"{device.memory_bytes / 2**30:.0f} GB" if device.memory_bytes else ""
        table.add_row(device.kind, device.name, memory)
    console.table_console().print(table)
    return console.DONE
