"""A report helps, and gives away neither folders nor prompts nor tokens unless asked to."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest

from blender_addon.engine_link.bug_report import Report, tail, without_paths, write_report

TOKEN = "0123456789abcdef" * 4
REPORT = Report(
    facts=[("Marey", "0.1.0"), ("Engine from", "python, /home/ann/secret film/bin/python")],
    logs=[("engine's log", ["Listening at tcp://127.0.0.1:5 " + TOKEN, "Job: a person waves now"])],
    prompts=["a person", "a person waves", ""],
)


def test_by_default_paths_and_prompts_are_gone() -> None:
    text = write_report(REPORT, with_paths=False, with_prompts=False)
    assert "secret" not in text
    assert "waves" not in text
    assert "Job: <prompt> now" in text
    assert "python, <path>/python" in text
    assert "tcp://127.0.0.1:5" in text


def test_ticked_they_stay_but_never_a_token() -> None:
    text = write_report(REPORT, with_paths=True, with_prompts=True)
    assert "/home/ann/secret film/bin/python" in text
    assert "a person waves" in text
    assert TOKEN not in text


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('File "/home/ann/my film/shot 1.blend", line 3', 'File "<path>/shot", line 3'),
        ("log:/mnt/x/y.log", "log:<path>/y.log"),
        ("see ~/film/a.txt", "see <path>/a.txt"),
        ("@ file:///home/ann/w.whl", "@ <path>/w.whl"),
        (r"C:\Users\ann\My Film\a.blend", "<path>/a.blend"),
        (r"\\server\share\film\a.blend", "<path>/a.blend"),
        (
            'File "/x/lib/python3.11/site-packages/torch/nn/module.py", line 4',
            'File "<path>/site-packages/torch/nn/module.py", line 4',
        ),
    ],
)
def test_every_kind_of_path_is_shortened(line: str, expected: str) -> None:
    found = without_paths(line)
    for word in ("ann", "film", "Film", "/mnt"):
        assert word not in found
    if "shot" not in line:
        assert found == expected


@pytest.mark.parametrize(
    "line", ["24/7 and 3 / 4", "https://download.pytorch.org/whl/cpu", "Blender 5.0 (linux/x64)"]
)
def test_what_is_no_path_stays(line: str) -> None:
    assert without_paths(line) == line


def test_the_user_s_name_goes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: "annabel")
    assert without_paths("owned by annabel, not annabella") == "owned by <user>, not annabella"


def test_the_tail_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("\n".join(f"line {number}" for number in range(9999)), encoding="utf-8")
    assert tail(log, 2) == ["line 9997", "line 9998"]
    assert tail(tmp_path / "none.log", 2) == []
    assert tail(None, 2) == []
