"""BVH files as animated rigs, without Blender's importer, which 5.0 ships switched off.

A BVH has neither unit nor up axis: the rig stands as the file has it, with y taken for up; how
tall it is and where its floor is, armature_motion finds out. Channels stand in the order in
which their turns multiply: "Zrotation Xrotation Yrotation" is Z @ X @ Y on column vectors.

Shape letters: T frames, N joints of the file.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .armature_motion import AnimatedRig, SourceError
from .rotations import FloatArray
from .target_rig import TargetRig

MAX_FILE_BYTES = 512 * 2**20
MAX_JOINTS = 4096

_AXES = {"X": 0, "Y": 1, "Z": 2}
_CHANNELS = {f"{axis}{kind}" for axis in "XYZ" for kind in ("position", "rotation")}
# The file's y is Blender's z, and what faces +z in the file faces -y there.
_TO_BLENDER = np.array([[1.0, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
_STUB = 0.1  # length of a bone without children, in parts of its parent's


@dataclass
class _Joint:
    """One joint while its block is read."""

    name: str
    parent: int
    offset: FloatArray
    channels: list[str] = field(default_factory=list[str])
    end_site: FloatArray | None = None


def read_bvh(path: Path) -> AnimatedRig:
    """Read a BVH file.

    Raises:
        SourceError: it can't be read, or it is no whole BVH; says why in one line.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise SourceError(f"{path.name} is larger than {MAX_FILE_BYTES // 2**20} MB")
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        raise SourceError(f"{path.name} can't be read: {error.strerror}") from error
    try:
        return parse_bvh(text)
    except SourceError as error:
        raise SourceError(f"{path.name}: {error}") from None


def parse_bvh(text: str) -> AnimatedRig:
    """The animated rig of a BVH file's text.

    Raises:
        SourceError: it is no whole BVH.
    """
    head, found, tail = text.partition("MOTION")
    if not found or not head.lstrip().upper().startswith("HIERARCHY"):
        raise SourceError("this is no BVH file: it needs HIERARCHY and MOTION")
    joints = _read_joints(head.split()[1:])
    fps, values = _read_frames(tail, sum(len(joint.channels) for joint in joints))
    return _animated(joints, fps, values)


def _read_joints(words: list[str]) -> list[_Joint]:
    """The joints of the HIERARCHY block, parents first."""
    joints: list[_Joint] = []
    open_joints: list[int] = []  # -1 for an end site
    place = 0
    while place < len(words):
        word = words[place].upper()
        if word in ("ROOT", "JOINT"):
            name, place = _name_at(words, place + 1)
            parent = open_joints[-1] if open_joints else -1
            joints.append(_Joint(name, parent, np.zeros(3)))
            open_joints.append(len(joints) - 1)
        elif word == "END":
            _, place = _name_at(words, place + 1)
            open_joints.append(-1)
        elif word == "OFFSET":
            _set_offset(joints, open_joints, _numbers(words[place + 1 : place + 4], "OFFSET"))
            place += 4
        elif word == "CHANNELS":
            place = _set_channels(joints, open_joints, words, place + 1)
        elif word == "}":
            if not open_joints:
                raise SourceError("the HIERARCHY has a } too many")
            open_joints.pop()
            place += 1
        else:
            raise SourceError(f"the HIERARCHY has {words[place]!r} where a joint was expected")
        if len(joints) > MAX_JOINTS:
            raise SourceError(f"the HIERARCHY has more than {MAX_JOINTS} joints")
    if open_joints or not joints:
        raise SourceError("the HIERARCHY is not whole")
    return joints


def _name_at(words: list[str], place: int) -> tuple[str, int]:
    """A name of one or more words up to its {, and where the block goes on."""
    try:
        brace = words.index("{", place)
    except ValueError:
        raise SourceError("the HIERARCHY is not whole") from None
    return " ".join(words[place:brace]) or "joint", brace + 1


def _set_offset(joints: list[_Joint], open_joints: list[int], offset: FloatArray) -> None:
    if not open_joints:
        raise SourceError("the HIERARCHY has an OFFSET outside of a joint")
    if open_joints[-1] >= 0:
        joints[open_joints[-1]].offset = offset
    elif len(open_joints) > 1 and open_joints[-2] >= 0:
        joints[open_joints[-2]].end_site = offset


def _set_channels(
    joints: list[_Joint], open_joints: list[int], words: list[str], place: int
) -> int:
    count = int(_numbers(words[place : place + 1], "CHANNELS")[0])
    channels = words[place + 1 : place + 1 + count]
    if not open_joints or open_joints[-1] < 0 or not set(channels) <= _CHANNELS:
        raise SourceError(f"the HIERARCHY has channels that no BVH has: {' '.join(channels)}")
    if len(channels) != count:
        raise SourceError("the HIERARCHY is not whole")
    joints[open_joints[-1]].channels = channels
    return place + 1 + count


def _numbers(words: list[str], what: str) -> FloatArray:
    try:
        numbers = np.array(words, dtype=np.float64)
    except ValueError:
        raise SourceError(f"{what} is {' '.join(words)!r}, needs numbers") from None
    if not np.all(np.isfinite(numbers)) or (what == "OFFSET" and len(numbers) != 3):
        raise SourceError(f"{what} is {' '.join(words)!r}, needs numbers")
    return numbers


