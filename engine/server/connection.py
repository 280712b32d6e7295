"""How a client finds this engine, and how the engine notices that its parent is gone.

The connection file is JSON {"endpoint", "token", "pid", "protocol_version"}. Whoever can read
it may use the engine, so only its owner can.
"""

from __future__ import annotations

import contextlib
import hmac
import json
import os
import secrets
import sys
from pathlib import Path

from blender_addon import protocol

WINDOWS_SYNCHRONIZE = 0x00100000
WINDOWS_WAIT_TIMEOUT = 0x00000102


class EndpointError(Exception):
    """The engine can't listen at an address."""


def new_token() -> str:
    """256 random bits."""
    return secrets.token_hex(32)


def is_token(given: str, token: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(given.encode(), token.encode())


def write_connection_file(path: Path, *, endpoint: str, token: str) -> None:
    """Write the file under a temporary name, then rename it: a reader never sees half of it.

    Raises:
        OSError: the folder can't be written to.
    """
    values = {
        "endpoint": endpoint,
        "token": token,
        "pid": os.getpid(),
        "protocol_version": protocol.PROTOCOL_VERSION,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)
    # With O_EXCL the file is new, so the mode is ours and not that of what lay there before.
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(values, file)
    partial.replace(path)


def remove_connection_file(path: Path) -> None:
    """Remove the file if it is still that of this process."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        if json.loads(path.read_text(encoding="utf-8"))["pid"] == os.getpid():
            path.unlink()


class ParentWatch:
    """Tells whether the process that started this one still lives."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._is_direct = os.getppid() == pid

    def is_gone(self) -> bool:
        """The parent has ended."""
        if sys.platform == "win32":
            return not _is_alive_windows(self._pid)
        # A direct child sees its parent change at once, even where the dead one stays a zombie.
        if self._is_direct:
            return os.getppid() != self._pid
        return not _is_alive(self._pid)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _is_alive_windows(pid: int) -> bool:
    # os.kill(pid, 0) would end the process there.
    import ctypes

    kernel32 = getattr(ctypes, "windll").kernel32  # noqa: B009 - absent on other systems
    handle = kernel32.OpenProcess(WINDOWS_SYNCHRONIZE, False, pid)
    if not handle:
        return False
    try:
        return kernel32.WaitForSingleObject(handle, 0) == WINDOWS_WAIT_TIMEOUT
    finally:
        kernel32.CloseHandle(handle)
