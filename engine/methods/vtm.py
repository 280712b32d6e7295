"""Keypoints to motion through a space of motions that both can be encoded in (VTM).

Source: Hou et al., Cross-Modal Manifold Alignment, 2024 (arXiv 2404.09499). A motion auto-encoder
learns codes of the upper and of the lower body, on one virtual body for everybody; a visual encoder
learns to give the same codes for what a camera sees; decoders make the motion from codes, whoever
made them. The proportions of the body are told apart from its motion, and the root's place comes
from its depth and the keypoints' rays. What differs here: keypoints take the place of images, a
code of all keypoints that of the image's features; layer sizes are ours. Shape letters: B clips,
T frames (padded to a multiple of 4), N = T / 4 tokens, Z codes of a token and part.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.checkpoint import CheckpointError, CheckpointInfo
from engine.methods.base import Condition, Report, RequestError, SampleOptions, VideoClip
from engine.motion import proportions
from engine.motion import rotations as rot
from engine.motion.keypoint_layout import OBSERVED_JOINTS
from engine.motion.lifting import Lift, Observation, motion_of_lift, observe, refine
from engine.motion.motion import Motion
from engine.motion.skeleton import SMPL_22
from engine.networks.keypoint_encoder import KeypointEncoder, TemporalBlock
from engine.networks.part_codec import (
    FRAMES_PER_TOKEN,
    Context,
    TimeDecoder,
    TimeEncoder,
    token_mask,
    whole_tokens,
)

# The root is in both parts.
UPPER_BODY = (0, 3, 6, 9, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21)
LOWER_BODY = (0, 1, 2, 4, 5, 7, 8, 10, 11)
PARTS = (UPPER_BODY, LOWER_BODY)
REFINEMENT_SECONDS = 0.15  # over which poses are pulled towards their keypoints
CHUNK_FRAMES = 1_000  # a longer clip is read in parts, which changes nothing
_ROOT_FEATURES = 3 + 2 + 4  # up, depth and its change, contacts
_LOUDNESS = 3.0  # of poses among an encoder's inputs
_USUAL_LOG_DEPTH = 1.6  # about 5 metres
_NEAREST_LOG_DEPTH, _FARTHEST_LOG_DEPTH = -1.0, 5.0


@dataclass(frozen=True, kw_only=True)
class VtmConfig:
    """What a checkpoint of this method must say to be run."""

    width: int = 256  # of the visual encoder
    motion_width: int = 160  # of the motion auto-encoder
    num_codes: int = 128  # of a token and part
    dilations: tuple[int, ...] = (1, 2)  # of the convolutions at the frame rate
    context_layers: int = 2
    num_heads: int = 4
    context_reach: int = 8  # tokens to either side, of each layer

    def __post_init__(self) -> None:
        sizes = (self.width, self.motion_width, self.num_codes, self.num_heads, *self.dilations)
        if min(*sizes, self.context_layers, self.context_reach) < 1:
            raise ValueError("widths, numbers, dilations and reach need to be 1 or more")
        if self.width % (2 * self.num_heads):
            raise ValueError(f"width is {self.width}, needs a multiple of 2 x {self.num_heads}")

    @classmethod
    def from_header(cls, values: Mapping[str, Any]) -> VtmConfig:
        """The configuration that a checkpoint's header spells out.

        Raises:
            CheckpointError: a field is missing, unknown or out of range.
        """
        try:
            fields: dict[str, Any] = {**values, "dilations": tuple(values["dilations"])}
            return cls(**fields)
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"The model's configuration can't be read: {error}") from error


@dataclass(frozen=True, kw_only=True)
class VirtualMotion:
    """A motion as the virtual body makes it, in each frame's camera: size and bones are out."""

    local_rotations: Tensor  # (B, T, 22, 3, 3) to the parent; the root's to the camera
    joints: Tensor  # (B, T, 22, 3) of the virtual body, from its root
    log_depth: Tensor  # (B, T) of the root, in metres of the virtual body
    up: Tensor  # (B, T, 3) unit
    contacts: Tensor  # (B, T, 4)


