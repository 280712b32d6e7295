"""In a real Blender window, from a movie in the sequencer to a character that moves like it.

Run by scripts/real_blender_session.py --session capture --movie FILE: add the movie as a trimmed
strip, select it, find people, pick one (by picture and by a click in the preview), capture with a
matching camera, look at several frames beside the footage, write the overlay, reject, undo. A
picture of the screen is taken at each step.
"""

# pyright: basic

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import bpy
import numpy as np
from bpy_extras.object_utils import world_to_camera_view

sys.path.insert(0, str(Path(__file__).resolve().parent))
import window
from main_thread import MainThreadWatch

EXTENSION = "bl_ext.user_default.marey"
ENGINE_TIMEOUT_S = 400.0
JOB_TIMEOUT_S = 900.0
FPS = 30
FIRST, TRIM, LENGTH = 11, 40, 60  # frame of the timeline, frames of it cut off, frames left
LOOKS = (0.05, 0.3, 0.55, 0.8)  # of the strip's length: where the character is looked at
options = json.loads(Path(sys.argv[sys.argv.index("--") + 1]).read_text(encoding="utf-8"))
out = Path(options["out"])


def module(name: str) -> Any:
    """A module of the add-on."""
    return importlib.import_module(f"{EXTENSION}.{name}")


session = module("engine_link.session")


def script() -> window.Script:
    """The session, step by step."""
    preferences = bpy.context.preferences.addons[EXTENSION].preferences
    preferences.connection_file = options["connection_file"]
    rig = _add_mannequin()
    yield from _lay_out()
    strip = yield from _add_strip()
    watch = MainThreadWatch(EXTENSION)
    _press("motion.engine_start")
    yield from _wait(lambda: session.state.value == "ready", ENGINE_TIMEOUT_S, "engine ready")
    yield 1.0
    shoot("01-strip")
    before = _contents()
    yield from _find_people(strip)
    yield from _pick(strip)
    yield from _capture(rig)
    yield from _look(rig, strip)
    yield from _overlay(strip)
    yield from _reject_and_undo(before)
    print(watch.report(), flush=True)
    assert not watch.over_limit(), f"held the main thread too long: {watch.over_limit()}"
    print("SESSION PASSED", flush=True)


def shoot(name: str) -> None:
    """A picture of the screen."""
    window.screenshot(out / f"capture-{name}.png")
    print("step", name, flush=True)


def _add_mannequin() -> bpy.types.Object:
    for placed in list(bpy.data.objects):
        bpy.data.objects.remove(placed)
    view = window.area()
    with bpy.context.temp_override(area=view, region=window.region(view, "WINDOW")):
        bpy.ops.motion.add_mannequin()
    return bpy.context.object


def _lay_out() -> window.Script:
    """The sequencer with its preview beside the 3D view."""
    view = window.area()
    with bpy.context.temp_override(area=view, region=window.region(view, "WINDOW")):
        bpy.ops.screen.area_split(direction="VERTICAL", factor=0.36)
    yield 0.5
    views = [one for one in _window().screen.areas if one.type == "VIEW_3D"]
    wide = max(views, key=lambda one: one.width)
    wide.type = "SEQUENCE_EDITOR"
    wide.spaces.active.view_type = "SEQUENCER_PREVIEW"
    yield 0.5
    for one in _window().screen.areas:
        if one.type == "VIEW_3D":
            one.spaces.active.shading.type = "SOLID"
            one.spaces.active.overlay.show_floor = True
    workspace = _window().workspace
    if hasattr(workspace, "sequencer_scene"):
        workspace.sequencer_scene = bpy.context.scene


def _add_strip():
    """The movie at its own rate, trimmed at both ends."""
    scene = bpy.context.scene
    scene.render.fps, scene.render.fps_base = FPS, 1.0
    scene.render.resolution_x, scene.render.resolution_y = 1624, 1440
    area = window.area("SEQUENCE_EDITOR")
    words = {"move_strips": False} if bpy.app.version >= (5, 0, 0) else {}
    with bpy.context.temp_override(area=area, region=window.region(area, "WINDOW")):
        bpy.ops.sequencer.movie_strip_add(
            filepath=options["movie"],
            frame_start=FIRST - TRIM,
            channel=1,
            sound=False,
            use_framerate=False,
            **words,
        )
    editor = scene.sequence_editor
    strips = editor.strips_all if hasattr(editor, "strips_all") else editor.sequences_all
    strip = next(one for one in strips if one.type == "MOVIE")
    strip.name = "tennis"
    strip.frame_final_start = FIRST
    strip.frame_final_end = FIRST + LENGTH
    strip.select = True
    scene.frame_start, scene.frame_end = 1, FIRST + LENGTH + 10
    scene.frame_set(FIRST)
    yield 1.0
    with bpy.context.temp_override(area=area, region=window.region(area, "WINDOW")):
        bpy.ops.sequencer.view_all()
    with bpy.context.temp_override(area=area, region=window.region(area, "PREVIEW")):
        bpy.ops.sequencer.view_all_preview()
    yield from window.show_tab(area, "Marey")
    bpy.ops.ed.undo_push(message="A strip")
    yield 1.0
    return strip


