"""A denoiser of motion in space and of its views: four ways through one trunk (CrossDiff).

Each domain has encoder layers of its own; then come layers that both share, and the output of each
of them is kept. A domain's decoder starts from learned queries, one per token, and its k-th layer
reads the k-th of the kept outputs: a ladder, not the last layer alone. Any domain that goes in can
come out as either. Unlike the published network, one token holds a few frames, layers are
modulated by the condition, padding is masked, and a few convolutions put back what a token is too
narrow for. Shape letters: B clips, T frames, N tokens, D width, S sources.

Source: CrossDiff, ECCV 2024, section 3; the layers are those of engine.networks.transformer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.networks.text_encoder import TextFeatures
from engine.networks.transformer import (
    Block,
    SelfAttention,
    attend,
    embed_scalar,
    rotary_angles,
    rotate_positions,
)

SOLID, FLAT = "3d", "2d"
DOMAINS = (SOLID, FLAT)
Paths = dict[tuple[str, str], Tensor]
"""Clean features (B, T, F of the second) by source and target."""

# MiniLM's vectors brought to about 1 a number, as in engine.networks.denoiser
_SENTENCE_GAIN = 384**0.5
_TOKEN_GAIN = 2.5


@dataclass(frozen=True, kw_only=True)
class TwoDomainConfig:
    """Size of the denoiser."""

    solid_features: int = 137
    flat_features: int = 134
    width: int = 192  # heads of 48: a multiple of 8, as fast attention wants
    num_heads: int = 4
    feedforward: int = 352
    private_layers: int = 2
    shared_layers: int = 4
    has_shared: bool = True  # otherwise each domain has such layers of its own
    frames_per_token: int = 4
    max_frames: int = 200
    detail_width: int = 96
    text_width: int = 384
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.width % (2 * self.num_heads):
            raise ValueError(f"width is {self.width}, needs a multiple of {2 * self.num_heads}")
        if min(self.private_layers, self.shared_layers, self.frames_per_token) < 1:
            raise ValueError("private_layers, shared_layers, frames_per_token need 1 or more")

    def features(self, domain: str) -> int:
        """Features per frame of a domain."""
        return self.solid_features if domain == SOLID else self.flat_features

    @property
    def num_queries(self) -> int:
        """Tokens of the longest clip."""
        return -(-self.max_frames // self.frames_per_token)


class TwoDomainDenoiser(nn.Module):
    """Predicts x0 of every target from every source that it is given."""

    def __init__(self, config: TwoDomainConfig) -> None:
        super().__init__()
        self.config = config
        self.condition = Condition(config)
        width, per_token = config.width, config.frames_per_token
        self.embed = nn.ModuleDict(
            {d: nn.Linear(config.features(d) * per_token, width) for d in DOMAINS}
        )
        self.private = nn.ModuleDict({d: _blocks(config, config.private_layers) for d in DOMAINS})
        shared = DOMAINS if not config.has_shared else ("both",)
        self.shared = nn.ModuleDict({d: _blocks(config, config.shared_layers) for d in shared})
        self.modulate = nn.Linear(width, 6 * width)
        self.decoders = nn.ModuleDict({d: LadderDecoder(config, d) for d in DOMAINS})
        self.frames = nn.ModuleDict(
            {d: nn.Linear(config.features(d), config.detail_width) for d in DOMAINS}
        )
        self._init_weights()

    def forward(
        self,
        noisy: Mapping[str, Tensor],
        timestep: Tensor,
        text: TextFeatures,
        frame_mask: Tensor,
        view: Tensor,
        targets: Sequence[str] = DOMAINS,
    ) -> Paths:
        """Clean features by source and target.

        Args:
            noisy: (B, T, F) normalised features with noise, of one domain or both.
            timestep: (B,), 0 is the least noise; need not be whole.
            text: of B prompts; a prompt whose mask is all False is no prompt.
            frame_mask: (B, T) bool, True at the frames of the clip; T is max_frames at most.
            view: (B, 3) sine and cosine of the camera's azimuth, and 1; zeros where not known.
            targets: domains to decode.
        """
        frames = frame_mask.shape[1]
        per_token = self.config.frames_per_token
        missing = -frames % per_token
        real = F.pad(frame_mask, (0, missing))
        token_mask = real.unflatten(1, (-1, per_token)).any(-1)
        angles = rotary_angles(
            token_mask.shape[1], self.config.width // self.config.num_heads, frame_mask
        )
        said = self.condition(timestep, text, frame_mask)
        tokens, text_mask = self.condition.tokens(text)
        sources = tuple(noisy)
        padded = {d: F.pad(noisy[d] * frame_mask[..., None], (0, 0, 0, missing)) for d in sources}

        parts: list[Tensor] = []
        modulations: list[Tensor] = []
        mask = token_mask[:, None, None]
        for domain in sources:
            x = self.embed[domain](padded[domain].unflatten(1, (-1, per_token)).flatten(2))
            told = said + self.condition.source(domain, view)
            modulation = self.modulate(F.silu(told)).unflatten(-1, (6, -1))
            for block in self._layers(self.private, domain):
                x = block(x, modulation, angles, mask, (tokens, text_mask))
            parts.append(x)
            modulations.append(modulation)
        ladder = self._ladder(sources, parts, modulations, angles, mask, (tokens, text_mask))

        many = len(sources)
        detail = torch.cat([self.frames[d](padded[d]) for d in sources])  # (S B, T, W)
        masks = token_mask.repeat(many, 1), real.repeat(many, 1)
        result: Paths = {}
        for target in targets:
            told = torch.cat([said + self.condition.target(d, target, view) for d in sources])
            decoder = self.decoders[target]
            x0 = decoder(ladder, F.silu(told), angles, masks, detail)[:, :frames]
            for domain, part in zip(sources, x0.chunk(many), strict=True):
                result[domain, target] = part
        return result

    def _ladder(
        self,
        sources: Sequence[str],
        parts: Sequence[Tensor],
        modulations: Sequence[Tensor],
        angles: Tensor,
        mask: Tensor,
        text: tuple[Tensor, Tensor],
    ) -> list[Tensor]:
        """What each shared layer gives, (S B, N, D); all sources go through in one pass."""
        if not self.config.has_shared:
            ladders: list[list[Tensor]] = []
            for domain, x, modulation in zip(sources, parts, modulations, strict=True):
                layers = self._layers(self.shared, domain)
                ladders.append(_climb(layers, x, modulation, angles, mask, text))
            return [torch.cat(rungs) for rungs in zip(*ladders, strict=True)]
        many = len(sources)
        tokens, text_mask = text
        return _climb(
            self._layers(self.shared, "both"),
            torch.cat(list(parts)),
            torch.cat(list(modulations)),
            angles,
            mask.repeat(many, 1, 1, 1),
            (tokens.repeat(many, 1, 1), text_mask.repeat(many, 1, 1, 1)),
        )

    def _layers(self, group: nn.ModuleDict, domain: str) -> nn.ModuleList:
        layers = group[domain]
        assert isinstance(layers, nn.ModuleList)
        return layers

    def _init_weights(self) -> None:
        """Gates and the output start at zero, so that the first step predicts the mean motion."""
        for group in (self.private, self.shared):
            for layers in group.values():
                assert isinstance(layers, nn.ModuleList)
                for block in layers:
                    assert isinstance(block, Block)
                    _zero(block.cross_attention.to_out)
        _zero(self.modulate)


class Condition(nn.Module):
    """Timestep, text, length, domain and view as one vector, and the text's tokens."""

    def __init__(self, config: TwoDomainConfig) -> None:
        super().__init__()
        width = config.width
        self.width = width
        self.embed_timestep = _two_layers(width)
        self.embed_length = _two_layers(width)
        self.embed_sentence = nn.Linear(config.text_width, width)
        self.embed_tokens = nn.Linear(config.text_width, width)
        self.no_sentence = nn.Parameter(torch.zeros(width))
        self.no_text = nn.Parameter(0.02 * torch.randn(width))
        self.embed_view = nn.Linear(2, width)
        self.unknown_view = nn.Parameter(0.02 * torch.randn(width))
        self.source_codes = nn.ParameterDict({d: 0.02 * torch.randn(width) for d in DOMAINS})
        self.target_codes = nn.ParameterDict(
            {f"{s}-{t}": 0.02 * torch.randn(width) for s in DOMAINS for t in DOMAINS}
        )

    def forward(self, timestep: Tensor, text: TextFeatures, frame_mask: Tensor) -> Tensor:
        """(B, D) of what holds for all sources and targets."""
        has_text = text.mask.any(-1, keepdim=True)
        said = self.embed_sentence(_SENTENCE_GAIN * text.sentence)
        sentence = torch.where(has_text, said, self.no_sentence.to(said.dtype))
        length = self.embed_length(embed_scalar(frame_mask.sum(-1), self.width))
        return self.embed_timestep(embed_scalar(timestep, self.width)) + sentence + length

    def tokens(self, text: TextFeatures) -> tuple[Tensor, Tensor]:
        """Text tokens (B, L, D) behind one that stands for no text, and their mask."""
        tokens = self.embed_tokens(_TOKEN_GAIN * text.tokens)
        none = self.no_text.to(tokens.dtype).expand(tokens.shape[0], 1, -1)
        mask = F.pad(text.mask, (1, 0), value=True)
        return torch.cat([none, tokens], dim=1), mask[:, None, None]

    def source(self, domain: str, view: Tensor) -> Tensor:
        """(B, D) or (D,) of what goes in."""
        code = self.source_codes[domain]
        return code + self._view(view) if domain == FLAT else code

    def target(self, source: str, target: str, view: Tensor) -> Tensor:
        """(B, D) or (D,) of what comes out of what."""
        code = self.target_codes[f"{source}-{target}"]
        return code + self._view(view) if FLAT in (source, target) else code

    def _view(self, view: Tensor) -> Tensor:
        known = self.embed_view(view[:, :2])
        return torch.where(view[:, 2:] > 0, known, self.unknown_view.to(known.dtype))


