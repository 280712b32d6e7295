"""The set on which synthetic videos are filmed: a room with a floor, soft light and a camera.

Runs inside Blender (4.2 or later) or the bpy wheel; Cycles on the processor draws it, because no
other renderer does without a graphics card. Colours are linear.
"""

# pyright: basic, reportMissingModuleSource=false, reportAttributeAccessIssue=false
# pyright: reportOptionalMemberAccess=false, reportArgumentType=false, reportCallIssue=false

from __future__ import annotations

import math
from dataclasses import dataclass

import bpy
import numpy as np
from mathutils import Matrix, Vector

from render_stage import add_mesh

ROOM, WALL = 13.0, 4.5  # metres from the middle to a wall, and a wall's height
FLOOR_COLOURS = ((0.30, 0.28, 0.25, 1.0), (0.46, 0.44, 0.40, 1.0))
WALL_COLOURS = ((0.38, 0.45, 0.50, 1.0), (0.60, 0.64, 0.66, 1.0))
SKY = (0.80, 0.87, 1.0, 1.0)
SENSOR = 36.0  # millimetres across the longer side
FILLED = 0.86  # of the picture that the body may need
MARGIN = 0.16  # metres around joints: hands, feet and the top of the head
SMOOTHING_S = 0.5  # of what a turning camera looks at
# from Blender's axes to the engine's: y up; and from a camera's to one with y down, z ahead
TO_Y_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
_SEEN_AXES = np.diag((1.0, -1.0, -1.0))


@dataclass(frozen=True, kw_only=True)
class View:
    """Where a camera stands, seen from the character's first pose."""

    name: str
    azimuth: float  # degrees from where the character faces, to its left
    height: float  # metres over the floor
    lens: float  # millimetres, on a 36 mm sensor
    turns: bool = False  # after the character


VIEWS = {
    view.name: view
    for view in (
        View(name="front", azimuth=25, height=1.5, lens=35),
        View(name="side", azimuth=-70, height=1.0, lens=28),
        View(name="turning", azimuth=-35, height=2.0, lens=50, turns=True),
    )
}


def build_room(middle: np.ndarray, floor: float, *, glows: bool = False) -> None:
    """Floor, walls and light around a place (x, y).

    What glows has neither shadows nor a renderer's specks of noise, which look like corners that
    come and go, and hide how a camera turns.
    """
    scene = bpy.context.scene
    x, y, half = middle[0], middle[1], ROOM
    corners = [
        (x - half, y - half),
        (x + half, y - half),
        (x + half, y + half),
        (x - half, y + half),
    ]
    low = [(*corner, floor) for corner in corners]
    high = [(*corner, floor + WALL) for corner in corners]
    ground = add_mesh(scene, "floor", np.array(low), [(0, 1, 2, 3)], FLOOR_COLOURS[0])
    walls = [(i, (i + 1) % 4, 4 + (i + 1) % 4, 4 + i) for i in range(4)]
    around = add_mesh(scene, "walls", np.array(low + high), walls, WALL_COLOURS[0])
    for placed, colours in ((ground, FLOOR_COLOURS), (around, WALL_COLOURS)):
        placed.data.materials.append(_patches(placed.name, colours, glows=glows))
    world = bpy.data.worlds.new("sky")
    scene.world = world
    if bpy.app.version < (5, 0):  # later ones always have nodes
        world.use_nodes = True
    background = world.node_tree.nodes["Background"]
    background.inputs["Color"].default_value = SKY
    background.inputs["Strength"].default_value = 0.8
    lamp = bpy.data.lights.new("sun", "SUN")
    lamp.energy, lamp.angle = 2.2, 0.4
    sun = bpy.data.objects.new("sun", lamp)
    sun.rotation_euler = (math.radians(30), math.radians(14), 0.5)
    scene.collection.objects.link(sun)


def _patches(
    name: str, colours: tuple[tuple[float, ...], ...], *, glows: bool
) -> bpy.types.Material:
    """Soft patches of two colours: a background with corners to follow, as real ones have."""
    material = bpy.data.materials.new(name)
    if bpy.app.version < (5, 0):
        material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    surface = nodes["Principled BSDF"]
    surface.inputs["Roughness"].default_value = 1.0
    cells = nodes.new("ShaderNodeTexVoronoi")
    cells.inputs["Scale"].default_value = 2.0
    place = nodes.new("ShaderNodeTexCoord")
    links.new(place.outputs["Object"], cells.inputs["Vector"])
    between = nodes.new("ShaderNodeValToRGB")
    between.color_ramp.elements[0].color, between.color_ramp.elements[1].color = colours
    links.new(cells.outputs["Color"], between.inputs["Fac"])
    if glows:
        surface.inputs["Base Color"].default_value = (0.0, 0.0, 0.0, 1.0)
        surface.inputs["Specular IOR Level"].default_value = 0.0
        surface.inputs["Emission Strength"].default_value = 1.0
    links.new(between.outputs["Color"], surface.inputs["Emission Color" if glows else "Base Color"])
    return material


