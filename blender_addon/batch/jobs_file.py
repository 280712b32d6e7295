"""The file of a batch: a JSON list of jobs, checked whole before anything is started.

What is wrong with the file itself (a key that is none, a type, two sources in one job, two jobs
with one export) refuses the file, with a line for each fault. What is wrong with the content of
one job (an empty prompt, a length below zero) is that job's `problem`: it fails alone.

Relative paths count from the current folder; "//" is the folder of the .blend, as in Blender.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from ..protocol import MAX_SEED

SOURCES = ("prompt", "video", "strip")
ROOTS = ("hips", "object", "bone", "in_place")
EXPORT_ENDINGS = (".bvh", ".fbx", ".glb")
DEFAULT_SECONDS = 6.0
SEED_BITS = 31  # of a seed that a job has not given: it fits Blender's own integers
_TOLD_FAULTS = 20


class JobsFileError(ValueError):
    """The file can't be used. str() has one line for each fault."""


@dataclass(frozen=True, kw_only=True)
class BatchJob:
    """One job. Exactly one of prompt, video and strip has been given."""

    number: int  # from 1, as people count
    armature: str  # name of the object
    source: str  # which of SOURCES
    prompt: str = ""
    video: Path | None = None
    strip: str = ""
    seconds: float | None = None  # None: DEFAULT_SECONDS of a prompt, all of a movie
    seed: int = 0
    has_own_seed: bool = True  # False: the seed was derived from the rest of the job
    model: str = ""
    steps: int = 0  # 0: the model's default
    guidance: float = 0.0  # 0: the model's default
    loop: bool = False  # a prompt's last frame is its first pose again
    person: int = -1  # in a movie; -1: the largest
    camera: bool = False  # make the camera that has seen the motion
    start_frame: int | None = None  # None: the scene's first frame, or the strip's
    root: str = ""  # one of ROOTS; "": as the armature's own settings say
    action: str = ""  # name; "": after the source
    export: Path | None = None
    problem: str = ""  # why it can't be done; "" where nothing is wrong

    @property
    def wish(self) -> str:
        """What it is made from, for people."""
        return self.prompt or self.strip or str(self.video or "")


