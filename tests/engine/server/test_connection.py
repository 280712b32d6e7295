from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from blender_addon.engine_link.process import read_connection
from engine.server.connection import (
    ParentWatch,
    is_token,
    new_token,
    remove_connection_file,
    write_connection_file,
)

TIMEOUT_S = 20.0


def test_the_add_on_reads_what_the_engine_writes(tmp_path: Path) -> None:
    path = tmp_path / "new" / "engine.json"
    write_connection_file(path, endpoint="tcp://127.0.0.1:5", token="secret")
    connection = read_connection(path)
    assert connection is not None
    assert connection.endpoint == "tcp://127.0.0.1:5"
    assert connection.token == "secret"
    assert connection.pid == os.getpid()
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="modes")
def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "engine.json"
    path.write_text("")
    path.chmod(0o666)
    write_connection_file(path, endpoint="e", token="t")
    assert path.stat().st_mode & 0o777 == 0o600


def test_it_is_removed_only_by_its_own_process(tmp_path: Path) -> None:
    path = tmp_path / "engine.json"
    remove_connection_file(path)
    write_connection_file(path, endpoint="e", token="t")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pid": os.getpid() + 1}))
    remove_connection_file(path)
    assert path.exists()
    write_connection_file(path, endpoint="e", token="t")
    remove_connection_file(path)
    assert not path.exists()


def test_tokens() -> None:
    token = new_token()
    assert len(token) == 64
    assert token != new_token()
    assert is_token(token, token)
    assert not is_token(token[:-1], token)
    assert not is_token("ä", token)


def test_a_living_parent_is_not_gone() -> None:
    assert not ParentWatch(os.getppid()).is_gone()
    assert not ParentWatch(os.getpid()).is_gone()


def test_a_process_that_has_ended_is_gone() -> None:
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    watch = ParentWatch(process.pid)
    process.wait(TIMEOUT_S)
    deadline = time.monotonic() + TIMEOUT_S
    while not watch.is_gone():
        assert time.monotonic() < deadline
        time.sleep(0.02)
