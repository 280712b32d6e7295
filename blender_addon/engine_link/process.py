"""EngineProcess: starts `python -m engine serve` in the engine's own Python, and ends it.

Nothing here waits: is_running and connection() are asked again and again by the pump. The
engine watches this process too, and ends when it is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from .. import protocol
from .client import EngineLinkError

LOG_TAIL_BYTES = 8192
KEPT_LOGS = 5
KILL_WAIT_S = 0.01
_SIGKILL = 9  # by its number: Windows has none; the system sends it to the largest process
END_WAIT_S = 2.0

# What Blender's or a virtual environment's own Python may have set would mislead another one.
FOREIGN_VARIABLES = (
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "__PYVENV_LAUNCHER__",
    "VIRTUAL_ENV",
)


@dataclass(frozen=True, kw_only=True)
class EngineConnection:
    """What a connection file says: where an engine listens, and the token that it wants."""

    endpoint: str
    token: str
    pid: int


@dataclass(frozen=True, kw_only=True)
class EngineCommand:
    """How to start an engine."""

    python: Path  # the interpreter of the engine's environment
    folder: Path  # for the log and the connection file
    engine_root: Path | None = None  # folder that has `engine/`; None: installed in `python`
    device: str = "auto"
    model_folders: tuple[Path, ...] = ()
    module: str = "engine"

    def arguments(self, connection_file: Path) -> list[str]:
        """The command line."""
        # -P: an `engine` folder where Blender happens to run is not the one that is installed.
        safe = ["-P"] if self.engine_root is None else []
        words = [str(self.python), *safe, "-u", "-m", self.module, "serve"]
        words += ["--connection-file", str(connection_file), "--parent-pid", str(os.getpid())]
        words += ["--device", self.device]
        for folder in self.model_folders:
            words += ["--models", str(folder)]
        return words


class EngineProcess:
    """An engine that this process has started."""

    def __init__(self, popen: subprocess.Popen[bytes], connection_file: Path, log: Path) -> None:
        self._popen = popen
        self._connection_file = connection_file
        self.log_path = log

    @classmethod
    def start(cls, command: EngineCommand) -> EngineProcess:
        """Start an engine; connection() tells when it listens.

        Raises:
            EngineLinkError: the interpreter or the folder can't be used.
        """
        stem = f"engine-{os.getpid()}"
        connection_file = command.folder / f"{stem}.json"
        log = command.folder / f"{stem}.log"
        try:
            command.folder.mkdir(parents=True, exist_ok=True)
            connection_file.unlink(missing_ok=True)
            _remove_old_logs(command.folder)
            with log.open("wb") as output:
                popen = _popen(command.arguments(connection_file), command.engine_root, output)
        except OSError as error:
            raise EngineLinkError(
                f"The engine could not be started with {command.python}: {error}. "
                "Check the engine's Python in the preferences"
            ) from error
        return cls(popen, connection_file, log)

    @property
    def pid(self) -> int:
        """Of the process that was started."""
        return self._popen.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._popen.poll()

    @property
    def is_running(self) -> bool:
        """The process has not ended."""
        return self.exit_code is None

    def connection(self) -> EngineConnection | None:
        """Where the engine listens, once it does.

        Raises:
            EngineLinkError: it speaks another protocol version.
        """
        return read_connection(self._connection_file)

    def check_running(self) -> None:
        """Raise an EngineLinkError with the reason if the process has ended."""
        code = self.exit_code
        if code is None:
            return
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        if code == -_SIGKILL:
            how += ", as happens when the computer has no memory left"
        lines = [line.strip() for line in self.log_tail() if line.strip()]
        last_line = f": {lines[-1]}" if lines and code > 0 else ""
        raise EngineLinkError(f"The engine {how}{last_line} (log: {self.log_path})")

    def log_tail(self, num_lines: int = 20) -> list[str]:
        """The last lines of the engine's log."""
        try:
            with self.log_path.open("rb") as file:
                file.seek(0, os.SEEK_END)
                file.seek(max(0, file.tell() - LOG_TAIL_BYTES))
                text = file.read().decode(errors="replace")
        except OSError:
            return []
        return text.splitlines()[-num_lines:]

    def terminate(self) -> None:
        """Ask the process to end (Windows: end it)."""
        if self.is_running:
            self._popen.terminate()

    def kill(self) -> None:
        """End the process without asking, and give the system a moment to do it."""
        if self.is_running:
            self._popen.kill()
            self.wait(KILL_WAIT_S)

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end: for scripts and for Blender's exit only, because it blocks."""
        try:
            self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def remove_connection_file(self) -> None:
        """Tidy up after an engine that was killed and could not do so itself."""
        self._connection_file.unlink(missing_ok=True)


def read_connection(path: Path) -> EngineConnection | None:
    """Read a connection file; None while there is none.

    Raises:
        EngineLinkError: it isn't one, or its engine speaks another protocol version.
    """
    try:
        parsed: object = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise EngineLinkError(f"{path} can't be read as a connection file: {error}") from error
    values = cast("dict[str, Any]", parsed if isinstance(parsed, dict) else {})
    version = values.get("protocol_version")
    if version != protocol.PROTOCOL_VERSION:
        raise EngineLinkError(
            f"{path} is of protocol version {version}, this add-on speaks "
            f"{protocol.PROTOCOL_VERSION}: install both from the same release"
        )
    try:
        return EngineConnection(
            endpoint=str(values["endpoint"]), token=str(values["token"]), pid=int(values["pid"])
        )
    except (KeyError, TypeError, ValueError) as error:
        raise EngineLinkError(f"{path} is no connection file: {error!r}") from error


def clean_environment() -> dict[str, str]:
    """The variables for another Python: those of Blender's would mislead it."""
    environment = {k: v for k, v in os.environ.items() if k not in FOREIGN_VARIABLES}
    environment["PYTHONUTF8"] = "1"
    return environment


def end_tree(process: subprocess.Popen[bytes]) -> None:
    """End a process that leads a session of its own, and all that it started."""
    if process.poll() is not None:
        return
    if sys.platform == "win32":
        subprocess.run(
            ["taskkill", "/F", "/T", "/PID", str(process.pid)],
            capture_output=True,
            check=False,
            creationflags=hidden_window(),
        )
    else:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(END_WAIT_S)


def hidden_window() -> int:
    """The creation flags by which Windows opens no console; 0 elsewhere."""
    if sys.platform == "win32":
        return subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP
    return 0


def _popen(words: Sequence[str], root: Path | None, output: Any) -> subprocess.Popen[bytes]:
    environment = clean_environment()
    if root is not None:
        environment["PYTHONPATH"] = str(root)
    return subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd=root,
        env=environment,
        creationflags=hidden_window(),
        # Ctrl-C in Blender's terminal is Blender's: the engine ends with its parent anyway.
        start_new_session=sys.platform != "win32",
    )


def _remove_old_logs(folder: Path) -> None:
    logs = sorted(folder.glob("engine-*.log"), key=lambda path: path.stat().st_mtime)
    for log in logs[:-KEPT_LOGS]:
        log.unlink(missing_ok=True)