def _read_frames(text: str, num_channels: int) -> tuple[float, FloatArray]:
    """Frames per second, and the values (T, channels) of the MOTION block."""
    found = re.match(r"\s*Frames:\s*(\d+)\s+Frame\s+Time:\s*(\S+)", text, re.IGNORECASE)
    if found is None:
        raise SourceError("the MOTION block needs Frames: and Frame Time:")
    frame_time = float(_numbers([found[2]], "Frame Time")[0])
    if not 1e-4 <= frame_time <= 10:
        raise SourceError(f"Frame Time is {found[2]}, needs seconds")
    words = text[found.end() :].split()
    told, num_frames = int(found[1]), len(words) // max(num_channels, 1)
    # Files that end early are common; whole frames are used, what is left over is dropped.
    num_frames = min(told, num_frames)
    if num_channels < 1 or num_frames < 1:
        raise SourceError("the MOTION block has no whole frame")
    values = _numbers(words[: num_frames * num_channels], "The MOTION block")
    return _whole_rate(1 / frame_time), values.reshape(num_frames, num_channels)


def _whole_rate(fps: float) -> float:
    """30.00003 is 30: frame times are written with few digits."""
    return float(round(fps)) if math.isclose(fps, round(fps), rel_tol=2e-3) else fps


def _animated(joints: list[_Joint], fps: float, values: FloatArray) -> AnimatedRig:
    """Forward kinematics of all frames at once."""
    num_frames, count = len(values), len(joints)
    rest = np.tile(np.eye(4), (count, 1, 1))
    posed = np.tile(np.eye(4), (num_frames, count, 1, 1))
    column = 0
    for index, joint in enumerate(joints):
        channels = values[:, column : column + len(joint.channels)]
        column += len(joint.channels)
        local = np.tile(np.eye(4), (num_frames, 1, 1))
        local[:, :3, :3] = _rotation(joint, channels)
        local[:, :3, 3] = translation = _translation(joint, channels)
        if joint.parent < 0:
            rest[index, :3, 3], posed[:, index] = joint.offset, local
            continue
        # An offset of nothing with position channels: where the joint is at first counts.
        step = joint.offset if np.any(joint.offset) else translation[0]
        rest[index, :3, 3] = rest[joint.parent, :3, 3] + step
        posed[:, index] = posed[:, joint.parent] @ local
    return AnimatedRig(rig=_rest_rig(joints, rest), poses=posed, fps=fps, has_unit=False)


def _rotation(joint: _Joint, values: FloatArray) -> FloatArray:
    """Rotations (T, 3, 3) out of a joint's channels (T, C) in degrees."""
    turned = np.tile(np.eye(3), (len(values), 1, 1))
    for place, channel in enumerate(joint.channels):
        if channel.endswith("rotation"):
            turned = turned @ _turn(_AXES[channel[0]], np.radians(values[:, place]))
    return turned


def _turn(axis: int, angle: FloatArray) -> FloatArray:
    matrix = np.tile(np.eye(3), (len(angle), 1, 1))
    a, b = (axis + 1) % 3, (axis + 2) % 3
    matrix[:, a, a] = matrix[:, b, b] = np.cos(angle)
    matrix[:, b, a] = np.sin(angle)
    matrix[:, a, b] = -matrix[:, b, a]
    return matrix


def _translation(joint: _Joint, values: FloatArray) -> FloatArray:
    """Translations (T, 3) from the parent: position channels count instead of the offset.

    Some programs write the difference to the offset instead, in joints below the root: told by
    which of both the values are nearer to.
    """
    moved = np.tile(joint.offset, (len(values), 1))
    for place, channel in enumerate(joint.channels):
        if channel.endswith("position"):
            moved[:, _AXES[channel[0]]] = values[:, place]
    middle = np.median(moved, axis=0)
    nearer_to_nothing = np.linalg.norm(middle) < np.linalg.norm(middle - joint.offset)
    return moved + joint.offset if joint.parent >= 0 and nearer_to_nothing else moved


def _rest_rig(joints: list[_Joint], rest: FloatArray) -> TargetRig:
    count = len(joints)
    return TargetRig(
        bone_names=_unique([joint.name for joint in joints]),
        parents=np.array([joint.parent for joint in joints], dtype=np.int32),
        rest_matrices=rest,
        tails=np.array([_tail(joints, rest, index) for index in range(count)]),
        inherits_rotation=np.ones(count, dtype=bool),
        has_local_location=np.ones(count, dtype=bool),
        rotation_modes=("QUATERNION",) * count,
        object_matrix=_TO_BLENDER,
    )


def _tail(joints: list[_Joint], rest: FloatArray, index: int) -> FloatArray:
    """Where a joint's bone ends: at its child, in the middle of several, or at its end site."""
    children = [rest[child, :3, 3] for child, one in enumerate(joints) if one.parent == index]
    head, end_site = rest[index, :3, 3], joints[index].end_site
    if children:
        return np.mean(children, axis=0)
    if end_site is not None and np.any(end_site):
        return head + end_site
    parent = joints[index].parent
    step = head - rest[parent, :3, 3] if parent >= 0 else np.zeros(3)
    return head + (_STUB * step if np.any(step) else np.array([0.0, 1.0, 0.0]))


def _unique(names: list[str]) -> tuple[str, ...]:
    """Names as Blender would have them: the second "Tail" is "Tail.001"."""
    taken: dict[str, None] = {}
    for name in names:
        number, unique = 0, name
        while unique in taken:
            number += 1
            unique = f"{name}.{number:03d}"
        taken[unique] = None
    return tuple(taken)
