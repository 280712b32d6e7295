"""Rigs and motions made of numbers, and what Blender does with keys, written down once more."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt

from blender_addon.protocol import JobResult
from blender_addon.rig.bone_match import BoneMatch
from blender_addon.rig.channels import BoneKeys
from blender_addon.rig.recognise import recognise
from blender_addon.rig.retarget import RigMotion
from blender_addon.rig.target_rig import TargetRig

FloatArray = npt.NDArray[np.float64]

JOINT_NAMES = (
    *("pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2"),
    *("left_ankle", "right_ankle", "spine3", "left_foot", "right_foot", "neck", "left_collar"),
    *("right_collar", "head", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow"),
    *("left_wrist", "right_wrist"),
)
PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)
REST_OFFSETS = np.array(
    [
        *((0, 0, 0), (0.075, -0.075, 0), (-0.075, -0.075, 0), (0, 0.132, 0)),
        *((0, -0.392, 0), (0, -0.392, 0), (0, 0.143, 0), (0, -0.429, 0), (0, -0.429, 0)),
        *((0, 0.057, 0), (0, -0.055, 0.134), (0, -0.055, 0.134), (0, 0.219, 0)),
        *((0.075, 0.115, -0.02), (-0.075, 0.115, -0.02), (0, 0.1, 0.02), (0.12, 0.04, 0)),
        *((-0.12, 0.04, 0), (0.26, 0, 0), (-0.26, 0, 0), (0.268, 0, 0), (-0.268, 0, 0)),
    ],
    dtype=np.float64,
)
INDEX = {name: i for i, name in enumerate(JOINT_NAMES)}


# --- motions -----------------------------------------------------------------------------


def axis_quaternion(axis: int, angle: FloatArray | float) -> FloatArray:
    angle = np.asarray(angle, dtype=np.float64)
    quaternion = np.zeros((*angle.shape, 4))
    quaternion[..., 0], quaternion[..., 1 + axis] = np.cos(angle / 2), np.sin(angle / 2)
    return quaternion


def multiply(a: FloatArray, b: FloatArray) -> FloatArray:
    aw, av, bw, bv = a[..., :1], a[..., 1:], b[..., :1], b[..., 1:]
    w = aw * bw - np.sum(av * bv, axis=-1, keepdims=True)
    return np.concatenate([w, aw * bv + bw * av + np.cross(av, bv)], axis=-1)


def make_result(
    root: FloatArray, rotations: FloatArray, contacts: FloatArray, fps: float = 20.0
) -> JobResult:
    return JobResult(
        job_id="test",
        fps=fps,
        joint_names=list(JOINT_NAMES),
        parents=list(PARENTS),
        rest_offsets=REST_OFFSETS.astype(np.float32),
        root_translation=root.astype(np.float32),
        local_rotations=rotations.astype(np.float32),
        contacts=contacts.astype(np.float32),
        provenance=json.dumps({"prompt": "a person walks", "seed": 7, "model": "fake"}),
    )


def rest_motion(num_frames: int = 8) -> JobResult:
    """Stands in the T-pose."""
    rotations = np.zeros((num_frames, 22, 4))
    rotations[..., 0] = 1
    root = np.tile([0.0, 0.971, 0.0], (num_frames, 1))
    return make_result(root, rotations, np.ones((num_frames, 4)))


def walk_motion(num_frames: int = 80, fps: float = 20.0) -> JobResult:
    """Walks along +z with swinging arms: not well, but with all that retargeting must carry."""
    time = np.arange(num_frames) / fps
    phase = 2 * np.pi * time * 0.9
    rotations = np.zeros((num_frames, 22, 4))
    rotations[..., 0] = 1
    contacts = np.zeros((num_frames, 4))
    for side, offset, sign in (("left", 0.0, 1.0), ("right", np.pi, -1.0)):
        swing = np.sin(phase + offset)
        lifted = np.clip(np.cos(phase + offset), 0, None)
        rotations[:, INDEX[f"{side}_hip"]] = axis_quaternion(0, -0.45 * swing - 0.25 * lifted)
        rotations[:, INDEX[f"{side}_knee"]] = axis_quaternion(0, 0.12 + 0.9 * lifted)
        rotations[:, INDEX[f"{side}_ankle"]] = axis_quaternion(0, 0.3 * swing - 0.5 * lifted)
        down = axis_quaternion(2, np.full(num_frames, -sign * 1.25))
        forward = axis_quaternion(0, 0.4 * np.sin(phase + offset))
        rotations[:, INDEX[f"{side}_shoulder"]] = multiply(forward, down)
        rotations[:, INDEX[f"{side}_elbow"]] = axis_quaternion(1, -sign * (0.4 + 0.3 * swing))
        stands = np.cos(phase + offset) < -0.2
        contacts[:, 0 if side == "left" else 2] = stands & (swing > -0.6)
        contacts[:, 1 if side == "left" else 3] = stands
    rotations[:, 0] = axis_quaternion(1, 0.1 * np.sin(phase) + 0.2 * time)
    rotations[:, INDEX["spine2"]] = axis_quaternion(1, -0.15 * np.sin(phase))
    rotations[:, INDEX["head"]] = axis_quaternion(0, 0.1 * np.sin(phase))
    root = np.stack([0 * time, 0.94 + 0.02 * np.cos(2 * phase), 0.9 * time], axis=-1)
    return make_result(root, rotations, contacts, fps)


def random_motion(num_frames: int = 12, seed: int = 0) -> JobResult:
    """Any rotations at all, changing smoothly."""
    generator = np.random.default_rng(seed)
    waves = generator.normal(size=(22, 3, 3))
    time = np.linspace(0, 1, num_frames)
    angles = 0.5 * np.sin(3 * time[:, None, None] + waves[:, 0]) * waves[:, 1]
    rotations = multiply(
        multiply(axis_quaternion(0, angles[..., 0]), axis_quaternion(1, angles[..., 1])),
        axis_quaternion(2, angles[..., 2]),
    )
    root = generator.normal(size=3) * time[:, None] + (0, 0.9, 0)
    return make_result(root, rotations, np.zeros((num_frames, 4)))


def joint_positions(result: JobResult) -> dict[str, FloatArray]:
    """Forward kinematics of a motion by quaternions, (T, 3) per joint."""
    turned: list[FloatArray] = []
    places: list[FloatArray] = []
    for joint, parent in enumerate(PARENTS):
        local = result.local_rotations[:, joint].astype(np.float64)
        if parent < 0:
            turned.append(local)
            places.append(result.root_translation.astype(np.float64))
            continue
        offset = np.concatenate([np.zeros(1), REST_OFFSETS[joint]])
        rotated = multiply(
            multiply(turned[parent], np.broadcast_to(offset, turned[parent].shape)),
            turned[parent] * (1, -1, -1, -1),
        )
        places.append(places[parent] + rotated[:, 1:])
        turned.append(multiply(turned[parent], local))
    return dict(zip(JOINT_NAMES, places, strict=True))


# --- rigs --------------------------------------------------------------------------------

_MIXAMO_PARENTS = {
    "Hips": "",
    "Spine": "Hips",
    "Spine1": "Spine",
    "Spine2": "Spine1",
    "Neck": "Spine2",
    "Head": "Neck",
    "Shoulder": "Spine2",
    "Arm": "Shoulder",
    "ForeArm": "Arm",
    "Hand": "ForeArm",
    "UpLeg": "Hips",
    "Leg": "UpLeg",
    "Foot": "Leg",
    "ToeBase": "Foot",
}


@dataclass(frozen=True, kw_only=True)
class RigShape:
    """How a rig with Mixamo's names is built."""

    arms_down: float = 0.0  # radians from the T-pose
    elbow_bend: float = 0.0  # radians, forward, at rest
    roll_seed: int | None = None  # None: rolls as Blender makes them
    scale: float = 1.0  # of the figure, in metres
    prefix: str = "mixamorig:"
    leave_out: tuple[str, ...] = ()
    rotation_mode: str = "QUATERNION"


