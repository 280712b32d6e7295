"""How long Blender's main thread is held to key a motion. Run by benchmark.py under a bpy wheel.

Prints one JSON object: the median and the least time to write 200 frames on a rig of 24 bones.
"""

# pyright: basic, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
from __future__ import annotations

import json
import os
import statistics
import sys
import time
from pathlib import Path

import bpy
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from blender_addon.protocol import JobResult
from blender_addon.scene.action_writer import write_action
from blender_addon.scene.mannequin import add_mannequin
from blender_addon.scene.mannequin_body import JOINTS

NUM_FRAMES = 200
NUM_BONES = 24
ROUNDS = 11


def main() -> None:
    """Key the mannequin again and again."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    rig = add_mannequin(bpy.context)
    _add_bones(rig)
    result = _swaying()
    times: list[float] = []
    for _ in range(ROUNDS):
        started = time.thread_time()  # this thread's: other programs run on the machine
        write_action(rig, result, start_frame=1)
        times.append(1_000 * (time.thread_time() - started))
    figures = {
        "blender": bpy.app.version_string,
        "frames": NUM_FRAMES,
        "bones": len(rig.data.bones),
        "milliseconds": statistics.median(times),
        "fastest_milliseconds": min(times),
    }
    print(json.dumps(figures), flush=True)


def _add_bones(rig: bpy.types.Object) -> None:
    """Bones that no joint moves, up to the number that is measured."""
    bpy.ops.object.mode_set(mode="EDIT")
    for number in range(NUM_BONES - len(rig.data.bones)):
        bone = rig.data.edit_bones.new(f"extra_{number}")
        bone.head, bone.tail = (0, 0, 2 + number), (0, 0, 2.5 + number)
    bpy.ops.object.mode_set(mode="OBJECT")


def _swaying() -> JobResult:
    """A motion on the mannequin's own joints in which every joint turns a little."""
    names = list(JOINTS)
    parents = [names.index(joint.parent) if joint.parent else -1 for joint in JOINTS.values()]
    heads = np.array([joint.head for joint in JOINTS.values()], dtype=np.float32)
    offsets = np.array(
        [heads[j] - heads[p] if p >= 0 else 0 * heads[j] for j, p in enumerate(parents)]
    )
    angle = 0.1 * np.sin(np.arange(NUM_FRAMES)[:, None] / 10 + np.arange(len(names)))
    rotations = np.zeros((NUM_FRAMES, len(names), 4), dtype=np.float32)
    rotations[..., 0], rotations[..., 1] = np.cos(angle / 2), np.sin(angle / 2)
    return JobResult(
        job_id="benchmark",
        candidate=0,
        count=1,
        fps=20.0,
        joint_names=names,
        parents=parents,
        rest_offsets=offsets.astype(np.float32),
        root_translation=np.repeat(heads[:1], NUM_FRAMES, axis=0),
        local_rotations=rotations,
        contacts=np.zeros((NUM_FRAMES, 4), dtype=np.float32),
        provenance="{}",
        warnings=[],
    )


if __name__ == "__main__":
    main()
    os._exit(0)  # bpy 4.2 and 4.5 may crash or hang when they end
