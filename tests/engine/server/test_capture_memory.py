"""Captures one after the other: what a job has used is given back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from engine.capture_job import CaptureJob, run_capture
from engine.methods.base import RequestError
from engine.server.memory import free_memory, use_few_heaps
from engine.server.model_store import ModelStore, model_folders
from tests.engine.video.made_videos import write_swaying

FPS, COUNT, JOBS = 20, 30, 6
TIMEOUT_S = 400.0  # on a machine that is busy training
MOST_GROWTH = 20.0  # megabytes from the second job to the last; each job uses over a hundred


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_swaying(tmp_path_factory.mktemp("memory"), count=COUNT, fps=FPS)


def silent(_step: int, _num_steps: int) -> None:
    """Nobody wants to know."""


def resident() -> float:
    """Megabytes of this process."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def capture_again_and_again(movie: Path, keypoints: Path) -> list[float]:
    """Megabytes after each capture. To be called in a process of its own."""
    use_few_heaps()
    models = ModelStore(model_folders(), torch.device("cpu"))
    sizes: list[float] = []
    for _ in range(JOBS):
        with pytest.raises(RequestError, match="Nobody"):
            run_capture(CaptureJob(path=movie), models, silent)  # the detector's networks
        _, made = run_capture(CaptureJob(path=movie, keypoints=keypoints), models, silent)
        assert made.motion.num_frames == COUNT
        del made
        free_memory()
        sizes.append(resident())
    return sizes


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_captures_do_not_pile_up(clip: tuple[Path, Path]) -> None:
    movie, keypoints = clip
    ran = subprocess.run(
        [sys.executable, "-m", "tests.engine.server.test_capture_memory", movie, keypoints],
        capture_output=True,
        timeout=TIMEOUT_S,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert ran.returncode == 0, ran.stderr.decode()
    sizes: list[float] = json.loads(ran.stdout)
    # a thread may still be about to end when one of them is measured
    assert sorted(sizes[-3:])[1] - sizes[1] < MOST_GROWTH, sizes


if __name__ == "__main__":
    print(json.dumps(capture_again_and_again(Path(sys.argv[1]), Path(sys.argv[2]))))  # noqa: T201
