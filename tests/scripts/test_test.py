"""Which tests go to which Python, and how the whole is summed up."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import ModuleType

import pytest

import environment_contents as contents


def _load() -> ModuleType:
    """scripts/test.py under another name: `test` is a package of Python's own."""
    path = contents.ROOT / "scripts" / "test.py"
    spec = importlib.util.spec_from_file_location("marey_test_script", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


runner = _load()
BLENDER = ["-m", "blender"]


@pytest.mark.parametrize(
    ("words", "plain", "blender"),
    [
        ([], [], [*BLENDER, "tests/blender", "tests/end_to_end"]),
        (["tests/blender"], None, [*BLENDER, "tests/blender"]),
        (["tests/engine", "-q"], ["tests/engine", "-q"], None),
        (
            ["-k", "walk"],
            ["-k", "walk"],
            [*BLENDER, "tests/blender", "tests/end_to_end", "-k", "walk"],
        ),
        (["tests"], ["tests"], [*BLENDER, "tests"]),
        (
            ["tests/engine", "tests/blender/test_pump.py::test_x"],
            ["tests/engine"],
            [*BLENDER, "tests/blender/test_pump.py::test_x"],
        ),
    ],
)
def test_each_python_gets_the_tests_that_it_can_run(
    words: list[str], plain: list[str] | None, blender: list[str] | None
) -> None:
    steps = {step.name: step.command for step in runner._steps(["5.0"], words)}

    assert _after_pytest(steps.get("tests")) == plain
    assert _after_pytest(steps.get("bpy 5.0")) == blender


@pytest.mark.parametrize(
    ("words", "cluster"),
    [
        ([], ["-m", "cluster", "tests/trainer"]),
        (["-k", "bytes"], ["-m", "cluster", "tests/trainer", "-k", "bytes"]),
        (["tests/trainer/test_spread.py"], ["-m", "cluster", "tests/trainer/test_spread.py"]),
        (["tests/engine"], None),
    ],
)
def test_the_tests_of_a_cluster_get_the_python_that_has_ray(
    words: list[str], cluster: list[str] | None
) -> None:
    steps = {step.name: step.command for step in runner._steps(["5.0"], words)}
    command = steps.get("cluster")

    assert _after_pytest(command) == cluster
    assert command is None or ".venv-ray" in command[0]


def test_blender_runs_beside_the_rest_where_there_are_two_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    steps = runner._steps(["5.0", "4.2"], [])

    monkeypatch.setattr(runner, "_num_cores", lambda: 2)
    own, others = runner._lanes(steps, [])
    assert [step.name for step in own] == ["lint", "format", "types", "tests"]
    assert [step.name for step in others] == ["cluster", "bpy 5.0", "bpy 4.2"]
    assert runner._lanes(own, []) == [own]
    assert runner._lanes(steps, ["--basetemp=here"]) == [[*own, *others]]

    monkeypatch.setattr(runner, "_num_cores", lambda: 1)
    assert runner._lanes(steps, []) == [[*own, *others]]


def test_lanes_run_side_by_side_on_their_share_of_the_cores(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of the two ends only when the other has begun."""
    monkeypatch.setattr(runner, "_num_cores", lambda: 6)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    code = (
        "import pathlib, sys, time\n"
        "own, other = map(pathlib.Path, sys.argv[1:])\n"
        "own.touch()\n"
        "end = time.monotonic() + 30\n"
        "while not other.exists() and time.monotonic() < end: time.sleep(0.01)\n"
        "sys.exit(0 if other.exists() else 1)\n"
    )
    marks = [str(tmp_path / name) for name in "ab"]
    first = runner.Step("first", [sys.executable, "-c", code, *marks])
    second = runner.Step("second", [sys.executable, "-c", code, *reversed(marks)])
    told = "import os; print(os.environ['OMP_NUM_THREADS'], 'threads')"
    after = runner.Step("after", [sys.executable, "-c", told])

    outcomes = runner.Run().all_of([[first], [second, after]])

    assert [outcome.step.name for outcome in outcomes] == ["first", "second", "after"]
    assert all(outcome.passed for outcome in outcomes)
    assert "after    3 threads" in capfd.readouterr().out.splitlines()


def test_what_breaks_in_one_lane_ends_the_other() -> None:
    missing = runner.Step("missing", ["no-such-program"])
    waiting = runner.Step("waits", [sys.executable, "-c", "import time; time.sleep(60)"])
    began = time.monotonic()

    with pytest.raises(FileNotFoundError, match="no-such-program"):
        runner.Run().all_of([[waiting], [missing]])

    assert time.monotonic() - began < 30


@pytest.mark.skipif(os.name == "nt", reason="an interrupt is sent otherwise on Windows")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_ends_every_lane(sent: signal.Signals) -> None:
    path = contents.ROOT / "scripts" / "test.py"
    code = (
        "import importlib.util, sys\n"
        f"sys.path.insert(0, {str(path.parent)!r})\n"
        f"spec = importlib.util.spec_from_file_location('runner', {str(path)!r})\n"
        "runner = sys.modules['runner'] = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(runner)\n"
        "wait = [sys.executable, '-c', 'import os, time; print(os.getpid()); time.sleep(60)']\n"
        "never = [sys.executable, '-c', 'print(0)']\n"
        "def steps(*_):\n"
        "    return [\n"
        "        runner.Step('a', wait), runner.Step('next', never),\n"
        "        runner.Step('b', wait, is_blender=True),\n"
        "        runner.Step('next', never, is_blender=True),\n"
        "    ]\n"
        "runner._steps, runner._num_cores = steps, lambda: 2\n"
        "runner.environment.set_up = lambda *_: True\n"
        "sys.argv = ['test.py']\n"
        "runner.main()\n"
    )
    begun: list[int] = []
    command = [sys.executable, "-u", "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        late = threading.Timer(30, process.kill)
        late.start()
        assert process.stdout is not None
        while len(begun) < 2:
            line = process.stdout.readline()
            assert line
            words = line.split()
            begun += [int(words[1])] if len(words) == 2 and words[1].isdigit() else []
        process.send_signal(sent)
        rest = process.stdout.read()
        late.cancel()

    assert process.returncode == 130
    assert "next" not in rest
    assert "once more" not in rest
    for number in begun:
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)


@pytest.mark.parametrize(
    ("words", "versions"),
    [("all", ["5.0", "4.5", "4.2"]), ("4.2", ["4.2"]), ("5.0, 4.2", ["5.0", "4.2"])],
)
def test_versions_are_read(words: str, versions: list[str]) -> None:
    assert runner._versions(words) == versions


def test_an_unknown_version_ends_with_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        runner._versions("3.6")

    assert ended.value.code == 2
    assert "3.6" in capsys.readouterr().err


def test_the_summary_ends_as_pytest_does(capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = [
        runner.Outcome(runner.Step("lint", []), True, "ok"),
        runner.Outcome(runner.Step("tests", [], is_pytest=True), True, "5 passed, 1 skipped in 2s"),
        runner.Outcome(runner.Step("bpy 5.0", [], is_pytest=True), True, "7 passed in 3s"),
    ]

    assert runner._sum_up(outcomes, 9.0) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "===== 12 passed, 1 skipped in 9.0s ====="


def test_one_failed_step_fails_the_whole(capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = [runner.Outcome(runner.Step("types", []), False, "exit 1")]

    assert runner._sum_up(outcomes, 1.0) == 1
    assert "Failed: types" in capsys.readouterr().out


def test_a_step_that_hangs_is_stopped(capsys: pytest.CaptureFixture[str]) -> None:
    waiting = [sys.executable, "-c", "import time; time.sleep(60)"]

    outcome = runner.Run().step(runner.Step("hangs", waiting, timeout_s=0.5))

    assert not outcome.passed
    assert "stopped" in outcome.closing


@pytest.mark.skipif(os.name == "nt", reason="a process has no signals to end by on Windows")
@pytest.mark.parametrize(("crashes", "passed"), [(1, True), (2, False)])
def test_a_blender_that_crashes_gets_one_more_go(
    crashes: int, passed: bool, tmp_path: Path
) -> None:
    marks = tmp_path / "crashes"
    code = (
        "import os, pathlib, signal\n"
        f"marks = pathlib.Path({str(marks)!r})\n"
        "marks.touch()\n"
        f"if marks.stat().st_size < {crashes}:\n"
        "    marks.write_text(marks.read_text() + 'x')\n"
        "    os.kill(os.getpid(), signal.SIGSEGV)\n"
        "print('3 passed in 1s')\n"
    )
    step = runner.Step("bpy", [sys.executable, "-c", code], is_pytest=True, is_blender=True)

    outcome = runner.Run().step(step)

    assert outcome.passed is passed
    assert "crashed at first (exit -11)" in outcome.closing
    assert len(marks.read_text()) == crashes


def test_a_failed_test_is_not_repeated(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    code = f"open({str(runs)!r}, 'a').write('x'); raise SystemExit(1)"
    step = runner.Step("bpy", [sys.executable, "-c", code], is_pytest=True, is_blender=True)

    assert not runner.Run().step(step).passed
    assert runs.read_text() == "x"


def _after_pytest(command: list[str] | None) -> list[str] | None:
    """The arguments, but for where the step keeps its cache."""
    if command is None:
        return None
    words = command[command.index("pytest") + 1 :]
    return words[2:] if words[:1] == ["-o"] else words