class LadderDecoder(nn.Module):
    """From learned queries to one domain's frames; layer k reads the ladder's rung k."""

    def __init__(self, config: TwoDomainConfig, domain: str) -> None:
        super().__init__()
        width, features = config.width, config.features(domain)
        self.frames_per_token = config.frames_per_token
        self.queries = nn.Parameter(0.5 * torch.randn(config.num_queries, width))
        self.blocks = nn.ModuleList(
            LadderBlock(width, config.num_heads, config.feedforward, config.dropout)
            for _ in range(config.shared_layers)
        )
        self.modulate = nn.Linear(width, 6 * width)
        self.modulate_out = nn.Linear(width, 2 * width)
        self.to_frames = nn.Linear(width, features * config.frames_per_token)
        self.of_coarse = nn.Linear(features, config.detail_width)
        self.of_tokens = nn.Linear(width, config.detail_width * config.frames_per_token)
        self.mix = nn.ModuleList(
            nn.Conv1d(config.detail_width, config.detail_width, 5, padding=2) for _ in range(3)
        )
        self.detail_to_frames = nn.Linear(config.detail_width, features)
        outputs = (self.modulate, self.modulate_out, self.to_frames, self.detail_to_frames)
        for layer in outputs:
            _zero(layer)

    def forward(
        self,
        ladder: Sequence[Tensor],
        condition: Tensor,
        angles: Tensor,
        masks: tuple[Tensor, Tensor],
        detail: Tensor,
    ) -> Tensor:
        """Clean features (B, T, F), T padded to whole tokens.

        Args:
            ladder: (B, N, D) per layer.
            condition: (B, D).
            angles: (N, D / H / 2) of positions.
            masks: (B, N) of tokens, (B, T) of frames, True where they are real.
            detail: (B, T, W) the source's frames.
        """
        token_mask, frame_mask = masks
        mask = token_mask[:, None, None]
        x = self.queries[: token_mask.shape[1]].expand(len(token_mask), -1, -1)
        modulation = self.modulate(condition).unflatten(-1, (6, -1))
        for block, memory in zip(self.blocks, ladder, strict=True):
            x = block(x, memory, modulation, angles, mask)
        shift, scale = self.modulate_out(condition)[:, None].chunk(2, dim=-1)
        x = F.layer_norm(x, x.shape[-1:]) * (1 + scale) + shift
        coarse = self.to_frames(x).unflatten(-1, (self.frames_per_token, -1)).flatten(1, 2)
        of_tokens = self.of_tokens(x).unflatten(-1, (self.frames_per_token, -1)).flatten(1, 2)
        fine = F.silu(detail + self.of_coarse(coarse) + of_tokens).transpose(1, 2)  # (B, W, T)
        for convolution in self.mix:
            fine = fine + F.silu(convolution(fine * frame_mask[:, None]))
        return coarse + self.detail_to_frames(fine.transpose(1, 2))


