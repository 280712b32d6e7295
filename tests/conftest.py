"""What every test may ask for: the real data, the engine's Python; and how a run under bpy ends.

Two kinds of Python run these tests. The engine's has torch and no bpy, Blender's has bpy and
no torch; each collects only the folders it can import, and says in its header which it leaves.
"""

from __future__ import annotations

import os
import signal
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
HAS_BPY = find_spec("bpy") is not None
HAS_TORCH = find_spec("torch") is not None
WITHOUT_BPY = ("tests/blender",)
WITHOUT_TORCH = ("tests/engine", "tests/trainer", "tests/scripts")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Shells start background jobs so, and what tests start would never hear an interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--data",
        type=Path,
        default=REPOSITORY.parent / "shared" / "data",
        help="folder of the real data; tests that need it are skipped where it is absent",
    )
    parser.addoption(
        "--engine-python",
        type=Path,
        default=None,
        help="Python that runs the engine process (default: the one in .venv)",
    )


def pytest_report_header(config: pytest.Config) -> list[str]:
    data = config.getoption("data")
    lines = [f"data: {data}" if data.is_dir() else f"data: none ({data} is absent)"]
    if left_out := _left_out():
        missing = "bpy" if not HAS_BPY else "torch"
        lines.append(f"not collected, for want of {missing}: {', '.join(left_out)}")
    return lines


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what this Python cannot import."""
    if collection_path in {REPOSITORY / folder for folder in _left_out()}:
        return True
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    skip_blender = pytest.mark.skip(reason="needs bpy: python3 scripts/test.py runs it")
    skip_gpu = pytest.mark.skip(reason="needs a GPU")
    for item in items:
        if "blender" in item.keywords and not HAS_BPY:
            item.add_marker(skip_blender)
        if "gpu" in item.keywords and not _has_gpu():
            item.add_marker(skip_gpu)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave at once after the report: with Rigify on, bpy 4.2 crashes and 4.5 hangs at exit."""
    status = getattr(config, "marey_exit_status", None)
    if status is None or "bpy" not in sys.modules:
        return
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.marey_exit_status = int(exitstatus)


@pytest.fixture(scope="session")
def real_data(request: pytest.FixtureRequest) -> Path:
    """The folder of real data (motion/, reference/, rigs/ …), or a skip that says so."""
    data: Path = request.config.getoption("data")
    if not data.is_dir():
        pytest.skip(f"needs the real data, and {data} is absent (give --data FOLDER)")
    return data


@pytest.fixture(scope="session")
def engine_python(request: pytest.FixtureRequest) -> Path:
    """The interpreter that can run `python -m engine`."""
    given: Path | None = request.config.getoption("engine_python")
    if given is not None:
        return given
    if HAS_TORCH:
        return Path(sys.executable)
    folder, program = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    python = REPOSITORY / ".venv" / folder / program
    if not python.exists():
        pytest.skip(f"needs the engine's environment, and {python} is absent")
    return python


def _left_out() -> list[str]:
    return [*(() if HAS_BPY else WITHOUT_BPY), *(() if HAS_TORCH else WITHOUT_TORCH)]


def _has_gpu() -> bool:
    if not HAS_TORCH:
        return False
    import torch

    return torch.cuda.is_available()
