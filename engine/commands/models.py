"""`python -m engine models`: the checkpoints found, from their headers."""

from __future__ import annotations

import argparse

from rich.table import Table

from engine.commands import console

EXAMPLE = "python -m engine models --json"


def add_parser(verbs: console.Verbs) -> None:
    """The verb's words."""
    parser = verbs.add_parser("models", help="list the models", epilog=f"example: {EXAMPLE}")
    console.add_models_option(parser)
    console.add_common_options(parser, device=False)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """List the models."""
    import torch

    from engine.methods.base import RequestError
    from engine.server.model_store import ModelStore, model_folders

    try:
        store = ModelStore(model_folders(arguments.models), torch.device("cpu"))
    except RequestError as error:
        raise console.CommandError(str(error)) from error
    default = store.default_name()
    rows: list[dict[str, object]] = [
        {
            "name": info.name,
            "default": info.name == default,
            "method": info.method,
            "accepts": sorted(info.accepts),
            "fps": info.fps,
            "licence": info.licence,
            "size_bytes": info.size_bytes,
            "model_hash": info.model_hash,
            "file": str(store.path(info.name)),
        }
        for info in store.entries()
    ]
    if arguments.json:
        console.print_json({"models": rows})
    elif not rows:
        console.print_note(f"There is no model in {', '.join(map(str, store.folders))}")
    else:
        console.table_console().print(_table(rows))
    return console.DONE


def _table(rows: list[dict[str, object]]) -> Table:
    table = Table("name", "method", "accepts", "fps", "size", "hash", "licence")
    for row in rows:
        accepts = row["accepts"]
        assert isinstance(accepts, list)
        size = row["size_bytes"]
        assert isinstance(size, int)
        table.add_row(
            f"{row['name']} (default)" if row["default"] else str(row["name"]),
            str(row["method"]),
            ", ".join(str(word) for word in accepts),
            f"{row['fps']:g}",
            f"{size / 1e6:.1f} MB",
            str(row["model_hash"])[:12],
            str(row["licence"]),
        )
    return table
