"""A small corpus is read in shards under a limit; scripts/check_shards.py makes one of 4 GB."""

from __future__ import annotations

import re
import sys

import pytest

import check_shards


@pytest.mark.skipif(sys.platform == "win32", reason="limits of memory are Unix's")
def test_memory_does_not_grow_with_the_corpus(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["check_shards.py", "--gigabytes", "0.2", "--limit", "4", "--shard-megabytes", "4"]
    monkeypatch.setattr(sys, "argv", words)
    assert check_shards.main() == 0
    told = capsys.readouterr().out
    written, grown = (
        float(re.search(pattern, told)[1])
        for pattern in (r"shards of ([\d.]+) GB", r", ([\d.]+) GB more than before")
    )
    assert written > 0.2
    assert grown < 0.1  # four shards and what is made of them
