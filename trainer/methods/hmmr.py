"""HMMR on motion seen by virtual cameras: clips with 3D, and clips with keypoints alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from engine.checkpoint import CheckpointInfo, save_checkpoint
from engine.methods.hmmr import OFFSETS, HmmrConfig, HmmrNetwork, Reading, root_in_camera
from trainer.data.corpus import FPS, CorpusError, load_corpus
from trainer.data.lifting_examples import (
    LiftBatch,
    LiftDataSettings,
    LiftSampler,
    held_out_batches,
)
from trainer.data.performers import PARTS, of_part, share_of
from trainer.device import to_device, training_device
from trainer.loop import LoopSettings
from trainer.losses.adversarial import PoseCritic, critic_loss, fooling_loss
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

_STRIDES = (4, 4)  # of frames at which the future is learned, and the hallucinator


@dataclass(frozen=True, kw_only=True)
class HmmrWeights:
    """Weights of the terms, for errors in metres, box halves and radians."""

    joints: float = 10.0
    rotations: float = 1.0
    keypoints: float = 2.0
    steps: float = 6.0
    step_changes: float = 6.0
    camera: float = 1.0
    bones: float = 10.0
    up: float = 4.0
    contacts: float = 1.0
    offsets: float = 0.5  # of past and future, against now
    hallucinated: float = 0.3  # of what is read off a guessed strip
    guess: float = 0.3  # of the guessed strip's distance from the true one
    adversarial: float = 0.01
    errors: float = 0.1


@dataclass(frozen=True, kw_only=True)
class HmmrTraining:
    """One HMMR run. Counts are optimiser steps."""

    method: str = "hmmr"
    licence: str
    model: HmmrConfig = field(default_factory=HmmrConfig)
    data: LiftDataSettings = field(default_factory=LiftDataSettings)
    weights: HmmrWeights = field(default_factory=HmmrWeights)
    loop: LoopSettings = field(default_factory=lambda: LoopSettings(num_steps=10_000))
    performers: str = "all"  # or one half of them: a, b
    truth_share: float = 1.0  # of the clips that are learned from in 3D
    flat_share: float = 1.0  # of the other clips that are learned from by their keypoints alone
    learning_rate: float = 8e-4
    critic_rate: float = 2e-4
    weight_decay: float = 0.02
    adversarial_start: int = 1_000  # step from which the critic is listened to
    precision: str = "auto"  # of the forward pass; see trainer.precision

    def __post_init__(self) -> None:
        if self.performers not in PARTS:
            raise ValueError(f"performers is {self.performers!r}, needs one of {', '.join(PARTS)}")
        if not 0 < self.truth_share <= 1 or not 0 <= self.flat_share <= 1:
            raise ValueError("truth_share needs above 0 to 1, flat_share 0 to 1")
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"precision is {self.precision!r}, needs one of {', '.join(PRECISIONS)}"
            )

    @property
    def size(self) -> str:
        """The network in a few characters."""
        return f"{self.model.width} x {len(self.model.dilations)}"


def stages(training: HmmrTraining, folders: Sequence[Path], run: Path) -> list[Stage]:
    """The one stage of HMMR: a generator that lifts, and a critic of its poses.

    Raises:
        CorpusError: a folder isn't a corpus, or no clip is left of it.
    """
    torch.manual_seed(training.loop.seed)
    clips = of_part(load_corpus(folders, "train", mirrored=False), training.performers)
    solid, others = share_of(clips, training.truth_share)
    flat, _ = share_of(others, training.flat_share)
    if not solid:
        raise CorpusError(f"No clip with 3D is left of {len(clips)}")
    sampler = LiftSampler(solid, flat, training.data)
    device = training_device()
    network, critic = HmmrNetwork(training.model).to(device), PoseCritic().to(device)
    objective = _Objective(network, critic, sampler, training)
    held_out_clips = load_corpus(folders, "val", mirrored=False)
    held_out = [
        to_device(batch, device) for batch in held_out_batches(held_out_clips, training.data)
    ]
    rate, decay = training.learning_rate, training.weight_decay
    players = (
        Player(
            name="generator",
            module=network,
            optimizer=_optimizer(network, rate, decay),
            loss=objective.generator_loss,
        ),
        Player(
            name="critic",
            module=critic,
            optimizer=_optimizer(critic, training.critic_rate, 0.0),
            loss=objective.critic_loss,
        ),
    )
    saver = _Saver(training, network, folders, run)
    return [
        Stage(
            name="train",
            players=players,
            batches=sampler,
            validate=lambda: objective.validate(held_out),
            save=saver.save,
        )
    ]


class _Objective:
    """What the generator and the critic lower."""

    def __init__(
        self,
        network: HmmrNetwork,
        critic: PoseCritic,
        sampler: LiftSampler,
        training: HmmrTraining,
    ) -> None:
        self._network, self._critic, self._sampler = network, critic, sampler
        self._training = training
        self._shift = max(1, round(training.model.offset_seconds * FPS))
        self._made: Tensor | None = None  # poses of the generator's last step, for the critic

    def generator_loss(self, batch: LiftBatch, generator: torch.Generator) -> LossTerms:
        """All terms of one batch."""
        weights = self._training.weights
        num_frames = batch.mask.shape[1]
        single = _every(_STRIDES[1], 0, num_frames, generator)
        around = _every(_STRIDES[0], self._shift, num_frames - self._shift, generator)
        with autocast(self._training.precision, batch.mask.device):
            codes = self._network.keypoints(batch.normalised, batch.boxes)
            strip = self._network.temporal(codes, batch.mask)
            reading = self._network.read(strip)
            guessed = self._network.hallucinate(codes[:, single])
            of_guess = self._network.read(guessed)
            offsets = {
                name: self._network.read_offset(name, strip[:, around], reading.sixd[:, around])
                for name in OFFSETS
            }
            bones = self._network.read_bones(strip, batch.mask)
            guessed_bones = self._network.read_bones(guessed, batch.mask[:, single])
        posed, of_single = pose(reading.sixd, bones), pose(of_guess.sixd, guessed_bones)

        every = torch.arange(num_frames)
        terms = self._pose_terms(posed, reading, batch, every)
        steps, changes = motion_losses(
            posed.joints, batch.joints, batch.mask & batch.has_truth[:, None]
        )
        terms |= {"steps": weights.steps * steps, "step_changes": weights.step_changes * changes}
        terms["bones"] = weights.bones * _bone_loss(bones, batch)
        for name, value in self._pose_terms(of_single, of_guess, batch, single).items():
            terms[f"single_{name}"] = weights.hallucinated * value
        terms["single_bones"] = (
            weights.hallucinated * weights.bones * _bone_loss(guessed_bones, batch)
        )
        off = (guessed.float() - strip[:, single].detach().float()).square().mean(-1)
        terms["guess"] = weights.guess * masked_mean(off, batch.mask[:, single])
        made = [posed.local_rotations, of_single.local_rotations]
        errors = {0: distance(posed.joints, batch.joints)}
        for column, name in enumerate(OFFSETS, start=1):
            then = pose(offsets[name], bones)
            made.append(then.local_rotations)
            value, error = self._offset_terms(then, (name, around), reading, batch)
            terms[name] = weights.offsets * value
            errors[column] = error
        terms["errors"] = weights.errors * self._error_terms(errors, reading, batch, around)
        if batch.number >= self._training.adversarial_start and weights.adversarial > 0:
            terms["fooling"] = self._fooling(made, batch)
        else:
            self._made = None
        return terms

    def critic_loss(self, batch: LiftBatch, generator: torch.Generator) -> LossTerms:
        """Real poses against those of the generator's last step."""
        if self._made is None:
            return {"critic": sum(p.sum() for p in self._critic.parameters()) * torch.zeros(())}
        real = self._sampler.poses(len(self._made), generator).to(self._made.device)
        return {"critic": critic_loss(self._critic(real), self._critic(self._made))}

    def validate(self, batches: Sequence[LiftBatch]) -> dict[str, float]:
        """Joint errors in metres, from the root, of held-out clips."""
        now: list[Tensor] = []
        single: list[Tensor] = []
        for batch in batches:
            with autocast(self._training.precision, batch.mask.device):
                codes = self._network.keypoints(batch.normalised, batch.boxes)
                strips = (
                    self._network.temporal(codes, batch.mask),
                    self._network.hallucinate(codes),
                )
                readings = [self._network.read(strip) for strip in strips]
                bodies = [self._network.read_bones(strip, batch.mask) for strip in strips]
            for found, bones, reading in zip((now, single), bodies, readings, strict=True):
                off = distance(pose(reading.sixd, bones).joints, batch.joints).mean(-1)
                found.append(off[batch.mask])
        return {
            "validation": float(torch.cat(now).mean()),
            "single_frame": float(torch.cat(single).mean()),
        }

    def _pose_terms(
        self, posed: Posed, reading: Reading, batch: LiftBatch, frames: Tensor
    ) -> LossTerms:
        """Terms of poses and cameras at frames (N,), of readings (B, N)."""
        weights = self._training.weights
        mask, boxes = batch.mask[:, frames], batch.boxes[:, frames]
        told = mask & batch.has_truth[:, None]
        root = root_in_camera(reading.camera, boxes)
        true_root = batch.root[:, frames]
        away = (torch.log(root[..., 2]) - torch.log(true_root[..., 2])).abs()
        aside = root[..., :2] / root[..., 2:] - true_root[..., :2] / true_root[..., 2:]
        aside = (aside / boxes[..., 2:].clamp(min=1e-3)).abs().sum(-1)
        contacts = functional.binary_cross_entropy_with_logits(
            reading.contact_logits, batch.contacts[:, frames], reduction="none"
        ).mean(-1)
        return {
            "joints": weights.joints * joint_loss(posed.joints, batch.joints[:, frames], told),
            "rotations": weights.rotations
            * rotation_loss(posed.local_rotations, batch.local_rotations[:, frames], told),
            "keypoints": weights.keypoints
            * keypoint_loss(posed.keypoints, root, boxes, batch.normalised[:, frames], mask),
            "camera": weights.camera * masked_mean(away + aside, told),
            "up": weights.up * direction_loss(reading.up, batch.up[:, frames], told),
            "contacts": weights.contacts * masked_mean(contacts, told),
        }

    def _offset_terms(
        self, then: Posed, which: tuple[str, Tensor], reading: Reading, batch: LiftBatch
    ) -> tuple[Tensor, Tensor]:
        """The loss of poses before or after frames (N,), and their joints' errors (B, N, 22)."""
        weights = self._training.weights
        name, frames = which
        later = frames + (self._shift if name == "future" else -self._shift)
        mask = batch.mask[:, frames] & batch.mask[:, later]
        told = mask & batch.has_truth[:, None]
        rotations, joints = batch.turned_to(frames, later)
        guess = root_in_camera(reading.camera[:, frames], batch.boxes[:, frames])
        confidence = batch.normalised[:, later, :, 2]
        root = best_root(then.keypoints, batch.plane_points[:, later], confidence, guess)
        keypoints = keypoint_loss(
            then.keypoints, root, batch.boxes[:, later], batch.normalised[:, later], mask
        )
        value = (
            weights.joints * joint_loss(then.joints, joints, told)
            + weights.rotations * rotation_loss(then.local_rotations, rotations, told)
            + weights.keypoints * keypoints
        )
        return value, distance(then.joints, joints)

    def _error_terms(
        self, errors: Mapping[int, Tensor], reading: Reading, batch: LiftBatch, around: Tensor
    ) -> Tensor:
        told = batch.mask & batch.has_truth[:, None]
        total = log_error_loss(reading.log_errors[:, :, 0], errors[0], told)
        for column in range(1, len(errors)):
            shift = self._shift if column == 2 else -self._shift
            both = told[:, around] & told[:, around + shift]
            total = total + log_error_loss(
                reading.log_errors[:, around, column], errors[column], both
            )
        return total

    def _fooling(self, made: Sequence[Tensor], batch: LiftBatch) -> Tensor:
        """Poses of each kind, one frame in eight, shown to the critic."""
        shown = torch.cat([poses[:, ::8].flatten(0, 1) for poses in made])
        self._made = shown.detach()
        for parameter in self._critic.parameters():
            parameter.requires_grad_(False)
        value = fooling_loss(self._critic(shown))
        for parameter in self._critic.parameters():
            parameter.requires_grad_(True)
        return self._training.weights.adversarial * value


