"""The command: blender -b FILE.blend --command marey batch JOBS.json, and the same under bpy.

Exit codes: 0 all jobs are done, 1 at least one failed, 2 the words or a file given are wrong,
130 interrupted.
"""

# bpy's types are generated and often None-able, as in scene/ and ui/.
# pyright: basic, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# pyright: reportArgumentType=false, reportMissingModuleSource=false

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
import textwrap
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import NoReturn

import bpy

from ..engine_link import session
from ..engine_link.client import EngineLinkError
from ..engine_link.process import EngineCommand, read_connection
from ..ui import preferences
from . import record, report
from .blend_file import SaveError, open_blend, save_blend
from .engine_requests import EngineRequests
from .jobs_file import BatchJob, JobsFileError, read_jobs
from .report import FAILED, INTERRUPTED, SKIPPED, Note, Outcome, ReportError, ReportFile
from .runner import Runner, identity_of, make_plan

ALL_DONE, SOME_FAILED, WRONG_WORDS, STOPPED = 0, 1, 2, 130
STOP_WAIT_S = 5.0  # for the engine to end by itself, at the end
DEVICES = ("auto", "cuda", "mps", "cpu")

_SOURCE_ROOT = Path(__file__).resolve().parents[2]
_EXAMPLE_JOBS = '[{"prompt": "a person waves", "armature": "rig", "seconds": 3, "seed": 7}]'
_DESCRIPTION = (
    "Generate motions for the armatures of a .blend, without a window. JOBS.json is a list of "
    "objects with prompt, video (a path) or strip (a name in the sequencer), with armature, and if "
    "need be seconds, seed, model, start_frame, root (hips, object, bone, in_place), action (a "
    "name), export (a path ending in .bvh, .fbx or .glb), loop, steps, guidance, person. Each job "
    "is told in a line of JSON on standard output. A job that is done already is skipped: run the "
    "same command again to go on."
)


class WrongWordsError(Exception):
    """The words or a file given are wrong; str() has a line for each fault."""


@dataclass(frozen=True, kw_only=True)
class EngineChoice:
    """Which engine; what is left out, the preferences say."""

    python: Path | None = None
    connection_file: Path | None = None
    device: str = ""
    model_folders: tuple[Path, ...] = ()

    def check(self) -> None:
        """Refuse what can be seen without starting anything.

        Raises:
            WrongWordsError: a file or folder is not there.
        """
        if self.python is not None and not self.python.is_file():
            raise WrongWordsError(f"--engine {self.python} is no file, needs a Python program")
        if self.connection_file is not None and not self.connection_file.is_file():
            raise WrongWordsError(
                f"--connection-file {self.connection_file} is no file, needs that of an engine"
            )
        for folder in self.model_folders:
            if not folder.is_dir():
                raise WrongWordsError(f"--models {folder} is no folder, needs one with models")

    def open(self) -> None:
        """Begin to start or to connect.

        Raises:
            EngineLinkError: it can't be done.
        """
        if self.connection_file is not None:
            connection = read_connection(self.connection_file)
            if connection is None:
                raise EngineLinkError(f"No engine runs with {self.connection_file}")
            session.connect(connection)
        elif self == EngineChoice():
            preferences.open_engine()
        else:
            session.start_engine(self._command())

    def _command(self) -> EngineCommand:
        if self.python is None:
            known = preferences.engine_command()
        else:
            has_source = (_SOURCE_ROOT / "engine" / "__main__.py").is_file()
            known = EngineCommand(
                python=self.python,
                folder=preferences.user_folder(),
                engine_root=_SOURCE_ROOT if has_source else None,
            )
        return replace(
            known,
            device=self.device or known.device,
            model_folders=(*self.model_folders, *known.model_folders),
        )


def run_jobs(
    jobs: Sequence[BatchJob],
    engine: EngineChoice,
    *,
    save: Path | None = None,
    overwrite: bool = False,
    tell: Callable[[Outcome], None] = lambda _: None,
    note: Note = report.note,
) -> list[Outcome]:
    """Do checked jobs in the open file; the engine stays.

    Raises:
        WrongWordsError: a job has neither save nor export, or a file is in the way. Nothing has
            been started then.
    """
    check_files(jobs, save=save, overwrite=overwrite)
    engine.check()
    runner = Runner(EngineRequests(engine.open), tell, note, save=save, overwrite=overwrite)
    return runner.run(jobs)


