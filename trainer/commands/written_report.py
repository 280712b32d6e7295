"""What an evaluation hands over besides its tables: a file, and a line for other programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def hand_over(report: Mapping[str, Any], file: Path | None, *, as_json: bool) -> None:
    """Write the report to a file (None: to none), whole or not at all; print it as one line."""
    if file is not None:
        write_whole(file, json.dumps(report, indent=1))
    if as_json:
        print(json.dumps(report))


def write_whole(file: Path, text: str) -> None:
    """Write a file under another name first, so that a killed run leaves no half of it."""
    partial = file.with_name(file.name + ".partial")
    file.parent.mkdir(parents=True, exist_ok=True)
    partial.write_text(text)
    partial.replace(file)