class LadderBlock(nn.Module):
    """Queries attend to each other, then to a rung of the ladder at their places, then a layer."""

    def __init__(self, width: int, num_heads: int, feedforward: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.self_attention = SelfAttention(width, num_heads)
        self.query_input = nn.LayerNorm(width)
        self.memory_input = nn.LayerNorm(width)
        self.to_query = nn.Linear(width, width)
        self.to_key_value = nn.Linear(width, 2 * width)
        self.query_norm = nn.RMSNorm(width // num_heads)
        self.key_norm = nn.RMSNorm(width // num_heads)
        self.to_out = nn.Linear(width, width)
        self.up = nn.Linear(width, feedforward)
        self.down = nn.Linear(feedforward, width)
        self.dropout = nn.Dropout(dropout)
        self.table = nn.Parameter(torch.zeros(6, width))

    def forward(
        self, x: Tensor, memory: Tensor, modulation: Tensor, angles: Tensor, mask: Tensor
    ) -> Tensor:
        """x and memory (B, N, D), modulation (B, 6, D), mask (B, 1, 1, N)."""
        width = x.shape[-1:]
        shift, scale, gate, shift2, scale2, gate2 = (modulation + self.table)[:, :, None].unbind(1)
        h = F.layer_norm(x, width) * (1 + scale) + shift
        x = x + gate * self.dropout(self.self_attention(h, angles, mask))
        x = x + self.dropout(self._read(x, memory, angles, mask))
        h = F.layer_norm(x, width) * (1 + scale2) + shift2
        return x + gate2 * self.dropout(self.down(F.gelu(self.up(h), approximate="tanh")))

    def _read(self, x: Tensor, memory: Tensor, angles: Tensor, mask: Tensor) -> Tensor:
        q = self.to_query(self.query_input(x)).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
        told = self.to_key_value(self.memory_input(memory))
        k, v = told.unflatten(-1, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        q = rotate_positions(self.query_norm(q.float()), angles).to(v.dtype)
        k = rotate_positions(self.key_norm(k.float()), angles).to(v.dtype)
        mixed = attend(q, k, v, mask)
        return self.to_out(mixed.transpose(1, 2).flatten(-2))


def _climb(
    layers: nn.ModuleList,
    x: Tensor,
    modulation: Tensor,
    angles: Tensor,
    mask: Tensor,
    text: tuple[Tensor, Tensor],
) -> list[Tensor]:
    """The output of every layer."""
    rungs: list[Tensor] = []
    for block in layers:
        x = block(x, modulation, angles, mask, text)
        rungs.append(x)
    return rungs


def _blocks(config: TwoDomainConfig, count: int) -> nn.ModuleList:
    return nn.ModuleList(
        Block(config.width, config.num_heads, config.feedforward, config.dropout)
        for _ in range(count)
    )


def _two_layers(width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))


def _zero(layer: nn.Linear) -> None:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
