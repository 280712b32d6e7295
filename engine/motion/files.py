"""Motion files by their ending: .npz with everything, .bvh for other programs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from engine.motion.bvh_file import BvhClip, clip_to_motion, read_bvh, write_bvh
from engine.motion.contacts import detect_contacts
from engine.motion.file_output import MotionFileError
from engine.motion.motion import Motion
from engine.motion.npz_file import read_npz, write_npz
from engine.motion.skeleton import SMPL_22

__all__ = [
    "BvhClip",
    "MotionFileError",
    "clip_to_motion",
    "read_bvh",
    "read_motion",
    "read_npz",
    "write_bvh",
    "write_motion",
    "write_npz",
]


def write_motion(motion: Motion, path: Path, *, overwrite: bool = False) -> None:
    """Write the motion as what the ending of `path` says.

    Raises:
        MotionFileError: another ending, the file exists and overwrite is False, or it can't be
            written.
    """
    if _ending(path) == ".npz":
        write_npz(motion, path, overwrite=overwrite)
    else:
        write_bvh(motion, path, overwrite=overwrite)


def read_motion(path: Path) -> Motion:
    """Read a motion; a BVH has no provenance, and its contacts are detected.

    Raises:
        MotionFileError: another ending, or the file can't be read; says why in one line.
    """
    if _ending(path) == ".npz":
        return read_npz(path)
    motion = _in_builtin_order(clip_to_motion(read_bvh(path)))
    return replace(motion, provenance={"file": path.name})


def _ending(path: Path) -> str:
    ending = path.suffix.lower()
    if ending not in (".npz", ".bvh"):
        raise MotionFileError(f"{path} ends in '{path.suffix}', needs .npz or .bvh")
    return ending


def _in_builtin_order(motion: Motion) -> Motion:
    """A BVH lists joints branch by branch: those of ours get their order and contacts back."""
    found = motion.skeleton
    if sorted(found.joint_names) != sorted(SMPL_22.joint_names):
        return motion
    order = [found.joint_names.index(name) for name in SMPL_22.joint_names]
    parents = tuple(order.index(found.parents[j]) if found.parents[j] >= 0 else -1 for j in order)
    if parents != SMPL_22.parents:
        return motion
    ordered = replace(
        motion,
        skeleton=replace(
            found,
            joint_names=SMPL_22.joint_names,
            parents=parents,
            rest_offsets=tuple(found.rest_offsets[j] for j in order),
        ),
        local_rotations=motion.local_rotations[:, order],
    )
    contacts = detect_contacts(ordered.joints(), ordered.fps, ordered.skeleton)
    return replace(ordered, contacts=contacts)
