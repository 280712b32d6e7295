"""Messages between the add-on and the engine, and how they become ZeroMQ frames.

Both processes import this file, so it uses the standard library and NumPy only. It is also
the specification: the docstring of each message says what answers it.

One message is one multipart ZeroMQ message (a DEALER in the add-on, a ROUTER in the engine):

    frame 0     UTF-8 JSON {"version", "type", "body", "arrays"}
    frame 1...  raw array bytes, C order, little-endian, in the order of "arrays"

An entry of "arrays" is {"field", "dtype", "shape"}. A client says Hello with the token of the
connection file first; everything else is answered with Rejected until it has been welcomed.

Compatibility: a reader ignores body fields that it doesn't know, and a field added later has
a default. Any other change raises PROTOCOL_VERSION.

Units: metres, seconds, radians; right-handed, y up, +z forward; quaternions are wxyz, unit.
"""

from __future__ import annotations

import functools
import json
import math
import types
import typing
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Any, TypeAlias, TypeVar, cast

import numpy as np
import numpy.typing as npt

PROTOCOL_VERSION = 1

# A dtype outside this set is refused, so that a message can never carry a pickle.
ARRAY_DTYPES = frozenset({"<f4", "<i4", "|b1"})

MAX_HEADER_BYTES = 1 << 20
MAX_FRAME_BYTES = 32 << 20  # a minute of 60 joints at 120 fps is 7 MiB
MAX_ARRAYS = 16
MAX_CANDIDATES = 64
MAX_SEED = 2**63 - 1 - MAX_CANDIDATES  # candidate i has seed + i, which must fit a generator

FloatArray: TypeAlias = npt.NDArray[np.float32]
Expected = TypeVar("Expected")


class ProtocolError(ValueError):
    """A message that can't be sent, or that arrived and can't be used.

    job_id names the job that the message was about, where that could still be read.
    """

    def __init__(self, message: str, *, job_id: str = "") -> None:
        # It may quote half a surrogate pair, which could not be sent back as the answer.
        super().__init__(message.encode(errors="backslashreplace").decode())
        self.job_id = job_id


class VersionError(ProtocolError):
    """The other side speaks another version of the protocol."""


# --- messages: add-on to engine ----------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Hello:
    """The first message of a client. Answered by Welcome, or by Rejected."""

    token: str  # of the connection file
    client_name: str = ""  # for the engine's log


@dataclass(frozen=True, kw_only=True)
class PromptRequest:
    """Sample motions from text. Answered by JobQueued*, JobProgress*, then count times
    JobResult, or one of JobFailed and JobCancelled; all carry the same job_id."""

    job_id: str  # chosen by the client, unique among its jobs
    prompt: str
    num_frames: int  # of the result
    fps: float  # of the result: the scene's; the engine resamples
    model: str = ""  # "" is the engine's default model
    seed: int = -1  # -1: the engine draws one and writes it into the provenance
    num_steps: int = 0  # denoising steps; 0 is the model's default
    guidance_scale: float = 0.0  # 1 is no guidance; 0 is the model's default
    count: int = 1  # candidates; candidate i is sampled with seed + i

    def __post_init__(self) -> None:
        _check_id(self.job_id)
        _check_range("num_frames", self.num_frames, 1, 10**6)
        _check_range("fps", self.fps, 1.0, 1000.0)
        _check_range("seed", self.seed, -1, MAX_SEED)
        _check_range("num_steps", self.num_steps, 0, 10_000)
        _check_range("guidance_scale", self.guidance_scale, 0.0, 100.0)
        _check_range("count", self.count, 1, MAX_CANDIDATES)


@dataclass(frozen=True, kw_only=True)
class CancelJob:
    """Stop a job. Answered by JobCancelled, unless the job has ended meanwhile."""

    job_id: str

    def __post_init__(self) -> None:
        _check_id(self.job_id)


@dataclass(frozen=True, kw_only=True)
class Ping:
    """Answered at once by Pong, also while a job runs."""


@dataclass(frozen=True, kw_only=True)
class Shutdown:
    """End the engine. Answered by EngineStopping, to every client."""


