"""Pictures of an animated armature, drawn by Blender's Workbench: a sheet of poses and a movie.

Runs inside Blender (4.2 or later) or the bpy wheel. Everything drawn besides the character lives
in a scene of its own, so a file that was saved before stays as it was.
"""

# pyright: basic, reportMissingModuleSource=false, reportAttributeAccessIssue=false
# pyright: reportOptionalMemberAccess=false, reportArgumentType=false, reportCallIssue=false

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix, Vector

from render_stage import (
    PATH_LINE,
    PLAN,
    SHADOW,
    add_camera,
    add_floor,
    add_mesh,
    add_text,
    new_stage,
    time_colour,
)

NUM_POSES = 8
LEEWAY = 0.35  # of the time between two poses
MIN_HALF_WIDTH, GAP = 0.2, 0.06  # of a pose in the row, in character heights
TURN_TO_CAMERA = math.radians(40)  # of the first pose, from profile: a walk and a wave both read
SHEET_HEIGHT = 540  # pixels
MOVIE_SIZE = (640, 360)
SMOOTHING_S = 0.6  # of the movie's camera, so that it does not bob with each step


@dataclass(frozen=True, kw_only=True)
class Pose:
    """The character at one frame, as plain geometry in world space."""

    frame: int
    vertices: np.ndarray  # (V, 3)
    faces: list[tuple[int, ...]]

    @property
    def centre(self) -> np.ndarray:
        """Where the character stands: (x, y) of the middle of its vertices."""
        return self.vertices[:, :2].mean(0)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Where the path is drawn: a square that stands on the floor, right of the last pose."""

    left: float
    side: float
    height: float  # of the character

    @property
    def bottom(self) -> float:
        """Above the floor."""
        return 0.06 * self.height

    @property
    def text(self) -> float:
        """Size of the words below."""
        return 0.095 * self.height


def render_sheet(armature: bpy.types.Object, path: Path, *, title: str = "") -> None:
    """Draw the poses of the armature's action side by side, first to last, and the path's plan."""
    first, last = _frames(armature)
    bones = np.stack([take_bones(armature, frame) for frame in range(first, last + 1)])
    track = bones[..., :2].mean(1)
    moments = _telling_moments(bones - bones.mean(1, keepdims=True))
    poses = [take_pose(armature, first + moment) for moment in moments]
    height = max(float(np.ptp(pose.vertices[:, 2])) for pose in poses)
    fps = bpy.context.scene.render.fps / bpy.context.scene.render.fps_base
    scene = new_stage("Marey sheet")
    scene.display.render_aa = "5"
    end = _lay_out(scene, poses, _turn_of_row(armature), height, fps)
    plan = Plan(left=end + 0.12 * height, side=1.12 * height, height=height)
    _draw_plan(scene, plan, track, moments)
    _draw_title(scene, title, height)
    _aim_sheet_camera(scene, height, plan.left + plan.side)
    _render_still(scene, path)
    _forget(scene)


def render_movie(armature: bpy.types.Object, path: Path) -> None:
    """Film the armature's action at the scene's rate, with a camera that goes along."""
    source = bpy.context.scene
    first, last = _frames(armature)
    bones = [take_bones(armature, frame) for frame in range(first, last + 1)]
    track = np.stack(bones)[..., :2].mean(1)
    pose = take_pose(armature, first)
    height = float(np.ptp(pose.vertices[:, 2]))
    scene = new_stage("Marey movie")
    meshes = character_meshes(armature) or _bones_as_meshes(armature)
    for visible in [armature, *meshes]:
        scene.collection.objects.link(visible)
        visible.color = time_colour(0.0)
    floor = _floor_height(pose, height)
    add_floor(scene, track.min(0), track.max(0), height, z=floor, brightness=0.78)
    scene.render.fps, scene.render.fps_base = source.render.fps, source.render.fps_base
    scene.frame_start, scene.frame_end = first, last
    _follow(scene, armature, track, height)
    _add_shadow(scene, track, height, floor)
    _render_movie(scene, path)
    _forget(scene)


def take_pose(armature: bpy.types.Object, frame: int) -> Pose:
    """The character's geometry at a frame: its meshes, or its bones where it has none."""
    bpy.context.scene.frame_set(frame)
    meshes = character_meshes(armature)
    if not meshes:
        return _bones_as_pose(armature, frame)
    graph = bpy.context.evaluated_depsgraph_get()
    vertices: list[np.ndarray] = []
    faces: list[tuple[int, ...]] = []
    for source in meshes:
        evaluated = source.evaluated_get(graph)
        mesh = evaluated.to_mesh()
        flat = np.empty(3 * len(mesh.vertices), np.float32)
        mesh.vertices.foreach_get("co", flat)
        start = sum(len(block) for block in vertices)
        vertices.append(_transformed(flat.reshape(-1, 3), evaluated.matrix_world))
        faces += [tuple(start + index for index in face.vertices) for face in mesh.polygons]
        evaluated.to_mesh_clear()
    return Pose(frame=frame, vertices=np.concatenate(vertices), faces=faces)


