"""A camera that matches the footage: looking through it, the character lies on the person.

It belongs to the motion that it came with: it is removed with its action when a take is rejected.
Its background is the movie, at the frames that the strip shows.
"""

from __future__ import annotations

import math
from typing import Any

import bpy
import numpy as np

from ..engine_link.movie_range import MovieRange
from ..protocol import JobResult
from ..rig.placement import Placement
from ..rig.rotations import continuous_quaternions, matrix_to_quaternion
from . import action_writer

CAMERA_KEY = "marey_camera"  # on the action: its camera, a pointer
_OWN_IMAGE = "marey_background"  # on an image that was loaded for a camera
_SENSOR = 36.0  # millimetres across
_STILL = 1e-4  # of the distance to the person: what counts as no movement
_AXES = np.diag((1.0, -1.0, -1.0))  # from x right, y down, z ahead to Blender's camera


def add_camera(
    action: bpy.types.Action,
    result: JobResult,
    placement: Placement,
    *,
    frames: np.ndarray,
    scene: bpy.types.Scene,
    footage: MovieRange | None,
) -> bpy.types.Object:
    """Make the camera that has seen a motion, and tie it to the motion's action.

    Args:
        action: of the motion.
        result: the motion, with its camera.
        placement: where the motion's world lies in the scene.
        frames: (T,) of the scene, of the motion's frames.
        scene: gets the camera; if it has none, as its own.
        footage: the movie for its background; None: it gets none.
    """
    name = f"{footage.strip_name if footage is not None else action.name} Camera"
    data = bpy.data.cameras.new(name)
    _set_lens(data, result, scene)
    placed = bpy.data.objects.new(name, data)
    placed.rotation_mode = "QUATERNION"
    scene.collection.objects.link(placed)
    places, turns = world_poses(result, placement)
    away = _distance(places, result, placement)
    data.clip_start, data.clip_end = min(0.1, away / 100), max(100.0, 4 * away)
    data.display_size = max(away / 12, 1e-3)
    placed.location = places[0]
    placed.rotation_quaternion = turns[0]
    strays = np.linalg.norm(places - places[0], axis=-1).max() / away
    swings = np.abs(turns - turns[0]).max()
    if max(strays, swings) > _STILL:
        channels = {"location": places, "rotation_quaternion": turns}
        action_writer.key_channels(placed, name, frames, channels)
    if footage is not None:
        _add_background(data, footage)
    if scene.camera is None:
        scene.camera = placed
    action[CAMERA_KEY] = placed
    return placed


def camera_of(action: bpy.types.Action | None) -> bpy.types.Object | None:
    """The camera of a motion, if it has one that is still there."""
    placed = action.get(CAMERA_KEY) if action is not None else None
    return placed if isinstance(placed, bpy.types.Object) and placed.type == "CAMERA" else None


def remove_camera(action: bpy.types.Action) -> None:
    """Take the camera of a motion out of the file, with all that was made for it."""
    placed = camera_of(action)
    if CAMERA_KEY in action:
        del action[CAMERA_KEY]
    if placed is None:
        return
    data: Any = placed.data
    images = [shown.image for shown in data.background_images if shown.image is not None]
    animations = (placed.animation_data, data.animation_data)
    keyed = [one.action for one in animations if one is not None and one.action is not None]
    bpy.data.objects.remove(placed)
    if data.users == 0:
        bpy.data.cameras.remove(data)
    for one in keyed:
        if one.users == 0:
            bpy.data.actions.remove(one)
    for image in set(images):
        if image.users == 0 and _OWN_IMAGE in image:
            bpy.data.images.remove(image)


def world_poses(result: JobResult, placement: Placement) -> tuple[np.ndarray, np.ndarray]:
    """Where the camera is in the scene: places (T, 3) and quaternions (T, 4)."""
    camera = np.asarray(result.camera, dtype=np.float64)
    rotation, translation = camera[:, :, :3], camera[:, :, 3]
    position = -(np.swapaxes(rotation, -1, -2) @ translation[..., None])[..., 0]
    places = placement.scale * position @ placement.turn.T + placement.shift
    turns = placement.turn @ np.swapaxes(rotation, -1, -2) @ _AXES
    return places, continuous_quaternions(matrix_to_quaternion(turns))


def _distance(places: np.ndarray, result: JobResult, placement: Placement) -> float:
    """From the camera to the person, the mean over frames."""
    root = placement.scale * np.asarray(result.root_translation) @ placement.turn.T
    return max(1e-3, float(np.linalg.norm(places - root - placement.shift, axis=-1).mean()))


def _set_lens(data: Any, result: JobResult, scene: bpy.types.Scene) -> None:
    """Focal length and shift by which the movie, fitted into the scene's frame, is seen."""
    render = scene.render
    across, down = (
        render.resolution_x * render.pixel_aspect_x,
        render.resolution_y * render.pixel_aspect_y,
    )
    width, height = result.image_size
    fitted = min(across / width, down / height)  # pixels of the render for one of the movie
    x, y = result.principal_point
    data.sensor_fit = "HORIZONTAL"
    data.sensor_width = _SENSOR
    data.lens = result.focal_length * fitted / across * _SENSOR
    data.shift_x = (width / 2 - x) * fitted / across
    data.shift_y = (y - height / 2) * fitted / across


def _add_background(data: Any, footage: MovieRange) -> None:
    before = set(bpy.data.images)
    try:
        image = bpy.data.images.load(str(footage.path), check_existing=True)
    except RuntimeError:  # it was moved away meanwhile: the camera does without
        return
    if image not in before:
        image[_OWN_IMAGE] = True
    image.source = "MOVIE"
    shown = data.background_images.new()
    shown.image = image
    shown.frame_method, shown.display_depth, shown.alpha = "FIT", "BACK", 1.0
    user = shown.image_user
    user.frame_start, user.frame_duration = footage.start, footage.num_shown
    user.frame_offset = footage.first_frame
    user.use_auto_refresh = True
    data.show_background_images = True
    if not math.isclose(footage.step, 1.0, rel_tol=1e-6):
        # Blender gives each frame of the scene the next one of the movie: say which one it is.
        frames = np.arange(footage.start, footage.end + 1)
        offsets = [footage.frame_at(int(frame)) - (frame - footage.start) for frame in frames]
        action_writer.key_channels(
            data,
            data.name,
            frames,
            {"background_images[0].image_user.frame_offset": np.array(offsets)[:, None]},
            interpolation="CONSTANT",
        )


def look_through(placed: bpy.types.Object, scene: bpy.types.Scene, space: Any) -> None:
    """Let a 3D view look through a camera."""
    scene.camera = placed
    space.camera = placed
    space.region_3d.view_perspective = "CAMERA"
