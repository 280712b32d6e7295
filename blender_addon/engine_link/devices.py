"""Asks an interpreter that the artist has chosen: is there an engine, and what can it run on?"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, cast

from .engine_environment import EngineFacts, facts_from_json
from .process import clean_environment, hidden_window

END_WAIT_S = 0.5  # a killed process is gone within milliseconds; this is for a busy machine
TIMEOUT_S = 120.0  # the first import of torch from a cold disk takes a while


class EngineCheck:
    """Runs `python -m engine devices --json`; poll() never waits."""

    def __init__(self, python: Path, engine_root: Path | None = None) -> None:
        self.facts: EngineFacts | None = None
        self.error = ""
        self._python = python
        self._deadline = time.monotonic() + TIMEOUT_S
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._process = self._start(engine_root)

    @property
    def is_done(self) -> bool:
        """There is an answer, good or bad."""
        return self.facts is not None or bool(self.error)

    def poll(self) -> bool:
        """Look for the answer. True when it is there."""
        if self.is_done or self._process is None:
            return True
        if self._process.poll() is None:
            if time.monotonic() > self._deadline:
                self.error = f"{self._python} has not answered for {TIMEOUT_S:.0f} s"
                self.close()
            return self.is_done
        self._read()
        self.close()
        return True

    def close(self) -> None:
        """End the process."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(END_WAIT_S)
        self._output.close()

    def _start(self, root: Path | None) -> subprocess.Popen[bytes] | None:
        variables = clean_environment()
        safe = ["-P"] if root is None else []  # as EngineCommand
        if root is not None:
            variables["PYTHONPATH"] = str(root)
        try:
            return subprocess.Popen(
                [str(self._python), *safe, "-m", "engine", "devices", "--json"],
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=subprocess.STDOUT,
                cwd=root,
                env=variables,
                creationflags=hidden_window(),
            )
        except OSError as error:
            self.error = f"{self._python} could not be started: {error.strerror}"
            self._output.close()
            return None

    def _read(self) -> None:
        self._output.seek(0)
        lines = self._output.read().decode(errors="replace").strip().splitlines()
        for line in reversed(lines):
            with contextlib.suppress(ValueError):
                values: object = json.loads(line)
                if isinstance(values, dict):
                    self.facts = facts_from_json(cast("dict[str, Any]", values))
                    return
        last = lines[-1] if lines else "it said nothing"
        self.error = f"There is no engine in {self._python}: {last}"
