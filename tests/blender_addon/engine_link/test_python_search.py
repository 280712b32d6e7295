"""Finding a Python that an environment can be made from, and the graphics card."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

from blender_addon.engine_link import python_search
from blender_addon.engine_link.python_search import MachineFacts, MachineSearch, python_candidates

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins are shell scripts")


def program(folder: Path, name: str, script: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


def python(folder: Path, name: str, *, version: str = "3.12.1", lacks: str = "") -> Path:
    answer = {
        "program": str(folder / name),
        "version": [int(number) for number in version.split(".")],
        "bits": 64,
        "lacks": [lacks] if lacks else [],
    }
    return program(folder, name, f"echo '{json.dumps(answer)}'")


def facts(candidates: list[Path], gpu: list[str] | None = None) -> MachineFacts:
    search = MachineSearch(candidates, gpu)
    deadline = time.monotonic() + 20
    while not search.poll():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return search.facts


def test_this_python_answers() -> None:
    found = facts([Path(sys.executable)]).pythons
    assert [one.version for one in found] == [sys.version_info[:3]]
    assert found[0].program.is_file()


def test_the_first_that_fits_is_taken(tmp_path: Path) -> None:
    old = python(tmp_path, "old", version="3.9.2")
    bare = python(tmp_path, "bare", lacks="ensurepip")
    good = python(tmp_path, "good")
    better = python(tmp_path, "later", version="3.13.0")

    found = facts([old, bare, good, better])

    assert found.best_python is not None
    assert found.best_python.program == good
    assert "needs 3.11 to 3.14" in found.pythons[0].why_not
    assert "ensurepip" in found.pythons[1].why_not


def test_what_is_no_python_is_left_out(tmp_path: Path) -> None:
    stub = program(tmp_path, "stub", "echo 'Python was not found' >&2; exit 9")
    nonsense = program(tmp_path, "nonsense", "echo '[1, 2]'")
    not_there = tmp_path / "not-there"
    assert facts([stub, nonsense, not_there]) == MachineFacts()


def test_one_that_hangs_does_not_hold_up_the_others(tmp_path: Path) -> None:
    now = 0.0
    hanging = program(tmp_path, "hanging", "sleep 600")
    good = python(tmp_path, "good")
    search = MachineSearch([hanging, good], None, clock=lambda: now)
    for _ in range(20):
        assert not search.poll()
        time.sleep(0.02)
    now = python_search.TIMEOUT_S + 1

    assert search.poll()
    assert [one.program for one in search.facts.pythons] == [good]


def test_no_call_waits(tmp_path: Path) -> None:
    slow = program(tmp_path, "slow", "sleep 3")
    search = MachineSearch([slow] * 4, ["sleep", "3"])
    for _ in range(6):
        began = time.perf_counter()
        search.poll()
        assert time.perf_counter() - began < 0.5  # a tenth of what waiting would cost
    search.close()


def test_the_graphics_card_is_named_or_not(tmp_path: Path) -> None:
    card = program(tmp_path, "nvidia-smi", "echo 'NVIDIA RTX 4070'; echo 'another'")
    broken = program(tmp_path, "broken-smi", "echo 'no driver'; exit 9")
    assert facts([], [str(card)]).nvidia_gpu == "NVIDIA RTX 4070"
    assert facts([], [str(broken)]).nvidia_gpu == ""
    assert facts([], None).nvidia_gpu == ""


def test_blender_s_own_python_comes_last(tmp_path: Path) -> None:
    own = python(tmp_path, "blender-python")
    candidates = python_candidates(own)
    assert candidates[-1] == own
    assert len({path.resolve() for path in candidates}) == len(candidates)


def test_a_chosen_python_is_the_only_one(tmp_path: Path) -> None:
    chosen = tmp_path / "python"
    assert python_candidates(Path(sys.executable), chosen) == [chosen]
