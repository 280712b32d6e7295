"""Pictures of people as icons: previews live in Blender's memory, never in the file."""

from __future__ import annotations

from typing import Any

import bpy.utils.previews

from ..engine_link.people import FoundPeople, preview_pixels

_MOST = 200  # of pictures kept

_collection: Any = None


def icon_of(found: FoundPeople, index: int) -> int:
    """The icon of a person; made when it is first asked for."""
    global _collection
    if _collection is not None and len(_collection) >= _MOST:
        clear()
    if _collection is None:
        _collection = bpy.utils.previews.new()
    name = f"{found.found_id} {index}"
    preview = _collection.get(name)
    if preview is None:
        preview = _collection.new(name)
        side = found.pictures.shape[1]
        preview.image_size = (side, side)
        preview.image_pixels_float.foreach_set(preview_pixels(found.pictures[index]))
    return preview.icon_id


def clear() -> None:
    """Let go of all pictures."""
    global _collection
    if _collection is not None:
        bpy.utils.previews.remove(_collection)
        _collection = None