def take_bones(armature: bpy.types.Object, frame: int) -> np.ndarray:
    """Where the armature's bones begin at a frame: (bones, 3) in world space."""
    bpy.context.scene.frame_set(frame)
    return np.array([armature.matrix_world @ bone.head for bone in armature.pose.bones])


def character_meshes(armature: bpy.types.Object) -> list[bpy.types.Object]:
    """The mesh objects that the armature deforms or carries."""
    return [
        candidate
        for candidate in bpy.context.scene.objects
        if candidate.type == "MESH"
        and not candidate.hide_render
        and (_carries(armature, candidate) or _deforms(armature, candidate))
    ]


def _carries(armature: bpy.types.Object, candidate: bpy.types.Object) -> bool:
    parent = candidate.parent
    while parent is not None:
        if parent == armature:
            return True
        parent = parent.parent
    return False


def _deforms(armature: bpy.types.Object, candidate: bpy.types.Object) -> bool:
    return any(one.type == "ARMATURE" and one.object == armature for one in candidate.modifiers)


def _bones_as_pose(armature: bpy.types.Object, frame: int) -> Pose:
    """An octahedron per deforming bone, for an armature without a mesh."""
    vertices: list[Vector] = []
    faces: list[tuple[int, ...]] = []
    for bone in _deforming_bones(armature):
        to_world = armature.matrix_world @ bone.matrix
        corners, sides = _octahedron(bone.length)
        faces += [tuple(len(vertices) + index for index in side) for side in sides]
        vertices += [to_world @ Vector(corner) for corner in corners]
    return Pose(frame=frame, vertices=np.array(vertices, np.float32), faces=faces)


def _bones_as_meshes(armature: bpy.types.Object) -> list[bpy.types.Object]:
    """The same octahedra as objects that follow their bones."""
    shapes: list[bpy.types.Object] = []
    for bone in _deforming_bones(armature):
        mesh = bpy.data.meshes.new(bone.name)
        corners, sides = _octahedron(bone.length)
        mesh.from_pydata(corners, [], sides)
        shape = bpy.data.objects.new(bone.name, mesh)
        shape.parent, shape.parent_type, shape.parent_bone = armature, "BONE", bone.name
        # A child of a bone hangs at its tail.
        shape.matrix_parent_inverse = Matrix.Translation((0.0, -bone.length, 0.0))
        shapes.append(shape)
    return shapes


def _deforming_bones(armature: bpy.types.Object) -> list[bpy.types.PoseBone]:
    return [bone for bone in armature.pose.bones if bone.bone.use_deform and bone.length > 0]


