"""Makes a file to run a batch in, or tells what keys a file holds; run inside a real Blender.

blender -b --python-exit-code 1 --python batch_files.py -- make SHOT.blend
blender -b --python-exit-code 1 --python batch_files.py -- digest FILE.blend

With a bpy wheel: python batch_files.py -- make SHOT.blend, from this project's folder.
"""

# pyright: basic

from __future__ import annotations

import hashlib
import importlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import bpy
import numpy as np

MARK = "keys: "  # before the line of JSON on standard output, which Blender writes to as well


def make(path: str) -> None:
    """Save a file with a mannequin named Ann."""
    bpy.ops.wm.read_homefile(use_empty=True)
    if not hasattr(bpy.types, "MOTION_OT_add_mannequin"):  # a wheel has no extension installed
        sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
        importlib.import_module("blender_addon").register()
    bpy.ops.motion.add_mannequin()
    bpy.context.object.name = "Ann"
    bpy.ops.wm.save_as_mainfile(filepath=path)


def digest(path: str) -> None:
    """Print a hash over all F-curves of each action of a file."""
    bpy.ops.wm.open_mainfile(filepath=path)
    found = {}
    for action in bpy.data.actions:
        content = hashlib.sha256()
        for curve in _curves(action):
            points = np.empty(len(curve.keyframe_points) * 2, dtype=np.float32)
            curve.keyframe_points.foreach_get("co", points)
            content.update(f"{curve.data_path} {curve.array_index}".encode() + points.tobytes())
        found[action.name] = content.hexdigest()
    print(MARK + json.dumps(found), flush=True)


def _curves(action: bpy.types.Action) -> Iterator[bpy.types.FCurve]:
    if not hasattr(action, "layers"):
        yield from action.fcurves
        return
    for layer in action.layers:
        for strip in layer.strips:
            for bag in strip.channelbags:
                yield from bag.fcurves


if __name__ == "__main__":
    words = sys.argv[sys.argv.index("--") + 1 :]
    if words[0] == "make":
        make(words[1])
    else:
        digest(words[1])
    sys.stdout.flush()
    os._exit(0)  # bpy 4.2 and 4.5 don't end well by themselves
