"""Film a character that does what motion files say, with several cameras, and keep the truth.

    .venv-bpy-5.0/bin/python scripts/render_synthetic_videos.py --motions MOTIONS \
        --rig ../shared/data/rigs/human-sintel.glb --out VIDEOS [--views front side]

MOTIONS has .npz files as `engine generate` writes them (scripts/check_synthetic_capture.py makes
them of a corpus and runs this). Each becomes NAME-VIEW.mp4 with NAME-VIEW.npz beside it: where the
character's own bones are in every frame, as our 22 joints, and the camera. What is there already
is left as it is.

Truth is where the heads of the rig's bones are, in the pose that was rendered: the add-on's
recognition says which bone is which joint. The trunk is another matter: makers of rigs begin the
pelvis, the spine and the collars anywhere inside of it (UE's pelvis lies under its hips, ours
7.5 cm over them). So `joints` has those of our own trunk, laid between the rig's hips and shoulders
at rest and carried by its bones; `bone_heads` has the bones' heads there too.
"""

# pyright: basic, reportMissingModuleSource=false, reportAttributeAccessIssue=false
# pyright: reportOptionalMemberAccess=false, reportArgumentType=false, reportCallIssue=false

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import bpy
import numpy as np

import synthetic_scene
from check_retargeting import read_motion
from render_motion import character_meshes
from retarget_rigs import load_file
from synthetic_trunk import JOINTS, SPINE, our_trunk, spread_spine

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from blender_addon.rig.bone_match import BoneMatch, RigError
from blender_addon.scene import target
from blender_addon.scene.action_writer import write_action
from blender_addon.scene.rest_pose import match_bones

SKIN, CLOTHES = (0.62, 0.36, 0.25, 1.0), (0.05, 0.10, 0.28, 1.0)
REPORT_S = 20.0


def main() -> int:
    """Render what is missing; return the exit code."""
    arguments = _arguments()
    motions = sorted(arguments.motions.glob("*.npz"))
    if not motions:
        print(f"{arguments.motions} has no motions (.npz)", file=sys.stderr)
        return 2
    arguments.out.mkdir(parents=True, exist_ok=True)
    wanted = [(motion, view) for view in arguments.views for motion in motions]
    for number, (motion, view) in enumerate(wanted, start=1):
        path = arguments.out / f"{motion.stem}-{view}.mp4"
        print(f"{number}/{len(wanted)} {path.name}", flush=True)
        if path.exists() and path.with_suffix(".npz").exists():
            continue
        try:
            film(motion, arguments.rig, synthetic_scene.VIEWS[view], path, arguments)
        except (RigError, ValueError, OSError, RuntimeError) as error:
            print(error, file=sys.stderr)
            return 1
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Render videos with a known truth.")
    parser.add_argument("--motions", type=Path, required=True, help="folder of motions (.npz)")
    parser.add_argument("--rig", type=Path, required=True, help=".glb, .gltf, .fbx or .vrm")
    parser.add_argument("--out", type=Path, required=True, help="folder for the videos")
    names = list(synthetic_scene.VIEWS)
    parser.add_argument("--views", nargs="+", choices=names, default=names)
    parser.add_argument("--fps", type=int, default=15)
    parser.add_argument("--size", type=int, nargs=2, default=(480, 360), help="pixels")
    parser.add_argument("--samples", type=int, default=2, help="of each pixel")
    return parser.parse_args()


def film(
    motion: Path,
    rig: Path,
    view: synthetic_scene.View,
    path: Path,
    settings: argparse.Namespace,
) -> None:
    """One motion from one view: the truth beside the movie, then the movie.

    Raises:
        RigError: the rig isn't recognised.
        ValueError: the rig can't be read.
    """
    with _quiet(), contextlib.redirect_stdout(io.StringIO()):  # importers talk
        armature = load_file(rig)
    synthetic_scene.set_renderer(tuple(settings.size), settings.fps, settings.samples)
    dress(armature)
    source = read_motion(motion)
    match = match_bones(armature)
    options = target.options_of(armature)  # by themselves, as an artist would find them
    write_action(armature, source, start_frame=1, match=match, options=options)
    num_frames = max(1, int((source.num_frames - 1) / source.fps * settings.fps) + 1)
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = 1, num_frames
    joints, heads = true_joints(armature, match, num_frames)
    floor = float(armature.matrix_world.translation.z)
    synthetic_scene.build_room(heads[:, 0, :2].mean(0), floor, glows=view.turns)
    camera = synthetic_scene.add_view(view, heads, floor, settings.fps)
    up = synthetic_scene.TO_Y_UP.T
    truth = {
        "joints": (joints - np.array((0.0, 0.0, floor))) @ up,
        "bone_heads": (heads - np.array((0.0, 0.0, floor))) @ up,
        "joint_names": np.array(JOINTS),
        "fps": np.array(float(settings.fps)),
        "is_turning": np.array(view.turns),
        **synthetic_scene.camera_arrays(camera, num_frames),
    }
    truth["camera_translation"] += truth["camera_rotation"] @ np.array((0.0, floor, 0.0))
    np.savez_compressed(path.with_suffix(".npz"), **truth)
    if not path.exists():
        render_movie(path, num_frames)


