"""The demo's words: what it refuses and where it writes. The whole of it is in end_to_end."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

import demo


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--seconds", "0"], "--seconds is 0"),
        (["--seconds", "-3"], "--seconds is -3"),
        (["--seconds", "nan"], "--seconds is nan"),
        (["--rig", "rig.obj"], ".glb"),
        (["--rig", "no-such.glb"], "is not there"),
        (["--blender", "no-such-program"], "is not a program"),
    ],
)
def test_wrong_words_are_refused_with_one_line(
    words: list[str],
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["demo.py", *words])
    monkeypatch.setattr(demo.environment, "require_python", lambda: None)

    assert demo.main() == demo.WRONG_WORDS

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert says in lines[0]


def test_a_folder_with_a_motion_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "motion.bvh").touch()

    with pytest.raises(demo.DemoError, match="--overwrite") as refused:
        demo._output_folder(_options(out=tmp_path))

    assert refused.value.exit_code == demo.WRONG_WORDS
    assert demo._output_folder(_options(out=tmp_path, overwrite=True)) == tmp_path.resolve()


def test_the_folder_by_default_is_a_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "ROOT", tmp_path)

    first = demo._output_folder(_options())
    (first / "sheet.png").touch()

    assert first == tmp_path.resolve() / "demo"
    assert demo._output_folder(_options()) == tmp_path.resolve() / "demo-2"


def test_blenders_words_are_passed_on_line_by_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "blender.log"
    log.write_bytes(b"Fra:1\nmarey: sheet drawn\nmarey: half a li")

    shown = demo._pass_on_words(log, 0)
    log.write_bytes(log.read_bytes() + b"ne\n")
    demo._pass_on_words(log, shown)

    assert capsys.readouterr().out == "  sheet drawn\n  half a line\n"


def _options(*, out: Path | None = None, overwrite: bool = False) -> argparse.Namespace:
    return argparse.Namespace(out=out, overwrite=overwrite)