# --- messages: engine to add-on ----------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """One model of Welcome, as its checkpoint's header describes it."""

    name: str  # what a request's `model` says
    method: str
    accepts: list[str]  # "prompt", "video"
    fps: float
    licence: str
    size_bytes: int
    model_hash: str
    default: bool = False
    max_seconds: float = 60.0
    num_steps: int = 0  # the model's default
    guidance_scale: float = 0.0  # the model's default; 0 where it does not apply


@dataclass(frozen=True, kw_only=True)
class Welcome:
    """The answer to a Hello with the right token."""

    engine_version: str
    device: str
    models: list[ModelEntry]


@dataclass(frozen=True, kw_only=True)
class Rejected:
    """The answer to a message that belongs to no job and can't be served.

    code: "bad_token", "hello_first", "bad_version", "bad_message".
    """

    code: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Pong:
    """The answer to Ping."""


@dataclass(frozen=True, kw_only=True)
class JobQueued:
    """The job waits. Sent again whenever its position changes."""

    job_id: str
    position: int  # jobs before this one; 0 starts now


@dataclass(frozen=True, kw_only=True)
class JobProgress:
    """At most ten times a second. num_steps counts those of all candidates."""

    job_id: str
    step: int  # steps done
    num_steps: int


@dataclass(frozen=True, kw_only=True, eq=False)
class JobResult:
    """One finished motion: T frames of J joints. The job ends with candidate count - 1."""

    job_id: str
    candidate: int = 0
    count: int = 1
    fps: float
    joint_names: list[str]
    parents: list[int]  # index of each joint's parent, -1 for the root
    rest_offsets: FloatArray  # (J, 3) from the parent joint, in the rest pose
    root_translation: FloatArray  # (T, 3)
    local_rotations: FloatArray  # (T, J, 4) relative to the parent joint
    contacts: FloatArray  # (T, 4) 1 where it stands: left ankle, left foot, right ankle, right foot
    provenance: str = "{}"  # JSON: prompt, seed, model, model_hash, engine_version, options
    warnings: list[str] = field(default_factory=list[str])  # in the user's words

    def __post_init__(self) -> None:
        num_joints, num_frames = len(self.joint_names), len(self.root_translation)
        _check_shape("rest_offsets", self.rest_offsets, (num_joints, 3))
        _check_shape("root_translation", self.root_translation, (num_frames, 3))
        _check_shape("local_rotations", self.local_rotations, (num_frames, num_joints, 4))
        _check_shape("contacts", self.contacts, (num_frames, 4))
        _check_range("fps", self.fps, 1.0, 1000.0)
        _check_range("number of parents", len(self.parents), num_joints, num_joints)
        for joint, parent in enumerate(self.parents):
            _check_range(f"parents[{joint}]", parent, -1, joint - 1)


@dataclass(frozen=True, kw_only=True)
class JobFailed:
    """The end of a job that could not be done.

    code: "bad_request", "unknown_model", "bad_model", "out_of_memory", "queue_full", "internal".
    """

    job_id: str
    code: str
    message: str  # one line, in the user's words
    detail: str = ""  # traceback, for the log


@dataclass(frozen=True, kw_only=True)
class JobCancelled:
    """The end of a job that the client has cancelled."""

    job_id: str


@dataclass(frozen=True, kw_only=True)
class EngineStopping:
    """The engine's last message: it ends now, and every job with it."""

    reason: str


Message: TypeAlias = (
    Hello
    | Welcome
    | Rejected
    | PromptRequest
    | CancelJob
    | JobQueued
    | JobProgress
    | JobResult
    | JobFailed
    | JobCancelled
    | Ping
    | Pong
    | Shutdown
    | EngineStopping
)

MESSAGE_TYPES: dict[str, type[Message]] = {kind.__name__: kind for kind in typing.get_args(Message)}


# --- frames ------------------------------------------------------------------------------