def virtual_motion(
    local_rotations: Tensor, root: Tensor, up: Tensor, contacts: Tensor, log_bones: Tensor
) -> VirtualMotion:
    """The motion of performers with log_bones (B, 13), their roots at (B, T, 3) metres.

    A performer twice as large and twice as far looks the same, and has the same motion.
    """
    log_size = log_bones.mean(-1, keepdim=True)
    offsets = SMPL_22.offsets_like(local_rotations)
    return VirtualMotion(
        local_rotations=local_rotations,
        joints=proportions.pose_bodies(local_rotations, offsets)[0],
        log_depth=torch.log(root[..., 2].clamp(min=1e-2)) - log_size,
        up=up,
        contacts=contacts,
    )


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """What codes say of frames."""

    sixd: Tensor  # (B, T, 22, 6) rotations; the root's to the camera
    log_depth: Tensor  # (B, T) of the root, in metres of the virtual body
    up: Tensor  # (B, T, 3) in the camera's frame, not of unit length
    contact_logits: Tensor  # (B, T, 4)


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What the visual encoder makes of keypoints."""

    codes: Tensor  # (B, 2, N, Z) of the upper and the lower body
    tokens: Tensor  # (B, N, 2 D) what the codes were read off


class MotionAutoEncoder(nn.Module):
    """Motions of the virtual body to codes, and codes to motions."""

    def __init__(self, config: VtmConfig) -> None:
        super().__init__()
        width, codes = config.motion_width, config.num_codes
        self.inputs = nn.ModuleList(
            nn.Linear(9 * len(joints) + _ROOT_FEATURES, width) for joints in PARTS
        )
        self.encoders = nn.ModuleList(TimeEncoder(width, (1,)) for _ in PARTS)
        self.to_codes = nn.ModuleList(nn.Linear(width, codes) for _ in PARTS)
        self.decoders = nn.ModuleList(TimeDecoder(codes, width) for _ in PARTS)
        self.join = nn.Linear(2 * width, width)
        self.mix = TemporalBlock(width, 1)
        self.body = nn.Linear(width, 21 * 6 + 4)
        self.root_decoder = TimeDecoder(2 * codes, width)
        self.root = nn.Linear(width, 6 + 1 + 3)
        self.start = nn.Parameter(_upright())
        for head in (self.body, self.root):
            nn.init.normal_(head.weight, std=0.1 / width**0.5)
            nn.init.zeros_(head.bias)

    def encode(self, motion: VirtualMotion, mask: Tensor) -> Tensor:
        """Codes (B, 2, N, Z) of a motion; mask (B, T) bool are the frames that count."""
        joints = _LOUDNESS * motion.joints
        # what all poses share would drown what tells them apart
        sixd = _LOUDNESS * (rot.matrix_to_sixd(motion.local_rotations) - _upright().to(joints))
        depth = _LOUDNESS * (motion.log_depth - _USUAL_LOG_DEPTH)
        change = 20.0 * F.pad(depth.diff(dim=1), (1, 0))
        around = torch.cat(
            (motion.up, torch.stack((depth, change), dim=-1), motion.contacts), dim=-1
        )
        found: list[Tensor] = []
        for part, to_width, encoder, to_codes in zip(
            PARTS, self.inputs, self.encoders, self.to_codes, strict=True
        ):
            chosen = list(part)
            seen = (joints[:, :, chosen].flatten(2), sixd[:, :, chosen].flatten(2), around)
            found.append(to_codes(encoder(to_width(torch.cat(seen, dim=-1)), mask)))
        return normalised_codes(torch.stack(found, dim=1))

    def decode(self, codes: Tensor, mask: Tensor) -> Decoded:
        """The motion that codes (B, 2, N, Z) stand for; who made them doesn't matter."""
        parts = [decoder(codes[:, number], mask) for number, decoder in enumerate(self.decoders)]
        weights = mask[..., None].to(parts[0].dtype)
        body = self.body(self.mix(self.join(torch.cat(parts, dim=-1)), weights)).float()
        both = codes.transpose(1, 2).flatten(2)
        root = self.root(self.root_decoder(both, mask)).float()
        sixd = torch.cat((root[..., :6], body[..., : 21 * 6]), dim=-1).unflatten(-1, (22, 6))
        log_depth = _USUAL_LOG_DEPTH + root[..., 6]
        return Decoded(
            sixd=self.start + sixd,
            log_depth=log_depth.clamp(_NEAREST_LOG_DEPTH, _FARTHEST_LOG_DEPTH),
            up=root[..., 7:] + root.new_tensor((0.0, -1.0, 0.0)),
            contact_logits=body[..., 21 * 6 :],
        )


