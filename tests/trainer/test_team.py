"""Training in two processes: the same curve as in one, stopped and resumed on the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.__main__ import main

REPOSITORY = Path(__file__).resolve().parents[2]
SETTINGS = ("--set", "loop.num_steps=6", "--set", "precision=float32", "--set", "batch_size=8")


def torchrun(*words: str, cache: Path) -> subprocess.CompletedProcess[str]:
    """Two processes that talk through gloo, as a user starts them."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    environment = {
        **os.environ,
        "XDG_CACHE_HOME": str(cache),
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(
        [*launcher, "--nproc-per-node", "2", "-m", "trainer", *words],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def curve(run: Path) -> list[tuple[float, ...]]:
    rows = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    return [tuple(v for k, v in row.items() if k != "seconds") for row in rows]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the cache is moved by XDG_CACHE_HOME")
def test_two_processes_give_the_curve_of_one_and_resume_on_it(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    shards, one, two = (tmp_path / name for name in ("shards", "one", "two"))
    words = ["prepare", "shards", str(corpus), "--out", str(shards), "--plain"]
    assert main(words) == 0
    train = ("train", "mdm-smoke", "--data", str(shards), *SETTINGS)
    assert main([*train, "--out", str(one)]) == 0
    stopped = torchrun(*train, "--out", str(two), "--minutes", "0", cache=cache)
    assert stopped.returncode == 0, stopped.stderr
    # what a killed run told of later steps is taken back
    with (two / "stats.jsonl").open("a") as stats:
        stats.write('{"step": 2, "loss": 99.0}\n{"step": 3, "lo')
    resumed = torchrun(*train, "--out", str(two), "--resume", cache=cache)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stdout.count("Wrote") == 1  # the second process is silent
    found, expected = curve(two), curve(one)
    # the run that was stopped has been validated after its first step too
    found = [row for row in found if row[0] != 1 or len(row) > 2]
    assert [row[0] for row in found] == [row[0] for row in expected]
    for row, wanted in zip(found, expected, strict=True):
        assert row == pytest.approx(wanted, rel=2e-3)

    odd = torchrun(*train, "--out", str(tmp_path / "odd"), "--set", "batch_size=7", cache=cache)
    assert "A batch of 7 can't be cut into 2 equal shares" in odd.stderr
