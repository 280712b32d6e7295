"""The stage that render_motion draws on: a Workbench scene, floor, camera, plain coloured things.

Runs inside Blender (4.2 or later) or the bpy wheel. Colours are linear, as Workbench takes them.
"""

# pyright: basic, reportMissingModuleSource=false, reportAttributeAccessIssue=false
# pyright: reportOptionalMemberAccess=false, reportArgumentType=false, reportCallIssue=false

from __future__ import annotations

import math

import bpy
import numpy as np
from mathutils import Matrix

BACKGROUND = (0.80, 0.82, 0.85)
# Above 1, because the studio light leaves a floor that is seen at a low angle in the dark.
LIGHT_TILE = (1.8, 1.8, 1.8, 1.0)
DARK_TILE = (1.45, 1.47, 1.52, 1.0)
PLAN = (1.0, 1.0, 1.0, 1.0)
SHADOW = (0.78, 0.80, 0.85, 1.0)
TEXT = (0.04, 0.05, 0.07, 1.0)
PATH_LINE = (0.25, 0.27, 0.30, 1.0)
EARLY, MIDDLE, LATE = (0.03, 0.16, 0.50), (0.30, 0.10, 0.42), (0.80, 0.20, 0.03)


def time_colour(share: float) -> tuple[float, float, float, float]:
    """Blue at the beginning (0), through violet, to orange at the end (1)."""
    low, high, part = (EARLY, MIDDLE, 2 * share) if share < 0.5 else (MIDDLE, LATE, 2 * share - 1)
    red, green, blue = (a + (b - a) * part for a, b in zip(low, high, strict=True))
    return (red, green, blue, 1.0)


def new_stage(name: str) -> bpy.types.Scene:
    """An empty scene that renders with Workbench: soft edges, colours by object."""
    scene = bpy.data.scenes.new(name)
    scene.render.engine = "BLENDER_WORKBENCH"
    scene.display.render_aa = "FXAA"
    shading = scene.display.shading
    shading.light = "STUDIO"
    shading.studio_light = "paint.sl"  # the bright one: the others leave a floor in the dark
    shading.color_type = "OBJECT"
    shading.show_shadows = False
    shading.show_specular_highlight = True
    scene.view_settings.view_transform = "Standard"
    world = bpy.data.worlds.new(name)
    world.color = BACKGROUND
    scene.world = world
    scene.render.resolution_percentage = 100
    return scene


def add_mesh(
    scene: bpy.types.Scene,
    name: str,
    vertices: np.ndarray,
    faces: list[tuple[int, ...]],
    colour: tuple[float, float, float, float],
    *,
    smooth: bool = False,
) -> bpy.types.Object:
    """Link an object of one colour with this geometry."""
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(vertices.tolist(), [], faces)
    if smooth:
        mesh.polygons.foreach_set("use_smooth", np.ones(len(mesh.polygons), bool))
    placed = bpy.data.objects.new(name, mesh)
    placed.color = colour
    scene.collection.objects.link(placed)
    return placed


def add_floor(
    scene: bpy.types.Scene,
    low: np.ndarray,
    high: np.ndarray,
    height: float,
    *,
    z: float,
    brightness: float = 1.0,
) -> None:
    """A chequered floor around everything between two corners; tiles of about half a height."""
    tile = 0.5 * height
    first = np.floor(low / tile).astype(int) - 24
    last = np.ceil(high / tile).astype(int) + 24
    corners: list[list[tuple[float, float, float]]] = [[], []]
    for column in range(first[0], last[0]):
        for row in range(first[1], last[1]):
            x, y = column * tile, row * tile
            square = [(x, y, z), (x + tile, y, z), (x + tile, y + tile, z), (x, y + tile, z)]
            corners[(column + row) % 2] += square
    for square, colour in zip(corners, (LIGHT_TILE, DARK_TILE), strict=True):
        faces = [tuple(range(start, start + 4)) for start in range(0, len(square), 4)]
        red, green, blue = (brightness * part for part in colour[:3])
        tiles = np.array(square)
        add_mesh(scene, "floor", tiles, faces, (red, green, blue, 1.0))


def add_text(
    scene: bpy.types.Scene,
    words: str,
    place: tuple[float, float, float],
    *,
    size: float,
    centred: bool = True,
) -> None:
    """Words at a place, upright, to be read from -y."""
    font = bpy.data.curves.new(words, "FONT")
    font.body = words
    font.size = size
    font.align_x = "CENTER" if centred else "LEFT"
    written = bpy.data.objects.new(words, font)
    written.matrix_world = Matrix.Translation(place) @ Matrix.Rotation(math.pi / 2, 4, "X")
    written.color = TEXT
    scene.collection.objects.link(written)


def add_camera(scene: bpy.types.Scene, matrix: Matrix) -> bpy.types.Object:
    """The scene's camera."""
    data = bpy.data.cameras.new(scene.name)
    camera = bpy.data.objects.new(scene.name, data)
    camera.matrix_world = matrix
    scene.collection.objects.link(camera)
    scene.camera = camera
    return camera
