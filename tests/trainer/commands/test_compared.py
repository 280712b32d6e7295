"""Two runs' best.safetensors stay two columns."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import torch

from trainer.commands.compared import load_compared

REPOSITORY = Path(__file__).resolve().parents[3]


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    first, second, other = (tmp_path / name for name in ("a/best", "b/best", "b/other"))
    paths = [path.with_suffix(".safetensors") for path in (first, second, other)]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
    words = ["scripts/make_tiny_checkpoint.py", "--out", str(paths[0])]
    subprocess.run([sys.executable, *words], cwd=REPOSITORY, check=True, capture_output=True)
    for path in paths[1:]:
        shutil.copy(paths[0], path)
    names = [method.info.name for method in load_compared(paths, torch.device("cpu"))]
    assert names == ["a/best", "b/best", "other"]