class VisualEncoder(nn.Module):
    """Keypoints to codes of motions."""

    def __init__(self, config: VtmConfig) -> None:
        super().__init__()
        width = config.width
        self.whole = KeypointEncoder(width)
        seen = [[joint for joint in joints if joint in OBSERVED_JOINTS] for joints in PARTS]
        self.keypoints = nn.ModuleList(KeypointEncoder(width, joints) for joints in seen)
        self.fuse = nn.ModuleList(nn.Linear(2 * width, width) for _ in PARTS)
        self.encoders = nn.ModuleList(TimeEncoder(width, config.dilations) for _ in PARTS)
        self.part_codes = nn.Parameter(0.1 * torch.randn(len(PARTS), 1, width))
        self.context = Context(
            width,
            num_layers=config.context_layers,
            num_heads=config.num_heads,
            reach=config.context_reach,
        )
        self.to_codes = nn.ModuleList(nn.Linear(width, config.num_codes) for _ in PARTS)
        encoder = self.encoders[0]
        assert isinstance(encoder, TimeEncoder)
        self.reach = encoder.reach + self.context.reach

    def forward(self, keypoints: Tensor, boxes: Tensor, mask: Tensor) -> Sight:
        """Codes of clips.

        Args:
            keypoints: (B, T, 22, 3) in units of their box, and confidence.
            boxes: (B, T, 3) on the plane at depth 1.
            mask: (B, T) bool, the frames that count.
        """
        whole = self.whole(keypoints, boxes)
        parts: list[Tensor] = []
        for encode, fuse, encoder in zip(self.keypoints, self.fuse, self.encoders, strict=True):
            seen = fuse(torch.cat((whole, encode(keypoints, boxes)), dim=-1))
            parts.append(encoder(seen, mask))
        tokens = torch.stack(parts, dim=1) + self.part_codes
        tokens = self.context(tokens, token_mask(mask))
        codes = [to_codes(tokens[:, part]) for part, to_codes in enumerate(self.to_codes)]
        return Sight(
            codes=normalised_codes(torch.stack(codes, dim=1)),
            tokens=tokens.transpose(1, 2).flatten(2),
        )