def check_files(jobs: Sequence[BatchJob], *, save: Path | None, overwrite: bool) -> None:
    """Refuse before the work what could not be written after it.

    Raises:
        WrongWordsError: with a line for each job.
    """
    faults: list[str] = []
    for job in jobs:
        path = job.export
        if path is None:
            if save is None:
                faults.append(f"job {job.number}: it has no export, and there is no --save")
            continue
        if path.is_dir() or (path.exists() and not overwrite and not record.is_from_batch(path)):
            faults.append(f"job {job.number}: {path} exists: give another export, or --overwrite")
        elif fault := _unwritable(path.parent):
            faults.append(f"job {job.number}: the folder of {path} can't be written to ({fault})")
    if save is not None and (fault := _unwritable(save.parent)):
        faults.append(f"the folder of --save {save} can't be written to ({fault})")
    if faults:
        raise WrongWordsError("\n".join(faults))


def run(words: Sequence[str], *, takes_blend: bool = False) -> int:
    """Do what the words after `batch` say, in the open file or in the one that they name.

    takes_blend: the first word is the .blend, as with a bpy wheel.

    Returns the exit code; the engine has ended then.
    """
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    try:
        options = _parser(takes_blend=takes_blend).parse_args(words)
    except SystemExit as end:  # --help, or wrong words, told already
        return int(end.code or 0)
    with report.lines_on_stdout() as print_line, _interrupts():
        try:
            outcomes = _batch(options, print_line)
        except (WrongWordsError, JobsFileError) as error:
            for fault in str(error).splitlines():
                report.note(fault)
            return WRONG_WORDS
        except (ReportError, SaveError) as error:
            report.note(str(error))
            return SOME_FAILED
        except KeyboardInterrupt:
            report.note("interrupted")
            return STOPPED
        finally:
            session.reset(wait_s=STOP_WAIT_S)
    return _exit_code(outcomes)


def end_process(code: int) -> NoReturn:
    """Leave at once: at an ordinary exit bpy 4.2 crashes and 4.5 hangs after some add-ons."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _batch(options: argparse.Namespace, print_line: Callable[[str], None]) -> list[Outcome]:
    engine = EngineChoice(
        python=options.engine,
        connection_file=options.connection_file,
        device=options.device or "",
        model_folders=tuple(options.models),
    )
    engine.check()
    blend: Path | None = getattr(options, "blend", None)
    if blend is not None:
        _open(blend)
    folder = Path(bpy.data.filepath).parent if bpy.data.filepath else None
    jobs = read_jobs(options.jobs, folder)
    check_files(jobs, save=options.save, overwrite=options.overwrite)
    if options.save is not None:
        _go_on_with(options.save, jobs, overwrite=options.overwrite)
    lines = _report_file(options.report)
    if lines is not None:
        lines.keep([job.number for job in jobs])
    if not jobs:
        report.note(f"{options.jobs} has no jobs")

    faults: list[ReportError] = []

    def tell(outcome: Outcome) -> None:
        print_line(outcome.line())
        try:
            if lines is not None:
                lines.add(outcome)
        except ReportError as error:  # the jobs matter more: go on, and say so at the end
            faults.append(error)

    outcomes = run_jobs(jobs, engine, save=options.save, overwrite=options.overwrite, tell=tell)
    if options.save is not None and not jobs and not options.save.exists():
        save_blend(options.save)
    if faults:
        raise faults[0]
    return outcomes


def _open(blend: Path) -> None:
    if not blend.is_file():
        raise WrongWordsError(f"{blend} is no file, needs a .blend")
    try:
        open_blend(blend)
    except SaveError as error:
        raise WrongWordsError(str(error)) from error


def _go_on_with(save: Path, jobs: Sequence[BatchJob], *, overwrite: bool) -> None:
    """Where --save is there already, go on in it if it is this batch's, half done."""
    if save.suffix.lower() != ".blend":
        raise WrongWordsError(f"--save {save} ends in {save.suffix or 'nothing'!r}, needs .blend")
    opened = Path(bpy.data.filepath) if bpy.data.filepath else None
    if not save.exists() or (opened is not None and opened.exists() and save.samefile(opened)):
        return
    if save.is_dir():
        raise WrongWordsError(f"--save {save} is a folder, needs a .blend")
    try:
        open_blend(save)
    except SaveError as error:
        if not overwrite:
            raise WrongWordsError(f"{error}: give another --save, or --overwrite") from error
    else:
        if any(_is_begun(job) for job in jobs):
            report.note(f"going on with {save}")
            return
    if not overwrite:
        raise WrongWordsError(
            f"--save {save} exists and has none of these jobs: give another, or --overwrite"
        )
    if opened is None:
        bpy.ops.wm.read_homefile()
    else:
        _open(opened)


