"""The denoiser: noisy features, a timestep and a text to clean features."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.networks.text_encoder import TextFeatures
from engine.networks.transformer import Block, embed_scalar, rotary_angles

# MiniLM's sentence vectors have unit length and its tokens about .4 a number; brought to about 1,
# the small differences between left and right are learned ten times faster.
_SENTENCE_GAIN = 384**0.5
_TOKEN_GAIN = 2.5


@dataclass(frozen=True, kw_only=True)
class DenoiserConfig:
    """Size of the denoiser."""

    num_features: int
    width: int = 256
    num_layers: int = 6
    num_heads: int = 4
    feedforward: int = 1024
    frames_per_token: int = 4
    detail_width: int = 128  # of the convolutions that put back what a token can't hold
    text_width: int = 384
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.width % (2 * self.num_heads):
            raise ValueError(f"width is {self.width}, needs a multiple of {2 * self.num_heads}")


class Denoiser(nn.Module):
    """Predicts x0. Neighbouring frames share a token; text comes in twice.

    A token is too narrow for the quick changes within its frames (a punch takes three): a few
    convolutions over the frames themselves, with the tokens at hand, put them back.

    The sentence vector joins the timestep and the clip's length in modulating every layer; the
    token vectors are attended to, beside one learned token that stands for no text at all.
    """

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.embed_frames = nn.Linear(config.num_features * config.frames_per_token, width)
        self.embed_timestep = _two_layers(width)
        self.embed_length = _two_layers(width)
        self.embed_sentence = nn.Linear(config.text_width, width)
        self.embed_tokens = nn.Linear(config.text_width, width)
        self.no_sentence = nn.Parameter(torch.zeros(width))
        self.no_text = nn.Parameter(0.02 * torch.randn(width))
        self.modulate = nn.Linear(width, 6 * width)
        self.blocks = nn.ModuleList(
            Block(width, config.num_heads, config.feedforward, config.dropout)
            for _ in range(config.num_layers)
        )
        self.modulate_out = nn.Linear(width, 2 * width)
        self.to_frames = nn.Linear(width, config.num_features * config.frames_per_token)
        self.details = Details(config)
        self._init_weights()

    def forward(
        self, x_t: Tensor, timestep: Tensor, text: TextFeatures, frame_mask: Tensor
    ) -> Tensor:
        """Clean features.

        Args:
            x_t: (B, T, F) normalised features with noise.
            timestep: (B,), 0 is the least noise; need not be whole.
            text: of B prompts; a prompt whose mask is all False is no prompt.
            frame_mask: (B, T) bool, True at the frames of the clip.

        Returns:
            (B, T, F)
        """
        frames, per_token = x_t.shape[1], self.config.frames_per_token
        missing = -frames % per_token
        x_t = F.pad(x_t * frame_mask[..., None], (0, 0, 0, missing))
        token_mask = F.pad(frame_mask, (0, missing)).unflatten(1, (-1, per_token)).any(-1)
        x = self.embed_frames(x_t.unflatten(1, (-1, per_token)).flatten(2))  # (B, N, D)

        condition = self._condition(timestep, text, frame_mask)
        tokens, text_mask = self._text_tokens(text)
        modulation = self.modulate(condition).unflatten(-1, (6, -1))
        angles = rotary_angles(x.shape[1], self.config.width // self.config.num_heads, x)
        mask = None if bool(token_mask.all()) else token_mask[:, None, None]
        for block in self.blocks:
            x = block(x, modulation, angles, mask, (tokens, text_mask))
        shift, scale = self.modulate_out(condition)[:, None].chunk(2, dim=-1)
        x = F.layer_norm(x, (self.config.width,)) * (1 + scale) + shift
        coarse = self.to_frames(x).unflatten(-1, (per_token, -1)).flatten(1, 2)
        real = F.pad(frame_mask, (0, missing))
        return (coarse + self.details(x_t, x, coarse, real))[:, :frames]

    def _condition(self, timestep: Tensor, text: TextFeatures, frame_mask: Tensor) -> Tensor:
        width = self.config.width
        has_text = text.mask.any(-1, keepdim=True)
        said = self.embed_sentence(_SENTENCE_GAIN * text.sentence)
        sentence = torch.where(has_text, said, self.no_sentence)
        length = self.embed_length(embed_scalar(frame_mask.sum(-1), width))
        return F.silu(self.embed_timestep(embed_scalar(timestep, width)) + sentence + length)

    def _text_tokens(self, text: TextFeatures) -> tuple[Tensor, Tensor]:
        tokens = self.embed_tokens(_TOKEN_GAIN * text.tokens)
        none = self.no_text.expand(tokens.shape[0], 1, -1)
        mask = F.pad(text.mask, (1, 0), value=True)
        return torch.cat([none, tokens], dim=1), mask[:, None, None]

    def _init_weights(self) -> None:
        """Gates and the output start at zero, so that the first step predicts the mean motion."""
        for block in self.blocks:
            assert isinstance(block, Block)
            nn.init.zeros_(block.cross_attention.to_out.weight)
            nn.init.zeros_(block.cross_attention.to_out.bias)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)
        nn.init.zeros_(self.modulate_out.weight)
        nn.init.zeros_(self.modulate_out.bias)
        nn.init.zeros_(self.to_frames.weight)
        nn.init.zeros_(self.to_frames.bias)
        nn.init.zeros_(self.details.to_frames.weight)
        nn.init.zeros_(self.details.to_frames.bias)


class Details(nn.Module):
    """What the tokens miss of each frame: convolutions over time."""

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        width, features = config.detail_width, config.num_features
        self.frames_per_token = config.frames_per_token
        self.embed_frames = nn.Linear(2 * features, width)
        self.embed_tokens = nn.Linear(config.width, width * config.frames_per_token)
        self.mix = nn.ModuleList(nn.Conv1d(width, width, 5, padding=2) for _ in range(3))
        self.to_frames = nn.Linear(width, features)

    def forward(self, x_t: Tensor, tokens: Tensor, coarse: Tensor, frame_mask: Tensor) -> Tensor:
        """What to add to the tokens' prediction, (B, T, F).

        Args:
            x_t: (B, T, F) with noise.
            tokens: (B, N, D).
            coarse: (B, T, F) what they predict.
            frame_mask: (B, T) bool; frames that are not real don't reach the others.
        """
        mask = frame_mask[:, None]  # (B, 1, T)
        of_tokens = self.embed_tokens(tokens).unflatten(-1, (self.frames_per_token, -1))
        x = self.embed_frames(torch.cat([x_t, coarse], dim=-1)) + of_tokens.flatten(1, 2)
        x = F.silu(x).transpose(1, 2)  # (B, C, T)
        for convolution in self.mix:
            x = x + F.silu(convolution(x * mask))
        return self.to_frames(x.transpose(1, 2))


def _two_layers(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
