"""Open and save .blend files: whole or not at all."""

from __future__ import annotations

import contextlib
from pathlib import Path

import bpy

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class SaveError(Exception):
    """A .blend can't be opened or saved; the message is one line."""


def open_blend(path: Path) -> None:
    """Open a file.

    Raises:
        SaveError: Blender can't read it.
    """
    try:
        bpy.ops.wm.open_mainfile(filepath=str(path), load_ui=False)
    except RuntimeError as error:
        raise SaveError(f"{path} can't be opened: {_last_line(error)}") from error


def save_blend(path: Path) -> None:
    """Save the open file as `path`, under a temporary name first; the open file keeps its name.

    Raises:
        SaveError: it can't be written.
    """
    partial = path.with_name(f"{path.stem}.partial.blend")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        bpy.ops.wm.save_as_mainfile(
            filepath=str(partial), copy=True, check_existing=False, compress=_is_compressed()
        )
        partial.replace(path)
    except (OSError, RuntimeError) as error:
        raise SaveError(f"{path} can't be saved: {_last_line(error)}") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def _is_compressed() -> bool:
    """The open file is compressed, so what is saved of it is, too."""
    with contextlib.suppress(OSError), Path(bpy.data.filepath).open("rb") as file:
        return file.read(4) == _ZSTD_MAGIC
    return False


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