def true_joints(
    armature: bpy.types.Object, match: BoneMatch, num_frames: int
) -> tuple[np.ndarray, np.ndarray]:
    """Where joints are in a rig's poses of frames 1 to num_frames: twice (T, 22, 3), z up.

    First our 22 joints; then the same with the heads of bones for those of the trunk too.
    """
    bones = {**match.bones}
    bones.setdefault("neck", match.neck[0] if match.neck else bones.get("head", ""))
    missing = [joint for joint in JOINTS if joint not in SPINE and not bones.get(joint, "")]
    if missing or not match.spine:
        missing = missing or ["spine1"]
        raise RigError(f"The rig has no bones for {', '.join(missing)}: needs one that has them")
    chain = [bones["pelvis"], *match.spine, bones["neck"]]
    carriers = _carriers(bones["pelvis"], match.spine)
    names = dict.fromkeys((*bones.values(), *chain))
    scene, world = bpy.context.scene, np.array(armature.matrix_world)
    rest = {name: world @ np.array(armature.data.bones[name].matrix_local) for name in names}
    trunk = our_trunk({joint: rest[bone][:3, 3] for joint, bone in bones.items()})
    held = {  # in the axes of the bone that carries it
        joint: np.linalg.solve(rest[carriers[joint]], np.append(place, 1.0))
        for joint, place in trunk.items()
    }
    ours, heads = np.empty((2, num_frames, len(JOINTS), 3))
    for frame in range(num_frames):
        scene.frame_set(frame + 1)
        world = np.array(armature.matrix_world)
        posed = {name: world @ np.array(armature.pose.bones[name].matrix) for name in names}
        places = {joint: posed[bone][:3, 3] for joint, bone in bones.items()}
        spine = spread_spine(np.stack([posed[name][:3, 3] for name in chain]))
        places |= dict(zip(SPINE, spine, strict=True))
        heads[frame] = np.stack([places[joint] for joint in JOINTS])
        places |= {joint: (posed[carriers[joint]] @ at)[:3] for joint, at in held.items()}
        ours[frame] = np.stack([places[joint] for joint in JOINTS])
    return ours, heads


def _carriers(pelvis: str, spine: tuple[str, ...]) -> dict[str, str]:
    """The bones that our joints of the trunk go along with."""
    chest, waist = spine[-1], spine[(len(spine) - 1) // 2]
    return {
        "pelvis": pelvis,
        "spine1": pelvis,
        "spine2": waist,
        "spine3": chest,
        "left_collar": chest,
        "right_collar": chest,
    }


def dress(armature: bpy.types.Object) -> None:
    """Hide what isn't the character; a body without any picture on it gets skin and clothes."""
    meshes = character_meshes(armature)
    for other in bpy.context.scene.objects:
        if other.type == "MESH" and other not in meshes:
            other.hide_render = True
    materials = [slot.material for mesh in meshes for slot in mesh.material_slots if slot.material]
    nodes = [node for one in materials if one.node_tree for node in one.node_tree.nodes]
    if any(node.type == "TEX_IMAGE" for node in nodes):
        return
    skin, clothes = _plain("skin", SKIN), _plain("clothes", CLOTHES)
    bare = {
        group.index: any(word in group.name.lower() for word in ("head", "neck", "hand", "wrist"))
        for mesh in meshes
        for group in mesh.vertex_groups
    }
    for mesh in meshes:
        mesh.data.materials.clear()
        mesh.data.materials.append(clothes)
        mesh.data.materials.append(skin)
        for face in mesh.data.polygons:
            groups = mesh.data.vertices[face.vertices[0]].groups
            heaviest = max(groups, key=lambda one: one.weight, default=None)
            face.material_index = int(heaviest is not None and bare.get(heaviest.group, False))


def _plain(name: str, colour: tuple[float, ...]) -> bpy.types.Material:
    material = bpy.data.materials.new(name)
    if bpy.app.version < (5, 0):
        material.use_nodes = True
    surface = material.node_tree.nodes["Principled BSDF"]
    surface.inputs["Base Color"].default_value = colour
    surface.inputs["Roughness"].default_value = 0.8
    return material


def render_movie(path: Path, num_frames: int) -> None:
    """The scene's frames as a movie that is there only when it is whole."""
    scene = bpy.context.scene
    render = scene.render
    partial = path.with_name(f"{path.stem}.partial.mp4")
    if hasattr(render.image_settings, "media_type"):  # 5.0: FFMPEG is on offer only after this
        render.image_settings.media_type = "VIDEO"
    render.image_settings.file_format = "FFMPEG"
    render.ffmpeg.format, render.ffmpeg.codec = "MPEG4", "H264"
    render.ffmpeg.constant_rate_factor = "HIGH"
    render.filepath = str(partial)
    began = last = time.monotonic()
    with _quiet() as loud:

        def tell(*_: object) -> None:
            nonlocal last
            now, done = time.monotonic(), scene.frame_current
            if now - last > REPORT_S:
                last = now
                left = (now - began) / done * (num_frames - done)
                print(f"  {done}/{num_frames} frames, {left:.0f} s left", file=loud, flush=True)

        bpy.app.handlers.render_write.append(tell)
        try:
            bpy.ops.render.render(animation=True)
        finally:
            bpy.app.handlers.render_write.remove(tell)
    partial.replace(path)


@contextlib.contextmanager
def _quiet() -> Iterator[TextIO]:
    """Blender writes a line for every frame past Python: nowhere. Gives what still is heard."""
    sys.stdout.flush()
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        with os.fdopen(os.dup(kept), "w") as loud:
            yield loud
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # bpy 4.2 and 4.5 crash or hang at an ordinary exit after some imports