def _find_people(strip: Any) -> window.Script:
    _press("motion.find_people")
    yield 0.5
    yield from _wait_for_jobs(picture="02-looking")
    found = session.people[strip.name]
    print("found", len(found.people), "people", flush=True)
    assert found.people, "nobody was found"
    yield 1.5
    shoot("03-people")


def _pick(strip: Any) -> window.Script:
    """By the picture, then by a click on the same person in the preview."""
    person = session.people[strip.name].people[0]
    _press(
        "motion.pick_person",
        strip=strip.name,
        frame=person.click_frame,
        x=person.click_x,
        y=person.click_y,
    )
    yield 1.0
    shoot("04-picked")
    settings = bpy.context.scene.motion_capture
    assert settings.follow == "PICKED"
    ranges = module("scene.movie_strips")
    shown = ranges.movie_range(ranges.find_strip(bpy.context.scene, strip.name))
    frame = round(shown.zero + person.click_frame / shown.step)
    bpy.context.scene.frame_set(frame)
    yield 1.0
    x, y = _place_in_preview(person.click_x, person.click_y)
    _press("motion.pick_in_preview", ends=False)
    yield 0.5
    yield from window.click(x, y)
    yield 0.5
    pick = settings.picks[strip.name]
    apart = abs(pick.x - person.click_x) + abs(pick.y - person.click_y)
    print(f"clicked {apart:.4f} beside the person's middle, frame {pick.frame}", flush=True)
    assert apart < 0.02, (pick.x, pick.y, person)
    assert abs(pick.frame - person.click_frame) <= shown.step
    shoot("05-clicked")


def _place_in_preview(x_share: float, y_share: float) -> tuple[int, int]:
    """Where in the window a place of the picture is; the movie fills the picture."""
    area = window.area("SEQUENCE_EDITOR")
    region = window.region(area, "PREVIEW")
    render = bpy.context.scene.render
    across = (x_share - 0.5) * render.resolution_x
    up = (0.5 - y_share) * render.resolution_y
    inside = region.view2d.view_to_region(across, up, clip=False)
    return region.x + inside[0], region.y + inside[1]


def _capture(rig: bpy.types.Object) -> window.Script:
    bpy.context.scene.motion_capture.camera = True
    yield 0.5
    _press("motion.capture_strips")
    yield 0.3
    yield from _wait_for_jobs(picture="06-at-work")
    job = next(one for one in session.jobs if one.kind.value == "motion")
    assert (job.state.value, job.num_written) == ("done", 1), (job.state, job.message)
    start, end = rig.animation_data.action.frame_range
    assert (start, end) == (FIRST, FIRST + LENGTH - 1), (start, end)
    takes = module("scene.takes")
    print("quality:", takes.provenance_of(rig.animation_data.action)["quality"], flush=True)
    yield 1.0
    shoot("07-captured")


def _look(rig: bpy.types.Object, strip: Any) -> window.Script:
    """The character beside the footage, and through its camera upon the footage."""
    scene = bpy.context.scene
    for number, share in enumerate(LOOKS):
        scene.frame_set(FIRST + round(share * LENGTH))
        yield 1.0
        if number == 0:
            _press("motion.look_through")
            yield 1.5
            view = window.area()
            with bpy.context.temp_override(area=view, region=window.region(view, "WINDOW")):
                bpy.ops.view3d.view_center_camera()
            yield 1.0
        shoot(f"08-frame-{number}")
    _tell_places(rig)
    scene.motion_capture.camera = False
    yield from window.scroll(window.region(window.area("SEQUENCE_EDITOR"), "UI"), 14)
    shoot("09-result")
    yield from window.scroll(window.region(window.area("SEQUENCE_EDITOR"), "UI"), -14)