def encode(message: Message) -> list[bytes]:
    """Turn a message into its frames; a ProtocolError refuses what decode would refuse."""
    name = type(message).__name__
    body: dict[str, object] = {}
    arrays: list[dict[str, object]] = []
    array_frames: list[bytes] = []
    for field_name, hint in _hints(type(message)).items():
        value = getattr(message, field_name)
        if _is_array(hint):
            frame, dtype = _array_to_frame(field_name, value)
            arrays.append({"field": field_name, "dtype": dtype, "shape": list(value.shape)})
            array_frames.append(frame)
        else:
            body[field_name] = _to_json(value)
            _from_json(body[field_name], hint, field_name)
    header = {"version": PROTOCOL_VERSION, "type": name, "body": body, "arrays": arrays}
    header_frame = json.dumps(header, allow_nan=False).encode()
    _check_size(name, len(header_frame), MAX_HEADER_BYTES)
    return [header_frame, *array_frames]


def decode(frames: Sequence[bytes]) -> Message:
    """Turn frames into a message. Arrays share the frames' memory and are read-only.

    Raises:
        VersionError: the other side speaks another version.
        ProtocolError: anything else that encode could not have written.
    """
    header = _decode_header(frames)
    message_type = MESSAGE_TYPES.get(_typed(header.get("type"), str, "type"))
    if message_type is None:
        raise ProtocolError(f"type is {str(header.get('type'))[:64]!r}, which is no message")
    body = cast("dict[str, object]", _typed(header.get("body"), dict, "body"))
    try:
        arrays = _decode_arrays(header.get("arrays", []), frames[1:])
        return cast("Message", _build(message_type, body, arrays))
    except ProtocolError as error:
        # An id is ASCII; of any other the rest would be no message's to send back.
        error.job_id = str(body.get("job_id", ""))[:64].encode("ascii", "ignore").decode()
        raise


def _decode_header(frames: Sequence[bytes]) -> dict[str, object]:
    if not 1 <= len(frames) <= 1 + MAX_ARRAYS:
        raise ProtocolError(f"The message has {len(frames)} frames, needs 1 to {1 + MAX_ARRAYS}")
    _check_size("The header", len(frames[0]), MAX_HEADER_BYTES)
    try:
        # UnicodeDecodeError and JSONDecodeError are ValueErrors; so is a number of 5,000 digits.
        parsed = json.loads(frames[0].decode())
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"The header is not JSON: {error}") from error
    header = cast("dict[str, object]", _typed(parsed, dict, "The header"))
    version = header.get("version")
    if type(version) is not int or version != PROTOCOL_VERSION:
        raise VersionError(
            f"The other side speaks protocol version {str(version)[:16]}, this side "
            f"{PROTOCOL_VERSION}: install the add-on and the engine of the same release"
        )
    return header


def _decode_arrays(described: object, frames: Sequence[bytes]) -> dict[str, npt.NDArray[Any]]:
    entries = cast("list[object]", _typed(described, list, "arrays"))
    if len(entries) != len(frames):
        raise ProtocolError(f"The message has {len(frames)} array frames, needs {len(entries)}")
    arrays: dict[str, npt.NDArray[Any]] = {}
    for item, frame in zip(entries, frames, strict=True):
        entry = cast("dict[str, object]", _typed(item, dict, "arrays[]"))
        name = _typed(entry.get("field"), str, "arrays[].field")
        arrays[name] = _frame_to_array(entry, name[:64], frame)
    return arrays


def _frame_to_array(entry: dict[str, object], name: str, frame: bytes) -> npt.NDArray[Any]:
    dtype = _typed(entry.get("dtype"), str, f"{name}.dtype")
    shape = cast("list[int]", _typed(entry.get("shape"), list, f"{name}.shape"))
    _check_dtype(name, dtype)
    if len(shape) > 4 or not all(type(size) is int and size >= 0 for size in shape):
        raise ProtocolError(f"{name} has shape {str(shape)[:64]}, needs up to 4 sizes of 0 or more")
    needed = math.prod(shape) * np.dtype(dtype).itemsize
    if len(frame) != needed:
        raise ProtocolError(f"{name} has {len(frame)} bytes, needs {str(needed)[:32]}")
    array = np.frombuffer(frame, dtype=dtype).reshape(shape)
    _check_array(name, array)
    return array


