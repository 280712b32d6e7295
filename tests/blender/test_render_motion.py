"""The sheet and the movie of an animated mannequin: there, of the right size, and not empty."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
import pytest

import render_motion

pytestmark = pytest.mark.blender


@pytest.fixture
def walker(mannequin: bpy.types.Object) -> bpy.types.Object:
    """The mannequin gliding one metre forward (-y) in ten frames."""
    for frame, y in ((1, 0.0), (11, -1.0)):
        mannequin.location.y = y
        mannequin.keyframe_insert("location", frame=frame)
    return mannequin


def test_the_sheet_shows_the_poses(walker: bpy.types.Object, tmp_path: Path) -> None:
    path = tmp_path / "sheet.png"
    scenes = len(bpy.data.scenes)

    render_motion.render_sheet(walker, path, title="a person glides")

    pixels = _pixels(path)
    assert pixels.shape[0] == render_motion.SHEET_HEIGHT
    assert pixels.shape[1] > 2 * pixels.shape[0]
    left, right = pixels[:, : pixels.shape[1] // 4], pixels[:, pixels.shape[1] // 2 :]
    assert _has_colour(left, blue=True), "the first poses are blue"
    assert _has_colour(right, blue=False), "the last poses are orange"
    assert len(bpy.data.scenes) == scenes, "the sheet's scene stayed in the file"
    assert not list(tmp_path.glob("*partial*"))


def test_the_movie_has_a_frame_per_frame(walker: bpy.types.Object, tmp_path: Path) -> None:
    path = tmp_path / "motion.mp4"

    render_motion.render_movie(walker, path)

    clip = bpy.data.movieclips.load(str(path))
    assert clip.frame_duration == 11
    assert tuple(clip.size) == render_motion.MOVIE_SIZE
    assert clip.fps == pytest.approx(20.0)


def test_an_armature_without_a_mesh_is_drawn_by_its_bones(walker: bpy.types.Object) -> None:
    for mesh in render_motion.character_meshes(walker):
        bpy.data.objects.remove(mesh)

    pose = render_motion.take_pose(walker, 11)

    assert len(pose.faces) == 8 * len(walker.data.bones)
    assert pose.centre[1] == pytest.approx(-1.0, abs=0.15)
    assert float(np.ptp(pose.vertices[:, 2])) == pytest.approx(1.7, abs=0.25)


def test_an_armature_without_an_action_is_refused(
    mannequin: bpy.types.Object, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="has no action"):
        render_motion.render_sheet(mannequin, tmp_path / "sheet.png")


def _pixels(path: Path) -> np.ndarray:
    image = bpy.data.images.load(str(path))
    flat = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(flat)
    return flat.reshape(image.size[1], image.size[0], -1)


def _has_colour(pixels: np.ndarray, *, blue: bool) -> bool:
    """Whether many pixels are plainly bluer than red, or redder than blue."""
    difference = pixels[..., 2] - pixels[..., 0]
    return bool(((difference if blue else -difference) > 0.25).mean() > 0.01)
