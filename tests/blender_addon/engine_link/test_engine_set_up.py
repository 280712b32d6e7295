"""From nothing to an environment with an engine: the real steps, with tiny wheels for torch."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from blender_addon.engine_link import engine_packages as packages
from blender_addon.engine_link.engine_environment import (
    EngineEnvironment,
    EnvironmentState,
    Release,
)
from blender_addon.engine_link.engine_set_up import EngineSetUp, SetUpPhase
from blender_addon.engine_link.make_environment import STAMP, UNFINISHED
from blender_addon.engine_link.set_up_plan import SetUpProblem, Wishes
from tests import tiny_wheels

VERSION = "9.9.9"
TIMEOUT_S = 180


@pytest.fixture(autouse=True)
def tiny_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "TEXT_ENCODER_SHA256", tiny_wheels.text_encoder_sha256())
    monkeypatch.setattr(packages, "no_torch_reason", lambda: "")
    small = packages.Sizes(download=1, disk=1)
    monkeypatch.setattr(packages, "sizes", lambda build: small)


@pytest.fixture
def wishes(tmp_path: Path) -> Wishes:
    return Wishes(
        root=tmp_path / "root",
        release=Release(version=VERSION, wheel=f"marey-{VERSION}-py3-none-any.whl"),
        blender_python=Path(sys.executable),
        base_python=Path(sys.executable),
        is_online_allowed=False,
        packages_folder=tiny_wheels.make(tmp_path / "packages"),
    )


def run(set_up: EngineSetUp, told: list[str] | None = None) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while set_up.poll():
        assert time.monotonic() < deadline, set_up.text
        if told is not None and (not told or told[-1] != set_up.text):
            told.append(set_up.text)
        time.sleep(0.02)


def plan(set_up: EngineSetUp, wishes: Wishes) -> None:
    set_up.look(wishes)
    assert set_up.phase is SetUpPhase.LOOKING
    run(set_up)
    assert set_up.phase is SetUpPhase.PLANNED, set_up.error


@pytest.mark.slow
def test_look_agree_install_and_it_is_there(wishes: Wishes) -> None:
    environment, set_up, told = EngineEnvironment(wishes.root), EngineSetUp(), []
    plan(set_up, wishes)
    assert not wishes.root.exists()  # nothing is written before a yes
    assert environment.state(VERSION) is EnvironmentState.MISSING

    set_up.install()
    run(set_up, told)

    assert set_up.phase is SetUpPhase.DONE, set_up.error
    assert environment.state(VERSION) is EnvironmentState.READY
    assert [str(device) for device in environment.facts().devices] == ["Tiny, 8 GB"]
    assert "Installing the engine" in told
    assert "Successfully installed" in environment.log_path.read_text(encoding="utf-8")
    assert environment.state("10.0.0") is EnvironmentState.OTHER_VERSION
    environment.python.unlink()  # as when the Python that it was made from is removed
    assert environment.state(VERSION) is EnvironmentState.BROKEN


@pytest.mark.slow
def test_cancelled_in_the_middle_it_is_known_and_made_anew(wishes: Wishes) -> None:
    environment, set_up = EngineEnvironment(wishes.root), EngineSetUp()
    plan(set_up, wishes)
    set_up.install()
    deadline = time.monotonic() + TIMEOUT_S
    while not (environment.folder / "pyvenv.cfg").exists():
        set_up.poll()
        assert time.monotonic() < deadline
    process = set_up._process
    assert process is not None

    set_up.cancel()

    assert set_up.phase is SetUpPhase.CANCELLED
    assert process.poll() is not None
    assert environment.state(VERSION) is EnvironmentState.HALF
    left_over = environment.folder / "left over"
    left_over.write_text("x")

    plan(set_up, wishes)
    set_up.install()
    while left_over.exists() or not (environment.folder / "pyvenv.cfg").exists():
        assert set_up.poll(), set_up.error
        assert time.monotonic() < deadline
    set_up.cancel()


@pytest.mark.slow
def test_a_package_that_is_missing_is_named_and_no_network_is_asked(wishes: Wishes) -> None:
    assert wishes.packages_folder is not None
    next(wishes.packages_folder.glob("torch-*")).unlink()
    set_up = EngineSetUp()
    plan(set_up, wishes)
    set_up.install()
    run(set_up)
    assert set_up.phase is SetUpPhase.FAILED
    assert "No matching distribution found for torch==2.13.0" in set_up.error
    log = EngineEnvironment(wishes.root).log_path.read_text(encoding="utf-8")
    assert "http" not in log


def test_nothing_is_installed_without_a_plan(wishes: Wishes) -> None:
    set_up = EngineSetUp()
    with pytest.raises(SetUpProblem):
        set_up.install()
    set_up.look(wishes)
    set_up.cancel()
    assert set_up.phase is SetUpPhase.CANCELLED
    with pytest.raises(SetUpProblem):
        set_up.install()


def test_a_problem_is_said_and_can_be_mended(wishes: Wishes, tmp_path: Path) -> None:
    set_up = EngineSetUp()
    broken = Wishes(**{**vars(wishes), "base_python": tmp_path / "no-python"})
    set_up.look(broken)
    run(set_up)
    assert set_up.phase is SetUpPhase.FAILED
    assert "can't be used" in set_up.error
    plan(set_up, wishes)
    assert set_up.error == ""


@pytest.mark.skipif(os.name == "nt", reason="asks for a POSIX file mode")
def test_a_python_that_can_not_be_started_is_said(wishes: Wishes, tmp_path: Path) -> None:
    set_up = EngineSetUp()
    plan(set_up, wishes)
    assert set_up.plan is not None
    gone = Wishes(**vars(wishes))
    program = tmp_path / "gone"
    python = type(set_up.plan.python)(program=program, version=(3, 11, 0))
    set_up.plan = type(set_up.plan)(**{**vars(set_up.plan), "python": python})
    with pytest.raises(SetUpProblem, match="could not be started"):
        set_up.install()
    plan(set_up, gone)
    set_up.close()


def test_states_of_a_folder(tmp_path: Path) -> None:
    environment = EngineEnvironment(tmp_path)
    assert environment.state(VERSION) is EnvironmentState.MISSING
    environment.folder.mkdir()
    (environment.folder / STAMP).write_text("not json", encoding="utf-8")
    assert environment.state(VERSION) is EnvironmentState.MISSING
    (environment.folder / STAMP).write_text(f'{{"version": "{VERSION}"}}', encoding="utf-8")
    assert environment.state(VERSION) is EnvironmentState.BROKEN
    (environment.folder / UNFINISHED).touch()
    assert environment.state(VERSION) is EnvironmentState.HALF
