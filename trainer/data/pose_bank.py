"""All motion of a corpus as local rotations, ready to be cut into windows.

The corpus's clips are on one skeleton; here they become rotations, so that a window can be played
at another speed, mirrored and worn by a body of other proportions. Shape letters: B windows,
T frames.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from platformdirs import user_cache_dir
from safetensors.torch import load_file, save_file
from torch import Tensor

from engine.motion import proportions
from engine.motion import rotations as rot
from engine.motion.contacts import detect_contacts
from engine.motion.pose_solve import solve_local_rotations
from engine.motion.proportions import BONES, NUM_BONES
from engine.motion.skeleton import NECK, SMPL_22
from trainer.data.corpus import FPS, Clip

log = logging.getLogger(__name__)

_IS_UPPER = [joint in (3, 6, 9) or joint >= NECK for joint in range(SMPL_22.num_joints)]
_LEG_BONES = [BONES.index("knee"), BONES.index("ankle")]


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Stretches of motion worn by bodies, in the world."""

    local_rotations: Tensor  # (B, T, 22, 3, 3) matrices relative to the parent
    global_rotations: Tensor  # (B, T, 22, 3, 3)
    joints: Tensor  # (B, T, 22, 3) metres, on the floor y = 0
    contacts: Tensor  # (B, T, 4)
    log_bones: Tensor  # (B, 13)
    mask: Tensor  # (B, T) bool: frames of the clip; those after its end are held
    clips: Tensor  # (B,) which clip of the bank


class PoseBank:
    """Clips as tensors, one after the other."""

    def __init__(self, clips: Sequence[Clip], device: torch.device | None = None) -> None:
        """Solve the rotations of the clips, or take them from the cache of an earlier run.

        All is on the device then, and what is asked for has to be.
        """
        self.num_clips = len(clips)
        sizes = torch.tensor([len(clip.joints) for clip in clips], device=device)
        self.lengths = sizes
        self.starts = torch.cumsum(sizes, 0) - sizes
        solved = {name: tensor.to(sizes.device) for name, tensor in _solve_cached(clips).items()}
        self._quaternions = solved["quaternions"]  # (N, 22, 4)
        self._roots = solved["roots"]  # (N, 3)
        self._contacts = solved["contacts"]  # (N, 4)

    def cut(
        self,
        clips: Tensor,
        starts: Tensor,
        num_frames: int,
        *,
        speeds: Tensor | None = None,
        is_mirrored: Tensor | None = None,
        log_bones: Tensor | None = None,
        upper_from: Tensor | None = None,
    ) -> Windows:
        """Windows (B,) of clips (B,), from frame starts (B,) at speeds (B,); 1.5 is faster.

        is_mirrored (B,) bool swaps left and right; log_bones (B, 13) are the bodies; upper_from
        (B,) is the window whose spine, head and arms each one takes.
        """
        count = len(clips)
        speeds = starts.new_ones(count) if speeds is None else speeds
        bones = starts.new_zeros(count, NUM_BONES) if log_bones is None else log_bones
        times = starts[:, None] + speeds[:, None] * torch.arange(num_frames, device=starts.device)
        last = (self.lengths[clips] - 1)[:, None]
        mask = times <= last
        times = times.clamp(max=last.float())
        before = times.floor().long()
        after = torch.minimum(before + 1, last)
        part = (times - before)[..., None]
        first = self.starts[clips][:, None]
        quaternions = torch.lerp(
            self._quaternions[first + before], self._quaternions[first + after], part[..., None]
        )
        roots = torch.lerp(self._roots[first + before], self._roots[first + after], part)
        contacts = self._contacts[first + times.round().long()]
        if is_mirrored is not None:
            quaternions, roots, contacts = _mirrored(quaternions, roots, contacts, is_mirrored)
        if upper_from is not None:
            is_upper = torch.tensor(_IS_UPPER, device=quaternions.device)[:, None]
            quaternions = torch.where(is_upper, quaternions[upper_from], quaternions)
            mask = mask & mask[upper_from]
        local = rot.quaternion_to_matrix(rot.normalise(quaternions))
        leg = _leg_ratio(bones)
        joints, turned = proportions.pose_bodies(local, proportions.rest_offsets(bones)[:, None])
        return Windows(
            local_rotations=local,
            global_rotations=turned,
            joints=joints + (leg[:, None, None] * roots)[..., None, :],
            contacts=contacts,
            log_bones=bones,
            mask=mask,
            clips=clips,
        )

    def whole(self, clip: int, log_bones: Tensor | None = None) -> Windows:
        """One clip from end to end (B = 1), worn by the body log_bones (13,)."""
        return self.cut(
            torch.tensor([clip]),
            torch.zeros(1),
            int(self.lengths[clip]),
            log_bones=None if log_bones is None else log_bones[None],
        )


def draw_bodies(count: int, deviation: float, generator: torch.Generator) -> Tensor:
    """Bodies (count, 13) of a normal spread of proportions and the built-in size."""
    return proportions.centred(deviation * torch.randn(count, NUM_BONES, generator=generator))


def _leg_ratio(log_bones: Tensor) -> Tensor:
    """How much longer the legs are: the path and height of the root grow as much."""
    lengths = SMPL_22.offsets_like(log_bones).norm(dim=-1)[[4, 7]]
    return (torch.exp(log_bones[:, _LEG_BONES]) * lengths).sum(-1) / lengths.sum()


def _mirrored(
    quaternions: Tensor, roots: Tensor, contacts: Tensor, is_mirrored: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """A mirror across x turns (w, x, y, z) into (w, x, -y, -z) on the other side."""
    other = quaternions[:, :, list(SMPL_22.mirror_order)]
    other = other * other.new_tensor((1.0, 1.0, -1.0, -1.0))
    which = is_mirrored[:, None, None]
    return (
        torch.where(which[..., None], other, quaternions),
        torch.where(which, roots * roots.new_tensor((-1.0, 1.0, 1.0)), roots),
        torch.where(which, contacts[..., [2, 3, 0, 1]], contacts),
    )


def _solve_cached(clips: Sequence[Clip]) -> dict[str, Tensor]:
    digest = hashlib.sha256(b"pose bank 1")
    for clip in clips:
        digest.update(clip.joints.tobytes())
    folder = Path(user_cache_dir("marey", appauthor=False)) / "poses"
    path = folder / f"{digest.hexdigest()[:32]}.safetensors"
    if path.is_file():
        return load_file(path)
    log.info("Solving the joint rotations of %d clips", len(clips))
    solved = _solve(clips)
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    save_file(solved, partial)
    partial.replace(path)
    return solved


def _solve(clips: Sequence[Clip]) -> dict[str, Tensor]:
    quaternions, roots, contacts = [], [], []
    for clip in clips:
        joints = torch.from_numpy(clip.joints)
        quaternions.append(solve_local_rotations(joints))
        roots.append(joints[:, 0])
        contacts.append(detect_contacts(joints, FPS))
    return {
        "quaternions": torch.cat(quaternions),
        "roots": torch.cat(roots).contiguous(),
        "contacts": torch.cat(contacts),
    }
