"""Movie strips: the range that is told against the frames that Blender really shows."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import bpy
import pytest

from blender_addon.scene import movie_strips
from blender_addon.scene.movie_strips import MovieRange, StripError
from tests.blender.numbered_movie import add_pictures, shown_frame, strips_of, write_movie

pytestmark = pytest.mark.blender

NUM_FRAMES, FPS = 60, 30


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_movie(tmp_path_factory.mktemp("movie"), num_frames=NUM_FRAMES, fps=FPS)


@pytest.fixture
def scene() -> bpy.types.Scene:
    scene = bpy.context.scene
    scene.render.fps = 24
    scene.sequence_editor_create()
    return scene


def add(scene: bpy.types.Scene, movie: Path, *, at_own_rate: bool = False) -> Any:
    """A strip from frame 10 on, by Python frame by frame, or as the Add menu makes it."""
    if not at_own_rate:
        return strips_of(scene.sequence_editor).new_movie("walk", str(movie), 1, 10)
    options = {"move_strips": False} if bpy.app.version >= (5, 0, 0) else {}
    in_sequencer(
        scene,
        "movie_strip_add",
        filepath=str(movie),
        directory=str(movie.parent),
        files=[{"name": movie.name}],
        frame_start=10,
        channel=1,
        sound=False,
        fit_method="ORIGINAL",
        adjust_playback_rate=True,
        use_framerate=False,
        **options,
    )
    return next(one for one in strips_of(scene.sequence_editor) if one.type == "MOVIE")


def in_sequencer(scene: bpy.types.Scene, operator: str, **options: Any) -> None:
    window = bpy.context.window_manager.windows[0]
    area = window.screen.areas[0]
    area.type = "SEQUENCE_EDITOR"
    region = next(one for one in area.regions if one.type == "WINDOW")
    if hasattr(window.workspace, "sequencer_scene"):
        window.workspace.sequencer_scene = scene
    with bpy.context.temp_override(window=window, area=area, region=region):
        assert getattr(bpy.ops.sequencer, operator)(**options) == {"FINISHED"}


def range_of(scene: bpy.types.Scene, strip: Any) -> MovieRange:
    return movie_strips.movie_range(movie_strips.FoundStrip(strip, scene))


def assert_as_shown(scene: bpy.types.Scene, found: MovieRange, folder: Path) -> None:
    """The first and the last frame are those that Blender renders, and none comes around them."""
    assert shown_frame(scene, found.start, folder) == found.first_frame
    assert shown_frame(scene, found.end, folder) == found.last_frame
    assert shown_frame(scene, found.start - 1, folder) is None
    assert shown_frame(scene, found.end + 1, folder) is None


@pytest.mark.parametrize("at_own_rate", [False, True])
@pytest.mark.parametrize("scene_fps", [24, 25, 30, 60])
@pytest.mark.parametrize("trims", [(0, 0), (5, 7)])
def test_the_range_is_the_one_shown(
    scene: bpy.types.Scene,
    movie: Path,
    tmp_path: Path,
    at_own_rate: bool,
    scene_fps: int,
    trims: tuple[int, int],
) -> None:
    scene.render.fps = scene_fps
    strip = add(scene, movie, at_own_rate=at_own_rate)
    strip.frame_offset_start, strip.frame_offset_end = trims
    found = range_of(scene, strip)
    assert_as_shown(scene, found, tmp_path)
    if trims == (0, 0):
        assert found.first_frame == 0
        assert found.num_frames >= NUM_FRAMES - 1  # at 25 fps no frame shows the last one
    assert (found.path, found.movie_fps) == (movie, FPS)
    assert found.speed == pytest.approx(1.0 if at_own_rate else scene_fps / FPS)
    assert bool(found.notes) == (found.speed != 1.0)


@pytest.mark.parametrize("at_own_rate", [False, True])
@pytest.mark.parametrize("kind", ["SOFT", "HARD"])
def test_both_halves_of_a_cut(
    scene: bpy.types.Scene, movie: Path, tmp_path: Path, at_own_rate: bool, kind: str
) -> None:
    add(scene, movie, at_own_rate=at_own_rate).select = True
    in_sequencer(scene, "split", frame=30, type=kind)
    first, second = sorted(
        (range_of(scene, strip) for strip in strips_of(scene.sequence_editor)),
        key=lambda found: found.start,
    )
    assert (first.end, second.start) == (29, 30)
    for found in (first, second):
        assert shown_frame(scene, found.start, tmp_path) == found.first_frame
        assert shown_frame(scene, found.end, tmp_path) == found.last_frame


def test_a_proxy_changes_nothing(scene: bpy.types.Scene, movie: Path) -> None:
    strip = add(scene, movie)
    before = range_of(scene, strip)
    strip.use_proxy = True
    assert range_of(scene, strip) == before


def test_a_meta_cuts_what_is_in_it(scene: bpy.types.Scene, movie: Path, tmp_path: Path) -> None:
    add(scene, movie).select = True
    in_sequencer(scene, "meta_make")
    (meta,) = strips_of(scene.sequence_editor)
    assert meta.type == "META"
    meta.frame_offset_start, meta.frame_offset_end = 4, 6
    meta.select = True
    (found,) = movie_strips.selected_strips(scene)
    assert_as_shown(scene, movie_strips.movie_range(found), tmp_path)
    meta.select = False
    assert movie_strips.selected_strips(scene) == []  # though the strip inside still is
    assert movie_strips.find_strip(scene, "walk").start == meta.frame_final_start


def test_only_what_is_selected_comes_and_sound_does_not(
    scene: bpy.types.Scene, movie: Path
) -> None:
    strips = strips_of(scene.sequence_editor)
    later = strips.new_movie("later", str(movie), 1, 200)
    earlier = strips.new_movie("earlier", str(movie), 2, 100)
    other = strips.new_movie("other", str(movie), 4, 1)
    if bpy.app.build_options.audaspace:
        strips.new_sound("sound", str(movie), 3, 1).select = True
    later.select = earlier.select = True
    other.select = False
    names = [found.strip.name for found in movie_strips.selected_strips(scene)]
    assert names == ["earlier", "later"]


def test_what_is_no_movie_is_refused_in_words(
    scene: bpy.types.Scene, movie: Path, tmp_path: Path
) -> None:
    pictures = add_pictures(scene, movie.parent / "pictures")
    with pytest.raises(StripError, match="'pictures' is an image sequence: render it"):
        range_of(scene, pictures)
    gone = tmp_path / "gone.mp4"
    shutil.copy(movie, gone)
    strip = add(scene, gone)
    gone.unlink()
    with pytest.raises(StripError, match=r"movie of 'walk' is not there: .*gone\.mp4"):
        range_of(scene, strip)
    gone.write_bytes(b"no movie at all")
    with pytest.raises(StripError, match="cannot be read as a movie"):
        range_of(scene, strip)
    with pytest.raises(StripError, match="no strip 'run': it has walk"):
        movie_strips.find_strip(scene, "run")


def test_changed_speed_is_refused_in_words(scene: bpy.types.Scene, movie: Path) -> None:
    strip = add(scene, movie)
    strip.select = True
    scene.sequence_editor.active_strip = strip
    in_sequencer(scene, "retiming_segment_speed_set", speed=200.0)
    with pytest.raises(StripError, match="is retimed"):
        range_of(scene, strip)
    backwards = strips_of(scene.sequence_editor).new_movie("backwards", str(movie), 3, 200)
    backwards.use_reverse_frames = True
    with pytest.raises(StripError, match="runs backwards"):
        range_of(scene, backwards)
    backwards.use_reverse_frames = False
    backwards.use_flip_x = True
    assert "Mirrored" in range_of(scene, backwards).notes[-1]


def test_a_speed_effect_is_refused_in_words(scene: bpy.types.Scene, movie: Path) -> None:
    strip = add(scene, movie)
    strips = strips_of(scene.sequence_editor)
    names = strips.bl_rna.functions["new_effect"].parameters.keys()
    options = {"input1" if "input1" in names else "seq1": strip}
    options |= {"length": 60} if "length" in names else {"frame_end": 70}
    strips.new_effect("fast", "SPEED", 2, 10, **options)
    with pytest.raises(StripError, match="Speed effect"):
        range_of(scene, strip)


def test_a_movie_is_opened_once_and_not_for_drawing(
    scene: bpy.types.Scene, movie: Path, tmp_path: Path
) -> None:
    path = tmp_path / "another.mp4"
    shutil.copy(movie, path)
    found = movie_strips.FoundStrip(add(scene, path), scene)
    assert not movie_strips.is_measured(found)
    movie_strips.movie_range(found)
    assert movie_strips.is_measured(found)
    assert len(bpy.data.movieclips) == 0
