"""Runs lint, types and all tests; makes the environments first if need be.

    python3 scripts/test.py                          everything, Blender tests under bpy 5.0
    python3 scripts/test.py --blender all            … under every bpy wheel, as CI does
    python3 scripts/test.py tests/engine -k rotation pytest's own arguments go through

On two cores or more the tests under Ray and Blender run beside the others; each line then has its
step's name before it. Exit code 0 when every step passed, 1 otherwise. Standard library only.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path

import environment
import environment_contents as contents

ROOT = contents.ROOT
COUNT = re.compile(r"(\d+) (passed|failed|skipped|deselected|xfailed|xpassed|warnings?|errors?)")
NO_TESTS_COLLECTED = 5
NAME_WIDTH = 9  # of a step's name before its lines
BLENDER_TESTS = (ROOT / "tests" / "blender", ROOT / "tests" / "end_to_end")
CLUSTER_TESTS = ROOT / "tests" / "trainer"
CLUSTER = "cluster"
# Two to five times what each takes on quiet cores: bpy may hang at exit, Ray's nodes are slow to
# start on busy ones, and a hung run must not take the others along.
PLAIN_TIMEOUT_S = 18 * 60
CLUSTER_TIMEOUT_S = 8 * 60
BLENDER_TIMEOUT_S = 12 * 60


@dataclass(frozen=True)
class Step:
    """One command of the whole check."""

    name: str
    command: list[str]
    timeout_s: float = 5 * 60
    is_pytest: bool = False
    is_blender: bool = False  # a whole Blender in the process, which may crash by itself


@dataclass(frozen=True)
class Outcome:
    """How a step went; `closing` is pytest's last line, or a word."""

    step: Step
    passed: bool
    closing: str
    crashed: bool = False  # ended by a signal that wasn't ours


def main() -> int:
    """Set up, run every step even after a failure, sum up."""
    environment.require_python()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what runs must not outlive this
    options, pytest_arguments = _parser().parse_known_args()
    versions = _versions(options.blender)
    parts = [contents.development_part(), *(contents.blender_part(one) for one in versions)]
    steps = _steps(versions, pytest_arguments)
    wants_cluster = any(step.name == CLUSTER for step in steps)
    if not environment.set_up(parts, [contents.cluster_part()] if wants_cluster else []):
        print("The tests of a cluster are left out", file=sys.stderr)
        steps = [step for step in steps if step.name != CLUSTER]
    began = time.monotonic()
    outcomes = Run(bool(pytest_arguments)).all_of(_lanes(steps, pytest_arguments))
    return _sum_up(outcomes, time.monotonic() - began)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Run lint, types and all tests.",
        epilog="Example: python3 scripts/test.py --blender all. "
        "Every other argument goes to pytest, such as -k NAME or a folder of tests.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--blender",
        default=contents.DEFAULT_BPY,
        help=f"versions of the bpy wheel, with commas ({', '.join(contents.BPY_WHEELS)}), or all",
    )
    return parser


def _versions(words: str) -> list[str]:
    known = list(contents.BPY_WHEELS)
    versions = known if words == "all" else [word.strip() for word in words.split(",")]
    for version in versions:
        if version not in known:
            print(
                f"--blender is {words!r}: needs all, or some of {', '.join(known)}", file=sys.stderr
            )
            sys.exit(2)
    return versions


