"""Evaluator: motions and captions in one space, where near means that they belong together.

FID, R-precision, MM-distance and diversity are all measured in it. Embeddings lie on a sphere of
radius sqrt(width), so that a coordinate varies by about one. The motion side sees the features
without foot contacts (as Guo et al. do), the text side sees frozen MiniLM's tokens.

Source: Guo et al., Generating Diverse and Natural 3D Human Motions from Text, CVPR 2022,
section 5; contrastive form after Petrovich et al., TMR, ICCV 2023, section 3.

Shape letters: B batch, T frames, L text tokens, F features, E embedding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from engine.checkpoint import CheckpointError, CheckpointInfo, load_checkpoint
from engine.motion.representation import Representation, estimate_heading
from engine.motion.skeleton import PELVIS
from engine.networks.text_encoder import WIDTH as TEXT_WIDTH
from engine.networks.text_encoder import TextFeatures, encode_text

METHOD = "evaluator"
SHIPPED = Path(__file__).with_name("evaluator.safetensors")
PARTS = ("whole", "upper", "lower")
LEG_JOINTS = (1, 2, 4, 5, 7, 8, 10, 11)
MAX_FRAMES = 196  # 9.8 s: the longest clip of the corpora, HumanML3D's limit
REPRESENTATION = Representation(
    "evaluator",
    ("root_heading_rate", "root_velocity", "root_height", "joint_positions", "joint_velocities"),
)


@dataclass(frozen=True, kw_only=True)
class EvaluatorConfig:
    """Sizes of both encoders."""

    width: int = 160
    embedding_width: int = 64  # small, so that a few hundred clips give a covariance
    num_layers: int = 3
    num_heads: int = 4
    dropout: float = 0.15
    part: str = "whole"  # of the body: what of a motion is seen; see part_mask

    def __post_init__(self) -> None:
        if self.part not in PARTS:
            raise ValueError(f"part is {self.part!r}, needs one of {', '.join(PARTS)}")
        if self.width % self.num_heads:
            raise ValueError(f"width is {self.width}, needs a multiple of {self.num_heads}")


class MotionEncoder(nn.Module):
    """Three strided convolutions, then attention over an eighth of the frames."""

    def __init__(self, config: EvaluatorConfig) -> None:
        super().__init__()
        inputs = (REPRESENTATION.num_features, config.width, config.width)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(channels, config.width, 5, stride=2, padding=2) for channels in inputs
        )
        self.layers = _layers(config, config.num_layers)
        self.pool = AttentionPool(config.width)
        self.head = nn.Linear(config.width, config.embedding_width)

    def forward(self, features: Tensor, mask: Tensor) -> Tensor:
        """features (B, T, F) normalised, mask (B, T) True at real frames: (B, E)."""
        x = (features * mask[..., None]).transpose(1, 2)
        for convolution in self.convolutions:  # (B, D, T / 2), then T / 4, then T / 8
            mask = mask[:, ::2]
            x = F.gelu(convolution(x)) * mask[:, None]
        x = x.transpose(1, 2) + _positions(x.shape[2], x.shape[1], x)
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=~mask)
        return _on_sphere(self.head(self.pool(x, mask)))


class CaptionEncoder(nn.Module):
    """One layer of attention over the frozen tokens, and the pooled sentence."""

    def __init__(self, config: EvaluatorConfig) -> None:
        super().__init__()
        self.project = nn.Linear(TEXT_WIDTH, config.width)
        self.sentence = nn.Linear(TEXT_WIDTH, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = _layers(config, 1)
        self.pool = AttentionPool(config.width)
        self.head = nn.Linear(config.width, config.embedding_width)

    def forward(self, text: TextFeatures) -> Tensor:
        """Tokens (B, L, 384) with mask (B, L) and sentences (B, 384): (B, E)."""
        x = self.dropout(self.project(text.tokens))
        x = x + _positions(x.shape[1], x.shape[2], x)
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=~text.mask)
        pooled = self.pool(x, text.mask) + self.sentence(text.sentence)
        return _on_sphere(self.head(pooled))


class AttentionPool(nn.Module):
    """Weighted mean over real positions; the weights are learned, four sets of them."""

    def __init__(self, width: int, num_sets: int = 4) -> None:
        super().__init__()
        self.score = nn.Linear(width, num_sets)
        self.merge = nn.Linear(width * num_sets, width)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (B, N, D), mask (B, N): (B, D)."""
        weights = self.score(x).masked_fill(~mask[..., None], -torch.inf).softmax(dim=1)
        return self.merge(torch.einsum("bns,bnd->bsd", weights, x).flatten(1))


