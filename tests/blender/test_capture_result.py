"""What a capture has brought: its figures in the panel, its overlay, the decision about it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import bpy
import pytest

from blender_addon import protocol
from blender_addon.engine_link import session
from blender_addon.engine_link.jobs import Job, JobKind, JobState
from blender_addon.scene import pump, takes
from blender_addon.ui import panels_capture, panels_jobs
from tests.blender.numbered_movie import strips_of, write_movie
from tests.blender.test_panels import draw as draw_panel
from tests.blender.test_pump import FakeClient
from tests.blender.test_sequencer import client, movie, strip
from tests.blender_addon.rig.figures import walk_motion

pytestmark = [pytest.mark.blender, pytest.mark.usefixtures("addon")]

__all__ = ["client", "movie", "strip"]  # fixtures

QUALITY = {
    "reprojection_error": 0.0412,
    "seen_share": 0.98,
    "num_swaps": 3,
    "slide_mm_per_frame": 0.4,
}
ADVICE = {"reprojection_error": "Look at the overlay; a nearer picture helps"}


def capture(client: FakeClient, **changes: Any) -> Job:
    """Press Capture, and let the engine answer."""
    assert bpy.ops.motion.capture_strips() == {"FINISHED"}
    job = list(session.jobs)[-1]
    provenance = {"seed": 0, "model": "fake", "quality": QUALITY, "advice": ADVICE}
    result = replace(
        walk_motion(47, fps=30.0), job_id=job.job_id, provenance=json.dumps(provenance), **changes
    )
    client.inbox.append(result)
    pump.poll()
    assert job.state is JobState.DONE, job.message
    return job


def draw() -> list[str]:
    return draw_panel(panels_capture.MOTION_PT_sequencer_result)


@pytest.fixture(autouse=True)
def drawn_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """The panel asks for the target, which the context of a test knows by its view layer."""
    monkeypatch.setattr(
        panels_capture, "target_armature", lambda _context: bpy.context.view_layer.objects.active
    )
    monkeypatch.setattr(
        panels_capture,
        "captured_action",
        lambda _context: bpy.context.view_layer.objects.active.animation_data.action,
    )
    monkeypatch.setattr(
        panels_capture,
        "capture_job",
        lambda _context, _action: next(
            (job for job in session.jobs if job.kind is JobKind.MOTION), None
        ),
    )


def test_each_figure_is_shown_with_what_can_be_done(
    client: FakeClient, strip: Any, mannequin: bpy.types.Object
) -> None:
    capture(client)
    told = draw()
    text = " ".join(told)
    assert "4.1% of the height beside the picture" in text
    assert "Look at the overlay; a nearer picture helps" in text
    assert "Seen in 98% of the frames" in told
    assert "Left and right put right 3 times" in text
    assert "Standing feet slide 0.4 mm a frame" in text
    assert {"Overlay Movie…", "Accept", "Reject"} <= set(told)


def test_one_strip_is_a_candidate_that_can_be_rejected(
    client: FakeClient, strip: Any, mannequin: bpy.types.Object
) -> None:
    capture(client)
    assert mannequin.animation_data.action.name == "take"
    assert takes.take_of(mannequin) is not None
    bpy.ops.motion.reject()
    assert len(bpy.data.actions) == 0
    assert mannequin.animation_data is None


def test_a_capture_of_another_strip_is_no_alternative(
    client: FakeClient, strip: Any, mannequin: bpy.types.Object
) -> None:
    capture(client)
    capture(client)  # the same strip once more is one
    assert len(takes.take_of(mannequin).candidates) == 2
    strip.name = "later"
    job = capture(client)
    assert not job.is_preview
    assert len(takes.take_of(mannequin).candidates) == 2
    assert mannequin.animation_data.action.name == "later"


def test_an_accepted_strip_of_the_nla_stays_in_sync(
    client: FakeClient, strip: Any, mannequin: bpy.types.Object
) -> None:
    capture(client)
    scene = bpy.context.scene
    scene.motion.keep_as = "STRIP"
    scene.frame_current = 77
    bpy.ops.motion.accept()
    (track,) = mannequin.animation_data.nla_tracks
    assert (track.strips[0].frame_start, track.strips[0].frame_end) == (15, 61)


def test_the_overlay_is_asked_for_and_laid_over_its_strip(
    client: FakeClient, strip: Any, mannequin: bpy.types.Object, tmp_path: Path
) -> None:
    job = capture(client)
    path = tmp_path / "checks" / "overlay.mp4"
    path.parent.mkdir()
    assert bpy.ops.motion.overlay_movie(job_id=job.job_id, filepath=str(path)) == {"FINISHED"}
    wanted = client.sent[-1]
    assert isinstance(wanted, protocol.VideoRequest)
    assert (wanted.overlay, wanted.overlay_replace) == (str(path), False)
    same = replace(wanted, job_id=job.job_id, overlay="")
    assert same == job.request  # the same capture
    overlay = list(session.jobs)[-1]
    write_movie(tmp_path / "made", num_frames=47, fps=30).rename(path)
    actions = list(bpy.data.actions)
    client.inbox.append(replace(walk_motion(47), job_id=overlay.job_id, overlay=str(path)))
    pump.poll()
    assert (overlay.state, overlay.num_written) == (JobState.DONE, 1)
    assert list(bpy.data.actions) == actions  # the motion has been there already
    laid = next(
        one for one in strips_of(bpy.context.scene.sequence_editor) if one.name == "take Overlay"
    )
    assert (laid.frame_final_start, laid.frame_final_end) == (15, 62)
    assert laid.channel == strip.channel + 1
    told = draw_panel(panels_jobs.MOTION_PT_jobs)
    assert {"Overlay overlay.mp4", "Add Overlay as Strip", "Play"} <= set(told)
    assert bpy.ops.motion.show_overlay(job_id=overlay.job_id) == {"FINISHED"}
    path.unlink()
    with pytest.raises(RuntimeError, match="not there any more"):
        bpy.ops.motion.show_overlay(job_id=overlay.job_id)


def test_nothing_is_overwritten_without_being_asked(
    client: FakeClient, strip: Any, mannequin: bpy.types.Object, tmp_path: Path
) -> None:
    job = capture(client)
    path = tmp_path / "own.mp4"
    path.write_bytes(b"mine")
    num_sent = len(client.sent)
    with pytest.raises(RuntimeError, match="is there already: choose another name"):
        bpy.ops.motion.overlay_movie(job_id=job.job_id, filepath=str(path))
    assert len(client.sent) == num_sent
    assert path.read_bytes() == b"mine"
    bpy.ops.motion.overlay_movie(job_id=job.job_id, filepath=str(path), overwrite=True)
    assert client.sent[-1].overlay_replace


def test_a_failed_overlay_says_why(
    client: FakeClient, strip: Any, mannequin: bpy.types.Object, tmp_path: Path
) -> None:
    job = capture(client)
    bpy.ops.motion.overlay_movie(job_id=job.job_id, filepath=str(tmp_path / "a.mp4"))
    overlay = list(session.jobs)[-1]
    why = "There is no folder /gone for the overlay: choose another one"
    client.inbox.append(protocol.JobFailed(job_id=overlay.job_id, code="bad_request", message=why))
    pump.poll()
    assert "There is no folder" in " ".join(draw_panel(panels_jobs.MOTION_PT_jobs))
    assert mannequin.animation_data.action is not None