def rest_points(shape: RigShape) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Head and tail of each bone in figure space: y up, facing +z. Longer legs than the motion."""
    points: dict[str, tuple[FloatArray, FloatArray]] = {}

    def add(name: str, head: tuple[float, ...], tail: tuple[float, ...]) -> None:
        points[name] = (np.array(head) * shape.scale, np.array(tail) * shape.scale)

    add("Hips", (0, 1.05, 0), (0, 1.15, 0))
    add("Spine", (0, 1.15, -0.01), (0, 1.26, -0.01))
    add("Spine1", (0, 1.26, -0.01), (0, 1.38, 0))
    add("Spine2", (0, 1.38, 0), (0, 1.53, 0))
    add("Neck", (0, 1.53, 0), (0, 1.63, 0.02))
    add("Head", (0, 1.63, 0.02), (0, 1.84, 0.02))
    for side, sign in (("Left", 1.0), ("Right", -1.0)):
        cosine, sine = np.cos(shape.arms_down), np.sin(shape.arms_down)
        upper = np.array([sign * cosine, -sine, 0.0])
        lower = upper * np.cos(shape.elbow_bend) + np.array([0, 0, np.sin(shape.elbow_bend)])
        shoulder = np.array([sign * 0.19, 1.47, 0.0])
        elbow = shoulder + 0.27 * upper
        wrist = elbow + 0.26 * lower
        add(f"{side}Shoulder", (sign * 0.05, 1.46, 0.01), tuple(shoulder))
        add(f"{side}Arm", tuple(shoulder), tuple(elbow))
        add(f"{side}ForeArm", tuple(elbow), tuple(wrist))
        add(f"{side}Hand", tuple(wrist), tuple(wrist + 0.1 * lower))
        add(f"{side}UpLeg", (sign * 0.1, 0.98, 0), (sign * 0.11, 0.54, 0.01))
        add(f"{side}Leg", (sign * 0.11, 0.54, 0.01), (sign * 0.12, 0.1, -0.01))
        add(f"{side}Foot", (sign * 0.12, 0.1, -0.01), (sign * 0.14, 0.02, 0.13))
        add(f"{side}ToeBase", (sign * 0.14, 0.02, 0.13), (sign * 0.15, 0.02, 0.2))
    return points


def bone_parent(name: str, present: tuple[str, ...]) -> str:
    """The parent's name; a bone that was left out is skipped."""
    side = next((s for s in ("Left", "Right") if name.startswith(s)), "")
    parent = _MIXAMO_PARENTS[name.removeprefix(side)]
    if parent and f"{side}{parent}" in rest_points(RigShape()):
        parent = f"{side}{parent}"
    return parent if not parent or parent in present else bone_parent(parent, present)


