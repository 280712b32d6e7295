"""What an evaluation hands over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trainer.commands.written_report import hand_over


def test_a_report_is_written_whole_and_printed_as_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new" / "report.json"
    hand_over({"fid": 1.5}, file, as_json=True)
    assert json.loads(file.read_text()) == {"fid": 1.5}
    assert [path.name for path in file.parent.iterdir()] == ["report.json"]
    assert json.loads(capsys.readouterr().out) == {"fid": 1.5}


def test_nothing_is_handed_over_that_was_not_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hand_over({"fid": 1.5}, None, as_json=False)
    assert capsys.readouterr().out == ""
    assert list(tmp_path.iterdir()) == []
