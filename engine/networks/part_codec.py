"""Frames to tokens of a lower rate and back, and attention among tokens nearby.

Four frames make one token. Convolutions and attention reach a fixed number of frames, and frames
that don't count are left out, so that clips may have any length and a long one may be read in
parts. Shape letters: B clips, T frames (a multiple of 4), N = T / 4 tokens, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.networks.keypoint_encoder import TemporalBlock
from engine.networks.transformer import SelfAttention, rotary_angles

FRAMES_PER_TOKEN = 4
_HALVINGS = 2
_CHANGE = 4.0  # how much louder changes from frame to frame are made


def whole_tokens(num_frames: int) -> int:
    """The least multiple of FRAMES_PER_TOKEN that holds num_frames."""
    return -(-num_frames // FRAMES_PER_TOKEN) * FRAMES_PER_TOKEN


def token_mask(mask: Tensor) -> Tensor:
    """(B, T) bool of frames to (B, N) bool of tokens that have any frame."""
    return mask.unflatten(1, (-1, FRAMES_PER_TOKEN)).any(-1)


class TimeEncoder(nn.Module):
    """Frames (B, T, D) to tokens (B, N, D)."""

    def __init__(self, width: int, dilations: Sequence[int]) -> None:
        """Blocks at the frame rate have the dilations; one more follows each halving."""
        super().__init__()
        self.frames = nn.ModuleList(TemporalBlock(width, dilation) for dilation in dilations)
        self.halve = nn.ModuleList(_halving(width) for _ in range(_HALVINGS))
        self.tokens = nn.ModuleList(TemporalBlock(width, 1) for _ in range(_HALVINGS))
        # each halving doubles how far a block reaches
        self.reach = 2 * (sum(dilations) + 2 + 4) + FRAMES_PER_TOKEN
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (B, T, D), mask (B, T) bool: frames that count."""
        weights = mask[..., None].to(x.dtype)
        x = x * weights
        for block in self.frames:
            x = block(x, weights)
        for halve, block in zip(self.halve, self.tokens, strict=True):
            x = halve((x * weights).unflatten(1, (-1, 2)).flatten(-2))
            weights = weights.unflatten(1, (-1, 2)).amax(2)
            x = block(x, weights)
        return self.norm(x)


class TimeDecoder(nn.Module):
    """Codes of tokens (B, N, Z) to frames (B, T, D)."""

    def __init__(self, num_codes: int, width: int) -> None:
        super().__init__()
        self.start = _linear(num_codes, width)
        self.widen = nn.ModuleList(_doubling(width) for _ in range(_HALVINGS))
        self.tokens = nn.ModuleList(TemporalBlock(width, 1) for _ in range(_HALVINGS))
        self.frames = TemporalBlock(width, 1)
        self.reach = 2 * (4 + 2 + 1)
        self.norm = nn.LayerNorm(width)

    def forward(self, codes: Tensor, mask: Tensor) -> Tensor:
        """codes (B, N, Z), mask (B, T) bool: frames that count."""
        frames = mask[..., None].to(codes.dtype)
        pairs = frames.unflatten(1, (-1, 2)).amax(2)
        fours = pairs.unflatten(1, (-1, 2)).amax(2)
        x = self.start(codes)
        for widen, block, weights in zip(self.widen, self.tokens, (fours, pairs), strict=True):
            x = widen(block(x, weights)).unflatten(-1, (2, -1)).flatten(1, 2)
        return self.norm(self.frames(x, frames))


class ContextBlock(nn.Module):
    """Tokens attend to those nearby in time, then a feed-forward."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.attention = SelfAttention(width, num_heads)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)
        for layer in (self.attention.to_out, self.down):
            nn.init.normal_(layer.weight, std=0.1 / width**0.5)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, angles: Tensor, mask: Tensor) -> Tensor:
        """x (B, M, D), angles (M, D / H / 2) and mask (B, 1, M, M) of `nearby`."""
        x = x + self.attention(self.norms[0](x), angles, mask)
        return x + self.down(F.gelu(self.up(self.norms[1](x)), approximate="tanh"))


class Context(nn.Module):
    """Attention among the tokens of several parts over time, each as far as `reach` tokens."""

    def __init__(self, width: int, *, num_layers: int, num_heads: int, reach: int) -> None:
        super().__init__()
        self.head_width = width // num_heads
        self.window = reach
        self.reach = num_layers * reach * FRAMES_PER_TOKEN
        self.blocks = nn.ModuleList(ContextBlock(width, num_heads) for _ in range(num_layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Tokens (B, P, N, D) of P parts, mask (B, N) bool; the same shape comes out."""
        num_parts, count = tokens.shape[1:3]
        angles = rotary_angles(count, self.head_width, tokens).repeat(num_parts, 1)
        order = torch.arange(count, device=tokens.device)
        apart = (order[:, None] - order[None]).abs()
        near = (apart <= self.window) & mask[:, None, :]
        near = near | (apart == 0)  # one that may attend to nobody would make no number
        near = near.repeat(1, num_parts, num_parts)[:, None]
        x = tokens.flatten(1, 2)
        for block in self.blocks:
            x = block(x, angles, near)
        return self.norm(x).unflatten(1, (num_parts, count))


def _linear(num_in: int, num_out: int) -> nn.Linear:
    """A linear layer that keeps the size of what passes."""
    layer = nn.Linear(num_in, num_out)
    nn.init.normal_(layer.weight, std=num_in**-0.5)
    nn.init.zeros_(layer.bias)
    return layer


def _halving(width: int) -> nn.Linear:
    """Two frames to one: starts with what they share, and loudly with what sets them apart.

    Neighbours are so alike that their difference would drown in their mean.
    """
    layer = _linear(2 * width, width)
    with torch.no_grad():
        mean, change = layer.weight.chunk(2, dim=1)
        loud = _CHANGE * change
        layer.weight.copy_(torch.cat((mean - loud, mean + loud), dim=1) / 2**0.5)
    return layer


def _doubling(width: int) -> nn.Linear:
    """One to two frames: these start nearly alike, as frames of a motion are."""
    layer = _linear(width, 2 * width)
    with torch.no_grad():
        mean, change = layer.weight.chunk(2, dim=0)
        layer.weight.copy_(torch.cat((mean - change / _CHANGE, mean + change / _CHANGE), dim=0))
    return layer