def _steps(versions: list[str], pytest_arguments: list[str]) -> list[Step]:
    python = str(environment.python_of(ROOT / ".venv"))
    steps = [
        Step("lint", [python, "-m", "ruff", "check", "."]),
        Step("format", [python, "-m", "ruff", "format", "--check", "."]),
        Step("types", [python, "-m", "pyright"]),
    ]
    plain = _arguments(pytest_arguments, lambda path: not path.is_relative_to(BLENDER_TESTS[0]))
    if plain is not None:
        command = [python, "-m", "pytest", *plain]
        steps.append(Step("tests", command, PLAIN_TIMEOUT_S, is_pytest=True))
    cluster = _arguments(pytest_arguments, _has_cluster_tests)
    if cluster is not None:
        ray_python = str(environment.python_of(contents.cluster_part().folder))
        words = cluster if _paths(cluster) else [str(CLUSTER_TESTS.relative_to(ROOT)), *cluster]
        command = [ray_python, "-m", "pytest", *_own_cache(CLUSTER), "-m", "cluster", *words]
        steps.append(Step(CLUSTER, command, CLUSTER_TIMEOUT_S, is_pytest=True))
    blender = _arguments(pytest_arguments, _has_blender_tests)
    for version in versions if blender is not None else []:
        bpy_python = str(environment.python_of(ROOT / f".venv-bpy-{version}"))
        words = blender or []
        if not _paths(words):
            words = [*(str(path.relative_to(ROOT)) for path in BLENDER_TESTS), *words]
        name = f"bpy {version}"
        command = [bpy_python, "-m", "pytest", *_own_cache(name), "-m", "blender", *words]
        steps.append(Step(name, command, BLENDER_TIMEOUT_S, is_pytest=True, is_blender=True))
    return steps


def _own_cache(name: str) -> list[str]:
    """Where --lf finds what failed: steps that run side by side would overwrite each other's."""
    return ["-o", f"cache_dir=.pytest_cache/{name.replace(' ', '-')}"]


def _arguments(words: list[str], takes: Callable[[Path], bool]) -> list[str] | None:
    """The words without the paths that an environment has no tests of; None if none is left."""
    given = _paths(words)
    left = {word: path for word, path in given.items() if takes(path)}
    if given and not left:
        return None
    return [word for word in words if word not in given or word in left]


def _paths(words: list[str]) -> dict[str, Path]:
    """Those of pytest's arguments that name tests, as paths."""
    paths = {word: (ROOT / word.split("::")[0]).resolve() for word in words}
    return {word: path for word, path in paths.items() if path.is_relative_to(ROOT / "tests")}


def _has_blender_tests(path: Path) -> bool:
    return any(path.is_relative_to(one) or one.is_relative_to(path) for one in BLENDER_TESTS)


def _has_cluster_tests(path: Path) -> bool:
    return path.is_relative_to(CLUSTER_TESTS) or CLUSTER_TESTS.is_relative_to(path)


def _lanes(steps: Sequence[Step], pytest_arguments: Sequence[str]) -> list[list[Step]]:
    """The steps in rows that run side by side: the engine's Python, and Ray's and Blender's.

    Nearly every test keeps one core busy, so on two cores this takes little more than half as long.
    """
    own = [step for step in steps if not (step.is_blender or step.name == CLUSTER)]
    others = [step for step in steps if step not in own]
    # pytest empties the folder that --basetemp names when it starts
    is_alone = _num_cores() < 2 or any(word.startswith("--basetemp") for word in pytest_arguments)
    lanes = [[*own, *others]] if is_alone else [own, others]
    return [lane for lane in lanes if lane]


