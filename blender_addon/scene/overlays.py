"""The movie that shows how well a capture fits, as a strip above the one it was made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bpy

from ..engine_link.jobs import Job
from ..engine_link.movie_range import MovieRange
from .movie_strips import StripError, sequencer_scene


def suggested_path(footage: MovieRange, folder: Path) -> Path:
    """A name that no file has yet."""
    stem = bpy.path.clean_name(f"{footage.strip_name}-overlay")
    path, number = folder / f"{stem}.mp4", 2
    while path.exists():
        path, number = folder / f"{stem}-{number}.mp4", number + 1
    return path


def add_overlay_strip(job: Job) -> Any:
    """Lay a job's overlay over its strip, frame by frame in sync.

    Raises:
        StripError: the file is gone, or was cut short.
    """
    footage = job.footage
    assert footage is not None
    path = Path(job.overlay)
    if not path.is_file():
        raise StripError(f"The overlay is not there any more: {path}")
    numbered = (scene for scene in bpy.data.scenes if scene.session_uid == job.scene_uid)
    scene = next(numbered, None) or sequencer_scene(bpy.context)
    if scene.sequence_editor is None or not _is_shown(scene, footage):
        scene = sequencer_scene(bpy.context)  # the sequencer may show another one
    editor = scene.sequence_editor_create()
    strips = editor.strips if hasattr(editor, "strips") else editor.sequences
    strip = strips.new_movie(
        name=f"{footage.strip_name} Overlay",
        filepath=str(path),
        channel=_free_channel(strips, footage),
        frame_start=footage.start,
        fit_method="FIT",
    )
    strip.select = False
    # What a decoder counts too many at the end would lie over what comes after.
    strip.frame_final_end = min(int(strip.frame_final_end), footage.end + 1)
    return strip


def _is_shown(scene: bpy.types.Scene, footage: MovieRange) -> bool:
    editor = scene.sequence_editor
    every = editor.strips_all if hasattr(editor, "strips_all") else editor.sequences_all
    return any(strip.name == footage.strip_name for strip in every)


def _free_channel(strips: Any, footage: MovieRange) -> int:
    """The channel above all strips that lie there."""
    over = [
        strip.channel
        for strip in strips
        if strip.frame_final_start <= footage.end and strip.frame_final_end > footage.start
    ]
    return min(128, max(over, default=0) + 1)