def _tell_places(rig: bpy.types.Object) -> None:
    """Write down where the rig's joints are seen, for who compares them with what was seen."""
    scene = bpy.context.scene
    width, height = options["image_size"] if options.get("image_size") else (812, 720)
    frames: dict[int, dict[str, list[float]]] = {}
    for frame in range(FIRST, FIRST + LENGTH):
        scene.frame_set(frame)
        frames[frame] = {}
        for bone in rig.pose.bones:
            seen = world_to_camera_view(scene, scene.camera, rig.matrix_world @ bone.head)
            frames[frame][bone.name] = [seen.x * width, (1 - seen.y) * height]
    (out / "places.json").write_text(json.dumps(frames), encoding="utf-8")
    moved = np.array([list(places.values()) for places in frames.values()])
    print(f"joints move by {np.ptp(moved, axis=0).max():.0f} pixels in the picture", flush=True)


def _overlay(strip: Any) -> window.Script:
    job = next(one for one in session.jobs if one.kind.value == "motion")
    path = out / "overlay.mp4"
    _press("motion.overlay_movie", way="EXEC_DEFAULT", job_id=job.job_id, filepath=str(path))
    yield 0.3
    yield from _wait_for_jobs()
    overlay = next(one for one in session.jobs if one.kind.value == "overlay")
    assert overlay.state.value == "done", overlay.message
    assert path.is_file()
    editor = bpy.context.scene.sequence_editor
    strips = editor.strips_all if hasattr(editor, "strips_all") else editor.sequences_all
    laid = next(one for one in strips if one.name == f"{strip.name} Overlay")
    assert (laid.frame_final_start, laid.frame_final_end) == (FIRST, FIRST + LENGTH)
    bpy.context.scene.frame_set(FIRST + round(0.55 * LENGTH))
    yield 1.5
    shoot("10-overlay")
    size = path.stat().st_size
    area = window.area("SEQUENCE_EDITOR")
    refused = ""
    try:
        with bpy.context.temp_override(area=area, region=window.region(area, "UI")):
            bpy.ops.motion.overlay_movie(job_id=job.job_id, filepath=str(path))
    except RuntimeError as error:
        refused = str(error)
    assert "is there already" in refused, refused or "it was to be overwritten without asking"
    assert path.stat().st_size == size


def _reject_and_undo(before: dict[str, list[str]]) -> window.Script:
    assert _contents() != before
    kept = _contents()
    view = window.area()
    with bpy.context.temp_override(window=_window(), area=view, region=window.region(view, "UI")):
        assert bpy.ops.motion.reject("INVOKE_DEFAULT", True) == {"FINISHED"}
    yield 1.0
    assert _contents() == before, (before, _contents())
    shoot("11-rejected")
    yield from window.key("Z", ctrl=True)
    yield 1.0
    assert _contents() == kept, (kept, _contents())
    print("rejected: nothing left; undone: all there again", flush=True)


def _contents() -> dict[str, list[str]]:
    """What a capture could leave behind."""
    names = ("actions", "objects", "cameras", "images", "movieclips")
    return {
        name: sorted(one.name for one in getattr(bpy.data, name) if one.name != "Render Result")
        for name in names
    }


def _window() -> bpy.types.Window:
    return bpy.context.window_manager.windows[0]


def _press(name: str, *, way: str = "INVOKE_DEFAULT", ends: bool = True, **words: object) -> None:
    """What a button does: call an operator where the button is."""
    area = window.area("SEQUENCE_EDITOR")
    group, function = name.split(".")
    with bpy.context.temp_override(window=_window(), area=area, region=window.region(area, "UI")):
        done = getattr(getattr(bpy.ops, group), function)(way, True, **words)
    assert done == ({"FINISHED"} if ends else {"RUNNING_MODAL"}), (name, done)


def _wait_for_jobs(picture: str = "") -> window.Script:
    deadline = time.monotonic() + JOB_TIMEOUT_S
    while session.jobs.active:
        assert time.monotonic() < deadline, f"no end after {JOB_TIMEOUT_S} s"
        assert session.state.value != "lost", session.message
        if picture and any(0.15 < job.progress < 1 for job in session.jobs.active):
            shoot(picture)
            picture = ""
        yield 0.05
    failed = [job.message for job in session.jobs if job.state.value == "failed"]
    assert not failed, failed


def _wait(check, timeout_s: float, what: str) -> window.Script:
    deadline = time.monotonic() + timeout_s
    while not check():
        assert time.monotonic() < deadline, f"{what}: not after {timeout_s} s; {session.message}"
        assert session.state.value != "lost", session.message
        yield 0.1


bpy.context.preferences.view.show_splash = False
window.drive(script())
