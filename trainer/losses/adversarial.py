"""A critic of poses: which rotations could be a person's.

Source: Kanazawa et al., HMMR, sections 3.3 and 3.4: one small critic per joint and one for all
joints together, least squares (Mao et al., Least Squares GAN, ICCV 2017). Real poses come from
motion capture.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

NUM_JOINTS = 21  # the root's rotation is the camera's business
_WIDTH = 32


class PoseCritic(nn.Module):
    """Scores poses: one number per joint and one for the whole; 1 is real, 0 is made up."""

    def __init__(self, hidden: int = 256) -> None:
        super().__init__()
        self.first = nn.Linear(9, _WIDTH)
        self.second = nn.Linear(_WIDTH, _WIDTH)
        self.per_joint = nn.Parameter(torch.randn(NUM_JOINTS, _WIDTH) / _WIDTH**0.5)
        self.per_joint_bias = nn.Parameter(torch.zeros(NUM_JOINTS))
        self.whole = nn.Sequential(
            nn.Linear(NUM_JOINTS * _WIDTH, hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 1),
        )

    def forward(self, local_rotations: Tensor) -> Tensor:
        """Scores (N, 22) of local rotations (N, 22, 3, 3)."""
        h = functional.relu(self.first(local_rotations[:, 1:].flatten(-2)))
        h = functional.relu(self.second(h))  # (N, 21, 32)
        each = (h * self.per_joint).sum(-1) + self.per_joint_bias
        return torch.cat((each, self.whole(h.flatten(1))), dim=-1)


def critic_loss(real: Tensor, fake: Tensor) -> Tensor:
    """What the critic lowers: real scores (N, 22) towards 1, fake ones towards 0."""
    return (real - 1.0).square().sum(-1).mean() + fake.square().sum(-1).mean()


def fooling_loss(fake: Tensor) -> Tensor:
    """What the generator lowers: fake scores (N, 22) towards 1."""
    return (fake - 1.0).square().sum(-1).mean()