def make_rig(shape: RigShape, object_matrix: FloatArray | None = None) -> TargetRig:
    """A rig with Mixamo's names, facing -y in armature space, as Blender would hold it."""
    generator = np.random.default_rng(shape.roll_seed)
    points = {n: p for n, p in rest_points(shape).items() if n not in shape.leave_out}
    names = tuple(points)
    matrices, tails, parents = [], [], []
    to_blender = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    for name, (head, tail) in points.items():
        head, tail = to_blender @ head, to_blender @ tail
        along = (tail - head) / np.linalg.norm(tail - head)
        helper = np.array([0, -1.0, 0]) if abs(along[1]) < 0.9 else np.array([0, 0, 1.0])
        if shape.roll_seed is not None:
            helper = generator.normal(size=3)
        side = np.cross(along, helper)
        side /= np.linalg.norm(side)
        matrix = np.eye(4)
        matrix[:3, :3] = np.stack([side, along, np.cross(side, along)], axis=-1)
        matrix[:3, 3] = head
        matrices.append(matrix)
        tails.append(tail)
        parent = bone_parent(name, names)
        parents.append(names.index(parent) if parent else -1)
    count = len(names)
    return TargetRig(
        bone_names=tuple(shape.prefix + name for name in names),
        parents=np.array(parents, dtype=np.int32),
        rest_matrices=np.array(matrices),
        tails=np.array(tails),
        inherits_rotation=np.ones(count, dtype=bool),
        has_local_location=np.ones(count, dtype=bool),
        rotation_modes=(shape.rotation_mode,) * count,
        object_matrix=np.eye(4) if object_matrix is None else object_matrix,
    )


@cache
def match_of(rig: TargetRig) -> BoneMatch:
    return recognise(rig)


def bone_of(rig: TargetRig, joint: str) -> int:
    return rig.index[match_of(rig).bones[joint]]


# --- what Blender does with keys -----------------------------------------------------------


def channel_matrix(keys: BoneKeys) -> FloatArray:
    """Rotation matrices (T, 3, 3) of keys, by the definitions in Blender's manual."""
    if keys.data_path == "rotation_quaternion":
        quaternion = keys.rotation
    elif keys.data_path == "rotation_axis_angle":
        half = keys.rotation[:, :1] / 2
        quaternion = np.concatenate([np.cos(half), np.sin(half) * keys.rotation[:, 1:]], axis=-1)
    else:
        raise ValueError(keys.data_path)
    columns = [np.array([0.0, *axis]) for axis in np.eye(3)]
    conjugate = quaternion * (1, -1, -1, -1)
    turned = [
        multiply(multiply(quaternion, np.broadcast_to(c, quaternion.shape)), conjugate)[:, 1:]
        for c in columns
    ]
    return np.stack(turned, axis=-1)


def euler_matrix(angles: FloatArray, order: str) -> FloatArray:
    """Rotation matrices (T, 3, 3): the axis named first turns first."""
    quaternion = axis_quaternion(0, np.zeros(len(angles)))
    for letter in order:
        axis = "XYZ".index(letter)
        quaternion = multiply(axis_quaternion(axis, angles[:, axis]), quaternion)
    keys = BoneKeys(bone="", data_path="rotation_quaternion", rotation=quaternion)
    return channel_matrix(keys)


def pose(rig: TargetRig, motion: RigMotion) -> FloatArray:
    """World matrices (T, N, 4, 4) of all pose bones, as Blender evaluates the keys."""
    keys = {k.bone: k for k in motion.bone_keys}
    frames = len(motion.bone_keys[0].rotation)
    posed = np.empty((frames, len(rig.bone_names), 4, 4))
    for bone, name in enumerate(rig.bone_names):
        channel = np.tile(np.eye(4), (frames, 1, 1))
        if name in keys:
            mode = rig.rotation_modes[bone]
            is_euler = keys[name].data_path == "rotation_euler"
            turned = euler_matrix(keys[name].rotation, mode) if is_euler else None
            channel[:, :3, :3] = channel_matrix(keys[name]) if turned is None else turned
            if keys[name].location is not None:
                channel[:, :3, 3] = keys[name].location
        rest, parent = rig.rest_matrices[bone], int(rig.parents[bone])
        if parent < 0:
            posed[:, bone] = rest @ channel
            continue
        local = np.linalg.inv(rig.rest_matrices[parent]) @ rest
        posed[:, bone] = posed[:, parent] @ local @ channel
    return rig.object_matrix @ posed


def with_modes(rig: TargetRig, mode: str) -> TargetRig:
    return replace(rig, rotation_modes=(mode,) * len(rig.bone_names))