def set_renderer(size: tuple[int, int], fps: int, samples: int) -> None:
    """Cycles with few samples on one thread; their noise is another one in every frame."""
    scene = bpy.context.scene
    render = scene.render
    render.engine = "CYCLES"
    render.resolution_x, render.resolution_y = size
    render.resolution_percentage = 100
    render.threads_mode, render.threads = "FIXED", 1
    render.use_persistent_data = True
    render.fps, render.fps_base = fps, 1.0
    cycles = scene.cycles
    cycles.device, cycles.samples = "CPU", samples
    cycles.use_denoising = cycles.use_adaptive_sampling = False
    cycles.max_bounces = 1
    # noise that stays where it is would tell that the camera does
    cycles.use_animated_seed = True
    scene.view_settings.view_transform = "Standard"


def add_view(view: View, joints: np.ndarray, floor: float, fps: float) -> bpy.types.Object:
    """The scene's camera, as near as the whole body (T, 22, 3) allows in all frames."""
    scene = bpy.context.scene
    data = bpy.data.cameras.new(view.name)
    data.sensor_fit, data.sensor_width, data.lens = "AUTO", SENSOR, view.lens
    camera = bpy.data.objects.new(view.name, data)
    camera.rotation_mode = "QUATERNION"
    scene.collection.objects.link(camera)
    scene.camera = camera
    middle = (joints.min((0, 1)) + joints.max((0, 1))) / 2
    targets = np.tile(middle, (len(joints), 1))
    if view.turns:
        targets[:, :2] = _smoothed(joints[:, 0, :2], SMOOTHING_S * fps)
    direction = _direction(joints[0], view.azimuth)
    wide, tall = scene.render.resolution_x, scene.render.resolution_y
    half = SENSOR / 2 / view.lens / max(wide, tall)
    limits = FILLED * half * np.array((wide, tall))
    for distance in np.arange(2.0, ROOM - 1.0, 0.1):
        place = np.array((*(middle[:2] + distance * direction), floor + view.height))
        turns = np.stack([_looking_at(place, target) for target in targets])
        if _all_inside(joints, place, turns, limits):
            break
    camera.location = place
    for frame, turn in enumerate(turns, start=1):
        camera.rotation_quaternion = Matrix(turn.tolist()).to_quaternion()
        if not view.turns:
            break
        camera.keyframe_insert("rotation_quaternion", frame=frame)
    return camera


def _direction(pose: np.ndarray, azimuth: float) -> np.ndarray:
    """Unit vector (2,) over the floor, so many degrees to the left of where a pose faces."""
    left = pose[1, :2] - pose[2, :2]
    angle = math.atan2(-left[0], left[1]) + math.radians(azimuth)
    return np.array((math.cos(angle), math.sin(angle)))


def _looking_at(place: np.ndarray, target: np.ndarray) -> np.ndarray:
    """A Blender camera's axes (3, 3) in columns."""
    turn = Vector(target - place).to_track_quat("-Z", "Y")
    return np.array(turn.to_matrix())


def _all_inside(
    joints: np.ndarray, place: np.ndarray, turns: np.ndarray, limits: np.ndarray
) -> bool:
    seen = np.einsum("tji,tkj->tki", turns, joints - place)
    depth = -seen[..., 2:]
    return bool((depth > 1.0).all() and ((np.abs(seen[..., :2]) + MARGIN) / depth < limits).all())


def _smoothed(track: np.ndarray, sigma: float) -> np.ndarray:
    offsets = np.arange(len(track))[:, None] - np.arange(len(track))
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    return weights @ track / weights.sum(1, keepdims=True)


def camera_arrays(camera: bpy.types.Object, num_frames: int) -> dict[str, np.ndarray]:
    """What the camera is, per frame, in the engine's conventions (world to camera; pixels)."""
    scene = bpy.context.scene
    size = (scene.render.resolution_x, scene.render.resolution_y)
    rotations, translations = np.empty((num_frames, 3, 3)), np.empty((num_frames, 3))
    for frame in range(num_frames):
        scene.frame_set(frame + 1)
        matrix = np.array(camera.matrix_world)
        rotations[frame] = _SEEN_AXES @ matrix[:3, :3].T @ TO_Y_UP.T
        translations[frame] = -rotations[frame] @ TO_Y_UP @ matrix[:3, 3]
    return {
        "camera_rotation": rotations,
        "camera_translation": translations,
        "focal_length": np.array(camera.data.lens / SENSOR * max(size)),
        "principal_point": np.array(size) / 2,
        "image_size": np.array(size),
    }