def _octahedron(length: float) -> tuple[list[tuple[float, ...]], list[tuple[int, ...]]]:
    """Along y from 0 to length, as Blender draws a bone."""
    width, waist = 0.12 * length, 0.15 * length
    ring = [(width, waist, 0.0), (0.0, waist, width), (-width, waist, 0.0), (0.0, waist, -width)]
    sides = [(2 + side, 2 + (side + 1) % 4) for side in range(4)]
    faces = [(0, one, other) for one, other in sides] + [(1, other, one) for one, other in sides]
    return [(0.0, 0.0, 0.0), (0.0, length, 0.0), *ring], faces


def _telling_moments(bones: np.ndarray) -> list[int]:
    """Even moments from first to last, each moved a little to where the pose is most another.

    Even ones alone may fall on the same phase of every step, and a walk looks like standing.
    """
    step = (len(bones) - 1) / (NUM_POSES - 1)
    moments = [0]
    for index in range(1, NUM_POSES - 1):
        low, high = round((index - LEEWAY) * step), round((index + LEEWAY) * step)
        choice = np.arange(max(low, moments[-1]), high + 1)
        other = np.linalg.norm(bones[choice] - bones[moments[-1]], axis=-1).mean(1)
        moments.append(int(choice[other.argmax()]))
    return [*moments, len(bones) - 1]


def _lay_out(
    scene: bpy.types.Scene, poses: list[Pose], turn: float, height: float, fps: float
) -> float:
    """Stand the poses in a row from x = 0 on, with their seconds; return where the row ends."""
    floor = _floor_height(poses[0], height)
    end = 0.0
    for index, pose in enumerate(poses):
        vertices = _turned(pose, turn)
        low, high = float(vertices[:, 0].min()), float(vertices[:, 0].max())
        middle = max(end - low, end + MIN_HALF_WIDTH * height)
        end = max(middle + high, middle + MIN_HALF_WIDTH * height) + GAP * height
        place = np.array([middle, 0.0, -floor], np.float32)
        colour = time_colour(index / (len(poses) - 1))
        placed = vertices + place
        add_mesh(scene, f"pose {index}", placed, pose.faces, colour, smooth=True)
        add_mesh(scene, f"shadow {index}", _cast(placed, height), pose.faces, SHADOW)
        seconds = f"{(pose.frame - poses[0].frame) / fps:.1f} s"
        add_text(scene, seconds, (middle, -0.75 * height, 0.03 * height), size=0.11 * height)
    add_floor(scene, np.zeros(2), np.array([end + height, 0.0]), height, z=0.0, brightness=0.85)
    return end


def _cast(vertices: np.ndarray, height: float) -> np.ndarray:
    """The shadow on the floor as flat geometry: Workbench's own takes a minute for fine meshes."""
    above = np.maximum(vertices[:, 2:], 0.0)
    flat = vertices[:, :2] + above * np.array([0.5, 0.6], np.float32)
    return np.concatenate([flat, np.full_like(above, 0.002 * height)], axis=1)


def _turn_of_row(armature: bpy.types.Object) -> float:
    """The angle that makes the first pose look right and towards the camera, which is at -y."""
    facing = armature.matrix_world.to_3x3() @ Vector((0.0, -1.0, 0.0))
    return -TURN_TO_CAMERA - math.atan2(facing.y, facing.x)


def _turned(pose: Pose, angle: float) -> np.ndarray:
    """The pose's vertices about its own middle, turned about the vertical."""
    cosine, sine = math.cos(angle), math.sin(angle)
    moved = pose.vertices - np.array([*pose.centre, 0.0], np.float32)
    return moved @ np.array([[cosine, sine, 0], [-sine, cosine, 0], [0, 0, 1]], np.float32)


