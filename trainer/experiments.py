"""Tables of experiments: rows that are trained, evaluated and kept, one at a time.

A table is a JSON file in trainer/results, a list of rows. A row is a run with a name; what is in
the file is not run again, so a table grows over several sittings and machines.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
Row = dict[str, Any]


class ExperimentError(Exception):
    """A run of a table failed; the message says which, and where its log is."""


def read_rows(path: Path) -> list[Row]:
    """The finished rows of a table, none where there is no file yet."""
    return json.loads(path.read_text()) if path.is_file() else []


def add_row(path: Path, row: Row) -> None:
    """Append a row; a row of the same name is replaced."""
    rows = [old for old in read_rows(path) if old["name"] != row["name"]] + [row]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(rows, indent=1) + "\n")
    partial.replace(path)


def train_row(
    name: str, preset: str, data: Sequence[Path], runs: Path, options: Sequence[str]
) -> tuple[Path, float]:
    """Train one row in a process of its own, or go on with it.

    Args:
        options: more words for `trainer train`, such as --set loop.seed=1.

    Returns the checkpoint and the seconds that this sitting took.

    Raises:
        ExperimentError: the run failed.
    """
    folder, began = runs / name, time.monotonic()
    words = ["train", preset, "--data", *map(str, data), "--out", str(folder), *options]
    if (folder / "training-state.json").is_file():
        words.append("--resume")
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log.txt"
    with log.open("ab") as stream:
        code = subprocess.call(
            [sys.executable, "-m", "trainer", *words], stdout=stream, stderr=subprocess.STDOUT
        )
    if code:
        raise ExperimentError(f"{name} stopped with code {code}; see {log}")
    return folder / "best.safetensors", time.monotonic() - began


def evaluate_row(checkpoint: Path, data: Sequence[Path], options: Sequence[str] = ()) -> Row:
    """What `trainer evaluate --json` says of a checkpoint.

    Raises:
        ExperimentError: the evaluation failed.
    """
    words = ["evaluate", str(checkpoint), "--data", *map(str, data), "--json", *options]
    done = subprocess.run(
        [sys.executable, "-m", "trainer", *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ExperimentError(f"{checkpoint} can't be evaluated: {done.stderr.strip()[-500:]}")
    return json.loads(done.stdout)
