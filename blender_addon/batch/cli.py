"""`blender --command marey …`: registered with Blender while the add-on is on."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import bpy

COMMAND = "marey"
_HELP = """\
usage: {program} batch {files} [options]

Marey's commands:
  batch   generate motions for the armatures of a file, by a list of jobs

Example:
  {program} batch {files} --save done.blend

Every option: {program} batch --help
"""

_handle: Any = None


def register() -> None:
    """Let Blender know the command."""
    global _handle
    _handle = bpy.utils.register_cli_command(COMMAND, _run_in_blender)


def unregister() -> None:
    """Take the command out again."""
    global _handle
    if _handle is not None:
        bpy.utils.unregister_cli_command(_handle)
        _handle = None


def run(words: Sequence[str], *, takes_blend: bool = False) -> int:
    """Do what the words after the command's name say; return the exit code."""
    from . import command  # when it is needed: the add-on's start need not wait for it

    name, rest = (words[0], words[1:]) if words else ("", [])
    if name == "batch":
        return command.run(rest, takes_blend=takes_blend)
    text = _HELP.format(
        program="python -m blender_addon" if takes_blend else "blender -b FILE.blend -c marey",
        files="FILE.blend JOBS.json" if takes_blend else "JOBS.json",
    )
    if name in ("-h", "--help"):
        sys.stdout.write(text)
        return command.ALL_DONE
    sys.stderr.write(f"marey: {name!r} is no command, needs batch\n" if name else text)
    return command.WRONG_WORDS


def _run_in_blender(words: list[str]) -> int:
    return run(words)
