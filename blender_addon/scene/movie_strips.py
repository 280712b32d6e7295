"""Movie strips of the sequencer: which frames of which movie are shown where on the timeline.

Reads only; strips and scenes stay as they are. The ranges were compared with the frames that
Blender renders (tests/blender/test_movie_strips.py). What can't be told exactly is refused in
words: strips that are retimed, played backwards or driven by a Speed effect.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bpy

from ..engine_link.movie_range import MovieRange

__all__ = ["FoundStrip", "MovieRange", "StripError", "movie_range"]

_NOT_MOVIES = {
    "IMAGE": "is an image sequence: render it to a movie first",
    "MOVIECLIP": "is a clip of the movie clip editor: add its file as a movie strip",
    "SCENE": "is a scene: render it to a movie first",
}

# What measure() has found; None for a file that is no movie.
_frame_counts: dict[tuple[str, int, int], tuple[int, float] | None] = {}


class StripError(ValueError):
    """A strip that no motion can be captured from; the message says why, in the artist's words."""


@dataclass(frozen=True)
class FoundStrip:
    """A strip, and the frames [start, end) of the timeline that the metas around it leave."""

    strip: Any
    scene: bpy.types.Scene
    start: float = float("-inf")
    end: float = float("inf")


def sequencer_scene(context: bpy.types.Context) -> bpy.types.Scene:
    """The scene whose timeline the sequencer shows: since 5.0 each workspace pins one."""
    scene: Any = getattr(context.workspace, "sequencer_scene", None) or context.scene
    return scene


def selected_strips(scene: bpy.types.Scene) -> list[FoundStrip]:
    """The selected strips of the level that is shown, and the movies in selected metas.

    Sound is left out: a movie brings its own along.
    """
    editor = scene.sequence_editor
    if editor is None:
        return []
    stack = editor.meta_stack
    shown = _children(stack[len(stack) - 1] if len(stack) else editor)
    found = [one for strip in shown if strip.select for one in _unpack(FoundStrip(strip, scene))]
    return sorted(found, key=lambda one: (_handles(one.strip)[0], one.strip.channel))


def find_strip(scene: bpy.types.Scene, name: str) -> FoundStrip:
    """The strip of a name, wherever it is in metas.

    Raises:
        StripError: there is none; the message says which movies there are.
    """
    movies: list[str] = []
    if scene.sequence_editor is not None:
        top = (FoundStrip(strip, scene) for strip in _children(scene.sequence_editor))
        for found in (one for root in top for one in [root, *_unpack(root)]):
            if found.strip.name == name and found.strip.type != "META":
                return found
            if found.strip.type == "MOVIE" and found.strip.name not in movies:
                movies.append(found.strip.name)
    has = f"it has {', '.join(movies)}" if movies else "it has no movie"
    raise StripError(f"The sequencer has no strip '{name}': {has}")


def movie_range(found: FoundStrip) -> MovieRange:
    """Which frames a movie strip shows.

    May load the movie, so not for draw(): is_measured() tells.

    Raises:
        StripError: it shows no movie, or not one whose frames can be told.
    """
    strip, scene = found.strip, found.scene
    _check_kind(strip, scene)
    path = strip_path(strip)
    count, fps = measure(path)  # not strip.fps, which opens the movie each time it is asked
    scene_fps = scene.render.fps / scene.render.fps_base
    first, last, content_start, content_end = _handles(strip)
    cut_start, cut_end = _cuts(strip)
    content = count - cut_start - cut_end
    # A movie is either shown frame by frame or at its own rate; which, no property tells.
    estimate = content / max(1.0, content_end - content_start)
    step = min((1.0, fps / scene_fps), key=lambda candidate: abs(candidate - estimate))
    start, end = max(first, found.start), min(last, found.end)
    begin = max(0, int((start - content_start) * step + 0.5))
    stop = min(content, int((end - 1 - content_start) * step + 0.5) + 1)
    if start >= end or begin >= stop:
        raise StripError(f"'{strip.name}' shows no frame of its movie")
    speed = step * scene_fps / fps
    return MovieRange(
        strip_name=strip.name,
        path=path,
        movie_fps=fps,
        first_frame=cut_start + begin,
        num_frames=stop - begin,
        start=int(start),
        end=int(end) - 1,
        step=step,
        zero=content_start - cut_start / step,
        speed=1.0 if abs(speed - 1.0) < 1e-4 else speed,
        notes=_notes(strip, speed),
    )


