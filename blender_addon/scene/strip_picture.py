"""Where in a strip's movie a place of the sequencer's preview is. Reads only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import bpy

from ..engine_link.movie_range import MovieRange
from . import movie_strips
from .movie_strips import FoundStrip, StripError


def preview_regions(window: bpy.types.Window | None) -> list[bpy.types.Region]:
    """The regions of a window that show the sequencer's picture."""
    if window is None:
        return []
    return [
        region
        for area in window.screen.areas
        if area.type == "SEQUENCE_EDITOR"
        and area.spaces.active.view_type in {"PREVIEW", "SEQUENCER_PREVIEW"}
        for region in area.regions
        if region.type == "PREVIEW" and region.width > 1 and region.height > 1
    ]


def view_place(window: bpy.types.Window, x: int, y: int) -> tuple[float, float] | None:
    """Pixels of the scene's picture from its middle, y up, at a place of the window."""
    for region in preview_regions(window):
        inside_x, inside_y = x - region.x, y - region.y
        if 0 <= inside_x < region.width and 0 <= inside_y < region.height:
            across, up = region.view2d.region_to_view(inside_x, inside_y)
            return across, up
    return None


def picked(
    strips: Sequence[FoundStrip], frame: int, view: tuple[float, float]
) -> tuple[MovieRange, tuple[int, float, float]] | None:
    """The uppermost strip that shows its movie at a place of the preview in a frame, and where.

    The place is the movie's frame, and shares of its width from the left and height from the top.
    """
    for found in sorted(strips, key=lambda one: -one.strip.channel):
        try:
            shown = movie_strips.movie_range(found)
        except StripError:
            continue
        if not shown.start <= frame <= shown.end:
            continue
        x, y = movie_place(found.strip, view)
        if 0.0 <= x <= 1.0 and 0.0 <= y <= 1.0:
            return shown, (shown.frame_at(frame), x, y)
    return None


def movie_place(strip: Any, view: tuple[float, float]) -> tuple[float, float]:
    """Shares of the movie's width from its left and height from its top, of a preview's place.

    As Blender draws strips: the movie in the middle of the picture, scaled and turned about its
    origin, then moved; what comes of that is mirrored.
    """
    width, height = _size(strip)
    moved = strip.transform
    pivot_x, pivot_y = moved.origin[0] * width, moved.origin[1] * height
    shown_x = -view[0] if strip.use_flip_x else view[0]
    shown_y = -view[1] if strip.use_flip_y else view[1]
    x = shown_x + width / 2 - moved.offset_x - pivot_x
    y = shown_y + height / 2 - moved.offset_y - pivot_y
    cos, sin = math.cos(moved.rotation), math.sin(moved.rotation)
    x, y = cos * x + sin * y, cos * y - sin * x
    x = pivot_x + x / (moved.scale_x or 1e-9)
    y = pivot_y + y / (moved.scale_y or 1e-9)
    return x / width, 1.0 - y / height


def _size(strip: Any) -> tuple[float, float]:
    """Pixels of the strip's movie; those of the scene while it has not been shown yet."""
    element = strip.elements[0] if len(strip.elements) else None
    if element is not None and element.orig_width > 0 and element.orig_height > 0:
        return float(element.orig_width), float(element.orig_height)
    render = strip.id_data.render
    return float(render.resolution_x), float(render.resolution_y)
