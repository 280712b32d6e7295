"""Marey's commands where there is only a bpy wheel and no Blender program:

    python -m blender_addon batch FILE.blend JOBS.json [--save FILE.blend] [--report FILE.jsonl]

In Blender the same is: blender -b FILE.blend --command marey batch JOBS.json
"""

from __future__ import annotations

import sys
from importlib.util import find_spec


def main() -> None:
    """Run the command of the command line, and leave with its exit code."""
    if find_spec("bpy") is None:
        sys.stderr.write("marey: this Python has no bpy, needs one with it (pip install bpy)\n")
        sys.exit(2)

    import blender_addon
    from blender_addon.batch import cli, command

    blender_addon.register()
    command.end_process(cli.run(sys.argv[1:], takes_blend=True))


if __name__ == "__main__":
    main()