def _every(stride: int, start: int, stop: int, generator: torch.Generator) -> Tensor:
    """Every so many-th frame from a random first one; one at least."""
    first = int(torch.randint(stride, (1,), generator=generator))
    frames = torch.arange(start + first, stop, stride)
    return frames if len(frames) else torch.arange(start, start + 1)


def _bone_loss(bones: Tensor, batch: LiftBatch) -> Tensor:
    """Square error of the bodies (B, 13); of a clip without 3D only that it is no odd one."""
    truth = batch.has_truth[:, None]
    wanted = torch.where(truth, batch.log_bones, torch.zeros_like(bones))
    weight = torch.where(truth, 1.0, 0.1)
    return (weight * (bones - wanted).square()).mean()


def _optimizer(module: torch.nn.Module, rate: float, decay: float) -> torch.optim.Optimizer:
    groups = [
        {"params": [p for p in module.parameters() if p.ndim >= 2], "weight_decay": decay},
        {"params": [p for p in module.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98), fused=True)


class _Saver:
    """Writes checkpoints to lift with."""

    def __init__(
        self, training: HmmrTraining, network: HmmrNetwork, folders: Sequence[Path], run: Path
    ) -> None:
        self._training, self._network, self._run = training, network, run
        self._datasets = [folder.name for folder in folders]

    def save(self, name: str, step: int, figures: Mapping[str, float]) -> None:
        """Write RUN/name.safetensors in half precision."""
        training = self._training
        info = CheckpointInfo(
            method="hmmr",
            method_config=asdict(training.model),
            accepts=("video",),
            fps=FPS,
            feature_blocks=(),
            training={
                "supervision": "3d" if training.truth_share == 1 else "3d and 2d",
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