class VtmNetwork(nn.Module):
    """The parts of the method; how they are put together is training's and lifting's."""

    def __init__(self, config: VtmConfig) -> None:
        super().__init__()
        self.autoencoder = MotionAutoEncoder(config)
        self.visual = VisualEncoder(config)
        self.bones = nn.Linear(2 * config.width, 1 + proportions.NUM_BONES)
        self.errors = nn.Linear(2 * config.width, FRAMES_PER_TOKEN * 22)
        for head in (self.bones, self.errors):
            nn.init.normal_(head.weight, std=0.01 / config.width**0.5)
            nn.init.zeros_(head.bias)
        first = self.autoencoder.root_decoder
        reach = self.visual.reach + first.reach + FRAMES_PER_TOKEN
        self.reach = whole_tokens(reach)  # frames to either side that a frame depends on

    def read_bones(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """One body (B, 13) per clip of tokens (B, N, 2 D), weighed by what each can tell.

        mask (B, N) bool: the tokens that count, one or more of each clip.
        """
        told = self.bones(tokens).float()
        weights = torch.where(mask, told[..., 0], -torch.inf).softmax(dim=-1)
        return proportions.centred((weights[..., None] * told[..., 1:]).sum(-2))

    def read_errors(self, tokens: Tensor) -> Tensor:
        """Logarithms (B, T, 22) of how many metres off joints are expected to be."""
        # the codes are not bent towards telling their own errors
        told = self.errors(tokens.detach()).float()
        return told.unflatten(-1, (FRAMES_PER_TOKEN, 22)).flatten(1, 2) - 3.0


def normalised_codes(codes: Tensor) -> Tensor:
    """Codes (..., Z) with mean 0 and size 1 each: no encoder can make its codes small."""
    return F.layer_norm(codes.float(), codes.shape[-1:])


class Vtm:
    """A loaded lifter."""

    accepts = frozenset({"video"})

    def __init__(
        self, info: CheckpointInfo, tensors: Mapping[str, Tensor], device: torch.device
    ) -> None:
        """Build the network from a checkpoint.

        Raises:
            CheckpointError: its configuration or tensors don't fit this version.
        """
        self.config = VtmConfig.from_header(info.method_config)
        self.info = info
        self._device = device
        self.network = VtmNetwork(self.config)
        weights = {n[6:]: t for n, t in tensors.items() if n.startswith("model.")}
        try:
            self.network.load_state_dict(weights)
        except RuntimeError as error:
            raise CheckpointError(
                f"{info.name} doesn't fit its own configuration: {error}"
            ) from error
        self.network.eval().requires_grad_(False).to(device)
        self._is_frame_by_frame = False

    def single_frame(self) -> Vtm:
        """The same lifter with each frame taken as a clip of its own."""
        other = copy(self)
        other._is_frame_by_frame = True
        return other

    def run(self, condition: Condition, options: SampleOptions, report: Report) -> Motion:
        """Lift a clip; see engine.methods.base.Method.

        The motion has the clip's length at the model's rate, or options.num_frames if that is
        less. Nothing is drawn: the seed doesn't matter.
        """
        if not isinstance(condition, VideoClip):
            raise RequestError(f"The model {self.info.name} makes motion from video, not from text")
        observation = observe(condition.track(), fps=self.info.fps, device=self._device)
        report(0, 2)
        with torch.inference_mode():
            lift = self.lift(observation)
            report(1, 2)
            seconds = 0.0 if self._is_frame_by_frame else REFINEMENT_SECONDS
            motion = motion_of_lift(refine(lift, observation, seconds=seconds), observation)
        report(2, 2)
        return self._signed(motion.crop(0, options.num_frames))

    def lift(self, observation: Observation) -> Lift:
        """Poses and the rest, in the camera's frame."""
        if self._is_frame_by_frame:
            decoded, tokens = self._read(
                observation.normalised[:, None], observation.boxes[:, None]
            )
            frames = {name: value[:, 0] for name, value in vars(decoded).items()}
            errors, tokens = self.network.read_errors(tokens)[:, 0], tokens[:, 0][None]
        else:
            decoded, tokens = self._read_in_chunks(observation)
            frames = {name: value[0] for name, value in vars(decoded).items()}
            errors = self.network.read_errors(tokens)[0, : len(observation.keypoints)]
        mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
        return Lift(
            local_rotations=rot.sixd_to_matrix(frames["sixd"]),
            log_bones=self.network.read_bones(tokens, mask)[0],
            up=rot.normalise(frames["up"]),
            contacts=torch.sigmoid(frames["contact_logits"]),
            depth=torch.exp(frames["log_depth"]),
            error=torch.exp(errors),
        )

    def _read(self, keypoints: Tensor, boxes: Tensor) -> tuple[Decoded, Tensor]:
        """Clips (B, T, ...) of any one length: what is decoded of them, and tokens (B, N, 2 D)."""
        num_frames = keypoints.shape[1]
        missing = whole_tokens(num_frames) - num_frames
        mask = F.pad(keypoints.new_ones(keypoints.shape[:2]), (0, missing)) > 0
        sight = self.network.visual(
            F.pad(keypoints, (0, 0, 0, 0, 0, missing)), F.pad(boxes, (0, 0, 0, missing)), mask
        )
        decoded = self.network.autoencoder.decode(sight.codes, mask)
        cropped = {name: value[:, :num_frames] for name, value in vars(decoded).items()}
        return Decoded(**cropped), sight.tokens

    def _read_in_chunks(self, observation: Observation) -> tuple[Decoded, Tensor]:
        """The same of one clip (B = 1): each chunk is read with what its frames depend on."""
        num_frames, reach = len(observation.keypoints), self.network.reach
        parts: list[Decoded] = []
        tokens: list[Tensor] = []
        for start in range(0, num_frames, CHUNK_FRAMES):
            first, stop = max(0, start - reach), start + CHUNK_FRAMES
            decoded, found = self._read(
                observation.normalised[None, first : stop + reach],
                observation.boxes[None, first : stop + reach],
            )
            own = slice(start - first, stop - first)
            parts.append(Decoded(**{name: value[:, own] for name, value in vars(decoded).items()}))
            tokens.append(found[:, own.start // FRAMES_PER_TOKEN : own.stop // FRAMES_PER_TOKEN])
        joined = {
            name: torch.cat([getattr(part, name) for part in parts], dim=1)
            for name in vars(parts[0])
        }
        return Decoded(**joined), torch.cat(tokens, dim=1)

    def _signed(self, motion: Motion) -> Motion:
        provenance = {
            "model": self.info.name,
            "model_hash": self.info.model_hash,
            "licence": self.info.licence,
        }
        return replace(motion, provenance={**motion.provenance, **provenance})


def _upright() -> Tensor:
    """6D rotations (22, 6) of the rest pose facing the camera, whose y points down."""
    sixd = torch.tensor((1.0, 0.0, 0.0, 0.0, 1.0, 0.0)).repeat(22, 1)
    sixd[0, 4] = -1.0
    return sixd
