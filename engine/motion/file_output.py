"""Writing a motion file whole or not at all, and the one error of motion files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


class MotionFileError(ValueError):
    """A motion file that can't be read or written. The message is one line for the user."""


def write_atomically(
    path: Path, write: Callable[[BinaryIO], None], *, overwrite: bool = False
) -> None:
    """Write to a temporary name beside `path`, then rename: no half file is ever seen there.

    Raises:
        MotionFileError: `path` exists and overwrite is False, or its folder can't be written.
    """
    if path.exists() and not overwrite:
        raise MotionFileError(f"{path} exists already: name another file or allow overwriting")
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as stream:
            write(stream)
        partial.replace(path)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise MotionFileError(f"{path} can't be written ({reason})") from error
    finally:
        partial.unlink(missing_ok=True)
