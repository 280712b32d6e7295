"""From "there is no engine" to an environment that has one, step by step and never waiting.

    look()      IDLE -> LOOKING: what does this computer have?
                LOOKING -> PLANNED: `plan` says what would be made, from what, and how large
    install()   PLANNED -> RUNNING: only after the artist has agreed to the plan
                RUNNING -> DONE, FAILED (`error` says why) or CANCELLED

poll() moves it on. The work itself is done by make_environment.py in a process of its own.
"""

from __future__ import annotations

import contextlib
import enum
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from . import engine_packages as packages
from . import make_environment
from .process import clean_environment, end_tree, hidden_window
from .python_search import MachineSearch, nvidia_command, python_candidates
from .set_up_plan import SetUpPlan, SetUpProblem, Wishes, make_plan


class SetUpPhase(enum.Enum):
    """How far the set-up is."""

    IDLE = "idle"
    LOOKING = "looking"
    PLANNED = "planned"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class EngineSetUp:
    """One set-up at a time; every method returns at once."""

    def __init__(self) -> None:
        self.phase = SetUpPhase.IDLE
        self.text = ""  # what it does now
        self.share = 0.0  # done, 0 to 1
        self.error = ""
        self.error_setting = ""  # the preference that would mend it
        self.plan: SetUpPlan | None = None
        self.log_path: Path | None = None
        self._wishes: Wishes | None = None
        self._search: MachineSearch | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._read_bytes = 0
        self._has_stamp = False
        self._step = (0, 1)
        self._began = 0.0

    @property
    def is_busy(self) -> bool:
        """poll() has work to do."""
        return self.phase in (SetUpPhase.LOOKING, SetUpPhase.RUNNING)

    @property
    def seconds(self) -> float:
        """Since the installation began."""
        return time.monotonic() - self._began

    def look(self, wishes: Wishes) -> None:
        """Begin to look what this computer has. Fetches and writes nothing."""
        self.close()
        candidates = python_candidates(wishes.blender_python, wishes.base_python)
        self._wishes = wishes
        self._search = MachineSearch(candidates, nvidia_command())
        self.phase, self.text, self.share = SetUpPhase.LOOKING, "Looking at this computer", 0.0

    def install(self) -> None:
        """Begin to make what `plan` says. The artist has agreed to it.

        Raises:
            SetUpProblem: there is no plan, or its Python can't be started.
        """
        plan = self.plan
        if plan is None or self.phase is SetUpPhase.RUNNING:
            raise SetUpProblem("There is nothing planned to set up")
        self.close()
        self._scratch = tempfile.TemporaryDirectory(prefix="marey-set-up-")
        folder = Path(self._scratch.name)
        (folder / "plan.json").write_text(json.dumps(asdict(_to_make(plan))), encoding="utf-8")
        script = Path(make_environment.__file__)
        words = [str(plan.python.program), "-I", str(script)]
        words += [str(folder / "plan.json"), str(folder / "status.jsonl")]
        try:
            with (folder / "output.txt").open("wb") as output:
                self._process = subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=clean_environment(),
                    creationflags=hidden_window(),
                    start_new_session=sys.platform != "win32",  # so that pip ends with it
                )
        except OSError as error:
            raise SetUpProblem(f"{plan.python.program} could not be started: {error}") from error
        self.plan, self.log_path = plan, plan.environment.log_path
        self.phase, self.text = SetUpPhase.RUNNING, "Starting"
        self._began = time.monotonic()

    def poll(self) -> bool:
        """Move on. True while there is more to come."""
        if self.phase is SetUpPhase.LOOKING:
            self._look_on()
        elif self.phase is SetUpPhase.RUNNING:
            self._install_on()
        return self.is_busy

    def cancel(self) -> None:
        """Stop at once. What is half made is known as such and made anew next time."""
        was_busy = self.is_busy
        self.close()
        if was_busy:
            self.phase, self.text = SetUpPhase.CANCELLED, ""

    def close(self) -> None:
        """End every process, forget the error; a plan stays."""
        if self._search is not None:
            self._search.close()
            self._search = None
        if self._process is not None:
            end_tree(self._process)
            self._process = None
        if self._scratch is not None:
            with contextlib.suppress(OSError):
                self._scratch.cleanup()
            self._scratch = None
        self.error, self.error_setting, self.share = "", "", 0.0
        self._read_bytes, self._has_stamp, self._step = 0, False, (0, 1)
        self.phase = SetUpPhase.IDLE

    def _look_on(self) -> None:
        assert self._search is not None
        assert self._wishes is not None
        if not self._search.poll():
            return
        facts = self._search.facts
        self.plan = None
        try:
            plan = make_plan(self._wishes, facts)
        except SetUpProblem as problem:
            self._fail(str(problem))
            self.error_setting = problem.setting
            return
        self.close()
        self.plan, self.phase, self.text = plan, SetUpPhase.PLANNED, ""

    def _install_on(self) -> None:
        assert self._process is not None
        has_ended = self._process.poll() is not None  # asked first: then its last line is there
        self._read_status()
        if not has_ended or self.phase is not SetUpPhase.RUNNING:
            return
        if not self._has_stamp:
            self._fail(self.error or self._last_output())
            return
        self.close()
        self.phase, self.text, self.share = SetUpPhase.DONE, "", 1.0

    def _read_status(self) -> None:
        assert self._scratch is not None
        try:
            with (Path(self._scratch.name) / "status.jsonl").open("rb") as file:
                file.seek(self._read_bytes)
                data = file.read()
        except OSError:  # not there yet, or just being written to
            return
        whole = data[: data.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        for line in whole.splitlines():
            with contextlib.suppress(ValueError):
                self._take(cast("dict[str, Any]", json.loads(line)))

    def _take(self, values: dict[str, Any]) -> None:
        if "stamp" in values:
            self._has_stamp = True
        if "error" in values:
            self.error = str(values["error"])
        if "text" in values:
            self.text = str(values["text"])
        if "step" in values:
            self._step = (int(values["step"]), int(values["num_steps"]))
        share = float(values.get("share") or 0.0)
        self.share = max(self.share, min(1.0, (self._step[0] + share) / self._step[1]))

    def _last_output(self) -> str:
        lines: list[str] = []
        with contextlib.suppress(OSError):
            assert self._scratch is not None
            text = (Path(self._scratch.name) / "output.txt").read_text("utf-8", "replace")
            lines = [line.strip() for line in text.splitlines() if line.strip()]
        return f"The set-up ended without a word: {(lines or ['no output'])[-1]}"

    def _fail(self, why: str) -> None:
        self.close()
        self.phase, self.text, self.error = SetUpPhase.FAILED, "", why


def _to_make(plan: SetUpPlan) -> make_environment.Plan:
    folder = plan.packages_folder
    return make_environment.Plan(
        folder=str(plan.environment.folder),
        log=str(plan.environment.log_path),
        version=plan.release.version,
        build=plan.build.value,
        torch=packages.TORCH,
        torch_index=packages.torch_index(plan.build),
        wheel=plan.wheel,
        wheel_sha256=plan.release.sha256 if plan.is_known_wheel else "",
        constraints=list(packages.CONSTRAINTS),
        text_encoder=packages.TEXT_ENCODER,
        text_encoder_file=packages.TEXT_ENCODER_FILE,
        text_encoder_sha256=packages.TEXT_ENCODER_SHA256,
        packages_folder=str(folder) if folder is not None else None,
        least_free_mb=plan.sizes.disk + (0 if plan.is_local else plan.sizes.download),
        detector=packages.DETECTOR,
        detector_files=packages.DETECTOR_FILES,
    )