class Evaluator(nn.Module):
    """Both encoders with the statistics of the motion features."""

    mean: Tensor
    std: Tensor
    kept: Tensor

    def __init__(self, config: EvaluatorConfig) -> None:
        super().__init__()
        self.config = config
        self.motion = MotionEncoder(config)
        self.caption = CaptionEncoder(config)
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self.register_buffer("mean", torch.zeros(REPRESENTATION.num_features))
        self.register_buffer("std", torch.ones(REPRESENTATION.num_features))
        self.register_buffer("kept", part_mask(config.part), persistent=False)

    def encode_motions(self, features: Tensor, mask: Tensor) -> Tensor:
        """features (B, T, F) not normalised, mask (B, T): (B, E)."""
        return self.motion((features - self.mean) / self.std * self.kept, mask)

    @torch.inference_mode()
    def embed_motions(
        self, motions: Sequence[NDArray[np.float32]], *, batch_size: int = 64
    ) -> NDArray[np.float64]:
        """Embed motions, each (T, 22, 3) in metres at 20 fps and at least 2 frames: (N, E)."""
        parts: list[Tensor] = []
        for start in range(0, len(motions), batch_size):
            features = [motion_features(joints) for joints in motions[start : start + batch_size]]
            parts.append(self.encode_motions(*pad_features(features)))
        return torch.cat(parts).double().numpy()

    @torch.inference_mode()
    def embed_captions(self, captions: Sequence[str]) -> NDArray[np.float64]:
        """Embed captions: (N, E)."""
        return self.caption(encode_text(list(captions))).double().numpy()


def part_mask(part: str) -> Tensor:
    """1 for the features (F,) that belong to a part of the body, else 0.

    The lower body has the root's numbers, and positions and velocities of the legs and of the root;
    all else is the upper body's.

    The split of CrossDiff, ECCV 2024, section 4.2 (FID-L and FID-U), on our features, which have
    no rotations: 55 and 75 of them where the published ones are 103 and 156.
    """
    if part == "whole":
        return torch.ones(REPRESENTATION.num_features)
    is_leg = torch.zeros(22)
    is_leg[list(LEG_JOINTS)] = 1.0
    of_velocities = is_leg.clone()
    of_velocities[PELVIS] = 1.0
    root = torch.ones(4)
    lower = torch.cat((root, is_leg[1:].repeat_interleave(3), of_velocities.repeat_interleave(3)))
    return lower if part == "lower" else 1.0 - lower


def motion_features(joints: NDArray[np.float32]) -> Tensor:
    """Features (T - 1, F) of joints (T, 22, 3); frames beyond MAX_FRAMES are left out."""
    positions = torch.as_tensor(joints[:MAX_FRAMES], dtype=torch.float32)
    return REPRESENTATION.encode(positions, estimate_heading(positions))


def pad_features(features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Stack features (T, F) of several lengths: (B, longest, F) and mask (B, longest)."""
    lengths = torch.tensor([len(item) for item in features])
    padded = nn.utils.rnn.pad_sequence(list(features), batch_first=True)
    return padded, torch.arange(padded.shape[1])[None] < lengths[:, None]


def load_evaluator(path: Path = SHIPPED) -> tuple[Evaluator, CheckpointInfo]:
    """Read an evaluator and what its header says of it.

    Raises:
        CheckpointError: the file is missing, or is another kind of model.
    """
    info, tensors = load_checkpoint(path)
    if info.method != METHOD:
        raise CheckpointError(
            f"{path} is a {info.method} model, needs an evaluator: python -m trainer evaluator"
        )
    if info.feature_blocks != REPRESENTATION.sizes:
        raise CheckpointError(f"{path} was trained on other features than this version's: train it")
    evaluator = Evaluator(EvaluatorConfig(**info.method_config))
    weights = {name.removeprefix("model."): tensor for name, tensor in tensors.items()}
    evaluator.load_state_dict(weights)
    return evaluator.eval(), info


def load_halves() -> dict[str, Evaluator]:
    """The evaluators of the upper and the lower body that ship, by name; none that isn't there."""
    files = {part: SHIPPED.with_name(f"evaluator-{part}.safetensors") for part in PARTS[1:]}
    return {part: load_evaluator(path)[0] for part, path in files.items() if path.is_file()}


def config_values(config: EvaluatorConfig) -> dict[str, float | str]:
    """The configuration as JSON values."""
    return asdict(config)


def _layers(config: EvaluatorConfig, count: int) -> nn.ModuleList:
    return nn.ModuleList(
        nn.TransformerEncoderLayer(
            config.width,
            config.num_heads,
            2 * config.width,
            config.dropout,
            "gelu",
            batch_first=True,
            norm_first=True,
        )
        for _ in range(count)
    )


def _positions(count: int, width: int, like: Tensor) -> Tensor:
    """Sinusoids (count, width) of positions."""
    rate = torch.exp(
        -math.log(1_000.0) * torch.arange(width // 2, device=like.device) / (width // 2)
    )
    angle = torch.arange(count, device=like.device)[:, None] * rate
    return torch.cat([angle.sin(), angle.cos()], dim=-1).to(like.dtype)


def _on_sphere(x: Tensor) -> Tensor:
    return F.normalize(x, dim=-1) * math.sqrt(x.shape[-1])
