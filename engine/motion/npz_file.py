"""Motions in .npz files: joints, local_rotations, root_translation, contacts, fps, joint_names,
parents, rest_offsets and provenance (a JSON string, keys sorted).

The same motion gives the same bytes: numpy's own writer would put the time of day into the
archive.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray

from engine.motion.file_output import MotionFileError, write_atomically
from engine.motion.motion import Motion
from engine.motion.skeleton import Skeleton

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date a zip can hold
_KEYS = (
    "local_rotations",
    "root_translation",
    "contacts",
    "fps",
    "joint_names",
    "parents",
    "rest_offsets",
)


def write_npz(
    motion: Motion,
    path: Path,
    *,
    overwrite: bool = False,
    extra: Mapping[str, NDArray[np.generic]] | None = None,
) -> None:
    """Write the motion with its joint positions, and `extra` arrays (a capture's camera).

    Raises:
        MotionFileError: the file exists and overwrite is False, or it can't be written.
    """
    arrays = {**motion_arrays(motion), **(extra or {})}

    def write(stream: BinaryIO) -> None:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, array in arrays.items():
                member = zipfile.ZipInfo(f"{name}.npy", date_time=_EPOCH)
                member.compress_type = zipfile.ZIP_DEFLATED
                member.create_system = 3  # else it names the operating system
                member.external_attr = 0o600 << 16
                content = io.BytesIO()
                np.lib.format.write_array(content, np.asarray(array), allow_pickle=False)
                archive.writestr(member, content.getvalue())

    write_atomically(path, write, overwrite=overwrite)


def motion_arrays(motion: Motion) -> dict[str, NDArray[np.generic]]:
    """The arrays of an .npz, by name."""
    skeleton = motion.skeleton
    return {
        "joints": motion.joints().detach().cpu().numpy().astype(np.float32),
        "local_rotations": motion.local_rotations.detach().cpu().numpy().astype(np.float32),
        "root_translation": motion.root_translation.detach().cpu().numpy().astype(np.float32),
        "contacts": motion.contacts.detach().cpu().numpy().astype(np.float32),
        "fps": np.array(motion.fps, dtype=np.float64),
        "joint_names": np.array(skeleton.joint_names),
        "parents": np.array(skeleton.parents, dtype=np.int32),
        "rest_offsets": np.array(skeleton.rest_offsets, dtype=np.float32),
        "provenance": np.array(json.dumps(dict(motion.provenance), sort_keys=True)),
    }


def read_npz(path: Path) -> Motion:
    """The motion in a file of write_npz.

    Raises:
        MotionFileError: there is no such file, it is no .npz, or its contents don't fit.
    """
    arrays = _read_arrays(path)
    missing = [name for name in _KEYS if name not in arrays]
    if missing:
        raise MotionFileError(f"{path} has no {', '.join(missing)}: it is not a motion of ours")
    try:
        return _to_motion(arrays)
    except (ValueError, TypeError, IndexError) as error:
        raise MotionFileError(f"{path} does not hold a motion: {error}") from error


def _read_arrays(path: Path) -> dict[str, NDArray[np.generic]]:
    if not path.is_file():
        raise MotionFileError(f"{path} is not there, needs a motion file")
    try:
        # numpy leaves a file open that it can't read, hence a stream of our own
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise MotionFileError(f"{path} is not a readable .npz file ({reason})") from error


def _to_motion(arrays: Mapping[str, NDArray[np.generic]]) -> Motion:
    offsets = [(float(x), float(y), float(z)) for x, y, z in arrays["rest_offsets"].tolist()]
    skeleton = Skeleton(
        name="from_file",
        joint_names=tuple(str(name) for name in arrays["joint_names"].tolist()),
        parents=tuple(int(parent) for parent in arrays["parents"].tolist()),
        rest_offsets=tuple(offsets),
    )
    tensors = {
        name: torch.from_numpy(np.array(arrays[name], dtype=np.float32))
        for name in ("root_translation", "local_rotations", "contacts")
    }
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{name} has numbers that are not finite")
    provenance = json.loads(str(arrays.get("provenance", np.array("{}"))))
    if not isinstance(provenance, dict):
        raise TypeError(f"provenance is {type(provenance).__name__}, needs a JSON object")
    return Motion(
        fps=float(arrays["fps"].item()),
        skeleton=skeleton,
        root_translation=tensors["root_translation"],
        local_rotations=tensors["local_rotations"],
        contacts=tensors["contacts"],
        provenance=provenance,
    )