def strip_path(strip: Any) -> Path:
    """The movie of a strip itself, also where a proxy of it is shown.

    Raises:
        StripError: the file is not there.
    """
    path = Path(bpy.path.abspath(strip.filepath, library=strip.id_data.library))
    if not path.is_file():
        raise StripError(f"The movie of '{strip.name}' is not there: {path}")
    return path


def measure(path: Path) -> tuple[int, float]:
    """Number of frames and frame rate of a movie, as Blender's own decoder counts them.

    Raises:
        StripError: it is no movie that Blender can read.
    """
    key = _file_key(path)
    if key not in _frame_counts:
        _frame_counts[key] = _measure(path)
    measured = _frame_counts[key]
    if measured is None:
        raise StripError(f"{path} cannot be read as a movie")
    return measured


def _measure(path: Path) -> tuple[int, float] | None:
    try:
        clip = bpy.data.movieclips.load(str(path))
    except RuntimeError:
        return None
    try:
        count, fps = int(clip.frame_duration), float(clip.fps)
        return (count, fps) if clip.source == "MOVIE" and count > 0 and fps > 0 else None
    finally:
        bpy.data.movieclips.remove(clip)


def is_measured(found: FoundStrip) -> bool:
    """movie_range() would not have to open a file."""
    if found.strip.type != "MOVIE":
        return True
    path = Path(bpy.path.abspath(found.strip.filepath, library=found.strip.id_data.library))
    return not path.is_file() or _file_key(path) in _frame_counts


def _file_key(path: Path) -> tuple[str, int, int]:
    status = path.stat()
    return str(path), status.st_mtime_ns, status.st_size


def _children(parent: Any) -> list[Any]:
    """The strips of an editor or meta: the property was renamed in 4.4."""
    return list(parent.strips if hasattr(parent, "strips") else parent.sequences)


def _unpack(found: FoundStrip) -> Iterator[FoundStrip]:
    """A strip itself, or the movies in a meta, cut to what the meta shows."""
    strip = found.strip
    if strip.type != "META":
        if strip.type != "SOUND":
            yield found
        return
    first, last = _handles(strip)[:2]
    start, end = max(first, found.start), min(last, found.end)
    for child in _children(strip):
        inner_first, inner_last = _handles(child)[:2]
        is_shown = max(inner_first, start) < min(inner_last, end)
        if is_shown and child.type in ("MOVIE", "META"):
            yield from _unpack(FoundStrip(child, found.scene, start, end))


def _handles(strip: Any) -> tuple[float, float, float, float]:
    """First frame, frame after the last, and both for the content without soft trims."""
    if hasattr(strip, "content_start"):  # 5.2 and later; the old names go with 6.0
        first, last, content = strip.left_handle, strip.right_handle, strip.content_start
        return first, last, content, last + strip.right_handle_offset
    first, last, content = strip.frame_final_start, strip.frame_final_end, strip.frame_start
    return first, last, content, last + strip.frame_offset_end


def _cuts(strip: Any) -> tuple[int, int]:
    """Frames of the movie that hard cuts have taken off both ends."""
    if hasattr(strip, "content_trim_start"):
        return int(strip.content_trim_start), int(strip.content_trim_end)
    return int(strip.animation_offset_start), int(strip.animation_offset_end)


def _check_kind(strip: Any, scene: bpy.types.Scene) -> None:
    if strip.type != "MOVIE":
        why = _NOT_MOVIES.get(strip.type, "shows no movie: select a movie strip")
        raise StripError(f"'{strip.name}' {why}")
    if strip.use_reverse_frames:
        raise StripError(f"'{strip.name}' runs backwards: switch Reverse Frames off")
    if len(getattr(strip, "retiming_keys", ())) > 0:
        raise StripError(
            f"'{strip.name}' is retimed: reset its retiming (Strip, Retiming), or render it first"
        )
    editor = scene.sequence_editor
    every = editor.strips_all if hasattr(editor, "strips_all") else editor.sequences_all
    if any(other.type == "SPEED" and other.input_1 == strip for other in every):
        raise StripError(f"'{strip.name}' has a Speed effect: remove it, or render it first")


def _notes(strip: Any, speed: float) -> tuple[str, ...]:
    notes: list[str] = []
    if abs(speed - 1.0) > 1e-4:
        notes.append(f"The scene plays it at {speed:.0%} of its own speed")
    if strip.use_flip_x:
        notes.append("Mirrored in the sequencer; the movie itself is read")
    return tuple(notes)
