"""The camera of a capture: looking through it, the character lies on the person in the picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import pytest
from bpy_extras.object_utils import world_to_camera_view

from blender_addon import protocol
from blender_addon.engine_link.jobs import Job
from blender_addon.engine_link.movie_range import MovieRange
from blender_addon.rig.source_motion import source_from_result
from blender_addon.scene import delivery, match_camera, takes
from tests.blender.numbered_movie import write_movie
from tests.blender.test_takes import state_of_file
from tests.blender_addon.rig.figures import walk_motion

pytestmark = [pytest.mark.blender, pytest.mark.usefixtures("addon")]

FRAMES, FPS, START = 40, 20.0, 11
SIZE = (1280, 720)
FOCAL, CENTRE = 1100.0, (670.0, 340.0)
# Where both have the same joint; the mannequin's own proportions are others than the figure's.
JOINTS = ("left_hip", "right_hip", "left_knee", "right_knee", "left_shoulder", "right_shoulder")


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_movie(tmp_path_factory.mktemp("movie"), num_frames=60, fps=20)


def seen_walk(*, turns: bool = False) -> protocol.JobResult:
    """A walk past a camera that stands aside, and may follow with its view."""
    motion = walk_motion(FRAMES, FPS)
    place = np.array((3.5, 1.2, 1.0))
    rotations = []
    for root in motion.root_translation:
        target = np.array((0.0, 0.9, float(root[2]) if turns else 0.7))
        ahead = (target - place) / np.linalg.norm(target - place)
        right = np.cross(ahead, (0.0, 1.0, 0.0))
        right /= np.linalg.norm(right)
        rotations.append(np.stack((right, np.cross(ahead, right), ahead)))
    rotation = np.array(rotations)
    camera = np.concatenate((rotation, -(rotation @ place)[..., None]), axis=-1)
    return replace(
        motion,
        camera=camera.astype(np.float32),
        focal_length=FOCAL,
        principal_point=list(CENTRE),
        image_size=list(SIZE),
        provenance=json.dumps({"seed": 1, "model": "fake"}),
    )


def footage(movie: Path, **changes: Any) -> MovieRange:
    values: dict[str, Any] = {
        "strip_name": "take",
        "path": movie,
        "movie_fps": 20.0,
        "first_frame": 5,
        "num_frames": FRAMES,
        "start": START,
        "end": START + FRAMES - 1,
        "zero": START - 5.0,
    }
    return MovieRange(**(values | changes))


def deliver(
    armature: bpy.types.Object, result: protocol.JobResult, shown: MovieRange, root: str = ""
) -> bpy.types.Action:
    job = Job(
        armature_name=armature.name,
        armature_uid=armature.session_uid,
        scene_uid=bpy.context.scene.session_uid,
        start_frame=shown.start,
        prompt="take",
        root=root,
        is_preview=True,
        footage=shown,
        with_camera=True,
    )
    return delivery.deliver(job, result)


def pixels_of_result(result: protocol.JobResult) -> dict[str, np.ndarray]:
    """Where the camera has seen the motion's joints: (T, 2) pixels."""
    source = source_from_result(result)
    seen = {}
    for joint in JOINTS:
        inside = (result.camera[:, :, :3] @ source.place(joint)[..., None])[..., 0]
        inside = inside + result.camera[:, :, 3]
        seen[joint] = FOCAL * inside[:, :2] / inside[:, 2:] + CENTRE
    return seen


def pixels_of_rig(armature: bpy.types.Object, placed: bpy.types.Object) -> dict[str, np.ndarray]:
    """Where the scene's camera sees the rig's joints, in pixels of the movie fitted into it."""
    scene = bpy.context.scene
    across, down = scene.render.resolution_x, scene.render.resolution_y
    fitted = min(across / SIZE[0], down / SIZE[1])
    seen: dict[str, list[tuple[float, float]]] = {joint: [] for joint in JOINTS}
    for frame in range(START, START + FRAMES):
        scene.frame_set(frame)
        for joint in JOINTS:
            head = armature.matrix_world @ armature.pose.bones[joint].head
            view = world_to_camera_view(scene, placed, head)
            x = ((view.x - 0.5) * across) / fitted + SIZE[0] / 2
            y = ((0.5 - view.y) * down) / fitted + SIZE[1] / 2
            seen[joint].append((x, y))
    return {joint: np.array(places) for joint, places in seen.items()}


def beside(armature: bpy.types.Object, result: protocol.JobResult) -> np.ndarray:
    """Distances (T, J) of the rig's joints from where they are to be seen, in body heights."""
    placed = match_camera.camera_of(armature.animation_data.action)
    assert placed is not None
    wanted, found = pixels_of_result(result), pixels_of_rig(armature, placed)
    height = 1.7 * FOCAL / 3.6
    return np.stack(
        [np.linalg.norm(wanted[joint] - found[joint], axis=-1) for joint in JOINTS], axis=-1
    ) / (height)


def check_beside(armature: bpy.types.Object, result: protocol.JobResult) -> None:
    """Within what planting this walk's feet, which slide, moves hips and knees by."""
    off = beside(armature, result)
    knees = [JOINTS.index(f"{side}_knee") for side in ("left", "right")]
    assert np.delete(off, knees, axis=1).max() < 0.025
    assert off.max() < 0.1
    assert np.median(off) < 0.02


def half_size(armature: bpy.types.Object) -> None:
    armature.scale = (0.5, 0.5, 0.5)


def moved_and_turned(armature: bpy.types.Object) -> None:
    armature.location = (3.0, -2.0, 0.0)
    armature.rotation_euler = (0.0, 0.0, 1.1)


def giant(armature: bpy.types.Object) -> None:
    armature.scale = (7.0, 7.0, 7.0)
    armature.location = (1.0, 0.0, 4.0)


