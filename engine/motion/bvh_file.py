"""BVH files, ours and anybody's.

A BVH has no unit. Most tools take it for centimetres, so lengths are written times 100 and read
times 0.01; give another `scale` for files in other units (0.0254 inches, 1.0 metres). Every
joint may have position channels; they count instead of its offset, frame by frame.

Channels stand in the order in which their turns multiply: "Zrotation Xrotation Yrotation" is
Z @ X @ Y on column vectors. We write Zrotation Yrotation Xrotation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.motion import rotations as rot
from engine.motion.contacts import detect_contacts
from engine.motion.file_output import MotionFileError, write_atomically
from engine.motion.kinematics import joints_of_global, local_to_global
from engine.motion.motion import Motion
from engine.motion.skeleton import SMPL_22, Skeleton

CENTIMETRES = 0.01  # metres
_AXES = {"X": (1.0, 0.0, 0.0), "Y": (0.0, 1.0, 0.0), "Z": (0.0, 0.0, 1.0)}
_CHANNELS = {f"{axis}{kind}" for axis in "XYZ" for kind in ("position", "rotation")}
_END_SITE_METRES = 0.05  # length of our end sites, which nothing reads


@dataclass(frozen=True, kw_only=True)
class BvhClip:
    """What a BVH file holds. Joints are its own, of any number; lengths are metres."""

    skeleton: Skeleton
    fps: float
    local_translations: Tensor  # (T, J, 3) from the parent: position channels, else the offset
    local_rotations: Tensor  # (T, J, 4) wxyz

    def joints(self) -> Tensor:
        """Joint positions (T, J, 3)."""
        turned = local_to_global(self.local_rotations, self.skeleton)
        places = [self.local_translations[:, 0]]
        for joint, parent in enumerate(self.skeleton.parents[1:], start=1):
            step = rot.rotate(turned[:, parent], self.local_translations[:, joint])
            places.append(places[parent] + step)
        return torch.stack(places, dim=1)

    @property
    def has_moving_offsets(self) -> bool:
        """Whether position channels of joints other than the root change the bones."""
        rest = self.skeleton.offsets_like(self.local_translations)
        return bool(((self.local_translations - rest)[:, 1:].abs() > 1e-5).any())


@dataclass
class _Joint:
    """One joint while its block is read."""

    name: str
    parent: int
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    channels: list[str] = field(default_factory=list[str])


def write_bvh(
    motion: Motion, path: Path, *, overwrite: bool = False, scale: float = CENTIMETRES
) -> None:
    """Write the motion. The root's offset is zero; its translation is in its channels.

    Raises:
        MotionFileError: the file exists and overwrite is False, or it can't be written.
    """
    lines = ["HIERARCHY", *_joint_lines(motion.skeleton, 0, 0, scale), "MOTION"]
    lines += [f"Frames: {motion.num_frames}", f"Frame Time: {1 / motion.fps:.8f}"]
    angles = _euler_zyx(motion.local_rotations)  # (T, J, 3) degrees
    order = _file_order(motion.skeleton, 0)
    rows = np.concatenate(
        [
            motion.root_translation.detach().cpu().double().numpy() / scale,
            angles[:, order].reshape(motion.num_frames, -1),
        ],
        axis=1,
    )
    lines += [" ".join(f"{value:.6f}" for value in row) for row in rows]
    text = "\n".join(lines) + "\n"

    def write(stream: BinaryIO) -> None:
        stream.write(text.encode())

    write_atomically(path, write, overwrite=overwrite)


def _file_order(skeleton: Skeleton, joint: int) -> list[int]:
    """Joints in the order of their blocks: a joint, then each child's whole branch."""
    branches = [_file_order(skeleton, child) for child in skeleton.children(joint)]
    return [joint, *(index for branch in branches for index in branch)]


def _joint_lines(skeleton: Skeleton, joint: int, depth: int, scale: float) -> list[str]:
    indent, inner = "\t" * depth, "\t" * (depth + 1)
    rotations = "Zrotation Yrotation Xrotation"
    offset = skeleton.rest_offsets[joint] if depth else (0.0, 0.0, 0.0)
    channels = rotations if depth else f"Xposition Yposition Zposition {rotations}"
    lines = [
        f"{indent}{'JOINT' if depth else 'ROOT'} {skeleton.joint_names[joint]}",
        f"{indent}{{",
        f"{inner}OFFSET {_vector(offset, scale)}",
        f"{inner}CHANNELS {len(channels.split())} {channels}",
    ]
    children = skeleton.children(joint)
    for child in children:
        lines += _joint_lines(skeleton, child, depth + 1, scale)
    if not children:
        end = _vector(_end_site(skeleton, joint), scale)
        lines += [f"{inner}End Site", f"{inner}{{", f"{inner}\tOFFSET {end}", f"{inner}}}"]
    return [*lines, f"{indent}}}"]


def _vector(values: tuple[float, float, float], scale: float) -> str:
    return " ".join(f"{value / scale:.6f}" for value in values)