def _array_to_frame(name: str, value: object) -> tuple[bytes, str]:
    if not isinstance(value, np.ndarray):
        raise ProtocolError(f"{name} is {type(value).__name__}, needs an array")
    array = cast("npt.NDArray[Any]", value)
    little = array.dtype.newbyteorder("<")
    _check_dtype(name, little.str)
    _check_array(name, array)
    return array.astype(little, copy=False).tobytes(), little.str


# --- fields ------------------------------------------------------------------------------


@functools.cache
def _hints(message_type: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(message_type)


def _build(
    message_type: type[Any], body: dict[str, object], arrays: dict[str, npt.NDArray[Any]]
) -> object:
    """Make a dataclass from the fields that it knows; it checks itself."""
    hints = _hints(message_type)
    values: dict[str, object] = {
        name: _from_json(value, hints[name], name)
        for name, value in body.items()
        if name in hints and not _is_array(hints[name])
    }
    values |= {name: array for name, array in arrays.items() if _is_array(hints.get(name))}
    for part in fields(message_type):
        needed = part.default is MISSING and part.default_factory is MISSING
        if needed and part.name not in values:
            raise ProtocolError(f"{message_type.__name__} has no {part.name}")
    return message_type(**values)


def _to_json(value: object) -> object:
    if isinstance(value, list):
        return [_to_json(item) for item in cast("list[object]", value)]
    return vars(value) if is_dataclass(value) else value


def _from_json(value: object, hint: Any, name: str) -> object:
    if isinstance(hint, types.GenericAlias):
        (item_hint,) = typing.get_args(hint)
        items = cast("list[object]", _typed(value, list, name))
        return [_from_json(item, item_hint, name) for item in items]
    if is_dataclass(hint):
        body = cast("dict[str, object]", _typed(value, dict, name))
        return _build(cast("type[Any]", hint), body, {})
    if hint is float and type(value) is int:
        value = float(value) if abs(value) < 1 << 53 else math.inf
    checked = _typed(value, cast("type[object]", hint), name)
    # JSON has no NaN, but Python's reads one, and reads 1e999 as infinity.
    if isinstance(checked, float) and not math.isfinite(checked):
        raise ProtocolError(f"{name} is {checked}, needs a finite number")
    # It also reads halves of surrogate pairs, which no file or log can be given later.
    if isinstance(checked, str) and any("\ud800" <= letter <= "\udfff" for letter in checked):
        raise ProtocolError(f"{name} has half a character, needs valid Unicode")
    return checked


def _typed(value: object, expected: type[Expected], name: str) -> Expected:
    # Not isinstance: True is an int in Python, but never a frame count.
    if type(value) is expected:
        return value
    raise ProtocolError(f"{name} is {type(value).__name__}, needs {expected.__name__}")


def _is_array(hint: object) -> bool:
    return typing.get_origin(hint) is np.ndarray


def _check_id(text: str) -> None:
    if not (0 < len(text) <= 64 and text.isascii() and text.isprintable()):
        raise ProtocolError(f"job_id is {text[:64]!r}, needs 1 to 64 printable ASCII characters")


def _check_range(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:
        raise ProtocolError(f"{name} is {value}, needs {least} to {most}")


def _check_shape(name: str, array: npt.NDArray[Any], shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ProtocolError(f"{name} has shape {array.shape}, needs {shape}")


def _check_size(name: str, size: int, most: int) -> None:
    if size > most:
        raise ProtocolError(f"{name} has {size} bytes, needs {most} or fewer")


def _check_dtype(name: str, dtype: str) -> None:
    if dtype not in ARRAY_DTYPES:
        raise ProtocolError(f"{name} has dtype {dtype[:16]!r}, needs one of {sorted(ARRAY_DTYPES)}")


def _check_array(name: str, array: npt.NDArray[Any]) -> None:
    _check_size(name, array.nbytes, MAX_FRAME_BYTES)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ProtocolError(f"{name} has values that are not finite numbers")
