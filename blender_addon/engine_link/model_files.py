"""Model files: what their header says, and copying one to where the engine looks.

A model is a .safetensors file: eight bytes with the length of a JSON header (little-endian), the
header, then the tensors. Ours has the entry `motion_checkpoint` in the header's `__metadata__`.
Only the header is read here; nothing of a file is ever run.

Source: the safetensors format, github.com/huggingface/safetensors, README of version 0.4.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

METADATA_KEY = "motion_checkpoint"
FORMAT = 1
MAX_HEADER_BYTES = 100 << 20  # the limit that the format itself sets
SUFFIX = ".safetensors"


class ModelFileError(Exception):
    """A file that is no model for this version; str() is for the artist."""


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """What a model's header says."""

    path: Path
    name: str  # by which the engine lists it: the file's, without the ending
    method: str
    accepts: tuple[str, ...]
    fps: float
    licence: str
    model_hash: str
    size_bytes: int


def read_model(path: Path) -> ModelFile:
    """Read a model's header.

    Raises:
        ModelFileError: it isn't a model of ours, or only half of one, or of a later format.
    """
    header, data_start, size = _read_header(path)
    metadata: object = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or METADATA_KEY not in metadata:
        raise ModelFileError(f"{path.name} is a safetensors file, but not one of Marey's models")
    ends = [_end(entry) for entry in header.values()]
    if size < data_start + max(ends, default=0):
        raise ModelFileError(f"{path.name} is only half of a model: copy or download it again")
    try:
        values = json.loads(str(cast("dict[str, Any]", metadata)[METADATA_KEY]))
        if values["format"] != FORMAT:
            raise ModelFileError(
                f"{path.name} is of format {values['format']}, this version reads {FORMAT}: "
                "install the version of Marey that it was made for"
            )
        return ModelFile(
            path=path,
            name=path.stem,
            method=str(values["method"]),
            accepts=tuple(str(word) for word in values["accepts"]),
            fps=float(values["fps"]),
            licence=str(values.get("licence", "")),
            model_hash=str(values.get("model_hash", "")),
            size_bytes=size,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ModelFileError(f"The header of {path.name} is incomplete: {error}") from error


def list_models(folder: Path) -> list[ModelFile]:
    """The models in a folder, by name; what is none is left out."""
    found: list[ModelFile] = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        with contextlib.suppress(ModelFileError):
            found.append(read_model(path))
    return found


def add_model(path: Path, folder: Path, *, replace: bool = False) -> ModelFile:
    """Check a model and copy it into a folder, under a temporary name until it is whole.

    The same model again is no error.

    Raises:
        ModelFileError: it is no model, or another one of its name is there.
        OSError: it can't be copied.
    """
    model = read_model(path)
    target = folder / f"{model.name}{SUFFIX}"
    if target.exists() and not replace:
        present = _try_read(target)
        if present is not None and present.model_hash and present.model_hash == model.model_hash:
            return present
        raise ModelFileError(
            f"Another model is named {model.name} already: rename the file, or tick Replace"
        )
    folder.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.partial")
    try:
        shutil.copyfile(path, partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return read_model(target)


def _try_read(path: Path) -> ModelFile | None:
    with contextlib.suppress(ModelFileError):
        return read_model(path)
    return None


def _read_header(path: Path) -> tuple[dict[str, Any], int, int]:
    """The header, where the tensors begin, and the size of the file, in bytes."""
    no_model = ModelFileError(f"{path.name} is not a safetensors file, or only half of one")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
                raise no_model
            header: object = json.loads(file.read(length).decode())
    except OSError as error:
        raise ModelFileError(f"{path} can't be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise no_model from error
    if not isinstance(header, dict):
        raise no_model
    return cast("dict[str, Any]", header), 8 + length, size


def _end(entry: object) -> int:
    """Where a tensor ends, counted from the first one's begin."""
    offsets: object = cast("dict[str, Any]", entry).get("data_offsets") if entry else None
    if isinstance(offsets, list) and len(cast("list[object]", offsets)) == 2:
        end: object = cast("list[object]", offsets)[1]
        return end if isinstance(end, int) else 0
    return 0
