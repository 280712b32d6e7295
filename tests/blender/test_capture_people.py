"""Whose motion it is: people found and shown, picked by picture or by click, and captured."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy
import numpy as np
import pytest

from blender_addon import protocol
from blender_addon.engine_link import session
from blender_addon.engine_link.jobs import JobKind, JobState
from blender_addon.scene import movie_strips, pump, strip_picture
from blender_addon.ui import panels_jobs, person_previews, sequencer
from tests.blender.numbered_movie import strips_of, write_movie
from tests.blender.test_panels import draw as draw_panel
from tests.blender.test_pump import FakeClient
from tests.blender.test_sequencer import client, draw, movie, strip

pytestmark = [pytest.mark.blender, pytest.mark.usefixtures("addon")]

__all__ = ["client", "movie", "strip"]  # fixtures

LEFT = protocol.FoundPerson(
    first_frame=6,
    last_frame=30,
    share=0.9,
    height=0.6,
    click_frame=20,
    click_x=0.25,
    click_y=0.5,
)
RIGHT = protocol.FoundPerson(
    first_frame=25,
    last_frame=52,
    share=1.0,
    height=0.4,
    click_frame=40,
    click_x=0.75,
    click_y=0.625,
)


def find(client: FakeClient, people: list[protocol.FoundPerson]) -> None:
    """Press Find People, and let the engine answer."""
    assert bpy.ops.motion.find_people() == {"FINISHED"}
    job = list(session.jobs)[-1]
    pictures = np.zeros((len(people), 32, 32, 3), dtype=np.uint8)
    for index in range(len(people)):
        pictures[index, :16] = (200, 40 * index, 0)  # the upper half
    client.inbox.append(
        protocol.PeopleFound(job_id=job.job_id, people=people, pictures=pictures, warnings=["dark"])
    )
    pump.poll()
    assert job.state is JobState.DONE
    assert job.warnings == ["dark"]


def contents() -> dict[str, list[str]]:
    names = ("images", "textures", "objects", "actions", "meshes", "materials")
    return {name: [one.name for one in getattr(bpy.data, name)] for name in names}


def test_find_people_asks_for_what_the_strip_shows(client: FakeClient, strip: Any) -> None:
    assert bpy.ops.motion.find_people() == {"FINISHED"}
    (job,) = session.jobs
    (request,) = client.sent
    assert request == protocol.PeopleRequest(
        job_id=job.job_id,
        path=bpy.path.abspath(strip.filepath),
        first_frame=6,
        num_frames=47,
        movie_fps=30.0,
    )
    assert job.kind is JobKind.PEOPLE
    assert bpy.ops.motion.find_people() == {"FINISHED"}  # once more changes nothing
    assert len(session.jobs) == 1


def test_it_shows_progress_and_can_be_cancelled(client: FakeClient, strip: Any) -> None:
    bpy.ops.motion.find_people()
    (job,) = session.jobs
    client.inbox.append(protocol.JobProgress(job_id=job.job_id, step=3, num_steps=10))
    pump.poll()
    assert "30%" in draw()
    assert bpy.ops.motion.cancel(job_id=job.job_id) == {"FINISHED"}
    assert client.sent[-1] == protocol.CancelJob(job_id=job.job_id)
    client.inbox.append(protocol.JobCancelled(job_id=job.job_id))
    pump.poll()
    assert job.state is JobState.CANCELLED
    assert session.people == {}


def test_people_are_shown_with_pictures_that_leave_nothing(client: FakeClient, strip: Any) -> None:
    before = contents()
    find(client, [LEFT, RIGHT])
    told = draw()
    assert told.count("picture") == 2
    # movie frames 6 to 30 lie from frame 15 of the timeline on
    assert "15 to 39, 90%" in told
    assert "34 to 61, 100%" in told
    assert contents() == before
    assert "People were looked for" in draw_panel(panels_jobs.MOTION_PT_jobs)
    found = session.people["take"]
    assert draw() == told  # the icons are the same
    preview = person_previews._collection[f"{found.found_id} 1"]
    pixels = np.array(preview.image_pixels_float[:]).reshape(32, 32, 4)
    np.testing.assert_allclose(pixels[31, 0], (200 / 255, 40 / 255, 0, 1), atol=0.01)
    np.testing.assert_allclose(pixels[0, 0], (0, 0, 0, 1), atol=0.01)  # rows go upwards


def test_the_person_clicked_is_the_one_captured(
    client: FakeClient, strip: Any, mannequin: bpy.types.Object
) -> None:
    find(client, [LEFT, RIGHT])
    assert bpy.ops.motion.pick_person(strip="take", frame=40, x=0.75, y=0.625) == {"FINISHED"}
    assert bpy.context.scene.motion_capture.follow == "PICKED"
    assert not any(text.startswith("Picked") for text in draw())  # the button says it
    assert bpy.ops.motion.capture_strips() == {"FINISHED"}
    request = client.sent[-1]
    assert isinstance(request, protocol.VideoRequest)
    assert (request.click_frame, request.click_x, request.click_y) == (40, 0.75, 0.625)
    assert request.person == -1


def test_each_strip_has_its_own_pick(
    client: FakeClient, strip: Any, mannequin: bpy.types.Object
) -> None:
    editor = bpy.context.scene.sequence_editor
    other = strips_of(editor).new_movie("other", strip.filepath, 2, 100)
    other.select = True
    bpy.ops.motion.pick_person(strip="take", frame=40, x=0.75, y=0.625)
    strip.select = False
    with pytest.raises(RuntimeError, match="Nobody is picked in 'other'"):
        bpy.ops.motion.capture_strips()
    strip.select = True
    bpy.ops.motion.pick_person(strip="other", frame=3, x=0.1, y=0.2)
    bpy.ops.motion.capture_strips()
    first, second = client.sent
    assert (first.click_frame, second.click_frame) == (40, 3)
    # motions of several strips are no alternatives: each is kept
    assert [job.is_preview for job in session.jobs] == [False, False]


def test_who_is_trimmed_away_cant_be_picked(client: FakeClient, strip: Any) -> None:
    find(client, [LEFT, RIGHT])
    bpy.ops.motion.pick_person(strip="take", frame=20, x=0.25, y=0.5)
    strip.frame_offset_start = 24
    told = draw()
    assert told.count("picture") == 1
    assert "Nobody is picked in this strip yet" in " ".join(told)
    strip.frame_offset_start = 0
    assert "The strip shows more now: press Find People again" in " ".join(draw())


def test_nobody_is_said_in_words(client: FakeClient, strip: Any) -> None:
    find(client, [])
    assert "Nobody was found" in " ".join(draw())


def test_another_movie_forgets_the_pick(client: FakeClient, strip: Any, tmp_path: Path) -> None:
    bpy.ops.motion.pick_person(strip="take", frame=20, x=0.25, y=0.5)
    assert "25% from the left" in " ".join(draw())
    strip.filepath = str(write_movie(tmp_path / "other", num_frames=60, fps=30))
    movie_strips.movie_range(movie_strips.FoundStrip(strip, bpy.context.scene))
    assert "Nobody is picked in this strip yet" in " ".join(draw())


def test_the_model_is_chosen_among_those_for_video(
    client: FakeClient,
    strip: Any,
    mannequin: bpy.types.Object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = {"lift-a": (["video"], False), "lift-b": (["video"], False)}
    names |= {"prior": (["prompt", "video"], True), "words": (["prompt"], False)}
    names |= {"both": (["prompt", "video"], False)}
    entries = [
        protocol.ModelEntry(
            name=name,
            method="m",
            accepts=accepts,
            fps=20.0,
            licence="CC0. More",
            size_bytes=1,
            model_hash=name,
            refines=refines,
        )
        for name, (accepts, refines) in names.items()
    ]
    welcome = protocol.Welcome(
        engine_version="0", device="fake", models=entries, takes_video=True, finds_people=True
    )
    monkeypatch.setattr(client, "welcome", welcome)
    settings = bpy.context.scene.motion_capture
    told = draw()
    assert {"Model", "Default", "Refine With", "Nothing"} <= set(told)
    lifters = draw_panel(sequencer.MOTION_MT_video_models)
    assert {"lift-a: CC0", "lift-b: CC0", "both: CC0"} <= set(lifters)
    assert "prior: CC0" not in lifters
    bpy.ops.motion.choose_video_model(role="lifter", model="lift-b")
    settings.prompt = "a person plays tennis"
    bpy.ops.motion.capture_strips()
    assert (client.sent[-1].lifter, client.sent[-1].model) == ("lift-b", "")
    assert client.sent[-1].prompt == ""  # words are for a model that refines
    bpy.ops.motion.choose_video_model(role="prior", model="prior")
    bpy.ops.motion.capture_strips()
    assert (client.sent[-1].model, client.sent[-1].prompt) == ("prior", "a person plays tennis")
    settings.prompt = ""
    bpy.ops.motion.capture_strips()
    assert client.sent[-1].prompt == ""


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"offset_x": 12.0, "offset_y": -5.0},
        {"scale_x": 0.5, "scale_y": 0.75, "offset_x": 9.0},
        {"rotation": 0.4, "scale_x": 0.6, "scale_y": 0.6},
        {"rotation": -0.3, "scale_x": 0.5, "scale_y": 0.5, "origin": (0.2, 0.8)},
    ],
    ids=lambda change: ", ".join(change) or "as it is",
)
@pytest.mark.parametrize("flips", [(False, False), (True, False), (True, True)])
def test_a_place_of_the_preview_is_the_movies_place(
    strip: Any, tmp_path: Path, change: dict[str, Any], flips: tuple[bool, bool]
) -> None:
    """A bright spot in a picture is looked for where Blender renders it."""
    scene = bpy.context.scene
    spotted = add_spot(scene, tmp_path / "spot.png", (0.3, 0.35))
    for name, value in change.items():
        setattr(spotted.transform, name, value)
    spotted.use_flip_x, spotted.use_flip_y = flips
    x, y = strip_picture.movie_place(spotted, rendered_spot(scene, tmp_path))
    assert (x, y) == pytest.approx((0.3, 0.35), abs=0.02)


def add_spot(scene: bpy.types.Scene, path: Path, place: tuple[float, float]) -> Any:
    """A strip of a dark picture, 200 by 160, with a bright spot at shares from its upper left."""
    image = bpy.data.images.new("spot", 200, 160)
    pixels = np.zeros((160, 200, 4), dtype=np.float32)
    pixels[..., 3] = 1
    column, row = round(place[0] * 200), 160 - round(place[1] * 160)
    pixels[row - 5 : row + 5, column - 5 : column + 5] = 1
    image.pixels.foreach_set(pixels.ravel())
    image.filepath_raw, image.file_format = str(path), "PNG"
    image.save()
    render = scene.render
    render.resolution_x, render.resolution_y, render.resolution_percentage = 300, 220, 100
    strips = strips_of(scene.sequence_editor)
    return strips.new_image("spot", str(path), 5, 1, fit_method="ORIGINAL")


def rendered_spot(scene: bpy.types.Scene, folder: Path) -> tuple[float, float]:
    """Where the spot is in the scene's picture: pixels from its middle, y up."""
    scene.render.use_sequencer = True
    scene.view_settings.view_transform = "Standard"
    settings = scene.render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = "IMAGE"
    settings.file_format = "PNG"
    scene.render.filepath = str(folder / "shown.png")
    scene.frame_set(1)
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(scene.render.filepath)
    pixels = np.array(image.pixels[:]).reshape(220, 300, -1)[..., 0]
    rows, columns = np.nonzero(pixels > 0.5)
    assert len(rows) > 5, "the spot is not in the picture"
    return float(columns.mean() + 0.5 - 150), float(rows.mean() + 0.5 - 110)


def test_a_click_takes_the_upper_strip_at_its_frame(strip: Any) -> None:
    editor = bpy.context.scene.sequence_editor
    upper = strips_of(editor).new_movie("upper", strip.filepath, 3, 30)
    upper.select = True
    found = movie_strips.selected_strips(bpy.context.scene)
    middle = (0.0, 0.0)
    shown, (frame, x, y) = strip_picture.picked(found, 40, middle)
    assert (shown.strip_name, frame) == ("upper", 10)
    assert (x, y) == pytest.approx((0.5, 0.5))
    shown, (frame, _, _) = strip_picture.picked(found, 20, middle)
    assert (shown.strip_name, frame) == ("take", 11)
    assert strip_picture.picked(found, 5, middle) is None
    assert strip_picture.picked(found, 40, (1e4, math.pi)) is None


def test_without_a_preview_the_button_says_what_to_do(strip: Any) -> None:
    context = SimpleNamespace(window=None)
    assert strip_picture.preview_regions(context.window) == []
    assert not bpy.ops.motion.pick_in_preview.poll()
