"""Asking an interpreter whether it has an engine."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from blender_addon.engine_link.devices import EngineCheck
from blender_addon.engine_link.engine_environment import facts_from_json
from tests import tiny_wheels


def asked(python: Path, root: Path | None) -> EngineCheck:
    check = EngineCheck(python, root)
    deadline = time.monotonic() + 60
    while not check.poll():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    check.close()
    return check


def engine(root: Path, code: str) -> Path:
    (root / "engine").mkdir()
    (root / "engine" / "__init__.py").touch()  # else an installed engine comes first
    (root / "engine" / "__main__.py").write_text(code, encoding="utf-8")
    return root


def test_an_engine_says_what_it_has(tmp_path: Path) -> None:
    check = asked(Path(sys.executable), engine(tmp_path, tiny_wheels.ENGINE))
    assert check.facts is not None, check.error
    assert check.facts.engine_version == "9.9.9"
    assert [device.kind for device in check.facts.devices] == ["cpu"]


@pytest.mark.parametrize("code", ["print('hello')", "raise SystemExit('no torch here')", "", "1/0"])
def test_where_there_is_none_the_last_line_says_why(tmp_path: Path, code: str) -> None:
    check = asked(Path(sys.executable), engine(tmp_path, code))
    assert check.facts is None
    assert "There is no engine in" in check.error
    if "torch" in code:
        assert check.error.endswith("no torch here")


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    check = asked(tmp_path / "python", None)
    assert "could not be started" in check.error


@pytest.mark.parametrize(
    "values", [{}, {"devices": None}, {"devices": [1, {}]}, {"devices": [{"memory_bytes": "x"}]}]
)
def test_an_answer_that_is_odd_is_no_crash(values: dict[str, object]) -> None:
    assert facts_from_json(values).engine_version == ""