def read_jobs(path: Path, blend_folder: Path | None = None) -> list[BatchJob]:
    """Read and check a jobs file.

    Raises:
        JobsFileError: it can't be read, or at least one fault was found in it.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        parsed: object = json.loads(
            text, object_pairs_hook=_object, parse_constant=_refuse_constant
        )
    except OSError as error:
        raise JobsFileError(f"{path} can't be read ({error.strerror}): needs a JSON file") from None
    except UnicodeDecodeError as error:
        raise JobsFileError(
            f"{path} is no UTF-8 text ({error.reason}): needs a JSON file"
        ) from None
    except (ValueError, RecursionError) as error:
        raise JobsFileError(f"{path} is no JSON ({error}): needs a list of jobs") from None
    try:
        return parse_jobs(parsed, blend_folder)
    except JobsFileError as error:
        faults = str(error).splitlines()
        raise JobsFileError("\n".join(f"{path}: {fault}" for fault in faults)) from None


def parse_jobs(jobs: object, blend_folder: Path | None = None) -> list[BatchJob]:
    """Check a list of jobs that is JSON, or as JSON would be.

    Raises:
        JobsFileError: at least one fault was found.
    """
    if not isinstance(jobs, list):
        raise JobsFileError(f"it is {_kind(jobs)}, needs a list of jobs")
    items = cast("list[object]", jobs)
    faults: list[str] = []
    read: list[BatchJob] = []
    seen: Counter[str] = Counter()
    for number, item in enumerate(items, start=1):
        found, job = _read_job(number, item, blend_folder, seen)
        faults += [f"job {number}: {fault}" for fault in found]
        if job is not None:
            read.append(job)
    faults += _shared_exports(read)
    if len(faults) > _TOLD_FAULTS:
        faults = [*faults[:_TOLD_FAULTS], f"and {len(faults) - _TOLD_FAULTS} faults more"]
    if faults:
        raise JobsFileError("\n".join(faults))
    return read


# --- one job -----------------------------------------------------------------------------


def _read_job(
    number: int, item: object, blend_folder: Path | None, seen: Counter[str]
) -> tuple[list[str], BatchJob | None]:
    """The faults of one job, and the job if there are none."""
    if not isinstance(item, dict):
        return [f"it is {_kind(item)}, needs an object with {', '.join(_KEYS)}"], None
    # null stands for a key that isn't there, as tables write it.
    given = {key: value for key, value in cast("dict[str, Any]", item).items() if value is not None}
    faults = _faults(given)
    if faults:
        return faults, None
    job = _to_job(number, given, blend_folder)
    seed = given.get("seed")
    if seed is not None:
        return [], job
    return [], _with(job, seed=derived_seed(given, seen), has_own_seed=False)


def _faults(given: Mapping[str, Any]) -> list[str]:
    faults = [
        f"{key!r} is no key of a job, needs some of: {', '.join(_KEYS)}"
        for key in given
        if key not in _KEYS
    ]
    for key, (check, needed) in _KEYS.items():
        if key in given and not check(given[key]):
            faults.append(f"{key} is {_shown(given[key])}, needs {needed}")
    if "armature" not in given:
        faults.append("it has no armature, needs the name of an armature object")
    sources = [key for key in SOURCES if key in given]
    if len(sources) != 1:
        has = " and ".join(sources) or "neither prompt nor video nor strip"
        faults.append(f"it has {has}, needs exactly one of them")
    return faults


def _to_job(number: int, given: Mapping[str, Any], blend_folder: Path | None) -> BatchJob:
    source = next(key for key in SOURCES if key in given)
    paths = {key: _path(given[key], blend_folder) for key in ("video", "export") if given.get(key)}
    person = given.get("person", "largest")
    return BatchJob(
        number=number,
        armature=given["armature"],
        source=source,
        prompt=given.get("prompt", ""),
        video=paths.get("video"),
        strip=given.get("strip", ""),
        seconds=float(given["seconds"]) if "seconds" in given else None,
        seed=given.get("seed", 0),
        model=given.get("model", ""),
        steps=given.get("steps", 0),
        guidance=float(given.get("guidance", 0.0)),
        loop=given.get("loop", False),
        person=-1 if person == "largest" else person,
        camera=given.get("camera", False),
        start_frame=given.get("start_frame"),
        root=given.get("root", ""),
        action=given.get("action", "").strip(),
        export=paths.get("export"),
        problem=_problem(given, source),
    )


def _problem(given: Mapping[str, Any], source: str) -> str:
    """What is wrong with the content of a job that has the right form."""
    if not given[source].strip():
        hint = {"prompt": "say what the character does", "video": "name a movie file"}
        return f"The {source} is empty: {hint.get(source, 'name a movie strip of the sequencer')}"
    if not given["armature"].strip():
        return "The armature is empty: name an armature object"
    if given.get("camera") and source == "prompt":
        return "A prompt has no camera: leave the key camera out, or give a video or strip"
    seconds, seed = given.get("seconds", DEFAULT_SECONDS), given.get("seed", 0)
    if not 0 < seconds < math.inf:
        return f"The length is {seconds:g} seconds, needs more than 0"
    if not 0 <= seed <= MAX_SEED:
        return f"The seed is {seed}, needs 0 to {MAX_SEED}"
    for key, most in (("steps", 1000), ("guidance", 20)):
        if not 0 <= given.get(key, 0) <= most:
            return f"{key} is {given[key]}, needs 0 (the model's own) to {most}"
    if abs(given.get("start_frame", 0)) > 1_000_000:
        return f"start_frame is {given['start_frame']}, needs -1000000 to 1000000"
    return ""


def derived_seed(given: Mapping[str, Any], seen: Counter[str]) -> int:
    """A seed out of what a job says, the same each time; equal jobs of a file get different ones.

    Where it is written to plays no part, so that a batch in another folder is the same batch.
    """
    words = {key: value for key, value in given.items() if key not in ("action", "export", "seed")}
    text = json.dumps(words, sort_keys=True, ensure_ascii=False)
    seen[text] += 1
    digest = hashlib.sha256(f"{text} {seen[text]}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> (64 - SEED_BITS)


# --- what the keys may be ----------------------------------------------------------------


def _is_text(value: object) -> bool:
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def _is_whole(value: object) -> bool:
    return type(value) is int  # True is an int in Python, but never a frame


def _is_number(value: object) -> bool:
    return type(value) in (int, float)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_root(value: object) -> bool:
    return value in ROOTS


def _is_export(value: object) -> bool:
    return isinstance(value, str) and Path(value).suffix.lower() in EXPORT_ENDINGS


def _is_person(value: object) -> bool:
    return value == "largest" or (type(value) is int and 0 <= value <= 1000)


_KEYS: dict[str, tuple[Callable[[object], bool], str]] = {
    "prompt": (_is_text, "a text"),
    "video": (_is_text, "the path of a movie"),
    "strip": (_is_text, "the name of a strip in the sequencer"),
    "armature": (_is_text, "the name of an armature object"),
    "seconds": (_is_number, "a number"),
    "seed": (_is_whole, "a whole number"),
    "model": (_is_text, "the name of a model"),
    "steps": (_is_whole, "a whole number"),
    "guidance": (_is_number, "a number"),
    "loop": (_is_flag, "true or false"),
    "person": (_is_person, "'largest' or a number from 0"),
    "camera": (_is_flag, "true or false"),
    "start_frame": (_is_whole, "a whole number"),
    "root": (_is_root, f"one of: {', '.join(ROOTS)}"),
    "action": (_is_text, "a name"),
    "export": (_is_export, f"a path ending in {', '.join(EXPORT_ENDINGS)}"),
}


def _path(text: str, blend_folder: Path | None) -> Path:
    if text.startswith("//"):
        text = str((blend_folder or Path.cwd()) / text.lstrip("/"))
    # Not Path.resolve: a link stays the name that its owner gave.
    return Path(os.path.abspath(os.path.expanduser(text)))  # noqa: PTH100, PTH111


def _shared_exports(jobs: Sequence[BatchJob]) -> list[str]:
    first: dict[str, int] = {}
    faults: list[str] = []
    for job in jobs:
        if job.export is None:
            continue
        key = os.path.normcase(job.export)
        if key in first:
            faults.append(
                f"job {job.number}: export is {str(job.export)!r} as in job {first[key]}, "
                "needs a path of its own"
            )
        first.setdefault(key, job.number)
    return faults


def _with(job: BatchJob, **changes: Any) -> BatchJob:
    return BatchJob(**{**vars(job), **changes})


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    counts = Counter(key for key, _ in pairs)
    twice = [key for key, count in counts.items() if count > 1]
    if twice:
        raise ValueError(f"{twice[0]!r} stands twice in one object")
    return dict(pairs)


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no number of JSON")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _kind(value: object) -> str:
    kinds: dict[type, str] = {
        dict: "an object",
        list: "a list",
        str: "a text",
        bool: "true or false",
    }
    return kinds.get(type(value), "null" if value is None else "a number")
