"""Blocks of a transformer over time: rotary positions, attention, modulated layers.

Shape letters: B batch, N tokens, L text tokens, H heads, D width.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel


def embed_scalar(values: Tensor, width: int, *, max_period: float = 10_000.0) -> Tensor:
    """Sinusoids of numbers (B,) at geometrically spaced periods: (B, width).

    Source: Vaswani et al., Attention Is All You Need, section 3.5.
    """
    half = width // 2
    order = torch.arange(half, device=values.device, dtype=torch.float32)
    angle = values.float()[:, None] * torch.exp(-math.log(max_period) * order / half)
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


def rotary_angles(num_tokens: int, head_width: int, like: Tensor) -> Tensor:
    """Angles (N, head_width / 2) of rotary positions.

    Source: Su et al., RoFormer, equation 34; the base is 1,000 since no clip is long.
    """
    order = torch.arange(0, head_width, 2, device=like.device, dtype=torch.float32)
    frequency = 1_000.0 ** (-order / head_width)
    return torch.arange(num_tokens, device=like.device, dtype=torch.float32)[:, None] * frequency


def rotate_positions(heads: Tensor, angles: Tensor) -> Tensor:
    """Turn pairs of channels of (B, H, N, D / H) by their position's angles."""
    first, second = heads.chunk(2, dim=-1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Attention (B, H, N, D / H), by the kernel that is the fastest where the gradient is wanted.

    A processor's fused kernel goes back through bfloat16 three times slower than plain products.
    """
    if q.device.type == "cpu" and q.dtype == torch.bfloat16 and torch.is_grad_enabled():
        with sdpa_kernel(SDPBackend.MATH):
            return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


class SelfAttention(nn.Module):
    """Attention among frames, normalised queries and keys, rotary positions."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.to_qkv = nn.Linear(width, 3 * width)
        self.query_norm = nn.RMSNorm(width // num_heads)
        self.key_norm = nn.RMSNorm(width // num_heads)
        self.to_out = nn.Linear(width, width)

    def forward(self, x: Tensor, angles: Tensor, mask: Tensor | None) -> Tensor:
        """x (B, N, D), angles (N, D / H / 2), mask (B, 1, 1, N), True where a token is real."""
        q, k, v = self.to_qkv(x).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        # float: under autocast the norms would fall off their fast path
        q = rotate_positions(self.query_norm(q.float()), angles).to(v.dtype)  # (B, H, N, D / H)
        k = rotate_positions(self.key_norm(k.float()), angles).to(v.dtype)
        mixed = attend(q, k, v, mask)
        return self.to_out(mixed.transpose(1, 2).flatten(-2))


class CrossAttention(nn.Module):
    """Attention from frames to text tokens."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.to_query = nn.Linear(width, width)
        self.to_key_value = nn.Linear(width, 2 * width)
        self.query_norm = nn.RMSNorm(width // num_heads)
        self.key_norm = nn.RMSNorm(width // num_heads)
        self.to_out = nn.Linear(width, width)

    def forward(self, x: Tensor, text: Tensor, mask: Tensor) -> Tensor:
        """x (B, N, D), text (B, L, D), mask (B, 1, 1, L), True where a token is real."""
        q = self.to_query(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        k, v = self.to_key_value(text).unflatten(-1, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        q = self.query_norm(q.float()).to(v.dtype)
        k = self.key_norm(k.float()).to(v.dtype)
        mixed = attend(q, k, v, mask)
        return self.to_out(mixed.transpose(1, 2).flatten(-2))


class Block(nn.Module):
    """One layer: frames attend to frames, then to text, then a feed-forward.

    Shift, scale and gate of each part come from one projection of the condition that all layers
    share, plus a table of the layer's own.

    Source: Chen et al., PixArt-alpha, section 2.3 (adaLN-single).
    """

    def __init__(self, width: int, num_heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.self_attention = SelfAttention(width, num_heads)
        self.cross_attention = CrossAttention(width, num_heads)
        self.cross_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, feedforward)
        self.down = nn.Linear(feedforward, width)
        self.dropout = nn.Dropout(dropout)
        self.table = nn.Parameter(torch.zeros(6, width))

    def forward(
        self,
        x: Tensor,
        modulation: Tensor,
        angles: Tensor,
        mask: Tensor | None,
        text: tuple[Tensor, Tensor],
    ) -> Tensor:
        """x (B, N, D), modulation (B, 6, D), text: tokens (B, L, D) and mask (B, 1, 1, L)."""
        width = x.shape[-1]
        shift, scale, gate, shift2, scale2, gate2 = (modulation + self.table)[:, :, None].unbind(
            1
        )  # each (B, 1, D)
        h = F.layer_norm(x, (width,)) * (1 + scale) + shift
        x = x + gate * self.dropout(self.self_attention(h, angles, mask))
        x = x + self.dropout(self.cross_attention(self.cross_norm(x), *text))
        h = F.layer_norm(x, (width,)) * (1 + scale2) + shift2
        return x + gate2 * self.dropout(self.down(F.gelu(self.up(h), approximate="tanh")))