def _is_begun(job: BatchJob) -> bool:
    """The open file has an action of this job, by whichever model."""
    try:
        return record.find_action(identity_of(make_plan(job))) is not None
    except Exception:  # noqa: BLE001 - what is wrong with a job is told when its turn comes
        return False


def _report_file(path: Path | None) -> ReportFile | None:
    if path is None:
        return None
    if fault := _unwritable(path.parent):
        raise WrongWordsError(f"the folder of --report {path} can't be written to ({fault})")
    try:
        return ReportFile(path)
    except ReportError as error:
        raise WrongWordsError(f"--report {error}") from error


def _unwritable(folder: Path) -> str:
    """Why a folder, or the nearest one above it that is there, takes no files; "" if it does."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        return f"{folder} is no folder"
    return "" if os.access(folder, os.W_OK | os.X_OK) else f"no right to write to {folder}"


def _exit_code(outcomes: Sequence[Outcome]) -> int:
    states = [one.state for one in outcomes]
    done = sum(one.is_done for one in outcomes)
    told = [f"{done} of {len(outcomes)} jobs done"]
    for state, word in ((SKIPPED, "of them before"), (FAILED, "failed"), (INTERRUPTED, "left")):
        if state in states:
            told.append(f"{states.count(state)} {word}")
    report.note(", ".join(told))
    if any(one.state == INTERRUPTED for one in outcomes):
        return STOPPED
    return ALL_DONE if done == len(outcomes) else SOME_FAILED


@contextlib.contextmanager
def _interrupts() -> Generator[None]:
    """Ctrl-C and SIGTERM raise KeyboardInterrupt: Blender itself would only note them."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    kinds = [signal.SIGINT, signal.SIGTERM]
    try:
        before = [signal.signal(kind, stop) for kind in kinds]
    except ValueError:  # not in the main thread
        yield
        return
    try:
        yield
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, signal.SIG_DFL if handler is None else handler)


class _Parser(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_WORDS, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _parser(*, takes_blend: bool) -> _Parser:
    if takes_blend:
        program, first = "python -m blender_addon batch", "shot.blend "
    else:
        program, first = "blender -b FILE.blend --command marey batch", ""
    start = program.replace("FILE.blend", "shot.blend")
    parser = _Parser(
        prog=program,
        description=textwrap.fill(_DESCRIPTION, 78),
        epilog=f"Example:\n  {start} {first}jobs.json --save done.blend\n"
        f"with jobs.json:\n  {_EXAMPLE_JOBS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    if takes_blend:
        parser.add_argument("blend", type=_file, metavar="FILE.blend", help="the file to work in")
    parser.add_argument("jobs", type=_file, metavar="JOBS.json", help="the list of jobs")
    parser.add_argument(
        "--save",
        type=_file,
        metavar="FILE.blend",
        help="save here after each job; without it every job needs export",
    )
    parser.add_argument(
        "--report", type=_file, metavar="FILE.jsonl", help="write the lines of JSON here, too"
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace files that are there and not of this batch",
    )
    parser.add_argument(
        "--engine",
        type=_file,
        metavar="PYTHON",
        help="Python that has the engine (default: as in the preferences)",
    )
    parser.add_argument(
        "--connection-file",
        type=_file,
        metavar="F",
        help="use a running engine, by the file that it was started with",
    )
    parser.add_argument("--device", choices=DEVICES, help="where the engine computes")
    parser.add_argument(
        "--models",
        type=_file,
        action="append",
        default=[],
        metavar="DIR",
        help="folder with more models; may come several times",
    )
    return parser


def _file(text: str) -> Path:
    # Not Path.resolve: the Python of an environment is a link that must stay one.
    return Path(os.path.abspath(os.path.expanduser(text)))  # noqa: PTH100, PTH111
