"""VTM on motion seen by virtual cameras: first the motion's own codes, then keypoints give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from engine.checkpoint import CheckpointInfo, save_checkpoint
from engine.methods.vtm import (
    Decoded,
    Sight,
    VirtualMotion,
    VtmConfig,
    VtmNetwork,
    virtual_motion,
)
from engine.motion.proportions import NUM_BONES
from engine.networks.part_codec import FRAMES_PER_TOKEN, token_mask
from trainer.data.corpus import FPS, CorpusError, load_corpus
from trainer.data.lifting_examples import (
    LiftBatch,
    LiftDataSettings,
    LiftSampler,
    held_out_batches,
)
from trainer.data.performers import PARTS, of_part
from trainer.device import to_device, training_device
from trainer.evaluation.lifting_metrics import procrustes
from trainer.loop import LoopSettings
from trainer.losses.code_alignment import alignment_loss
from trainer.losses.pose_terms import (
    direction_loss,
    distance,
    joint_loss,
    log_error_loss,
    masked_mean,
    motion_losses,
    rotation_loss,
)
from trainer.losses.posed import Posed, pose
from trainer.losses.reprojection import best_root, keypoint_loss
from trainer.precision import PRECISIONS, autocast
from trainer.stages import LossTerms, Player, Stage


@dataclass(frozen=True, kw_only=True)
class VtmWeights:
    """Weights of the terms, for errors in metres, box halves and radians."""

    joints: float = 10.0
    rotations: float = 1.0
    steps: float = 6.0
    step_changes: float = 6.0
    depth: float = 1.0  # of the logarithm
    up: float = 4.0
    contacts: float = 0.5
    keypoints: float = 2.0
    bones: float = 10.0
    alignment: float = 1.0  # 0: the codes are only tied by the decoder that they share
    errors: float = 0.1

    def __post_init__(self) -> None:
        for name, weight in vars(self).items():
            if weight < 0:
                raise ValueError(f"weights.{name} is {weight}, needs 0 or more")


@dataclass(frozen=True, kw_only=True)
class VtmTraining:
    """One VTM run. Counts are optimiser steps."""

    method: str = "vtm"
    licence: str
    model: VtmConfig = field(default_factory=VtmConfig)
    data: LiftDataSettings = field(default_factory=LiftDataSettings)
    weights: VtmWeights = field(default_factory=VtmWeights)
    loop: LoopSettings = field(default_factory=lambda: LoopSettings(num_steps=15_000))
    performers: str = "all"  # or one half of them: a, b
    autoencoder_share: float = 0.2  # of the steps, in which only motions are encoded
    short_share: float = 0.15  # of the windows that are cut: half of them to a single frame
    learning_rate: float = 8e-4
    autoencoder_rate: float = 1.0  # of the learning rate, once keypoints are learned from
    weight_decay: float = 0.02
    precision: str = "auto"  # of the forward pass; see trainer.precision

    def __post_init__(self) -> None:
        if self.performers not in PARTS:
            raise ValueError(f"performers is {self.performers!r}, needs one of {', '.join(PARTS)}")
        if not 0 <= self.autoencoder_share < 1 or not 0 <= self.short_share <= 1:
            raise ValueError("autoencoder_share needs 0 to below 1, short_share 0 to 1")
        if self.data.num_frames % FRAMES_PER_TOKEN:
            raise ValueError(
                f"data.num_frames is {self.data.num_frames}, needs a multiple of {FRAMES_PER_TOKEN}"
            )
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"precision is {self.precision!r}, needs one of {', '.join(PRECISIONS)}"
            )

    @property
    def size(self) -> str:
        """The network in a few characters."""
        return f"{self.model.width} + {self.model.motion_width}"


def stages(training: VtmTraining, folders: Sequence[Path], run: Path) -> list[Stage]:
    """The motion auto-encoder, then the visual encoder beside it.

    Raises:
        CorpusError: a folder isn't a corpus, or no clip is left of it.
    """
    torch.manual_seed(training.loop.seed)
    device = training_device()
    clips = of_part(load_corpus(folders, "train", mirrored=False), training.performers)
    if not clips:
        raise CorpusError(f"No clip of the performers {training.performers!r} is there")
    sampler = LiftSampler(clips, [], training.data, device)
    network = VtmNetwork(training.model).to(device)
    objective = _Objective(network, training)
    held_out = [
        to_device(batch, device)
        for batch in held_out_batches(load_corpus(folders, "val", mirrored=False), training.data)
    ]
    total = training.loop.num_steps
    first = round(training.autoencoder_share * total)
    saver = _Saver(training, network, [folder.name for folder in folders], run)
    motions = Stage(
        name="autoencoder",
        players=(
            Player(
                name="model",
                module=network,
                optimizer=_optimizer(training, (network.autoencoder, 1.0)),
                loss=objective.motion_loss,
            ),
        ),
        batches=sampler,
        validate=lambda: objective.validate_motions(held_out),
        save=lambda name, step, figures: None,  # nothing to lift with yet
        num_steps=first,
    )
    visual = (network.visual, network.bones, network.errors)
    aligned = Stage(
        name="align",
        players=(
            Player(
                name="model",
                module=network,
                optimizer=_optimizer(
                    training,
                    *((module, 1.0) for module in visual),
                    (network.autoencoder, training.autoencoder_rate if first else 1.0),
                ),
                loss=objective.visual_loss,
            ),
        ),
        batches=sampler,
        validate=lambda: objective.validate(held_out),
        save=lambda name, step, figures: saver.save(name, first + step, figures),
        num_steps=total - first,
        steps_before=first,
    )
    return [motions, aligned] if first else [aligned]


class _Objective:
    """What the two stages lower."""

    def __init__(self, network: VtmNetwork, training: VtmTraining) -> None:
        self._network, self._training = network, training

    def motion_loss(self, batch: LiftBatch, generator: torch.Generator) -> LossTerms:
        """The first stage: motions through their codes and back."""
        batch = shortened(batch, self._training.short_share, generator)
        truth = _virtual(batch)
        with self._autocast(batch):
            codes = self._network.autoencoder.encode(truth, batch.mask)
            decoded = self._network.autoencoder.decode(codes, batch.mask)
        posed = pose(decoded.sixd, _no_bones(batch))
        return self._motion_terms(posed, decoded, truth, truth.joints, batch.mask)

    def visual_loss(self, batch: LiftBatch, generator: torch.Generator) -> LossTerms:
        """The second stage: codes of keypoints and of motions, through the same decoders."""
        weights = self._training.weights
        batch = shortened(batch, self._training.short_share, generator)
        truth = _virtual(batch)
        mask, both = batch.mask, batch.mask.repeat(2, 1)
        with self._autocast(batch):
            sight = self._network.visual(batch.normalised, batch.boxes, mask)
            codes = self._network.autoencoder.encode(truth, mask)
            decoded = self._network.autoencoder.decode(torch.cat((sight.codes, codes)), both)
            bones = self._network.read_bones(sight.tokens, token_mask(mask))
            log_errors = self._network.read_errors(sight.tokens)
        # what is seen is judged on the performer's body, what was encoded on the virtual one
        posed = pose(decoded.sixd, torch.cat((bones, _no_bones(batch))))
        terms = self._motion_terms(
            posed, decoded, _twice(truth), torch.cat((batch.joints, truth.joints)), both
        )
        if weights.alignment > 0:
            terms["alignment"] = weights.alignment * _aligned(sight, codes, mask)
        terms["keypoints"] = weights.keypoints * _keypoint_term(posed, decoded, batch)
        terms["bones"] = weights.bones * (bones - batch.log_bones).square().mean()
        off = distance(posed.joints[: len(mask)], batch.joints)
        terms["errors"] = weights.errors * log_error_loss(log_errors, off, mask)
        return terms

    def validate_motions(self, batches: Sequence[LiftBatch]) -> dict[str, float]:
        """Joint errors in metres, from the root, of held-out motions through their codes."""
        found: list[Tensor] = []
        for batch in batches:
            truth = _virtual(batch)
            with self._autocast(batch):
                codes = self._network.autoencoder.encode(truth, batch.mask)
                decoded = self._network.autoencoder.decode(codes, batch.mask)
            joints = pose(decoded.sixd, _no_bones(batch)).joints
            found.append(distance(joints, truth.joints).mean(-1)[batch.mask])
        return {"validation": float(torch.cat(found).mean())}

    def validate(self, batches: Sequence[LiftBatch]) -> dict[str, float]:
        """Joint errors in metres of held-out clips: from the root, and aligned frame by frame.

        "single_frame" is of single frames, one per clip. "codes" is how far the codes of keypoints
        are from those of motions, 1 being no better than their mean.
        """
        found: dict[str, list[Tensor]] = {}
        for batch in batches:
            for name, value in self._measured(batch).items():
                found.setdefault(name, []).append(value)
        means = {name: float(torch.cat(values).mean()) for name, values in found.items()}
        motions = self.validate_motions(batches)["validation"]
        return {**means, "autoencoder": motions}

    def _measured(self, batch: LiftBatch) -> dict[str, Tensor]:
        mask = batch.mask
        joints, sight = self._lifted(batch)
        with self._autocast(batch):
            codes = self._network.autoencoder.encode(_virtual(batch), mask)
        start = replace(
            batch,
            normalised=batch.normalised[:, :FRAMES_PER_TOKEN],
            boxes=batch.boxes[:, :FRAMES_PER_TOKEN],
            mask=torch.arange(FRAMES_PER_TOKEN, device=mask.device).expand(len(mask), -1) < 1,
        )
        alone = self._lifted(start)[0]
        aligned = procrustes(joints[mask], batch.joints[mask])
        return {
            "validation": distance(joints, batch.joints).mean(-1)[mask],
            "aligned": distance(aligned, batch.joints[mask]).mean(-1),
            "single_frame": distance(alone[:, 0], batch.joints[:, 0]).mean(-1),
            "codes": _aligned(sight, codes, mask)[None],
        }

    def _lifted(self, batch: LiftBatch) -> tuple[Tensor, Sight]:
        """Joints (B, T, 22, 3) of the lifted poses, and what they were decoded from."""
        with self._autocast(batch):
            sight = self._network.visual(batch.normalised, batch.boxes, batch.mask)
            decoded = self._network.autoencoder.decode(sight.codes, batch.mask)
            bones = self._network.read_bones(sight.tokens, token_mask(batch.mask))
        return pose(decoded.sixd, bones).joints, sight

    def _motion_terms(
        self, posed: Posed, decoded: Decoded, truth: VirtualMotion, joints: Tensor, mask: Tensor
    ) -> LossTerms:
        """Terms of decoded motions against the truth and its joints (B, T, 22, 3)."""
        weights = self._training.weights
        steps, changes = motion_losses(posed.joints, joints, mask)
        contacts = functional.binary_cross_entropy_with_logits(
            decoded.contact_logits, truth.contacts, reduction="none"
        ).mean(-1)
        away = (decoded.log_depth - truth.log_depth).abs()
        return {
            "joints": weights.joints * joint_loss(posed.joints, joints, mask),
            "rotations": weights.rotations
            * rotation_loss(posed.local_rotations, truth.local_rotations, mask),
            "steps": weights.steps * steps,
            "step_changes": weights.step_changes * changes,
            "depth": weights.depth * masked_mean(away, mask),
            "up": weights.up * direction_loss(decoded.up, truth.up, mask),
            "contacts": weights.contacts * masked_mean(contacts, mask),
        }

    def _autocast(self, batch: LiftBatch) -> torch.autocast:
        return autocast(self._training.precision, batch.mask.device)


def shortened(batch: LiftBatch, share: float, generator: torch.Generator) -> LiftBatch:
    """The batch with some windows cut: to one frame, or to any number of them."""
    count, num_frames = batch.mask.shape
    is_cut, is_single, part = torch.rand(count, 3, generator=generator).unbind(1)
    length = 2 + ((num_frames - 1) * part).floor()
    length = torch.where(is_single < 0.5, 1.0, length)
    length = torch.where(is_cut < share, length, float(num_frames)).to(batch.mask.device)
    frames = torch.arange(num_frames, device=batch.mask.device)
    return replace(batch, mask=batch.mask & (frames < length[:, None]))


def _virtual(batch: LiftBatch) -> VirtualMotion:
    return virtual_motion(
        batch.local_rotations, batch.root, batch.up, batch.contacts, batch.log_bones
    )


def _twice(motion: VirtualMotion) -> VirtualMotion:
    return VirtualMotion(**{name: torch.cat((v, v)) for name, v in vars(motion).items()})


def _no_bones(batch: LiftBatch) -> Tensor:
    """Bones (B, 13) of the virtual body."""
    return batch.log_bones.new_zeros(len(batch.mask), NUM_BONES)


def _aligned(sight: Sight, codes: Tensor, mask: Tensor) -> Tensor:
    """Codes (B, 2, N, Z) of both parts; each has a spread of its own."""
    tokens = token_mask(mask)
    parts = zip(sight.codes.unbind(1), codes.float().unbind(1), strict=True)
    return torch.stack([alignment_loss(seen, made, tokens) for seen, made in parts]).mean()


def _keypoint_term(posed: Posed, decoded: Decoded, batch: LiftBatch) -> Tensor:
    """How far what was lifted (the first half) is from its keypoints, placed where it fits best."""
    points = posed.keypoints[: len(batch.mask)]
    depth = torch.exp(decoded.log_depth[: len(batch.mask)].detach())[..., None]
    guess = torch.cat((batch.boxes[..., :2] * depth, depth), dim=-1)
    root = best_root(points, batch.plane_points, batch.normalised[..., 2], guess)
    return keypoint_loss(points, root, batch.boxes, batch.normalised, batch.mask)


def _optimizer(
    training: VtmTraining, *modules: tuple[torch.nn.Module, float]
) -> torch.optim.Optimizer:
    """AdamW of modules with their shares of the learning rate; only matrices decay."""
    groups = [
        {
            "params": [p for p in module.parameters() if (p.ndim >= 2) == decays],
            "lr": share * training.learning_rate,
            "weight_decay": training.weight_decay if decays else 0.0,
        }
        for module, share in modules
        for decays in (True, False)
    ]
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True)


class _Saver:
    """Writes checkpoints to lift with."""

    def __init__(
        self, training: VtmTraining, network: VtmNetwork, datasets: list[str], run: Path
    ) -> None:
        self._training, self._network = training, network
        self._datasets, self._run = datasets, run

    def save(self, name: str, step: int, figures: Mapping[str, float]) -> None:
        """Write RUN/name.safetensors in half precision."""
        training = self._training
        info = CheckpointInfo(
            method="vtm",
            method_config=asdict(training.model),
            accepts=("video",),
            fps=FPS,
            feature_blocks=(),
            training={
                "supervision": "3d",
                "settings": {**asdict(training), "model": None, "licence": None},
                "step": step,
                "seed": training.loop.seed,
                "datasets": self._datasets,
                "validation": figures.get("validation"),
            },
            licence=training.licence,
        )
        tensors = {f"model.{n}": p.detach() for n, p in self._network.named_parameters()}
        save_checkpoint(self._run / f"{name}.safetensors", info, tensors, half=True)
