"""The published CrossDiff network: root and pose apart, a frame a token, layers normed afterwards.

Root numbers and the rest of a frame are embedded by themselves. Pose tokens go through private and
shared encoders, whose six outputs the decoder's six layers read, one each; a root decoder runs
beside the last two of them, its queries the frames of the root encoder. The condition is a token
of its own in front. What differs from the release: attention doesn't see padding, and text is our
sentence vector, not CLIP's. Shape letters: B clips, T frames, D width, S sources.

Source: CrossDiff, ECCV 2024, section 3, and its release.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.networks.text_encoder import TextFeatures
from engine.networks.transformer import embed_scalar
from engine.networks.two_domain import DOMAINS, SOLID, Paths

ROOT_FEATURES = {"3d": 4, "2d": 2}


@dataclass(frozen=True, kw_only=True)
class RootAndPoseConfig:
    """Size of the network; the defaults are the published ones."""

    solid_features: int = 263
    flat_features: int = 134
    width: int = 512
    num_heads: int = 4
    feedforward: int = 1024
    root_feedforward: int = 512
    private_layers: int = 4
    root_layers: int = 2
    shared_layers: int = 6
    root_decoder_layers: int = 2
    max_frames: int = 196
    text_width: int = 384
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if self.width % self.num_heads or self.width % 2:
            raise ValueError(f"width is {self.width}, needs a multiple of {self.num_heads} and 2")
        if not 1 <= self.root_decoder_layers <= self.shared_layers:
            raise ValueError("root_decoder_layers needs 1 to shared_layers")

    def features(self, domain: str) -> int:
        """Features per frame of a domain."""
        return self.solid_features if domain == SOLID else self.flat_features


class RootAndPose(nn.Module):
    """Predicts x0 of every target from every source that it is given."""

    def __init__(self, config: RootAndPoseConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.embed_timestep = nn.Sequential(
            nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.embed_sentence = nn.Linear(config.text_width, width)
        self.encoders = nn.ModuleDict({d: _PrivateEncoder(config, d) for d in DOMAINS})
        self.shared = nn.ModuleList(
            _encoder_layer(config, config.feedforward) for _ in range(config.shared_layers)
        )
        self.decoders = nn.ModuleDict({d: _Decoder(config, d) for d in DOMAINS})

    def forward(
        self,
        noisy: Mapping[str, Tensor],
        timestep: Tensor,
        text: TextFeatures,
        frame_mask: Tensor,
        view: Tensor,
        targets: Sequence[str] = DOMAINS,
    ) -> Paths:
        """Clean features by source and target; see TwoDomainDenoiser. The view isn't told."""
        width, many = self.config.width, len(noisy)
        has_text = text.mask.any(-1, keepdim=True)
        token = self.embed_timestep(embed_scalar(timestep, width))
        token = (token + has_text * self.embed_sentence(text.sentence))[:, None]  # (B, 1, D)
        hidden = ~F.pad(frame_mask, (1, 0), value=True)  # (B, 1 + T), True at padding
        roots: list[Tensor] = []
        poses: list[Tensor] = []
        for domain, x_t in noisy.items():
            root, pose = self.encoders[domain](x_t * frame_mask[..., None], token, hidden)
            roots.append(root)
            poses.append(pose)
        x, hidden = torch.cat(poses), hidden.repeat(many, 1)
        ladder: list[Tensor] = []
        for layer in self.shared:
            x = layer(x, src_key_padding_mask=hidden)
            ladder.append(x)
        result: Paths = {}
        for target in targets:
            x0 = self.decoders[target](torch.cat(roots)[:, 1:], ladder, hidden)
            for domain, part in zip(noisy, x0.chunk(many), strict=True):
                result[domain, target] = part
        return result


class _PrivateEncoder(nn.Module):
    """One domain's features to tokens, root and pose apart."""

    def __init__(self, config: RootAndPoseConfig, domain: str) -> None:
        super().__init__()
        self.num_root = ROOT_FEATURES[domain]
        self.embed_root = nn.Linear(self.num_root, config.width)
        self.embed_pose = nn.Linear(config.features(domain) - self.num_root, config.width)
        self.root = nn.ModuleList(
            _encoder_layer(config, config.root_feedforward) for _ in range(config.root_layers)
        )
        self.pose = nn.ModuleList(
            _encoder_layer(config, config.feedforward) for _ in range(config.private_layers)
        )

    def forward(self, x_t: Tensor, token: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Root and pose tokens (B, 1 + T, D) of features (B, T, F), the condition in front."""
        root = torch.cat((token, self.embed_root(x_t[..., : self.num_root])), dim=1)
        pose = torch.cat((token, self.embed_pose(x_t[..., self.num_root :])), dim=1)
        places = _places(root.shape[1], root.shape[2], root)
        root, pose = root + places, pose + places
        for layer in self.root:
            root = layer(root, src_key_padding_mask=hidden)
        for layer in self.pose:
            pose = layer(pose, src_key_padding_mask=hidden)
        return root, pose


class _Decoder(nn.Module):
    """Learned frames read the ladder; the root's frames read the last layers of that."""

    def __init__(self, config: RootAndPoseConfig, domain: str) -> None:
        super().__init__()
        num_root = ROOT_FEATURES[domain]
        self.queries = nn.Parameter(torch.randn(config.max_frames, config.width))
        self.pose = nn.ModuleList(
            _decoder_layer(config, config.feedforward) for _ in range(config.shared_layers)
        )
        self.root = nn.ModuleList(
            _decoder_layer(config, config.root_feedforward)
            for _ in range(config.root_decoder_layers)
        )
        self.to_root = nn.Linear(config.width, num_root)
        self.to_pose = nn.Linear(config.width, config.features(domain) - num_root)

    def forward(self, root: Tensor, ladder: Sequence[Tensor], hidden: Tensor) -> Tensor:
        """Clean features (B, T, F) from root tokens (B, T, D) and rungs (B, 1 + T, D)."""
        frames = hidden[:, 1:]
        pose = self.queries[: root.shape[1]].expand(len(root), -1, -1)
        pose = pose + _places(root.shape[1], root.shape[2], root)
        first_root = len(self.pose) - len(self.root)
        for k, (layer, rung) in enumerate(zip(self.pose, ladder, strict=True)):
            pose = layer(pose, rung, tgt_key_padding_mask=frames, memory_key_padding_mask=hidden)
            if k >= first_root:
                root = self.root[k - first_root](
                    root, pose, tgt_key_padding_mask=frames, memory_key_padding_mask=frames
                )
        return torch.cat((self.to_root(root), self.to_pose(pose)), dim=-1)


def _encoder_layer(config: RootAndPoseConfig, feedforward: int) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(
        config.width, config.num_heads, feedforward, config.dropout, F.gelu, batch_first=True
    )


def _decoder_layer(config: RootAndPoseConfig, feedforward: int) -> nn.TransformerDecoderLayer:
    return nn.TransformerDecoderLayer(
        config.width, config.num_heads, feedforward, config.dropout, F.gelu, batch_first=True
    )


def _places(count: int, width: int, like: Tensor) -> Tensor:
    """Sinusoids (count, width) of positions."""
    return embed_scalar(torch.arange(count, device=like.device), width).to(like.dtype)
