"""How a message becomes ZeroMQ frames and comes back: dataclasses, JSON and raw arrays.

Knows no message: blender_addon.protocol says which there are, and is the specification. Both
processes use this file, so it imports the standard library and NumPy only.
"""

from __future__ import annotations

import functools
import json
import math
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar, cast

import numpy as np
import numpy.typing as npt

PROTOCOL_VERSION = 1

# A dtype outside this set is refused, so that a message can never carry a pickle.
ARRAY_DTYPES = frozenset({"<f4", "<i4", "|b1", "|u1"})

MAX_HEADER_BYTES = 1 << 20
MAX_FRAME_BYTES = 32 << 20  # a minute of 60 joints at 120 fps is 7 MiB
MAX_ARRAYS = 16

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


def encode(message: object) -> list[bytes]:
    """Turn a dataclass into its frames; a ProtocolError refuses what decode would refuse."""
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


def decode(frames: Sequence[bytes], message_types: Mapping[str, type[Any]]) -> object:
    """Turn frames into a dataclass of message_types. Arrays share the frames' memory, read-only.

    Raises:
        VersionError: the other side speaks another version.
        ProtocolError: anything else that encode could not have written.
    """
    header = _decode_header(frames)
    body = cast("dict[str, object]", _typed(header.get("body"), dict, "body"))
    try:
        message_type = message_types.get(_typed(header.get("type"), str, "type"))
        if message_type is None:
            raise ProtocolError(f"type is {str(header.get('type'))[:64]!r}, which is no message")
        arrays = _decode_arrays(header.get("arrays", []), frames[1:])
        return _build(message_type, body, arrays)
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


def check_id(text: str) -> None:
    """Raise a ProtocolError unless the text can be the id of a job."""
    if not (0 < len(text) <= 64 and text.isascii() and text.isprintable()):
        raise ProtocolError(f"job_id is {text[:64]!r}, needs 1 to 64 printable ASCII characters")


def check_range(name: str, value: float, least: float, most: float) -> None:
    """Raise a ProtocolError unless least <= value <= most."""
    if not least <= value <= most:
        raise ProtocolError(f"{name} is {value}, needs {least} to {most}")


def check_shape(name: str, array: npt.NDArray[Any], shape: tuple[int, ...]) -> None:
    """Raise a ProtocolError unless an array has a shape."""
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