def _draw_plan(scene: bpy.types.Scene, plan: Plan, track: np.ndarray, moments: list[int]) -> None:
    """The way over the floor, seen from above; where the first pose looks (-y) is up."""
    span = max(float(np.ptp(track, axis=0).max()), 0.8 * plan.height)
    scale = 0.8 * plan.side / span
    offset = (track - (track.min(0) + track.max(0)) / 2) * scale
    middle = np.array([plan.left + plan.side / 2, 0.0, plan.bottom + plan.side / 2])
    line = middle + np.stack([-offset[:, 0], 0 * offset[:, 0], -offset[:, 1]], 1)
    half, lift = plan.side / 2, 0.01 * plan.height
    sheet = np.array([(-half, lift, -half), (half, lift, -half), (half, lift, half)])
    sheet = np.concatenate([sheet, [(-half, lift, half)]]) + middle
    add_mesh(scene, "plan", sheet, [(0, 1, 2, 3)], PLAN)
    add_mesh(scene, "path", *_ribbon(line, 0.014 * plan.height), PATH_LINE)
    for index, moment in enumerate(moments):
        colour = time_colour(index / (len(moments) - 1))
        disc = _disc(line[moment], 0.04 * plan.height)
        add_mesh(scene, f"dot {index}", *disc, colour)
    words = f"seen from above: {_length(track):.1f} m"
    add_text(scene, words, (middle[0], -0.75 * plan.height, 0.03 * plan.height), size=plan.text)


def _length(track: np.ndarray) -> float:
    return float(np.linalg.norm(np.diff(track, axis=0), axis=1).sum())


def _ribbon(line: np.ndarray, width: float) -> tuple[np.ndarray, list[tuple[int, ...]]]:
    """A flat band along points in the xz plane."""
    along = np.gradient(line, axis=0)
    length = np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-6)
    across = np.stack([-along[:, 2], 0 * along[:, 0], along[:, 0]], 1) / length * width / 2
    vertices = np.concatenate([line - across, line + across]).astype(np.float32)
    count = len(line)
    return vertices, [(i, i + 1, count + i + 1, count + i) for i in range(count - 1)]


def _disc(middle: np.ndarray, radius: float) -> tuple[np.ndarray, list[tuple[int, ...]]]:
    angles = np.linspace(0, 2 * math.pi, 24, endpoint=False)
    circle = np.stack([np.cos(angles), 0 * angles, np.sin(angles)], 1) * radius
    return circle + middle - np.array([0, radius * 0.3, 0]), [tuple(range(24))]


def _draw_title(scene: bpy.types.Scene, title: str, height: float) -> None:
    if not title:
        return
    short = title if len(title) <= 90 else f"{title[:89].rstrip()}…"
    place = (0.05 * height, 0.3 * height, 1.2 * height)
    add_text(scene, short, place, size=0.14 * height, centred=False)


def _aim_sheet_camera(scene: bpy.types.Scene, height: float, end: float) -> None:
    margin, tilt = 0.1 * height, math.radians(12)
    width, tall = end + 2 * margin, 1.72 * height
    middle = Vector((end / 2, 0.0, 0.59 * height))
    away = Vector((0.0, -math.cos(tilt), math.sin(tilt))) * 20 * height
    camera = add_camera(scene, Matrix.Translation(middle + away) @ _looking(tilt))
    camera.data.type = "ORTHO"
    camera.data.ortho_scale = width
    camera.data.clip_end = 100 * height
    scene.render.resolution_y = SHEET_HEIGHT
    scene.render.resolution_x = round(SHEET_HEIGHT * width / tall)


def _looking(tilt: float) -> Matrix:
    """A camera's rotation that looks along +y and down by tilt."""
    return Matrix.Rotation(math.pi / 2 - tilt, 4, "X")


