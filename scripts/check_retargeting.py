"""Retarget motions onto rigs and print how well that went: one row for each pair.

    .venv/bin/python -m engine generate "a person walks" --out MOTIONS/walk.npz   (and others)
    .venv-bpy-5.0/bin/python scripts/check_retargeting.py --motions MOTIONS --data ../shared/data
    … --rigs vrm made-10cm --only walk --sheets FOLDER                          (some, and pictures)

Everything is measured on what Blender evaluates. Limits are those of the retargeting's promise:
limbs 2 degrees on average and 10 at most before feet are planted, side axes 5, hinges 10, no knee
or elbow that bends the wrong way, after planting 1 mm slide per frame and 5 mm under the floor.
Exit code 0 if every row keeps them.
"""

# pyright: basic, reportMissingModuleSource=false, reportAttributeAccessIssue=false
# pyright: reportOptionalMemberAccess=false, reportArgumentType=false, reportCallIssue=false

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from dataclasses import replace
from pathlib import Path

import bpy
import numpy as np

import retarget_rigs
from render_motion import render_sheet
from retarget_measures import Figures, Posed, measure

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from blender_addon.rig.bone_match import BoneMatch, RigError
from blender_addon.rig.source_motion import SourceMotion
from blender_addon.scene import target
from blender_addon.scene.action_writer import write_action
from blender_addon.scene.rest_pose import match_bones

RIGIFY_FRAMES = 40  # its 706 bones take 0.1 s a frame
TO_WORLD = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])  # for a character that faces -Y
# Where the deforming bones of Rigify's control rig are.
RIGIFY_ORG = {
    **{"pelvis": "ORG-spine", "chest": "ORG-spine.003", "head": "ORG-spine.006"},
    **{
        f"{side}_{joint}": f"ORG-{bone}.{letter}"
        for side, letter in (("left", "L"), ("right", "R"))
        for joint, bone in (
            *(("hip", "thigh"), ("knee", "shin"), ("ankle", "foot"), ("foot", "toe")),
            *(("shoulder", "upper_arm"), ("elbow", "forearm"), ("wrist", "hand")),
        )
    },
}


def main() -> int:
    """Print the table; return the exit code."""
    arguments = _arguments()
    motions = {path.stem: path for path in sorted(arguments.motions.glob("*.npz"))}
    if arguments.only:
        motions = {name: motions[name] for name in arguments.only}
    print(
        f"{'rig':16s} {'motion':9s} {'mean°':>6s} {'max°':>6s} {'pelvis°':>7s} {'chest°':>6s} "
        f"{'hinge°':>6s} {'bone°':>6s} {'flips':>5s} {'slide mm':>8s} {'under mm':>8s} "
        f"{'stands %':>8s}  (planted: max° hinge° flips)"
    )
    failed = 0
    for rig in arguments.rigs:
        for name, path in motions.items():
            try:
                failed += not _check(rig, name, path, arguments)
            except RigError as error:
                print(f"{rig:16s} {name:9s} {error}")
                failed += 1
                break
    print(f"{failed} rows over the limits" if failed else "All within the limits")
    return int(failed > 0)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure retargeting on many rigs.")
    names = [*retarget_rigs.FILES, "rigify", *retarget_rigs.MADE]
    parser.add_argument("--motions", type=Path, required=True, help="folder of motions (.npz)")
    parser.add_argument("--data", type=Path, required=True, help="folder with rigs/ in it")
    parser.add_argument("--rigs", nargs="*", default=names, choices=names)
    parser.add_argument("--only", nargs="*", help="names of motions")
    parser.add_argument("--sheets", type=Path, help="folder for pictures")
    parser.add_argument("--ik", action="store_true", help="key IK controls where there are any")
    return parser.parse_args()


