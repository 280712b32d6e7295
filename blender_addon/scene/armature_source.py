"""Sample the animation of an armature object, as Blender evaluates it: constraints, NLA and all."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace

import bpy
import numpy as np

from ..rig.armature_motion import AnimatedRig, SourceError
from .rest_pose import read_rig

MAX_FRAMES = 20_000
_REPORT_EVERY = 50  # frames between two calls of `report`


def sample_armature(
    armature: bpy.types.Object,
    frames: Sequence[int],
    *,
    report: Callable[[int], None] = lambda done: None,
) -> AnimatedRig:
    """The poses of an armature object in frames of the scene, in its own armature space.

    The scene stays at its frame. Where the object itself moves, its way is in the poses: the
    armature space of the first frame counts. report gets the number of frames that are done.

    Raises:
        SourceError: nothing moves there, or it can't be sampled; says what to do.
    """
    _check(armature, frames)
    count = len(armature.data.bones)
    poses = np.empty((len(frames), count * 16), dtype=np.float32)
    objects = np.empty((len(frames), 4, 4))
    order = [armature.pose.bones.find(bone.name) for bone in armature.data.bones]
    with _scene_of_its_own(armature) as scene:
        for number, frame in enumerate(frames):
            scene.frame_set(frame)
            found = armature.evaluated_get(scene.view_layers[0].depsgraph)
            found.pose.bones.foreach_get("matrix", poses[number])
            objects[number] = np.array(found.matrix_world)
            if number % _REPORT_EVERY == 0:
                report(number)
    rig = replace(read_rig(armature), object_matrix=objects[0])
    # Blender hands out matrices column by column.
    matrices = poses.reshape(-1, count, 4, 4).swapaxes(2, 3)[:, order].astype(np.float64)
    if not np.allclose(objects, objects[0], atol=1e-7):
        moved = np.linalg.inv(objects[0]) @ objects
        matrices = moved[:, None] @ matrices
    fps = bpy.context.scene.render.fps / bpy.context.scene.render.fps_base
    return AnimatedRig(rig=rig, poses=matrices, fps=fps)


def action_frames(armature: bpy.types.Object) -> tuple[int, int] | None:
    """First and last frame of what is keyed on an armature object; None without any keys."""
    animation = armature.animation_data
    if animation is None:
        return None
    if animation.action is not None:
        first, last = animation.action.frame_range
    else:
        strips = [s for t in animation.nla_tracks if not t.mute for s in t.strips if not s.mute]
        if not strips:
            return None
        first, last = min(s.frame_start for s in strips), max(s.frame_end for s in strips)
    return int(np.floor(first)), int(np.ceil(last))


def _check(armature: bpy.types.Object, frames: Sequence[int]) -> None:
    if armature.data.pose_position == "REST":
        raise SourceError(
            f"'{armature.name}' is in Rest Position: switch its armature to Pose Position"
        )
    if armature.mode == "EDIT":
        raise SourceError(f"'{armature.name}' is in Edit Mode: leave it (Tab) first")
    if len(armature.data.bones) == 0:
        raise SourceError(f"'{armature.name}' has no bones")
    if not 2 <= len(frames) <= MAX_FRAMES:
        raise SourceError(f"The range has {len(frames)} frames, needs 2 to {MAX_FRAMES}")


@contextlib.contextmanager
def _scene_of_its_own(armature: bpy.types.Object) -> Generator[bpy.types.Scene]:
    """A scene with the armature alone, gone afterwards.

    What it depends on is evaluated too, the rest of the user's scene is not: a frame takes less
    than a millisecond, whatever else there is, and nobody's current frame changes.
    """
    user_scene = bpy.context.scene
    scene = bpy.data.scenes.new("Marey Source")
    try:
        for name in ("fps", "fps_base", "frame_map_old", "frame_map_new"):
            setattr(scene.render, name, getattr(user_scene.render, name))
        scene.collection.objects.link(armature)
        yield scene
    finally:
        bpy.data.scenes.remove(scene)