def _follow(
    scene: bpy.types.Scene, armature: bpy.types.Object, track: np.ndarray, height: float
) -> None:
    """A camera in front of the first pose's right shoulder, moved along by the smoothed track."""
    fps = scene.render.fps / scene.render.fps_base
    smooth = _smoothed(track, SMOOTHING_S * fps)
    facing = armature.matrix_world.to_3x3() @ Vector((0.0, -1.0, 0.0))
    heading = math.atan2(facing.y, facing.x) + math.radians(48)
    tilt = math.radians(10)
    distance = 3.4 * height
    back = Vector((math.cos(heading) * math.cos(tilt), math.sin(heading) * math.cos(tilt), 0.0))
    back = (back + Vector((0.0, 0.0, math.sin(tilt)))) * distance
    turn = Matrix.Rotation(heading + math.pi / 2, 4, "Z") @ _looking(tilt)
    camera = add_camera(scene, turn)
    camera.data.lens = 48
    _key_places(camera, smooth, back + Vector((0.0, 0.0, 0.52 * height)), scene.frame_start)


def _add_shadow(scene: bpy.types.Scene, track: np.ndarray, height: float, floor: float) -> None:
    """A dark round patch below the character: real shadows double the time of software GL."""
    disc, face = _disc(np.zeros(3), 0.2 * height)
    flat = disc[:, [0, 2, 1]] * np.array([1.0, 1.0, 0.0])
    patch = add_mesh(scene, "shadow", flat, face, SHADOW)
    _key_places(patch, track, Vector((0.0, 0.0, floor + 0.002 * height)), scene.frame_start)


def _key_places(
    moved: bpy.types.Object, track: np.ndarray, offset: Vector, first_frame: int
) -> None:
    for index, (x, y) in enumerate(track):
        moved.location = Vector((x, y, 0.0)) + offset
        moved.keyframe_insert("location", frame=first_frame + index)


def _smoothed(track: np.ndarray, sigma: float) -> np.ndarray:
    """A Gaussian over time; the ends are mirrored through their value, so that they stay."""
    reach = max(1, round(3 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-3)) ** 2)
    padded = np.pad(track, ((reach, reach), (0, 0)), mode="reflect", reflect_type="odd")
    columns = [np.convolve(column, weights / weights.sum(), mode="valid") for column in padded.T]
    return np.stack(columns, axis=1)


def _floor_height(pose: Pose, height: float) -> float:
    """The floor is z = 0, unless the character plainly stands elsewhere."""
    lowest = float(pose.vertices[:, 2].min())
    return 0.0 if abs(lowest) < 0.15 * height else lowest


def _frames(armature: bpy.types.Object) -> tuple[int, int]:
    data = armature.animation_data
    if data is None or data.action is None:
        raise ValueError(f"{armature.name} has no action to draw")
    first, last = data.action.frame_range
    return round(first), max(round(last), round(first) + 1)


def _transformed(points: np.ndarray, matrix: Matrix) -> np.ndarray:
    table = np.array(matrix, np.float32)
    return points @ table[:3, :3].T + table[:3, 3]


def _render_still(scene: bpy.types.Scene, path: Path) -> None:
    partial = path.with_name(f"{path.stem}.partial.png")
    scene.render.image_settings.file_format = "PNG"
    scene.render.filepath = str(partial)
    bpy.ops.render.render(write_still=True, scene=scene.name)
    partial.replace(path)


def _render_movie(scene: bpy.types.Scene, path: Path) -> None:
    partial = path.with_name(f"{path.stem}.partial.mp4")
    render = scene.render
    render.resolution_x, render.resolution_y = MOVIE_SIZE
    if hasattr(render.image_settings, "media_type"):  # 5.0: FFMPEG is on offer only after this
        render.image_settings.media_type = "VIDEO"
    render.image_settings.file_format = "FFMPEG"
    render.ffmpeg.format = "MPEG4"
    render.ffmpeg.codec = "H264"
    render.ffmpeg.constant_rate_factor = "HIGH"
    render.filepath = str(partial)
    bpy.ops.render.render(animation=True, scene=scene.name)
    partial.replace(path)


def _forget(scene: bpy.types.Scene) -> None:
    bpy.data.scenes.remove(scene)