def _end_site(skeleton: Skeleton, joint: int) -> tuple[float, float, float]:
    """A little further the way the bone comes, so that tools draw something."""
    x, y, z = skeleton.rest_offsets[joint]
    length = max((x * x + y * y + z * z) ** 0.5, 1e-6)
    factor = _END_SITE_METRES / length
    return (x * factor, y * factor, z * factor)


def _euler_zyx(quaternions: Tensor) -> NDArray[np.float64]:
    """Angles in degrees (..., 3) for Z @ Y @ X, without steps of 360 along the frames."""
    # Unit length in double: near the lock below, the digits of float32 would be turns.
    unit = rot.normalise(quaternions.detach().cpu().double())
    matrices = rot.quaternion_to_matrix(unit).numpy()
    across = np.hypot(matrices[..., 0, 0], matrices[..., 1, 0])
    pitch = np.arctan2(-matrices[..., 2, 0], across)
    is_locked = across < 1e-9
    yaw = np.arctan2(matrices[..., 1, 0], matrices[..., 0, 0])
    roll = np.arctan2(matrices[..., 2, 1], matrices[..., 2, 2])
    # With x turned straight along z only the sum of both turns is known: all of it to z.
    locked_yaw = np.arctan2(-matrices[..., 0, 1], matrices[..., 1, 1])
    yaw, roll = np.where(is_locked, locked_yaw, yaw), np.where(is_locked, 0.0, roll)
    return np.degrees(np.unwrap(np.stack((yaw, pitch, roll), axis=-1), axis=0))


def read_bvh(path: Path, *, scale: float = CENTIMETRES) -> BvhClip:
    """Read any BVH file; lengths are multiplied by `scale` to be metres.

    Raises:
        MotionFileError: the file is not there or is not BVH; says line, what was found and what
            was needed.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise MotionFileError(f"{path} can't be read ({reason})") from error
    reader = _Reader(path, text)
    joints = _read_hierarchy(reader)
    fps, values = _read_frames(reader, sum(len(joint.channels) for joint in joints))
    return _to_clip(path, joints, fps, values, scale)


def clip_to_motion(clip: BvhClip) -> Motion:
    """A clip with fixed bones as a Motion of its own skeleton, contacts only on the built-in tree.

    Raises:
        MotionFileError: bones change length from frame to frame; use `clip.joints()` then.
    """
    if clip.has_moving_offsets:
        raise MotionFileError(
            f"{clip.skeleton.name} moves joints against their parents, needs fixed bones"
        )
    root = clip.local_translations[:, 0]
    contacts = root.new_zeros(len(root), 4)
    if clip.skeleton.parents == SMPL_22.parents:
        turned = local_to_global(clip.local_rotations, clip.skeleton)
        joints = joints_of_global(turned, root, clip.skeleton)
        contacts = detect_contacts(joints, clip.fps, clip.skeleton)
    return Motion(
        fps=clip.fps,
        skeleton=clip.skeleton,
        root_translation=root,
        local_rotations=clip.local_rotations,
        contacts=contacts,
    )


class _Reader:
    """Words of a file with the line they stand in."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.lines = text.splitlines()
        self._words = [
            (number, word)
            for number, line in enumerate(self.lines, start=1)
            for word in line.split()
        ]
        self._next = 0

    @property
    def line(self) -> int:
        place = min(self._next, len(self._words) - 1)
        return self._words[place][0] if self._words else 1

    def peek(self) -> str:
        return self._words[self._next][1] if self._next < len(self._words) else ""

    def take(self, *wanted: str) -> str:
        """The next word; one of `wanted` (in any case of letters) if there are some."""
        word = self.peek()
        if not word or (wanted and word.upper() not in wanted):
            raise self.error(f"'{word}'" if word else "the end", " or ".join(wanted) or "a word")
        self._next += 1
        return word

    def number(self) -> float:
        word = self.take()
        try:
            value = float(word)
        except ValueError:
            value = float("nan")
        if not np.isfinite(value):
            self._next -= 1
            raise self.error(f"'{word}'", "a number")
        return value

    def count(self) -> int:
        value = self.number()
        if value != int(value) or value < 0:
            self._next -= 1
            raise self.error(f"'{value:g}'", "a whole number, 0 or more")
        return int(value)

    def rest_of_line(self) -> str:
        """The words left in the line of the last word: joint names may have blanks."""
        line = self._words[self._next - 1][0]
        words: list[str] = []
        while self._next < len(self._words) and self._words[self._next][0] == line:
            words.append(self._words[self._next][1])
            self._next += 1
        return " ".join(words)

    def remaining(self) -> list[tuple[int, str]]:
        return self._words[self._next :]

    def error(self, found: str, needed: str) -> MotionFileError:
        return MotionFileError(f"{self.path}, line {self.line}: found {found}, needs {needed}")


