"""Movies whose every frame has its number drawn as a bar code, and how to read the one shown."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import bpy
import numpy as np

BITS, BAR, HEIGHT = 8, 16, 32  # a bar of each bit, in pixels
WIDTH = BITS * BAR


def write_movie(folder: Path, *, num_frames: int, fps: int) -> Path:
    """Render a movie of num_frames (up to 255) in Blender; frame i shows the number i + 1."""
    pictures = folder / "pictures"
    pictures.mkdir(parents=True)
    for frame in range(num_frames):
        (pictures / f"{frame:04}.png").write_bytes(_bar_code(frame + 1))
    scene = bpy.data.scenes.new("Numbered")
    _prepare(scene)
    scene.render.fps = fps
    strip = add_pictures(scene, pictures)
    strip.frame_final_duration = num_frames
    scene.frame_start, scene.frame_end = 1, num_frames
    settings = scene.render.image_settings
    if hasattr(settings, "media_type"):  # 5.0 and later
        settings.media_type = "VIDEO"
    settings.file_format = "FFMPEG"
    scene.render.ffmpeg.format, scene.render.ffmpeg.codec = "MPEG4", "H264"
    scene.render.use_file_extension = False
    path = folder / "numbered.mp4"
    scene.render.filepath = str(path)
    bpy.ops.render.render(animation=True, scene=scene.name)
    bpy.data.scenes.remove(scene)
    return path


def strips_of(parent: Any) -> Any:
    """The strips of a sequence editor or meta: the property was renamed in 4.4."""
    return parent.strips if hasattr(parent, "strips") else parent.sequences


def add_pictures(scene: bpy.types.Scene, folder: Path) -> Any:
    """An image sequence of all that is in a folder."""
    first, *rest = sorted(folder.iterdir())
    strips = strips_of(scene.sequence_editor_create())
    strip = strips.new_image("pictures", str(first), 1, 1)
    for picture in rest:
        strip.elements.append(picture.name)
    return strip


def shown_frame(scene: bpy.types.Scene, frame: int, folder: Path) -> int | None:
    """The frame of the movie that a scene shows in one of its frames, from 0; None if none."""
    _prepare(scene)
    scene.frame_set(frame)
    settings = scene.render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = "IMAGE"
    settings.file_format = "PNG"
    scene.render.filepath = str(folder / "shown.png")
    bpy.ops.render.render(write_still=True, scene=scene.name)
    image = bpy.data.images.load(scene.render.filepath)
    pixels = np.array(image.pixels[:]).reshape(HEIGHT, WIDTH, -1)
    bpy.data.images.remove(image)
    bars = pixels[HEIGHT // 2, BAR // 2 :: BAR, 0] > 0.5
    number = int(bars @ (1 << np.arange(BITS)))
    return number - 1 if number else None


def _prepare(scene: bpy.types.Scene) -> None:
    render = scene.render
    render.resolution_x, render.resolution_y, render.resolution_percentage = WIDTH, HEIGHT, 100
    render.use_sequencer = True
    scene.view_settings.view_transform = "Standard"


def _bar_code(number: int) -> bytes:
    """A PNG."""
    row = b"".join((b"\xff" if number >> bit & 1 else b"\0") * BAR for bit in range(BITS))
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 8, 0, 0, 0, 0)
    pixels = zlib.compress((b"\0" + row) * HEIGHT)
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