def _num_cores() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Run:
    """Runs steps, and passes on what they print."""

    def __init__(self, chosen: bool = False) -> None:
        """`chosen` tests may be none in some environment."""
        self._chosen = chosen
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self._names_lines = False
        self._lock = threading.Lock()
        self._processes: list[subprocess.Popen[str]] = []
        self._stopped = False

    def all_of(self, lanes: list[list[Step]]) -> list[Outcome]:
        """Run the lanes side by side, the steps of each in order.

        An interrupt ends all of them, and this program with 130.
        """
        if len(lanes) > 1:
            self._names_lines = True
            # threads of one lane that wait for each other would take the other's core
            self._environment.setdefault("OMP_NUM_THREADS", str(_num_cores() // len(lanes)))
        with ThreadPoolExecutor(len(lanes)) as pool:
            try:
                futures = [pool.submit(self._lane, lane) for lane in lanes]
                while not all(future.done() for future in futures):
                    wait(futures, timeout=0.2)  # a longer wait hears no interrupt on Windows
                    for future in futures:
                        if future.done():
                            future.result()
                return [outcome for future in futures for outcome in future.result()]
            except KeyboardInterrupt:
                sys.exit(130)
            finally:
                self._stop()

    def step(self, step: Step) -> Outcome:
        """Run one step; a Blender that crashes gets a second go, and the summary tells of it.

        bpy 4.2 was seen to end with SIGSEGV in its own glTF exporter, and where a window was given
        another scene: Valgrind finds no fault with the first, and neither came when looked for. A
        failed test is never repeated, nor a second crash.
        """
        outcome = self._once(step)
        if self._stopped or not (step.is_blender and outcome.crashed):
            return outcome
        self._say(step, f"##### {step.name} crashed ({outcome.closing}): once more")
        again = self._once(step)
        return replace(again, closing=f"{again.closing}; crashed at first ({outcome.closing})")

    def _lane(self, lane: list[Step]) -> list[Outcome]:
        return [self.step(step) for step in lane if not self._stopped]

    def _once(self, step: Step) -> Outcome:
        self._say(step, f"##### {step.name}: {_shown(step.command)}")
        tail: collections.deque[str] = collections.deque(maxlen=1)
        code, timed_out = self._pass_through(step, tail)
        closing = (
            tail[0].strip("= \n") if tail and step.is_pytest else ("ok" if code == 0 else "failed")
        )
        if timed_out:
            return Outcome(step, False, f"stopped after {step.timeout_s / 60:.0f} minutes")
        passed = code == 0 or (step.is_pytest and self._chosen and code == NO_TESTS_COLLECTED)
        if code not in (0, 1, NO_TESTS_COLLECTED):
            closing = f"exit {code}"
        return Outcome(step, passed, closing, crashed=code < 0)

    def _pass_through(self, step: Step, tail: collections.deque[str]) -> tuple[int, bool]:
        """Run the command, print its lines as they come, keep pytest's closing line in tail."""
        process = self._start(step.command)
        timed_out = threading.Event()
        watch = threading.Timer(step.timeout_s, lambda: (timed_out.set(), _end_tree(process)))
        watch.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                print(f"{self._before(step)}{line}", end="", flush=True)
                if COUNT.search(line) and " in " in line:
                    tail.append(line)
            process.stdout.close()
            return process.wait(), timed_out.is_set()
        finally:
            watch.cancel()

    def _start(self, command: list[str]) -> subprocess.Popen[str]:
        with self._lock:
            if self._stopped:
                raise KeyboardInterrupt
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env=self._environment,
                start_new_session=os.name != "nt",  # so that a hung child of a test goes with it
            )
            self._processes.append(process)
            return process

    def _stop(self) -> None:
        """End what runs, and start nothing more."""
        with self._lock:
            self._stopped = True
            for process in self._processes:
                if process.poll() is None:
                    _end_tree(process)

    def _say(self, step: Step, text: str) -> None:
        # one string, so that no other lane's line gets into it
        print(f"\n{self._before(step)}{text}\n", end="", flush=True)

    def _before(self, step: Step) -> str:
        return f"{step.name:{NAME_WIDTH}}" if self._names_lines else ""


def _end_tree(process: subprocess.Popen[str]) -> None:
    """End a step and all that it started."""
    if os.name == "nt":
        command = ["taskkill", "/F", "/T", "/PID", str(process.pid)]
        subprocess.run(command, capture_output=True, check=False)
    else:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it has just ended
            os.killpg(process.pid, signal.SIGKILL)


def _sum_up(outcomes: list[Outcome], seconds: float) -> int:
    """Print a line per step, then one in pytest's form for the whole."""
    print("\n##### summary")
    totals: collections.Counter[str] = collections.Counter()
    for outcome in outcomes:
        word = "passed" if outcome.passed else "FAILED"
        print(f"{word}  {outcome.step.name:{NAME_WIDTH}} {outcome.closing}")
        if outcome.step.is_pytest:
            for number, what in COUNT.findall(outcome.closing):
                totals[what] += int(number)
    failed_steps = [outcome.step.name for outcome in outcomes if not outcome.passed]
    if failed_steps:
        print(f"Failed: {', '.join(failed_steps)}")
    counted = ", ".join(f"{number} {what}" for what, number in totals.items())
    print(f"===== {counted or 'no tests'} in {seconds:.1f}s =====")
    return 1 if failed_steps else 0


def _shown(command: list[str]) -> str:
    first = Path(command[0])
    shown = str(first.relative_to(ROOT)) if first.is_relative_to(ROOT) else command[0]
    return " ".join([shown, *command[1:]])


if __name__ == "__main__":
    sys.exit(main())
