"""The program that makes the environment: what it deletes, checks, and writes down."""

from __future__ import annotations

import functools
import hashlib
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from blender_addon.engine_link import make_environment
from blender_addon.engine_link.make_environment import (
    STAMP,
    UNFINISHED,
    SetUpError,
    check_hash,
    in_words,
    only_one,
    remove,
)
from tests import tiny_wheels


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "engine"
    (made / "lib" / "deep").mkdir(parents=True)
    (made / "lib" / "deep" / "file").write_text("x")
    (made / "pyvenv.cfg").write_text("x")
    return made


def test_a_folder_that_is_not_ours_is_left_alone(folder: Path) -> None:
    plan = _plan(folder)
    with pytest.raises(SetUpError, match="not Marey's"):
        make_environment.make_folder(folder, plan, sys.stderr)
    assert (folder / "lib" / "deep" / "file").read_text() == "x"


@pytest.mark.parametrize("mark", [UNFINISHED, STAMP])
def test_ours_is_removed_whole(folder: Path, mark: str) -> None:
    (folder / mark).write_text("{}")
    remove(folder)
    assert not folder.exists()


def test_a_link_out_of_it_is_not_followed(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    try:
        (folder / "link").symlink_to(outside, target_is_directory=True)
    except OSError:
        pytest.skip("this system lets no user make links")
    remove(folder)
    assert (outside / "precious").read_text() == "x"


def test_half_deleted_it_is_still_ours(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / STAMP).write_text("{}")

    def fail(path: object) -> None:
        raise OSError("in use")

    monkeypatch.setattr(make_environment.shutil, "rmtree", fail)
    with pytest.raises(OSError, match="in use"):
        remove(folder)
    assert (folder / UNFINISHED).exists()
    assert not (folder / STAMP).exists()


def test_too_little_space_is_said_with_numbers(tmp_path: Path) -> None:
    plan = _plan(tmp_path / "engine", least_free_mb=10**9)
    with pytest.raises(SetUpError, match=r"GB free, needs 1000000\.0"):
        make_environment.make_folder(tmp_path / "engine", plan, sys.stderr)
    assert not (tmp_path / "engine").exists()


def test_another_file_than_the_one_meant_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.whl"
    file.write_bytes(b"good")
    check_hash(file, hashlib.sha256(b"good").hexdigest())
    with pytest.raises(SetUpError, match="not the file"):
        check_hash(file, hashlib.sha256(b"bad").hexdigest())
    with pytest.raises(SetUpError, match="nothing"):
        check_hash(tmp_path / "gone.whl", "0" * 64)


def test_two_set_ups_of_one_folder_do_not_meet(tmp_path: Path) -> None:
    """The second is another process: a lock is the process's own."""
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[2]);"
        "import make_environment as m\n"
        "try:\n  m.only_one(Path(sys.argv[1])).__enter__(); print('free')\n"
        "except m.SetUpError as error: print(error)"
    )
    script_folder = str(Path(make_environment.__file__).parent)
    command = [sys.executable, "-c", code, str(tmp_path / "engine"), script_folder]
    with only_one(tmp_path / "engine"):
        busy = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    free = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "Another set-up works on" in busy.stdout
    assert free.stdout.strip() == "free"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("Collecting filelock (from torch>=2.6)", "Collecting filelock"),
        ("  Downloading numpy-2.4.6-cp311.whl (17.0 MB)", "Downloading numpy-2.4.6-cp311.whl"),
        ("Processing /secret/place/torch-2.13.0.whl", "Processing torch-2.13.0.whl"),
        (r"Processing c:\secret\torch-2.13.0.whl", "Processing torch-2.13.0.whl"),
        ("Installing collected packages: a, b, c", "Unpacking the packages"),
    ],
)
def test_what_pip_says_is_shown_short(line: str, words: str) -> None:
    assert in_words(line) == words


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for the interpreter is a shell script")
@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'no GPU driver' >&2; exit 1", "does not run: no GPU driver"),
        ("echo hello", "does not say which devices"),
    ],
)
def test_an_engine_that_does_not_work_is_no_success(
    tmp_path: Path, script: str, words: str
) -> None:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    python.chmod(0o755)
    with (tmp_path / "log").open("w") as log, pytest.raises(SetUpError, match=words):
        make_environment.try_engine(tmp_path, log)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A web server on this machine that has the wheel of an engine."""
    tiny_wheels.make(tmp_path / "served")
    handler = functools.partial(QuietHandler, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_address[1]}"
        listening.shutdown()
        thread.join()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for the interpreter is a shell script")
def test_a_wheel_comes_from_an_address_and_is_checked(tmp_path: Path, server: str) -> None:
    pytest.importorskip("pip")
    folder = tmp_path / "engine"
    (folder / "bin").mkdir(parents=True)
    python = folder / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    name = "marey-9.9.9-py3-none-any.whl"
    content = (tmp_path / "served" / name).read_bytes()
    good = replace(_plan(folder), wheel=f"{server}/{name}", packages_folder=None)
    good = replace(good, wheel_sha256=hashlib.sha256(content).hexdigest())
    with (tmp_path / "status").open("w") as status, (tmp_path / "log").open("w") as log:
        pip = make_environment.Pip(folder, good, make_environment.Status(status), log)
        address = make_environment.wheel_address(good, pip)
        assert address == (pip.downloads / name).as_uri()
        with pytest.raises(SetUpError, match="not the file"):
            make_environment.wheel_address(replace(good, wheel_sha256="0" * 64), pip)
        with pytest.raises(SetUpError, match="404"):
            make_environment.wheel_address(
                replace(good, wheel=f"{server}/marey-1.0-py3-none-any.whl"), pip
            )


def _plan(folder: Path, *, least_free_mb: int = 0) -> make_environment.Plan:
    return make_environment.Plan(
        folder=str(folder),
        log=str(folder.parent / "log"),
        version="9.9.9",
        build="cpu",
        torch="torch==2.13.0",
        torch_index=None,
        wheel="x.whl",
        wheel_sha256="",
        constraints=[],
        text_encoder="t",
        text_encoder_file="f",
        text_encoder_sha256="0",
        packages_folder=str(folder.parent),
        least_free_mb=least_free_mb,
    )