def as_it_is(armature: bpy.types.Object) -> None:
    pass


@pytest.mark.parametrize("change", [as_it_is, half_size, moved_and_turned, giant])
@pytest.mark.parametrize("turns", [False, True])
def test_the_character_lies_on_the_person(
    mannequin: bpy.types.Object,
    movie: Path,
    change: Callable[[bpy.types.Object], None],
    turns: bool,
) -> None:
    change(mannequin)
    bpy.context.view_layer.update()
    result = seen_walk(turns=turns)
    deliver(mannequin, result, footage(movie))
    check_beside(mannequin, result)
    placed = bpy.data.objects["take Camera"]
    is_keyed = placed.animation_data is not None and placed.animation_data.action is not None
    assert is_keyed is turns


def test_a_camera_that_goes_along_is_exactly_there(
    mannequin: bpy.types.Object, movie: Path
) -> None:
    """In place the camera moves instead of the character, and with its hips."""
    result = seen_walk()
    deliver(mannequin, result, footage(movie), root="in_place")
    off = beside(mannequin, result)
    hips = [JOINTS.index(f"{side}_hip") for side in ("left", "right")]
    assert off[:, hips].max() < 1e-4


@pytest.mark.parametrize("root", ["hips", "object", "in_place"])
def test_whatever_carries_the_motion(mannequin: bpy.types.Object, movie: Path, root: str) -> None:
    result = seen_walk()
    deliver(mannequin, result, footage(movie), root=root)
    check_beside(mannequin, result)


@pytest.mark.parametrize("resolution", [(1280, 720), (640, 640), (300, 900)])
def test_any_shape_of_the_scenes_picture(
    mannequin: bpy.types.Object, movie: Path, resolution: tuple[int, int]
) -> None:
    render = bpy.context.scene.render
    render.resolution_x, render.resolution_y = resolution
    result = seen_walk()
    deliver(mannequin, result, footage(movie))
    check_beside(mannequin, result)
    assert (render.resolution_x, render.resolution_y) == resolution


def test_the_movie_lies_behind_at_the_strips_frames(
    mannequin: bpy.types.Object, movie: Path
) -> None:
    deliver(mannequin, seen_walk(), footage(movie))
    data: Any = bpy.data.objects["take Camera"].data
    (shown,) = data.background_images
    user = shown.image_user
    assert Path(bpy.path.abspath(shown.image.filepath)) == movie
    # Blender shows frame (scene frame - frame_start + 1 + frame_offset), counted from 1.
    assert (user.frame_start, user.frame_offset, user.frame_duration) == (START, 5, FRAMES)
    assert data.show_background_images
    assert data.animation_data is None
    assert bpy.context.scene.camera == bpy.data.objects["take Camera"]


def test_a_movie_of_another_rate_is_told_frame_by_frame(
    mannequin: bpy.types.Object, movie: Path
) -> None:
    shown = footage(movie, step=1.5, zero=START - 5 / 1.5)
    deliver(mannequin, seen_walk(), shown)
    data: Any = bpy.data.objects["take Camera"].data
    for frame in (START, START + 1, START + 7, START + 20):
        bpy.context.scene.frame_set(frame)
        evaluated = data.evaluated_get(bpy.context.evaluated_depsgraph_get())
        user = evaluated.background_images[0].image_user
        assert frame - START + user.frame_offset == shown.frame_at(frame), frame


def test_a_camera_of_the_scene_stays_it(mannequin: bpy.types.Object, movie: Path) -> None:
    own = bpy.data.objects.new("own", bpy.data.cameras.new("own"))
    bpy.context.scene.collection.objects.link(own)
    bpy.context.scene.camera = own
    deliver(mannequin, seen_walk(), footage(movie))
    assert bpy.context.scene.camera == own
    assert bpy.ops.motion.look_through() == {"FINISHED"}
    assert bpy.context.scene.camera.name == "take Camera"


def everything(armature: bpy.types.Object) -> dict[str, Any]:
    names = ("objects", "cameras", "images", "movieclips", "collections")
    return {
        **state_of_file(armature),
        **{name: sorted(one.name for one in getattr(bpy.data, name)) for name in names},
        "camera": bpy.context.scene.camera,
    }


def test_rejecting_leaves_nothing_behind(mannequin: bpy.types.Object, movie: Path) -> None:
    before = everything(mannequin)
    deliver(mannequin, seen_walk(turns=True), footage(movie, step=1.5, zero=START - 5 / 1.5))
    assert everything(mannequin) != before
    assert bpy.ops.motion.reject() == {"FINISHED"}
    assert everything(mannequin) == before


def test_an_image_of_the_artists_own_stays(mannequin: bpy.types.Object, movie: Path) -> None:
    image = bpy.data.images.load(str(movie))
    deliver(mannequin, seen_walk(), footage(movie))
    assert len(bpy.data.images) == 1
    bpy.ops.motion.reject()
    assert list(bpy.data.images) == [image]


def test_accepting_keeps_one_camera(mannequin: bpy.types.Object, movie: Path) -> None:
    for _ in range(3):
        deliver(mannequin, seen_walk(), footage(movie))
    assert len(bpy.data.cameras) == 3
    bpy.ops.motion.accept()
    (kept,) = bpy.data.actions
    assert list(bpy.data.cameras) == [match_camera.camera_of(kept).data]
    assert takes.take_of(mannequin) is None


def test_without_the_option_or_a_camera_there_is_none(
    mannequin: bpy.types.Object, movie: Path
) -> None:
    deliver(mannequin, walk_motion(FRAMES, FPS), footage(movie))  # of an engine of before
    assert len(bpy.data.cameras) == 0
    assert not bpy.ops.motion.look_through.poll()