def _check(rig: str, name: str, path: Path, arguments: argparse.Namespace) -> bool:
    with contextlib.redirect_stdout(io.StringIO()):
        armature = retarget_rigs.load(rig, arguments.data)
    source = read_motion(path)
    bpy.context.scene.render.fps = round(source.fps)
    if rig == "rigify":
        source = _first(source, RIGIFY_FRAMES)
    match = match_bones(armature)
    options = replace(target.options_of(armature), key_ik=arguments.ik)
    free_options = replace(options, plant_feet=False, plant_toes=False, keep_above_floor=False)
    write_action(armature, source, start_frame=1, options=free_options, match=match)
    free = measure_action(armature, rig, match, source)
    write_action(armature, source, start_frame=1, options=options, match=match)
    planted = measure_action(armature, rig, match, source)
    kept = keeps_limits(free, planted)
    print(
        f"{rig:16s} {name:9s} {free.mean_direction:6.2f} {free.max_direction:6.2f} "
        f"{free.pelvis_side:7.2f} {free.chest_side:6.2f} {free.hinge:6.2f} {free.bone_hinge:6.2f} "
        f"{free.flips:5d} {planted.slide:8.3f} {planted.penetration:8.2f} "
        f"{100 * planted.contacts:8.0f}  ({planted.max_direction:.0f} {planted.worst_limb} "
        f"{planted.hinge:.0f} {planted.flips}) {'' if kept else 'OVER'}",
        flush=True,
    )
    if arguments.sheets:
        arguments.sheets.mkdir(parents=True, exist_ok=True)
        with contextlib.redirect_stdout(io.StringIO()):
            render_sheet(armature, arguments.sheets / f"{rig}-{name}.png", title=f"{rig}: {name}")
    return kept


def keeps_limits(free: Figures, planted: Figures) -> bool:
    """Whether figures before and after planting are within what is promised."""
    return (
        free.mean_direction <= 2
        and free.max_direction <= 10
        and max(free.pelvis_side, free.chest_side) <= 5
        and max(free.hinge, free.bone_hinge) <= 10
        and free.flips == planted.flips == 0
        and planted.slide <= 1
        and planted.penetration <= 5
    )


def read_motion(path: Path) -> SourceMotion:
    """A motion file of the engine's as a source."""
    from blender_addon.protocol import JobResult
    from blender_addon.rig.source_motion import source_from_result

    arrays = np.load(path)
    return source_from_result(
        JobResult(
            job_id="check",
            fps=float(arrays["fps"]),
            joint_names=[str(name) for name in arrays["joint_names"]],
            parents=[int(parent) for parent in arrays["parents"]],
            rest_offsets=arrays["rest_offsets"],
            root_translation=arrays["root_translation"],
            local_rotations=arrays["local_rotations"],
            contacts=arrays["contacts"],
        )
    )


def _first(source: SourceMotion, count: int) -> SourceMotion:
    return SourceMotion(
        fps=source.fps,
        joint_names=source.joint_names,
        positions=source.positions[:count],
        rotations=source.rotations[:count],
        rest=source.rest,
        contacts=source.contacts[:count],
    )


def measure_action(
    armature: bpy.types.Object, rig: str, match: BoneMatch, source: SourceMotion
) -> Figures:
    """Measure the action of an armature against the motion that it was made of."""
    bones = RIGIFY_ORG if rig == "rigify" else dict(match.bones)
    if match.spine and rig != "rigify":
        bones["chest"] = match.spine[-1]
    posed = _evaluate(armature, bones, source.num_frames)
    axes = TO_WORLD
    if rig in retarget_rigs.MADE:  # those are turned by their objects, others face -Y
        left, _, right = np.linalg.svd(np.array(armature.matrix_world)[:3, :3])
        axes = (left @ right) @ TO_WORLD
    places = {joint: source.place(joint) for joint in source.joint_names}
    turns = {joint: source.turn(joint) for joint in source.joint_names}
    turns["chest"] = source.turn(source.spine[-1])
    return measure(places, turns, source.rest_points, source.contacts, posed, axes, source.fps)


def _evaluate(armature: bpy.types.Object, bones: dict[str, str], num_frames: int) -> Posed:
    scene = bpy.context.scene
    world = np.array(armature.matrix_world)
    rest = {j: np.array(armature.data.bones[b].matrix_local) for j, b in bones.items()}
    matrices: dict[str, list[np.ndarray]] = {joint: [] for joint in bones}
    for frame in range(1, num_frames + 1):
        scene.frame_set(frame)
        for joint, bone in bones.items():
            pose = armature.pose.bones[bone].matrix
            matrices[joint].append(np.array(armature.matrix_world) @ np.array(pose))
    stacked = {joint: np.stack(each) for joint, each in matrices.items()}
    return Posed(
        places={joint: each[:, :3, 3] for joint, each in stacked.items()},
        turns={j: _turn(each, world @ rest[j]) for j, each in stacked.items()},
        rest={j: (world @ each)[:3, 3] for j, each in rest.items()},
        floor=0.0,
        height=float((world @ rest["head"])[2, 3]) / 0.92,
    )


def _turn(posed: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """Rotations (T, 3, 3) in the world away from the rest pose, scale taken out."""
    change = posed[:, :3, :3] @ np.linalg.inv(rest[:3, :3])
    left, _, right = np.linalg.svd(change)
    return left @ right


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # bpy 4.2 and 4.5 crash or hang at an ordinary exit after Rigify