def _read_hierarchy(reader: _Reader) -> list[_Joint]:
    """Joints in the order of the file, which is also that of their channels."""
    reader.take("HIERARCHY")
    joints: list[_Joint] = []
    reader.take("ROOT")
    open_joints: list[int] = [_open_joint(reader, joints, -1)]
    while open_joints:
        word = reader.take("OFFSET", "CHANNELS", "JOINT", "END", "}").upper()
        joint = joints[open_joints[-1]]
        if word == "OFFSET":
            joint.offset = (reader.number(), reader.number(), reader.number())
        elif word == "CHANNELS":
            joint.channels = _read_channels(reader)
        elif word == "JOINT":
            open_joints.append(_open_joint(reader, joints, open_joints[-1]))
        elif word == "END":
            _skip_end_site(reader)
        else:
            open_joints.pop()
    return joints


def _open_joint(reader: _Reader, joints: list[_Joint], parent: int) -> int:
    name = reader.rest_of_line()
    if name.endswith("{"):
        name = name[:-1].strip()
    else:
        reader.take("{")
    if not name:
        raise reader.error("no name", "a joint's name")
    joints.append(_Joint(name=name, parent=parent))
    return len(joints) - 1


def _read_channels(reader: _Reader) -> list[str]:
    count = reader.count()
    known = {channel.upper(): channel for channel in _CHANNELS}
    return [known[reader.take(*sorted(known)).upper()] for _ in range(count)]


def _skip_end_site(reader: _Reader) -> None:
    reader.take("SITE")
    reader.take("{")
    reader.take("OFFSET")
    for _ in range(3):
        reader.number()
    reader.take("}")


def _read_frames(reader: _Reader, num_channels: int) -> tuple[float, NDArray[np.float64]]:
    if reader.peek().upper() == "ROOT":
        raise reader.error("a second ROOT", "one character per file")
    reader.take("MOTION")
    reader.take("FRAMES:")
    num_frames = reader.count()
    reader.take("FRAME")
    reader.take("TIME:")
    frame_time = reader.number()
    if num_frames < 1 or frame_time <= 0:
        raise reader.error(f"{num_frames} frames of {frame_time:g} s", "1 or more of more than 0 s")
    words = reader.remaining()
    if len(words) != num_frames * num_channels:
        raise reader.error(
            f"{len(words)} numbers after the frame time",
            f"{num_frames} frames x {num_channels} channels = {num_frames * num_channels}",
        )
    return _whole_rate(1.0 / frame_time), _to_numbers(reader, words).reshape(
        num_frames, num_channels
    )


def _whole_rate(fps: float) -> float:
    """Frame times are rounded, often to 0.0333 or 0.008333: the whole rate, if it is that near."""
    whole = float(round(fps))
    return whole if abs(fps - whole) < 2e-4 * fps else fps


def _to_numbers(reader: _Reader, words: list[tuple[int, str]]) -> NDArray[np.float64]:
    try:
        values = np.array([word for _, word in words], dtype=np.float64)
    except ValueError:
        values = np.full(len(words), np.nan)
    if not np.isfinite(values).all():
        line, word = next((n, w) for n, w in words if not _is_number(w))
        raise MotionFileError(f"{reader.path}, line {line}: found '{word}', needs a number")
    return values


def _is_number(word: str) -> bool:
    try:
        return bool(np.isfinite(float(word)))
    except ValueError:
        return False


def _to_clip(
    path: Path, joints: list[_Joint], fps: float, values: NDArray[np.float64], scale: float
) -> BvhClip:
    translations: list[Tensor] = []
    rotations: list[Tensor] = []
    column = 0
    for joint in joints:
        columns = torch.from_numpy(values[:, column : column + len(joint.channels)])
        column += len(joint.channels)
        translations.append(_translation(joint, columns) * scale)
        rotations.append(_rotation(joint, columns))
    skeleton = Skeleton(
        name=path.stem,
        joint_names=tuple(joint.name for joint in joints),
        parents=tuple(joint.parent for joint in joints),
        rest_offsets=tuple(
            (joint.offset[0] * scale, joint.offset[1] * scale, joint.offset[2] * scale)
            for joint in joints
        ),
    )
    return BvhClip(
        skeleton=skeleton,
        fps=fps,
        local_translations=torch.stack(translations, dim=1).float(),
        local_rotations=rot.make_continuous(torch.stack(rotations, dim=1).float()),
    )


def _translation(joint: _Joint, columns: Tensor) -> Tensor:
    """(T, 3): each axis from its channel, or from the offset where it has none."""
    offset = columns.new_tensor(joint.offset).expand(len(columns), 3)
    axes = list(offset.unbind(-1))
    for index, channel in enumerate(joint.channels):
        if channel.endswith("position"):
            axes["XYZ".index(channel[0])] = columns[:, index]
    return torch.stack(axes, dim=-1)


def _rotation(joint: _Joint, columns: Tensor) -> Tensor:
    """(T, 4): the turns of the channels, multiplied in their order."""
    turned = rot.identity_quaternions(len(columns), like=columns)
    for index, channel in enumerate(joint.channels):
        if channel.endswith("rotation"):
            axis = columns.new_tensor(_AXES[channel[0]])
            angle = torch.deg2rad(columns[:, index : index + 1])
            turned = rot.multiply(turned, rot.axis_angle_to_quaternion(angle * axis))
    return rot.normalise(turned)
