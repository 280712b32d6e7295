"""Loops: motions whose last pose is the first one again, wherever the character is by then."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from engine.motion import rotations as rot
from engine.motion.motion import Motion


def middle_round(rounds: Motion, period: int, turn: Tensor) -> Motion:
    """One round out of three, of period + 1 frames, that starts over the origin, facing +z.

    Feet that were locked in all three rounds stand across the seam.

    Args:
        rounds: three rounds of `period` frames, the first one facing +z where it starts.
        turn: () radians by which the character turns in a round.

    Raises:
        ValueError: rounds has another number of frames.
    """
    if rounds.num_frames != 3 * period:
        raise ValueError(f"rounds has {rounds.num_frames} frames, needs {3 * period}")
    motion = rounds.crop(period, 2 * period + 1)
    back = rot.heading_to_quaternion(-turn)
    start = motion.root_translation[0] * motion.root_translation.new_tensor((1.0, 0.0, 1.0))
    path = rot.rotate(back.expand(period + 1, 4), motion.root_translation - start)
    local = motion.local_rotations.clone()
    local[:, 0] = rot.multiply(back.expand(period + 1, 4), local[:, 0])
    # what rounding and clean-up leave between the two ends
    local[-1, 1:] = local[0, 1:]
    local[-1, 0] = rot.multiply(rot.heading_to_quaternion(turn), local[0, 0])
    path[-1, 1] = path[0, 1]
    local = rot.make_continuous(local)
    contacts = torch.cat((motion.contacts[:-1], motion.contacts[:1]))
    return replace(motion, root_translation=path, local_rotations=local, contacts=contacts)
